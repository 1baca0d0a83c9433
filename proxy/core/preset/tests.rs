#![allow(clippy::unwrap_used, clippy::panic)]
use std::sync::Arc;

use super::*;
use crate::diagnostic::{Source, render};
use crate::draw::DrawKey;
use crate::fault::contract::pump::{START, Traffic, active, traffic};
use crate::parse::{Filled, Options, check_all, one_liner, scenario};
use crate::plan::{Active, Slice};
use crate::scenario::{Checked, FaultSpec};
use crate::time::{MICRO, MILLI};

/// Preset, kbit/s down and up, ms, way, percent lost, as published.
const PUBLISHED: &str = "
slow-3g       500   500   400 round trip 0
slow-4g       1600  750   150 round trip 0
fast-4g       9000  1500  60  round trip 0
wpt-3g        1600  768   300 round trip 0
wpt-lte       12000 12000 70  round trip 0
wpt-cable     5000  1000  28  round trip 0
wpt-dsl       1500  384   50  round trip 0
wpt-fios      20000 5000  4   round trip 0
edge          240   200   840 round trip 0
very-bad      1000  1000  500 one way    10
2g-rural      20    18    650 one way    2
geo-satellite 1000  256   600 round trip 0
";

/// Median round trips between AWS regions, as published.
const AWS_PUBLISHED: &str = "
us-east-1      us-west-2 64 eu-west-1 70 eu-central-1 93 ap-southeast-1 220 ap-northeast-1 150 ap-southeast-2 200 ap-south-1 193 sa-east-1 115 af-south-1 228
us-west-2      eu-west-1 118 eu-central-1 143 ap-southeast-1 160 ap-northeast-1 98 ap-southeast-2 141 ap-south-1 222 sa-east-1 175 af-south-1 275
eu-west-1      eu-central-1 27 ap-southeast-1 179 ap-northeast-1 202 ap-southeast-2 256 ap-south-1 126 sa-east-1 178 af-south-1 160
eu-central-1   ap-southeast-1 160 ap-northeast-1 227 ap-southeast-2 251 ap-south-1 129 sa-east-1 204 af-south-1 156
ap-southeast-1 ap-northeast-1 71 ap-southeast-2 95 ap-south-1 64 sa-east-1 328 af-south-1 317
ap-northeast-1 ap-southeast-2 107 ap-south-1 134 sa-east-1 258 af-south-1 358
ap-southeast-2 ap-south-1 155 sa-east-1 312 af-south-1 409
ap-south-1     sa-east-1 301 af-south-1 274
sa-east-1      af-south-1 339
";

fn text(fault: &str) -> Arc<Source> {
    let text = format!(
        "name = \"a\"\nmax_duration = \"1m\"\n[[proxy]]\nname = \"api\"\nlisten = \"127.0.0.1:1\"\nupstream = \
         \"127.0.0.1:2\"\n[[fault]]\nproxy = \"api\"\n{fault}\n"
    );
    Arc::new(Source { name: "a.toml".into(), text })
}

fn checked(fault: &str) -> Checked {
    let checked = scenario(&text(fault), &Options::default());
    checked.unwrap_or_else(|messages| panic!("{fault}\n{}", render(&messages, false))).0
}

fn named<'a>(checked: &'a Checked, name: &str) -> &'a FaultSpec {
    let found = checked.faults.iter().find(|fault| fault.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {:?}", checked.faults))
}

