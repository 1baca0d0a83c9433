//! Failures whose figures are of the moment: a quota that counts, a clock that is wrong.

use super::{Effect, Library, any_service, client_of_the_usual_kind};

#[test]
fn a_quota_says_what_is_left_on_every_answer() {
    let library = Library::before(any_service());
    let played = library.play("http/ratelimit-fields", &[("limit", "3"), ("window", "60s")]);
    for left in [2, 1, 0] {
        let answer = library.ask("GET /orders");
        assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, Some("\"default\";q=3;w=60")));
        let standing = answer.header("ratelimit").unwrap();
        assert!(standing.starts_with(&format!("\"default\";r={left};t=")), "{standing}");
    }
    assert_eq!(library.api.news().len(), 3);
    let over = library.ask("GET /orders");
    assert_eq!((over.status, over.header("content-type")), (429, Some("application/problem+json")));
    let problem = r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Request cannot be satisfied as assigned quota has been exceeded","violated-policies":["default"]}"#;
    assert_eq!(over.text(), problem);
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(over.header("ratelimit-policy"), Some("\"default\";q=3;w=60"));
    assert!(over.header("ratelimit").unwrap().starts_with("\"default\";r=0;t="));
    let (effect, attempts) = client_of_the_usual_kind(|| library.ask("GET /orders"));
    assert!(matches!(effect, Effect::TriedAgain { after: Some(1..=60) }) && attempts == 3, "{effect:?}");
    assert_eq!(library.api.news().len(), 0, "the service hears of none over the limit");
    played.stop();
    assert_eq!(library.ask("GET /orders").header("ratelimit"), None);
}

#[test]
fn a_service_has_the_wrong_time() {
    let library = Library::before(any_service());
    let own = library.ask("GET /orders");
    let played = library.play("http/clock-skew", &[]);
    let answer = library.ask("GET /orders");
    assert_eq!(answer.header("date"), Some("Fri, 27 Nov 2026 11:45:00 GMT"));
    assert_eq!((answer.status, &answer.body, played.hits()), (200, &own.body, 1), "all else is as it was");
    played.stop();
    assert_ne!(library.ask("GET /orders").header("date"), Some("Fri, 27 Nov 2026 11:45:00 GMT"));
}
