//! `http2`: what only HTTP/2 can suffer: GOAWAY, a stream that stands still, a window that stays shut, other settings.

pub mod settings;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::settings::Settings;
use crate::fault::cut::How as Ends;
use crate::fault::h2code::ErrorCode;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Act, Asked, Cx, Effect, Fault, Flow, Hooks, Injection, Item, Offer, Phase, Ruling, Until, What};
use crate::unit::Bytes;

/// Acts on one stream of an HTTP/2 connection while the others flow, or on all of it.
///
/// - `goaway`: the exchange ends, and with it the connection, with GOAWAY and a code.
/// - `stall`: after `after` bytes no more of the body passes. Upstream the request's body is not read any more: the client
///   gets no more of the stream's window than that.
/// - `settings`: connections that begin while it acts are told these in the first SETTINGS. `percentage`, `first` and the
///   like count connections then.
///
/// On HTTP/1.1 `goaway` closes the connection, and `settings` do nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    how: How,
    code: ErrorCode,
    after: u64,
    settings: Settings,
}

/// The fields of a fault on HTTP/2.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What happens.
    how: How,
    /// With "goaway": the error code, by name or number. Default "NO_ERROR".
    code: Option<ErrorCode>,
    /// With "stall": bytes of the body that pass before. Default 0B.
    after: Option<Bytes>,
    /// With "settings": SETTINGS_MAX_CONCURRENT_STREAMS, 0 to 4294967295.
    max_concurrent_streams: Option<u32>,
    /// With "settings": SETTINGS_INITIAL_WINDOW_SIZE, up to 2147483647; 0 leaves requests without any window for their bodies
    /// until squall gives them some.
    #[schemars(range(max = 2_147_483_647))]
    initial_window_size: Option<u32>,
    /// With "settings": SETTINGS_MAX_FRAME_SIZE, 16384 to 16777215.
    #[schemars(range(min = 16_384, max = 16_777_215))]
    max_frame_size: Option<u32>,
    /// With "settings": SETTINGS_HEADER_TABLE_SIZE, up to 65536.
    #[schemars(range(max = 65_536))]
    header_table_size: Option<u32>,
    /// With "settings": SETTINGS_MAX_HEADER_LIST_SIZE.
    max_header_list_size: Option<u32>,
}

/// `how`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum How {
    /// GOAWAY, and the connection closes.
    Goaway,
    /// The body of one stream stands still.
    Stall,
    /// Other settings from the beginning of a connection.
    Settings,
}

/// What is remembered of one body.
#[derive(Debug, Default)]
pub struct Memory {
    done: bool,
}

impl Kind for Http2 {
    const NAME: &'static str = "http2";
    const ABOUT: &'static str = "Ends HTTP/2 connections with GOAWAY, stalls single streams, or changes SETTINGS";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "http2"
proxy = "redis"
how   = "goaway"
code  = "ENHANCE_YOUR_CALM"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] =
        &[Phase::BeforeUpstream, Phase::BeforeConnect, Phase::AfterUpstreamHead, Phase::MidBody, Phase::AfterUpstream];
    type Config = Config;
    type Makes = Http2;

    fn build(config: Config) -> Result<Http2, Misfit> {
        let Config { how, code, after, .. } = config;
        let settings = settings(&config)?;
        if code.is_some() && how != How::Goaway {
            return Err(Misfit::new("code", "`code` belongs to how = \"goaway\""));
        }
        if after.is_some() && how != How::Stall {
            return Err(Misfit::new("after", "`after` belongs to how = \"stall\""));
        }
        match (settings.first(), how) {
            (Some(field), How::Goaway | How::Stall) => {
                return Err(Misfit::new(field, format!("`{field}` belongs to how = \"settings\"")));
            }
            (None, How::Settings) => {
                let message = "changes no setting: give `max_concurrent_streams` or another";
                return Err(Misfit::new("how", message));
            }
            _ => {}
        }
        let code = code.unwrap_or(ErrorCode::NO_ERROR);
        Ok(Http2 { how, code, after: after.map_or(0, |after| after.0), settings })
    }

    fn summary(fault: &Http2) -> String {
        match fault.how {
            How::Goaway => format!("GOAWAY {}", fault.code),
            How::Stall => format!("the stream stalls after {}", Bytes(fault.after)),
            How::Settings => format!("SETTINGS {}", fault.settings),
        }
    }
}

