#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use super::*;
use crate::diagnostic::Source;
use crate::parse::{Options, scenario};
use crate::time::MILLI;

fn golden(file: &str) -> Checked {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(file);
    scenario(&crate::read::load(&path).unwrap(), &Options::default()).unwrap().0
}

#[test]
fn tells_the_timeline_and_the_first_decisions() {
    let checked = golden("redis-slow.toml");
    let told = preview(&checked, &[], 42, 200);
    let at: Vec<_> = told.timeline.iter().map(|moment| moment.at).collect();
    assert_eq!(at, [0.0, 5.0, 10.0, 20.0, 20.0, 22.0, 22.5, 26.0, 26.5, 30.0, 30.5, 30.5, 35.5]);
    let late = &told.faults[0];
    let short: Vec<_> = late.units.iter().filter(|unit| !unit.selected || unit.delays.len() != 3).collect();
    assert!(short.is_empty(), "{short:?}");
    let mean = late.units.iter().flat_map(|unit| &unit.delays).sum::<u64>() / 600;
    assert!((190 * MILLI..210 * MILLI).contains(&mean), "{mean}");
    let reset = &told.faults[1];
    let selected = reset.units.iter().filter(|unit| unit.selected).count();
    assert!((8..35).contains(&selected), "{selected}");
    assert!(reset.units.iter().all(|unit| unit.selected == (unit.draw < 10.0)));
    // the same seed tells the same, another one something else
    assert_eq!(told.to_string(), preview(&checked, &[], 42, 200).to_string());
    assert_ne!(reset.units, preview(&checked, &[], 43, 200).faults[1].units);
    assert!(told.warnings.is_empty(), "{:?}", told.warnings);
    assert!(told.to_string().contains("flapping begins: partition"), "{told}");
}

#[test]
fn warns_of_faults_that_hit_nobody() {
    for (what, warned) in [
        ("percentage = 0.01", true),
        ("nth = 500", true),
        ("each = 500", true),
        ("nth = 50", false),
        ("percentage = 50", false),
    ] {
        let text = format!(
            "name = \"a\"\n[[proxy]]\nname = \"p\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\n[[workload]]\nname = \
             \"w\"\nkind = \"http\"\ntarget = \"proxy:p\"\nrate = 10\n[[fault]]\nkind = \"reset\"\nproxy = \"p\"\nfor = \
             \"10s\"\n{what}\n"
        );
        let source = Arc::new(Source { name: "a".into(), text });
        let (checked, _) = scenario(&source, &Options::default()).unwrap();
        assert_eq!(preview(&checked, &[], 1, 5).warnings.len(), usize::from(warned), "{what}");
    }
}

#[test]
fn tells_which_links_a_partition_between_groups_cuts() {
    let proxy = |name: &str| format!("[[proxy]]\nname = '{name}'\nlisten = '127.0.0.1:0'\nupstream = 'a:1'\n");
    let fault = "[[fault]]\nkind = 'partition'\nproxy = '*'\ngroups = [['n1'], ['n2', 'n3']]\none_way = true\n";
    let links: String = ["n1-to-n2", "n2-to-n1", "n2-to-n3", "n1-to-n3"].map(proxy).concat();
    let text = format!("name = 'a'\nmax_duration = '1m'\n{links}{fault}");
    let source = Arc::new(Source { name: "a.toml".into(), text });
    let checked = scenario(&source, &Options::default()).unwrap().0;
    let told = preview(&checked, &[], 1, 1);
    let cut = |proxy: &str, direction| Cut { proxy: proxy.into(), direction };
    let cuts = [cut("n1-to-n2", "upstream"), cut("n2-to-n1", "downstream"), cut("n1-to-n3", "upstream")];
    assert_eq!(told.faults[0].cuts, cuts);
    assert!(told.to_string().contains("hang, n1 > n2, n3\n  cuts n1-to-n2 (upstream)\n"), "{told}");
    let other = ProxySpec { name: "n3-to-n1".into(), ..checked.proxies[0].clone() };
    assert!(preview(&checked, &[other], 1, 1).faults[0].cuts.contains(&cut("n3-to-n1", "downstream")));
}

#[test]
fn exchanges_are_asked_about_as_they_will_be() {
    let proxy = "[[proxy]]\nname = 'web'\nlisten = '127.0.0.1:0'\nupstream = 'a:1'\nprotocol = 'http'\n";
    let fault =
        "[[fault]]\nkind = 'latency'\nproxy = 'web'\ndelay = '100ms'\njitter = '50ms'\nfor = '10s'\npercentage = 40\n";
    let source = Arc::new(Source { name: "a".into(), text: format!("name = 'e'\n{proxy}{fault}") });
    let (checked, _) = scenario(&source, &Options::default()).unwrap();
    let told = preview(&checked, &[], 7, 100).faults.remove(0).units;
    let selected: Vec<_> = told.iter().filter(|unit| unit.selected).collect();
    assert!((25..55).contains(&selected.len()), "{}", selected.len());
    let delays = selected.iter().map(|unit| unit.delays.as_slice());
    assert!(
        delays.clone().all(|delays| matches!(delays, [one] if (50 * MILLI..=150 * MILLI).contains(one))),
        "{told:?}"
    );
    assert!(told.iter().all(|unit| unit.selected || unit.delays.is_empty()));
    // `squall explain` says the same of the first request of a connection
    for unit in &told[..5] {
        let question = crate::explain::Question { unit: Some((unit.unit, 0)), ..Default::default() };
        let never = crate::matcher::NeverFault::default();
        let explained = crate::explain::explain(&checked, &[], &never, 7, &question).faults.remove(0);
        assert_eq!(explained.draw, Some(unit.draw));
    }
}
