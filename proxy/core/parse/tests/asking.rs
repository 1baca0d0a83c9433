//! Faults that clients ask for, and the proxies that let them.

use super::*;
use crate::matcher::MatchSpec;

const ASKED: &str = "[[fault]]\nkind = \"envoy_headers\"\nproxy = \"redis\"\nabort = true";

#[test]
fn a_proxy_has_to_let_clients_ask() {
    let without = told(&around(&format!("protocol = \"http\"\n{ASKED}")));
    assert!(without.contains("proxy `redis`: it lets no client ask for faults"), "{without}");
    let with = |from: &str| format!("protocol = \"http\"\nhttp = {{ envoy_headers_from = {from} }}\n{ASKED}");
    assert_eq!(told(&around(&with("[\"10.0.0.0/8\"]"))), "");
    assert!(told(&around(&with("[]"))).contains("lets nobody ask"), "{}", told(&around(&with("[]"))));
    assert!(told(&around(&with("[\"10.0.0.0/33\"]"))).contains("10.0.0.0/33"));
    let unix = around(&with("[\"10.0.0.0/8\"]")).replace("127.0.0.1:1\"", "unix:/run/a\"");
    assert!(told(&unix).contains("the clients of a unix socket are in no network"), "{}", told(&unix));
}

#[test]
fn it_may_select_who_asks_from_there_and_fits_its_own_rule() {
    let text = format!(
        "protocol = \"http\"\nhttp = {{ envoy_headers_from = [\"10.0.0.0/8\"] }}\n{ASKED}\nmatch = {{ path = \"/a\" }}"
    );
    let (checked, _) = scenario(&source(&around(&text)), &Options::default()).unwrap();
    let (fault, way) = (&checked.faults[0], &checked.proxies[0].way);
    let rule = fault.rule_on(way).unwrap().unwrap();
    let [trusted, asked, own] = &rule.all.as_ref().unwrap()[..] else { panic!("{rule:?}") };
    assert_eq!(trusted.source.as_ref().unwrap().len(), 1);
    assert_eq!(asked.any.as_ref().unwrap().len(), 2, "either abort");
    assert_eq!(own, fault.matches.as_deref().unwrap());
    assert_eq!(*trusted, MatchSpec { source: trusted.source.clone(), ..MatchSpec::default() });
    assert!(fault.rule_on(&crate::way::Way::default()).is_err());
}
