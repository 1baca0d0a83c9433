//! The ClientHello, read from the first bytes of a connection without taking them: RFC 8446, 4.1.2 and 5.1; server name:
//! RFC 6066, 3; protocols: RFC 7301, 3.1.

/// The longest ClientHello that is read, bytes, without the headers of its records.
pub const LONGEST: usize = 16 * 1024;

/// The most bytes of a connection that are looked at for it.
pub const MOST: usize = LONGEST + 2 * 1024;

/// What a client says when it begins a TLS handshake, as far as anybody here asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The name of the server that it wants, in small letters.
    pub sni: Option<String>,
    /// The protocols that it offers (ALPN), in its order of preference.
    pub alpn: Vec<Vec<u8>>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// It can't be told yet.
    More,
    /// A whole ClientHello.
    Tls(Hello),
    /// No TLS.
    NotTls,
    /// It begins as TLS does, and is no ClientHello or none that is read: too long, or malformed. In words.
    Wrong(&'static str),
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const ALPN: u16 = 16;
/// RFC 1035, 2.3.4
const LONGEST_NAME: usize = 255;
const LONGEST_RECORD: usize = 1 << 14;

/// Reads as much as has come. Whatever the bytes are, it ends, and allocates no more than [`LONGEST`].
pub fn sniff(bytes: &[u8]) -> Sniff {
    match bytes {
        [] | [HANDSHAKE] => return Sniff::More,
        [HANDSHAKE, 3, ..] => {}
        _ => return Sniff::NotTls,
    }
    match message(bytes).and_then(|found| found.map(|body| hello(&body)).transpose()) {
        Ok(Some(hello)) => Sniff::Tls(hello),
        Ok(None) if bytes.len() < MOST => Sniff::More,
        Ok(None) => Sniff::Wrong("the ClientHello is longer than 16 KiB"),
        Err(why) => Sniff::Wrong(why),
    }
}

/// The body of the first handshake message, put together from its records; none: not all of it is there.
fn message(bytes: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    let mut rest = Reader(bytes);
    let mut message = Vec::new();
    loop {
        let Some([kind, major, _, high, low]) = rest.take_array() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || major != 3 {
            return Err("the ClientHello is not followed by the rest of it");
        }
        if length == 0 || length > LONGEST_RECORD {
            return Err("a record of the ClientHello has an impossible length");
        }
        let part = &rest.0[..length.min(rest.0.len())];
        message.extend_from_slice(part);
        if let [kind, high, middle, low, ..] = *message {
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if kind != CLIENT_HELLO {
                return Err("the handshake does not begin with a ClientHello");
            }
            if length > LONGEST {
                return Err("the ClientHello is longer than 16 KiB");
            }
            if message.len() - 4 >= length {
                message.truncate(4 + length);
                message.drain(..4);
                return Ok(Some(message));
            }
        } else if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err("the handshake does not begin with a ClientHello");
        }
        if rest.take(length).is_none() {
            return Ok(None);
        }
    }
}

fn hello(body: &[u8]) -> Result<Hello, &'static str> {
    const CUT: &str = "the ClientHello is malformed: a field is longer than what holds it";
    let mut rest = Reader(body);
    let mut hello = Hello::default();
    rest.take(2 + 32).ok_or(CUT)?; // version and random
    let session = rest.short().ok_or(CUT)?;
    let suites = rest.long().ok_or(CUT)?;
    let compressions = rest.short().ok_or(CUT)?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compressions.is_empty() {
        return Err("the ClientHello is malformed: a list has an impossible length");
    }
    if rest.0.is_empty() {
        return Ok(hello); // TLS 1.2 knows none with no extensions
    }
    let mut extensions = Reader(rest.long().ok_or(CUT)?);
    if !rest.0.is_empty() {
        return Err("the ClientHello is malformed: something follows it");
    }
    let (mut named, mut offered) = (false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.number().ok_or(CUT)?;
        let value = extensions.long().ok_or(CUT)?;
        match kind {
            SERVER_NAME if !std::mem::replace(&mut named, true) => hello.sni = Some(server_name(value)?),
            ALPN if !std::mem::replace(&mut offered, true) => hello.alpn = protocols(value)?,
            SERVER_NAME | ALPN => return Err("the ClientHello is malformed: an extension stands there twice"),
            _ => {}
        }
    }
    Ok(hello)
}

fn server_name(value: &[u8]) -> Result<String, &'static str> {
    const WRONG: &str = "the ClientHello is malformed: its server name";
    let mut rest = Reader(value);
    let mut names = Reader(rest.long().ok_or(WRONG)?);
    let [kind] = names.take_array().ok_or(WRONG)?;
    let name = names.long().ok_or(WRONG)?;
    let alone = rest.0.is_empty() && names.0.is_empty(); // one name of each kind, and there is one kind
    let fits = |byte: &u8| byte.is_ascii_graphic();
    if !alone || kind != HOST_NAME || !(1..=LONGEST_NAME).contains(&name.len()) || !name.iter().all(fits) {
        return Err(WRONG);
    }
    Ok(String::from_utf8_lossy(name).to_ascii_lowercase())
}

fn protocols(value: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    const WRONG: &str = "the ClientHello is malformed: its protocols";
    let mut rest = Reader(value);
    let mut list = Reader(rest.long().ok_or(WRONG)?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        protocols.push(list.short().filter(|name| !name.is_empty()).ok_or(WRONG)?.to_vec());
    }
    if protocols.is_empty() || !rest.0.is_empty() { Err(WRONG) } else { Ok(protocols) }
}

