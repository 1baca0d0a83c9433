//! `envoy_headers`: what a client asks for with the headers of Envoy's fault filter.
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter>

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::Deserialize;

use super::bandwidth::{self, Bandwidth};
use super::error::grpc::GrpcStatus;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{
    ALL, Act, Asked, Cx, Effect, Fault, Flow, Hooks, Injection, Offer, Patch, Phase, Reply, Ruling, Until, What,
};
use crate::http::{Fields, Response, StatusCode};
use crate::matcher::{MatchSpec, Pattern};
use crate::time::{MILLI, Time};
use crate::unit::{Duration, Rate};

const DELAY: &str = "x-envoy-fault-delay-request";
const ABORT: &str = "x-envoy-fault-abort-request";
const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
const THROUGHPUT: &str = "x-envoy-fault-throughput-response";
/// Behind the name of a header: which percentage of requests; both aborts have the one of `ABORT`.
const PERCENTAGE: &str = "-percentage";

/// Does to a request what its own `x-envoy-fault-*` headers ask for: a delay, an abort, a slow answer. Only on proxies that
/// let clients of some networks do so (`http = { envoy_headers_from = […] }`), and only for those clients; the headers of
/// others go on as they are, and so do those of requests that `percentage` or `match` leaves out.
///
/// A header `…-percentage` lowers `percentage` for its request, and never raises it; all effects have the same draw. The
/// headers of what is obeyed are taken out before the upstream sees the request. What is no number, or out of range, is
/// passed on and counted (`unread`).
#[derive(Clone, Debug, PartialEq)]
pub struct EnvoyHeaders {
    max_delay: Option<Time>,
    abort: bool,
    min_throughput: Option<Rate>,
}

/// The fields of it; at least one must be there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `x-envoy-fault-delay-request` (ms) is obeyed; a longer delay is as long as this. Above 0.
    max_delay: Option<Duration>,
    /// `x-envoy-fault-abort-request` (200 to 599) and `x-envoy-fault-abort-grpc-request` (0 to 16) are obeyed. Default
    /// false.
    #[serde(default)]
    abort: bool,
    /// `x-envoy-fault-throughput-response` (KiB/s) is obeyed; an answer is never slower than this. Above 0.
    min_throughput: Option<Rate>,
}

/// What is remembered of one exchange, and then of its answer.
#[derive(Debug, Default)]
pub struct Memory {
    /// None: nobody has looked.
    wishes: Option<Wishes>,
    pace: Option<Box<(Bandwidth, bandwidth::Memory)>>,
}

/// Counted across exchanges.
#[derive(Debug, Default)]
pub struct Shared {
    unread: AtomicU64,
    /// Bodies have buckets of their own: these stay empty.
    buckets: <Bandwidth as Fault>::Shared,
}

/// What a request asks for, as far as it is obeyed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wishes {
    /// What was asked for, ns.
    delay: Option<Time>,
    abort: Option<Abort>,
    throughput: Option<Rate>,
    /// The headers that go.
    obeyed: Vec<String>,
    /// There was something that can't be read.
    unread: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abort {
    Http(StatusCode),
    Grpc(GrpcStatus),
}

/// It is no number, or out of range, or there are several.
#[derive(Debug)]
struct Unreadable;

impl Kind for EnvoyHeaders {
    const NAME: &'static str = "envoy_headers";
    const ABOUT: &'static str = "Obeys the x-envoy-fault-* headers of requests from trusted clients, within limits";
    const EXAMPLE: &'static str = r#"[[fault]]
kind           = "envoy_headers"
proxy          = "redis"
max_delay      = "5s"
abort          = true
min_throughput = "16KiB/s"
percentage     = 10
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const ONE_WAY: Option<&'static str> = Some("it is the answer that these headers make slow");
    const PHASES: &'static [Phase] = &[Phase::BeforeUpstream, Phase::BeforeConnect];
    type Config = Config;
    type Makes = EnvoyHeaders;

