//! Listeners that are deaf: filters that faults put on a listening socket, which all workers share.

use std::sync::{Arc, Mutex, PoisonError};

use squall_core::fault::{Door, Injection, What};
use squall_core::observe::Record;
use squall_core::plan::{Active, Slice, Tally};
use squall_core::time::{Now, Time};

use crate::filter;
use crate::listen::Listener;

/// A listening socket. Every worker sets its door when it sees that it is to be otherwise, so that no single one has to
/// be awake for a fault to end.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) listener: Arc<Listener>,
    shut: Mutex<Option<Shut>>,
}

/// A door that is not open.
#[derive(Debug)]
struct Shut {
    by: Arc<Active>,
    /// Packets dropped at the socket before.
    dropped: u32,
}

impl Entrance {
    pub(crate) fn new(listener: Arc<Listener>) -> Arc<Entrance> {
        Arc::new(Entrance { listener, shut: Mutex::default() })
    }

    /// Makes the door what the faults in force say. Gives what is to go on record of a fault that is over.
    pub(crate) fn follow(&self, slice: Option<&Slice>, now: Now) -> Option<Record> {
        let deaf = slice.and_then(|slice| slice.actives.iter().find(|active| is_deaf(active, now)));
        let mut shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*shut, deaf) {
            (None, Some(active)) => {
                let dropped = filter::dropped(self.listener.socket()).unwrap_or(0);
                match filter::attach(self.listener.socket(), 1.0) {
                    Ok(()) => *shut = Some(Shut { by: active.clone(), dropped }),
                    Err(error) => {
                        tracing::error!(proxy = &*active.name.proxy, %error, "packets of new connections can't be dropped");
                    }
                }
                None
            }
            (Some(_), None) => {
                filter::detach(self.listener.socket());
                let Shut { by, dropped } = shut.take()?;
                drop(shut);
                let vanished = filter::dropped(self.listener.socket())?.wrapping_sub(dropped);
                (vanished > 0).then(|| vanishing(&by, vanished.into(), now.mono))
            }
            (None, None) | (Some(_), Some(_)) => None,
        }
    }
}

fn is_deaf(active: &Active, now: Now) -> bool {
    active.fault.hooks().door && active.fault.door() == Door::Deaf && active.phase(now).open_since.is_some()
}

/// Counts packets of nobody in particular: they have vanished before there was a connection.
fn vanishing(by: &Active, packets: u64, at: Time) -> Record {
    Tally::add(&by.tally.injected);
    let (drawn, scheduled, achieved) = (packets, packets, packets);
    Record {
        fault: by.name.clone(),
        tally: by.tally.clone(),
        ordinal: None,
        request: None,
        unit: None,
        client: None,
        flow: None,
        at,
        injection: Injection { what: What::Vanished, step: 0, draw: None, drawn, scheduled, achieved },
        released: false,
    }
}
