//! How an exchange ends: what its client feels of it, and what it counts as.

use squall_core::call::Outcome;
use squall_core::fault::End;
use squall_core::http::{Method, Response};
use squall_core::time::Time;

use super::{Exchange, Halt};
use crate::clock::SystemClock;
use crate::http::ends::{Broken, Client, Length};
use crate::http::failure::Failure;

impl<C: Client> Exchange<'_, C> {
    /// Counts an answer whose head goes to the client now.
    pub(super) fn note_answer(&mut self, head: &Response, now: Time) {
        self.failed = head.status.is_server_error() && !self.injected;
        self.watcher.local.exchange(head.status, self.injected, now.saturating_sub(self.began));
        if let Some(told) = &mut self.told {
            told.answered(head, now);
        }
    }

    /// Lets the client feel how it ended, and counts it.
    pub(super) fn conclude(&mut self, ended: Result<(), Halt>) -> Outcome {
        let local = &self.watcher.local;
        match ended {
            Ok(()) | Err(Halt::Answered) => return Outcome::Whole,
            Err(Halt::Client) => {
                local.meter.left.add(1);
                self.client.end(&End::Reset);
                return Outcome::Left;
            }
            Err(Halt::Injected(how, by)) => {
                local.meter.injected.add(1);
                local.meter.cut(true);
                if let Some(client) = self.brought.from.client {
                    self.watcher.worker.common.note_end(self.watcher.worker.id, client, &by);
                }
                self.client.end(&how);
                if how == End::Complete {
                    return Outcome::Whole;
                }
            }
            Err(Halt::Failed(failure)) => {
                failure.counts.into_iter().for_each(|how| local.broke(how));
                self.fail(&failure);
                return Outcome::Failed;
            }
            Err(Halt::Upstream(Broken::Refused(refusal))) if !self.headed => {
                local.meter.cut(false); // guards count the answer that squall makes of it
                let (status, why) = (refusal.status, refusal.why.into());
                self.fail(&Failure { status, error: "http_protocol_error", why, counts: None });
                return Outcome::Failed;
            }
            Err(Halt::Upstream(broken)) => {
                local.broke(|meter| &meter.reset_by_server);
                local.cut(self.failed);
                self.client.end(&match broken {
                    Broken::Lost { reset: false } => End::Fin,
                    Broken::Code(code) => End::Code(code),
                    _ => End::Reset,
                });
            }
        }
        Outcome::Cut
    }

    /// Says what squall could not do.
    fn fail(&mut self, failure: &Failure) {
        let (head, body) = failure.answer();
        self.note_answer(&head, SystemClock::mono());
        self.client.read_no_more();
        let to_head = self.with_request(|request| request.method == Method::HEAD);
        if to_head {
            self.client.answer(&head, Length::None);
        } else {
            self.client.answer(&head, Length::Known(body.len() as u64));
            self.client.put(body);
            self.client.finish(None);
        }
    }
}
