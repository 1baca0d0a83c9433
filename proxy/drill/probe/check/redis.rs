//! `redis`: one command in RESP2 <https://redis.io/docs/latest/develop/reference/protocol-spec/> and its reply. A client library
//! would bring pools, cluster and pub/sub; this needs a request and an answer.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{LOOK, quote};

/// Values of one reply at most.
const MOST_VALUES: u64 = 100_000;

pub(super) async fn check(
    mut stream: TcpStream,
    auth: Option<&[&str]>,
    command: &[String],
    expect: Option<&str>,
) -> Result<(), String> {
    let mut rest = Vec::new();
    if let Some(auth) = auth {
        let words: Vec<&str> = ["AUTH"].into_iter().chain(auth.iter().copied()).collect();
        ask(&mut stream, &mut rest, &words).await.map_err(|why| format!("AUTH: {why}"))?;
    }
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let reply = ask(&mut stream, &mut rest, &words).await?;
    match expect {
        Some(expect) if reply != expect && !reply.lines().any(|line| line == expect) => {
            Err(format!("replied {}, not {expect:?}", quote(&reply)))
        }
        _ => Ok(()),
    }
}

/// Sends a command and reads one reply; what came after it stays in `rest`.
async fn ask(stream: &mut TcpStream, rest: &mut Vec<u8>, words: &[&str]) -> Result<String, String> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    stream.write_all(&request).await.map_err(|error| error.to_string())?;
    loop {
        if let Some((reply, used)) = reply(rest)? {
            rest.drain(..used);
            return reply;
        }
        if rest.len() > LOOK {
            return Err(format!("the reply is longer than {LOOK} bytes"));
        }
        if stream.read_buf(rest).await.map_err(|error| error.to_string())? == 0 {
            return Err("the connection was closed before a whole reply".into());
        }
    }
}

/// A whole reply: its text (the values of a list one per line) or the server's error.
type Reply = Result<String, String>;

/// Takes a reply from the beginning of what was read, with its length; none: it is not whole. Errors: it is not RESP2.
fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    let wrong = || "the reply is not that of a Redis server".to_owned();
    let (mut at, mut left, mut lines) = (0, 1_u64, Vec::new());
    while left > 0 {
        let Some(end) = bytes[at..].windows(2).position(|pair| pair == b"\r\n") else {
            let is_resp = bytes.get(at).is_none_or(|kind| b"+-:$*".contains(kind));
            return if is_resp { Ok(None) } else { Err(wrong()) };
        };
        let line = std::str::from_utf8(&bytes[at..at + end]).map_err(|_| wrong())?;
        at += end + 2;
        left -= 1;
        let mut letters = line.chars();
        let (kind, value) = (letters.next(), letters.as_str());
        match kind {
            Some('-') if lines.is_empty() && left == 0 => return Ok(Some((Err(value.to_owned()), at))),
            Some('+' | '-' | ':') => lines.push(value.to_owned()),
            Some('$' | '*') if value == "-1" => lines.push("(nil)".to_owned()),
            Some('*') => {
                let many = value.parse::<u64>().ok().filter(|many| *many <= MOST_VALUES).ok_or_else(wrong)?;
                left = left.saturating_add(many);
            }
            Some('$') => {
                let length = value.parse::<usize>().ok().filter(|length| *length <= LOOK).ok_or_else(wrong)?;
                let Some(text) = bytes.get(at..at + length + 2) else { return Ok(None) };
                lines.push(String::from_utf8_lossy(&text[..length]).into_owned());
                at += length + 2;
            }
            _ => return Err(wrong()),
        }
        if lines.len() as u64 > MOST_VALUES {
            return Err(wrong());
        }
    }
    Ok(Some((Ok(lines.join("\n")), at)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(bytes: &str) -> Result<String, String> {
        let (reply, used) = reply(bytes.as_bytes())?.ok_or("not whole")?;
        assert_eq!(used, bytes.len());
        reply
    }

    #[test]
    fn every_kind_of_reply_is_read_as_text() {
        for (bytes, text) in [
            ("+PONG\r\n", "PONG"),
            (":42\r\n", "42"),
            ("$5\r\na\r\nbc\r\n", "a\r\nbc"),
            ("$0\r\n\r\n", ""),
            ("$-1\r\n", "(nil)"),
            ("*0\r\n", ""),
            ("*3\r\n:1\r\n*2\r\n$1\r\nb\r\n-ERR x\r\n$-1\r\n", "1\nb\nERR x\n(nil)"),
        ] {
            assert_eq!(read(bytes), Ok(text.to_owned()), "{bytes:?}");
        }
        assert_eq!(read("-NOAUTH needed\r\n"), Err("NOAUTH needed".into()));
    }

    #[test]
    fn a_part_of_a_reply_waits_for_the_rest() {
        let whole = "*2\r\n$3\r\nabc\r\n:7\r\n";
        for end in 0..whole.len() {
            assert_eq!(reply(&whole.as_bytes()[..end]).unwrap(), None, "{end} bytes");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in ["HTTP/1.1 200 OK\r\n", "x", "$x\r\n", "$99999999999\r\n", "*-5\r\n", "*100001\r\n"] {
            assert!(reply(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }
}
