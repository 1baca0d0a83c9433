//! Whose a connection on loopback is: nobody but this user may go out through the front.

use std::net::SocketAddr;

/// Whether the process at the other end of a connection belongs to another user, as far as the system tells. root may.
pub(super) fn is_another(from: SocketAddr, to_port: u16) -> bool {
    let own = rustix::process::getuid().as_raw();
    let SocketAddr::V4(from) = from else { return false };
    match std::fs::read_to_string("/proc/net/tcp") {
        Ok(table) => uid(&table, from.port(), to_port).is_some_and(|uid| uid != own && uid != 0),
        Err(_) => false, // not Linux
    }
}

/// Of the socket from one local port to another, in the kernel's table of TCP sockets (proc(5)).
fn uid(table: &str, from: u16, to: u16) -> Option<u32> {
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = port(words.get(1)?)? == from && port(words.get(2)?)? == to;
        is_it.then(|| words.get(7)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_table_names_the_owner() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 1 1 0\n   \
                     1: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0\n";
        assert_eq!(uid(table, 0xD431, 0x1F90), Some(1001));
        assert_eq!(uid(table, 0x1F90, 0xD431), Some(1000));
        assert_eq!(uid(table, 1, 2), None);
    }

    #[test]
    fn this_process_is_nobody_else() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(to).unwrap();
        assert!(!is_another(client.local_addr().unwrap(), to.port()));
    }
}
