//! A log on a disk that fills up, or becomes read-only, while something runs.

use std::process::Command;

use super::log::RESET;
use crate::support::programs::{installed, run};
use crate::support::{Room, Running, echo, round_trip, wait};

/// A sidecar whose state is on a disk of its own, which only it sees.
struct OnDisk {
    room: Room,
    serve: Running,
}

impl OnDisk {
    fn new() -> OnDisk {
        let (room, upstream) = (Room::new(), echo());
        let disk = room.path("disk");
        std::fs::create_dir(&disk).unwrap();
        let config = format!(
            "[control]\nlisten = \"127.0.0.1:0\"\nstate = \"disk\"\n\
             [[proxy]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n"
        );
        let file = room.file("squall.toml", &config);
        let mount = format!("mount -t tmpfs -o size=1m none {}", disk.display());
        let serve = room.serve_on(&mount, &["--config", &file]);
        OnDisk { room, serve }
    }

    /// A command of the shell where squall's disk is; `$disk` is its path.
    fn inside(&self, script: &str) -> String {
        let pid = self.serve.pid().as_raw_nonzero().to_string();
        let mut command = Command::new(installed("nsenter"));
        command.args(["--target", &pid, "--user", "--mount", "--preserve-credentials", "sh", "-euc", script]);
        run(command.env("disk", self.room.path("disk")))
    }

    /// A run is under way; then this happens to the disk, and is undone.
    fn survives(&self, bad: &str, good: &str, words: &str) {
        let (room, proxy) = (&self.room, self.serve.proxy("a"));
        room.squall(&RESET).exits(0);
        assert!(round_trip(&proxy).is_err());
        self.inside(bad);
        // nobody has to abort it: whatever comes next on record finds out
        wait::until("the run to end", || {
            room.squall(&["mark", "inject-a-reset-1", "note", "hello"]);
            round_trip(&proxy).ok()
        });
        wait::until("its state", || room.squall(&["list"]).out.contains("stopped").then_some(()));
        self.serve.wait_for("the audit log can't be written: ");
        let refused = room.squall(&RESET).exits(2).says("the audit log can't be written").says(words);
        assert!(!refused.err.contains("panicked"), "{refused:?}");
        room.squall(&["abort"]).exits(0);
        assert_eq!(round_trip(&proxy).unwrap(), "hello");

        self.inside(good);
        wait::until("a start", || (room.squall(&RESET).code == Some(0)).then_some(()));
        assert!(round_trip(&proxy).is_err());
        room.squall(&["abort"]).exits(0);
        let log = self.inside("cat $disk/audit.log");
        let file = room.file("copy.log", &format!("{log}\n"));
        room.squall(&["audit", "verify", &file]).exits(0);
        let records = super::log::records(file.as_ref());
        let gap = records.iter().position(|record| record.action == "gap").expect("no gap record");
        assert!(records[gap].reason.as_ref().unwrap().ends_with(" 0 are lost"), "{:?}", records[gap]);
        let ended = records.iter().find(|record| record.action == "end").unwrap();
        assert!(ended.reason.as_ref().unwrap().contains("aborted: the audit log can't be written"), "{ended:?}");
    }
}

#[test]
fn a_full_disk_ends_what_runs_and_the_chain_goes_on_when_there_is_room() {
    let fill = "dd if=/dev/zero of=$disk/filler bs=4k 2>/dev/null || true";
    OnDisk::new().survives(fill, "rm $disk/filler", "No space left");
}

/// What holds an open file can't be made read-only, so a disk that is comes over it.
#[test]
fn a_disk_that_becomes_read_only_ends_what_runs_and_the_chain_goes_on_afterwards() {
    OnDisk::new().survives("mount -t tmpfs -o ro none $disk", "umount $disk", "Read-only file system");
}

#[test]
fn a_disk_that_is_read_only_from_the_start_lets_traffic_pass_and_nothing_else() {
    let (room, upstream) = (Room::new(), echo());
    let disk = room.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let config = format!(
        "[control]\nlisten = \"127.0.0.1:0\"\nstate = \"disk\"\n\
         [[proxy]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n"
    );
    let file = room.file("squall.toml", &config);
    let serve = room.serve_on(&format!("mount -t tmpfs -o ro none {}", disk.display()), &["--config", &file]);
    room.squall(&RESET).exits(2).says("Read-only file system");
    assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
    room.squall(&["lever", "engage", "--reason", "x"]).exits(0).says("it may not survive a restart");
    room.squall(&["abort"]).exits(0);
    assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
}
