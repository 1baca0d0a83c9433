//! Somebody who answers every request with `200` and `{}`: for hosts that are only called to see how their clients behave.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::front::breathe;
use super::head;

/// Connections at one moment.
const MOST: usize = 256;
/// How long a client may take to send its request, and to leave.
const PATIENCE: Duration = Duration::from_secs(30);

/// Running; it ends when it is dropped.
#[derive(Debug)]
pub struct Anybody {
    address: SocketAddr,
    _alive: oneshot::Sender<()>,
}

impl Anybody {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// When the system gives no socket or no thread.
    pub fn start() -> io::Result<Anybody> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (alive, over) = oneshot::channel::<()>();
        runtime.spawn(async move {
            let room = Arc::new(Semaphore::new(MOST));
            while let Ok(place) = room.clone().acquire_owned().await {
                let Ok((client, _)) = listener.accept().await else {
                    breathe().await;
                    continue;
                };
                tokio::spawn(async move {
                    let _place = place;
                    let _it_has_gone = timeout(PATIENCE, answer(client)).await;
                });
            }
        });
        std::thread::Builder::new().name("stand-in".into()).spawn(move || {
            let _its_end = runtime.block_on(over);
        })?;
        Ok(Anybody { address, _alive: alive })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// One request to a connection; the rest of it is read so that the client hears the answer.
async fn answer(mut client: TcpStream) -> io::Result<()> {
    let mut read = Vec::new();
    while let Ok(None) = head::parse(&read) {
        if client.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
    let whole =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    client.write_all(whole).await?;
    client.shutdown().await?;
    let mut rest = [0; 16 * 1024];
    while client.read(&mut rest).await? > 0 {}
    Ok(())
}
