//! `patch`: a message with some of it changed.

pub mod merge;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use self::merge::merge;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::words::{check_header_name, check_headers, check_status, pairs};
use crate::fault::{Asked, Cx, Effect, Fault, Flow, Hooks, Injection, NewBody, Patch, Phase, Rewrite, Ruling, What};
use crate::http::StatusCode;
use crate::unit::Bytes;

/// Changes headers, status and JSON of an answer, or upstream of a request.
///
/// A body is kept until it is whole to be changed. One that is longer than `most`, encoded or no JSON goes on as it is, and
/// is counted as unread.
#[derive(Clone, Debug, PartialEq)]
pub struct Patching {
    json: Option<Arc<Value>>,
    most: usize,
    status: Option<StatusCode>,
    set: Vec<(String, String)>,
    add: Vec<(String, String)>,
    remove: Vec<String>,
}

/// The fields of a patch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A JSON merge patch (RFC 7386) for the body, as a text: members that are null go, others take the place of those of
    /// their names.
    json: Option<String>,
    /// With `json`: the longest body that is kept to be changed, up to 16MiB. Default 1MiB.
    most: Option<Bytes>,
    /// Headers that take the place of those of their names. `content-length` and the like are squall's.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Headers beside those there are.
    #[serde(default)]
    add: BTreeMap<String, String>,
    /// Names of headers that go.
    #[serde(default)]
    remove: Vec<String>,
    /// Another status for the answer: 200 to 599.
    #[schemars(range(min = 200, max = 599))]
    http_status: Option<u16>,
}

const MOST: usize = 1 << 20;
const LONGEST: u64 = 16 << 20;

/// Bodies that went on as they were.
#[derive(Clone, Debug, Default)]
pub struct Untouched(Arc<AtomicU64>);

