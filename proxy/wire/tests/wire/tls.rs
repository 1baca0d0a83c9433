//! HTTP under TLS on real sockets: with clients, with the upstream, and faults above and beneath.

pub(crate) mod peers;

use squall_core::plane::DataPlane;
use squall_core::way::HttpVersion;

use self::peers::*;
use crate::http1::script::{inject, status, value};
use crate::http2::peers::{Ask, ask2_on, block_on};
use crate::support::*;

const PAIRS: [(&str, HttpVersion); 4] = [
    ("h2", HttpVersion::Two),
    ("h2", HttpVersion::One),
    ("http/1.1", HttpVersion::Two),
    ("http/1.1", HttpVersion::One),
];

#[test]
fn a_large_body_goes_and_comes_byte_for_byte_whatever_the_two_ends_have_agreed_on() {
    let stand = Stand::new("pairs");
    let mut body = vec![0; 3 << 20];
    pattern(0, &mut body);
    for (offered, upstream) in PAIRS {
        let secret = Secret::new();
        let proxy = stand.open(&secret, upstream);
        block_on(async {
            let (stream, agreed) = stand.connect(proxy, &[offered]).await;
            assert_eq!(agreed.as_deref(), Some(offered));
            let got = match offered {
                "h2" => ask2_on(&mut talk2(stream).await, &Ask::post("/echo", body.clone())).await.unwrap().body,
                _ => ask1(stream, &body).await.1,
            };
            assert!(got == body, "{offered} {upstream:?}: {} bytes", got.len());
        });
        let spoken = if upstream == HttpVersion::Two { "h2" } else { "http/1.1" };
        assert_eq!(secret.agreed(), [spoken], "{offered} {upstream:?}");
        assert_eq!(stand.plane.reading("p").unwrap().http.cut, 0);
        stand.plane.close("p").unwrap();
    }
}

#[test]
fn a_client_that_gives_up_takes_its_exchange_with_it_and_no_other() {
    let stand = Stand::new("cancels");
    let secret = Secret::new();
    let proxy = stand.open(&secret, HttpVersion::Two);
    block_on(async {
        let mut sender = talk2(stand.connect(proxy, &["h2"]).await.0).await;
        let request = http::Request::get("https://a.test/never").body(()).unwrap();
        let (response, mut send) = sender.send_request(request, true).unwrap();
        assert_eq!(ask2_on(&mut sender, &Ask::get("/")).await.unwrap().status, 200); // it has come to the upstream
        send.send_reset(h2::Reason::CANCEL);
        drop(response);
        assert_eq!(ask2_on(&mut sender, &Ask::get("/")).await.unwrap().status, 200);
    });
    assert_eq!(secret.given_up.recv_timeout(LONG).unwrap(), u32::from(h2::Reason::CANCEL));
    // one that closes its connection takes all of them
    block_on(async {
        let mut sender = talk2(stand.connect(proxy, &["h2"]).await.0).await;
        let request = http::Request::get("https://a.test/never").body(()).unwrap();
        let _unheard = sender.send_request(request, true).unwrap();
        assert_eq!(ask2_on(&mut sender, &Ask::get("/")).await.unwrap().status, 200); // it has come there too
    });
    assert_eq!(secret.given_up.recv_timeout(LONG).unwrap(), u32::from(h2::Reason::CANCEL));
}

#[test]
fn faults_act_on_exchanges_above_and_on_what_is_encrypted_beneath() {
    let stand = Stand::new("faults");
    let secret = Secret::new();
    let proxy = stand.open(&secret, HttpVersion::One);
    inject(&stand.plane, "[[fault]]\nkind='error'\nhttp_status=503\nmatch={path='/echo'}");
    block_on(async {
        let mut sender = talk2(stand.connect(proxy, &["h2"]).await.0).await;
        let refused = ask2_on(&mut sender, &Ask::post("/echo", vec![b'x'; 9])).await.unwrap();
        assert_eq!((refused.status, refused.fields["x-squall-fault"].as_str()), (503, "test/script"));
        let (head, _) = ask1(stand.connect(proxy, &["http/1.1"]).await.0, b"x").await;
        assert_eq!((status(&head), value(&head, "x-squall-fault")), (503, Some("test/script")));
    });
    let beneath = "[[fault]]\nkind='cut'\nlayer='bytes'\ndirection='downstream'\nafter='20KiB'\nhow='reset'";
    let fault = inject(&stand.plane, beneath);
    block_on(async {
        let (stream, _) = stand.connect(proxy, &["http/1.1"]).await;
        let (got, ended) = read_out(stream, &post(&[b'x'; 1 << 20])).await;
        assert!(got.len() < 20 << 10, "what is encrypted counts: {}", got.len());
        assert!(ended.is_err(), "{ended:?}");
    });
    eventually("on record", || fault.tally.read().injected == 1);
    publish(&stand.plane, vec![]);
    block_on(async {
        assert_eq!(ask1(stand.connect(proxy, &[]).await.0, b"fine").await.1, b"fine");
    });
}

#[test]
fn what_two_ends_do_not_agree_on_ends_the_handshake_and_is_counted_as_theirs() {
    let stand = Stand::new("disagree");
    let secret = Secret::new();
    let proxy = stand.open(&secret, HttpVersion::One);
    block_on(async {
        assert!(stand.try_connect(proxy, &["spdy/3"]).await.is_err());
    });
    eventually("counted", || stand.plane.reading("p").unwrap().tls_client_failed == 1);
    stand.plane.close("p").unwrap();
    // an upstream whose certificate nobody vouches for is told to the client as what squall could not do
    let mut spec = stand.spec(&secret, HttpVersion::One);
    spec.way.upstream_tls.as_mut().unwrap().verify = true;
    let proxy = address(&stand.plane.open(&spec).unwrap());
    block_on(async {
        let (head, _) = ask1(stand.connect(proxy, &["http/1.1"]).await.0, b"x").await;
        assert_eq!(status(&head), 502);
        assert!(value(&head, "proxy-status").unwrap().contains("tls"), "{head}");
    });
    let reading = stand.plane.reading("p").unwrap();
    assert_eq!((reading.tls_server_failed, reading.failed(), reading.injected), (1, 1, 0), "and it is counted once");
}

#[test]
fn the_client_is_told_of_as_it_came_and_under_the_name_that_it_asked_for() {
    let stand = Stand::new("forwarded");
    let secret = Secret::new();
    let mut spec = stand.spec(&secret, HttpVersion::Two);
    let way = spec.way.http.as_mut().unwrap();
    way.forwarded = true;
    way.host = "api.internal".into();
    let proxy = address(&stand.plane.open(&spec).unwrap());
    block_on(async {
        let (head, _) = ask1(stand.connect(proxy, &["http/1.1"]).await.0, b"x").await;
        assert_eq!(value(&head, "x-authority"), Some("api.internal"), "{head}");
        assert_eq!(value(&head, "x-got-x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(value(&head, "x-got-x-forwarded-host"), Some("a.test"));
        assert_eq!(value(&head, "x-got-x-forwarded-proto"), Some("https"));
    });
}
