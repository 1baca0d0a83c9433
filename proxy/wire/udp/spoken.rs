//! Which of the machine's addresses a client has spoken to, on a socket that listens on all of them: its answers have to leave
//! from there. The kernel tells it with each datagram, and takes it with each answer: `IP_PKTINFO` (ip(7)) and
//! `IPV6_RECVPKTINFO` (RFC 3542, section 6). A socket of one address has nothing to ask.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use rustix::io::Errno;

use super::Peer;

/// Asks the kernel to tell it, where the socket has several addresses. Whether it has.
pub(super) fn ask(socket: &impl AsFd, bound: SocketAddr) -> io::Result<bool> {
    match bound.ip() {
        IpAddr::V4(address) if address.is_unspecified() => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        IpAddr::V6(address) if address.is_unspecified() => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Room for what the kernel tells.
pub(super) fn room() -> Vec<u8> {
    nix::cmsg_space!(libc::in6_pktinfo)
}

/// A datagram, who has sent it and to which address; none: that could not be told.
pub(super) fn receive(socket: &impl AsFd, buffer: &mut [u8], room: &mut [u8]) -> Result<(usize, Option<Peer>), Errno> {
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrStorage>(socket.as_fd().as_raw_fd(), &mut parts, Some(room), MsgFlags::empty());
    let received = received.map_err(errno)?;
    Ok((received.bytes, peer(&received)))
}

fn peer(received: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Peer> {
    let from = received.address?;
    let v4 = from.as_sockaddr_in().map(|from| SocketAddr::V4((*from).into()));
    let client = v4.or_else(|| from.as_sockaddr_in6().map(|from| SocketAddr::V6((*from).into())))?;
    let own = received.cmsgs().ok()?.find_map(|told| match told {
        // of a broadcast: not where it went, but the address to answer from
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr))))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr))),
        _ => None,
    });
    Some(Peer { client, own })
}

/// Sends an answer from the address that its client has spoken to.
pub(super) fn send(socket: &impl AsFd, client: SocketAddr, own: IpAddr, bytes: &[u8]) -> Result<(), Errno> {
    let to = SockaddrStorage::from(client);
    let send = |from: ControlMessage<'_>| {
        sendmsg(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], &[from], MsgFlags::empty(), Some(&to))
    };
    let sent = match own {
        IpAddr::V4(own) => {
            let own = libc::in_addr { s_addr: own.to_bits().to_be() };
            send(ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: own,
                ipi_addr: libc::in_addr { s_addr: 0 },
            }))
        }
        IpAddr::V6(own) => {
            let own = libc::in6_addr { s6_addr: own.octets() };
            send(ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo { ipi6_addr: own, ipi6_ifindex: 0 }))
        }
    };
    sent.map(drop).map_err(errno)
}

fn errno(error: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(error as i32)
}
