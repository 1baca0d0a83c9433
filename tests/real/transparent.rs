//! Transparent proxies, between networks that the test makes: clients, a router with squall on it, servers. Works without
//! privilege, since the networks are the test's own.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, getuid, kill_process};

use crate::support::namespace::Namespace;
use crate::support::programs::{installed, run, run_within};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Room, Running, Serve};

/// What squall listens on in the router, for both families.
const PORT: u16 = 15_001;
/// The server's port that rules bring to squall, and one that they leave alone.
const CAUGHT: &str = "7000";
const FREE: &str = "7001";
const SERVER: &str = "10.77.2.2";
const SERVER_V6: &str = "fd77:2::2";
const ALLOW: &str = "allow_upstreams = ['10.77.2.0/24', 'fd77:2::/64']\ndeny_upstreams = ['10.77.2.3']";

/// The three networks.
struct Networks {
    client: Namespace,
    router: Namespace,
    #[allow(dead_code)] // kept
    server: Namespace,
    #[allow(dead_code)] // kept
    serving: Running,
}

impl Networks {
    fn new() -> Networks {
        let router = Namespace::new();
        let (client, server) = (router.beside(), router.beside());
        router.run(&format!(
            "ip link add r1 type veth peer name c0 netns {}; ip link add r2 type veth peer name s0 netns {}
             echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
             ip addr add 10.77.1.1/24 dev r1; ip addr add fd77:1::1/64 dev r1 nodad; ip link set r1 up
             ip addr add 10.77.2.1/24 dev r2; ip addr add fd77:2::1/64 dev r2 nodad; ip link set r2 up",
            client.pid(),
            server.pid()
        ));
        client.run(
            "ip addr add 10.77.1.2/24 dev c0; ip addr add fd77:1::2/64 dev c0 nodad; ip link set c0 up
             ip route add default via 10.77.1.1; ip -6 route add default via fd77:1::1",
        );
        server.run(
            "ip addr add 10.77.2.2/24 dev s0; ip addr add 10.77.2.3/24 dev s0; ip addr add fd77:2::2/64 dev s0 nodad
             ip link set s0 up; ip route add default via 10.77.2.1; ip -6 route add default via fd77:2::1",
        );
        let mut serving = peer(&server, &["serve", CAUGHT, FREE]);
        let serving = Running::start(serving.stdin(std::process::Stdio::piped()));
        serving.wait_for("ready");
        Networks { client, router, server, serving }
    }

    fn squall(&self, room: &Room, fields: &str) -> Serve {
        let command = self.router.command(env!("CARGO_BIN_EXE_squall"));
        let proxy = format!("listen = '[::]:{PORT}'\nupstream = 'original'\n{fields}");
        Serve::with(command, room, ALLOW, &proxy)
    }

    /// Rules of nftables in the router, as docs/transparent.md has them.
    fn rules(&self, rules: &str) {
        self.router.run(&format!("{} -f - <<'END'\n{rules}\nEND", installed("nft").display()));
    }

    /// The address that the server sees, and how long a word took, ms; none: no connection.
    #[track_caller]
    fn ask(&self, from: &Namespace, to: &str, port: &str) -> Option<(String, u64)> {
        asked(&run(&mut peer(from, &["ask", to, port])))
    }
}

