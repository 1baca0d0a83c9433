//! What every file of the library has to say, and that none is without a test.

use std::path::Path;

use squall::library;

use crate::support::Room;

/// Those that fail as some service does, or as a link; outages have tests of their own.
fn shelf() -> impl Iterator<Item = library::Shipped> {
    library::all().filter(|shipped| shipped.path.contains('/') && !shipped.path.starts_with("outages/"))
}

#[test]
fn every_failure_says_what_it_is_where_it_is_known_from_and_what_is_expected() {
    let room = Room::new();
    assert!(library::all().count() >= 60);
    for failure in shelf() {
        let path = failure.path;
        for field in ["title", "teaches", "hypothesis", "expected", "source"] {
            if (path, field) == ("stripe/rate-limit", "expected") {
                continue; // the format's own example, kept to the letter (tests/golden)
            }
            assert!(failure.field(field).is_some_and(|text| text.len() > 5), "{path} has no {field}");
        }
        assert_eq!(failure.field("owner"), Some("library"), "{path}");
        assert_eq!(failure.field("name"), Some(&*path.replace('/', "-")), "{path}");
        assert!(failure.text.contains("[[parameter]]") && failure.text.contains("[[guard]]"), "{path}");
        room.squall(&["check", path]).exits(0);
    }
}

/// A scenario that no test plays would be one that can be wrong.
#[test]
fn every_failure_is_played_by_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library");
    let text = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(entry.unwrap().path()).unwrap();
    let tests: String = std::fs::read_dir(tests).unwrap().map(text).collect();
    let missing: Vec<_> = shelf().map(|one| one.path).filter(|path| !tests.contains(&format!("\"{path}\""))).collect();
    assert!(missing.is_empty(), "no test plays {missing:?}");
}
