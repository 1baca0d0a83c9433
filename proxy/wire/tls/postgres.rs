//! How PostgreSQL's protocol comes to TLS: a request of 8 bytes, and an answer of one (protocol 3, 54.2.10 and 54.7,
//! SSLRequest and GSSENCRequest).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a request.
pub(crate) const LENGTH: usize = 8;
/// May TLS begin?
pub(crate) const SSL_REQUEST: [u8; LENGTH] = [0, 0, 0, 8, 4, 210, 22, 47];
/// May encryption by GSSAPI begin?
pub(crate) const GSS_REQUEST: [u8; LENGTH] = [0, 0, 0, 8, 4, 210, 22, 48];
/// The answer after which the handshake follows.
pub(crate) const SSL_GRANTED: u8 = b'S';
/// It is not spoken here.
pub(crate) const REFUSED: u8 = b'N';

/// Asks a PostgreSQL whether it speaks TLS.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S) -> io::Result<()> {
    io.write_all(&SSL_REQUEST).await?;
    io.flush().await?;
    // one byte and no more: what follows it in the clear must not be taken for what comes under TLS (CVE-2021-23222)
    match io.read_u8().await? {
        SSL_GRANTED => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "this PostgreSQL does not speak TLS")),
    }
}