impl Kind for Patching {
    const NAME: &'static str = "patch";
    const ABOUT: &'static str = "Changes headers, status or JSON of an answer or a request";
    const EXAMPLE: &'static str = r#"[[fault]]
kind   = "patch"
proxy  = "redis"
json   = '{"balance":null,"status":"pending"}'
set    = { "cache-control" = "max-age=86400" }
remove = ["etag"]
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] = &[Phase::MidBody];
    type Config = Config;
    type Makes = Patching;

    fn build(config: Config) -> Result<Patching, Misfit> {
        let Config { json, most, set, add, remove, http_status } = config;
        if most.is_some_and(|most| most.0 == 0 || most.0 > LONGEST) {
            return Err(Misfit::new("most", format!("`most` is from 1B to {}", Bytes(LONGEST))));
        }
        if most.is_some() && json.is_none() {
            return Err(Misfit::new("most", "`most` is about bodies, and only `json` changes any"));
        }
        if json.is_none() && set.is_empty() && add.is_empty() && remove.is_empty() && http_status.is_none() {
            let message = "changes nothing: give `json`, `set`, `add`, `remove` or `http_status`".to_owned();
            return Err(Misfit { field: None, span: None, message });
        }
        check_headers("set", &set)?;
        check_headers("add", &add)?;
        remove.iter().try_for_each(|name| check_header_name("remove", name))?;
        let status = http_status.map(check_status).transpose()?;
        if status == Some(StatusCode::SWITCHING_PROTOCOLS) {
            return Err(Misfit::new("http_status", "an upgrade can't be made of another answer"));
        }
        let json = json.map(|text| serde_json::from_str(&text)).transpose();
        let json = json.map_err(|error| Misfit::new("json", format!("this is not JSON: {error}")))?;
        Ok(Patching {
            json: json.map(Arc::new),
            most: most.and_then(|most| usize::try_from(most.0).ok()).unwrap_or(MOST),
            status,
            set: pairs(set),
            add: pairs(add),
            remove: remove.into_iter().map(|name| name.to_ascii_lowercase()).collect(),
        })
    }

    fn summary(fault: &Patching) -> String {
        let status = fault.status.map(|status| format!("status {}", status.as_u16()));
        let json = fault.json.as_ref().map(|_| "JSON".to_owned());
        let headers = fault.set.len() + fault.add.len() + fault.remove.len();
        let headers =
            (headers > 0).then(|| if headers == 1 { "a header".into() } else { format!("{headers} headers") });
        format!("another {}", [status, headers, json].into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl Fault for Patching {
    const KIND: &'static str = "patch";
    const HOOKS: Hooks = Hooks::EXCHANGE;
    const EFFECT: Effect = Effect::Mutates;
    type Shared = Untouched;
    type State = ();

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        let (what, step) = (What::Patched, asked.step());
        cx.inject(Injection { what, step, draw: None, drawn: 0, scheduled: 0, achieved: 0 });
        let body = self.json.as_ref().map(|json| {
            let by = Arc::new(Merge { patch: json.clone(), untouched: cx.shared.clone() });
            NewBody::Rewrite { most: self.most, by }
        });
        Ruling::Patch(Box::new(Patch {
            status: self.status.filter(|_| cx.flow == Flow::Downstream),
            remove: self.remove.clone(),
            set: self.set.clone(),
            add: self.add.clone(),
            body,
            ..Patch::of(cx.flow)
        }))
    }

    fn unread(shared: &Untouched) -> u64 {
        shared.0.load(Ordering::Relaxed)
    }
}

/// Changes one body.
#[derive(Debug)]
struct Merge {
    patch: Arc<Value>,
    untouched: Untouched,
}

impl Rewrite for Merge {
    fn rewrite(&self, body: &[u8]) -> Option<Vec<u8>> {
        let changed = serde_json::from_slice(body).ok().and_then(|mut value| {
            merge(&mut value, &self.patch);
            serde_json::to_vec(&value).ok()
        });
        if changed.is_none() {
            self.too_long();
        }
        changed
    }

    fn too_long(&self) {
        self.untouched.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::http::{Request, Response};

    fn build(text: &str) -> Result<Patching, Misfit> {
        Patching::build(toml::from_str(text).unwrap())
    }

    #[test]
    fn headers_status_and_json_are_changed_and_what_can_not_be_read_is_counted() {
        let text = "json = '{\"a\":null,\"b\":{\"c\":2}}'\nset = { 'X-A' = '1' }\nadd = { b = '2' }\nremove = ['ETag']\nhttp_status = 202";
        let mut driver =
            Driver::new(build(text).unwrap(), Flow::Downstream).of(Request::default(), Some(Response::default()));
        let (_, Some(Ruling::Patch(patch))) = driver.rule(Phase::MidBody) else { panic!("no patch") };
        assert_eq!(patch.status.map(|status| status.as_u16()), Some(202));
        assert_eq!((&patch.set[0].0, &patch.add[0].0, &patch.remove[0]), (&"x-a".into(), &"b".into(), &"etag".into()));
        let Some(NewBody::Rewrite { most, by }) = &patch.body else { panic!("{patch:?}") };
        let new = by.rewrite(b"{\"a\": 1, \"b\": {\"d\": 3}, \"e\": 1.10}").unwrap();
        assert_eq!((*most, String::from_utf8(new).unwrap().as_str()), (MOST, r#"{"b":{"c":2,"d":3},"e":1.1}"#));
        assert_eq!(Patching::unread(&driver.shared), 0);
        assert_eq!(by.rewrite(b"\x1f\x8b no json"), None);
        by.too_long();
        assert_eq!(Patching::unread(&driver.shared), 2);
    }

    #[test]
    fn a_patch_that_does_not_fit_together_is_named() {
        for (text, field) in [
            ("", None),
            ("json = '{'", Some("json")),
            ("most = '1kB'", Some("most")),
            ("json = '{}'\nmost = '1GB'", Some("most")),
            ("remove = ['Content-Length']", Some("remove")),
            ("remove = ['a b']", Some("remove")),
            ("set = { 'a' = \"b\\nc\" }", Some("set")),
            ("http_status = 101", Some("http_status")),
        ] {
            assert_eq!(build(text).unwrap_err().field, field, "{text}");
        }
        assert_eq!(
            Patching::summary(&build("http_status = 500\nremove = ['a']").unwrap()),
            "another status 500, a header"
        );
    }
}
