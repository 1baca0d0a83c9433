//! `rate_limit`: requests over a limit are refused, and every answer says how much is left.

pub mod cells;
pub mod config;
#[cfg(test)]
mod tests;

use self::cells::{Cells, Permit, Standing};
pub use self::config::RateLimit;
use self::config::Style;
use crate::fault::{Asked, Cx, Effect, Fault, Hooks, Injection, Patch, Phase, Reply, Ruling, Until, What};
use crate::http::{Fields, Response};
use crate::time::{SECOND, Time};

/// What is remembered of one exchange.
#[derive(Debug, Default)]
pub struct Memory {
    /// What its answer is to say.
    standing: Option<Standing>,
    /// Its turn in the bucket, and since when it waits.
    turn: Option<(Time, Time)>,
    /// Its place among those at one moment, given back with the exchange.
    _place: Option<Permit>,
}

impl Fault for RateLimit {
    const KIND: &'static str = "rate_limit";
    const HOOKS: Hooks = Hooks::EXCHANGE;
    const EFFECT: Effect = Effect::Mutates;
    type Shared = Cells;
    type State = Memory;

    fn follows(&self, phase: Phase) -> Option<Phase> {
        let tells = matches!(self.style, Style::XRatelimit | Style::Draft);
        (tells && phase != Phase::AfterUpstreamHead).then_some(Phase::AfterUpstreamHead)
    }

    fn forgotten(shared: &Cells) -> u64 {
        shared.forgotten()
    }

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        if asked.phase == Phase::AfterUpstreamHead {
            return self.tell(cx);
        }
        if let Some((due, since)) = cx.state.turn {
            return wait(cx, asked, due, since);
        }
        let key = self.per.as_ref().map(|key| key.of(asked.client, Some(asked.request)));
        match cx.shared.take(key, &self.quota, cx.now) {
            Ok(pass) => {
                cx.state.standing = Some(pass.standing);
                cx.state._place = pass.place;
                match pass.due {
                    Some(due) if due > cx.now => {
                        cx.state.turn = Some((due, cx.now));
                        Ruling::Hold(Until::At(due))
                    }
                    _ => Ruling::Pass,
                }
            }
            Err(over) => {
                let limit = over.standing.limit;
                let (what, step) = (What::Limited, asked.step());
                cx.inject(Injection { what, step, draw: None, drawn: limit, scheduled: limit, achieved: over.place });
                self.refuse(cx, asked, &over.standing)
            }
        }
    }
}

/// It waits for its turn, then it is on record.
fn wait(cx: &mut Cx<'_, RateLimit>, asked: &Asked<'_>, due: Time, since: Time) -> Ruling {
    if due > cx.now {
        return Ruling::Hold(Until::At(due));
    }
    let (scheduled, achieved) = (due.saturating_sub(since), cx.now.saturating_sub(since));
    let (what, step) = (What::Queued, asked.step());
    cx.inject(Injection { what, step, draw: None, drawn: scheduled, scheduled, achieved });
    Ruling::Pass
}

impl RateLimit {
    fn refuse(&self, cx: &Cx<'_, Self>, asked: &Asked<'_>, standing: &Standing) -> Ruling {
        let mut fields = Fields::default();
        if self.style != Style::None {
            fields.push("retry-after", seconds(standing.retry, cx.now).max(1).to_string());
        }
        self.fields(standing, cx.now).into_iter().for_each(|(name, value)| fields.push(name, value));
        self.headers.iter().for_each(|(name, value)| fields.set(name, value));
        let number = cx.exchange.map_or(0, |exchange| exchange.number);
        let head = Response { status: self.status, fields, ..Response::default() };
        let reply = Reply { head, body: self.body.render(asked.request, number), trailers: None };
        Ruling::Answer { reply: Box::new(reply), upstream: asked.upstream() }
    }

    /// An answer of the upstream's says how much is left.
    fn tell(&self, cx: &mut Cx<'_, Self>) -> Ruling {
        let Some(standing) = cx.state.standing.take() else { return Ruling::Pass };
        let set = self.fields(&standing, cx.now).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ruling::Patch(Box::new(Patch { set, ..Patch::of(crate::fault::Flow::Downstream) }))
    }

    /// What the style says about a standing.
    fn fields(&self, standing: &Standing, now: Time) -> Vec<(&'static str, String)> {
        let Standing { limit, remaining, reset, .. } = *standing;
        let reset = seconds(reset, now);
        match self.style {
            Style::RetryAfter | Style::None => Vec::new(),
            Style::XRatelimit => vec![
                ("x-ratelimit-limit", limit.to_string()),
                ("x-ratelimit-remaining", remaining.to_string()),
                ("x-ratelimit-reset", reset.to_string()),
            ],
            Style::Draft => vec![
                ("ratelimit-policy", self.policy.clone()),
                ("ratelimit", format!("\"default\";r={remaining};t={reset}")),
            ],
        }
    }
}

/// Whole seconds from now on, rounded up: who waits so long has waited long enough.
fn seconds(at: Time, now: Time) -> u64 {
    at.saturating_sub(now).div_ceil(SECOND)
}
