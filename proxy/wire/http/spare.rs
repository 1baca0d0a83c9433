//! Memory that a worker's HTTP connections lend each other: one that rests holds none, and the next exchange need not ask the
//! allocator.

use std::cell::RefCell;

use bytes::BytesMut;
use squall_core::http::{Request, Response};

use crate::worker::BUFFER;

/// Pieces of one kind that are kept, and how large one may be.
const KEPT: usize = 64;
const LARGEST: usize = 16 * 1024;
/// How large what comes in may be for a piece of that kind to be taken.
pub(crate) const ROOM: usize = 4 * 1024;

/// See the module.
pub(crate) struct Spare {
    /// What is read comes in here first.
    pub(crate) inlet: RefCell<Box<[u8]>>,
    rooms: Shelf<BytesMut>,
    texts: Shelf<Vec<u8>>,
    requests: Shelf<Request>,
    responses: Shelf<Response>,
}

struct Shelf<T>(RefCell<Vec<T>>);

impl<T> Default for Shelf<T> {
    fn default() -> Shelf<T> {
        Shelf(RefCell::default())
    }
}

impl<T> Shelf<T> {
    fn take(&self) -> Option<T> {
        self.0.borrow_mut().pop()
    }

    fn keep(&self, piece: T) {
        let mut pieces = self.0.borrow_mut();
        if pieces.len() < KEPT {
            pieces.push(piece);
        }
    }
}

impl Spare {
    pub(crate) fn new() -> Spare {
        Spare {
            inlet: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
            rooms: Shelf::default(),
            texts: Shelf::default(),
            requests: Shelf::default(),
            responses: Shelf::default(),
        }
    }

    /// Empty, for what comes in: at least `n` bytes.
    pub(crate) fn room(&self, n: usize) -> BytesMut {
        if n > ROOM {
            return BytesMut::with_capacity(n);
        }
        self.rooms.take().unwrap_or_else(|| BytesMut::with_capacity(ROOM))
    }

    /// Takes such a piece back. It stays with others that still look at its bytes.
    pub(crate) fn keep_room(&self, mut room: BytesMut) {
        room.clear();
        if room.try_reclaim(ROOM) && room.capacity() <= LARGEST {
            self.rooms.keep(room);
        }
    }

    /// Empty, for what goes out.
    pub(crate) fn text(&self) -> Vec<u8> {
        self.texts.take().unwrap_or_else(|| Vec::with_capacity(ROOM))
    }

    /// Takes such a piece back.
    pub(crate) fn keep_text(&self, mut text: Vec<u8>) {
        if (ROOM..=LARGEST).contains(&text.capacity()) {
            text.clear();
            self.texts.keep(text);
        }
    }

    /// For a request of which nothing is known yet.
    pub(crate) fn request(&self) -> Request {
        self.requests.take().unwrap_or_default()
    }

    /// Takes one back that nobody needs any more.
    pub(crate) fn keep_request(&self, mut request: Request) {
        if request.room() <= LARGEST {
            request.clear();
            self.requests.keep(request);
        }
    }

    /// For an answer of which nothing is known yet.
    pub(crate) fn response(&self) -> Response {
        self.responses.take().unwrap_or_default()
    }

    /// Takes one back that nobody needs any more.
    pub(crate) fn keep_response(&self, mut response: Response) {
        if response.room() <= LARGEST {
            response.clear();
            self.responses.keep(response);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_lent_again_empty_unless_it_is_large_or_still_looked_at() {
        let spare = Spare::new();
        let mut room = spare.room(10);
        room.extend_from_slice(b"abc");
        let at = room.as_ptr();
        spare.keep_room(room);
        let mut room = spare.room(10);
        assert!(room.is_empty() && room.as_ptr() == at);
        room.extend_from_slice(b"abcdef");
        let body = room.split_to(3).freeze();
        spare.keep_room(room);
        let mut other = spare.room(10);
        other.extend_from_slice(b"uvwxyz");
        assert_eq!((&body[..], &other[..]), (&b"abc"[..], &b"uvwxyz"[..]));
        spare.keep_text(vec![b'x'; LARGEST + 1]);
        assert!(spare.text().capacity() <= LARGEST && spare.text().is_empty());
    }

    #[test]
    fn a_request_that_is_lent_says_nothing_of_the_one_before() {
        let spare = Spare::new();
        let mut request = spare.request();
        request.authority.push_str("secret.example");
        request.fields.push("authorization", "Bearer 1");
        spare.keep_request(request);
        assert_eq!(spare.request(), Request::default());
    }

    #[test]
    fn no_more_are_kept_than_a_busy_worker_needs() {
        let spare = Spare::new();
        for _ in 0..KEPT + 5 {
            spare.keep_text(Vec::with_capacity(ROOM));
        }
        assert_eq!(spare.texts.0.borrow().len(), KEPT);
    }
}
