//! `http = { host, forwarded }` on the wire.

use squall_core::plane::DataPlane;
use squall_core::way::HttpVersion;

use super::script::*;
use crate::http2::peers::{Ask, ask2, http};
use crate::support::*;

/// One that points to itself, by the name that it was asked for.
fn pointing() -> Upstream {
    upstream(|_, request| {
        let host = value(request, "host").unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let fields = format!(
            "Location: http://{host}/next?a=1#b\r\nContent-Location: https://{host}/here\r\nSet-Cookie: s=1; Path=/; \
             Domain=.{name}; Secure\r\nSet-Cookie: t=2\r\nX-Url: http://{host}/"
        );
        Say::Keep(format!("HTTP/1.1 302 Found\r\n{fields}\r\nContent-Length: 0\r\n\r\n").into())
    })
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: shop.test:8080\r\n\r\n";

#[test]
fn the_upstream_is_asked_for_whom_the_proxy_says_and_answers_carry_the_clients_name() {
    for (host, told) in [("preserve", "shop.test:8080"), ("upstream", ""), ("api.internal", "api.internal")] {
        let upstream = pointing();
        let own = upstream.address.to_string();
        let told = if told.is_empty() { own.as_str() } else { told };
        let (plane, _records) = plane(1);
        let mut spec = http(upstream.address, HttpVersion::One);
        spec.way.http.as_mut().unwrap().host = host.to_owned();
        let proxy = address(&plane.open(&spec).unwrap());
        let (head, _) = Talker::to(proxy).ask(ASK);
        assert!(upstream.heard().contains(&format!("\r\nHost: {told}\r\n")), "{host}: {}", upstream.heard());
        assert_eq!(value(&head, "location"), Some("http://shop.test:8080/next?a=1#b"), "{host}");
        assert_eq!(value(&head, "content-location"), Some("https://shop.test:8080/here"), "{host}");
        let domain = if host == "preserve" { "Domain=.shop.test" } else { "Domain=shop.test" };
        let cookie = value(&head, "set-cookie").unwrap();
        assert!(cookie.contains(domain) && cookie.contains("; Secure"), "{host}: {cookie}");
        assert!(head.contains("Set-Cookie: t=2\r\n"));
        assert_eq!(value(&head, "x-url"), Some(&*format!("http://{told}/")), "what is no such field is left alone");
        // a client of HTTP/2 asks by `:authority`
        let got = ask2(proxy, &Ask::get("/")).unwrap();
        assert_eq!(got.fields["location"], "http://a.test:81/next?a=1#b", "{host}");
    }
}

#[test]
fn what_points_elsewhere_is_left_as_it_is() {
    let upstream = upstream(|_, _| {
        let fields = "Location: https://login.test/\r\nSet-Cookie: s=1; Domain=other.test";
        Say::Keep(format!("HTTP/1.1 302 Found\r\n{fields}\r\nContent-Length: 0\r\n\r\n").into())
    });
    let (plane, _records) = plane(1);
    let mut spec = http(upstream.address, HttpVersion::One);
    spec.way.http.as_mut().unwrap().host = "upstream".to_owned();
    let (head, _) = Talker::to(address(&plane.open(&spec).unwrap())).ask(ASK);
    assert_eq!(value(&head, "location"), Some("https://login.test/"));
    assert_eq!(value(&head, "set-cookie"), Some("s=1; Domain=other.test"));
}

#[test]
fn the_upstream_is_told_of_the_client_and_of_those_before_it() {
    let upstream = fine();
    let (plane, _records) = plane(1);
    let mut spec = http(upstream.address, HttpVersion::One);
    let way = spec.way.http.as_mut().unwrap();
    way.forwarded = true;
    way.host = "api.internal".to_owned();
    let proxy = address(&plane.open(&spec).unwrap());
    Talker::to(proxy).ask(ASK);
    let heard = upstream.heard();
    for field in ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-forwarded-host: shop.test:8080"] {
        assert_eq!(heard.matches(field).count(), 1, "{field}: {heard}");
    }
    let said = "\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.test\r\n\r\n";
    Talker::to(proxy).ask(&ASK.replace("\r\n\r\n", said));
    let heard = upstream.heard()[heard.len()..].to_ascii_lowercase();
    for field in ["x-forwarded-for: 203.0.113.9, 127.0.0.1", "x-forwarded-proto: https", "x-forwarded-host: www.test"] {
        assert_eq!(heard.matches(field).count(), 1, "{field}: {heard}");
    }
    assert_eq!(heard.matches("x-forwarded-").count(), 3, "{heard}");
}
