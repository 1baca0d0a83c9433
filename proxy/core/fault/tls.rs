//! `tls`: what goes wrong in a client's TLS handshake.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit, Whom};
use crate::fault::{Cx, Effect, Fault, Flaw, Flow, Gate, Handshake, Hooks, Injection, Opening, Until, What};
use crate::unit::Duration;

/// Spoils the TLS handshake with the client, once its ClientHello has come and before the upstream is dialled: it waits,
/// ends with an alert, or is carried out with a certificate that a client should refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// The handshake waits until the fault is lifted.
    Stall,
    /// It waits this long, ns.
    Slow(u64),
    /// It is carried out, with a flaw.
    Flawed(Flaw),
}

/// The fields of a TLS fault.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What goes wrong. On a proxy with `tls = { mode = "passthrough" }`: `stall`, `slow` and `alert` only.
    flaw: Word,
    /// How long the handshake waits (`flaw = "slow"` only), more than 0.
    delay: Option<Duration>,
    /// Which alert (`flaw = "alert"` only): `handshake_failure` unless written.
    alert: Option<Alert>,
}

/// `flaw`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Nothing comes after the ClientHello, until the fault is lifted.
    Stall,
    /// What comes after the ClientHello comes late.
    Slow,
    /// A fatal alert comes in place of the ServerHello.
    Alert,
    /// The server speaks none of the protocols that the client offers: the alert `no_application_protocol`. A client that
    /// offers none feels nothing.
    WrongAlpn,
    /// The certificate ended yesterday.
    Expired,
    /// The certificate begins tomorrow.
    NotYetValid,
    /// The certificate is for another name.
    WrongName,
    /// The certificate leads to a root that nobody knows.
    Untrusted,
    /// The certificate between the server's and the root is left out.
    MissingIntermediate,
}

/// A description of an alert that a server may send (RFC 8446, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the words of the standard
pub enum Alert {
    UnexpectedMessage = 10,
    RecordOverflow = 22,
    HandshakeFailure = 40,
    BadCertificate = 42,
    UnsupportedCertificate = 43,
    CertificateRevoked = 44,
    CertificateExpired = 45,
    CertificateUnknown = 46,
    IllegalParameter = 47,
    UnknownCa = 48,
    AccessDenied = 49,
    DecodeError = 50,
    DecryptError = 51,
    ProtocolVersion = 70,
    InsufficientSecurity = 71,
    InternalError = 80,
    UnrecognizedName = 112,
    CertificateRequired = 116,
    NoApplicationProtocol = 120,
}

impl Kind for Tls {
    const NAME: &'static str = "tls";
    const ABOUT: &'static str = "Spoils TLS handshakes: they stall, end with an alert, or show a bad certificate";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "tls"
proxy = "redis"
flaw  = "expired"
match = { sni = "*.example.com" }
"#;
    const DIRECTION: Option<Flow> = None;
    const WHOM: Whom = Whom::Connections;
    type Config = Config;
    type Makes = Tls;

    fn build(Config { flaw, delay, alert }: Config) -> Result<Tls, Misfit> {
        if delay.is_some() && flaw != Word::Slow {
            return Err(Misfit::new("delay", "`delay` goes with flaw = \"slow\" only"));
        }
        if alert.is_some() && flaw != Word::Alert {
            return Err(Misfit::new("alert", "`alert` goes with flaw = \"alert\" only"));
        }
        Ok(match flaw {
            Word::Stall => Tls::Stall,
            Word::Slow => match delay {
                Some(delay) if delay.0 > 0 => Tls::Slow(delay.0),
                _ => return Err(Misfit::new("delay", "a slow handshake needs a `delay` of more than 0")),
            },
            Word::Alert => Tls::Flawed(Flaw::Alert(alert.unwrap_or(Alert::HandshakeFailure) as u8)),
            Word::WrongAlpn => Tls::Flawed(Flaw::WrongAlpn),
            Word::Expired => Tls::Flawed(Flaw::Expired),
            Word::NotYetValid => Tls::Flawed(Flaw::NotYetValid),
            Word::WrongName => Tls::Flawed(Flaw::WrongName),
            Word::Untrusted => Tls::Flawed(Flaw::Untrusted),
            Word::MissingIntermediate => Tls::Flawed(Flaw::MissingIntermediate),
        })
    }

    fn summary(fault: &Tls) -> String {
        match fault {
            Tls::Stall => "stall".to_owned(),
            Tls::Slow(delay) => format!("slow {}", Duration(*delay)),
            Tls::Flawed(Flaw::Alert(code)) => format!("alert {code}"),
            Tls::Flawed(Flaw::WrongAlpn) => "wrong ALPN".to_owned(),
            Tls::Flawed(Flaw::Expired) => "certificate expired".to_owned(),
            Tls::Flawed(Flaw::NotYetValid) => "certificate not yet valid".to_owned(),
            Tls::Flawed(Flaw::WrongName) => "certificate of another name".to_owned(),
            Tls::Flawed(Flaw::Untrusted) => "certificate of an unknown root".to_owned(),
            Tls::Flawed(Flaw::MissingIntermediate) => "intermediate certificate missing".to_owned(),
        }
    }
}

impl Fault for Tls {
    const KIND: &'static str = "tls";
    const HOOKS: Hooks = Hooks { open: true, ..Hooks::NONE };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = ();

