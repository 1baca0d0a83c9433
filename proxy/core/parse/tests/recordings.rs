//! `[[service]] kind = "recording"`: a recording from a file beside the scenario.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::{around, told};
use crate::diagnostic::Source;
use crate::parse::{Options, check_all, put_in_place, scenario_json};
use crate::recording::Timing;
use crate::scenario::ServiceKind;

const RECORDING: &str =
    "recording = 1\n[[exchange]]\nmethod = \"GET\"\npath = \"/a\"\nstatus = 200\nchunks = [[\"1ms\", \"${x}\"]]\n";

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let place = std::env::temp_dir().join(format!("squall-recordings-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        Place(place)
    }

    fn records(&self, text: &str) {
        fs::write(self.0.join("api.recording.toml"), text).unwrap();
    }

    fn source(&self) -> Arc<Source> {
        let service = "[[service]]\nname = \"api\"\nkind = \"recording\"\nfile = \"api.recording.toml\"\n";
        let fault = "[[fault]]\nkind = \"latency\"\nproxy = \"redis\"\ndelay = \"1ms\"\nfor = \"1s\"\n";
        Arc::new(Source {
            name: self.0.join("a.toml").display().to_string(),
            text: around(&format!("{service}{fault}")),
        })
    }

    fn told(&self) -> String {
        let outcome = check_all(&[self.source()], &Options::default());
        outcome
            .diagnostics
            .iter()
            .map(|told| format!("{told} {}\n", told.field.as_deref().unwrap_or_default()))
            .collect()
    }

    fn digest(&self) -> String {
        let outcome = check_all(&[self.source()], &Options::default());
        assert_eq!(outcome.scenarios.len(), 1, "{}", self.told());
        outcome.scenarios[0].digest.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_recording_is_part_of_the_scenario_and_of_its_digest() {
    let place = Place::new("good");
    place.records(RECORDING);
    let outcome = check_all(&[place.source()], &Options::default());
    let checked = &outcome.scenarios[0];
    let ServiceKind::Recording { recording, timing, strict } = &checked.services[0].kind else {
        unreachable!("{:?}", checked.services)
    };
    assert_eq!((recording.exchanges.len(), *timing, *strict), (1, Timing::Recorded, false));
    // the control port follows no names: what is handed in there has the recording in it, parameters or not
    let whole = put_in_place(&place.source()).unwrap().unwrap();
    let (handed_in, _) = scenario_json(&whole, &Options::default()).unwrap();
    assert_eq!((&handed_in.digest, &handed_in.services), (&checked.digest, &checked.services));
    // the canonical form can be read again: a running experiment is changed so
    let canonical = serde_json::from_str(&checked.canonical).unwrap();
    assert_eq!(scenario_json(&canonical, &Options::default()).unwrap().0.services, checked.services);

    let before = place.digest();
    place.records(&RECORDING.replace("200", "503"));
    assert_ne!(place.digest(), before, "an approval is for what is played too");
}

#[test]
fn a_mistake_in_a_recording_is_told_at_its_line_and_field_there() {
    let place = Place::new("bad");
    let said = |text: &str| {
        place.records(text);
        place.told()
    };
    let told = said(&RECORDING.replace("200", "20"));
    assert!(told.contains("api.recording.toml:5:10: ") && told.contains("exchange[0].status"), "{told}");
    let told = said(&RECORDING.replace("\"${x}\"", "'${x}'"));
    assert!(told.contains("api.recording.toml:6:") && told.contains("basic strings only"), "{told}");
    assert!(said("recording = ").contains("api.recording.toml:1:"));
    fs::remove_file(place.0.join("api.recording.toml")).unwrap();
    let told = place.told();
    assert!(told.contains("a.toml:10:8: ") && told.contains("can not read the file"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn a_recording_is_named_by_whoever_plays_one() {
    let service = |body: &str| told(&around(&format!("[[service]]\nname = \"api\"\n{body}\n")));
    assert!(service("kind = \"recording\"").contains("which recording?"));
    assert!(service("kind = \"echo\"\ntiming = \"none\"").contains("`timing` is for recording services"));
    assert!(service("kind = \"recording\"\nrecording = 'recording = 3'").contains("version 3"));
    let both = service("kind = \"recording\"\nfile = \"a\"\nrecording = 'recording = 1'");
    assert!(both.contains("`file` and `recording` exclude each other"), "{both}");
    assert!(service("kind = \"recording\"\nfile = \"../a\"").contains("a relative path without `..`"));
}
