//! loss on TCP with packets that the kernel drops: TCP sends them again, and no byte is missing.

use std::time::{Duration, Instant};

use squall_control::app::Format;
use squall_control::client::ClientError;

use crate::support::{
    GOVERNED, Line, Serve, Stage, echo, may_drop_packets, pattern, retransmissions, without_privileges,
};

const LOSS: &str = "kind = 'loss'\nshare = '10%'";

/// How long these bytes take from the server to the client.
fn download(line: &mut Line, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    let sender = line.server.say_aside(bytes.to_vec());
    assert!(line.client.hear(bytes.len()) == bytes, "bytes are missing or changed");
    sender.join().unwrap();
    began.elapsed()
}

#[test]
fn packets_are_sent_again_and_no_byte_is_missing() {
    may_drop_packets("kinds::vanishing::packets_are_sent_again_and_no_byte_is_missing", || {
        let stage = Stage::new();
        let mut line = stage.live_line();
        let bytes = pattern(8 << 20);
        download(&mut line, &bytes);
        let busy = retransmissions(line.server.address()); // a machine that is late may send again for nothing
        let trial = stage.start(LOSS).has_met(1);
        download(&mut line, &bytes);
        // 128 packets of at most 64 KiB, a tenth of which is lost; how soon they come again is TCP's affair
        let again = retransmissions(line.server.address()) - busy;
        assert!(again >= 3, "{again} sent again");
        trial.stop();
        download(&mut line, &bytes);
        line.works();
        let ledger = trial.ledger("loss");
        let [record] = ledger.as_slice() else { panic!("one record, when it is lifted: {ledger:#?}") };
        assert!(
            record["what"] == "vanished" && record["flow"] == "downstream" && record["draw"].is_null(),
            "{record:#}"
        );
        assert!(record["achieved"].as_u64() > Some(0) && record.get("approximated").is_none(), "{record:#}");
        assert_eq!(trial.over().faults[0].tally.affected, 1);
    });
}

#[test]
fn only_selected_connections_lose_packets_and_latency_goes_with_it() {
    may_drop_packets("kinds::vanishing::only_selected_connections_lose_packets_and_latency_goes_with_it", || {
        let stage = Stage::new();
        let mut lossy = stage.live_line();
        let faults = [&format!("{LOSS}\nfirst = 1\nhow = 'kernel'"), "kind = 'latency'\ndelay = '30ms'\nfirst = 1"];
        let trial = stage.start_all(&faults).has_met(1);
        let mut other = stage.live_line();
        let bytes = pattern(4 << 20);
        let began = Instant::now();
        lossy.works();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(30), "{took:?}");
        download(&mut lossy, &bytes);
        download(&mut other, &bytes);
        assert!(retransmissions(lossy.server.address()) > 0);
        trial.stop();
        lossy.works();
        assert!(trial.ledger("loss").iter().all(|record| record["ordinal"] == 0));
    });
}

/// Older kernels let everybody drop packets of his own sockets.
#[test]
fn without_privileges_it_stalls_and_says_so_or_is_refused() {
    let (room, command) = without_privileges();
    let serve = Serve::through(command, &room, "127.0.0.1:0", echo());
    let start = |how: &str| -> Result<String, ClientError> {
        let text = format!(
            "{GOVERNED}name = 'test'\nseed = 1\nmax_duration = '60s'\n[[fault]]\nproxy = 'default'\n{LOSS}\nhow = '{how}'"
        );
        let id = serve.client.submit(&text, Format::Toml, &[]).unwrap().id;
        serve.client.start(&id, Some("60s")).map(|_| id)
    };
    let is_permitted = match start("kernel") {
        Ok(id) => {
            serve.stop(&id);
            true
        }
        Err(refused) => {
            assert!(format!("{refused:?}").contains("CAP_NET_ADMIN"), "{refused:?}");
            false
        }
    };
    let id = start("auto").unwrap();
    let mut peer = crate::support::Peer::new(std::net::TcpStream::connect(serve.address).unwrap());
    let bytes = pattern(200_000);
    let speaker = peer.say_aside(bytes.clone());
    assert!(peer.hear(bytes.len()) == bytes);
    speaker.join().unwrap();
    serve.stop(&id);
    serve.over(&id);
    let ledger = serve.ledger(&id, "loss");
    assert!(!ledger.is_empty());
    for record in ledger {
        assert_eq!(record["what"] == "vanished", is_permitted, "{record:#}");
    }
}
