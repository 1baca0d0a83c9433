//! How much memory faults may hold: a delay line under load needs bandwidth × delay, and the machine needs the rest.

use std::fs;

/// Where the system does not say how much there is.
const UNKNOWN: u64 = 4 << 30;
/// A share is at least and at most so large.
const LEAST: u64 = 64 << 20;
const MOST: u64 = 8 << 30;

/// Bytes: a quarter of what this process can have, 64 MiB to 8 GiB.
pub(crate) fn share() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let share = machine.into_iter().chain(limits()).min().unwrap_or(UNKNOWN) / 4;
    usize::try_from(share.clamp(LEAST, MOST)).unwrap_or(usize::MAX / 4)
}

/// The limits of the control groups that this process is in, of either version, from its own up to the root.
fn limits() -> Vec<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = groups.lines().filter_map(place).flat_map(|(root, file, path)| {
        let above = std::path::Path::new(path.trim_start_matches('/')).ancestors();
        above.map(|group| std::path::Path::new(root).join(group).join(file)).collect::<Vec<_>>()
    });
    files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).collect() // `max` is no limit
}

/// Where the memory limit of a line of `/proc/self/cgroup` stands: root, file, and the group's path below the root.
fn place(line: &str) -> Option<(&'static str, &'static str, &str)> {
    let (_, rest) = line.split_once(':')?;
    match rest.split_once(':')? {
        ("", path) => Some(("/sys/fs/cgroup", "memory.max", path)),
        (controllers, path) if controllers.split(',').any(|name| name == "memory") => {
            Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path))
        }
        _ => None,
    }
}

/// `MemTotal` in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_limits_stand() {
        assert_eq!(place("0::/a/b.scope"), Some(("/sys/fs/cgroup", "memory.max", "/a/b.scope")));
        assert_eq!(place("7:memory:/docker/x"), Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "/docker/x")));
        assert_eq!(place("4:cpu,cpuacct:/"), None);
        assert_eq!(place(""), None);
        assert_eq!(total("MemTotal:       24683520 kB\nMemFree: 1 kB\n"), Some(24_683_520 * 1024));
        assert_eq!(total("nothing"), None);
    }

    #[test]
    fn a_share_is_never_nothing_nor_all() {
        assert!((LEAST..=MOST).contains(&(share() as u64)));
    }
}
