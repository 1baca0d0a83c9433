//! Rules compiled together hold for the same requests as each of them by itself, read literally.

use proptest::prelude::*;

use super::*;
use crate::http::{Fields, Method as HttpMethod, Request, Response, StatusCode};

/// The rule as it reads, with nothing compiled: globs by trying every way, one condition after the other.
fn holds(rule: &MatchSpec, request: &Request, facts: &Facts<'_>) -> bool {
    let path = crate::http::normal_path(request.path()).into_owned();
    let host = request.host().to_ascii_lowercase();
    let content_type = request.fields.text("content-type").map(str::to_owned);
    let call = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let call = call.filter(|(service, method)| {
        !service.is_empty()
            && !method.is_empty()
            && !method.contains('/')
            && content_type.as_deref() == Some("application/grpc")
    });
    let one = |pattern: &Option<Pattern>, value: Option<&str>, separator: Option<char>, lower: bool| {
        pattern.as_ref().is_none_or(|pattern| takes(pattern, &value.into_iter().collect::<Vec<_>>(), separator, lower))
    };
    let fields = |wanted: &BTreeMap<String, Pattern>, fields: &Fields| {
        wanted.iter().all(|(name, pattern)| {
            let values: Vec<&str> = fields.values(name).map(|value| std::str::from_utf8(value).unwrap()).collect();
            takes(pattern, &values, None, false)
        })
    };
    let query = rule.query.iter().all(|(name, pattern)| {
        let pairs = request.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        takes(
            pattern,
            &pairs.filter(|(other, _)| other == name).map(|(_, value)| value).collect::<Vec<_>>(),
            None,
            false,
        )
    });
    rule.method.as_ref().is_none_or(|list| list.iter().any(|method| method.0 == request.method.as_str()))
        && one(&rule.path, Some(&path), Some('/'), false)
        && one(&rule.host, Some(host.as_str()).filter(|host| !host.is_empty()), Some('.'), true)
        && one(&rule.sni, facts.sni, Some('.'), true)
        && one(&rule.content_type, content_type.as_deref(), None, true)
        && one(&rule.grpc_service, call.map(|(service, _)| service), None, false)
        && one(&rule.grpc_method, call.map(|(_, method)| method), None, false)
        && query
        && fields(&rule.headers, &request.fields)
        && rule
            .source
            .as_ref()
            .is_none_or(|list| list.iter().any(|net| facts.client.is_some_and(|ip| net.contains(ip))))
        && rule
            .request_size
            .is_none_or(|range| facts.request_size.is_some_and(|size| range.min.0 <= size && size <= range.max.0))
        && rule.status.as_ref().is_none_or(|list| {
            let status = facts.response.map_or(0, |response| response.status.as_u16());
            list.iter().any(|range| range.low <= status && status <= range.high)
        })
        && facts
            .response
            .map_or(rule.response_headers.is_empty(), |response| fields(&rule.response_headers, &response.fields))
        && rule.not.as_ref().is_none_or(|rule| !holds(rule, request, facts))
        && rule.any.as_ref().is_none_or(|rules| rules.iter().any(|rule| holds(rule, request, facts)))
        && rule.all.iter().flatten().all(|rule| holds(rule, request, facts))
}

fn takes(pattern: &Pattern, values: &[&str], separator: Option<char>, lower: bool) -> bool {
    let cased = |text: &str| if lower { text.to_ascii_lowercase() } else { text.to_owned() };
    match pattern {
        Pattern::Present => !values.is_empty(),
        Pattern::Absent => values.is_empty(),
        Pattern::Exact(text) => values.iter().any(|value| *value == cased(text)),
        Pattern::Regex(text) => {
            let regex = regex::Regex::new(&format!("^(?:{})$", cased(text))).unwrap();
            values.iter().any(|value| regex.is_match(value))
        }
        Pattern::Glob(glob) => values.iter().any(|value| match separator {
            None => within(cased(glob).as_bytes(), value.as_bytes()),
            Some(separator) => {
                let glob = cased(glob);
                let glob: Vec<&str> = glob.split(separator).collect();
                across(&glob, &value.split(separator).collect::<Vec<_>>())
            }
        }),
    }
}

/// Segments against segments; the globs of these tests have `**` as a whole segment only.
fn across(glob: &[&str], value: &[&str]) -> bool {
    match (glob, value) {
        ([], []) => true,
        (["**", glob @ ..], _) => (0..=value.len()).any(|skip| across(glob, &value[skip..])),
        (["*", glob @ ..], [first, value @ ..]) => !first.is_empty() && across(glob, value),
        ([one, glob @ ..], [first, value @ ..]) => within(one.as_bytes(), first.as_bytes()) && across(glob, value),
        _ => false,
    }
}

