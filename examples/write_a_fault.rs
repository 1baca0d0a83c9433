//! Write a fault, step by step: a link that hiccups. `cargo run --example write_a_fault`
//!
//! A fault is its configuration and one decision: given the head of a queue, what happens to the next bytes? It
//! never waits, reads or writes; squall's chain engine does what it decides, and ends it with its window, its lease
//! or an abort. In the tree such a file is `proxy/core/fault/hiccup.rs` and one more word in the list of `fault/registry.rs`, beside a
//! `Kind` with the fields of its `[[fault]]` table; CONTRIBUTING.md has these last steps.
#![allow(missing_docs, clippy::print_stdout)]

use squall_core::draw::{DrawKey, fraction};
use squall_core::fault::{Act, Cx, Effect, Fault, Flow, Hooks, Injection, Item, Offer, Span, Until, What};
use squall_core::time::{MILLI, Time};

// 1. The configuration. It never changes while the fault acts, so it may be shared by all workers without a lock.

/// Before each KiB of a connection a coin is tossed; on heads that KiB waits.
#[derive(Debug)]
struct Hiccup {
    chance: f64,
    pause: Time,
}

const BLOCK: u64 = 1024;

// 2. What it remembers, of one direction of one connection. Everything about the stream (how far, since when, whose
//    turn) is kept by the engine already.

/// The latest KiB that has been let through, counted from 1.
#[derive(Default)]
struct Memory {
    let_through: u64,
}

impl Fault for Hiccup {
    const KIND: &'static str = "hiccup";
    // 3. It decides about bytes, not about connections being opened; and every byte arrives.
    const HOOKS: Hooks = Hooks::STREAM;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    // `needs` is left at `Count`: it never looks at a byte, so the kernel may go on splicing them.

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        // 4. The end of the stream and mere ticks of a timer are offered too.
        if offer.is_empty() {
            return Act::Pass(0);
        }
        // 5. The decision depends on the offset only. A count of reads would make it depend on the network's mood.
        let block = offer.offset / BLOCK;
        let left = BLOCK - offer.offset % BLOCK; // may be more than is offered: that is credit for bytes to come
        let rest = Act::Pass(usize::try_from(left).unwrap_or(usize::MAX));
        if cx.state.let_through > block {
            return rest;
        }
        // 6. Randomness comes from the draw: the same seed, connection and step give the same number, always.
        let draw = cx.draw.at(block);
        let heads = fraction(draw) < self.chance;
        if heads {
            // 7. It does not wait: it says until when, and is asked again.
            let until = offer.arrived.saturating_add(self.pause);
            if cx.now < until {
                return Act::Hold(Until::At(until));
            }
            // 8. What was done goes on record: the ledger's line, the report's figures and the verdict come from it.
            cx.inject(Injection {
                what: What::Delayed,
                step: block,
                draw: Some(draw),
                drawn: self.pause,
                scheduled: self.pause,
                achieved: cx.now.saturating_sub(offer.arrived),
            });
        }
        cx.state.let_through = block + 1;
        rest
    }
}

// 9. Try it without a socket or a clock: offer bytes, move the time by hand. In the tree `fault/driver.rs` does this,
//    and the contract test of all kinds (`fault/contract.rs`) holds yours to the rules above without another line.

/// Sends so many bytes in reads of this size, all at time 0; gives where it hiccuped and when the last byte got by.
fn try_it(fault: &Hiccup, bytes: u64, read: u64) -> (Vec<u64>, Time) {
    let draw = DrawKey::new(7, "examples", Hiccup::KIND).unit(1); // seed, experiment, fault; the first connection
    let (mut state, mut injected, mut now, mut offset) = (Memory::default(), Vec::new(), 0, 0);
    let span = Span::default();
    while offset < bytes {
        let head = read.min(bytes - offset);
        let (flow, shared) = (Flow::Downstream, &());
        let mut cx = Cx {
            state: &mut state,
            shared,
            draw,
            span: &span,
            now,
            elapsed: now,
            flow,
            exchange: None,
            injected: &mut injected,
        };
        let item = Item::Len(usize::try_from(head).unwrap_or(usize::MAX));
        match fault.stream(&mut cx, &Offer { item, arrived: 0, offset, turn: 0, turn_offset: offset, asked: None }) {
            Act::Pass(n) => offset += head.min(n as u64),
            Act::Hold(Until::At(time)) => now = time,
            other => unreachable!("a hiccup never decides {other:?}"),
        }
    }
    (injected.iter().map(|injection| injection.step).collect(), now)
}

fn main() {
    let fault = Hiccup { chance: 0.1, pause: 100 * MILLI };
    let (at, end) = try_it(&fault, 64 * BLOCK, 1460);
    println!("64 KiB, hiccups before KiB {at:?}; the last byte after {} ms", end / MILLI);
    assert!(!at.is_empty(), "with this seed there are some");
    assert_eq!(try_it(&fault, 64 * BLOCK, 7), (at, end), "other reads, the same decisions");
    assert_eq!(try_it(&Hiccup { chance: 0.0, ..fault }, 64 * BLOCK, 512), (vec![], 0), "never means never");
}
