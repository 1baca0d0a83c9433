//! A connection through squall with both of its ends in the test's hands.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wait::PATIENCE;

/// How a connection ends for one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
}

/// The two ends.
#[derive(Debug)]
pub struct Line {
    pub client: Peer,
    pub server: Peer,
}

impl Line {
    /// A word each way.
    #[track_caller]
    pub fn works(&mut self) {
        self.client.say(b"ping");
        assert_eq!(self.server.hear(4), b"ping");
        self.server.say(b"pong!");
        assert_eq!(self.client.hear(5), b"pong!");
    }
}

/// One end.
#[derive(Debug)]
pub struct Peer(TcpStream);

impl Peer {
    pub fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer(stream)
    }

    /// Where it is.
    pub fn address(&self) -> std::net::SocketAddr {
        self.0.local_addr().unwrap()
    }

    #[track_caller]
    pub fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Says it on a thread of its own, for as much as buffers can't hold. Whoever cuts the connection cuts it short.
    pub fn say_aside(&self, bytes: Vec<u8>) -> JoinHandle<()> {
        let mut stream = self.0.try_clone().unwrap();
        std::thread::spawn(move || drop(stream.write_all(&bytes)))
    }

    /// Leaves with RST.
    pub fn abort(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// No more to say. Whoever has been reset has nothing to finish.
    pub fn finish(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// The next `n` bytes.
    #[track_caller]
    pub fn hear(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// What one read returns, and no more.
    #[track_caller]
    pub fn read(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 64 << 10];
        let n = self.0.read(&mut bytes).unwrap();
        bytes.truncate(n);
        bytes
    }

    /// Everything to the end, and which end that is.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let end = match self.0.read_to_end(&mut bytes) {
            Ok(_) => End::Fin,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("neither FIN nor RST after {} bytes: {error}", bytes.len()),
        };
        (bytes, end)
    }

    /// The end, with nothing before it.
    #[track_caller]
    pub fn end(&mut self) -> End {
        let (bytes, end) = self.rest();
        assert!(bytes.is_empty(), "{} bytes came before {end:?}", bytes.len());
        end
    }

    /// Waits until a byte or an end is there; takes none.
    #[track_caller]
    pub fn hears_something(&self) {
        self.0.peek(&mut [0]).unwrap();
    }

    /// Whether neither a byte nor an end comes for so long.
    pub fn is_silent_for(&self, ms: u64) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(ms))).unwrap();
        let heard = self.0.peek(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        heard.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Neither a byte nor an end comes for so long.
    #[track_caller]
    pub fn hears_nothing_for(&mut self, ms: u64) {
        self.0.set_read_timeout(Some(Duration::from_millis(ms))).unwrap();
        let heard = self.0.peek(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        match heard {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            heard => panic!("expected silence, came {heard:?}"),
        }
    }
}

/// Bytes that show a gap, a swap or a change anywhere.
pub fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|at| (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8).collect()
}
