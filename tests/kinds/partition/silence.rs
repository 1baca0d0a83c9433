//! Packets that vanish both ways: nobody is told, and TCP goes on by itself when the link heals.

use crate::support::{Knock, Line, Stage, may_drop_packets, pattern, retransmissions};

const SILENCE: &str = "kind = 'partition'\nhow = 'silence'";

#[test]
fn nothing_arrives_and_nothing_is_lost_when_it_heals() {
    may_drop_packets("kinds::partition::silence::nothing_arrives_and_nothing_is_lost_when_it_heals", || {
        let stage = Stage::new();
        let mut line = stage.live_line();
        let trial = stage.start(SILENCE).has_met(1);
        let knock = Knock::on(stage.serve.address);
        let said = pattern(100_000);
        let speaker = line.client.say_aside(said.clone());
        line.server.say(b"an answer");
        line.server.hears_nothing_for(700);
        line.client.hears_nothing_for(20);
        knock.waits_for(20);
        assert!(retransmissions(line.client.address()) > 0, "the client has not sent again");
        trial.stop();
        assert!(line.server.hear(said.len()) == said);
        assert_eq!(line.client.hear(9), b"an answer");
        speaker.join().unwrap();
        Line { client: knock.let_in(), server: stage.accept() }.works();
        line.works();
        let ledger = trial.ledger("partition");
        assert!(
            ledger.iter().all(|line| line["what"] == "vanished" && line["achieved"].as_u64() > Some(0)),
            "{ledger:#?}"
        );
        let flows: Vec<_> = ledger.iter().filter_map(|line| line["flow"].as_str()).collect();
        assert!(flows.contains(&"upstream") && flows.contains(&"downstream"), "{ledger:#?}");
        assert!(ledger.iter().any(|line| line["flow"].is_null()), "the handshake's: {ledger:#?}");
        let tally = trial.over().faults[0].tally;
        assert_eq!((tally.affected, tally.reset_on_abort), (1, 0));
    });
}

#[test]
fn one_way_only_that_side_is_not_heard() {
    may_drop_packets("kinds::partition::silence::one_way_only_that_side_is_not_heard", || {
        for direction in ["upstream", "downstream"] {
            let stage = Stage::new();
            let mut line = stage.live_line();
            let fault = format!("{SILENCE}\ndirection = '{direction}'\nconnections = 'established'");
            let trial = stage.start(&fault).has_met(1);
            let (silent, other) = match direction {
                "upstream" => (&mut line.client, &mut line.server),
                _ => (&mut line.server, &mut line.client),
            };
            silent.say(b"into the dark");
            other.say(b"heard");
            assert_eq!(silent.hear(5), b"heard", "{direction}");
            other.hears_nothing_for(300);
            stage.live_line();
            trial.stop();
            assert_eq!(other.hear(13), b"into the dark", "{direction}");
            line.works();
        }
    });
}

#[test]
fn a_connection_that_ends_meanwhile_ends_for_both_when_it_heals() {
    may_drop_packets("kinds::partition::silence::a_connection_that_ends_meanwhile_ends_for_both_when_it_heals", || {
        let stage = Stage::new();
        let mut line = stage.live_line();
        let trial = stage.start(&format!("{SILENCE}\nfor = '700ms'")).has_met(1);
        line.client.finish();
        line.server.finish();
        line.server.hears_nothing_for(100);
        assert_eq!((line.server.end(), line.client.end()), (crate::support::End::Fin, crate::support::End::Fin));
        trial.stop();
    });
}
