//! Five nodes, each linked with each through squall: faults cut groups of them from each other, in the shapes that
//! Jepsen's nemeses know.

use std::net::{SocketAddr, TcpListener, TcpStream};

use squall_control::api::ProxyRequest;

use crate::support::{GOVERNED, Peer, Room, Serve, wait};

const NODES: usize = 5;

/// A connection that node `from` has opened to node `to`, over the proxy `n<from>-to-n<to>`.
struct Link {
    from: usize,
    to: usize,
    client: Peer,
    server: Peer,
}

impl Link {
    /// A word each way; what node `a` sends to node `b` arrives unless `cut(a, b)`.
    #[track_caller]
    fn try_it(&mut self, cut: impl Fn(usize, usize) -> bool) {
        self.client.say(b"a");
        self.server.say(b"b");
        let ways = [(&mut self.server, cut(self.from, self.to)), (&mut self.client, cut(self.to, self.from))];
        for (listener, cut) in ways {
            if cut {
                listener.hears_nothing_for(10);
            } else {
                listener.hear(1);
            }
        }
    }

    /// What did not arrive is delivered, and the link works.
    #[track_caller]
    fn has_healed(&mut self, cut: impl Fn(usize, usize) -> bool) {
        self.server.hear(usize::from(cut(self.from, self.to)));
        self.client.hear(usize::from(cut(self.to, self.from)));
        self.try_it(|_, _| false);
    }
}

/// Five nodes and their twenty links.
struct Cluster {
    serve: Serve,
    links: Vec<Link>,
    _room: Room,
}

impl Cluster {
    fn new() -> Cluster {
        let room = Room::new();
        let nodes: Vec<TcpListener> = (0..NODES).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let serve = Serve::before(&room, nodes[0].local_addr().unwrap());
        let mut links = Vec::new();
        for (to, node) in (1..).zip(&nodes) {
            for from in (1..=NODES).filter(|from| *from != to) {
                let upstream = node.local_addr().unwrap().to_string();
                let request = ProxyRequest { listen: "127.0.0.1:0".into(), upstream, ..ProxyRequest::default() };
                let proxy = serve.put_proxy(&format!("n{from}-to-n{to}"), &request).unwrap().proxy;
                let address: SocketAddr = proxy.listen.parse().unwrap();
                let client = Peer::new(TcpStream::connect(address).unwrap());
                links.push(Link { from, to, client, server: Peer::new(node.accept().unwrap().0) });
            }
        }
        let mut cluster = Cluster { serve, links, _room: room };
        cluster.links.iter_mut().for_each(|link| link.try_it(|_, _| false));
        cluster
    }

    /// Runs partitions between these groups until `cut` has been seen to hold for every pair, and heals them.
    #[track_caller]
    fn partition(&mut self, groups: &[&str], cut: impl Fn(usize, usize) -> bool) {
        let faults: String = (1..)
            .zip(groups)
            .map(|(n, groups)| {
                format!("[[fault]]\nname = 'part-{n}'\nkind = 'partition'\nproxy = '*'\ngroups = {groups}\n")
            })
            .collect();
        let id = self.serve.start(&faults);
        let links = self.links.iter().filter(|link| cut(link.from, link.to) || cut(link.to, link.from)).count();
        let met = || self.serve.client.view(&id).unwrap().faults.iter().map(|fault| fault.tally.eligible).sum::<u64>();
        wait::until("the links that are to be cut", || (met() == links as u64).then_some(()));
        self.links.iter_mut().for_each(|link| link.try_it(&cut));
        self.serve.stop(&id);
        self.links.iter_mut().for_each(|link| link.has_healed(&cut));
    }
}

#[test]
fn one_node_alone_a_minority_a_bridge_and_a_ring_of_majorities() {
    let mut cluster = Cluster::new();
    let one = |a: usize, b: usize| (a == 1) != (b == 1);
    cluster.partition(&["[['n1'], ['n2', 'n3', 'n4', 'n5']]"], one);
    let minority = |a: usize, b: usize| (a <= 2) != (b <= 2);
    cluster.partition(&["[['n1', 'n2'], ['n3', 'n4', 'n5']]"], minority);
    let bridge = |a: usize, b: usize| a != 3 && b != 3 && (a < 3) != (b < 3);
    cluster.partition(&["[['n1', 'n2'], ['n4', 'n5']]"], bridge);
    let ring = |a: usize, b: usize| [2, 3].contains(&a.abs_diff(b));
    cluster.partition(&["[['n1'], ['n3', 'n4']]", "[['n2'], ['n4', 'n5']]", "[['n3'], ['n5']]"], ring);
}

#[test]
fn one_way_nothing_of_what_the_first_group_sends_arrives_whoever_has_connected() {
    let mut cluster = Cluster::new();
    cluster.partition(&["[['n1', 'n2'], ['n3', 'n4', 'n5']]\none_way = true"], |a, b| a <= 2 && b > 2);
}

#[test]
fn groups_that_no_running_proxy_links_are_refused() {
    let cluster = Cluster::new();
    let fault = "[[fault]]\nkind = 'partition'\nproxy = 'n1-*'\ngroups = [['n2'], ['n3']]\n";
    let text = format!("{GOVERNED}name = \"test\"\nmax_duration = \"60s\"\n\n{fault}");
    let refused = cluster.serve.client.submit(&text, squall_control::app::Format::Toml, &[]).unwrap_err();
    assert!(format!("{refused:?}").contains("nothing would be cut"), "{refused:?}");
}
