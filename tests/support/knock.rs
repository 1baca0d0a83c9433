//! A connection on its way, and a place where packets of connections may be dropped.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockFilter, Socket, Type};

use super::namespace::Namespace;
use super::programs::installed;
use super::wait::PATIENCE;
use super::{Peer, Room};

/// A client that has sent its first packet.
#[derive(Debug)]
pub struct Knock(Socket);

impl Knock {
    pub fn on(address: SocketAddr) -> Knock {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let sent = socket.connect(&address.into()).unwrap_err();
        assert_eq!(sent.raw_os_error(), Some(rustix::io::Errno::INPROGRESS.raw_os_error()), "{sent}");
        Knock(socket)
    }

    /// The handshake is not answered for so long.
    #[track_caller]
    pub fn waits_for(&self, ms: u64) {
        assert!(!self.is_answered_within(Duration::from_millis(ms)), "the handshake was answered");
    }

    /// Waits for the answer, and takes the very same socket on.
    #[track_caller]
    pub fn let_in(self) -> Peer {
        assert!(self.is_answered_within(PATIENCE), "no answer to the handshake");
        assert!(self.0.take_error().unwrap().is_none());
        self.0.set_nonblocking(false).unwrap();
        Peer::new(self.0.into())
    }

    pub fn is_answered_within(&self, patience: Duration) -> bool {
        let limit = Timespec::try_from(patience).unwrap();
        poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], Some(&limit)).unwrap() > 0
    }
}

/// Runs `test` (its whole name) where packets may be dropped in the kernel: here, or else again in a network namespace,
/// in which anybody may.
#[track_caller]
pub fn may_drop_packets(test: &str, body: impl FnOnce()) {
    const AGAIN: &str = "SQUALL_TEST_AGAIN";
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if socket.attach_filter(&[SockFilter::new(6, 0, 0, u32::MAX)]).is_ok() {
        return body();
    }
    assert!(std::env::var_os(AGAIN).is_none(), "CAP_NET_ADMIN in a network namespace of its own is not enough here");
    let namespace = Namespace::new();
    let mut again: Command = namespace.command(std::env::current_exe().unwrap());
    let ended = again.args(["--exact", test, "--nocapture"]).env(AGAIN, "1").output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && text.contains("1 passed"), "{text}\n{}", String::from_utf8_lossy(&ended.stderr));
}

/// How often TCP has sent something again on the connection of this local address.
#[track_caller]
pub fn retransmissions(local: SocketAddr) -> u64 {
    let filter = format!("src {local}");
    let asked = Command::new(installed("ss")).args(["--tcp", "--info", "--numeric", "--no-header", &filter]).output();
    let text = String::from_utf8_lossy(&asked.unwrap().stdout).into_owned();
    assert!(text.contains("rto:"), "no connection {local}: {text:?}");
    // "retrans:<now unacknowledged>/<ever>", left out while it is 0
    let ever = text.split_once(" retrans:").and_then(|(_, rest)| rest.split_whitespace().next()?.split_once('/'));
    ever.map_or(0, |(_, ever)| ever.parse().unwrap())
}

/// A command for squall with no capability, also where the tests run as root; and a room for it.
pub fn without_privileges() -> (Room, Command) {
    let squall = env!("CARGO_BIN_EXE_squall");
    if !rustix::process::geteuid().is_root() {
        return (Room::new(), Command::new(squall));
    }
    let mut command = Command::new(installed("setpriv"));
    command.args(["--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", squall]);
    (Room::new(), command)
}
