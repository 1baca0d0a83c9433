//! One exchange: a request, its way past the faults to an upstream, and the answer's way back.
//!
//! Its phases: before a connection to the upstream is looked for, before the request is sent, once the answer's head is there,
//! in the middle of either body, and once the upstream has said everything. In each of them the faults are asked, and may have
//! it wait, change it, answer in the upstream's place, or end it.

mod bodies;
mod ending;

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use squall_core::chain::{Dialogue, Talk};
use squall_core::fault::{Asked, End, Flow, Patch, Phase, Reply, Ruling, Until, Upstream};
use squall_core::http::{Method, Request, Response, StatusCode, Version};
use squall_core::plan::{Active, FaultRef};
use squall_core::time::Time;

use super::ends::{Answered, Broken, Client, Length, Server, Sink};
use super::failure::Failure;
use super::leg::{Leg, Stop};
use super::names::{Names, dress};
use super::reach::{Origin, Reached, reach};
use super::told::Told;
use super::watch::Watcher;
use crate::clock::SystemClock;
use crate::meter::Waiting;

/// The code of HTTP/2 with which an upstream says that it has not looked at a request (RFC 9113, 7).
const REFUSED: u32 = 7;

/// What a request brings besides its head.
pub(crate) struct Brought {
    /// The length of its body.
    pub(crate) length: Length,
    /// It asks to leave HTTP, or for a tunnel.
    pub(crate) upgrade: bool,
    /// Where it came from.
    pub(crate) from: Origin,
}

/// Why an exchange did not come to its end.
enum Halt {
    /// The client has gone, or can't be understood any more.
    Client,
    /// The upstream has failed.
    Upstream(Broken),
    /// squall has something in the way.
    Failed(Failure),
    /// A fault has ended it.
    Injected(End, Arc<FaultRef>),
    /// A fault has answered: that is on its way.
    Answered,
}

/// What a fault has the client hear instead of the upstream.
enum Instead {
    Reply(Box<Reply>, Arc<Active>),
    End(End, Arc<Active>),
}

struct Exchange<'a, C> {
    watcher: &'a Rc<Watcher>,
    client: &'a mut C,
    /// What is said, where no fault is met: else they have it.
    talk: Option<Talk>,
    brought: Brought,
    began: Time,
    /// What the client hears once the upstream has acted.
    instead: Option<Instead>,
    /// Times that the request is delivered besides the first, and its body, kept for them.
    copies: u8,
    kept: Vec<Bytes>,
    /// The host that the upstream was asked for is another than the client's.
    names: Option<Names>,
    /// Bytes of the request's body that are announced more or fewer than come.
    off_by: i64,
    request: Leg,
    answer: Leg,
    /// The answer's head was sent.
    headed: bool,
    /// It said that the request has failed, and no fault's doing.
    failed: bool,
    injected: bool,
    /// What is told of it; none: nobody asks.
    told: Option<Box<Told>>,
}

/// Carries one exchange to its end. What is to become of the client's connection the client knows.
pub(crate) async fn carry<C: Client>(watcher: &Rc<Watcher>, client: &mut C, talk: Talk, brought: Brought) {
    let safe = talk.dialogue().is_some_and(|dialogue| watcher.worker.common.never_fault.matches(&dialogue.request));
    let began = talk.opened;
    let told = Told::begin(watcher, &talk);
    let talk = if safe { Some(talk) } else { watcher.begin_exchange(talk) };
    let has_body = brought.length != Length::None;
    let mut exchange = Exchange {
        watcher,
        client,
        talk,
        began,
        instead: None,
        copies: 0,
        kept: Vec::new(),
        names: None,
        off_by: 0,
        request: if has_body { Leg::new(Flow::Upstream) } else { Leg::finished(Flow::Upstream) },
        answer: Leg::new(Flow::Downstream),
        headed: false,
        failed: false,
        injected: false,
        brought,
        told,
    };
    let ended = exchange.run().await;
    let outcome = exchange.conclude(ended);
    if let Some(told) = exchange.told.take() {
        told.end(watcher, exchange.began, outcome);
    }
    // whether it met faults or not: the next exchange of the connection begins anew
    let talk = watcher.end_exchange().or(exchange.talk.take());
    if let Some(dialogue) = talk.and_then(Talk::into_dialogue) {
        watcher.worker.spare.keep_request(dialogue.request);
        dialogue.response.into_iter().for_each(|response| watcher.worker.spare.keep_response(response));
    }
}