#[test]
fn every_link_is_the_published_one() {
    let published = PUBLISHED.trim().lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let published: Vec<_> = published.collect();
    assert_eq!(published.len(), LINKS.len());
    for words in published {
        let [name, down, up, ms, ref way @ .., lost] = words[..] else { panic!("{words:?}") };
        let link = find(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(link.rate, Some((down.parse().unwrap(), up.parse().unwrap())), "{name}");
        let us = ms.parse::<u32>().unwrap() * 1_000;
        let latency = if way == ["round", "trip"] { Latency::RoundTrip(us, us) } else { Latency::OneWay(us, us) };
        assert_eq!((link.latency, link.loss), (latency, lost.parse().unwrap()), "{name}");
        assert!(!link.source.is_empty() && !link.as_of.is_empty(), "{name}");
    }
}

#[test]
fn every_pair_of_regions_has_its_round_trip_in_either_order() {
    let mut pairs = 0;
    for line in AWS_PUBLISHED.trim().lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        for other in words[1..].chunks(2) {
            let us = other[1].parse::<u32>().unwrap() * 1_000;
            for (one, two) in [(words[0], other[0]), (other[0], words[0])] {
                let link = find(&format!("aws:{one}/{two}")).unwrap();
                assert_eq!((link.latency, link.rate), (Latency::RoundTrip(us, us), None), "{one} {two}");
                pairs += 1;
            }
        }
    }
    assert_eq!((pairs, aws_pairs().count()), (90, 90));
    assert_eq!(find("aws:within-region").unwrap().latency, Latency::RoundTrip(2_800, 5_500));
    assert_eq!(find("aws:across-zones").unwrap().latency, Latency::RoundTrip(250, 3_400));
    for wrong in ["aws:", "aws:us-east-1", "aws:us-east-1/us-east-1", "aws:us-east-1/x", "us-east-1/eu-west-1", ""] {
        assert_eq!(find(wrong), None, "{wrong}");
    }
}

#[test]
fn every_preset_checks_and_says_what_it_does_in_each_direction() {
    for name in names() {
        let link = find(&name).unwrap();
        let checked = checked(&format!("preset = \"{name}\"\nfor = \"10s\""));
        let each_way = 1 + usize::from(link.rate.is_some()) + usize::from(link.loss > 0);
        assert_eq!(checked.faults.len(), 2 * each_way, "{name}");
        for fault in &checked.faults {
            assert!(fault.fault.is_ok(), "{name}");
            assert_eq!(fault.flow.is_some_and(|flow| flow == Flow::Upstream), fault.name.ends_with("-up"), "{name}");
        }
        let filled = Filled { owner: "ann".into(), environment: "local".into() };
        let inject = one_liner("api", &format!("preset={name}"), &[], "60s", &filled);
        scenario(&Arc::new(Source { name: "a".into(), text: inject }), &Options::default()).unwrap();
    }
}

#[test]
fn a_round_trip_is_split_and_a_spread_is_drawn() {
    let slow = checked("preset = \"slow-3g\"");
    assert_eq!(named(&slow, "slow-3g-latency-up").summary, "delay 200ms");
    assert_eq!(named(&slow, "slow-3g-latency-down").summary, "delay 200ms");
    let cable = checked("preset = \"wpt-cable\"");
    assert_eq!(named(&cable, "wpt-cable-bandwidth-down").summary, "625kB/s per connection");
    assert_eq!(named(&cable, "wpt-cable-bandwidth-up").summary, "125kB/s per connection");
    let far = checked("preset = \"aws:eu-central-1/eu-west-1\"");
    assert_eq!(named(&far, "aws-eu-central-1-eu-west-1-latency-up").summary, "delay 13500us");
    let bad = checked("preset = \"very-bad\"");
    assert_eq!(named(&bad, "very-bad-latency-up").summary, "delay 500ms");
    assert_eq!(named(&bad, "very-bad-loss-down").summary, "10% lost");
    let near = checked("name = \"near\"\npreset = \"aws:within-region\"");
    assert_eq!(named(&near, "near-latency-down").summary, "delay 2075us ± 675us uniform");
}

#[test]
fn the_common_fields_hold_for_all_parts_and_min_hits_for_the_latency() {
    let checked = checked(
        "preset = \"2g-rural\"\nat = \"2s\"\nfor = \"1s\"\nevery = \"3s\"\ntimes = 2\npercentage = 30\nkey = \"client\"\n\
         first = 7\nmin_hits = 5",
    );
    for fault in &checked.faults {
        let (window, times) = (fault.window, Some(2));
        assert_eq!((window.at, window.times), (2_000_000_000, times), "{}", fault.name);
        assert_eq!(fault.percentage.values(), [&30.0]);
        assert_eq!((&fault.key, fault.count), (&crate::select::Key::Client, crate::select::Count::First(7)));
        assert_eq!(fault.min_hits, if fault.kind == "latency" { 5 } else { 0 }, "{}", fault.name);
    }
    let one_way = scenario(&text("preset = \"edge\"\ndirection = \"downstream\""), &Options::default()).unwrap().0;
    let names: Vec<_> = one_way.faults.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!(names, ["edge-latency-down", "edge-bandwidth-down"]);
}

