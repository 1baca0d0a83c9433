//! Request smuggling: bytes that servers have read in more than one way, and what becomes of each.

use std::collections::HashSet;

use super::*;

enum Expected {
    /// Nothing goes on, and this is the answer.
    Refused(u16),
    /// This goes on, and it is all.
    Sent(&'static str),
    /// This goes on; what follows is refused.
    SentThen(&'static str, u16),
    /// Nothing goes on until more comes: what follows the head is its body.
    Waits,
}
use Expected::{Refused, Sent, SentThen, Waits};

/// A request with these fields, each with its line's end, and this behind its head.
fn post(fields: &str, rest: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{rest}")
}

fn chunked(rest: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", rest)
}

fn coded(value: &str) -> String {
    post(&format!("Transfer-Encoding:{value}\r\n"), "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn length(value: &str) -> String {
    post(&format!("Content-Length:{value}\r\n"), "12345GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

fn host(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\n{fields}\r\n")
}

const PLAIN: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
const FIVE: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[rustfmt::skip]
fn corpus() -> Vec<(&'static str, String, Expected)> {
    vec![
        // two lengths, or a length and chunks
        ("CL.TE", post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"), Refused(400)),
        ("TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "8\r\nSMUGGLED\r\n0\r\n\r\n"), Refused(400)),
        ("CL 0 and TE", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), Refused(400)),
        ("CL.TE in mixed case", post("content-LENGTH: 6\r\ntRANSFER-encoding: CHUNKED\r\n", "0\r\n\r\nG"), Refused(400)),
        ("TE.TE, one unknown", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", "0\r\n\r\n"), Refused(400)),
        ("TE.TE, the unknown first", post("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), Refused(400)),
        ("TE twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), Refused(400)),
        ("TE identity, then chunked", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), Refused(400)),
        ("two different CL", post("Content-Length: 5\r\nContent-Length: 6\r\n", "123456"), Refused(400)),
        ("two equal CL", post("Content-Length: 5\r\nContent-Length: 5\r\n", "12345"), Refused(400)),
        ("CL 0, then CL", post("Content-Length: 0\r\nContent-Length: 44\r\n", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), Refused(400)),
        ("CL in a list", length(" 5, 5"), Refused(400)),
        ("CL in a list of two", length(" 5,6"), Refused(400)),
        // spellings of a length
        ("CL with plus", length(" +5"), Refused(400)),
        ("CL with minus", length(" -5"), Refused(400)),
        ("CL negative zero", length(" -0"), Refused(400)),
        ("CL in hexadecimal", length(" 0x5"), Refused(400)),
        ("CL with an exponent", length(" 5e0"), Refused(400)),
        ("CL with a point", length(" 5.0"), Refused(400)),
        ("CL with an underscore", length(" 1_0"), Refused(400)),
        ("CL in parts", length(" 5 5"), Refused(400)),
        ("CL in quotes", length(" \"5\""), Refused(400)),
        ("CL with a parameter", length(" 5;a=b"), Refused(400)),
        ("CL empty", length(" "), Refused(400)),
        ("CL beyond 64 bits", length(" 18446744073709551621"), Refused(400)),
        ("CL far beyond 64 bits", length(" 99999999999999999999999999999999"), Refused(400)),
        ("CL with a superscript", length(" \u{b2}"), Refused(400)),
        ("CL with a no-break space", length(" \u{a0}5"), Refused(400)),
        ("CL behind a tab", length("\t5"), Refused(400)),
        ("CL before a vertical tab", length(" 5\u{b}"), Refused(400)),
        ("CL before NUL", length(" 5\0"), Refused(400)),
        ("CL with zeros in front", post("Content-Length: 0005\r\n", "12345"), Sent("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345")),
        ("CL with spaces around", post("Content-Length:   5  \r\n", "12345"), Sent("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345")),
        ("CL without a space", post("Content-Length:5\r\n", "12345"), Sent("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345")),
        ("CL longer than the body", post("Content-Length: 99\r\n", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), Waits),
        ("CL.0: a body on GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            Sent("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("CL with an underscore in its name", post("Content_Length: 5\r\n", "12345"), Refused(400)),
        ("TE with an underscore in its name", post("Transfer_Encoding: chunked\r\n", "0\r\n\r\n"), Refused(400)),
        // spellings of chunked
        ("TE with a comma in front", coded(" ,chunked"), Refused(400)),
        ("TE with a comma behind", coded(" chunked,"), Refused(400)),
        ("TE chunked twice in a list", coded(" chunked, chunked"), Refused(400)),
        ("TE identity", coded(" identity"), Refused(400)),
        ("TE chunked, identity", coded(" chunked, identity"), Refused(400)),
        ("TE identity, chunked", coded(" identity, chunked"), Refused(400)),
        ("TE xchunked", coded(" xchunked"), Refused(400)),
        ("TE chunkedx", coded(" chunkedx"), Refused(400)),
        ("TE chunk", coded(" chunk"), Refused(400)),
        ("TE in quotes", coded(" \"chunked\""), Refused(400)),
        ("TE in single quotes", coded(" 'chunked'"), Refused(400)),
        ("TE with a parameter", coded(" chunked;q=1"), Refused(400)),
        ("TE with a semicolon", coded(" chunked;"), Refused(400)),
        ("TE in two words", coded(" x chunked"), Refused(400)),
        ("TE empty", coded(" "), Refused(400)),
        ("TE gzip without chunked", coded(" gzip"), Refused(400)),
        ("TE chunked, gzip", coded(" chunked, gzip"), Refused(400)),
        ("TE gzip, chunked", coded(" gzip, chunked"), Refused(501)),
        ("TE behind a tab", coded("\tchunked"), Refused(400)),
        ("TE before a tab", coded(" chunked\t"), Refused(400)),
        ("TE behind a vertical tab", coded(" \u{b}chunked"), Refused(400)),
        ("TE behind a form feed", coded(" \u{c}chunked"), Refused(400)),
        ("TE before NUL", coded(" chunked\0"), Refused(400)),
        ("TE behind a no-break space", coded(" \u{a0}chunked"), Refused(400)),
        ("TE before 0xff", coded(" chunked\u{ff}"), Refused(400)),
        ("TE with the Kelvin sign", coded(" chun\u{e2}\u{84}\u{aa}ed"), Refused(400)),
        ("TE behind a bare CR", coded(" \rchunked"), Refused(400)),
        ("TE in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), Refused(400)),
        ("TE in capitals", post("TRANSFER-ENCODING: CHUNKED\r\n", "0\r\n\r\n"), Sent("POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n")),
        ("TE with spaces around", post("Transfer-Encoding:  chunked  \r\n", "0\r\n\r\n"), Sent(PLAIN)),
        // names and lines
        ("space before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), Refused(400)),
        ("tab before the colon", post("Content-Length\t: 5\r\n", "12345"), Refused(400)),
        ("space in front of a name", post(" Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), Refused(400)),
        ("a folded value", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), Refused(400)),
        ("a value folded with a tab", post("X: a\r\n\tTransfer-Encoding: chunked\r\n", ""), Refused(400)),
        ("space before the first field", "GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n".into(), Refused(400)),
        ("a name with NUL", post("Transfer-Encoding\0: chunked\r\n", ""), Refused(400)),
        ("a name with 0xff", post("Transfer-Encoding\u{ff}: chunked\r\n", ""), Refused(400)),
        ("a name with a vertical tab", post("\u{b}Transfer-Encoding: chunked\r\n", ""), Refused(400)),
        ("a name in quotes", post("\"Transfer-Encoding\": chunked\r\n", ""), Refused(400)),
        ("no name", post(": chunked\r\n", ""), Refused(400)),
        ("no colon", post("Transfer-Encoding chunked\r\n", ""), Refused(400)),
        ("a line without a colon", post("Transfer-Encoding\r\n", ""), Refused(400)),
        ("LF alone behind a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n".into(), Refused(400)),
        ("LF alone everywhere", "GET / HTTP/1.1\nHost: a\n\n".into(), Refused(400)),
        ("LF alone in a value", post("X: a\nTransfer-Encoding: chunked\r\n", ""), Refused(400)),
        ("LF alone as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n".into(), Refused(400)),
        ("CR alone in a value", post("X: a\rTransfer-Encoding: chunked\r\n", ""), Refused(400)),
        ("CR alone as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\rGET /smuggled HTTP/1.1\r\n".into(), Refused(400)),
        ("two CR and LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n".into(), Refused(400)),
        ("NUL in a value", post("X: a\0b\r\n", ""), Refused(400)),
        ("DEL in a value", post("X: a\u{7f}b\r\n", ""), Refused(400)),
        ("escape in a value", post("X: a\u{1b}b\r\n", ""), Refused(400)),
        ("other bytes in a value pass", "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\tb\r\n\r\n".into(), Sent("GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\tb\r\n\r\n")),
        ("an empty value passes", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n".into(), Sent("GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n")),
        // the request line
        ("two spaces behind the method", line("GET  / HTTP/1.1"), Refused(400)),
        ("two spaces behind the target", line("GET /  HTTP/1.1"), Refused(400)),
        ("a space behind the version", line("GET / HTTP/1.1 "), Refused(400)),
        ("a space in front", line(" GET / HTTP/1.1"), Refused(400)),
        ("tabs for spaces", line("GET\t/\tHTTP/1.1"), Refused(400)),
        ("a space in the target", line("GET /a b HTTP/1.1"), Refused(400)),
        ("two versions", line("GET / HTTP/1.1 HTTP/1.1"), Refused(400)),
        ("HTTP/0.9", "GET /\r\n".into(), Refused(400)),
        ("HTTP/0.9, spelt out", line("GET / HTTP/0.9"), Refused(400)),
        ("HTTP/2.0", line("GET / HTTP/2.0"), Refused(400)),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), Refused(400)),
        ("HTTP/1.2", line("GET / HTTP/1.2"), Refused(400)),
        ("HTTP/1.10", line("GET / HTTP/1.10"), Refused(400)),
        ("HTTP/01.1", line("GET / HTTP/01.1"), Refused(400)),
        ("HTTP/1,1", line("GET / HTTP/1,1"), Refused(400)),
        ("http/1.1", line("GET / http/1.1"), Refused(400)),
        ("a method that is no token", line("GE(T) / HTTP/1.1"), Refused(400)),
        ("a method with a colon", line("Host: / HTTP/1.1"), Refused(400)),
        ("no method", line("/ HTTP/1.1"), Refused(400)),
        ("no target", line("GET HTTP/1.1"), Refused(400)),
        ("a fragment", line("GET /a#b HTTP/1.1"), Refused(400)),
        ("NUL in the target", line("GET /\0 HTTP/1.1"), Refused(400)),
        ("CR in the target", line("GET /\rX HTTP/1.1"), Refused(400)),
        ("UTF-8 in the target", line("GET /\u{c3}\u{a9} HTTP/1.1"), Refused(400)),
        ("a target without a slash", line("GET a HTTP/1.1"), Refused(400)),
        ("a star for GET", line("GET * HTTP/1.1"), Refused(400)),
        ("one empty line in front", format!("\r\n{GET}"), Sent(GET)),
        ("two empty lines in front", format!("\r\n\r\n{GET}"), Refused(400)),
        ("an empty line of LF in front", format!("\n{GET}"), Refused(400)),
        ("CR alone in front", format!("\r{GET}"), Refused(400)),
        ("a method of one's own passes", line("get /%2e%2e/\\x HTTP/1.1"), Sent("get /%2e%2e/\\x HTTP/1.1\r\nHost: a\r\n\r\n")),
        // the host
        ("no Host", host(""), Refused(400)),
        ("two Host", host("Host: a\r\nHost: b\r\n"), Refused(400)),
        ("two equal Host", host("Host: a\r\nhost: a\r\n"), Refused(400)),
        ("two Host in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".into(), Refused(400)),
        ("an empty Host", host("Host: \r\n"), Refused(400)),
        ("Host with userinfo", host("Host: u:p@a\r\n"), Refused(400)),
        ("Host with a path", host("Host: a/b\r\n"), Refused(400)),
        ("Host with a query", host("Host: a?b\r\n"), Refused(400)),
        ("Host with a fragment", host("Host: a#b\r\n"), Refused(400)),
        ("Host with a backslash", host("Host: a\\b\r\n"), Refused(400)),
        ("Host in a list", host("Host: a,b\r\n"), Refused(400)),
        ("Host in two words", host("Host: a b\r\n"), Refused(400)),
        ("Host behind a tab", host("Host:\ta\r\n"), Refused(400)),
        ("Host with percent", host("Host: a%2eb\r\n"), Refused(400)),
        ("Host with bytes beyond ASCII", host("Host: \u{e9}\r\n"), Refused(400)),
        ("Host with two ports", host("Host: a:1:2\r\n"), Refused(400)),
        ("Host with an empty port", host("Host: a:\r\n"), Refused(400)),
        ("Host with a port that is none", host("Host: a:b\r\n"), Refused(400)),
        ("Host with a port too large", host("Host: a:65536\r\n"), Refused(400)),
        ("Host with a port of many digits", host("Host: a:99999999999999999999\r\n"), Refused(400)),
        ("Host with more behind a port that is too large", host("Host: a:9999999999~~~\r\n"), Refused(400)),
        ("Host that is a port", host("Host: :80\r\n"), Refused(400)),
        ("Host with an open bracket", host("Host: [::1\r\n"), Refused(400)),
        ("Host with a bracket in a name", host("Host: [a]\r\n"), Refused(400)),
        ("Host with more behind the bracket", host("Host: [::1]a\r\n"), Refused(400)),
        ("Host with an address of IPv6", host("Host: [::1]:80\r\n"), Sent("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n")),
        ("absolute form against Host", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n".into(), Sent("GET /x HTTP/1.1\r\nHost: b\r\n\r\n")),
        ("absolute form without Host", "GET http://b/x HTTP/1.1\r\n\r\n".into(), Refused(400)),
        ("absolute form with two Host", "GET http://b/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), Refused(400)),
        ("absolute form with a bad Host", "GET http://b/x HTTP/1.1\r\nHost: a@b\r\n\r\n".into(), Refused(400)),
        ("absolute form with userinfo", line("GET http://a@b/ HTTP/1.1"), Refused(400)),
        ("absolute form without a host", line("GET http:///x HTTP/1.1"), Refused(400)),
        ("absolute form with a backslash", line("GET http://b\\@a/ HTTP/1.1"), Refused(400)),
        ("absolute form of another scheme", line("GET ftp://b/ HTTP/1.1"), Refused(400)),
        ("absolute form with a query alone", line("GET HTTP://b:80?q HTTP/1.1"), Sent("GET /?q HTTP/1.1\r\nHost: b:80\r\n\r\n")),
        ("OPTIONS of another server", line("OPTIONS http://b HTTP/1.1"), Sent("OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n")),
        ("two slashes are a path", line("GET //b/x HTTP/1.1"), Sent("GET //b/x HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("CONNECT to a path", line("CONNECT /x HTTP/1.1"), Refused(400)),
        ("CONNECT without a port", line("CONNECT b HTTP/1.1"), Refused(400)),
        ("CONNECT to a URL", line("CONNECT http://b:1/ HTTP/1.1"), Refused(400)),
        ("CONNECT with a body", "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\nContent-Length: 5\r\n\r\n12345".into(), Refused(400)),
        ("TRACE with a body", "TRACE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), Refused(400)),
        // what is meant for one hop
        ("Connection names the length", "POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\n12345".into(),
            Sent("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345")),
        ("Connection names the coding", "POST / HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), Sent(PLAIN)),
        ("Connection names Host and a field", "GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: host, x-one\r\nX-Two: 2\r\n\r\n".into(),
            Sent("GET / HTTP/1.1\r\nHost: a\r\nX-Two: 2\r\n\r\n")),
        ("h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n".into(), Sent(GET)),
        ("h2c among others", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket, H2C\r\n\r\n".into(), Sent(GET)),
        ("h2c before another", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n".into(), Sent(GET)),
        ("Upgrade without its option", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n".into(), Sent(GET)),
        ("Upgrade in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".into(), Sent(GET)),
        ("an expectation that nobody knows", post("Expect: 200-ok\r\nContent-Length: 0\r\n", ""), Refused(417)),
        ("an expectation with more behind it", post("Expect: 100-continue, x\r\n", ""), Refused(417)),
        // chunks
        ("a chunk's size in 0x", chunked("0x5\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size with plus", chunked("+5\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size with minus", chunked("-5\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size behind a space", chunked(" 5\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size before a space", chunked("5 \r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size before a tab", chunked("5\t\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size with an underscore", chunked("0_5\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk without a size", chunked("\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk with an extension alone", chunked(";a\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size that is none", chunked("G\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size beyond 64 bits", chunked("10000000000000005\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size behind many zeros", chunked("00000000000000005\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size with NUL", chunked("5\0\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size with LF alone", chunked("5\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("a chunk's size with CR alone", chunked("5\r12345\r\n0\r\n\r\n"), Refused(400)),
        ("an extension with LF alone", chunked("5;a\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("an extension with CR alone", chunked("5;a\rb\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("an extension with NUL", chunked("5;a\0\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("an extension with 0xff", chunked("5;a=\u{ff}\r\n12345\r\n0\r\n\r\n"), Refused(400)),
        ("an extension with a line in quotes", chunked("5;a=\"\r\n12345\r\n0\r\n\r\n\""), SentThen(FIVE, 400)),
        ("an extension goes no further", chunked("5;a=\"0\"\r\n12345\r\n0;b\r\n\r\n"), Sent(FIVE)),
        ("data longer than its chunk", chunked("5\r\n123456\r\n0\r\n\r\n"), Refused(400)),
        ("data shorter than its chunk", chunked("5\r\n1234\r\n0\r\n\r\n"), Refused(400)),
        ("data with LF alone behind it", chunked("5\r\n12345\n0\r\n\r\n"), Refused(400)),
        ("data with nothing behind it", chunked("5\r\n123450\r\n\r\n"), Refused(400)),
        ("data with a space behind it", chunked("5\r\n12345 \r\n0\r\n\r\n"), Refused(400)),
        ("a last chunk that LF ends", chunked("0\r\n\n"), Refused(400)),
        ("a last chunk of several zeros", chunked("000\r\n\r\n"), Sent(PLAIN)),
        ("a size in capitals", chunked("0A\r\n1234567890\r\n0\r\n\r\n"),
            Sent("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n1234567890\r\n0\r\n\r\n")),
        ("chunks that do not end", chunked("5\r\n12345\r\n"), Waits),
        // trailers
        ("trailers that frame and route", chunked("0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nX: y\r\n\r\n"),
            Sent("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n")),
        ("a trailer that authorizes", chunked("0\r\nAuthorization: x\r\n\r\n"), Sent(PLAIN)),
        ("a trailer with a space before its colon", chunked("0\r\nX : y\r\n\r\n"), Refused(400)),
        ("a folded trailer", chunked("0\r\nX: y\r\n z\r\n\r\n"), Refused(400)),
        ("a trailer with LF alone", chunked("0\r\nX: y\n\r\n"), Refused(400)),
        ("a request where trailers are", chunked("0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), Refused(400)),
        // one request behind another
        ("two requests", format!("{GET}{GET}"), Sent("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a good one and a bad one", format!("{GET}GET / HTTP/1.1\r\n\r\n"), SentThen(GET, 400)),
        ("what is left of a body", format!("{}{GET}", post("Content-Length: 5\r\n", "12345X")),
            Sent("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345XGET / HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("requests behind the last one", format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{GET}"), Sent(GET)),
        ("requests behind HTTP/1.0", format!("GET / HTTP/1.0\r\nHost: a\r\n\r\n{GET}"), Sent(GET)),
        ("requests behind an upgrade", format!("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{GET}"),
            Sent("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")),
        ("requests behind CONNECT", format!("CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n{GET}"), Sent("CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n")),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".into(), Refused(400)),
    ]
}

#[test]
fn nothing_goes_on_that_could_be_read_in_two_ways() {
    let corpus = corpus();
    assert!(corpus.len() >= 90);
    assert_eq!(corpus.iter().map(|(name, ..)| name).collect::<HashSet<_>>().len(), corpus.len());
    for (name, payload, expected) in corpus {
        let payload = latin(&payload);
        let relayed = relay(&[&payload]);
        let (sent, status) = match expected {
            Refused(status) => ("", Some(status)),
            Sent(sent) => (sent, None),
            SentThen(sent, status) => (sent, Some(status)),
            Waits => ("", None),
        };
        assert_eq!(relayed.refused.map(|refusal| refusal.status.as_u16()), status, "{name}: {relayed:?}");
        let text: String = relayed.sent.iter().copied().map(char::from).collect();
        assert_eq!(text, sent, "{name}");
        assert_eq!(reader::read(&relayed.sent), relayed.requests, "{name}");
        assert!(!relayed.requests.iter().any(|request| request.target == "/smuggled"), "{name}");
        // a byte at a time
        let bytes: Vec<&[u8]> = payload.chunks(1).collect();
        let in_bytes = relay(&bytes);
        assert_eq!((in_bytes.sent, in_bytes.refused), (relayed.sent, relayed.refused), "{name}");
    }
}

/// The bytes of all of them.
pub(super) fn payloads() -> Vec<Vec<u8>> {
    corpus().iter().map(|(_, payload, _)| latin(payload)).collect()
}