impl<C: Client> Exchange<'_, C> {
    async fn run(&mut self) -> Result<(), Halt> {
        self.admit()?;
        self.ask(Phase::BeforeConnect, None::<&mut Reached>).await?;
        let mut server = self.connect(true).await?;
        for phase in [Phase::BeforeUpstream, Phase::MidBody] {
            if let Some(patch) = self.ask(phase, None::<&mut Reached>).await? {
                self.renew_request(patch).await?;
            }
        }
        self.dress();
        self.send_head(&mut server);
        let mut again = server.is_used() && self.may_try_again();
        let answered = loop {
            match self.await_head(&mut server).await {
                Err(Halt::Upstream(broken @ (Broken::Lost { .. } | Broken::Code(REFUSED))))
                    if again && !server.has_heard() =>
                {
                    // it was closed while it rested (RFC 9110, 9.2.2), or was about to be (RFC 9113, 8.7)
                    again = false;
                    if matches!(broken, Broken::Lost { .. }) {
                        server.retire();
                    }
                    server = self.connect(false).await?;
                    self.send_head(&mut server);
                }
                Err(halt) => return Err(halt),
                Ok(answered) => break answered,
            }
        };
        let finished = self.relay(&mut server, answered).await;
        if finished.is_ok() {
            server.rest(&self.watcher.worker, &self.watcher.local);
        }
        finished
    }

    /// Whether this request may go to this upstream.
    fn admit(&self) -> Result<(), Halt> {
        let Some(admit) = &self.watcher.worker.common.admit else { return Ok(()) };
        let name = &self.watcher.local.proxy.name;
        self.with_request(|request| admit(name, request)).map_err(|why| {
            let status = StatusCode::FORBIDDEN;
            Halt::Failed(Failure { status, error: "http_request_denied", why, counts: None })
        })
    }

    /// Faults have come on since it began without any: they find it as far as it has come.
    fn meet_late(&mut self) {
        if !self.watcher.has_late_faults() {
            return;
        }
        let Some(mut talk) = self.talk.take() else { return };
        for (flow, leg) in [(Flow::Upstream, &mut self.request), (Flow::Downstream, &mut self.answer)] {
            let passed = leg.take_passed();
            if passed > 0 {
                talk.moved(flow, passed);
            }
        }
        self.talk = self.watcher.begin_exchange(talk);
        if let Some(mut faults) = self.watcher.exchange() {
            let worker = &self.watcher.worker;
            faults.poll(worker, worker.now()); // they are told that they have come on, though nothing moves
        }
    }

    /// Tells the upstream of whom the client asked what the proxy's way says.
    fn dress(&mut self) {
        let target = self.watcher.local.proxy.target.load();
        let Some(way) = &target.spec.way.http else { return };
        let client = self.brought.from.client.map(|client| client.ip());
        let upstream = &target.spec.upstream;
        self.names = self.with_dialogue(|dialogue| dress(&mut dialogue.request, way, upstream, client)).flatten();
    }

    /// A request without a body that may be sent twice.
    fn may_try_again(&self) -> bool {
        let idempotent = self.with_request(|request| request.method.is_idempotent());
        idempotent && self.brought.length == Length::None && !self.brought.upgrade
    }

    /// Whether a fault has a say in it now.
    fn meets_faults(&self) -> bool {
        self.watcher.exchange().is_some_and(|faults| !faults.chain.is_empty())
    }

    fn with_request<T>(&self, read: impl FnOnce(&Request) -> T) -> T {
        let faults = self.watcher.exchange();
        let talk = faults.as_ref().map(|faults| &faults.talk).or(self.talk.as_ref());
        match talk.and_then(Talk::dialogue) {
            Some(dialogue) => read(&dialogue.request),
            None => read(&Request::default()),
        }
    }

    /// What is said, whoever has it.
    fn with_dialogue<T>(&mut self, change: impl FnOnce(&mut Dialogue) -> T) -> Option<T> {
        let mut faults = self.watcher.exchange();
        let talk = faults.as_mut().map(|faults| &mut faults.talk).or(self.talk.as_mut());
        talk.and_then(Talk::dialogue_mut).map(change)
    }

    /// `rested`: over a connection that has carried an exchange before, if there is one.
    async fn connect(&mut self, rested: bool) -> Result<Reached, Halt> {
        let now = if self.meets_faults() { SystemClock::mono() } else { self.began };
        let mut reaching = reach(self.watcher, self.brought.from, rested.then_some(now)).map_err(Halt::Failed)?;
        let mut waiting = None;
        poll_fn(|cx| {
            if let Poll::Ready(reached) = reaching.poll(self.watcher, cx) {
                return Poll::Ready(reached.map(|reached| reached.tapped(&self.watcher.local)).map_err(Halt::Failed));
            }
            waiting.get_or_insert_with(|| Waiting::begin(&self.watcher.local.meter));
            self.client.poll_left(cx).map(|()| Err(Halt::Client))
        })
        .await
    }

    fn send_head(&mut self, server: &mut Reached) {
        let length = if self.brought.upgrade { Length::Tunnel } else { self.request_length() };
        self.with_request(|request| server.request(request, length));
    }

    fn request_length(&self) -> Length {
        let resized = self.watcher.exchange().is_some_and(|faults| faults.chain.resizes(Flow::Upstream));
        match self.brought.length {
            Length::None => Length::None,
            _ if resized => Length::Open,
            Length::Known(n) => Length::Known(n.saturating_add_signed(self.off_by)),
            length => length,
        }
    }

    /// Sends the request's body and waits for the answer's head; interim ones pass.
    async fn await_head(&mut self, server: &mut Reached) -> Result<(Response, Length), Halt> {
        let mut response = self.watcher.worker.spare.response();
        poll_fn(|cx| {
            loop {
                self.poll_request(server, cx)?;
                let Answered { length } = ready!(self.poll_head(server, &mut response, cx))?;
                if !is_interim(&response) {
                    return Poll::Ready(Ok(length));
                }
                self.client.interim(&response);
            }
        })
        .await
        .map(|length| (response, length))
    }

    fn poll_head(
        &mut self,
        server: &mut Reached,
        into: &mut Response,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answered, Halt>> {
        if let Poll::Ready(head) = server.poll_head(into, cx) {
            return Poll::Ready(head.map_err(Halt::Upstream));
        }
        let _the_client_tells = self.client.poll_written(cx); // interim heads
        self.client.poll_left(cx).map(|()| Err(Halt::Client))
    }

    /// Moves what can be moved of the request's body.
    fn poll_request(&mut self, server: &mut Reached, cx: &mut Context<'_>) -> Result<(), Halt> {
        self.meet_late();
        loop {
            let moved = match self.request.poll(self.client, server, self.watcher, cx) {
                Ok(more) => more,
                Err(Stop::Source(_)) => return Err(Halt::Client),
                // an upstream that takes no more may have answered already
                Err(Stop::Sink(_)) => {
                    self.request.discard();
                    false
                }
                Err(Stop::Injected) => match self.ended_by_a_fault() {
                    // what has passed before the end is written before it
                    Halt::Injected(how, _) if !how.is_reset() && server.poll_written(cx).is_pending() => return Ok(()),
                    halt => return Err(halt),
                },
            };
            let _asked_again_by_the_read = server.poll_written(cx);
            if !moved {
                return Ok(());
            }
        }
    }

    fn ended_by_a_fault(&self) -> Halt {
        let faults = self.watcher.exchange();
        match faults.as_ref().and_then(|faults| faults.chain.end()) {
            Some((how, by)) => Halt::Injected(how.clone(), by.clone()),
            None => Halt::Client,
        }
    }

    /// Has the faults join whose rules look at the answer.
    fn show_answer(&self) {
        let slice = self.watcher.local.slice.borrow();
        if let Some(slice) = slice.as_ref().filter(|slice| slice.looks_at_answers())
            && let Some(mut faults) = self.watcher.exchange()
        {
            faults.answered(slice, self.watcher.worker.now());
        }
    }

    /// Passes the answer on.
    async fn relay(&mut self, server: &mut Reached, (response, length): (Response, Length)) -> Result<(), Halt> {
        let tunnel = length == Length::Tunnel;
        if self.instead.is_some() {
            if !tunnel {
                self.swallow(server).await?;
            }
            return Err(self.hear_instead());
        }
        let mut length = length;
        let mut off_by = 0;
        let mut now = SystemClock::mono();
        self.with_dialogue(|dialogue| {
            dialogue.response = Some(response);
            dialogue.answered = Some(now);
        });
        self.show_answer();
        if self.meets_faults() {
            for phase in [Phase::AfterUpstreamHead, Phase::MidBody] {
                let patched = self.ask(phase, Some(server)).await?;
                if let Some(patch) = patched {
                    off_by += patch.length_off_by;
                    length = self.renew(server, length, patch.body).await?;
                }
            }
            let late =
                self.watcher.exchange().is_some_and(|faults| faults.chain.decides_in(Phase::AfterUpstream, true));
            if late {
                if !tunnel {
                    self.keep(server).await?; // else the upstream has said all that belongs to the exchange
                }
                if let Some(patch) = self.ask(Phase::AfterUpstream, Some(server)).await? {
                    length = self.renew(server, length, patch.body).await?;
                }
            }
            if self.instead.is_some() {
                if !tunnel {
                    self.swallow(server).await?;
                }
                return Err(self.hear_instead());
            }
            let resized = self.watcher.exchange().is_some_and(|faults| faults.chain.resizes(Flow::Downstream));
            if resized && matches!(length, Length::Known(_)) {
                length = Length::Open;
            }
            now = SystemClock::mono();
        }
        if let (Length::Known(n), true) = (length, off_by != 0) {
            length = Length::Known(n.saturating_add_signed(off_by));
        }
        if length == Length::None {
            self.answer = Leg::finished(Flow::Downstream);
        }
        self.send_answer(length, tunnel, now);
        poll_fn(|cx| self.poll_relay(server, tunnel, cx)).await?;
        for _ in 0..std::mem::take(&mut self.copies) {
            if self.deliver_again().await.is_err() {
                break; // the client has its answer
            }
        }
        Ok(())
    }

    fn poll_relay(&mut self, server: &mut Reached, tunnel: bool, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        loop {
            self.poll_request(server, cx)?;
            let more = match self.answer.poll(server, self.client, self.watcher, cx) {
                Ok(more) => more,
                Err(Stop::Source(broken)) => return Poll::Ready(Err(Halt::Upstream(broken))),
                Err(Stop::Sink(Broken::Injected) | Stop::Sink(_)) => return Poll::Ready(Err(Halt::Client)),
                Err(Stop::Injected) => return Poll::Ready(Err(self.ended_by_a_fault())),
            };
            match self.client.poll_written(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Halt::Client)),
                Poll::Ready(Ok(())) if self.answer.is_done() && (!tunnel || self.request.is_done()) => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) if more => {}
                _ => break,
            }
        }
        if !self.answer.is_done() && !tunnel {
            return self.client.poll_left(cx).map(|()| Err(Halt::Client));
        }
        Poll::Pending
    }

    /// Has the faults decide in a phase. What they change of a message's head is done; other changes are given back.
    async fn ask(&mut self, phase: Phase, mut server: Option<&mut Reached>) -> Result<Option<Patch>, Halt> {
        self.meet_late();
        if !self.meets_faults() {
            return Ok(None);
        }
        let arrived = SystemClock::mono();
        let mut changes: Option<Patch> = None;
        loop {
            let ruled = poll_fn(|cx| {
                if let Some(server) = server.as_deref_mut() {
                    self.poll_request(server, cx)?;
                }
                let _the_client_tells = self.client.poll_written(cx); // interim heads
                if let Poll::Ready(()) = self.client.poll_left(cx) {
                    return Poll::Ready(Err(Halt::Client));
                }
                match self.rule(phase, arrived) {
                    (Ruling::Hold(_), _) => Poll::Pending,
                    ruled => Poll::Ready(Ok(ruled)),
                }
            })
            .await?;
            match ruled {
                (Ruling::Patch(patch), Some(by)) => {
                    self.patch(&patch, &by);
                    self.injected |= patch.body.is_some() || patch.status.is_some();
                    let body = patch.body.or_else(|| changes.take().and_then(|before| before.body));
                    changes = Some(Patch { body, ..Patch::of(patch.side) });
                    if let Some(changes) = &mut changes {
                        changes.length_off_by = patch.length_off_by;
                    }
                }
                (Ruling::Deliver(copies), _) => {
                    if self.keep_request().await? {
                        self.copies = self.copies.saturating_add(copies);
                    }
                }
                (Ruling::Answer { reply, upstream }, Some(by)) => {
                    return self.settle(Instead::Reply(reply, by), upstream, server).map(|()| changes);
                }
                (Ruling::End { how, upstream }, Some(by)) => {
                    return self.settle(Instead::End(how, by), upstream, server).map(|()| changes);
                }
                _ => return Ok(changes),
            }
        }
    }

    fn rule(&mut self, phase: Phase, arrived: Time) -> (Ruling, Option<Arc<Active>>) {
        let Some(mut faults) = self.watcher.exchange() else { return (Ruling::Pass, None) };
        let faults = &mut **faults;
        let Some(dialogue) = faults.talk.dialogue() else { return (Ruling::Pass, None) };
        let asked = Asked {
            phase,
            request: &dialogue.request,
            response: dialogue.response.as_ref(),
            client: self.brought.from.client.map(|client| client.ip()),
            began: self.began,
            arrived,
        };
        let worker = &self.watcher.worker;
        let mut records = worker.records.borrow_mut();
        let before = records.len();
        let ruled = faults.chain.rule(&asked, &faults.talk, worker.now(), &mut records);
        faults.note(worker, &records[before..]);
        drop(records);
        worker.records_added();
        if let Ruling::Hold(Until::At(at)) = ruled.ruling {
            faults.wake_by(at);
        }
        (ruled.ruling, ruled.by)
    }

    /// What the client hears is settled: at once, or once the upstream has acted.
    fn settle(&mut self, instead: Instead, upstream: Upstream, server: Option<&mut Reached>) -> Result<(), Halt> {
        self.instead = Some(instead);
        if upstream == Upstream::Finish {
            return Ok(());
        }
        if let Some(server) = server {
            server.cancel();
        }
        Err(self.hear_instead())
    }

    fn hear_instead(&mut self) -> Halt {
        match self.instead.take() {
            Some(Instead::Reply(reply, by)) => {
                self.reply(*reply, &by);
                Halt::Answered
            }
            Some(Instead::End(how, by)) => Halt::Injected(how, by.name.clone()),
            None => Halt::Client,
        }
    }

    /// Answers in the upstream's place.
    fn reply(&mut self, reply: Reply, by: &Active) {
        self.injected = true;
        let Reply { mut head, body, trailers } = reply;
        if !by.stealth {
            head.fields.set(SAYS_WHO, format!("{}/{}", by.name.experiment_name, by.name.fault));
        }
        head.fields.remove("content-length");
        let to_head = self.with_request(|request| request.method == Method::HEAD);
        let bodiless = to_head || is_interim(&head) || matches!(head.status.as_u16(), 204 | 304);
        let length = match (bodiless, &trailers) {
            (true, _) => Length::None,
            (false, Some(_)) => Length::Open,
            (false, None) => Length::Known(body.len() as u64),
        };
        self.client.read_no_more();
        self.client.answer(&head, length);
        self.headed = true;
        self.note_answer(&head, SystemClock::mono());
        if length != Length::None {
            self.client.put(body);
            self.client.finish(trailers);
        }
    }

    /// Changes the head of a message.
    fn patch(&mut self, patch: &Patch, by: &Active) {
        let Some(mut faults) = self.watcher.exchange() else { return };
        let Some(dialogue) = faults.talk.dialogue_mut() else { return };
        let fields = match (patch.side, &mut dialogue.response) {
            (Flow::Upstream, _) => &mut dialogue.request.fields,
            (Flow::Downstream, Some(response)) => {
                if let Some(status) = patch.status {
                    response.status = status;
                    response.reason.clear();
                }
                &mut response.fields
            }
            (Flow::Downstream, None) => return,
        };
        for name in &patch.remove {
            fields.remove(name);
        }
        patch.set.iter().for_each(|(name, value)| fields.set(name, value));
        patch.add.iter().for_each(|(name, value)| fields.push(name, value));
        if patch.side == Flow::Downstream && !by.stealth {
            fields.set(SAYS_WHO, format!("{}/{}", by.name.experiment_name, by.name.fault));
        }
    }

    /// Sends the head that the upstream has given and faults may have changed.
    fn send_answer(&mut self, length: Length, tunnel: bool, now: Time) {
        let Some(response) = self.with_dialogue(|dialogue| dialogue.response.take()).flatten() else { return };
        match &self.names {
            None => {
                self.client.answer(&response, length);
                self.note_answer(&response, now);
            }
            Some(names) => {
                let mut undressed = response.clone();
                names.undress(&mut undressed);
                self.client.answer(&undressed, length);
                self.note_answer(&undressed, now);
            }
        }
        if tunnel {
            self.request = Leg::new(Flow::Upstream); // from here on the client's bytes are no requests
        }
        self.headed = true;
        self.with_dialogue(|dialogue| dialogue.response = Some(response));
    }

    /// Sends the request once more, and throws the answer away.
    async fn deliver_again(&mut self) -> Result<(), Halt> {
        let mut server = self.connect(true).await?;
        if self.brought.length != Length::None {
            self.request = Leg::again(Flow::Upstream, self.kept.iter().cloned());
        }
        self.send_head(&mut server);
        let (_, length) = self.await_head(&mut server).await?;
        if length != Length::None {
            self.swallow(&mut server).await?;
        }
        server.rest(&self.watcher.worker, &self.watcher.local);
        Ok(())
    }
}

/// The field that says which fault has made or changed an answer.
const SAYS_WHO: &str = "x-squall-fault";

/// Whether more heads follow.
fn is_interim(response: &Response) -> bool {
    response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS
}

/// The version that answers of squall's own have.
pub(crate) const VERSION: Version = Version::HTTP_11;
