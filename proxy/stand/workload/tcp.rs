//! `kind = "tcp"`: sends a text and compares what comes back.

use std::mem::MaybeUninit;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::dispatch::Client;
use super::failure::Failure;
use super::template::Template;

pub(super) struct TcpClient {
    send: Template,
    expect: Template,
}

impl TcpClient {
    pub(super) fn new(send: &str, expect: &str) -> TcpClient {
        TcpClient { send: Template::new(send), expect: Template::new(expect) }
    }
}

impl Client for TcpClient {
    type Connection = TcpStream;

    async fn open(&self, stream: TcpStream) -> Result<TcpStream, Failure> {
        Ok(stream)
    }

    /// Not ended by the other side.
    async fn is_usable(&self, stream: &mut TcpStream) -> bool {
        match SockRef::from(&*stream).peek(&mut [MaybeUninit::uninit()]) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }

    async fn exchange(&self, stream: &mut TcpStream, number: u64) -> Result<(), Failure> {
        stream.write_all(self.send.fill(number).as_bytes()).await?;
        let expect = self.expect.fill(number);
        let mut left = expect.as_bytes();
        let mut buffer = [0; 4096];
        while !left.is_empty() {
            let room = left.len().min(buffer.len());
            let read = stream.read(&mut buffer[..room]).await?;
            if read == 0 {
                return Err(Failure::ClosedEarly);
            }
            // An answer that differs may be shorter than the expected one: waiting for the rest would be in vain.
            left = left.strip_prefix(&buffer[..read]).ok_or(Failure::Differs)?;
        }
        Ok(())
    }
}
