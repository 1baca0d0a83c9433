//! `body_file`: a body from a file beside the scenario.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::Source;
use crate::parse::{Options, check_all, put_in_place, scenario, scenario_json};

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let place = std::env::temp_dir().join(format!("squall-bodies-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(place.join("inside")).unwrap();
        Place(place)
    }

    fn source(&self, body: &str) -> Arc<Source> {
        let text = format!("name = \"a\"\n[[fault]]\nkind = \"error\"\nproxy = \"p\"\nfor = \"1m\"\n{body}\n");
        Arc::new(Source { name: self.0.join("a.toml").display().to_string(), text })
    }

    fn told(&self, body: &str) -> String {
        let outcome = check_all(&[self.source(body)], &Options::default());
        outcome.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_text_of_a_file_stands_in_the_place_of_its_name() {
    let place = Place::new("good");
    fs::write(place.0.join("inside/down.json"), "{\"error\":\"down\"}").unwrap();
    let named = place.source("body_file = \"inside/down.json\"");
    let outcome = check_all(std::slice::from_ref(&named), &Options::default());
    let (written, _) = scenario(&place.source("body = '{\"error\":\"down\"}'"), &Options::default()).unwrap();
    assert_eq!(outcome.scenarios[0].digest, written.digest);

    // the control port follows no names: what is handed in there has the body in it
    let whole = put_in_place(&named).unwrap().unwrap();
    assert_eq!(scenario_json(&whole, &Options::default()).unwrap().0.digest, written.digest);
    let refused = scenario(&named, &Options::default()).unwrap_err();
    assert!(
        refused.iter().any(|said| said.message.contains("only where a scenario's own file names it")),
        "{refused:?}"
    );
}

#[test]
fn a_file_that_is_none_or_lies_elsewhere_is_refused_where_it_is_named() {
    let place = Place::new("bad");
    fs::write(place.0.join("long"), vec![b'x'; (1 << 20) + 1]).unwrap();
    fs::write(place.0.join("binary"), [0xFF, 0xFE]).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", place.0.join("out")).unwrap();
    for (name, says) in [
        ("missing", "can not read the file"),
        ("../a", "a relative path without `..`"),
        ("/etc/hostname", "a relative path without `..`"),
        ("out", "leads out of the scenario's directory"),
        ("inside", "this is a directory"),
        ("long", "too long"),
        ("binary", "UTF-8"),
    ] {
        let told = place.told(&format!("body_file = \"{name}\""));
        assert!(told.contains(says) && told.contains("a.toml:6:"), "{name}: {told}");
    }
    let told = place.told("body = 'x'\nbody_file = 'long'");
    assert!(told.contains("exclude each other"), "{told}");
}
