//! How an exchange ends before its time, on either side.

use std::sync::Arc;
use std::time::Duration;

use squall_core::fault::{
    Act, Asked, Cx, Effect, End, Fault, Flow, Hooks, Item, Needs, Offer, Phase, Ruling, Upstream,
};
use squall_core::http::Fields;
use squall_core::plan::{Active, Layer};
use squall_core::plane::DataPlane;
use squall_core::way::HttpVersion;
use squall_wire::Plane;

use super::peers::*;
use super::raw::*;
use crate::http1::script::inject;
use crate::support::*;

/// Ends exchanges behind so many bytes of the answer; none: in the upstream's place.
#[derive(Debug)]
struct Ends(End, Option<u64>);

impl Fault for Ends {
    const KIND: &'static str = "ends";
    const HOOKS: Hooks = Hooks { exchange: true, body: true, ..Hooks::NONE };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Count
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let Some(at) = self.1 else { return Act::Pass(usize::MAX) };
        match usize::try_from(at.saturating_sub(cx.span.seen)).unwrap() {
            0 => Act::End(self.0.clone()),
            _ if matches!(offer.item, Item::Fin) => Act::End(self.0.clone()),
            left => Act::Pass(left),
        }
    }

    fn exchange(&self, _: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        match (self.1, asked.phase) {
            (None, Phase::BeforeUpstream) => Ruling::End { how: self.0.clone(), upstream: Upstream::Never },
            _ => Ruling::Pass,
        }
    }
}

fn ends(plane: &Plane, how: End, at: Option<u64>) -> Arc<Active> {
    let switch = plane.cell().switch();
    switch.start(plane.clock().now().mono);
    let mut active = any_active(switch, Arc::new(Ends(how, at)));
    let own = Arc::get_mut(&mut active).unwrap();
    own.layer = Layer::Exchange(if at.is_some() { Phase::MidBody } else { Phase::BeforeUpstream });
    own.flow = Some(Flow::Downstream);
    own.bodies = at.map(|_| Flow::Downstream);
    active
}

/// The code with which an answer of 1,000 bytes ends, and how many came; code 0: in order.
fn ended(how: End, at: Option<u64>) -> (u32, usize, Option<String>) {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream2(|_| {}).address, HttpVersion::Two);
    publish(&plane, vec![ends(&plane, how, at)]);
    match ask2(proxy, &Ask::post("/echo", vec![7; 1000])) {
        Ok(answer) => (0, answer.body.len(), answer.trailers.get("grpc-status").cloned()),
        Err(cut) => (cut.1.reason().map_or(999, u32::from), cut.0.body.len(), None),
    }
}

/// The same of the connection.
fn gone_away(code: u32, at: Option<u64>) -> (u32, usize) {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream2(|_| {}).address, HttpVersion::Two);
    publish(&plane, vec![ends(&plane, End::GoAway(code), at)]);
    let mut client = Raw::open(proxy, &[]);
    client.head(1, 0, POST);
    client.frame(DATA, END_STREAM, 1, &[7; 1000]);
    let mut bytes = 0;
    loop {
        let frame = client.next().expect("closed without GOAWAY");
        match frame.kind {
            GOAWAY => {
                assert!(client.next().is_none());
                return (frame.code(), bytes);
            }
            DATA => bytes += frame.payload.len(),
            _ => {}
        }
    }
}

#[test]
fn each_end_is_felt_as_what_it_is_behind_exactly_what_came_before() {
    for at in [None, Some(0), Some(123)] {
        let bytes = at.unwrap_or_default() as usize;
        assert_eq!(ended(End::Fin, at), (8, bytes, None), "CANCEL");
        assert_eq!(ended(End::Short, at), (8, bytes, None), "CANCEL");
        assert_eq!(ended(End::Reset, at), (2, bytes, None), "INTERNAL_ERROR");
        assert_eq!(ended(End::Code(0xd), at), (0xd, bytes, None));
        assert_eq!(gone_away(0xb, at), (0xb, bytes));
    }
    assert_eq!(ended(End::Complete, Some(123)), (0, 123, None));
    let trailers: Fields = [("grpc-status", "14")].into_iter().collect();
    assert_eq!(ended(End::Trailers(Arc::new(trailers)), Some(123)), (0, 123, Some("14".to_owned())));
}

