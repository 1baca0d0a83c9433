//! The log in memory and in files, tampered with, torn, full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use squall_core::config::Safety;
use squall_core::limits::Limits;
use squall_core::time::SECOND;

use super::{Act, Audit, Checkpoint, Decision, Read, Record, Settings, To, read};
use crate::trial::{HandClock, Log, state};

fn act(n: u64) -> Act {
    Act {
        actor: "ann".into(),
        role: Some("operator".into()),
        peer: Some("127.0.0.1:7".into()),
        action: "start".into(),
        object: Some(format!("drill-{n}")),
        plan_hash: Some("d1".into()),
        decision: Decision::Deny,
        reason: Some("a \"quoted\"\nüber reason".into()),
    }
}

fn in_file(path: &Path) -> Audit {
    let limits = Limits::new(&Safety::default()).unwrap();
    let settings = Settings { to: To::File(path.to_owned()), origin: "here".into(), key: None, limits };
    Audit::start(settings, HandClock::new(), |_| ()).unwrap()
}

/// Waits until the writing thread is gone and with it the lock on the file.
fn closed(audit: Audit, path: &Path) {
    audit.check().unwrap();
    drop(audit);
    let file = std::fs::File::open(path).unwrap();
    for _ in 0..20_000 {
        if file.try_lock().is_ok() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("the log is still open");
}

fn verified(path: &Path) -> (Read, Vec<Record>) {
    let mut records = Vec::new();
    let log = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    (read(log, |record, _| records.push(record.clone())).unwrap(), records)
}

fn path() -> PathBuf {
    state().join("audit.log")
}

#[test]
fn a_record_has_every_field_and_its_hash_covers_its_exact_bytes() {
    let path = path();
    let audit = in_file(&path);
    audit.write(act(1)).unwrap();
    closed(audit, &path);
    let text = std::fs::read_to_string(&path).unwrap();
    let (hash, json) = text.lines().nth(1).unwrap().split_once(' ').unwrap();
    let prev = text.split(' ').next().unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let expected = format!(
        "{{\"seq\":2,\"ts\":\"1970-01-01T00:16:40.000000Z\",\"mono_ns\":1000000000000,\"boot_id\":\"{}\",\"actor\":\"ann\",\
         \"role\":\"operator\",\"peer\":\"127.0.0.1:7\",\"action\":\"start\",\"object\":\"drill-1\",\"plan_hash\":\"d1\",\
         \"decision\":\"deny\",\"reason\":\"a \\\"quoted\\\"\\nüber reason\",\"prev\":\"{prev}\"}}",
        boot.trim()
    );
    assert_eq!(json, expected);
    assert_eq!(hash.len(), 64);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// The line in docs/audit.md, word for word.
#[test]
fn sha256sum_checks_a_record_by_hand() {
    let path = path();
    let audit = in_file(&path);
    (1..4).for_each(|n| audit.write(act(n)).unwrap());
    closed(audit, &path);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/audit.md")).unwrap();
    let by_hand = page.split("```sh by hand\n").nth(1).unwrap().split("```").next().unwrap();
    for n in 2..=4 {
        let run =
            Command::new("bash").args(["-euc", by_hand]).env("log", &path).env("n", n.to_string()).output().unwrap();
        let out = String::from_utf8_lossy(&run.stdout);
        let line = std::fs::read_to_string(&path).unwrap().lines().nth(n - 1).unwrap()[..64].to_owned();
        assert!(run.status.success() && out.contains(&line), "{out}{}", String::from_utf8_lossy(&run.stderr));
    }
}

#[test]
fn every_flipped_byte_and_every_line_that_is_gone_moved_or_made_up_is_found() {
    let log = Log::default();
    let audit = log.audit(HandClock::new());
    (0..4).for_each(|n| audit.write(act(n)).unwrap());
    let whole = log.bytes();
    let intact = read(&*whole, |_, _| ()).unwrap();
    assert_eq!((intact.size, intact.broken), (5, None));
    for at in 0..whole.len() - 1 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x01;
        let found = read(&*bytes, |_, _| ()).unwrap();
        let line = 1 + whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(found.broken.map(|broken| broken.line), Some(line), "byte {at}");
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let breaks = |lines: &[&[u8]]| read(&*lines.concat(), |_, _| ()).unwrap().broken.map(|broken| broken.line);
    assert_eq!(breaks(&[lines[0], lines[2], lines[3]]), Some(2), "a line is gone");
    assert_eq!(breaks(&[lines[0], lines[2], lines[1]]), Some(2), "two are swapped");
    assert_eq!(breaks(&[lines[0], lines[1], lines[1]]), Some(3), "one stands twice");
    assert_eq!(breaks(&lines[1..]), Some(1), "the first is gone");
    assert_eq!(breaks(&lines[..3]), None, "that its end is gone only a checkpoint can tell");
}

#[test]
fn a_record_that_was_torn_at_any_byte_is_cut_off_and_the_chain_goes_on() {
    let path = path();
    let audit = in_file(&path);
    audit.write(Act { decision: Decision::Allow, ..act(1) }).unwrap();
    audit.write(act(2)).unwrap();
    closed(audit, &path);
    let whole = std::fs::read(&path).unwrap();
    let last = 1 + whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    for length in [last + 1, last + 30, last + 65, last + 70, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(verified(&path).0.torn, (length - last) as u64);
        let audit = in_file(&path);
        audit.check().unwrap();
        closed(audit, &path);
        let (found, records) = verified(&path);
        assert_eq!((found.torn, &found.broken), (0, &None));
        let words: Vec<&str> = records[2..].iter().map(|record| record.action.as_str()).collect();
        assert_eq!(words, ["recover", "begin", "end"]);
        assert!(records[2].reason.as_ref().unwrap().contains(&format!("{} bytes", length - last)));
        assert_eq!(records[4].object.as_deref(), Some("drill-1"), "it had begun, and had no end");
    }
}

#[test]
fn a_log_that_was_changed_is_left_alone_and_says_what_to_do() {
    let path = path();
    let audit = in_file(&path);
    audit.write(act(1)).unwrap();
    closed(audit, &path);
    let text = std::fs::read_to_string(&path).unwrap().replace("ann", "bob");
    std::fs::write(&path, &text).unwrap();
    let audit = in_file(&path);
    let why = audit.check().unwrap_err();
    assert!(why.contains("from line 2 on") && why.contains(&format!("mv {0} {0}.broken", path.display())), "{why}");
    assert_eq!(audit.failure(), Some(why));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    std::fs::rename(&path, path.with_extension("broken")).unwrap();
    audit.write(act(2)).unwrap();
    assert_eq!((audit.failure(), verified(&path).0.size), (None, 2));
}

#[test]
fn two_writers_of_one_file_are_refused() {
    let path = path();
    let first = in_file(&path);
    first.check().unwrap();
    let why = in_file(&path).check().unwrap_err();
    assert!(why.contains("another squall"), "{why}");
}

#[test]
fn a_log_that_is_moved_away_begins_anew_and_names_the_old_one() {
    let path = path();
    let audit = in_file(&path);
    audit.write(act(1)).unwrap();
    let head = audit.checkpoint().unwrap().head;
    std::fs::rename(&path, path.with_extension("old")).unwrap();
    audit.write(act(2)).unwrap();
    let (found, records) = verified(&path);
    assert_eq!(
        (found.broken, records[0].action.as_str(), records[1].object.as_deref()),
        (None, "begin", Some("drill-2"))
    );
    assert!(records[0].reason.as_ref().unwrap().contains(&head), "{:?}", records[0].reason);
}

#[test]
fn what_could_not_be_written_follows_a_gap() {
    let log = Log::default();
    let audit = log.audit(HandClock::new());
    audit.write(act(1)).unwrap();
    log.fill(true);
    audit.note(act(2));
    assert!(audit.write(act(3)).unwrap_err().starts_with("the audit log can't be written: memory: "));
    assert!(audit.failure().is_some());
    (0..1100).for_each(|n| audit.note(act(100 + n)));
    assert!(audit.check().is_err(), "still full");
    log.fill(false);
    audit.check().unwrap();
    assert_eq!(audit.failure(), None);
    let records = log.records();
    let gap = &records[2];
    assert_eq!((records.len(), gap.action.as_str()), (3 + 1024, "gap"));
    assert!(
        gap.reason.as_ref().unwrap().ends_with("1024 records of that time follow, 78 are lost"),
        "{:?}",
        gap.reason
    );
    assert_eq!(records[3].object.as_deref(), Some("drill-2"));
    assert!(log.told().iter().any(|told| told.contains("nothing starts, traffic goes on")));
}

#[test]
fn checkpoints_come_with_what_matters_and_every_64_records_and_are_signed() {
    let log = Log::default();
    let hand = HandClock::new();
    let audit = log.audit(hand.clone());
    let points = || -> Vec<Checkpoint> {
        let told = log.told();
        let points = told.iter().filter_map(|told| told.strip_prefix("audit checkpoint "));
        points.map(|json| serde_json::from_str(json).unwrap()).collect()
    };
    audit.write(act(1)).unwrap();
    assert_eq!(points().len(), 1, "a start");
    (0..63).for_each(|n| audit.note(act(n)));
    audit.check().unwrap();
    assert_eq!(points().len(), 1);
    audit.note(act(64));
    audit.check().unwrap();
    assert_eq!(points().iter().map(|point| point.size).collect::<Vec<_>>(), [2, 66]);
    audit.seal(act(65));
    audit.check().unwrap();
    let last = points().pop().unwrap();
    assert_eq!((last.size, Some(&last)), (67, audit.checkpoint().as_ref()));
    assert!(last.is_signed_with(b"key") && !last.is_signed_with(b"other"));
    assert!(!Checkpoint { size: 66, ..last.clone() }.is_signed_with(b"key"));
    assert_eq!(read(&*log.bytes(), |_, _| ()).unwrap().head.to_string(), last.head);
    audit.note(act(66));
    audit.check().unwrap();
    hand.forward(60 * SECOND);
    for _ in 0..20_000 {
        if points().len() == 4 {
            return;
        }
        audit.check().unwrap();
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("none after a minute");
}

#[test]
fn what_comes_often_is_counted_and_a_flood_of_kinds_is_bounded() {
    let log = Log::default();
    let hand = HandClock::new();
    let audit = log.audit(hand.clone());
    (0..1000).for_each(|_| audit.often(act(1)));
    (0..2000).for_each(|n| audit.often(act(n)));
    audit.check().unwrap();
    let so_far = log.records().len();
    assert!(so_far <= 1 + 256 + 1, "{so_far}");
    hand.forward(60 * SECOND);
    audit.check().unwrap();
    audit.write(act(9999)).unwrap(); // what is due was told after the check
    let records = log.records();
    let told = |record: &&Record| record.reason.as_ref().is_some_and(|reason| reason.contains(" more within "));
    let more: Vec<&Record> = records.iter().filter(told).collect();
    assert!(more.iter().any(|record| record.object.as_deref() == Some("drill-1")), "{more:#?}");
    assert!(more.iter().any(|record| record.object.is_none()));
}

/// An endpoint that answers what the test says, once per answer.
#[test]
fn an_endpoint_keeps_a_record_once_it_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/audit", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for status in ["200 OK", "503 Busy", "503 Busy", "204 No Content", "200 OK", "200 OK"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !request.ends_with(b"\n")
                || !request.windows(4).any(|four| four == b"\r\n\r\n")
                || request.ends_with(b"\r\n\r\n")
            {
                let n = std::io::Read::read(&mut stream, &mut piece).unwrap();
                assert!(n > 0, "it hung up");
                request.extend_from_slice(&piece[..n]);
            }
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            let body = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            if status.starts_with('2') {
                lines.extend_from_slice(&request[body..]);
            }
        }
        lines
    });
    let limits = Limits::new(&Safety::default()).unwrap();
    let settings = Settings { to: To::Http(url), origin: "here".into(), key: None, limits: limits.clone() };
    let audit = Audit::start(settings, HandClock::new(), |_| ()).unwrap();
    assert!(audit.write(act(1)).unwrap_err().contains("answered 503"));
    while audit.check().is_err() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    audit.write(act(2)).unwrap();
    let mut actions = Vec::new();
    let found = read(&*server.join().unwrap(), |record, _| actions.push(record.action.clone())).unwrap();
    assert_eq!((found.broken, actions.join(" ")), (None, "begin gap start start".into()));

    let settings =
        Settings { to: To::Http("http://169.254.169.254/".into()), origin: "here".into(), key: None, limits };
    let denied = Audit::start(settings, HandClock::new(), |_| ()).unwrap();
    assert!(denied.check().unwrap_err().contains("metadata address"));
}
