//! A stand-in for an API: HTTP/1.1 on loopback, which keeps what it was asked and answers as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

type Answer = dyn Fn(&Asked) -> Vec<u8> + Send + Sync;

/// It listens for as long as the test runs.
pub struct Api {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Api {
    /// Answers every request with 200 and this JSON.
    pub fn saying(json: &str) -> Api {
        let answer = answer("200 OK", "application/json", json.as_bytes());
        Api::new(move |_| answer.clone())
    }

    pub fn new(answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, answer): (_, Arc<Answer>) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (kept, answer) = (kept.clone(), answer.clone());
                std::thread::spawn(move || serve(client, &kept, &*answer));
            }
        });
        Api { address, asked }
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// A whole answer.
pub fn answer(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut text =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    text.extend_from_slice(body);
    text
}

fn serve(client: TcpStream, kept: &Mutex<Vec<Asked>>, answer: &Answer) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut client = client;
    while let Some(asked) = read(&mut reader) {
        kept.lock().unwrap().push(asked.clone());
        let text = answer(&asked);
        let ends = !text.windows(15).any(|part| part.eq_ignore_ascii_case(b"content-length:"));
        if client.write_all(&text).is_err() || ends {
            return;
        }
    }
}

fn read(from: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    if from.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked = Asked { method: words.next()?, target: words.next()?, ..Asked::default() };
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => asked.fields.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = asked.field("content-length").map_or(0, |text| text.parse().unwrap());
    asked.body = vec![0; length];
    from.read_exact(&mut asked.body).ok()?;
    Some(asked)
}
