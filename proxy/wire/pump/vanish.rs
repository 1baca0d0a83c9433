//! Packets of a connection that vanish: the filters on its two sockets are kept as its faults want them, and what the
//! kernel has dropped goes on record when they are lifted.

use std::sync::Arc;

use squall_core::fault::{Flow, Injection, What};
use squall_core::observe::Record;
use squall_core::plan::{Active, Tally};
use squall_core::time::Time;

use super::{Conn, FLOWS};
use crate::filter;

/// The filters of a connection, by flow.
#[derive(Default)]
pub(super) struct Filters {
    flows: [Option<Filter>; 2],
    /// The connection is counted as affected.
    affected: bool,
}

/// The filter on the socket at which the packets of a flow come in.
struct Filter {
    share: f64,
    by: Arc<Active>,
    /// What stands for the connection in the fault's draws.
    unit: u64,
    /// Packets dropped at the socket before.
    before: u32,
}

impl Conn {
    /// Holds the filters against what the faults say now.
    pub(super) fn filter_packets(&mut self, now: Time) {
        let share = |flow| self.chain.as_ref().map_or(0.0, |chain| chain.vanishing(flow));
        let shares = FLOWS.map(share);
        if self.filters.is_some() || shares != [0.0; 2] {
            FLOWS.into_iter().zip(shares).for_each(|(flow, share)| self.filter(flow, share, now));
        }
    }

    /// Lets every packet in from now on, whatever the faults say.
    pub(super) fn filter_nothing(&mut self, now: Time) {
        if self.filters.is_some() {
            FLOWS.into_iter().for_each(|flow| self.filter(flow, 0.0, now));
            self.filters = None;
        }
    }

    fn filter(&mut self, flow: Flow, share: f64, now: Time) {
        let socket = match flow {
            Flow::Upstream => Some(&self.client),
            Flow::Downstream => self.server.as_ref(), // there may be none yet
        };
        let Some(socket) = socket.map(|socket| socket.fd()) else { return };
        let filters = self.filters.get_or_insert_default();
        let filter = &mut filters.flows[flow as usize];
        if filter.as_ref().map_or(0.0, |filter| filter.share).to_bits() == share.to_bits() {
            return;
        }
        if share > 0.0 {
            let before = filter::dropped(&socket).unwrap_or(0);
            if let Err(error) = filter::attach(&socket, share) {
                tracing::error!(proxy = &*self.local.proxy.name, %error, "packets of a connection can't be dropped");
            }
            match (filter, self.chain.as_ref().and_then(|chain| chain.vanishes_by(flow))) {
                (Some(filter), _) => filter.share = share,
                (none, Some((by, unit))) => *none = Some(Filter { share, by: by.clone(), unit, before }),
                (None, None) => {}
            }
            return;
        }
        filter::detach(&socket);
        let dropped = filter::dropped(&socket);
        let Some(Filter { by, unit, before, .. }) = filter.take() else { return };
        let packets = u64::from(dropped.unwrap_or(before).wrapping_sub(before));
        if packets == 0 {
            return;
        }
        Tally::add(&by.tally.injected);
        if !std::mem::replace(&mut filters.affected, true) {
            Tally::add(&by.tally.affected);
        }
        let (drawn, scheduled, achieved) = (packets, packets, packets);
        self.worker.records.borrow_mut().push(Record {
            fault: by.name.clone(),
            tally: by.tally.clone(),
            ordinal: Some(self.talk.ordinal),
            request: None,
            unit: Some(unit),
            client: self.talk.client,
            flow: Some(flow),
            at: now,
            injection: Injection { what: What::Vanished, step: 0, draw: None, drawn, scheduled, achieved },
            released: false,
        });
        self.worker.records_added();
    }
}