/// The settings that are written, each within its bounds (RFC 9113, 6.5.2).
fn settings(config: &Config) -> Result<Settings, Misfit> {
    if config.initial_window_size.is_some_and(|size| size > 0x7FFF_FFFF) {
        return Err(Misfit::new("initial_window_size", "a window is at most 2147483647"));
    }
    if config.max_frame_size.is_some_and(|size| !(1 << 14..1 << 24).contains(&size)) {
        return Err(Misfit::new("max_frame_size", "a frame's size is limited to 16384 to 16777215"));
    }
    if config.header_table_size.is_some_and(|size| size > 1 << 16) {
        return Err(Misfit::new("header_table_size", "squall keeps a table of up to 65536 bytes"));
    }
    Ok(Settings {
        max_concurrent_streams: config.max_concurrent_streams,
        initial_window_size: config.initial_window_size,
        max_frame_size: config.max_frame_size,
        header_table_size: config.header_table_size,
        max_header_list_size: config.max_header_list_size,
    })
}

impl Fault for Http2 {
    const KIND: &'static str = "http2";
    const HOOKS: Hooks = Hooks { exchange: true, ..Hooks::BODY };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn usual_phase(&self) -> Option<Phase> {
        Some(match self.how {
            How::Goaway => Phase::BeforeUpstream,
            How::Stall => Phase::MidBody,
            How::Settings => Phase::BeforeConnect,
        })
    }

    fn misfit_in(&self, phase: Phase) -> Option<(&'static str, &'static str)> {
        match (self.how, phase) {
            (How::Stall, Phase::MidBody) | (How::Settings, Phase::BeforeConnect) => None,
            (How::Goaway, Phase::MidBody) => {
                Some(("how", "in the middle of a body it is kind = \"cut\" with how = \"goaway\""))
            }
            (How::Goaway, _) => None,
            (How::Stall, _) => Some(("how", "what stalls is a body: `phase = \"mid_body\"`")),
            (How::Settings, _) => Some(("how", "settings are told when a connection begins: leave `phase` out")),
        }
    }