fn peer(within: &Namespace, words: &[&str]) -> Command {
    let mut command = within.command(installed("python3"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/peer.py")).args(words);
    command
}

fn asked(printed: &str) -> Option<(String, u64)> {
    let (seen, ms) = printed.trim().split_once(' ')?;
    Some((seen.to_owned(), ms.parse().unwrap()))
}

/// A rule file of docs/transparent.md, with the placeholders of its head filled in.
fn recipe(name: &str, fill: &[(&str, &str)]) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/transparent.md");
    let page = std::fs::read_to_string(page).unwrap();
    let start = page.find(&format!("# {name}\n")).unwrap_or_else(|| panic!("no recipe `{name}`"));
    let (rules, _) = page[start..].split_once("```").unwrap();
    fill.iter().fold(rules.to_owned(), |rules, (from, to)| {
        assert!(rules.contains(from), "{from} in {rules}");
        rules.replace(from, to)
    })
}

#[track_caller]
fn accepted(squall: &Serve) -> u64 {
    squall.client.proxies().unwrap()[0].accepted
}

#[test]
fn redirected_connections_go_on_to_where_they_were_meant_for() {
    let (room, nets) = (Room::new(), Networks::new());
    let squall = nets.squall(&room, "transparent = 'redirect'");
    nets.rules(&recipe("redirect.nft", &[("eth0", "r1"), ("443", CAUGHT)]));
    for (to, router) in [(SERVER, "10.77.2.1"), (SERVER_V6, "fd77:2::1")] {
        assert_eq!(nets.ask(&nets.client, to, CAUGHT).unwrap().0, router, "squall makes the connection");
    }
    assert_eq!(accepted(&squall), 2);
    assert_eq!(nets.ask(&nets.client, SERVER, FREE).unwrap().0, "10.77.1.2", "the rules leave it alone");
    assert_eq!(accepted(&squall), 2);

    // faults act as on any proxy, on open connections too, and an abort lifts them
    let mut held = Running::start(peer(&nets.client, &["hold", SERVER, CAUGHT]).stdin(std::process::Stdio::piped()));
    held.wait_for("connected");
    let id = squall.start("[[fault]]\nkind = 'latency'\nproxy = 'default'\ndirection = 'both'\ndelay = '150ms'\n");
    let (_, ms) = nets.ask(&nets.client, SERVER, CAUGHT).unwrap();
    assert!(ms >= 300, "{ms} ms");
    assert!(said(&mut held, "one") >= 300);
    squall.stop(&id);
    assert!(said(&mut held, "two") < 300);
    squall.over(&id);
    let lines = squall.ledger(&id, "latency");
    assert!(lines.iter().all(|line| line["client"].as_str().unwrap().contains("10.77.1.2")), "{lines:?}");

    // what nobody redirected, and what the rules of squall refuse
    let before = squall.client.proxies().unwrap()[0].accepted;
    for to in ["10.77.1.1", "fd77:1::1"] {
        assert_eq!(nets.ask(&nets.client, to, &PORT.to_string()), None, "a connection to the listener itself");
    }
    assert_eq!(nets.ask(&nets.client, "10.77.2.3", CAUGHT), None, "deny_upstreams holds");
    assert_eq!(accepted(&squall), before + 3, "nothing went round");

    // taken away, the rules leave everything as it was
    nets.rules("delete table inet squall");
    assert_eq!(nets.ask(&nets.client, SERVER, CAUGHT).unwrap().0, "10.77.1.2");
}

#[test]
fn an_upstream_is_told_who_was_redirected_and_where_to() {
    let (room, nets) = (Room::new(), Networks::new());
    let _squall = nets.squall(&room, "transparent = 'redirect'\nproxy_protocol = { send = 'v1' }");
    nets.rules(&recipe("redirect.nft", &[("eth0", "r1"), ("443", CAUGHT)]));
    for (to, told) in [(SERVER, "PROXY TCP4 10.77.1.2 10.77.2.2 "), (SERVER_V6, "PROXY TCP6 fd77:1::2 fd77:2::2 ")] {
        let heard = run(&mut peer(&nets.client, &["heard", to, CAUGHT])); // the server sends back what it gets
        assert!(heard.starts_with(told) && heard.trim().ends_with(&format!(" {CAUGHT}")), "{heard}");
    }
}

/// Has the client that holds a connection say a word; how long it took, ms.
fn said(held: &mut Running, word: &str) -> u64 {
    held.say(word);
    held.wait_for(&format!("{word} ")).parse().unwrap()
}

#[test]
fn what_the_kernel_hands_over_goes_on_in_the_name_of_its_client() {
    let (room, nets) = (Room::new(), Networks::new());
    let squall = nets.squall(&room, "transparent = 'tproxy'\nsource = 'client'");
    nets.router.run(&recipe("tproxy.sh", &[]));
    nets.rules(&recipe("tproxy.nft", &[("eth0", "r1"), ("443", CAUGHT)]));
    for (to, client) in [(SERVER, "10.77.1.2"), (SERVER_V6, "fd77:1::2")] {
        assert_eq!(nets.ask(&nets.client, to, CAUGHT).unwrap().0, client, "the server sees the client");
    }
    assert_eq!(accepted(&squall), 2);
    let id = squall.start("[[fault]]\nkind = 'latency'\nproxy = 'default'\ndirection = 'both'\ndelay = '150ms'\n");
    assert!(nets.ask(&nets.client, SERVER, CAUGHT).unwrap().1 >= 300);
    squall.stop(&id);
    assert!(nets.ask(&nets.client, SERVER, CAUGHT).unwrap().1 < 300);
    let before = accepted(&squall);
    for to in ["10.77.1.1", "fd77:1::1"] {
        assert_eq!(nets.ask(&nets.client, to, &PORT.to_string()), None, "a connection to the listener itself");
    }
    assert_eq!(nets.ask(&nets.client, "10.77.2.3", CAUGHT), None, "deny_upstreams holds");
    assert_eq!(accepted(&squall), before + 3, "nothing went round");
    nets.rules("delete table inet squall");
    nets.router.run(&recipe("tproxy-undo.sh", &[]));
    assert_eq!(nets.ask(&nets.client, SERVER, CAUGHT).unwrap().0, "10.77.1.2");
    assert_eq!(accepted(&squall), before + 3);
}

#[test]
fn without_the_capability_it_does_not_start_and_says_what_it_needs() {
    let (room, router) = (Room::new(), Namespace::new());
    for (field, what) in [
        ("upstream = 'original'\ntransparent = 'tproxy'", "transparent = \"tproxy\""),
        ("upstream = '127.0.0.1:1'\nmark = 7", "mark"),
        ("upstream = '127.0.0.1:1'\nsource = 'client'", "source"),
    ] {
        let config =
            format!("[control]\nlisten = '127.0.0.1:0'\n[[proxy]]\nname = 'a'\nlisten = '127.0.0.1:0'\n{field}\n");
        let mut command = router.command(installed("setpriv"));
        command.args([
            "--inh-caps=-net_admin,-net_raw",
            "--bounding-set=-net_admin,-net_raw",
            "--",
            env!("CARGO_BIN_EXE_squall"),
        ]);
        command.args(["serve", "--config", &room.file("a.toml", &config)]).env("XDG_RUNTIME_DIR", room.directory());
        let (code, printed) = run_within(&mut command, PATIENCE);
        assert_eq!(code, 2, "{printed}");
        assert!(printed.contains(&format!("`{what}` needs the capability CAP_NET_RAW")), "{printed}");
    }
}

#[test]
fn programs_of_this_machine_are_redirected_and_squall_itself_is_not() {
    let (room, nets) = (Room::new(), Networks::new());
    let squall = nets.squall(&room, "transparent = 'redirect'\nmark = 7");
    nets.rules(&recipe("output-mark.nft", &[("443", CAUGHT)]));
    for (to, router) in [(SERVER, "10.77.2.1"), (SERVER_V6, "fd77:2::1")] {
        assert_eq!(nets.ask(&nets.router, to, CAUGHT).unwrap().0, router);
    }
    assert_eq!(accepted(&squall), 2, "one for each, and none of squall's own");
}

#[test]
fn the_user_that_rules_leave_alone_is_not_redirected() {
    let (room, nets) = (Room::new(), Networks::new());
    let squall = nets.squall(&room, "transparent = 'redirect'");
    // in this network the only user is squall's own, and whoever comes from outside counts as another
    nets.rules(&recipe("output-user.nft", &[("443", CAUGHT), ("squall-user", "0")]));
    assert_eq!(nets.ask(&nets.router, SERVER, CAUGHT).unwrap().0, "10.77.2.1");
    assert_eq!(accepted(&squall), 0, "a program of that user");
    if getuid().is_root() {
        // only root may join a network without its user namespace, and so come as somebody else
        let mut command = Command::new(installed("nsenter"));
        command.args(["--target", &nets.router.pid().to_string(), "--net", "--"]).arg(installed("setpriv"));
        let ask = format!("exec 3<>/dev/tcp/{SERVER}/{CAUGHT}; read -r seen <&3; echo \"$seen 0\"");
        command.args(["--reuid=65534", "--clear-groups", "--", "bash", "-euc", &ask]);
        assert_eq!(asked(&run(&mut command)).unwrap().0, "10.77.2.1");
        assert_eq!(accepted(&squall), 1, "a program of another user");
    }
}

#[test]
fn connections_of_squall_that_are_redirected_back_to_it_do_not_go_round() {
    let (room, nets) = (Room::new(), Networks::new());
    let squall = nets.squall(&room, "transparent = 'redirect'");
    // a rule without any exception
    nets.rules(&recipe("output-mark.nft", &[("443", CAUGHT), ("meta mark != 7", "")]));
    for to in [SERVER, SERVER_V6] {
        let before = accepted(&squall);
        assert_eq!(nets.ask(&nets.router, to, CAUGHT), None);
        wait::until("it to end", || (squall.client.proxies().unwrap()[0].active == 0).then_some(()));
        let came = accepted(&squall) - before;
        assert!((2..=6).contains(&came), "{came} connections");
    }
}

#[test]
fn rules_that_hang_on_squall_go_with_it_however_it_ends() {
    let (room, nets) = (Room::new(), Networks::new());
    let rules = recipe("redirect.nft", &[("eth0", "r1"), ("443", CAUGHT)]);
    let rules = room.file("rules.nft", &rules.replacen("{\n", "{\n    flags owner\n", 1));
    let script = recipe("owned.sh", &[("squall serve", "squall")]);
    let mut command = nets.router.command("sh");
    let squall = Path::new(env!("CARGO_BIN_EXE_squall")).parent().unwrap();
    command.env("PATH", format!("{}:/usr/sbin:/sbin:{}", squall.display(), std::env::var("PATH").unwrap()));
    command.env("SQUALL_CONTROL", format!("unix:{}", room.path("control").display()));
    command.args(["-c", &script, "owned.sh", &rules]);
    let proxy = format!("listen = '[::]:{PORT}'\nupstream = 'original'\ntransparent = 'redirect'");
    let serve = Serve::with(command, &room, ALLOW, &proxy);
    let seen = |wanted: &str| {
        wait::until(&format!("connections from {wanted}"), || {
            nets.ask(&nets.client, SERVER, CAUGHT).filter(|(seen, _)| seen == wanted).map(drop)
        });
    };
    seen("10.77.2.1"); // the rules are there
    let shell = serve.program.pid();
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.as_raw_nonzero())).unwrap();
    let is_squall = |pid: &&str| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim() == "squall";
    let squall = children.split_whitespace().find(is_squall).unwrap().parse().unwrap();
    kill_process(Pid::from_raw(squall).unwrap(), Signal::KILL).unwrap();
    seen("10.77.1.2"); // they are gone, and connections go as if squall had never been
}
