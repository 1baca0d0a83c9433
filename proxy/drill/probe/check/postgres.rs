//! `postgres`: one statement over the simple query protocol
//! <https://www.postgresql.org/docs/current/protocol-flow.html>. Messages and authentication are those of postgres-protocol.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{DataRowBody, ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{LOOK, quote};

/// Who asks, and where.
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) database: &'a str,
    pub(super) password: Option<&'a str>,
}

pub(super) async fn check(
    stream: TcpStream,
    login: &Login<'_>,
    query: &str,
    expect: Option<&str>,
) -> Result<(), String> {
    let mut talk = Talk { stream, read: BytesMut::new(), write: BytesMut::new() };
    talk.log_in(login).await?;
    let first = talk.ask(query).await?;
    talk.farewell().await;
    match (expect, first) {
        (None, _) => Ok(()),
        (Some(expect), None) => Err(format!("no row came back, where {expect:?} was expected")),
        (Some(expect), Some(value)) if value != expect => {
            Err(format!("the answer was {}, not {expect:?}", quote(&value)))
        }
        _ => Ok(()),
    }
}

/// A session.
struct Talk {
    stream: TcpStream,
    read: BytesMut,
    write: BytesMut,
}

impl Talk {
    async fn log_in(&mut self, login: &Login<'_>) -> Result<(), String> {
        let parameters = [
            ("user", login.user),
            ("database", login.database),
            ("application_name", "squall"),
            ("client_encoding", "UTF8"),
        ];
        self.send(|out| frontend::startup_message(parameters, out)).await?;
        let password = || login.password.ok_or("the server asks for a password: name one with `password_env`");
        loop {
            match self.next().await? {
                Message::AuthenticationOk => break,
                Message::AuthenticationCleartextPassword => {
                    let password = password()?;
                    self.send(|out| frontend::password_message(password.as_bytes(), out)).await?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(login.user.as_bytes(), password()?.as_bytes(), body.salt());
                    self.send(|out| frontend::password_message(hash.as_bytes(), out)).await?;
                }
                Message::AuthenticationSasl(_) => self.scram(password()?).await?,
                other => {
                    return Err(unexpected(&other, "the server asks for a way of authentication that is not known"));
                }
            }
        }
        self.until_ready().await.map(drop)
    }

    /// SCRAM-SHA-256, RFC 7677.
    async fn scram(&mut self, password: &str) -> Result<(), String> {
        let wrong = |error: std::io::Error| format!("SCRAM: {error}");
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out)).await?;
        match self.next().await? {
            Message::AuthenticationSaslContinue(body) => scram.update(body.data()).map_err(wrong)?,
            other => return Err(unexpected(&other, "the server knows no SCRAM-SHA-256")),
        }
        self.send(|out| frontend::sasl_response(scram.message(), out)).await?;
        match self.next().await? {
            Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(wrong),
            other => Err(unexpected(&other, "the server broke SCRAM off")),
        }
    }

    /// The first column of the first row; none: there was no row, or a null in it.
    async fn ask(&mut self, query: &str) -> Result<Option<String>, String> {
        self.send(|out| frontend::query(query, out)).await?;
        self.until_ready().await
    }

    async fn until_ready(&mut self) -> Result<Option<String>, String> {
        let mut first = None;
        loop {
            match self.next().await? {
                Message::ReadyForQuery(_) => return Ok(first.flatten()),
                Message::DataRow(row) => first = first.or(Some(column(&row))),
                Message::ErrorResponse(body) => return Err(told(&body)),
                Message::CopyInResponse(_) | Message::CopyOutResponse(_) => return Err("COPY can not be probed".into()),
                _ => {}
            }
        }
    }

    /// It has answered: a farewell that can not be sent is no failure.
    async fn farewell(&mut self) {
        let terminate = |out: &mut BytesMut| {
            frontend::terminate(out);
            Ok(())
        };
        let _ = self.send(terminate).await;
    }

    async fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Result<(), String> {
        self.write.clear();
        write(&mut self.write).map_err(|error| error.to_string())?;
        self.stream.write_all(&self.write).await.map_err(|error| error.to_string())
    }

    /// The next message that is not a notice.
    async fn next(&mut self) -> Result<Message, String> {
        let wrong = |error: std::io::Error| format!("the answer is not that of a PostgreSQL server: {error}");
        loop {
            let header = Header::parse(&self.read).map_err(wrong)?;
            // held against a bound first: the parser makes room for whatever length is written
            if header.is_some_and(|header| usize::try_from(header.len()).map_or(true, |length| length > LOOK)) {
                return Err(format!("an answer longer than {LOOK} bytes"));
            }
            match Message::parse(&mut self.read).map_err(wrong)? {
                Some(Message::NoticeResponse(_)) => continue,
                Some(message) => return Ok(message),
                None => {}
            }
            if self.stream.read_buf(&mut self.read).await.map_err(|error| error.to_string())? == 0 {
                return Err("the connection was closed before an answer".into());
            }
        }
    }
}

fn column(row: &DataRowBody) -> Option<String> {
    let range = row.ranges().next().ok().flatten().flatten()?;
    row.buffer().get(range).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn unexpected(message: &Message, else_: &str) -> String {
    match message {
        Message::ErrorResponse(body) => told(body),
        _ => else_.to_owned(),
    }
}

/// The server's own words.
fn told(body: &ErrorResponseBody) -> String {
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        if field.type_() == b'M' {
            return quote(&String::from_utf8_lossy(field.value_bytes()));
        }
    }
    "an error without words".into()
}
