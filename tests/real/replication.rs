//! Three Redis that replicate through squall, cut from each other and healed while a client writes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use squall_control::api::ProxyRequest;

use crate::support::history::{Answer, Replaced, Write, check};
use crate::support::redis::{Redis, Reply, Talk};
use crate::support::{Room, Serve, wait};

const NODES: usize = 3;

/// Nodes 0, 1 and 2, called n0, n1 and n2 in squall; 0 is the primary at first. Each reaches each through the proxy
/// `n<from>-to-n<to>`.
struct Cluster {
    nodes: Vec<Redis>,
    links: Vec<Vec<Option<SocketAddr>>>,
    serve: Serve,
    _rooms: Vec<Room>,
}

impl Cluster {
    fn new() -> Cluster {
        let rooms: Vec<Room> = (0..=NODES).map(|_| Room::new()).collect();
        let nodes: Vec<Redis> = rooms[..NODES].iter().map(Redis::start).collect();
        let serve = Serve::before(&rooms[NODES], nodes[0].address);
        let link = |from: usize, to: usize| {
            let upstream = nodes[to].address.to_string();
            let request = ProxyRequest { listen: "127.0.0.1:0".into(), upstream, ..ProxyRequest::default() };
            let proxy = serve.put_proxy(&format!("n{from}-to-n{to}"), &request).unwrap().proxy;
            proxy.listen.parse().unwrap()
        };
        let links =
            (0..NODES).map(|from| (0..NODES).map(|to| (from != to).then(|| link(from, to))).collect()).collect();
        let cluster = Cluster { nodes, links, serve, _rooms: rooms };
        for node in 0..NODES {
            let mut talk = cluster.talk(node);
            // whom others see is the node itself, not the proxy before it
            talk.tell(&["CONFIG", "SET", "replica-announce-ip", "127.0.0.1"]);
            talk.tell(&["CONFIG", "SET", "replica-announce-port", &cluster.nodes[node].address.port().to_string()]);
            talk.tell(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        }
        cluster.follow(1, 0);
        cluster.follow(2, 0);
        cluster.wait_for_replicas(0);
        cluster
    }

    fn talk(&self, node: usize) -> Talk {
        Talk::to(self.nodes[node].address)
    }

    /// `replica` replicates `primary` through squall.
    fn follow(&self, replica: usize, primary: usize) {
        let port = self.links[replica][primary].unwrap().port().to_string();
        self.talk(replica).tell(&["REPLICAOF", "127.0.0.1", &port]);
    }

    /// Waits until all others are in step with `primary`.
    #[track_caller]
    fn wait_for_replicas(&self, primary: usize) {
        let mut talks: Vec<Talk> = (0..NODES).map(|node| self.talk(node)).collect();
        wait::until("all replicas to be in step", || {
            let offset = talks[primary].info("master_repl_offset");
            let others = (0..NODES).filter(|node| *node != primary);
            let mut in_step = others.map(|node| {
                talks[node].info("master_link_status") == "up" && talks[node].info("slave_repl_offset") == offset
            });
            in_step.all(|is| is).then_some(())
        });
    }

    /// The numbers that each node has.
    fn contents(&self) -> Vec<BTreeSet<u64>> {
        let numbers = |node| {
            let Reply::List(keys) = self.talk(node).ask(&["KEYS", "*"]) else { panic!("KEYS is a list") };
            let number = |key: &Reply| match key {
                Reply::Text(key) => key.parse().unwrap(),
                key => panic!("{key:?} is no key"),
            };
            keys.iter().map(number).collect()
        };
        (0..NODES).map(numbers).collect()
    }

    /// What the ledger and the report of a run that is over say about its one fault.
    #[track_caller]
    fn is_on_record(&self, id: &str) {
        self.serve.over(id);
        let ledger = self.serve.ledger(id, "partition");
        assert!(!ledger.is_empty());
        for line in &ledger {
            for field in ["drawn", "scheduled", "achieved"] {
                assert!(line[field].as_u64().is_some(), "{field} in {line}");
            }
            assert!(line["proxy"].as_str().unwrap().contains("-to-"), "{line}");
        }
        let report = self.serve.client.report(id).unwrap();
        let values = report["faults"][0]["values"].as_array().unwrap();
        // what only the end of the run did (a reset of what had lost bytes) is counted as cut short, without figures
        let whole: Vec<_> = values.iter().filter(|value| value["count"] != value["cut_short"]).collect();
        assert!(!whole.is_empty(), "{report:#}");
        for field in ["drawn", "scheduled", "achieved"] {
            assert!(whole.iter().all(|value| value[field]["p50"].is_number()), "{field} in {values:#?}");
        }
        assert_eq!(report["residue"]["clean"], true, "{report:#}");
    }
}

/// A client that writes one number after the other, and asks after each whether a replica has it too.
struct Writer {
    primary: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    history: Arc<Mutex<Vec<Write>>>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(cluster: &Cluster) -> Writer {
        let addresses: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.address).collect();
        let (primary, over, history) = <(Arc<AtomicUsize>, Arc<AtomicBool>, Arc<Mutex<Vec<Write>>>)>::default();
        let (on, until, book) = (primary.clone(), over.clone(), history.clone());
        let thread = std::thread::spawn(move || {
            let mut talks: Vec<Talk> = addresses.into_iter().map(Talk::to).collect();
            for number in 0.. {
                if until.load(Ordering::SeqCst) {
                    return;
                }
                let node = on.load(Ordering::SeqCst);
                let answer = write(&mut talks[node], number);
                book.lock().unwrap().push(Write { number, node, told: Instant::now(), answer });
                std::thread::sleep(Duration::from_millis(2)); // so that the history stays short
            }
        });
        Writer { primary, over, history, thread }
    }

