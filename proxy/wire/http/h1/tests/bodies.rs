//! Bodies, piece by piece.

use super::*;

fn decoder(framing: Framing) -> Decoder {
    Decoder::new(framing, &Limits::default(), Side::Request)
}

fn trailing(count: usize) -> Result<Piece, Refusal> {
    let limits = Limits { fields: 3, head: 100, ..Limits::default() };
    let mut decoder = Decoder::new(Framing::Chunked, &limits, Side::Request);
    decoder.decode(format!("0\r\n{}\r\n", "X: y\r\n".repeat(count)).as_bytes())
}

#[test]
fn a_body_of_known_length_ends_there() {
    let mut body = decoder(Framing::Length(8));
    assert_eq!(body.decode(b""), Ok(Piece::More));
    assert_eq!(body.decode(b"12345"), Ok(Piece::Data { skip: 0, len: 5 }));
    assert!(body.eof().is_err());
    assert_eq!(body.decode(b"678GET"), Ok(Piece::Data { skip: 0, len: 3 }));
    assert!(body.is_done());
    assert_eq!(body.decode(b"GET"), Ok(Piece::End { used: 0, trailers: None }));
    assert_eq!(body.eof(), Ok(()));
}

#[test]
fn no_body_has_ended_before_it_begins() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut body = decoder(framing);
        assert!(body.is_done());
        assert_eq!(body.decode(b"GET"), Ok(Piece::End { used: 0, trailers: None }));
    }
}

#[test]
fn a_body_until_the_end_ends_with_the_connection() {
    let mut body = decoder(Framing::UntilClose);
    assert_eq!(body.decode(b"0\r\n\r\n"), Ok(Piece::Data { skip: 0, len: 5 }));
    assert!(!body.is_done());
    assert_eq!(body.eof(), Ok(()));
    assert!(body.is_done());
}

#[test]
fn chunks_are_data_behind_framing() {
    let mut body = decoder(Framing::Chunked);
    assert_eq!(body.decode(b"5;x=y\r\n123"), Ok(Piece::Data { skip: 7, len: 3 }));
    assert_eq!(body.decode(b"45\r\n"), Ok(Piece::Data { skip: 0, len: 2 }));
    assert_eq!(body.decode(b"\r\nf"), Ok(Piece::Skip(3)));
    assert_eq!(body.decode(b"F\r"), Ok(Piece::Skip(2)));
    assert_eq!(body.decode(b"\nx"), Ok(Piece::Data { skip: 1, len: 1 }));
    assert!(body.eof().is_err(), "254 bytes are missing");
    assert_eq!(body.decode(&[b'x'; 300]), Ok(Piece::Data { skip: 0, len: 254 }));
    assert!(body.eof().is_err(), "the last chunk is missing");
    assert_eq!(body.decode(b"\r\n0\r\nX: 1\r\nAge: 2\r\n"), Ok(Piece::Skip(5)));
    assert_eq!(body.decode(b"X: 1\r\nAge: 2\r\n"), Ok(Piece::More));
    assert!(body.eof().is_err(), "the end of the trailers is missing");
    let end = Piece::End { used: 16, trailers: Some([("x", "1")].into_iter().collect()) };
    assert_eq!(body.decode(b"X: 1\r\nAge: 2\r\n\r\nGET"), Ok(end));
    assert!(body.is_done());
}

#[test]
fn the_largest_size_is_taken_and_a_larger_one_is_not() {
    let mut body = decoder(Framing::Chunked);
    assert_eq!(body.decode(b"ffffffffffffffff\r\nx"), Ok(Piece::Data { skip: 18, len: 1 }));
    assert!(decoder(Framing::Chunked).decode(b"fffffffffffffffff").is_err());
}

#[test]
fn trailers_and_extensions_are_bounded() {
    assert!(matches!(trailing(3), Ok(Piece::End { .. })));
    assert_eq!(trailing(4).unwrap_err().status.as_u16(), 431);
    let mut body = Decoder::new(Framing::Chunked, &Limits { head: 100, ..Limits::default() }, Side::Response);
    let long = format!("0\r\nX: {}", "y".repeat(96));
    assert_eq!(body.decode(&long.as_bytes()[..102]), Ok(Piece::Skip(3)));
    assert_eq!(body.decode(&long.as_bytes()[3..]), Ok(Piece::More));
    let longer = format!("{}z", &long[3..]);
    assert_eq!(body.decode(longer.as_bytes()).unwrap_err().status.as_u16(), 502);

    let mut body = decoder(Framing::Chunked);
    let chunk = format!("1;{}\r\nx\r\n", "y".repeat(1000));
    let taken = (0..100).take_while(|_| {
        let data = body.decode(chunk.as_bytes());
        data.is_ok() && body.decode(b"\r\n").is_ok()
    });
    assert_eq!(taken.count(), 16, "16 KiB of extensions in all");
}

#[test]
fn an_upstream_that_cuts_a_body_short_is_at_fault() {
    let mut body = Decoder::new(Framing::Length(1), &Limits::default(), Side::Response);
    assert_eq!(body.eof().unwrap_err().status.as_u16(), 502);
    let mut body = Decoder::new(Framing::Chunked, &Limits::default(), Side::Response);
    assert_eq!(body.decode(b"x").unwrap_err().status.as_u16(), 502);
}
