//! What the HTTP/1 codec costs, without I/O: `cargo bench -p squall-wire --bench http1`. Nanoseconds per operation, the best of
//! several rounds; what `httparse` needs for the same head stands beside it.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods)] // a stopwatch: nothing decides by this time

use std::hint::black_box;
use std::time::Instant;

use squall_core::http::{Method, Request, Response};
use wire::h1::{
    CHUNK_TAIL, Decoder, Framing, Limits, Passing, Piece, Scan, Side, chunk_head, last_chunk, request, response,
    write_request, write_response,
};

/// The codec is nobody's business outside of its crate: it is built into this one.
#[path = "../proxy/wire/http"]
#[allow(dead_code, unused_imports)]
mod wire {
    pub(crate) mod h1;
}

const REQUEST: &[u8] = b"GET /v1/charges/ch_1MqLiJLkdIwHu7ixUEgbFdYF?expand=customer&limit=100 HTTP/1.1\r\n\
    Host: api.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef; theme=dark\r\n\
    X-Request-Id: 7f9c24e8-3b12-4f2a-9e0d-1f2d3c4b5a69\r\n\
    Cache-Control: no-cache\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx/1.22.1\r\n\
    Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 1024\r\n\
    Connection: keep-alive\r\n\
    ETag: \"65a1b2c3-400\"\r\n\
    Cache-Control: no-cache\r\n\r\n";

fn main() {
    println!("request, {} bytes with 10 fields", REQUEST.len());
    println!("  httparse alone    {:.0} ns", best(httparse_request));
    println!("  parse             {:.0} ns", best(parse_request()));
    println!("  parse and write   {:.0} ns", best(pass_request()));
    println!("response, {} bytes with 7 fields", RESPONSE.len());
    println!("  parse and write   {:.0} ns", best(pass_response()));
    println!("body of 64 chunks of 1 KiB, taken out of them and put into others");
    println!("  each chunk        {:.0} ns", best(pass_chunks()) / f64::from(CHUNKS));
}

/// The best of some rounds, per operation.
fn best(mut operation: impl FnMut()) -> f64 {
    const OPERATIONS: u32 = 20_000;
    let rounds = (0..20).map(|_| {
        let start = Instant::now();
        (0..OPERATIONS).for_each(|_| operation());
        start.elapsed().as_nanos() as f64 / f64::from(OPERATIONS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

fn httparse_request() {
    let mut room = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut room);
    assert!(request.parse(black_box(REQUEST)).unwrap().is_complete());
}

fn parse_request() -> impl FnMut() {
    let (limits, mut scan, mut into) = (Limits::default(), Scan::default(), Request::default());
    move || {
        assert!(request(black_box(REQUEST), &mut scan, &limits, &mut into).unwrap().is_some());
    }
}

fn pass_request() -> impl FnMut() {
    let (limits, mut scan, mut into, mut out) = (Limits::default(), Scan::default(), Request::default(), Vec::new());
    move || {
        let taken = request(black_box(REQUEST), &mut scan, &limits, &mut into).unwrap().unwrap();
        out.clear();
        write_request(&into, taken.framing, &Passing::default(), &mut out);
        black_box(&out);
    }
}

fn pass_response() -> impl FnMut() {
    let (limits, mut scan, mut into, mut out) = (Limits::default(), Scan::default(), Response::default(), Vec::new());
    move || {
        let taken = response(black_box(RESPONSE), &mut scan, &limits, &Method::GET, &mut into).unwrap().unwrap();
        out.clear();
        write_response(&into, taken.framing, &Passing::default(), &mut out);
        black_box(&out);
    }
}

const CHUNKS: u32 = 64;

fn pass_chunks() -> impl FnMut() {
    let mut body = Vec::new();
    for _ in 0..CHUNKS {
        chunk_head(1024, &mut body);
        body.extend_from_slice(&[7; 1024]);
        body.extend_from_slice(CHUNK_TAIL);
    }
    last_chunk(None, &mut body);
    let mut out = Vec::new();
    move || {
        out.clear();
        let mut decoder = Decoder::new(Framing::Chunked, &Limits::default(), Side::Request);
        let mut rest = black_box(&body[..]);
        loop {
            let used = match decoder.decode(rest).unwrap() {
                Piece::Data { skip, len } => {
                    chunk_head(len, &mut out);
                    out.extend_from_slice(&rest[skip..skip + len]);
                    out.extend_from_slice(CHUNK_TAIL);
                    skip + len
                }
                Piece::Skip(skip) => skip,
                Piece::More => break,
                Piece::End { trailers, .. } => {
                    last_chunk(trailers.as_ref(), &mut out);
                    break;
                }
            };
            rest = &rest[used..];
        }
        assert_eq!(out.len(), body.len());
    }
}
