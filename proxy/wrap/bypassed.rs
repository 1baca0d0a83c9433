//! Who went past squall: descendants of the wrapped program with a connection of their own to the Internet. Looked at now and
//! then in the kernel's tables, so what is short is not seen: best effort, and Linux only.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Serialize;
use squall_core::limits::Limits;

/// Connections that are told.
const MOST: usize = 100;

/// A process that went past squall.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Bypassed {
    /// The program's name, as the kernel has it.
    pub program: String,
    /// Where it went.
    pub to: SocketAddr,
    /// The process that was seen there first.
    pub pid: i32,
}

/// Looks, and remembers.
#[derive(Debug)]
pub struct Detector {
    root: i32,
    limits: Limits,
    seen: BTreeMap<(String, SocketAddr), i32>,
}

impl Detector {
    /// For the descendants of a process; addresses that these limits deny are nobody's business.
    pub fn new(root: i32, limits: Limits) -> Detector {
        Detector { root, limits, seen: BTreeMap::new() }
    }

    /// Looks once.
    pub fn look(&mut self) {
        let far: HashMap<u64, SocketAddr> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|table| std::fs::read_to_string(table).ok())
            .flat_map(|table| connections(&table))
            .filter(|(_, to)| self.limits.check("", *to).is_ok())
            .collect();
        if far.is_empty() {
            return;
        }
        for pid in descendants(self.root, &parents()) {
            for to in sockets(pid).into_iter().filter_map(|inode| far.get(&inode)) {
                let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                let key = (program.trim().to_owned(), *to);
                if self.seen.len() < MOST || self.seen.contains_key(&key) {
                    self.seen.entry(key).or_insert(pid);
                }
            }
        }
    }

    /// All that was seen so far.
    pub fn all(&self) -> Vec<Bypassed> {
        let told =
            self.seen.iter().map(|((program, to), pid)| Bypassed { program: program.clone(), to: *to, pid: *pid });
        told.collect()
    }
}

/// Where established connections and those on the way lead, by inode (proc(5), /proc/net/tcp).
fn connections(table: &str) -> Vec<(u64, SocketAddr)> {
    let of = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_open = matches!(*words.get(3)?, "01" | "02");
        let to = address(words.get(2)?)?;
        is_open.then(|| Some((words.get(9)?.parse().ok()?, to))).flatten()
    };
    table.lines().skip(1).filter_map(of).collect()
}

/// Words of 32 bits in the machine's order, in hexadecimal.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..address.len() / 8)
        .map(|n| Some(u32::from_str_radix(address.get(n * 8..n * 8 + 8)?, 16).ok()?.to_ne_bytes()))
        .collect();
    let ip: IpAddr = match words?.as_slice() {
        [v4] => Ipv4Addr::from(*v4).into(),
        [a, b, c, d] => {
            let bytes: [u8; 16] = [*a, *b, *c, *d].concat().try_into().ok()?;
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Every process with its parent.
fn parents() -> Vec<(i32, i32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let after_name = stat.rsplit_once(')')?.1; // a name may hold anything
        Some((pid, after_name.split_ascii_whitespace().nth(1)?.parse().ok()?))
    };
    pids.filter_map(parent).collect()
}

fn descendants(root: i32, parents: &[(i32, i32)]) -> HashSet<i32> {
    let mut found = HashSet::from([root]);
    loop {
        let before = found.len();
        let more: Vec<i32> = parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}

fn sockets(pid: i32) -> Vec<u64> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let inode = |entry: std::fs::DirEntry| {
        let link = std::fs::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_tables_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F90 057100CB:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0\n   \
                     1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0\n";
        if cfg!(target_endian = "little") {
            assert_eq!(connections(table), [(4711, "203.0.113.5:443".parse().unwrap())]);
            let v6 = "B80D0120000000000000000001000000:01BB";
            assert_eq!(address(v6), Some("[2001:db8::1]:443".parse().unwrap()));
        }
        assert_eq!(address("zz:1"), None);
    }

    #[test]
    fn descendants_of_descendants_count() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (1, 0)];
        assert_eq!(descendants(2, &parents), HashSet::from([2, 3, 4]));
    }
}