fn within(glob: &[u8], value: &[u8]) -> bool {
    match glob {
        [] => value.is_empty(),
        [b'*', glob @ ..] => (0..=value.len()).any(|skip| within(glob, &value[skip..])),
        [byte, glob @ ..] => value.first() == Some(byte) && within(glob, &value[1..]),
    }
}

fn pattern(values: &'static [&'static str], globs: &'static [&'static str], absent: bool) -> BoxedStrategy<Pattern> {
    let text = |from: &'static [&'static str]| proptest::sample::select(from).prop_map(str::to_owned);
    let regex = text(values).prop_map(|value| Pattern::Regex(value.replace('.', "[.]")));
    let ending = text(values).prop_map(|value| Pattern::Regex(format!(".*{}", value.replace('.', "[.]"))));
    let all = prop_oneof![
        3 => text(values).prop_map(Pattern::Exact),
        3 => text(globs).prop_map(Pattern::Glob),
        1 => regex,
        1 => ending,
        1 => Just(Pattern::Present),
    ];
    match absent {
        true => prop_oneof![6 => all, 1 => Just(Pattern::Absent)].boxed(),
        false => all.boxed(),
    }
}

const PATHS: &[&str] = &["/", "/a", "/a/b", "/a/b/c", "/b", "/b/", "/a.b/C"];
const PATH_GLOBS: &[&str] = &["/**", "/a/**", "/*", "/a/*", "/*/b", "/**/b", "/a*/**", "**", "/a/**/c", "/a", "/a/b"];
const HOSTS: &[&str] = &["a.example", "b.a.example", "example", "A.example"];
const HOST_GLOBS: &[&str] = &["*.example", "**.example", "*.a.example", "a*.example", "**", "a.*"];
const VALUES: &[&str] = &["1", "2", "12", "a/b"];
const VALUE_GLOBS: &[&str] = &["*", "1*", "*2", "a*b", "1"];
const NAMES: &[&str] = &["x", "y", "x-tenant"];
const TYPES: &[&str] = &["application/grpc", "text/plain"];
const TYPE_GLOBS: &[&str] = &["text/*", "*", "application/*"];
const METHODS: &[&str] = &["GET", "POST", "PUT"];
const NETWORKS: &[&str] = &["10.0.0.0/8", "10.1.0.0/16", "::1", "0.0.0.0/0", "fe80::/10", "10.1.2.3"];
const ADDRESSES: &[&str] = &["10.1.2.3", "::ffff:10.2.0.1", "::1", "192.0.2.1"];
const STATUSES: &[&str] = &["200", "5xx", "400-503", "503"];

fn named(values: BoxedStrategy<Pattern>) -> impl Strategy<Value = BTreeMap<String, Pattern>> {
    prop_oneof![
        3 => Just(BTreeMap::new()),
        1 => proptest::collection::btree_map(proptest::sample::select(NAMES).prop_map(str::to_owned), values, 1..3),
    ]
}

fn list<T: std::str::FromStr + fmt::Debug + Clone + 'static>(
    words: &'static [&'static str],
) -> impl Strategy<Value = Option<Vec<T>>> {
    let one = proptest::sample::select(words).prop_map(|word| word.parse().ok().unwrap());
    proptest::option::weighted(0.2, proptest::collection::vec(one, 1..3))
}

impl std::str::FromStr for Method {
    type Err = ();
    fn from_str(text: &str) -> Result<Method, ()> {
        Ok(Method(text.into()))
    }
}

