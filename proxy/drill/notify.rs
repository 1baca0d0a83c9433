//! Notifications: what matters about experiments goes to a webhook, signed. Never per request: a start, a guard, an abort, a
//! verdict, a turn of the lever. A thread of its own reads the event stream; nothing else waits for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use squall_core::limits::Limits;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;

use crate::audit::{Act, Audit, hex, hmac};
use crate::probe;
use crate::view::Event;

/// Notifications that may wait; what comes beyond is dropped and counted.
const QUEUE: usize = 256;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tries in all, and the wait after the first failure, doubled with each.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);

/// Where notifications go.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// `http://host:port/path`
    pub url: String,
    /// Key of the signature; none: they are not signed.
    pub secret: Option<Vec<u8>>,
    /// What this host is.
    pub environment: String,
    /// Link-local, metadata and denied addresses are never asked.
    pub limits: Limits,
}

/// Starts the thread; it ends with the engine whose events these are.
pub(crate) fn start(hook: Webhook, events: broadcast::Receiver<Event>, audit: Audit) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = async move {
        let (to, waiting) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        tokio::join!(sort(events, to, dropped.clone()), deliver(&hook, waiting, &audit, &dropped));
    };
    std::thread::Builder::new().name("squall-notify".into()).spawn(move || runtime.block_on(run))?;
    Ok(())
}

/// Which word an event is told by; none: it is not told.
fn word(event: &Event) -> Option<&'static str> {
    let over = ["completed", "stopped", "failed", "cancelled"];
    Some(match event.kind.as_str() {
        "state" if event.text == "running" => "start",
        "state" if over.iter().any(|state| event.text.starts_with(&format!("{state}: "))) => "verdict",
        "guard" => "guard",
        "abort" => "abort",
        "lever" => "lever",
        _ => return None,
    })
}

async fn sort(
    mut events: broadcast::Receiver<Event>,
    to: mpsc::Sender<(&'static str, Event)>,
    dropped: Arc<AtomicU64>,
) {
    loop {
        match events.recv().await {
            Ok(event) => {
                let Some(word) = word(&event) else { continue };
                if to.try_send((word, event)).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(RecvError::Lagged(n)) => drop(dropped.fetch_add(n, Ordering::Relaxed)),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn deliver(
    hook: &Webhook,
    mut waiting: mpsc::Receiver<(&'static str, Event)>,
    audit: &Audit,
    dropped: &AtomicU64,
) {
    while let Some((word, event)) = waiting.recv().await {
        let body = json!({
            "event": word, "seq": event.seq, "at": event.at, "experiment": event.experiment, "text": event.text,
            "environment": hook.environment, "dropped": dropped.load(Ordering::Relaxed), "audit": audit.checkpoint(),
        });
        if let Err(why) = insist(hook, word, &event, &body.to_string()).await {
            let why = format!("{word} {}: given up after {TRIES} tries: {why}", event.seq);
            tracing::warn!("notification of {why}");
            audit.note(Act::own("notify", event.experiment.as_deref(), why));
        }
    }
}

/// Tries again and again, for some fifteen seconds and what the answers take.
async fn insist(hook: &Webhook, word: &str, event: &Event, body: &str) -> Result<(), String> {
    let signature = hook.secret.as_ref().map(|secret| format!("sha256={}", hex(&hmac(secret, body.as_bytes()))));
    let seq = event.seq.to_string();
    let mut headers = vec![("content-type", "application/json"), ("x-squall-event", word), ("x-squall-seq", &*seq)];
    headers.extend(signature.as_deref().map(|signature| ("x-squall-signature", signature)));
    let mut pause = PAUSE;
    let mut tries = 1;
    loop {
        let outcome = probe::post(&hook.url, &headers, body.as_bytes(), PATIENCE, &hook.limits).await;
        if outcome.is_ok() || tries == TRIES {
            return outcome;
        }
        back_off(pause).await;
        (pause, tries) = (pause * 2, tries + 1);
    }
}

/// A little later than that is as good.
#[allow(clippy::disallowed_methods)]
async fn back_off(pause: Duration) {
    tokio::time::sleep(pause).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_matters_is_told() {
        let event = |kind: &str, text: &str| Event {
            seq: 1,
            at: String::new(),
            elapsed: None,
            experiment: None,
            kind: kind.into(),
            text: text.into(),
        };
        for (kind, text, expected) in [
            ("state", "draft", None),
            ("state", "running", Some("start")),
            ("state", "running again", None),
            ("state", "stopping: enough", None),
            ("state", "completed: upheld", Some("verdict")),
            ("state", "failed: invalid", Some("verdict")),
            ("guard", "guard `x`: p99 is", Some("guard")),
            ("near", "guard `x` came near", None),
            ("abort", "aborted: enough", Some("abort")),
            ("lever", "engaged by ann", Some("lever")),
            ("fault", "fault `late` opens", None),
        ] {
            assert_eq!(word(&event(kind, text)), expected, "{kind} {text}");
        }
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_signature_is_hmac_sha256() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&hmac(b"Jefe", b"what do ya want for nothing?")), expected);
    }
}
