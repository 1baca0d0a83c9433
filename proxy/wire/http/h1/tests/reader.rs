//! A second reader, that shares nothing with the codec: what it can't read in exactly one way, it panics at.

use super::Message;

/// The requests in what squall has sent to an upstream.
pub(super) fn read(mut text: &[u8]) -> Vec<Message> {
    let mut all = Vec::new();
    while !text.is_empty() {
        let (message, rest) = read_one(text);
        all.push(message);
        text = rest;
    }
    all
}

fn read_one(text: &[u8]) -> (Message, &[u8]) {
    let end = find(text, b"\r\n\r\n").expect_one("the end of a head");
    let (head, rest) = (&text[..end], &text[end + 4..]);
    let mut lines = lines(head).into_iter();
    let first = String::from_utf8(lines.next().expect_one("a request line").to_vec()).expect_one("ASCII");
    let [method, target, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else { panic!("{first:?}") };
    assert!(!method.is_empty() && !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic()));
    let fields: Vec<(String, Vec<u8>)> = lines.map(field).collect();
    let values =
        |name: &str| fields.iter().filter(|(other, _)| other == name).map(|(_, value)| &**value).collect::<Vec<_>>();
    let [host] = values("host")[..] else { panic!("Host: {fields:?}") };
    for (name, _) in &fields {
        assert!(!name.contains("content_length") && !name.contains("transfer_encoding"), "{name}");
    }
    let (body, rest) = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => (Vec::new(), rest),
        ([length], []) => {
            assert!(length.iter().all(u8::is_ascii_digit), "{length:?}");
            let length: usize = std::str::from_utf8(length).expect_one("ASCII").parse().expect_one("a length");
            (rest[..length].to_vec(), &rest[length..])
        }
        ([], [b"chunked"]) => chunks(rest),
        framing => panic!("{framing:?}"),
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect_one("text");
    (Message { method: method.into(), target: target.into(), host: text(host), body }, rest)
}

fn chunks(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n").expect_one("the end of a chunk's size");
        let size = std::str::from_utf8(&rest[..end]).expect_one("ASCII");
        assert!(size.bytes().all(|byte| byte.is_ascii_hexdigit()), "{size:?}");
        let size = usize::from_str_radix(size, 16).expect_one("a size");
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], b"\r\n");
        rest = &rest[size + 2..];
    }
    loop {
        let end = find(rest, b"\r\n").expect_one("the end of a trailer");
        let line = &rest[..end];
        rest = &rest[end + 2..];
        if line.is_empty() {
            return (body, rest);
        }
        let (name, _) = field(line);
        assert!(!["content-length", "transfer-encoding", "host", "trailer"].contains(&&*name), "{name}");
    }
}

/// Lines, of which none has a stray CR or LF.
fn lines(head: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let mut rest = head;
    while let Some(end) = find(rest, b"\r\n") {
        all.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    all.push(rest);
    for line in &all {
        assert!(!line.is_empty() && !line.iter().any(|byte| [0, b'\r', b'\n'].contains(byte)), "{line:?}");
    }
    all
}

fn field(line: &[u8]) -> (String, Vec<u8>) {
    let colon = find(line, b": ").expect_one("a colon");
    let name = String::from_utf8(line[..colon].to_vec()).expect_one("ASCII").to_lowercase();
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char::from(byte));
    assert!(!name.is_empty() && name.bytes().all(is_of_name), "{name:?}");
    let value = line[colon + 2..].to_vec();
    assert!(value.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t'), "{value:?}");
    (name, value)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

trait ExpectOne<T> {
    fn expect_one(self, what: &str) -> T;
}

impl<T> ExpectOne<T> for Option<T> {
    fn expect_one(self, what: &str) -> T {
        self.unwrap_or_else(|| panic!("there should be {what}"))
    }
}

impl<T, E> ExpectOne<T> for Result<T, E> {
    fn expect_one(self, what: &str) -> T {
        self.ok().expect_one(what)
    }
}
