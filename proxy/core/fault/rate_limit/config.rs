//! The words of `rate_limit`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::cells::{Algorithm, Quota};
use crate::fault::registry::{Kind, Misfit};
use crate::fault::template::Template;
use crate::fault::words::{check_headers, check_status, has_no_body, pairs};
use crate::fault::{Flow, Phase};
use crate::http::StatusCode;
use crate::parse::KeyWord;
use crate::select::Key;
use crate::time::SECOND;
use crate::unit::Duration;

/// Counts requests as a service with a quota does, over all workers, and answers those over the limit. The fields on the
/// answers that pass are exact, and are no injections.
///
/// - `fixed_window`: `limit` requests in each `window`, which begins with the first request after the one before has ended.
/// - `token_bucket`: `limit` requests per `window` on average, and `burst` of them at once after a pause.
/// - `leaky_bucket`: a request every `window` / `limit`; those between wait for their turn, up to `burst` of them.
/// - `concurrency`: `limit` exchanges at one moment.
///
/// Up to 10,000 keys are remembered; then the one that has been silent for longest is forgotten (and
/// counted, `forgotten`), and begins anew.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    pub(super) quota: Quota,
    /// None: all together.
    pub(super) per: Option<Key>,
    pub(super) status: StatusCode,
    pub(super) style: Style,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Template,
    /// The draft's word for the quota.
    pub(super) policy: String,
}

/// The fields of a rate limit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How requests are counted.
    #[serde(default)]
    algorithm: Algorithm,
    /// Requests per window, or exchanges at one moment: 1 to 1000000000.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    limit: u64,
    /// The window. Default 1s.
    window: Option<Duration>,
    /// With "token_bucket" how many may come at once after a pause, `limit` unless written; with "leaky_bucket" how many may
    /// wait, 0 unless written.
    burst: Option<u64>,
    /// Who has a limit for himself: `client`, `header:NAME`, `cookie:NAME`, `query:NAME`, `path:N` or `trace-id`. Those
    /// without the key share one. Left out: all share one.
    per: Option<KeyWord>,
    /// The status of the answer: 200 to 599. Default 429.
    #[schemars(range(min = 200, max = 599))]
    http_status: Option<u16>,
    /// What answers say about the limit.
    #[serde(default)]
    style: Style,
    /// Headers of the answer over the limit; they take the place of those of the style. `content-length` and the like are
    /// squall's.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Its body, with the same places as that of `error`. Default: empty.
    body: Option<String>,
    /// Instead of it, a file beside the scenario that holds it: text of at most 1 MiB.
    body_file: Option<String>,
}

/// `style`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Style {
    /// `retry-after` in seconds on answers over the limit, and nothing on others.
    #[default]
    RetryAfter,
    /// `x-ratelimit-limit`, `-remaining` and `-reset` (in seconds from now) on every answer, `retry-after` on those over the
    /// limit.
    XRatelimit,
    /// `ratelimit-policy` and `ratelimit` (draft-ietf-httpapi-ratelimit-headers-10) on every answer, `retry-after` on those
    /// over the limit.
    Draft,
    /// Nothing.
    None,
}

const MOST: u64 = 1_000_000_000;

impl Kind for RateLimit {
    const NAME: &'static str = "rate_limit";
    const ABOUT: &'static str =
        "Refuses HTTP requests over a limit, by window, bucket or concurrency, and says what is left";
    const EXAMPLE: &'static str = r#"[[fault]]
kind      = "rate_limit"
proxy     = "redis"
algorithm = "token_bucket"
limit     = 100
window    = "1m"
burst     = 20
per       = "header:authorization"
style     = "x_ratelimit"
body      = '{"error":"rate_limited"}'
"#;
    const DIRECTION: Option<Flow> = None;
    const PHASES: &'static [Phase] = &[Phase::BeforeUpstream, Phase::BeforeConnect];
    type Config = Config;
    type Makes = RateLimit;

    fn build(config: Config) -> Result<RateLimit, Misfit> {
        let Config { algorithm, limit, window, burst, per, http_status, style, headers, body, body_file } = config;
        if !(1..=MOST).contains(&limit) {
            return Err(Misfit::new("limit", format!("`limit` is from 1 to {MOST}")));
        }
        if algorithm == Algorithm::Concurrency && window.is_some() {
            return Err(Misfit::new("window", "what counts is how many there are at one moment"));
        }
        let window = window.map_or(SECOND, |window| window.0);
        if window == 0 {
            return Err(Misfit::new("window", "`window` must be above 0"));
        }
        let takes_burst = matches!(algorithm, Algorithm::TokenBucket | Algorithm::LeakyBucket);
        if burst.is_some() && !takes_burst {
            return Err(Misfit::new("burst", "`burst` belongs to \"token_bucket\" and \"leaky_bucket\""));
        }
        let burst = burst.unwrap_or(if algorithm == Algorithm::TokenBucket { limit } else { 0 });
        if burst > MOST || (burst == 0 && algorithm == Algorithm::TokenBucket) {
            return Err(Misfit::new(
                "burst",
                format!("`burst` is up to {MOST}, and a bucket of tokens holds at least 1"),
            ));
        }
        let per = per.map(|KeyWord(key)| key);
        if per == Some(Key::Ordinal) {
            return Err(Misfit::new("per", "each request by itself is never over a limit"));
        }
        check_headers("headers", &headers)?;
        let status = check_status(http_status.unwrap_or(429))?;
        let body = crate::fault::words::body(body, body_file)?;
        if status == StatusCode::SWITCHING_PROTOCOLS || (body.is_some() && has_no_body(status)) {
            return Err(Misfit::new(
                "http_status",
                format!("{} is no answer to a request over a limit", status.as_u16()),
            ));
        }
        let quota = Quota { algorithm, limit, window, burst };
        let policy = match algorithm {
            Algorithm::Concurrency => format!("\"default\";q={limit};qu=\"concurrent-requests\""),
            _ => format!("\"default\";q={limit};w={}", window.div_ceil(SECOND)),
        };
        Ok(RateLimit { quota, per, status, style, headers: pairs(headers), body: body.unwrap_or_default(), policy })
    }

    fn summary(fault: &RateLimit) -> String {
        let Quota { algorithm, limit, window, .. } = fault.quota;
        let each = if fault.per.is_some() { ", each key" } else { "" };
        match algorithm {
            Algorithm::Concurrency => format!("{limit} at one moment{each}"),
            _ => format!("{limit} per {}{each}", Duration(window)),
        }
    }
}
