//! What a request's head says, rule by rule; how each is spelt wrongly is in the corpus.

use squall_core::http::{Scheme, StatusCode, Version};

use super::*;

fn refused(text: &str) -> u16 {
    head_of(text).unwrap_err().status.as_u16()
}

#[test]
fn a_request_is_taken_as_it_was_sent() {
    let text = "POST /a?b=c HTTP/1.1\r\nHost: example.com:81\r\nX-Tag: 1\r\nx-tag:2\t \r\nContent-Length: 5\r\n\r\n";
    let (taken, request) = head_of(&format!("{text}12345")).unwrap().unwrap();
    assert_eq!(
        taken,
        Taken {
            used: text.len(),
            framing: Framing::Length(5),
            persists: true,
            expects_continue: false,
            upgrade: false,
        }
    );
    assert_eq!((request.method, request.version), (Method::POST, Version::HTTP_11));
    assert_eq!((&*request.authority, &*request.target), ("example.com:81", "/a?b=c"));
    let fields: Vec<_> = request.fields.iter().collect();
    assert_eq!(fields, [(&b"X-Tag"[..], &b"1"[..]), (b"x-tag", b"2"), (b"Content-Length", b"5")]);
}

#[test]
fn whoever_sends_says_whether_the_connection_goes_on() {
    let persists = |version: &str, connection: &str| {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        head_of(&text).unwrap().unwrap().0.persists
    };
    assert!(persists("1.1", "") && persists("1.1", "Connection: keep-alive\r\n"));
    assert!(!persists("1.1", "Connection: x, CLOSE\r\n") && !persists("1.1", "Connection: x\r\nConnection: close\r\n"));
    assert!(!persists("1.0", "") && persists("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!persists("1.0", "Connection: keep-alive, close\r\n"));
    assert!(!persists("1.0", "Proxy-Connection: keep-alive\r\n"));
}

#[test]
fn http_1_0_needs_no_host() {
    let (_, request) = head_of("GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
    assert_eq!((request.version, &*request.authority), (Version::HTTP_10, ""));
}

#[test]
fn a_target_in_absolute_form_says_its_scheme_and_another_one_leaves_it() {
    let mut into = Request { scheme: Scheme::Https, ..Request::default() };
    let mut scheme = |text: &str| {
        let taken = request(text.as_bytes(), &mut Scan::default(), &Limits::default(), &mut into);
        assert!(taken.unwrap().is_some());
        into.scheme
    };
    assert_eq!(scheme("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Scheme::Https);
    assert_eq!(scheme("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), Scheme::Http);
    assert_eq!(scheme("GET hTTps://a HTTP/1.1\r\nHost: a\r\n\r\n"), Scheme::Https);
}

#[test]
fn the_other_forms_of_a_target_are_for_their_methods() {
    let (_, connect) = head_of("CONNECT [::1]:443 HTTP/1.1\r\nHost: other\r\n\r\n").unwrap().unwrap();
    assert_eq!((&*connect.authority, &*connect.target), ("[::1]:443", ""));
    let (_, options) = head_of("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap();
    assert_eq!((&*options.authority, &*options.target), ("a", "*"));
}

#[test]
fn an_upgrade_needs_field_option_and_version() {
    let upgrade = |text: &str| head_of(text).unwrap().unwrap().0.upgrade;
    let fields = "Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(upgrade(&format!("GET / HTTP/1.1\r\n{fields}")));
    assert!(!upgrade(&format!("GET / HTTP/1.0\r\n{fields}")));
    assert!(!upgrade("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n"));
    assert!(!upgrade("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"));
}

#[test]
fn an_expectation_waits_only_where_there_is_a_body_to_wait_with() {
    let head = |version: &str, fields: &str| {
        head_of(&format!("PUT / HTTP/{version}\r\nHost: a\r\n{fields}\r\n")).unwrap().unwrap()
    };
    let (taken, request) = head("1.1", "Expect: 100-Continue\r\nContent-Length: 5\r\n");
    assert!(taken.expects_continue && request.fields.has("expect"));
    assert!(head("1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n").0.expects_continue);
    assert!(!head("1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n").0.expects_continue);
    let (taken, request) = head("1.0", "Expect: 100-continue\r\nContent-Length: 5\r\n");
    assert!(!taken.expects_continue && !request.fields.has("expect"), "HTTP/1.0 knows none");
    assert_eq!(refused("PUT / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n"), 417);
}

#[test]
fn limits_hold_to_the_byte_and_as_soon_as_they_are_passed() {
    let limits = Limits { head: 100, fields: 3, target: 40 };
    let status = |text: &str| {
        let taken = request(text.as_bytes(), &mut Scan::default(), &limits, &mut Request::default());
        taken.map(|taken| taken.is_some()).map_err(|refusal| refusal.status)
    };
    let head = |fill: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(fill));
    let room = limits.head - head(0).len();
    assert_eq!(status(&head(room)), Ok(true));
    assert_eq!(status(&head(room + 1)), Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    assert_eq!(status(&head(room)[..99]), Ok(false));
    assert_eq!(status(&head(room + 1)[..100]), Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));

    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1));
    assert_eq!(status(&target(40)), Ok(true));
    assert_eq!(status(&target(41)), Err(StatusCode::URI_TOO_LONG));
    assert_eq!(status(&target(41)[..4 + 41]), Err(StatusCode::URI_TOO_LONG));

    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n"), Ok(true));
    assert_eq!(
        status("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n"),
        Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    );
}

#[test]
fn options_of_the_connection_are_bounded() {
    let options = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", vec!["x"; n].join(","));
    assert!(head_of(&options(64)).unwrap().is_some());
    assert_eq!(refused(&options(65)), 431);
}

#[test]
fn what_is_certain_to_be_refused_is_refused_before_the_head_is_whole() {
    for start in [
        "\n",
        "\r\n\r",
        "\x16",
        "G(",
        "GET /\x7f",
        "GET a ",
        "GET / HTTP/2",
        "GET / h",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\n ",
        "GET / HTTP/1.1\r\nA ",
        "GET / HTTP/1.1\r\n:",
        "GET / HTTP/1.1\r\nA: b\n",
        "GET / HTTP/1.1\r\nA: b\rc",
        "GET / HTTP/1.1\r\nA: \0",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n",
    ] {
        assert_eq!(refused(start), 400, "{start:?}");
        assert_eq!(head_of(&start[..start.len() - 1]), Ok(None), "{start:?}");
    }
}

#[test]
fn what_was_looked_at_is_not_looked_at_again() {
    // a head at the limit in single bytes: minutes, if each began at the start
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(65_000));
    let (mut scan, mut into) = (Scan::default(), Request::default());
    for n in 0..text.len() {
        assert_eq!(request(&text.as_bytes()[..n], &mut scan, &Limits::default(), &mut into), Ok(None));
        let at = scan.place.at;
        assert!(n - at <= 10, "all but the last bytes is behind it: {at} of {n}");
    }
    let taken = request(text.as_bytes(), &mut scan, &Limits::default(), &mut into).unwrap().unwrap();
    assert_eq!(taken.used, text.len());
    assert!(scan.is_new(), "ready for the next");
}
