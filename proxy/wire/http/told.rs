//! What is told of an exchange where somebody looks at exchanges one by one.

use squall_core::call::{Asked, Call, Outcome, retry_after};
use squall_core::chain::Talk;
use squall_core::fault::What;
use squall_core::http::Response;
use squall_core::time::Time;

use super::watch::Watcher;
use crate::clock::SystemClock;

/// See the module.
pub(super) struct Told {
    connection: u64,
    number: u64,
    client: Option<std::net::SocketAddr>,
    asked: Asked,
    answered: Option<(Time, u16, Option<Time>)>,
}

impl Told {
    /// An exchange begins; none: nobody asks.
    pub(super) fn begin(watcher: &Watcher, talk: &Talk) -> Option<Box<Told>> {
        watcher.worker.common.calls.as_ref()?;
        let dialogue = talk.dialogue()?;
        let asked = Asked::of(&dialogue.request);
        let (connection, number, client) = (talk.ordinal, dialogue.number, talk.client);
        Some(Box::new(Told { connection, number, client, asked, answered: None }))
    }

    /// This head goes to the client.
    pub(super) fn answered(&mut self, head: &Response, now: Time) {
        self.answered = Some((now, head.status.as_u16(), retry_after(head)));
    }

    /// It is over.
    pub(super) fn end(self, watcher: &Watcher, started: Time, outcome: Outcome) {
        let Some(calls) = &watcher.worker.common.calls else { return };
        let mut faults = Vec::new();
        for mut acting in watcher.exchange().into_iter().chain(watcher.beneath()) {
            faults.append(&mut acting.acted);
        }
        // a fault beneath took the connection away: to the exchange it looks as if the client had left
        let taken = |(_, what): &(_, What)| matches!(what, What::Reset | What::Closed | What::Refused);
        let outcome = match outcome {
            Outcome::Left if faults.iter().any(taken) => Outcome::Cut,
            outcome => outcome,
        };
        let Told { connection, number, client, asked, answered } = self;
        calls.send(Call {
            proxy: watcher.local.proxy.name.clone(),
            connection,
            number,
            client,
            asked,
            started,
            answered: answered.map(|(at, ..)| at),
            ended: SystemClock::mono(),
            status: answered.map(|(_, status, _)| status),
            retry_after: answered.and_then(|(.., wait)| wait),
            faults,
            outcome,
        });
    }
}
