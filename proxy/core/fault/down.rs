//! `down`: nobody listens.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit, Whom};
use crate::fault::{Act, Cx, Door, Effect, End, Fault, Flow, Gate, Hooks, Injection, Offer, Opening, What};

/// As if the server had been stopped: new clients are refused by the kernel (`ECONNREFUSED`), connections that are open
/// are closed (FIN) at once. The port stays squall's; when the fault is lifted the same address takes connections again.
///
/// Those whose handshake was complete before the listener closed, but whom nobody had accepted, are reset. Who is
/// refused by the kernel is seen by nobody and so not counted; on record are the closing of the listener and how long it
/// was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down;

/// It has no fields of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Kind for Down {
    const NAME: &'static str = "down";
    const ABOUT: &'static str = "Closes the listener and every open connection, as if the server had been stopped";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "down"
proxy = "redis"
at    = "5s"
for   = "10s"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Upstream);
    const WHOM: Whom = Whom::Everybody;
    type Config = Config;
    type Makes = Down;

    fn build(Config {}: Config) -> Result<Down, Misfit> {
        Ok(Down)
    }

    fn summary(_: &Down) -> String {
        "connections refused".to_owned()
    }
}

impl Fault for Down {
    const KIND: &'static str = "down";
    const HOOKS: Hooks = Hooks { door: true, open: true, ..Hooks::STREAM };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = ();

    fn door(&self) -> Door {
        Door::Closed
    }

    fn open(&self, cx: &mut Cx<'_, Self>, _: &Opening) -> Gate {
        cx.inject(Injection { what: What::Refused, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 });
        Gate::Refuse(End::Reset)
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let offset = offer.offset;
        let (drawn, scheduled, achieved) = (offset, offset, offset);
        cx.inject(Injection { what: What::Closed, step: offset, draw: None, drawn, scheduled, achieved });
        Act::Kill(End::Fin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::driver::Driver;
    use crate::time::SECOND;

    #[test]
    fn who_is_in_is_closed_at_once_and_who_comes_is_refused() {
        let mut live = Driver::new(Down, Flow::Upstream).attached(SECOND, 40);
        live.run_until(2 * SECOND);
        assert_eq!(live.ended, Some((SECOND, End::Fin)));
        assert_eq!(live.injected.iter().map(|i| (i.what, i.achieved)).collect::<Vec<_>>(), [(What::Closed, 40)]);
        let mut fresh = Driver::new(Down, Flow::Upstream);
        assert_eq!(fresh.open(0), Gate::Refuse(End::Reset));
        assert_eq!(fresh.injected.iter().map(|i| i.what).collect::<Vec<_>>(), [What::Refused]);
        assert_eq!(fresh.fault.door(), Door::Closed);
    }
}
