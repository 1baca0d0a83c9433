//! The event stream: numbered, bounded, in order.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use squall_core::time::Clock;
use tokio::sync::broadcast;

use crate::evidence::Note;
use crate::stamp::rfc3339;
use crate::view::Event;

/// Events that a slow reader may be behind.
const ROOM: usize = 1024;

/// Where events go.
#[derive(Debug)]
pub(crate) struct Events {
    to: broadcast::Sender<Event>,
    seq: Mutex<u64>,
    notes: SyncSender<Note>,
}

impl Events {
    pub(crate) fn new(notes: SyncSender<Note>) -> Events {
        Events { to: broadcast::Sender::new(ROOM), seq: Mutex::new(0), notes }
    }

    /// Tells it. Never waits: a file that can't keep up misses the line.
    pub(crate) fn tell(&self, clock: &dyn Clock, who: Option<(&Arc<str>, Option<f64>)>, kind: &str, text: String) {
        let mut seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        *seq += 1;
        let event = Event {
            seq: *seq,
            at: rfc3339(clock.wall(), 3),
            elapsed: who.and_then(|(_, elapsed)| elapsed),
            experiment: who.map(|(id, _)| id.to_string()),
            kind: kind.into(),
            text,
        };
        if let (Some((id, _)), Ok(line)) = (who, serde_json::to_string(&event)) {
            let _ = self.notes.try_send(Note::Event(id.clone(), line));
        }
        let _ = self.to.send(event); // nobody listening is fine
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.to.subscribe()
    }

    pub(crate) fn notes(&self) -> &SyncSender<Note> {
        &self.notes
    }
}
