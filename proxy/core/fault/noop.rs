//! `noop`: nothing happens.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Effect, Fault, Flow, Hooks};

/// Does nothing to the connections that it selects: shows what a selection takes in, and what being selected costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noop;

/// It has no fields of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Kind for Noop {
    const NAME: &'static str = "noop";
    const ABOUT: &'static str = "Does nothing: shows who would be selected, and what that costs";
    const EXAMPLE: &'static str = r#"[[fault]]
kind     = "noop"
proxy    = "redis"
min_hits = 0
"#;
    const DIRECTION: Option<Flow> = None;
    type Config = Config;
    type Makes = Noop;

    fn build(_: Config) -> Result<Noop, Misfit> {
        Ok(Noop)
    }

    fn summary(_: &Noop) -> String {
        "nothing".to_owned()
    }
}

impl Fault for Noop {
    const KIND: &'static str = "noop";
    const HOOKS: Hooks = Hooks::STREAM;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = ();
}