    /// Waits for so many more writes that a node has answered like this.
    #[track_caller]
    fn until(&self, n: usize, what: &str, answered: impl Fn(&Write) -> bool) {
        let from = self.history.lock().unwrap().len();
        wait::until(what, || {
            (self.history.lock().unwrap()[from..].iter().filter(|write| answered(write)).count() >= n).then_some(())
        });
    }

    /// The latest number that a node has acknowledged.
    fn latest(&self) -> u64 {
        let history = self.history.lock().unwrap();
        let acknowledged = |write: &&Write| matches!(write.answer, Answer::Acknowledged { .. });
        history.iter().rev().find(acknowledged).unwrap().number
    }

    /// Later writes go to this node.
    fn turn_to(&self, node: usize) {
        self.primary.store(node, Ordering::SeqCst);
        self.until(1, "a write to the new primary", |write| write.node == node);
    }

    fn end(self) -> Vec<Write> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        std::mem::take(&mut self.history.lock().unwrap())
    }
}

/// One write, and how many replicas have it within 40 ms.
fn write(talk: &mut Talk, number: u64) -> Answer {
    let number = number.to_string();
    match talk.ask(&["SET", &number, &number]) {
        Reply::Text(_) => {}
        _ => return Answer::Refused,
    }
    match talk.ask(&["WAIT", "1", "40"]) {
        Reply::Number(replicas) => Answer::Acknowledged { replicas: u64::try_from(replicas).unwrap() },
        _ => Answer::Unknown,
    }
}

fn safe(write: &Write) -> bool {
    matches!(write.answer, Answer::Acknowledged { replicas: 1.. })
}

fn alone(write: &Write) -> bool {
    write.answer == Answer::Acknowledged { replicas: 0 }
}

#[test]
fn one_way_partitions_of_the_replica_links_lose_nothing() {
    let cluster = Cluster::new();
    let writer = Writer::start(&cluster);
    let replica_has = |number: u64| cluster.talk(1).ask(&["EXISTS", &number.to_string()]) == Reply::Number(1);
    // towards the replicas: they lack what is written; towards the primary: they have it, and it does not know
    for (direction, how, arrives) in [("downstream", "hang", false), ("upstream", "drop", true)] {
        writer.until(20, "writes that a replica has confirmed", safe);
        let fault =
            format!("[[fault]]\nkind = 'partition'\nproxy = 'n*-to-n0'\ndirection = '{direction}'\nhow = '{how}'\n");
        let id = cluster.serve.start(&fault);
        writer.until(15, "writes that no replica confirms", alone);
        let number = writer.latest();
        if arrives {
            wait::until("the write to arrive at a replica", || replica_has(number).then_some(()));
        } else {
            assert!(!replica_has(number), "{number} has arrived across the partition");
        }
        cluster.serve.stop(&id);
        writer.until(20, "writes that a replica confirms again", safe);
        cluster.is_on_record(&id);
    }
    let history = writer.end();
    cluster.wait_for_replicas(0);
    let findings = check(&history, &cluster.contents(), &[]);
    assert!(findings.unexplained.is_empty() && findings.explained.is_empty(), "{findings:#?}");
    assert!(history.len() >= 90 && history.iter().all(|write| write.answer != Answer::Refused));
}

#[test]
fn a_fail_over_during_a_partition_loses_only_what_the_old_primary_took_alone() {
    let cluster = Cluster::new();
    // a primary without replicas for more than a second takes no more
    cluster.talk(0).tell(&["CONFIG", "SET", "min-replicas-to-write", "1", "min-replicas-max-lag", "1"]);
    let writer = Writer::start(&cluster);
    writer.until(20, "writes that a replica has confirmed", safe);

    let cut_off = Instant::now();
    let id = cluster.serve.start("[[fault]]\nkind = 'partition'\nproxy = '*'\ngroups = [['n0'], ['n1', 'n2']]\n");
    writer.until(5, "writes that the primary takes alone", alone);
    writer.until(5, "writes that it refuses", |write| write.answer == Answer::Refused);

    // as a sentinel would: the replica that has most
    let offset = |node| cluster.talk(node).info("slave_repl_offset").parse::<u64>().unwrap();
    let (promoted, other) = if offset(1) >= offset(2) { (1, 2) } else { (2, 1) };
    cluster.talk(promoted).tell(&["REPLICAOF", "NO", "ONE"]);
    cluster.follow(other, promoted);
    writer.turn_to(promoted);
    writer.until(20, "writes that the new primary's replica has confirmed", |write| {
        write.node == promoted && safe(write)
    });

    cluster.serve.stop(&id);
    let demoted = Instant::now();
    cluster.follow(0, promoted);
    writer.until(20, "writes after the partition", safe);
    let history = writer.end();
    cluster.wait_for_replicas(promoted);
    cluster.is_on_record(&id);

    let contents = cluster.contents();
    let findings = check(&history, &contents, &[Replaced { node: 0, cut_off, demoted }]);
    assert!(findings.unexplained.is_empty(), "{findings:#?}");
    assert!(findings.explained.len() >= 5, "what it took alone is lost, and the plan says so: {findings:#?}");
    let without_plan = check(&history, &contents, &[]).unexplained.len();
    assert_eq!(without_plan, findings.explained.len(), "without the plan each of them is a finding");
}
