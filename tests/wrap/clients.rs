//! Each client finds the proxy and trusts the certificate by what wrap tells it, and by nothing else.

use super::wrapped::{Wrap, saying};
use crate::support::api::{Api, Says, header};
use crate::support::python;

const HOST: &str = "api.stripe.com";

fn one_call(words: &[&str]) {
    let api = saying(r#"{"object":"charge"}"#);
    let ended = Wrap::of(HOST, &api).run(words).exits(0);
    assert!(ended.out.contains(r#""object":"charge""#), "{ended:#?}");
    let asked = api.news();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!((&*asked[0].method, &*asked[0].target), ("GET", "/v1/charges?limit=1"));
    assert_eq!(header(&asked[0].headers, "host"), Some(HOST));
}

fn python_call(package: &str) {
    let python = python::script("client.py").get_program().to_owned(); // the interpreter that tests have
    let script = format!(
        "import {package} as client\nr = client.get('https://{HOST}/v1/charges?limit=1')\n\
         assert r.status_code == 200, r.status_code\nprint(r.text)"
    );
    one_call(&[python.to_str().unwrap(), "-c", &script]);
}

#[test]
fn curl_is_seen() {
    one_call(&["curl", "-sS", "https://api.stripe.com/v1/charges?limit=1"]);
}

#[test]
fn curl_in_the_clear_is_seen() {
    one_call(&["curl", "-sS", "http://api.stripe.com/v1/charges?limit=1"]);
}

#[test]
fn python_requests_is_seen() {
    python_call("requests");
}

#[test]
fn python_httpx_is_seen() {
    python_call("httpx");
}

#[test]
fn python_urllib_is_seen() {
    let script =
        "import urllib.request as u; print(u.urlopen('https://api.stripe.com/v1/charges?limit=1').read().decode())";
    one_call(&["python3", "-c", script]);
}

#[test]
fn java_is_seen() {
    let room = crate::support::Room::new();
    let source = room.file(
        "Call.java",
        "public class Call { public static void main(String[] a) throws Exception {\n\
         System.out.println(new String(new java.net.URL(a[0]).openStream().readAllBytes())); } }",
    );
    one_call(&["java", &source, "https://api.stripe.com/v1/charges?limit=1"]);
}

#[test]
fn a_body_of_a_megabyte_arrives_whole_both_ways() {
    let api = Api::answering(|asked| Says::Whole(200, "application/octet-stream".into(), asked.body.clone()));
    let wrap = Wrap::of(HOST, &api);
    let bytes: String = (0..40_000).map(|n| format!("{n:026}")).collect();
    let file = wrap.room.file("body", &bytes);
    let ended = wrap.run(&["curl", "-sS", "--data-binary", &format!("@{file}"), "https://api.stripe.com/v1/files"]);
    assert!(ended.exits(0).out == bytes);
}

#[test]
fn git_is_seen() {
    let api = Api::answering(|_| Says::Whole(404, "text/plain".into(), b"no such repository".to_vec()));
    let wrap = Wrap::of("github.com", &api);
    wrap.run(&["git", "ls-remote", "https://github.com/octo/hello.git"]).exits(128).says("not found");
    assert_eq!(api.news()[0].target, "/octo/hello.git/info/refs?service=git-upload-pack");
}

#[test]
fn node_is_reached_by_a_base_url_whatever_its_version() {
    let api = saying(r#"{"object":"charge"}"#);
    let wrap = Wrap::of(HOST, &api).with(&["--reverse", "--error", "503", "--first", "1"]);
    let script = "const url = process.env.STRIPE_API_BASE + '/v1/charges';
        fetch(url).then(a => console.log(a.status)).then(() => fetch(url)).then(a => a.json()).then(a => console.log(a.object))";
    let ended = wrap.run(&["node", "-e", script]).exits(0);
    assert_eq!(ended.out, "503\ncharge\n");
    assert_eq!(header(&api.news()[0].headers, "host"), Some(HOST));
}