    fn settings(&self) -> Option<&Settings> {
        (self.how == How::Settings).then_some(&self.settings)
    }

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        match self.how {
            How::Goaway => Ends::Goaway.rule(Some(self.code), cx, asked, false),
            How::Stall | How::Settings => Ruling::Pass,
        }
    }

    fn depth(&self) -> usize {
        1 // what is not read gives the sender no window
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let left = self.after.saturating_sub(offer.offset);
        if self.how != How::Stall || matches!(offer.item, Item::Tick) {
            return Act::Pass(offer.len());
        }
        if left > 0 {
            return Act::Pass(usize::try_from(left).unwrap_or(usize::MAX).min(offer.len()));
        }
        if !std::mem::replace(&mut cx.state.done, true) {
            let (what, at) = (What::Stalled, offer.offset);
            cx.inject(Injection { what, step: at, draw: None, drawn: at, scheduled: at, achieved: at });
        }
        Act::Hold(Until::Change)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::chain::Talk;
    use crate::fault::driver::Driver;
    use crate::fault::{End, Upstream, contract};
    use crate::http::Request;
    use crate::plan::{Active, Layer, Slice};
    use crate::time::{Now, SECOND};

    fn build(text: &str) -> Result<Http2, Misfit> {
        Http2::build(toml::from_str(text).unwrap())
    }

    #[test]
    fn goaway_ends_the_exchange_with_its_code() {
        let fault = build("how = 'goaway'\ncode = 'ENHANCE_YOUR_CALM'").unwrap();
        let mut driver = Driver::new(fault, Flow::Downstream).of(Request::default(), None);
        let (_, Some(Ruling::End { how, upstream })) = driver.rule(Phase::BeforeUpstream) else { panic!("no end") };
        assert_eq!((how, upstream), (End::GoAway(11), Upstream::Never));
        assert_eq!(driver.injected.iter().map(|i| i.what).collect::<Vec<_>>(), [What::Closed]);
    }

    #[test]
    fn one_stream_stands_still_after_its_bytes_and_its_end_with_it() {
        for (text, out) in [("how = 'stall'", 0), ("how = 'stall'\nafter = '5B'", 5)] {
            let mut driver = Driver::new(build(text).unwrap(), Flow::Upstream).of(Request::default(), None);
            driver.at(0).push(&[1; 3]);
            driver.at(1).push(&[1; 30]);
            driver.at(2).fin();
            driver.run_until(SECOND);
            assert_eq!((driver.out.len(), driver.closed_at, driver.ended), (out, None, None), "{text}");
            assert_eq!(driver.injected.iter().map(|i| i.achieved).collect::<Vec<_>>(), [out as u64]);
        }
    }

    #[test]
    fn a_connection_that_begins_is_told_once_and_that_is_on_record() {
        let fault = |text: &str, serial| {
            let active = contract::pump::active(std::sync::Arc::new(build(text).unwrap()), None, serial);
            std::sync::Arc::new(Active { serial, layer: Layer::Exchange(Phase::BeforeConnect), ..active })
        };
        let one = fault("how = 'settings'\nmax_concurrent_streams = 1\nmax_frame_size = 16384", 1);
        let other = fault("how = 'settings'\nmax_concurrent_streams = 7", 2);
        let slice = Slice::new(vec![one.clone(), other, fault("how = 'stall'", 3)], false);
        let now = Now { mono: contract::pump::START, boot: contract::pump::START };
        let (talk, mut records) = (Talk::new(4, None, now.mono), Vec::new());
        let told = slice.settings(&talk, now, &mut records);
        assert_eq!((told.max_concurrent_streams, told.max_frame_size), (Some(7), Some(16_384)));
        assert_eq!(
            records.iter().map(|record| (record.ordinal, record.request)).collect::<Vec<_>>(),
            [(Some(4), None); 2]
        );
        assert_eq!((one.tally.read().selected, one.tally.read().injected), (1, 1));
        one.switch.end();
        assert_eq!(slice.settings(&talk, now, &mut records).max_frame_size, None);
    }

    #[test]
    fn settings_are_told_and_words_that_do_not_fit_are_named() {
        let fault = build("how = 'settings'\nmax_concurrent_streams = 1\ninitial_window_size = 0").unwrap();
        let told = fault.settings().unwrap();
        assert_eq!((told.max_concurrent_streams, told.initial_window_size), (Some(1), Some(0)));
        assert_eq!(Http2::summary(&fault), "SETTINGS max_concurrent_streams 1, initial_window_size 0");
        for (text, field) in [
            ("how = 'settings'", "how"),
            ("how = 'stall'\nmax_frame_size = 20000", "max_frame_size"),
            ("how = 'settings'\nmax_frame_size = 20", "max_frame_size"),
            ("how = 'settings'\ninitial_window_size = 2147483648", "initial_window_size"),
            ("how = 'stall'\ncode = 1", "code"),
            ("how = 'goaway'\nafter = '1B'", "after"),
        ] {
            assert_eq!(build(text).unwrap_err().field, Some(field), "{text}");
        }
        assert_eq!(
            build("how = 'stall'").unwrap().misfit_in(Phase::BeforeUpstream).map(|(field, _)| field),
            Some("how")
        );
    }
}
