//! Places for connections, and those who wait for one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All places of one fault. Locked when a connection comes, asks again or goes, never for bytes.
#[derive(Debug, Default)]
pub struct Places(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    taken: u64,
    /// The next ticket.
    next: u64,
    /// Tickets of those who wait.
    waiting: BTreeSet<u64>,
}

/// A connection's place, or its ticket in the queue; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// None: it has a place.
    ticket: Option<u64>,
    of: Arc<Places>,
}

impl Places {
    /// A place for one who comes (`before`: none) or has waited, if one is free that nobody who came earlier waits for.
    ///
    /// # Errors
    /// There is none; with what it had.
    pub(super) fn enter(self: &Arc<Self>, before: Option<Place>, max: u64) -> Result<Place, Option<Place>> {
        let ticket = match before {
            Some(place) if place.ticket.is_none() => return Ok(place),
            Some(ref place) => place.ticket,
            None => None,
        };
        let mut book = self.lock();
        let free = usize::try_from(max.saturating_sub(book.taken)).unwrap_or(usize::MAX);
        if book.waiting.range(..ticket.unwrap_or(u64::MAX)).take(free).count() >= free {
            return Err(before);
        }
        book.taken += 1;
        drop(book);
        drop(before); // its ticket
        Ok(Place { ticket: None, of: self.clone() })
    }

    /// A ticket, the same as before if it had one; and how many may stand before it, at most.
    pub(super) fn queue(self: &Arc<Self>, before: Option<Place>) -> (Place, u64) {
        let mut book = self.lock();
        let ticket = before.as_ref().and_then(|place| place.ticket).unwrap_or_else(|| {
            book.next += 1;
            book.next
        });
        book.waiting.insert(ticket);
        let first = book.waiting.first().copied().unwrap_or(ticket);
        drop(book);
        let place = before.unwrap_or_else(|| Place { ticket: Some(ticket), of: self.clone() });
        (place, ticket - first)
    }

    /// A place for one who is in already, free or not.
    pub(super) fn count(self: &Arc<Self>) -> Place {
        self.lock().taken += 1;
        Place { ticket: None, of: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.of.lock();
        match self.ticket {
            Some(ticket) => drop(book.waiting.remove(&ticket)),
            None => book.taken = book.taken.saturating_sub(1),
        }
    }
}
