//! Parameters and `--set`.

use super::*;
use crate::curve::Curve;

fn with(sets: &[(&str, &str)]) -> Options {
    let sets = sets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options { sets, ..Options::default() }
}

fn refused(result: Result<Checked>) -> String {
    result.unwrap_err().iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

#[test]
fn parameters_take_the_type_of_their_place() {
    let file = golden("library-example.toml");
    for (value, percentage) in [("25%", 25.0), ("12.5", 12.5), ("7", 7.0)] {
        let (checked, _) = scenario(&file, &with(&[("rate", value)])).unwrap();
        assert_eq!(checked.faults[0].percentage, Curve::Constant(percentage));
        assert_eq!((checked.parameters[0].value.as_str(), checked.parameters[0].default.as_str()), (value, "10%"));
    }
    let text = refused(scenario(&file, &with(&[("rate", "125")])));
    assert!(text.contains("a.toml") || text.contains("percentage"), "{text}");
    let text = refused(scenario(&file, &with(&[("rat", "25%")])));
    assert_eq!(text, "--set rat: there is nothing of this name to set; did you mean `rate`?\n");
}

#[test]
fn paths_reach_into_named_tables() {
    let sets = with(&[
        ("proxy.cart-redis.listen", "127.0.0.1:0"),
        ("workload.carts.rate", "5"),
        ("fault.reset.after", "1KiB"),
        ("probe.redis answers.tcp.timeout", "3s"),
    ]);
    let (checked, _) = scenario(&golden("redis-slow.toml"), &sets).unwrap();
    assert_eq!(checked.proxies[0].listen, "127.0.0.1:0");
    assert_eq!(checked.workloads[0].rate, Curve::Constant(5.0));
    assert!(checked.faults[1].summary.contains("1KiB"), "{}", checked.faults[1].summary);
    let text = refused(scenario(&golden("redis-slow.toml"), &with(&[("proxy.cart-redi.listen", "127.0.0.1:0")])));
    assert!(text.contains("did you mean `proxy.cart-redis.listen`?"), "{text}");
    let text = refused(scenario(&golden("redis-slow.toml"), &with(&[("proxy.cart-redis.listn", "127.0.0.1:0")])));
    assert!(text.contains("unknown field `listn`") && text.contains("did you mean `listen`?"), "{text}");
    let sets = with(&[("safety.lease", "20s"), ("proxy.redis.upstream", "[::1]:7")]).sets;
    let (config, _) = config(&golden("squall.toml"), &sets).unwrap();
    assert_eq!(config.safety.lease, 20 * crate::time::SECOND);
    assert_eq!(config.proxies[0].upstream, "[::1]:7");
}

#[test]
fn placeholders_are_filled_in_values_only() {
    let body = "title = \"${x} of $${x}\"\n[[parameter]]\nname = \"x\"\ndefault = 5\n[[fault]]\nkind = \"latency\"\nproxy \
                = \"redis\"\ndelay = \"${x}ms\"\npercentage = \"${x}\"\n";
    let text = format!("name = \"a\"\nmax_duration = \"1m\"\n{body}");
    let (checked, _) = scenario(&source(&text), &Options::default()).unwrap();
    assert_eq!(checked.title.as_deref(), Some("5 of ${x}"));
    assert_eq!(checked.faults[0].percentage, Curve::Constant(5.0));
    let json: serde_json::Value = serde_json::from_str(&checked.canonical).unwrap();
    assert_eq!(scenario_json(&json, &Options::default()).unwrap().0.digest, checked.digest);
    let text = refused(scenario(&source(&text.replace("${x}ms", "${y}ms")), &Options::default()));
    assert!(text.contains("there is no parameter `y`"), "{text}");
}
