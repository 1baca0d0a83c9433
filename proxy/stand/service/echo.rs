//! `kind = "echo"`: sends back what it gets, and the end of it.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

pub(super) async fn converse(mut stream: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}
