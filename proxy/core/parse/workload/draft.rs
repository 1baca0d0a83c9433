//! `[[workload]]` as it is written.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, IgnoredAny};

use crate::curve::Curve;
use crate::parse::draft::{Label, Name};
use crate::unit::{Bytes, Duration};

/// Fields of an HTTP request.
pub(super) const HTTP_FIELDS: &[&str] = &["method", "path", "headers", "body", "status"];
/// Fields of a TCP request.
pub(super) const TCP_FIELDS: &[&str] = &["send", "expect"];
/// What only workloads of requests have.
pub(super) const REQUEST_FIELDS: &[&str] = &["retries", "requests"];

/// `[[workload]]`: open-loop load.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkloadDraft {
    /// Name.
    pub(crate) name: Name,
    /// `proxy:NAME`, `service:NAME` or `host:port`.
    pub(crate) target: String,
    /// What it sends.
    pub(crate) kind: WorkloadWord,
    /// Arrivals per second; of bursty arrivals, while they are quiet.
    pub(crate) rate: Curve<f64>,
    /// How they come: `constant` unless written.
    pub(crate) arrivals: Option<ArrivalsWord>,
    /// The busy state of bursty arrivals.
    pub(crate) burst: Option<BurstDraft>,
    /// How long an answer may take: 5 s unless written.
    pub(crate) timeout: Option<Duration>,
    /// HTTP and TCP: attempts beyond the first.
    pub(crate) retries: Option<u32>,
    /// Connections kept open, one request at a time on each; left out, one per request. UDP: the sockets that send in
    /// turn, each a client of its own; left out, one.
    pub(crate) connections: Option<u64>,
    /// UDP: payload of each datagram, 16 to 65507 bytes; left out, 64.
    pub(crate) size: Option<Bytes>,
    /// In place of the fields of one request: several, drawn by weight; or a file beside the scenario with `[[request]]`
    /// tables.
    #[allow(dead_code)] // read one by one, with their places
    pub(crate) requests: Option<Requests>,
    /// HTTP method: GET unless written.
    pub(crate) method: Option<String>,
    /// Path and query: / unless written.
    pub(crate) path: Option<String>,
    /// HTTP headers besides Host.
    pub(crate) headers: Option<BTreeMap<String, String>>,
    /// HTTP body.
    pub(crate) body: Option<String>,
    /// The status that counts as an answer; left out, anything below 500.
    pub(crate) status: Option<u16>,
    /// TCP: what is sent; `{n}` is the number of the request.
    pub(crate) send: Option<String>,
    /// TCP: what the answer must be.
    pub(crate) expect: Option<String>,
}

impl WorkloadDraft {
    /// The one request of a workload without `requests`.
    pub(super) fn request(&self) -> RequestDraft {
        RequestDraft {
            name: None,
            weight: None,
            method: self.method.clone(),
            path: self.path.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            status: self.status,
            send: self.send.clone(),
            expect: self.expect.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkloadWord {
    /// HTTP/1.1 requests.
    Http,
    /// Bytes.
    Tcp,
    /// Datagrams with a number and a checksum, to somebody who sends them back.
    Udp,
}

/// `arrivals`
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ArrivalsWord {
    /// Evenly spaced.
    Constant,
    /// Independent of each other.
    Poisson,
    /// Independent of each other, now and then at the rate of `burst`.
    Bursty,
}

/// `burst`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BurstDraft {
    /// Arrivals per second.
    pub(crate) rate: f64,
    /// How long it lasts on average.
    pub(crate) on: Duration,
    /// How long it is quiet in between, on average.
    pub(crate) off: Duration,
}

/// One of several requests.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestDraft {
    /// Figures in the report carry it: method and path unless written, and on TCP its place in the list.
    pub(crate) name: Option<Label>,
    /// How often it is drawn, in relation to the others: 1 unless written.
    pub(crate) weight: Option<u64>,
    /// HTTP method: GET unless written.
    pub(crate) method: Option<String>,
    /// Path and query: / unless written; `{n}` is the number of the request.
    pub(crate) path: Option<String>,
    /// HTTP headers besides Host.
    pub(crate) headers: Option<BTreeMap<String, String>>,
    /// HTTP body.
    pub(crate) body: Option<String>,
    /// The status that counts as an answer; left out, anything below 500.
    pub(crate) status: Option<u16>,
    /// TCP: what is sent; `{n}` is the number of the request.
    pub(crate) send: Option<String>,
    /// TCP: what the answer must be.
    pub(crate) expect: Option<String>,
}

/// `requests`: a list or a file's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests;

impl<'de> Deserialize<'de> for Requests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Requests)
    }
}

impl JsonSchema for Requests {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Requests".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let request = generator.subschema_for::<RequestDraft>();
        json_schema!({ "anyOf": [
            { "type": "string", "description": "a file beside the scenario, with [[request]] tables" },
            { "type": "array", "items": request, "minItems": 1, "maxItems": super::MOST_REQUESTS },
        ] })
    }
}
