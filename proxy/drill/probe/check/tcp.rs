//! `tcp`: something listens, and what it answers begins as expected.

use squall_core::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{LOOK, connect, quote};

pub(super) async fn check(
    address: &str,
    send: Option<&str>,
    expect: Option<&str>,
    limits: &Limits,
) -> Result<(), String> {
    let mut stream = connect(address, limits).await?;
    if let Some(send) = send {
        stream.write_all(send.as_bytes()).await.map_err(|error| error.to_string())?;
    }
    let Some(expect) = expect else { return Ok(()) };
    let mut answer = vec![0; expect.len().min(LOOK)];
    let mut got = 0;
    while got < answer.len() {
        let n = stream.read(&mut answer[got..]).await.map_err(|error| error.to_string())?;
        got += n;
        if n == 0 || !expect.as_bytes().starts_with(&answer[..got]) {
            return Err(format!("answered {}, not {expect:?}", quote(&String::from_utf8_lossy(&answer[..got]))));
        }
    }
    Ok(())
}