fn spec() -> impl Strategy<Value = MatchSpec> {
    let value = || pattern(VALUES, VALUE_GLOBS, true);
    let some = |of: BoxedStrategy<Pattern>| proptest::option::weighted(0.2, of);
    let size = proptest::option::weighted(0.1, (0_u64..4, 0_u64..4)).prop_map(|size| {
        size.map(|(min, max)| SizeRange { min: crate::unit::Bytes(min), max: crate::unit::Bytes(max) })
    });
    let level = (
        (list::<Method>(METHODS), some(pattern(PATHS, PATH_GLOBS, false)), some(pattern(HOSTS, HOST_GLOBS, true))),
        (named(value()), named(value()), list::<Network>(NETWORKS), some(pattern(HOSTS, HOST_GLOBS, true))),
        (some(pattern(&["a", "b"], VALUE_GLOBS, true)), some(pattern(&["b", "c"], VALUE_GLOBS, true))),
        (some(pattern(TYPES, TYPE_GLOBS, true)), size),
        (list::<StatusRange>(STATUSES), named(value())),
    );
    let level = level.prop_map(
        |(
            (method, path, host),
            (query, headers, source, sni),
            (grpc_service, grpc_method),
            (content_type, request_size),
            (status, response_headers),
        )| MatchSpec {
            method,
            path,
            host,
            query,
            headers,
            source,
            sni,
            grpc_service,
            grpc_method,
            content_type,
            request_size,
            status,
            response_headers,
            ..MatchSpec::default()
        },
    );
    level.prop_recursive(2, 6, 2, |inner| {
        let nested = (
            inner.clone(),
            proptest::option::weighted(0.3, inner.clone()),
            proptest::option::weighted(0.3, proptest::collection::vec(inner.clone(), 0..3)),
            proptest::option::weighted(0.3, proptest::collection::vec(inner, 0..3)),
        );
        nested.prop_map(|(level, not, any, all)| MatchSpec { not: not.map(Box::new), any, all, ..level })
    })
}

fn fields() -> impl Strategy<Value = Fields> {
    let names = proptest::sample::select(&["x", "X-Tenant", "y", "other"][..]);
    proptest::collection::vec((names, proptest::sample::select(VALUES)), 0..4).prop_map(|all| all.into_iter().collect())
}

fn request() -> impl Strategy<Value = Request> {
    let authority = proptest::sample::select(&["a.example", "b.A.example:80", "example:1", ""][..]);
    let query = proptest::sample::select(&["", "?x=1", "?x=2&x=12&y=1", "?x-tenant=a/b"][..]);
    let content_type = proptest::option::of(proptest::sample::select(TYPES));
    let method = proptest::sample::select(METHODS);
    (method, authority, proptest::sample::select(PATHS), query, fields(), content_type).prop_map(
        |(method, authority, path, query, mut fields, content_type)| {
            if let Some(content_type) = content_type {
                fields.push("Content-Type", content_type);
            }
            Request {
                method: HttpMethod::from_bytes(method.as_bytes()).unwrap(),
                authority: authority.into(),
                target: format!("{path}{query}"),
                fields,
                ..Request::default()
            }
        },
    )
}

/// Rules, some of them many times over, so that expressions are evaluated in sets.
fn rules() -> impl Strategy<Value = Vec<Option<MatchSpec>>> {
    prop_oneof![
        proptest::collection::vec(proptest::option::weighted(0.95, spec()), 0..40),
        proptest::collection::vec(pattern(PATHS, PATH_GLOBS, false), 20..60).prop_map(|all| all
            .into_iter()
            .map(|path| Some(MatchSpec { path: Some(path), ..MatchSpec::default() }))
            .collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn together_they_hold_as_each_by_itself(
        rules in rules(),
        request in request(),
        client in proptest::option::of(proptest::sample::select(ADDRESSES)),
        sni in proptest::option::of(proptest::sample::select(&["a.example", "b.a.example"][..])),
        request_size in proptest::option::of(0_u64..4),
        status in proptest::sample::select(&[200_u16, 404, 503][..]),
        answered in fields(),
    ) {
        let compiled = Rules::compile(rules.iter().map(Option::as_ref));
        let response = Response { status: StatusCode::from_u16(status).unwrap(), fields: answered, ..Response::default() };
        let client = client.map(|ip| ip.parse().unwrap());
        let early = Facts { client, sni, alpn: &[], request_size, response: None };
        let everything = MatchSpec::default();
        for facts in [early, Facts { response: Some(&response), ..early }] {
            let mut matching = vec![u32::MAX];
            compiled.matching(&request, &facts, &mut matching);
            let mut expected = vec![u32::MAX];
            for (at, rule) in (0_u32..).zip(&rules) {
                let rule = rule.as_ref().unwrap_or(&everything);
                if rule.needs_answer() == facts.response.is_some() && holds(rule, &request, &facts) {
                    expected.push(at);
                }
                // and what can match nothing does not
                let told = explain(rule, &request, &facts);
                prop_assert!(told.is_err() || rule.impossible().is_none(), "{:?} {:?}", rule, rule.impossible());
                if rule.needs_answer() == facts.response.is_some() {
                    prop_assert_eq!(told.is_ok(), expected.last() == Some(&at), "{:?} {:?}", rule, told);
                }
            }
            prop_assert_eq!(&matching, &expected, "{:?}", request);
            prop_assert_eq!(compiled.needs_answer(), rules.iter().flatten().any(MatchSpec::needs_answer));
        }
    }
}
