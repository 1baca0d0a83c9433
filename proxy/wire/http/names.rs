//! `http = { host = …, forwarded = … }`: what the upstream is told of whom the client asked, and whose names its answers
//! carry back.

use std::net::IpAddr;

use squall_core::http::{Fields, Request, Response, Scheme, is_field_value};
use squall_core::way::HttpWay;

/// The host that the client asked for, and the one that the upstream was asked for instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    asked: String,
    told: String,
}

/// Changes a request as the proxy's way says. `upstream`: the upstream as the proxy has it. Some: the host was changed.
pub(crate) fn dress(request: &mut Request, way: &HttpWay, upstream: &str, client: Option<IpAddr>) -> Option<Names> {
    if way.forwarded {
        forward(request, client);
    }
    let told = match &*way.host {
        HttpWay::PRESERVE => return None,
        HttpWay::UPSTREAM => upstream,
        name => name,
    };
    let asked = std::mem::replace(&mut request.authority, told.to_owned());
    (asked != told).then(|| Names { asked, told: told.to_owned() })
}

/// Adds to what others before squall have said.
fn forward(request: &mut Request, client: Option<IpAddr>) {
    let Request { fields, authority, scheme, .. } = request;
    if let Some(client) = client {
        let client = client.to_canonical().to_string();
        let known: Vec<_> = fields.values("x-forwarded-for").map(String::from_utf8_lossy).collect();
        let all = known.iter().map(|known| &**known).chain([&*client]).collect::<Vec<_>>().join(", ");
        fields.set("x-forwarded-for", all);
    }
    let scheme = if *scheme == Scheme::Https { "https" } else { "http" };
    for (name, value) in [("x-forwarded-proto", scheme), ("x-forwarded-host", authority)] {
        if !fields.has(name) && is_field_value(value.as_bytes()) {
            fields.push(name, value);
        }
    }
}

impl Names {
    /// Puts the client's name for the host where an answer has the upstream's: in Location, Content-Location and the domains
    /// of cookies.
    pub(crate) fn undress(&self, response: &mut Response) {
        let host = |authority: &str| authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned();
        let (told, asked) = (host(&self.told), host(&self.asked));
        let mut fields = Fields::default();
        let mut changed = false;
        for (name, value) in response.fields.iter() {
            let text = std::str::from_utf8(value).ok();
            let new = if name.eq_ignore_ascii_case(b"location") || name.eq_ignore_ascii_case(b"content-location") {
                text.and_then(|text| self.relocated(text))
            } else if name.eq_ignore_ascii_case(b"set-cookie") {
                text.and_then(|text| with_domain(text, &told, &asked))
            } else {
                None
            };
            changed |= new.is_some();
            fields.push(name, new.as_deref().map_or(value, str::as_bytes));
        }
        if changed {
            response.fields = fields;
        }
    }

    fn relocated(&self, location: &str) -> Option<String> {
        let (scheme, rest) = location.split_once("://")?;
        let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        authority.eq_ignore_ascii_case(&self.told).then(|| format!("{scheme}://{}{path}", self.asked))
    }
}

/// A cookie for the client's name of the host, where it is for the upstream's.
fn with_domain(cookie: &str, told: &str, asked: &str) -> Option<String> {
    let mut changed = false;
    let parts = cookie.split(';').map(|part| {
        let is_told = part.trim().split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("domain")
                && value.trim().trim_start_matches('.').eq_ignore_ascii_case(told)
        });
        changed |= is_told;
        if is_told { format!(" Domain={asked}") } else { part.to_owned() }
    });
    let new = parts.collect::<Vec<_>>().join(";");
    changed.then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request { authority: "shop.test:8080".into(), target: "/".into(), ..Request::default() }
    }

    fn way(host: &str, forwarded: bool) -> HttpWay {
        HttpWay { host: host.into(), forwarded, ..HttpWay::default() }
    }

    #[test]
    fn the_host_is_preserved_or_the_upstreams_or_a_name() {
        for (host, told) in [("preserve", "shop.test:8080"), ("upstream", "10.0.0.1:80"), ("api.test", "api.test")] {
            let mut request = request();
            let names = dress(&mut request, &way(host, false), "10.0.0.1:80", None);
            assert_eq!((request.authority.as_str(), names.is_some()), (told, host != "preserve"));
            assert!(request.fields.is_empty());
        }
    }

    #[test]
    fn what_others_have_forwarded_is_kept_and_added_to() {
        let mut request = request();
        request.fields.push("X-Forwarded-For", "192.0.2.1");
        request.fields.push("X-Forwarded-Proto", "https");
        dress(&mut request, &way("preserve", true), "", "::ffff:10.1.1.1".parse().ok());
        assert_eq!(request.fields.text("x-forwarded-for"), Some("192.0.2.1, 10.1.1.1"));
        assert_eq!(request.fields.text("x-forwarded-proto"), Some("https"));
        assert_eq!(request.fields.text("x-forwarded-host"), Some("shop.test:8080"));
    }

    #[test]
    fn answers_carry_the_name_that_the_client_knows() {
        let names = Names { asked: "shop.test:8080".into(), told: "api.test".into() };
        let fields = [
            ("location", "https://api.test/next?x"),
            ("Set-Cookie", "a=b; Path=/; Domain=.API.test; Secure"),
            ("set-cookie", "c=d; Domain=other.test"),
            ("x-api", "https://api.test/"),
        ];
        let mut response = Response { fields: fields.into_iter().collect(), ..Response::default() };
        names.undress(&mut response);
        let values: Vec<_> = response.fields.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
        assert_eq!(
            values,
            [
                "https://shop.test:8080/next?x",
                "a=b; Path=/; Domain=shop.test; Secure",
                "c=d; Domain=other.test",
                "https://api.test/"
            ]
        );
        let mut elsewhere = Response { fields: [("location", "/next")].into_iter().collect(), ..Response::default() };
        let before = elsewhere.clone();
        names.undress(&mut elsewhere);
        assert_eq!(elsewhere, before);
    }
}
