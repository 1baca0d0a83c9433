#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::fault::Upstream;
use crate::fault::driver::Driver;
use crate::http::Request;

fn build(text: &str) -> Result<Error, Misfit> {
    Error::build(toml::from_str(text).unwrap())
}

fn request() -> Request {
    Request {
        target: "/v1/charges?x=1".into(),
        fields: [("X-Tenant", "acme")].into_iter().collect(),
        ..Request::default()
    }
}

/// What it answers in a phase.
fn answer(text: &str, phase: Phase) -> (Reply, Upstream, Vec<Injection>) {
    let mut driver = Driver::new(build(text).unwrap(), Flow::Downstream).of(request(), Some(Response::default()));
    let (_, Some(Ruling::Answer { reply, upstream })) = driver.rule(phase) else { panic!("no answer") };
    (*reply, upstream, driver.injected)
}

#[test]
fn what_is_no_http_is_refused() {
    assert_eq!(build("").unwrap().status.as_u16(), 503);
    assert_eq!(build("headers = { 'X-A' = 'b' }").unwrap().fields, [("x-a".to_owned(), "b".to_owned())]);
    for status in [0, 99, 100, 102, 103, 199, 600, 999] {
        assert_eq!(build(&format!("http_status = {status}")).unwrap_err().field, Some("http_status"), "{status}");
    }
    assert!(build("http_status = 101").is_ok() && build("http_status = 200").is_ok());
    for headers in ["{ 'a b' = '1' }", "{ '' = '1' }", "{ a = \"1\\r\\nb: 2\" }", "{ 'Content-Length' = '3' }"] {
        assert_eq!(build(&format!("headers = {headers}")).unwrap_err().field, Some("headers"), "{headers}");
    }
    for (text, field) in [
        ("http_status = 204\nbody = 'x'", "body"),
        ("grpc_message = 'x'", "grpc_message"),
        ("grpc_status = 3\nhttp_status = 500", "http_status"),
        ("grpc_status = 3\nbody = 'x'", "body"),
        ("body = 'x'\nbody_file = 'y'", "body_file"),
        ("body = '{{pth}}'", "body"),
    ] {
        assert_eq!(build(text).unwrap_err().field, Some(field), "{text}");
    }
    assert!(build("body = '{{pth}}'").unwrap_err().message.contains("did you mean `{{path}}`"));
}

#[test]
fn the_answer_says_what_is_written_and_the_upstream_fares_by_the_phase() {
    let text = "http_status = 429\nheaders = { 'Retry-After' = '2' }\nbody = '{{method}} {{path}} {{header:x-tenant}} {{number}}'";
    for (phase, fate) in [
        (Phase::BeforeConnect, Upstream::Never),
        (Phase::BeforeUpstream, Upstream::Never),
        (Phase::AfterUpstreamHead, Upstream::Cancel),
        (Phase::AfterUpstream, Upstream::Finish),
    ] {
        let (reply, upstream, injected) = answer(text, phase);
        assert_eq!((reply.head.status.as_u16(), upstream), (429, fate));
        assert_eq!(reply.head.fields.text("retry-after"), Some("2"));
        assert_eq!(reply.body, "GET /v1/charges acme 0");
        assert_eq!(injected.iter().map(|i| (i.what, i.achieved)).collect::<Vec<_>>(), [(What::Replied, 429)]);
    }
}

#[test]
fn a_grpc_error_is_trailers_only_with_its_message_encoded() {
    let (reply, ..) = answer("grpc_status = 'unavailable'\ngrpc_message = '100% über\t'", Phase::BeforeUpstream);
    let fields = &reply.head.fields;
    assert_eq!((reply.head.status.as_u16(), reply.body.len(), reply.trailers), (200, 0, None));
    assert_eq!(fields.text("content-type"), Some("application/grpc"));
    assert_eq!((fields.text("grpc-status"), fields.text("grpc-message")), (Some("14"), Some("100%25 %C3%BCber%09")));
    assert_eq!(build("grpc_status = 0").unwrap().grpc.unwrap().to_string(), "0 (OK)");
    for wrong in ["17", "-1", "'UNAVAILABEL'", "true"] {
        assert!(toml::from_str::<Config>(&format!("grpc_status = {wrong}")).is_err(), "{wrong}");
    }
}
