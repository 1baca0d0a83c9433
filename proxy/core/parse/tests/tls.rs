//! `tls`, `upstream_tls`, and what faults need of them.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::tls::Mode;

/// A directory with files that look like a certificate, a key and neither, gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let place = std::env::temp_dir().join(format!("squall-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("cert.pem"), "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n").unwrap();
        fs::write(place.join("key.pem"), "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n").unwrap();
        fs::write(place.join("text"), "nothing\n").unwrap();
        Place(place)
    }

    fn source(&self, text: &str) -> Arc<Source> {
        Arc::new(Source { name: self.0.join("a.toml").to_string_lossy().into_owned(), text: text.into() })
    }

    fn told(&self, text: &str) -> String {
        let outcome = check_all(&[self.source(text)], &Options::default());
        outcome.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A proxy with these fields and a fault that fits anything.
fn with(fields: &str) -> String {
    around(&format!("{fields}\n[[fault]]\nkind = \"latency\"\nproxy = \"redis\"\ndelay = \"1ms\""))
}

const WRONG: &[(&str, &str)] = &[
    ("tls = {}", "`mode` is missing"),
    ("tls = { mode = \"terminat\" }", "did you mean `terminate`?"),
    ("tls = { mode = \"terminate\" }", "a certificate is needed: `cert` and `key`, or `issue = true`"),
    ("tls = { mode = \"terminate\", cert = \"cert.pem\" }", "`cert` is of no use without `key`"),
    ("tls = { mode = \"terminate\", issue = true, key = \"key.pem\" }", "exclude each other"),
    ("tls = { mode = \"terminate\", cert = \"cert.pem\", key = \"gone.pem\" }", "gone.pem: can not read the file"),
    ("tls = { mode = \"terminate\", cert = \"text\", key = \"key.pem\" }", "text: there is no certificate in it"),
    ("tls = { mode = \"terminate\", cert = \"cert.pem\", key = \"cert.pem\" }", "there is no private key in it"),
    ("tls = { mode = \"terminate\", issue = true, alpn = [] }", "an empty list names no protocol"),
    ("tls = { mode = \"terminate\", issue = true, alpn = [\"h2\", \"h2\"] }", "each protocol is named once"),
    ("tls = { mode = \"passthrough\", issue = true }", "`issue` is for `mode = \"terminate\"`"),
    ("tls = { mode = \"passthrough\", alpn = [\"h2\"] }", "`alpn` is for `mode = \"terminate\"`"),
    ("protocol = \"http\"\ntls = { mode = \"passthrough\" }", "nobody can see HTTP within TLS"),
    ("tls = { mode = \"passthrough\" }\nupstream_tls = {}", "the client's TLS goes through"),
    ("protocol = \"udp\"\ntls = { mode = \"passthrough\" }", "not of datagrams"),
    ("upstream_tls = { roots = \"gone.pem\" }", "gone.pem: can not read the file"),
    ("upstream_tls = { roots = \"system\", verify = false }", "`verify = false` looks at no root"),
    ("upstream_tls = { key = \"key.pem\" }", "`key` is of no use without `cert`"),
    ("upstream_tls = { server_name = \"a b\" }", "is not the name of a host"),
    ("protocol = \"http\"\nupstream_tls = { postgres = true }", "not spoken over HTTP"),
];

#[test]
fn wrong_tls_is_told() {
    let place = Place::new("wrong");
    for (fields, expected) in WRONG {
        let text = place.told(&with(fields));
        assert!(text.contains(expected), "{fields}\n-> {text}");
        assert_eq!(text.lines().count(), 1, "one mistake, one message: {fields}\n-> {text}");
    }
}

#[test]
fn files_lie_beside_the_one_that_names_them() {
    let place = Place::new("files");
    let fields = "tls = { mode = \"terminate\", cert = \"cert.pem\", key = \"key.pem\" }\n\
                  upstream_tls = { roots = \"cert.pem\", server_name = \"db.example\" }";
    let source = place.source(&with(fields));
    let (checked, _) = scenario(&source, &Options::default()).unwrap();
    let way = &checked.proxies[0].way;
    let (tls, upstream) = (way.tls.as_ref().unwrap(), way.upstream_tls.as_ref().unwrap());
    assert_eq!((tls.mode, tls.cert.as_deref()), (Mode::Terminate, Some(&*place.0.join("cert.pem"))));
    assert!(tls.alpn.is_empty(), "bytes may be any protocol");
    assert_eq!(upstream.roots.as_deref().map(Path::new), Some(&*place.0.join("cert.pem")));
    // what goes over the control port finds them from anywhere, and nothing relative is taken there
    let json = put_in_place(&source).unwrap().unwrap();
    let (sent, _) = scenario_json(&json, &Options::default()).unwrap();
    assert_eq!(sent.proxies[0].way.tls.as_ref().unwrap().cert, tls.cert);
    let json = serde_json::to_value(toml::from_str::<toml::Table>(&source.text).unwrap()).unwrap();
    let refused = scenario_json(&json, &Options::default()).unwrap_err();
    assert!(refused[0].message.contains("give the whole path"), "{refused:?}");
}

#[test]
fn http_is_offered_over_tls() {
    let fields = "protocol = \"http\"\ntls = { mode = \"terminate\", issue = true }\nupstream_tls = { verify = false }";
    let (checked, _) = scenario(&source(&with(fields)), &Options::default()).unwrap();
    let way = &checked.proxies[0].way;
    assert_eq!(way.tls.as_ref().unwrap().alpn, ["h2", "http/1.1"]);
    assert_eq!(way.upstream_tls.as_ref().unwrap().alpn, ["http/1.1"], "what is spoken with the upstream");
    let two = format!("{fields}\nhttp = {{ upstream = \"2\" }}");
    let (checked, _) = scenario(&source(&with(&two)), &Options::default()).unwrap();
    assert_eq!(checked.proxies[0].way.upstream_tls.as_ref().unwrap().alpn, ["h2"]);
    let other = fields.replace("verify = false", "verify = false, alpn = [\"h2\"]");
    assert!(told(&with(&other)).contains("squall speaks `http/1.1` with this upstream"), "{}", told(&with(&other)));
}

#[test]
fn faults_need_the_handshake_that_they_look_at() {
    let fault = |tls: &str, fields: &str| told(&around(&format!("{tls}\n[[fault]]\nproxy = \"redis\"\n{fields}")));
    let through = "tls = { mode = \"passthrough\" }";
    let ended = "tls = { mode = \"terminate\", issue = true }";
    let named = "kind = \"latency\"\ndelay = \"5ms\"\nmatch = { sni = \"*.example.com\", alpn = [\"h2\"] }";
    assert_eq!((fault(through, named), fault(ended, named)), (String::new(), String::new()));
    assert!(fault("", named).contains("it has no `tls`"), "{}", fault("", named));
    assert_eq!(fault("", "kind = \"reset\"\nmatch = { source = [\"10.0.0.0/8\"] }"), "");
    let expired = "kind = \"tls\"\nflaw = \"expired\"";
    assert_eq!(fault(ended, expired), "");
    assert!(fault(through, expired).contains("the upstream carries the handshake out there"));
    assert_eq!(fault(through, "kind = \"tls\"\nflaw = \"stall\""), "");
    assert!(fault("", "kind = \"tls\"\nflaw = \"stall\"").contains("it has no `tls`"));
    assert!(fault(through, "kind = \"reset\"\nmatch = { alpn = [] }").contains("an empty `alpn` matches nothing"));
}
