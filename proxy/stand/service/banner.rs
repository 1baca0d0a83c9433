//! `kind = "banner"`: says its text on connect and again for every line it gets.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) async fn converse(mut stream: TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    let mut buffer = [0; 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        for _ in buffer[..read].iter().filter(|byte| **byte == b'\n') {
            stream.write_all(text.as_bytes()).await?;
        }
    }
}
