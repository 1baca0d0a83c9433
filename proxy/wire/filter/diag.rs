//! What the kernel has dropped at a socket, asked over netlink: `sock_diag(7)`, with the structures of
//! `linux/inet_diag.h`. It needs no privilege for sockets of the own network namespace.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use socket2::SockRef;

/// `nlmsghdr`, and the offsets of its fields.
const HEADER: usize = 16;
/// `inet_diag_req_v2`
const REQUEST: usize = 56;
/// `inet_diag_msg`, before the attributes.
const ANSWER: usize = 72;
/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`
const FLAG_REQUEST: u16 = 1;
const TCP: u8 = 6;
const INET: u8 = 2;
const INET6: u8 = 10;
/// `INET_DIAG_SKMEMINFO`: nine words, of which the last (`SK_MEMINFO_DROPS`) counts packets dropped.
const MEMORY: u16 = 7;
const DROPS: usize = 8;

/// Packets dropped at a TCP socket since it was made (those of its filter among them); none: the kernel does not say.
pub(crate) fn dropped(socket: &impl AsFd) -> Option<u32> {
    let socket = SockRef::from(socket);
    let local = socket.local_addr().ok()?.as_socket()?;
    let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
    let request = request(local, peer, socket.cookie().ok()?);
    let (flags, protocol) = (SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG));
    let kernel = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol).ok()?;
    rustix::net::send(&kernel, &request, SendFlags::empty()).ok()?;
    let mut answer = [0; 1024];
    let (n, _) = rustix::net::recv(&kernel, &mut answer[..], RecvFlags::empty()).ok()?;
    drops(answer.get(..n)?)
}

/// Asks about one socket; its cookie bars another one with the same addresses.
#[allow(clippy::cast_possible_truncation)]
fn request(local: SocketAddr, peer: Option<SocketAddr>, cookie: u64) -> [u8; HEADER + REQUEST] {
    let nobody = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let peer = peer.unwrap_or(nobody);
    let mut bytes = [0; HEADER + REQUEST];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &((HEADER + REQUEST) as u32).to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &FLAG_REQUEST.to_ne_bytes());
    put(HEADER, &[if local.is_ipv4() { INET } else { INET6 }, TCP, 1 << (MEMORY - 1)]);
    put(HEADER + 4, &u32::MAX.to_ne_bytes()); // in any state
    put(HEADER + 8, &local.port().to_be_bytes());
    put(HEADER + 10, &peer.port().to_be_bytes());
    for (at, address) in [(HEADER + 12, local.ip()), (HEADER + 28, peer.ip())] {
        match address {
            IpAddr::V4(address) => put(at, &address.octets()),
            IpAddr::V6(address) => put(at, &address.octets()),
        }
    }
    put(HEADER + 48, &(cookie as u32).to_ne_bytes()); // its low half first, whatever the byte order
    put(HEADER + 52, &((cookie >> 32) as u32).to_ne_bytes());
    bytes
}

/// Finds the count in an answer.
fn drops(answer: &[u8]) -> Option<u32> {
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if half(4)? != BY_FAMILY {
        return None; // an error: there is no such socket
    }
    let mut at = HEADER + ANSWER;
    loop {
        let (length, kind) = (usize::from(half(at)?), half(at + 2)?);
        if kind == MEMORY {
            let count = at + 4 + 4 * DROPS;
            return Some(u32::from_ne_bytes(answer.get(count..count + 4)?.try_into().ok()?));
        }
        at += length.max(4).next_multiple_of(4);
    }
}
