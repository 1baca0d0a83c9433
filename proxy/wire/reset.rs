//! Resets that lose nothing that went before: RST discards what the kernel has not sent yet, so wait for that first.

use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use socket2::SockRef;

use crate::socket::Socket;

/// From here on the socket counts as writable only when nothing is left unsent.
pub(crate) fn prepare(socket: &Socket) {
    #[cfg(target_os = "linux")]
    if socket.is_tcp() {
        let _best_effort = SockRef::from(&socket.fd()).set_tcp_notsent_lowat(1);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// Waits until everything written has been sent, after [`prepare`]. A failed socket has nothing left to send.
pub(crate) fn poll_sent(socket: &Socket, cx: &mut Context<'_>) -> Poll<()> {
    let sent = socket.poll_write_with(cx, |fd| {
        let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(0) => Err(Errno::AGAIN), // asking has told the kernel that somebody waits for the change
            _ => Ok((0, true)),
        }
    });
    sent.map(|_| ())
}

/// Closing the socket sends RST from here on (on a unix socket, nothing in particular).
pub(crate) fn arm(socket: &Socket) {
    if socket.is_tcp() {
        let _gone_already = SockRef::from(&socket.fd()).set_linger(Some(Duration::ZERO));
    }
}