#[test]
fn a_stream_that_is_reset_leaves_its_neighbours_alone_and_one_that_goes_away_takes_them_along() {
    for (how, spared) in [(End::Reset, true), (End::GoAway(0), false)] {
        let (plane, _records) = plane(1);
        let proxy = open_http(&plane, upstream2(|_| {}).address, HttpVersion::Two);
        let mut client = Raw::open(proxy, &[]);
        let post = [POST, &[("content-type", "a/b")]].concat();
        client.head(1, 0, &post);
        client.frame(DATA, 0, 1, b"half ");
        assert_eq!(client.until(DATA).payload, b"half ");
        publish(&plane, vec![ends(&plane, how.clone(), None)]);
        client.get(3);
        if spared {
            let reset = client.until(RST_STREAM);
            assert_eq!((reset.stream, reset.code()), (3, 2));
            client.frame(DATA, END_STREAM, 1, b"whole");
            assert_eq!(client.until(DATA).payload, b"whole");
            assert!(client.until(HEADERS).ends_stream());
        } else {
            assert_eq!(client.until(GOAWAY).code(), 0);
            while client.next().is_some() {}
            eventually("over", || plane.connections() == 0);
        }
        let reading = plane.reading("p").unwrap();
        assert_eq!((reading.http.cut_injected, reading.injected), (1, 1), "{how:?}");
    }
}

#[test]
fn what_an_upstream_ends_with_is_passed_on() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream2(|_| {}).address, HttpVersion::Two);
    for (path, bytes) in [("/reset", 0), ("/cut", 40)] {
        let (got, error) = *ask2(proxy, &Ask::get(path)).unwrap_err();
        assert_eq!((error.reason().map(u32::from), got.body.len()), (Some(0x1234), bytes), "{path}");
        assert!(ask1(proxy, &Ask::get(path)).is_none(), "{path}");
    }
    let only = ask2(proxy, &Ask::post("/trailers-only", vec![1])).unwrap();
    assert_eq!(only.fields.get("grpc-status").map(String::as_str), Some("5"));
    assert!(!only.fields.contains_key("content-length"));
}

#[test]
fn a_client_that_gives_up_has_the_upstream_give_up() {
    let (plane, _records) = plane(1);
    let upstream = upstream2(|_| {});
    let proxy = open_http(&plane, upstream.address, HttpVersion::Two);
    let mut client = Raw::open(proxy, &[]);
    let never = [(":method", "GET"), (":scheme", "http"), (":path", "/never"), (":authority", "a")];
    client.head(1, END_STREAM, &never);
    client.get(3);
    client.answer(3); // the first is there too
    client.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    assert_eq!(upstream.given_up.recv_timeout(LONG), Ok(8));
    client.head(5, END_STREAM, &never);
    client.get(7);
    client.answer(7);
    drop(client);
    assert_eq!(upstream.given_up.recv_timeout(LONG), Ok(8), "with its connection");
    eventually("counted", || plane.reading("p").unwrap().http.left == 2);
}

#[test]
fn faults_beneath_act_on_the_connection_and_not_on_its_streams() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream2(|_| {}).address, HttpVersion::Two);
    publish(&plane, vec![active(&plane, Script::Delay(20_000_000))]);
    let body: Vec<u8> = vec![3; 200_000];
    let answer = ask2(proxy, &Ask::post("/echo", body.clone())).unwrap();
    assert!(answer.body == body);
    publish(&plane, vec![active(&plane, Script::ResetAt(100_000))]);
    assert!(ask2(proxy, &Ask::post("/echo", body)).is_err());
    publish(&plane, vec![active(&plane, Script::Stall)]);
    let mut held = Raw::silent(proxy);
    held.bytes(PREFACE);
    held.settings(&[]);
    std::thread::sleep(Duration::from_millis(20));
    publish(&plane, vec![]);
    assert_eq!(held.next().expect("released").kind, SETTINGS);
    assert_eq!(plane.panics(), 0);
}

#[test]
fn a_fault_that_comes_late_ends_the_stream_where_it_stands_and_no_other() {
    let upstream = upstream2(|_| {});
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream.address, HttpVersion::Two);
    block_on(async {
        let mut sender = connect2(proxy).await;
        let request = http::Request::post("http://a.test/echo").body(()).unwrap();
        let (response, mut send) = sender.send_request(request, false).unwrap();
        send_all(&mut send, bytes::Bytes::from(vec![b'x'; 100])).await.unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut seen = 0;
        while seen < 100 {
            seen += body.data().await.unwrap().unwrap().len();
        }
        let fault = "[[fault]]\nkind='cut'\nphase='mid_body'\ndirection='downstream'\nafter='150B'\nhow='fin'";
        let fault = inject(&plane, fault);
        send_all(&mut send, bytes::Bytes::from(vec![b'x'; 100])).await.unwrap();
        let ended = loop {
            match body.data().await.unwrap() {
                Ok(piece) => seen += piece.len(),
                Err(ended) => break ended,
            }
        };
        assert_eq!((seen, ended.reason()), (150, Some(h2::Reason::CANCEL)), "{ended}");
        eventually("on record", || fault.tally.read().injected == 1);
        publish(&plane, vec![]);
        assert_eq!(ask2_on(&mut sender, &Ask::get("/")).await.unwrap().status, 200);
    });
}
