//! The end under load, and descriptors that run out.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::programs::{installed, run};
use crate::support::redis::{Redis, ping};
use crate::support::wait;
use crate::support::{Room, Running, Serve};

fn connect(to: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(to).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connection
}

#[test]
fn sigterm_under_load_lifts_faults_and_lets_connections_finish() {
    let room = Room::new();
    let redis = Redis::start(&room);
    let mut squall = Serve::before(&room, redis.address);
    squall.start("[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndelay = \"1s\"\n");
    // 50 at a time and a second each: 80 s, if the fault stayed
    let mut benchmark = Command::new(installed("redis-benchmark"));
    let port = squall.address.port().to_string();
    benchmark.args(["-p", &port, "-c", "50", "-n", "4000", "-t", "set", "-q"]);
    let mut benchmark = Running::start(&mut benchmark);
    wait::until("held answers", || {
        let held = squall.client.list().unwrap()[0].faults[0].tally.held;
        (held >= 40).then_some(())
    });
    let began = Instant::now();
    squall.program.signal(rustix::process::Signal::TERM);
    assert_eq!(benchmark.code_within(Duration::from_secs(9)), 0, "{}", benchmark.printed());
    assert!(!benchmark.printed().contains("Error"), "{}", benchmark.printed());
    assert_eq!(squall.program.code_within(Duration::from_secs(9)), 0, "{}", squall.program.printed());
    println!("all was over {:?} after SIGTERM", began.elapsed());
    assert!(TcpStream::connect(squall.address).is_err(), "nobody listens any more");
}

#[test]
fn sigterm_ends_connections_that_never_finish() {
    let room = Room::new();
    let redis = Redis::start(&room);
    let mut squall = Serve::before(&room, redis.address);
    let mut idle = connect(squall.address);
    ping(&mut idle).unwrap();
    assert_eq!(squall.end(Duration::from_secs(20)), 0, "{}", squall.program.printed());
    assert!(ping(&mut idle).is_err());
}

/// Opens more connections than there can be, and shows that the rest wait and are served later.
fn fills_up(squall: &Serve) {
    let mut all: Vec<TcpStream> = (0..300).map(|_| connect(squall.address)).collect();
    let active = || squall.client.proxies().unwrap()[0].active;
    let most = wait::until("descriptors to run out", || {
        let now = active();
        std::thread::sleep(Duration::from_millis(700)); // longer than any wait between two attempts to accept
        Some(now).filter(|now| *now > 10 && active() == *now)
    });
    assert!(most < 200, "{most} connections");
    println!("{most} of {} connections are served", all.len());

    // it says what it can say, and can be told to stop
    for _ in 0..20 {
        assert_eq!(squall.client.status().unwrap().proxies.len(), 1);
    }
    squall.client.abort_all().unwrap();

    // those in the queue get their turn as others leave
    let mut served = 0;
    while served < 250 {
        for mut connection in all.drain(..all.len().min(20)) {
            ping(&mut connection).unwrap();
            served += 1;
        }
    }
}

#[test]
fn with_descriptors_exhausted_accepting_pauses_and_goes_on_later() {
    let room = Room::new();
    let redis = Redis::start(&room);
    let workers = std::thread::available_parallelism().unwrap().get();
    let mut command = Command::new(installed("prlimit"));
    command.arg(format!("--nofile={}", 300 + 80 * workers)).args(["--", env!("CARGO_BIN_EXE_squall")]);
    fills_up(&Serve::through(command, &room, "127.0.0.1:0", redis.address));
}

#[test]
fn when_the_limit_falls_open_connections_stay_and_new_ones_come_again() {
    let room = Room::new();
    let redis = Redis::start(&room);
    let squall = Serve::before(&room, redis.address);
    let mut served: Vec<TcpStream> = (0..40).map(|_| connect(squall.address)).collect();
    served.iter_mut().for_each(|connection| ping(connection).unwrap());
    let pid = squall.program.pid().as_raw_nonzero().to_string();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limit = format!("--nofile={}", open + 10);
    run(Command::new(installed("prlimit")).args(["--pid", &pid, &limit]));

    // far more than there is room for, even when all those served have left
    let more: Vec<TcpStream> = (0..60).map(|_| connect(squall.address)).collect();
    for _ in 0..20 {
        assert_eq!(squall.client.status().unwrap().proxies.len(), 1);
    }
    squall.client.abort_all().unwrap();
    served.iter_mut().for_each(|connection| ping(connection).unwrap());

    // room for some: each of the others has its turn as those before it leave, or has been turned away at once, having been
    // accepted when there was no descriptor for its upstream. Nobody is forgotten
    drop(served);
    let turns = more.into_iter().map(|mut waiting| ping(&mut waiting));
    let (later, away): (Vec<_>, Vec<_>) = turns.partition(Result::is_ok);
    let is_end = |kind| matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof);
    assert!(away.iter().flat_map(|turn| turn.as_ref().err()).all(|error| is_end(error.kind())), "{away:?}");
    assert!(!later.is_empty(), "all 60 were turned away");
    wait::until("room for a new connection", || ping(&mut connect(squall.address)).ok());
}

#[test]
fn runs_that_are_over_and_drafts_leave_no_descriptor_open() {
    let room = Room::new();
    let redis = Redis::start(&room);
    let squall = Serve::before(&room, redis.address);
    // but for the pipes that workers keep for splicing: whatever carries much makes some, up to a limit
    let is_kept = |to: &std::path::Path| to.to_string_lossy().starts_with("pipe:");
    let open = || {
        let pid = squall.program.pid().as_raw_nonzero();
        let all = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let targets = all.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        targets.filter(|to| !is_kept(to)).count()
    };
    let fault = "[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndelay = \"1ms\"\n";
    let run = || {
        let id = squall.start(fault);
        ping(&mut connect(squall.address)).unwrap();
        squall.stop(&id);
        squall.over(&id);
        assert!(!squall.ledger(&id, "latency").is_empty());
    };
    run();
    let before = open();
    (0..8).for_each(|_| run());
    for _ in 0..8 {
        squall
            .client
            .submit(
                &format!("name = \"draft\"\nmax_duration = \"60s\"\n{fault}"),
                squall_control::app::Format::Toml,
                &[],
            )
            .unwrap();
    }
    wait::until("descriptors to be closed", || (open() <= before).then_some(()));
}
