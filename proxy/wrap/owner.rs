//! Whose a connection on loopback is: nobody but this user may go out through the front.

use std::net::SocketAddr;

use super::bypassed::address;

/// The kernel's tables of TCP sockets. A client's socket of IPv6 that is connected to `::ffff:127.0.0.1` stands in the second.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// How often they are read: a table that changes while it is read may leave out a line.
const LOOKS: usize = 3;

/// What the tables say about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    User(u32),
    /// It was closed by its process: the kernel says root of it, whoever that was.
    Gone,
}

/// Whether the process at the other end of a connection belongs to another user, or can't be told any more. root may. Where
/// there are no such tables (not Linux) nobody is another.
pub(super) fn is_another(from: SocketAddr, to: SocketAddr) -> bool {
    let own = rustix::process::getuid().as_raw();
    for _ in 0..LOOKS {
        let tables: Vec<String> = TABLES.iter().filter_map(|table| std::fs::read_to_string(table).ok()).collect();
        if tables.is_empty() {
            return false;
        }
        match tables.iter().find_map(|table| owner(table, from, to)) {
            Some(Owner::User(uid)) => return uid != own && uid != 0,
            Some(Owner::Gone) => return true,
            None => {}
        }
    }
    true
}

/// Of the socket from one address to another (proc(5), /proc/net/tcp). Ports alone don't tell: another user may take the same
/// one at another address of loopback.
fn owner(table: &str, from: SocketAddr, to: SocketAddr) -> Option<Owner> {
    let port = format!(":{:04X}", from.port());
    let is = |word: &str, place: SocketAddr| {
        address(word).is_some_and(|it| it == SocketAddr::new(place.ip().to_canonical(), place.port()))
    };
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, remote) = (words.get(1)?, words.get(2)?);
        if !local.ends_with(&port) || !is(local, from) || !is(remote, to) {
            return None;
        }
        match *words.get(9)? {
            "0" => Some(Owner::Gone), // no inode
            _ => Some(Owner::User(words.get(7)?.parse().ok()?)),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_table_names_the_owner() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0200007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 1 1 0\n   \
                     1: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0\n   \
                     2: 0100007F:D432 0100007F:1F90 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0\n   \
                     3: 0000000000000000FFFF00000100007F:D433 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 \
                     00:00000000 00000000  1002        0 3 1 0\n";
        let of = |from: &str| owner(table, from.parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
        if cfg!(target_endian = "little") {
            assert_eq!(of("127.0.0.1:54321"), Some(Owner::User(1001)));
            assert_eq!(of("127.0.0.2:54321"), Some(Owner::User(1000)), "another address, the same port");
            assert_eq!(of("127.0.0.1:54322"), Some(Owner::Gone));
            assert_eq!(of("127.0.0.1:54323"), Some(Owner::User(1002)));
        }
        assert_eq!(of("127.0.0.1:1"), None);
    }

    #[test]
    fn this_process_is_nobody_else_by_either_family() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(to).unwrap();
        assert!(!is_another(client.local_addr().unwrap(), to));
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", to.port()).parse().unwrap();
        if let Ok(client) = std::net::TcpStream::connect(mapped) {
            assert!(!is_another(client.local_addr().unwrap(), to));
        } // else this machine has no IPv6
    }

    #[test]
    fn who_has_closed_is_trusted_no_more() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(to).unwrap();
        let from = client.local_addr().unwrap();
        let (_server, _) = listener.accept().unwrap();
        drop(client);
        assert!(!cfg!(target_os = "linux") || is_another(from, to));
    }
}