    fn open(&self, cx: &mut Cx<'_, Self>, opening: &Opening) -> Gate {
        let Opening::Hello { alpn } = *opening else { return Gate::Pass };
        let nothing = Injection { what: What::Flawed, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 };
        match *self {
            Tls::Stall => {
                if cx.now == cx.span.attached {
                    cx.inject(Injection { what: What::Held, ..nothing });
                }
                Gate::Hold(Until::Change)
            }
            Tls::Slow(delay) => {
                let due = cx.span.attached.saturating_add(delay);
                if due > cx.now {
                    return Gate::Hold(Until::At(due));
                }
                let achieved = cx.now.saturating_sub(cx.span.attached);
                cx.inject(Injection { what: What::Delayed, drawn: delay, scheduled: delay, achieved, ..nothing });
                Gate::Pass
            }
            Tls::Flawed(Flaw::WrongAlpn) if !alpn => Gate::Pass, // nothing of it could be felt
            Tls::Flawed(flaw) => {
                cx.inject(match flaw {
                    Flaw::Alert(code) => {
                        let (drawn, scheduled, achieved) = (code.into(), code.into(), code.into());
                        Injection { what: What::Alerted, drawn, scheduled, achieved, ..nothing }
                    }
                    _ => nothing,
                });
                Gate::Tls(flaw)
            }
        }
    }

    fn handshake(&self) -> Handshake {
        match self {
            Tls::Stall | Tls::Slow(_) | Tls::Flawed(Flaw::Alert(_)) => Handshake::Seen,
            Tls::Flawed(_) => Handshake::Made,
        }
    }

    fn approximated(&self) -> Option<&'static str> {
        let own =
            "the certificate is made by squall's own CA: a client that doesn't trust it sees an unknown root first";
        match self {
            Tls::Flawed(Flaw::Expired | Flaw::NotYetValid | Flaw::WrongName) => Some(own),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::time::MILLI;
    use crate::tls::Mode;

    fn build(text: &str) -> Result<Tls, Misfit> {
        Tls::build(toml::from_str(text).unwrap())
    }

    fn shaken(text: &str) -> Driver<Tls> {
        Driver::new(build(text).unwrap(), Flow::Upstream)
    }

    fn on_record(driver: &Driver<Tls>) -> Vec<(What, u64)> {
        driver.injected.iter().map(|injection| (injection.what, injection.achieved)).collect()
    }

    const HELLO: Opening = Opening::Hello { alpn: true };

    #[test]
    fn a_handshake_waits_for_its_time_or_for_good() {
        let mut slow = shaken("flaw = 'slow'\ndelay = '80ms'");
        assert_eq!(slow.shown(0, HELLO), Gate::Hold(Until::At(80 * MILLI)));
        assert_eq!(slow.shown(81 * MILLI, HELLO), Gate::Pass);
        assert_eq!(on_record(&slow), [(What::Delayed, 81 * MILLI)]);
        let mut stalled = shaken("flaw = 'stall'");
        assert_eq!(stalled.shown(0, HELLO), Gate::Hold(Until::Change));
        assert_eq!(stalled.shown(900 * MILLI, HELLO), Gate::Hold(Until::Change));
        assert_eq!(on_record(&stalled), [(What::Held, 0)]);
    }

    #[test]
    fn flaws_go_on_record_where_they_can_be_felt() {
        let mut alert = shaken("flaw = 'alert'\nalert = 'unrecognized_name'");
        assert_eq!(alert.shown(0, HELLO), Gate::Tls(Flaw::Alert(112)));
        assert_eq!(on_record(&alert), [(What::Alerted, 112)]);
        let mut expired = shaken("flaw = 'expired'");
        assert_eq!(expired.shown(0, HELLO), Gate::Tls(Flaw::Expired));
        assert_eq!(on_record(&expired), [(What::Flawed, 0)]);
        let mut alpn = shaken("flaw = 'wrong_alpn'");
        assert_eq!(alpn.shown(0, Opening::Hello { alpn: false }), Gate::Pass);
        assert_eq!(alpn.open(0), Gate::Pass, "no handshake at all");
        assert_eq!(on_record(&alpn), []);
    }

    #[test]
    fn only_the_lightest_act_where_the_upstream_carries_it_out() {
        let misses = |text: &str, mode| build(text).unwrap().handshake().misses(mode).is_some();
        for light in ["flaw = 'stall'", "flaw = 'alert'", "flaw = 'slow'\ndelay = '1s'"] {
            assert!(!misses(light, Some(Mode::Passthrough)) && misses(light, None), "{light}");
        }
        for heavy in ["wrong_alpn", "expired", "not_yet_valid", "wrong_name", "untrusted", "missing_intermediate"] {
            let text = format!("flaw = '{heavy}'");
            assert!(misses(&text, Some(Mode::Passthrough)) && !misses(&text, Some(Mode::Terminate)), "{heavy}");
        }
    }

    #[test]
    fn fields_go_with_their_flaw_only() {
        assert_eq!(build("flaw = 'stall'\ndelay = '1s'").unwrap_err().field, Some("delay"));
        assert_eq!(build("flaw = 'slow'").unwrap_err().field, Some("delay"));
        assert_eq!(build("flaw = 'expired'\nalert = 'unknown_ca'").unwrap_err().field, Some("alert"));
    }
}
