//! `drop_answer`: the upstream acts, and the client never hears.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::cut::How;
use crate::fault::h2code::ErrorCode;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Asked, Cx, Effect, Fault, Flow, Hooks, Phase, Ruling};

/// Lets the request run to its end at the upstream and ends the exchange then: whether a client that tries again does so
/// twice is what this shows. It is `cut` in the phase "after_upstream".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropAnswer {
    how: How,
    code: Option<ErrorCode>,
}

/// The fields of a dropped answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the client feels instead: "reset", "fin", "stall", "rst_stream" or "goaway".
    #[serde(default)]
    how: How,
    /// With "rst_stream" and "goaway": the error code of HTTP/2, by name or number.
    code: Option<ErrorCode>,
}

/// Whether a stall is on record.
#[derive(Debug, Default)]
pub struct Memory {
    done: bool,
}

impl Kind for DropAnswer {
    const NAME: &'static str = "drop_answer";
    const ABOUT: &'static str = "Lets the upstream act on a request, and keeps its answer from the client";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "drop_answer"
proxy = "redis"
how   = "reset"
match = { method = ["POST"] }
"#;
    const DIRECTION: Option<Flow> = None;
    const PHASES: &'static [Phase] = &[Phase::AfterUpstream];
    type Config = Config;
    type Makes = DropAnswer;

    fn build(config: Config) -> Result<DropAnswer, Misfit> {
        let Config { how, code } = config;
        if matches!(how, How::ShortChunk | How::Complete | How::NoTerminator) {
            return Err(Misfit::new(
                "how",
                "nothing of the answer comes: \"reset\", \"fin\", \"stall\", \"rst_stream\" or \"goaway\"",
            ));
        }
        if code.is_some() && !how.takes_code() {
            return Err(Misfit::new("code", "`code` belongs to how = \"rst_stream\" or \"goaway\""));
        }
        Ok(DropAnswer { how, code })
    }

    fn summary(fault: &DropAnswer) -> String {
        format!("{} in place of the answer", fault.how.word())
    }
}

impl Fault for DropAnswer {
    const KIND: &'static str = "drop_answer";
    const HOOKS: Hooks = Hooks::EXCHANGE;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        let is_done = std::mem::replace(&mut cx.state.done, true);
        self.how.rule(self.code, cx, asked, is_done)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::fault::{End, Upstream, What};
    use crate::http::{Request, Response};

    #[test]
    fn the_upstream_finishes_and_the_client_hears_nothing() {
        let build = |text: &str| DropAnswer::build(toml::from_str(text).unwrap());
        let mut driver = Driver::new(build("").unwrap(), Flow::Downstream);
        driver = driver.of(Request::default(), Some(Response::default()));
        let (_, ruling) = driver.rule(Phase::AfterUpstream);
        let Some(Ruling::End { how, upstream }) = ruling else { panic!("{ruling:?}") };
        assert_eq!((how, upstream), (End::Reset, Upstream::Finish));
        assert_eq!(driver.injected.iter().map(|i| (i.what, i.achieved)).collect::<Vec<_>>(), [(What::Unheard, 200)]);
        assert_eq!(build("how = 'complete'").unwrap_err().field, Some("how"));
        assert_eq!(build("code = 3").unwrap_err().field, Some("code"));
    }
}