    fn build(config: Config) -> Result<EnvoyHeaders, Misfit> {
        let Config { max_delay, abort, min_throughput } = config;
        if max_delay.is_some_and(|max| max.0 == 0) {
            return Err(Misfit::new("max_delay", "no delay is as short as this: leave it out to obey none"));
        }
        if min_throughput.is_some_and(|min| min.0 <= 0.0) {
            return Err(Misfit::new("min_throughput", "an answer at this rate never ends: give one above 0"));
        }
        if max_delay.is_none() && !abort && min_throughput.is_none() {
            let message = "this obeys no header: give `max_delay`, `abort = true` or `min_throughput`";
            return Err(Misfit { field: None, span: None, message: message.into() });
        }
        Ok(EnvoyHeaders { max_delay: max_delay.map(|max| max.0), abort, min_throughput })
    }

    fn summary(fault: &EnvoyHeaders) -> String {
        let delay = fault.max_delay.map(|max| format!("delays up to {}", Duration(max)));
        let abort = fault.abort.then(|| "aborts".to_owned());
        let throughput = fault.min_throughput.map(|min| format!("answers down to {min}"));
        let all: Vec<String> = [delay, abort, throughput].into_iter().flatten().collect();
        format!("as clients ask: {}", all.join(", "))
    }
}

impl Fault for EnvoyHeaders {
    const KIND: &'static str = "envoy_headers";
    const HOOKS: Hooks = Hooks { exchange: true, body: true, ..Hooks::NONE };
    const EFFECT: Effect = Effect::Mutates;
    type Shared = Shared;
    type State = Memory;

    fn asked_for(&self) -> Option<MatchSpec> {
        let has = |name: &&str| MatchSpec {
            headers: [((*name).to_owned(), Pattern::Present)].into_iter().collect(),
            ..MatchSpec::default()
        };
        Some(MatchSpec { any: Some(self.obeyed().iter().map(has).collect()), ..MatchSpec::default() })
    }

    /// Delay, then abort, as in Envoy.
    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        if asked.phase == Phase::MidBody {
            return Ruling::Pass; // what is to be done to the body was settled before
        }
        let share = cx.draw.percentage();
        let wishes = cx.state.wishes.get_or_insert_with(|| {
            let wishes = self.read(&asked.request.fields, share);
            cx.shared.unread.fetch_add(u64::from(wishes.unread), Ordering::Relaxed);
            wishes
        });
        let delay = wishes.delay.unwrap_or(0).min(self.max_delay.unwrap_or(0));
        let due = asked.arrived.saturating_add(delay);
        if due > cx.now {
            return Ruling::Hold(Until::At(due));
        }
        let wishes = std::mem::take(wishes);
        let step = asked.step();
        if delay > 0 {
            let (drawn, achieved) = (wishes.delay.unwrap_or(delay), cx.now.saturating_sub(asked.arrived));
            cx.inject(Injection { what: What::Delayed, step, draw: None, drawn, scheduled: delay, achieved });
        }
        if let Some(abort) = wishes.abort {
            let head = abort.answer();
            let status = u64::from(head.status.as_u16());
            let (drawn, scheduled, achieved) = (status, status, status);
            cx.inject(Injection { what: What::Replied, step, draw: None, drawn, scheduled, achieved });
            let reply = Box::new(Reply { head, ..Reply::default() });
            return Ruling::Answer { reply, upstream: asked.upstream() };
        }
        cx.state.pace = wishes.throughput.map(|rate| Box::new((Bandwidth::steady(rate), Default::default())));
        if wishes.obeyed.is_empty() {
            return Ruling::Pass;
        }
        Ruling::Patch(Box::new(Patch { remove: wishes.obeyed, ..Patch::of(Flow::Upstream) }))
    }

    fn follows(&self, phase: Phase) -> Option<Phase> {
        (self.min_throughput.is_some() && phase != Phase::MidBody).then_some(Phase::MidBody)
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let Some((bandwidth, memory)) = cx.state.pace.as_deref_mut() else { return Act::Pass(ALL) };
        let mut own = Cx {
            state: memory,
            shared: &cx.shared.buckets,
            draw: cx.draw,
            span: cx.span,
            now: cx.now,
            elapsed: cx.elapsed,
            flow: cx.flow,
            exchange: cx.exchange,
            injected: &mut *cx.injected,
        };
        bandwidth.stream(&mut own, offer)
    }

    fn unread(shared: &Shared) -> u64 {
        shared.unread.load(Ordering::Relaxed)
    }
}

