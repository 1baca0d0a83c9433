//! `half_open`: a blackhole that never closes.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::Flow;
use crate::fault::blackhole::Blackhole;
use crate::fault::registry::{Kind, Misfit};

/// The other end is gone without a word, as after a power cut or behind a firewall that forgot the connection: bytes
/// vanish, and neither FIN nor RST of one side reaches the other.
#[derive(Debug)]
pub struct HalfOpen;

/// It has no fields of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Kind for HalfOpen {
    const NAME: &'static str = "half_open";
    const ABOUT: &'static str =
        "Silence without FIN or RST: bytes vanish and neither side hears that the other has gone";
    const EXAMPLE: &'static str = r#"[[fault]]
kind       = "half_open"
proxy      = "redis"
percentage = 20
at         = "5s"
"#;
    const DIRECTION: Option<Flow> = None;
    type Config = Config;
    type Makes = Blackhole;

    fn build(Config {}: Config) -> Result<Blackhole, Misfit> {
        Ok(Blackhole::endless())
    }

    fn summary(_: &Blackhole) -> String {
        "silence".to_owned()
    }
}
