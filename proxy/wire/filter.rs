//! Packets that really vanish: a filter of classic BPF on a socket of squall's own, which the kernel asks about every
//! packet before TCP sees it. The sender knows nothing and sends again, as on a lossy link.
//!
//! Since Linux 6.17 or so a filter on a TCP socket needs CAP_NET_ADMIN in the user namespace that owns the network
//! namespace (`EPERM` otherwise); older kernels ask for nothing. So it is tried, not guessed ([`permitted`]).

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod diag;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(crate) use bpf::{attach, detach, permitted};
#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(crate) use diag::dropped;

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
pub(crate) use nothing::{attach, detach, dropped, permitted};

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod bpf {
    use std::io;
    use std::os::fd::AsFd;

    use socket2::{Domain, SockFilter, SockRef, Socket, Type};

    // opcodes of linux/bpf_common.h
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    /// `SKF_AD_OFF + SKF_AD_RANDOM` of linux/filter.h: a random number of 32 bits for each packet.
    const RANDOM: u32 = 0xffff_f000 + 56;
    /// How much of a packet is kept: all of it.
    const KEEP: u32 = u32::MAX;

    /// Has this share (0 to 1) of the packets that come in at a socket vanish. Replaces an earlier filter.
    ///
    /// # Errors
    /// The system's: not permitted, or out of memory for options.
    pub(crate) fn attach(socket: &impl AsFd, share: f64) -> io::Result<()> {
        let (keep, vanish) = (SockFilter::new(RETURN, 0, 0, KEEP), SockFilter::new(RETURN, 0, 0, 0));
        let socket = SockRef::from(socket);
        if share >= 1.0 {
            return socket.attach_filter(&[vanish]);
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let below = (share.max(0.0) * f64::from(u32::MAX)) as u32;
        socket.attach_filter(&[
            SockFilter::new(LOAD_WORD, 0, 0, RANDOM),
            SockFilter::new(JUMP_IF_AT_LEAST, 0, 1, below),
            keep,
            vanish,
        ])
    }

    /// Lets all packets in again.
    pub(crate) fn detach(socket: &impl AsFd) {
        let _there_was_none = SockRef::from(socket).detach_filter();
    }

    /// Whether this process may have packets vanish.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn permitted() -> Result<(), String> {
        let tried = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|socket| attach(&socket, 0.0));
        tried.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "the kernel lets only a process with CAP_NET_ADMIN drop packets of its TCP sockets".to_owned()
            }
            _ => format!("packets can't be dropped in the kernel: {error}"),
        })
    }
}

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
mod nothing {
    use std::io;
    use std::os::fd::AsFd;

    pub(crate) fn attach(_: &impl AsFd, _: f64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn detach(_: &impl AsFd) {}

    pub(crate) fn permitted() -> Result<(), String> {
        Err("packets can be dropped in the kernel of Linux only".into())
    }

    pub(crate) fn dropped(_: &impl AsFd) -> Option<u32> {
        None
    }
}

#[cfg(all(test, target_os = "linux", not(feature = "portable")))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    use super::*;

    fn pair(listen: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(listen).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn all_packets_vanish_and_are_counted_until_it_is_detached() {
        permitted().expect("run the tests with CAP_NET_ADMIN, or in `unshare -Urn`");
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let (mut client, mut server) = pair(listen);
            attach(&server, 1.0).unwrap();
            assert_eq!(dropped(&server), Some(0));
            client.write_all(b"word").unwrap();
            while dropped(&server) == Some(0) {
                std::thread::yield_now();
            }
            server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            assert!(server.read(&mut [0; 8]).is_err(), "{listen}: it came through");
            detach(&server);
            server.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let mut word = [0; 4];
            server.read_exact(&mut word).unwrap(); // sent again by TCP
            assert_eq!(&word, b"word");
            assert!(dropped(&server).unwrap() >= 1);
        }
    }

    #[test]
    fn a_share_of_packets_vanishes() {
        // datagrams, because nobody sends them again
        let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        from.connect(to.local_addr().unwrap()).unwrap();
        attach(&to, 0.2).unwrap();
        to.set_nonblocking(true).unwrap();
        let through = (0..2_000).filter(|_| {
            from.send(b"x").unwrap();
            to.recv(&mut [0]).is_ok()
        });
        let through = through.count();
        assert!((1_500..1_700).contains(&through), "{through} of 2000");
        detach(&to);
        from.send(b"x").unwrap();
        assert!(to.recv(&mut [0]).is_ok());
    }

    #[test]
    fn a_listener_that_is_deaf_counts_who_knocks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        attach(&listener, 1.0).unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::thread::spawn(move || TcpStream::connect(address).unwrap());
        while dropped(&listener) == Some(0) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!client.is_finished());
        detach(&listener);
        client.join().unwrap(); // the next SYN, a second later
    }
}