#[test]
fn the_parts_select_the_same_units_and_draw_on_their_own() {
    let checked = checked("preset = \"slow-3g\"\npercentage = 40");
    let draws: Vec<DrawKey> = checked.faults.iter().map(|fault| fault.draws(7, "a")).collect();
    let mut shares = std::collections::BTreeSet::new();
    for unit in 0..100 {
        let of: Vec<_> = draws.iter().map(|key| key.unit(unit)).collect();
        assert!(of.iter().all(|draw| draw.percentage().to_bits() == of[0].percentage().to_bits()), "{unit}");
        let steps: std::collections::BTreeSet<_> = of.iter().map(|draw| draw.at(3)).collect();
        assert_eq!(steps.len(), of.len(), "{unit}");
        shares.insert(of[0].percentage().to_bits());
    }
    assert_eq!(shares.len(), 100);
}

/// The contract's conversation: 700 bytes up at 0, 30 000 down at 5 ms.
#[test]
fn a_message_is_through_when_the_link_would_have_it_through() {
    let checked = checked("preset = \"slow-3g\"");
    let actives = checked
        .faults
        .iter()
        .zip(1..)
        .map(|(spec, serial)| Arc::new(Active { serial, ..active(spec.fault.clone().unwrap(), spec.flow, 1) }));
    let pump = traffic(&Slice::new(actives.collect(), false), Traffic::Whole, None);
    let through = |flow: Flow, byte: usize| pump.out[flow as usize][byte].0 - START;
    assert_eq!(through(Flow::Upstream, 699), 200 * MILLI + 11_200 * MICRO, "700 B at 62 500 B/s take 11.2 ms");
    assert_eq!(through(Flow::Downstream, 29_999), (5 + 200 + 480) * MILLI, "30 000 B take 480 ms");
}

#[test]
fn what_is_wrong_is_told_once_and_at_its_place() {
    for (fault, expected) in [
        ("preset = \"slow-3gg\"", "there is no preset `slow-3gg`; did you mean `slow-3g`?"),
        ("preset = \"aws:us-east-1/eu-west-9\"", "did you mean `aws:us-east-1/eu-west-"),
        ("preset = \"aws:us-east-1/us-east-1\"", "`aws:within-region`"),
        ("preset = \"slow-3g\"\nkind = \"latency\"", "`preset` stands in place of `kind`"),
        ("preset = \"slow-3g\"\ndelay = \"5ms\"", "unknown field `delay`: a preset says everything by itself"),
        ("preset = \"slow-3g\"\npercentge = 5", "did you mean `percentage`?"),
        ("preset = \"slow-3g\"\npercentage = 500", "500 is not a percentage"),
        ("preset = \"slow-3g\"\nfirst = 0", "`first` counts from 1"),
        ("preset = \"slow-3g\"\nat = \"10m\"\nfor = \"1s\"", "max_duration"),
        ("preset = 5", "the number 5 where a string was expected"),
        ("percentage = 5", "`kind` is missing"),
        ("preset = \"slow-3g\"\n[[fault]]\npreset = \"slow-3g\"\nproxy = \"api\"", "without a name"),
        (
            "preset = \"slow-3g\"\n[[fault]]\nname = \"slow-3g-latency-up\"\nkind = \"reset\"\nproxy = \"api\"",
            "there is a fault `slow-3g-latency-up` already",
        ),
        (
            "preset = \"slow-3g\"\nname = \"a23456789012345678901234567890123456789012345678901234567890123\"",
            "a name has up to 63 characters",
        ),
    ] {
        let outcome = check_all(&[text(fault)], &Options::default());
        let told: Vec<_> = outcome.diagnostics.iter().map(ToString::to_string).collect();
        assert!(told.len() == 1 && told[0].contains(expected), "{fault}\n-> {told:#?}");
    }
}
