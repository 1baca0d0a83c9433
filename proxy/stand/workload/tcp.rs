//! `kind = "tcp"`: sends a text and compares what comes back.

use std::mem::MaybeUninit;

use socket2::SockRef;
use squall_core::scenario::{TcpRequest, Weighted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::arrivals::Due;
use super::dispatch::Client;
use super::failure::Failure;
use super::template::Template;

pub(super) struct TcpClient {
    /// What is sent and what must come back.
    requests: Vec<[Template; 2]>,
}

impl TcpClient {
    pub(super) fn new(requests: &[Weighted<TcpRequest>]) -> TcpClient {
        let both =
            |one: &Weighted<TcpRequest>| [&one.request.send, &one.request.expect].map(|text| Template::new(text));
        TcpClient { requests: requests.iter().map(both).collect() }
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

    async fn exchange(&self, stream: &mut TcpStream, due: Due) -> Result<(), Failure> {
        let [send, expect] = self.requests.get(due.request).ok_or(Failure::Other)?;
        stream.write_all(send.fill(due.number).as_bytes()).await?;
        let expect = expect.fill(due.number);
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
