//! PROXY headers, versions 1 and 2 of <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt> (sections 2.1, 2.2):
//! what stands at the head of a connection about the one that it stands for.
//!
//! Own code, because a header comes in pieces: the parsers that there are (`ppp` 2.3, `proxy-header` 0.1) take a piece of
//! some headers for a wrong one, or wait for more of what can be none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use squall_core::way::HeaderVersion;

/// Bytes of the longest line of version 1, its end included.
const LINE: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before what version 2 counts.
const FIXED: usize = 16;
/// What version 2 may count: addresses, and room for what senders add (certificates' names, identifiers of clouds).
const COUNTED: usize = 4096;
/// Bytes of the longest header that is taken.
pub(crate) const LONGEST: usize = FIXED + COUNTED;

/// Who a connection stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proxied {
    /// Where it came from.
    pub(crate) client: SocketAddr,
    /// Where it went to.
    pub(crate) destination: SocketAddr,
}

/// What the bytes at the head of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of a header.
    Part,
    /// A header of so many bytes. None: the sender speaks for itself (LOCAL), or does not know for whom.
    Whole(usize, Option<Proxied>),
    /// No header, with the reason.
    Wrong(&'static str),
}

/// Looks at the head of a connection.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    if agrees(bytes, SIGNATURE) {
        return parse_v2(bytes);
    }
    if !agrees(bytes, LINE_START) {
        return Parsed::Wrong("it does not begin with a PROXY header");
    }
    let head = &bytes[..bytes.len().min(LINE)];
    let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
        return if head.len() < LINE {
            Parsed::Part
        } else {
            Parsed::Wrong("the line of its PROXY header is too long")
        };
    };
    let Some(line) = head[..end].strip_suffix(b"\r") else {
        return Parsed::Wrong("the line of its PROXY header does not end with CR LF");
    };
    // whatever else a line of this kind says is to be ignored
    if line.strip_prefix(UNKNOWN).is_some_and(|rest| rest.is_empty() || rest[0] == b' ') {
        return Parsed::Whole(end + 1, None);
    }
    match std::str::from_utf8(line).ok().and_then(parse_line) {
        Some(proxied) => Parsed::Whole(end + 1, Some(proxied)),
        None => Parsed::Wrong("the line of its PROXY header makes no sense"),
    }
}

/// Whether one begins with the other.
fn agrees(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(one, other)| one == other)
}

/// `PROXY TCP4 client destination port port`
fn parse_line(line: &str) -> Option<Proxied> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    let (client, destination): (IpAddr, IpAddr) = match family {
        "TCP4" => (address::<Ipv4Addr>(words.next()?)?, address::<Ipv4Addr>(words.next()?)?),
        "TCP6" => (address::<Ipv6Addr>(words.next()?)?, address::<Ipv6Addr>(words.next()?)?),
        _ => return None,
    };
    let (client_port, port) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| Proxied {
        client: SocketAddr::new(client, client_port),
        destination: SocketAddr::new(destination, port),
    })
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<A>().ok().map(Into::into)
}

/// Digits without a sign or zeros in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    let Some((&[.., what, family, high, low], rest)) = bytes.split_first_chunk::<FIXED>() else { return Parsed::Part };
    let counted = usize::from(u16::from_be_bytes([high, low]));
    if what >> 4 != 2 {
        return Parsed::Wrong("the version of its PROXY header is neither 1 nor 2");
    }
    if counted > COUNTED {
        return Parsed::Wrong("its PROXY header is too long");
    }
    let stands_for_itself = match what & 0xF {
        0 => true, // whatever else the header says is to be ignored
        1 if family >> 4 > 3 || family & 0xF > 2 => return Parsed::Wrong("its PROXY header is of an unknown family"),
        1 => false,
        _ => return Parsed::Wrong("its PROXY header has an unknown command"),
    };
    let addresses = match family {
        0x11 => 12,
        0x21 => 36,
        _ => 0, // not known, a unix socket's, or not those of a stream
    };
    if !stands_for_itself && counted < addresses {
        return Parsed::Wrong("its PROXY header is too short for its addresses");
    }
    let Some(rest) = rest.get(..counted) else { return Parsed::Part };
    let proxied = if stands_for_itself { None } else { parse_addresses(family, rest) };
    Parsed::Whole(FIXED + counted, proxied)
}

/// Two addresses, then two ports; whatever follows (TLVs) is ignored.
fn parse_addresses(family: u8, bytes: &[u8]) -> Option<Proxied> {
    let (client, destination, ports): (IpAddr, IpAddr, &[u8]) = match family {
        0x11 => {
            let (client, rest) = bytes.split_first_chunk::<4>()?;
            let (destination, ports) = rest.split_first_chunk::<4>()?;
            ((*client).into(), (*destination).into(), ports)
        }
        0x21 => {
            let (client, rest) = bytes.split_first_chunk::<16>()?;
            let (destination, ports) = rest.split_first_chunk::<16>()?;
            ((*client).into(), (*destination).into(), ports)
        }
        _ => return None,
    };
    let [a, b, c, d] = *ports.first_chunk::<4>()?;
    Some(Proxied {
        client: SocketAddr::new(client, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    })
}

/// A header. None: the connection stands for nobody whom an address names.
pub(crate) fn write(version: HeaderVersion, proxied: Option<Proxied>) -> Vec<u8> {
    let pair = proxied.map(|Proxied { client, destination }| Proxied {
        client: canonical(client),
        destination: canonical(destination),
    });
    match version {
        HeaderVersion::V1 => write_line(pair).into_bytes(),
        HeaderVersion::V2 => write_v2(pair),
    }
}

/// IPv4 that a socket of IPv6 carries is IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn write_line(pair: Option<Proxied>) -> String {
    let Some(Proxied { client, destination }) = pair else { return "PROXY UNKNOWN\r\n".to_owned() };
    let (family, from, to) = match (client.ip(), destination.ip()) {
        (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) => ("TCP4", from, to),
        (from, to) => ("TCP6", IpAddr::V6(mapped(from)), IpAddr::V6(mapped(to))),
    };
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), destination.port())
}

fn write_v2(pair: Option<Proxied>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some(Proxied { client, destination }) = pair else {
        header.extend([0x20, 0, 0, 0]); // LOCAL
        return header;
    };
    match (client.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([0x21, 0x11, 0, 12]);
            header.extend(from.octets());
            header.extend(to.octets());
        }
        (from, to) => {
            header.extend([0x21, 0x21, 0, 36]);
            header.extend(mapped(from).octets());
            header.extend(mapped(to).octets());
        }
    }
    header.extend(client.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

/// The two addresses of a header are of one family.
fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests;