/// What has not been read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u16> {
        self.take_array().map(u16::from_be_bytes)
    }

    /// A vector whose length is one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let [length] = self.take_array()?;
        self.take(length.into())
    }

    /// A vector whose length is two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use proptest::prelude::*;

    use super::*;

    fn long(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
    }

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &long(value)].concat()
    }

    fn named(name: &[u8]) -> Vec<u8> {
        extension(SERVER_NAME, &long(&[&[HOST_NAME], &*long(name)].concat()))
    }

    fn offering(protocols: &[&[u8]]) -> Vec<u8> {
        let list: Vec<u8> = protocols.iter().flat_map(|name| [&[name.len() as u8], *name].concat()).collect();
        extension(ALPN, &long(&list))
    }

    /// A whole message with these extensions, no records around it.
    fn message(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend(long(&[0x13, 0x01]));
        body.extend([1, 0]);
        body.extend(long(extensions));
        [&[CLIENT_HELLO, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &long(part)].concat()).collect()
    }

    fn wrong(bytes: &[u8]) -> bool {
        matches!(sniff(bytes), Sniff::Wrong(_))
    }

    #[test]
    fn name_and_protocols_are_found() {
        let extensions = [extension(10, &[0, 2, 0, 23]), named(b"API.Example.com"), offering(&[b"h2", b"http/1.1"])];
        let hello = Hello { sni: Some("api.example.com".into()), alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()] };
        assert_eq!(sniff(&records(&message(&extensions.concat()), 1 << 14)), Sniff::Tls(hello));
        assert_eq!(sniff(&records(&message(&[]), 1 << 14)), Sniff::Tls(Hello::default()));
    }

    #[test]
    fn other_protocols_are_told_at_once() {
        for bytes in
            [&b"GET / HTTP/1.1"[..], b"PRI", b"*1\r\n", &[0, 0, 0, 8, 4, 210, 22, 47], &[22, 2], &[0x80, 46, 1]]
        {
            assert_eq!(sniff(bytes), Sniff::NotTls, "{bytes:?}");
        }
        assert_eq!(sniff(&[]), Sniff::More);
        assert_eq!(sniff(&[22]), Sniff::More);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let of = |extensions: &[u8]| records(&message(extensions), 1 << 14);
        assert!(wrong(&of(&named(b""))));
        assert!(wrong(&of(&named(&[b'a'; 256]))));
        assert!(wrong(&of(&named(b"a b"))));
        assert!(wrong(&of(&[named(b"a"), named(b"a")].concat())));
        assert!(wrong(&of(&offering(&[]))));
        assert!(wrong(&of(&offering(&[b""]))));
        assert!(wrong(&of(&[0, 16, 0, 9])));
        assert!(wrong(&[22, 3, 1, 0, 0]), "an empty record");
        assert!(wrong(&[22, 3, 1, 0x40, 1, 1]), "too long a record");
        assert!(wrong(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), "a ServerHello");
        assert!(wrong(&[22, 3, 1, 0, 4, 1, 0, 0x40, 1]), "longer than 16 KiB");
        assert!(wrong(&[22, 3, 1, 0, 1, 1, 21, 3, 1, 0, 1]), "an alert within it");
        assert!(wrong(&[22, 3, 1, 0, 4, 1, 0, 0, 0]), "nothing in it");
        let mut after = message(&[]);
        after[3] += 1;
        after.push(0);
        assert!(wrong(&records(&after, 1 << 14)));
    }

    #[test]
    fn no_more_than_so_much_is_looked_at() {
        let padding = extension(21, &vec![0; LONGEST - 100]);
        let long = message(&padding);
        assert!(matches!(sniff(&records(&long, 1 << 14)), Sniff::Tls(_)));
        let in_crumbs = records(&long, 1);
        assert_eq!(sniff(&in_crumbs[..MOST - 1]), Sniff::More);
        assert!(wrong(&in_crumbs[..MOST]));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(name in "[a-z]{1,20}\\.[a-z]{1,9}", size in 1usize..300, protocols in prop::collection::vec("[a-z0-9/]{1,9}", 0..4)) {
            let offered: Vec<&[u8]> = protocols.iter().map(String::as_bytes).collect();
            let offer = if offered.is_empty() { Vec::new() } else { offering(&offered) };
            let bytes = records(&message(&[named(name.as_bytes()), offer].concat()), size);
            let whole = Hello { sni: Some(name), alpn: offered.iter().map(|name| name.to_vec()).collect() };
            for end in 0..bytes.len() {
                prop_assert_eq!(sniff(&bytes[..end]), Sniff::More);
            }
            prop_assert_eq!(sniff(&bytes), Sniff::Tls(whole.clone()));
            // what follows it is none of its business
            prop_assert_eq!(sniff(&[&bytes, &b"\x17\x03\x03"[..]].concat()), Sniff::Tls(whole));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = sniff(&bytes);
            let _ = sniff(&[&[HANDSHAKE, 3][..], &bytes].concat());
            let _ = sniff(&records(&[&[CLIENT_HELLO, 0, 1, 0][..], &bytes].concat(), 100));
        }

        #[test]
        fn a_changed_byte_never_panics(at in 0usize..120, to in any::<u8>()) {
            let mut bytes = records(&message(&[named(b"a.example"), offering(&[b"h2"])].concat()), 40);
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = sniff(&bytes);
        }
    }
}
