//! Who is awaited, and who has come. Bounded: of the latest [`MOST`] datagrams it is known what became of them.

use std::collections::VecDeque;

use squall_core::time::Time;

/// Datagrams that are remembered, and that may be awaited at one moment.
pub(super) const MOST: usize = 1 << 20;

pub(super) struct Book {
    /// By number, without gaps.
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    /// No entry before this one is awaited.
    cursor: u64,
    awaited: u64,
    /// Of each socket: one more than the highest number that has come back (`NextExp` in RFC 4737).
    next: Vec<u64>,
}

struct Entry {
    due: Time,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Awaited,
    /// Came, or could not be sent.
    Done,
    Lost,
}

/// What it means that a datagram came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// For the first time, and awaited; when it was due.
    InTime { due: Time, is_reordered: bool },
    /// Not awaited any more; not `was_lost`: so old that nothing is known of it.
    Late { was_lost: bool },
    /// Once more.
    Again,
    /// This socket has sent none of this number.
    NeverSent,
}

impl Book {
    /// For so many sockets, at least one.
    pub(super) fn new(sockets: usize) -> Book {
        Book { entries: VecDeque::new(), first: 0, cursor: 0, awaited: 0, next: vec![0; sockets.max(1)] }
    }

    /// Enters the next datagram, due at `due` and no earlier than the one before: its number and the socket that sends it.
    /// None: too many are awaited.
    pub(super) fn enter(&mut self, due: Time) -> Option<(u64, usize)> {
        if self.entries.len() >= MOST {
            let _gives_way = self.entries.pop_front_if(|oldest| oldest.state != State::Awaited)?;
            self.first += 1;
        }
        let number = self.first + self.entries.len() as u64;
        self.entries.push_back(Entry { due, state: State::Awaited });
        self.awaited += 1;
        Some((number, self.socket(number)))
    }

    /// One could not be sent.
    pub(super) fn fail(&mut self, number: u64) {
        if let Some(entry) = self.entry(number)
            && entry.state == State::Awaited
        {
            entry.state = State::Done;
            self.awaited -= 1;
        }
    }

    /// One has come back.
    pub(super) fn came(&mut self, socket: usize, number: u64) -> Fate {
        if number >= self.first + self.entries.len() as u64 || self.socket(number) != socket {
            return Fate::NeverSent;
        }
        let Some(entry) = self.entry(number) else { return Fate::Late { was_lost: false } };
        let (due, was) = (entry.due, std::mem::replace(&mut entry.state, State::Done));
        match was {
            State::Done => Fate::Again,
            State::Lost => Fate::Late { was_lost: true },
            State::Awaited => {
                self.awaited -= 1;
                let next = &mut self.next[socket];
                let is_reordered = number < *next;
                *next = (*next).max(number + 1);
                Fate::InTime { due, is_reordered }
            }
        }
    }

    /// Whether any is awaited.
    pub(super) fn awaits(&self) -> bool {
        self.awaited > 0
    }

    /// When the oldest one was due that is awaited.
    pub(super) fn oldest(&mut self) -> Option<Time> {
        self.cursor = self.cursor.max(self.first);
        loop {
            let cursor = self.cursor;
            let entry = self.entry(cursor)?;
            if entry.state == State::Awaited {
                return Some(entry.due);
            }
            self.cursor += 1;
        }
    }

    /// Gives up all that were due at `until` or before; how many.
    pub(super) fn lose(&mut self, until: Time) -> u64 {
        let mut lost = 0;
        while self.oldest().is_some_and(|due| due <= until) {
            let cursor = self.cursor;
            if let Some(entry) = self.entry(cursor) {
                entry.state = State::Lost;
            }
            lost += 1;
        }
        self.awaited -= lost;
        lost
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(at)
    }

    /// Sockets take turns.
    fn socket(&self, number: u64) -> usize {
        usize::try_from(number % self.next.len() as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const IN_ORDER: bool = false;

    fn in_time(due: Time, is_reordered: bool) -> Fate {
        Fate::InTime { due, is_reordered }
    }

    #[test]
    fn what_came_is_told_from_what_came_again_late_or_out_of_order() {
        let mut book = Book::new(1);
        (0..5).for_each(|n| assert_eq!(book.enter(10 * n), Some((n, 0))));
        assert_eq!(book.came(0, 0), in_time(0, IN_ORDER));
        assert_eq!(book.came(0, 3), in_time(30, IN_ORDER));
        assert_eq!(book.came(0, 1), in_time(10, !IN_ORDER));
        assert_eq!(book.came(0, 3), Fate::Again);
        assert_eq!(book.came(0, 5), Fate::NeverSent);
        assert_eq!((book.oldest(), book.lose(30)), (Some(20), 1));
        assert_eq!(book.came(0, 2), Fate::Late { was_lost: true });
        assert_eq!(book.came(0, 2), Fate::Again);
        assert!(book.awaits());
        book.fail(4);
        assert_eq!((book.awaits(), book.oldest(), book.lose(Time::MAX)), (false, None, 0));
    }

    #[test]
    fn order_is_that_of_each_socket() {
        let mut book = Book::new(2);
        let sockets: Vec<usize> = (0..4).map(|due| book.enter(due).unwrap().1).collect();
        assert_eq!(sockets, [0, 1, 0, 1]);
        assert_eq!(book.came(1, 3), in_time(3, IN_ORDER));
        assert_eq!(book.came(0, 2), in_time(2, IN_ORDER), "the other one's order is none of its own");
        assert_eq!(book.came(0, 1), Fate::NeverSent, "not by this socket");
        assert_eq!(book.came(1, 1), in_time(1, !IN_ORDER));
    }

    #[test]
    fn it_is_bounded_by_those_that_are_awaited() {
        let mut book = Book::new(1);
        (0..MOST as u64).for_each(|due| assert!(book.enter(due).is_some()));
        assert_eq!(book.enter(u64::MAX), None, "the oldest is awaited");
        assert_eq!(book.came(0, 0), in_time(0, IN_ORDER));
        assert_eq!(book.enter(u64::MAX), Some((MOST as u64, 0)));
        assert_eq!(book.came(0, 0), Fate::Late { was_lost: false }, "forgotten");
        assert_eq!(book.entries.len(), MOST);
        assert_eq!(book.lose(u64::MAX), MOST as u64);
    }
}