impl EnvoyHeaders {
    /// The headers that ask for something that is obeyed.
    fn obeyed(&self) -> Vec<&'static str> {
        let delay = self.max_delay.map(|_| DELAY);
        let aborts = self.abort.then_some([ABORT, ABORT_GRPC]);
        delay.into_iter().chain(aborts.into_iter().flatten()).chain(self.min_throughput.map(|_| THROUGHPUT)).collect()
    }

    /// `share`: the request's selection draw, 0 to 100.
    fn read(&self, fields: &Fields, share: f64) -> Wishes {
        let mut wishes = Wishes::default();
        if self.max_delay.is_some() {
            wishes.delay = wishes.take(fields, &[DELAY], DELAY, share, |ms| Some(ms.saturating_mul(MILLI)));
        }
        if self.abort {
            let http =
                |status| StatusCode::from_u16(u16::try_from(status).ok()?).ok().filter(is_final).map(Abort::Http);
            let grpc = |code: u64| code.to_string().parse().ok().map(Abort::Grpc);
            wishes.abort = match fields.has(ABORT) {
                true => wishes.take(fields, &[ABORT, ABORT_GRPC], ABORT, share, http),
                false => wishes.take(fields, &[ABORT_GRPC], ABORT, share, grpc),
            };
        }
        if let Some(min) = self.min_throughput {
            let rate = |kib| {
                let kib = u32::try_from(kib).ok().filter(|kib| *kib > 0)?;
                Some(Rate((f64::from(kib) * 1024.0).max(min.0)))
            };
            wishes.throughput = wishes.take(fields, &[THROUGHPUT], THROUGHPUT, share, rate);
        }
        wishes
    }
}

impl Wishes {
    /// What the first of these headers asks for, if the percentage beside it takes the request. They go, with that.
    fn take<T>(
        &mut self,
        fields: &Fields,
        names: &[&str],
        percentage_of: &str,
        share: f64,
        read: impl FnOnce(u64) -> Option<T>,
    ) -> Option<T> {
        let percentage = format!("{percentage_of}{PERCENTAGE}");
        let wanted = names.first().map_or(Ok(None), |name| number(fields, name));
        let wanted = wanted.and_then(|n| n.map(|n| read(n).ok_or(Unreadable)).transpose());
        let (Ok(wanted), Ok(limit)) = (wanted, number(fields, &percentage)) else {
            self.unread = true;
            return None;
        };
        let wanted = wanted?;
        self.obeyed.extend(names.iter().map(|name| (*name).to_owned()).chain([percentage]));
        let limit = limit.map_or(100.0, |limit| f64::from(u32::try_from(limit).unwrap_or(100)));
        (share < limit).then_some(wanted)
    }
}

/// The number in a field; none: there is no such field.
fn number(fields: &Fields, name: &str) -> Result<Option<u64>, Unreadable> {
    let mut values = fields.values(name);
    let Some(value) = values.next() else { return Ok(None) };
    let text = std::str::from_utf8(value).map_err(|_| Unreadable)?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || values.next().is_some() {
        return Err(Unreadable);
    }
    text.parse().map(Some).map_err(|_| Unreadable)
}

fn is_final(status: &StatusCode) -> bool {
    (200..600).contains(&status.as_u16())
}

impl Abort {
    fn answer(self) -> Response {
        match self {
            Abort::Http(status) => Response { status, ..Response::default() },
            Abort::Grpc(grpc) => {
                let code = grpc.code().to_string();
                let fields = [("content-type", "application/grpc"), ("grpc-status", &code)];
                Response { status: StatusCode::OK, fields: fields.into_iter().collect(), ..Response::default() }
            }
        }
    }
}
