//! down: nobody listens, until it is lifted; the port stays squall's.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::namespace::Namespace;
use crate::support::programs::{installed, run};
use crate::support::{End, GOVERNED, Room, Running, Serve, Stage, echo, round_trip, scenario, wait};

/// What the kernel says to who connects.
fn knock(address: SocketAddr) -> Result<TcpStream, ErrorKind> {
    TcpStream::connect(address).map_err(|error| error.kind())
}

#[track_caller]
fn is_shut(address: SocketAddr) {
    wait::until("the listener to be shut", || match knock(address) {
        Err(ErrorKind::ConnectionRefused) => Some(()),
        Err(ErrorKind::ConnectionReset) | Ok(_) => None, // it was in the queue when the listener was shut
        Err(other) => panic!("{other:?}"),
    });
}

#[test]
fn clients_are_refused_by_the_kernel_and_open_connections_closed() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let address = stage.serve.address;
    let trial = stage.start("kind = 'down'");
    assert_eq!((line.client.end(), line.server.end()), (End::Fin, End::Fin));
    is_shut(address);
    for _ in 0..20 {
        assert_eq!(knock(address).unwrap_err(), ErrorKind::ConnectionRefused);
    }
    // nobody else can have the port meanwhile
    assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
    let everywhere = SocketAddr::from(([0, 0, 0, 0], address.port()));
    assert_eq!(TcpListener::bind(everywhere).unwrap_err().kind(), ErrorKind::AddrInUse);
    trial.stop();
    stage.live_line();
    let ledger = trial.ledger("down");
    let of = |what: &str| ledger.iter().filter(|line| line["what"] == what).count();
    assert_eq!((of("closed"), of("unlistened"), of("down")), (1, 1, 1), "{ledger:#?}");
    let down = ledger.iter().find(|line| line["what"] == "down").unwrap();
    assert!(down["achieved"].as_u64().unwrap() > 0 && down["client"].is_null());
}

#[test]
fn it_comes_back_with_its_window_each_time() {
    let stage = Stage::new();
    let address = stage.serve.address;
    let trial = stage.start("kind = 'down'\nat = '300ms'\nfor = '400ms'\nevery = '1s'\ntimes = 2");
    for _ in 0..2 {
        is_shut(address);
        let shut = Instant::now();
        wait::until("it to listen again", || knock(address).ok());
        assert!(shut.elapsed() < Duration::from_secs(5), "{:?}", shut.elapsed());
    }
    trial.stop();
    let ledger = trial.ledger("down");
    let down: Vec<_> = ledger.iter().filter(|line| line["what"] == "down").collect();
    assert_eq!(down.len(), 2, "{ledger:#?}");
    for line in down {
        let ns = |field: &str| line[field].as_u64().unwrap();
        assert!((300_000_000..=400_000_000).contains(&ns("scheduled")), "{line}");
        assert!(ns("achieved") >= ns("scheduled") && line["released"] == false, "{line}");
    }
}

#[test]
fn it_comes_back_when_its_starter_falls_silent() {
    let stage = Stage::new();
    let address = stage.serve.address;
    let submitted =
        stage.serve.client.submit(&scenario("orphan", &["kind = 'down'"]), squall_control::app::Format::Toml, &[]);
    let id = submitted.unwrap().id;
    stage.serve.client.start(&id, None).unwrap(); // nobody renews its lease of 2 s
    is_shut(address);
    wait::until("it to listen again", || knock(address).ok());
    stage.serve.over(&id);
}

#[test]
fn an_abort_of_everything_opens_it_under_a_load_of_connects() {
    let stage = Stage::new();
    let address = stage.serve.address;
    let _trial = stage.start("kind = 'down'");
    is_shut(address);
    let stop = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _either = knock(address);
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
        })
        .collect();
    stage.squall(&["abort"]);
    wait::until("it to listen again", || knock(address).ok());
    stop.store(true, Ordering::Relaxed);
    crowd.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn a_unix_socket_refuses_likewise_and_comes_back() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let room = Room::new();
    let serve = Serve::before(&room, upstream.local_addr().unwrap());
    let path = room.path("door.sock");
    let listen = format!("unix:{}", path.display());
    let text = format!(
        "{GOVERNED}name = 'test'\nseed = 1\nmax_duration = '60s'\n[[proxy]]\nname = 'local'\nlisten = '{listen}'\nupstream = '{}'\n\
         [[fault]]\nkind = 'down'\nproxy = 'local'\nat = '300ms'\nfor = '500ms'\n",
        upstream.local_addr().unwrap()
    );
    let id = serve.client.submit(&text, squall_control::app::Format::Toml, &[]).unwrap().id;
    serve.client.start(&id, Some("60s")).unwrap();
    let knock = || UnixStream::connect(&path).map_err(|error| error.kind());
    wait::until("it to refuse", || (knock().err() == Some(ErrorKind::ConnectionRefused)).then_some(()));
    wait::until("it to come back", || knock().ok());
    serve.stop(&id);
    serve.over(&id);
    assert!(!path.exists() && !room.path("door.sock.down").exists(), "a file is left");
}

#[test]
fn with_latency_the_latency_goes_on_after_it() {
    let room = Room::new();
    let serve = Serve::before(&room, echo());
    let (proxy, address) = ("proxy = 'default'", serve.address);
    let id = serve.start(&format!(
        "[[fault]]\nkind = 'down'\n{proxy}\nfor = '300ms'\n[[fault]]\nkind = 'latency'\n{proxy}\ndelay = '120ms'\n"
    ));
    is_shut(address);
    wait::until("it to listen again", || knock(address).ok());
    let began = Instant::now();
    round_trip(&address.to_string()).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(120));
    serve.stop(&id);
}

/// Connects sixty times without waiting, then waits for the end of each; prints how many were refused, and how many ended.
const CROWD: &str = r#"
import errno, select, socket, sys, time
sockets = []
for _ in range(60):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", int(sys.argv[1])))
    sockets.append(s)
print("knocked", flush=True)
left, refused, ended, until = set(sockets), 0, 0, time.monotonic() + 60
while left and time.monotonic() < until:
    ready = select.select(list(left), list(left), [], 1)
    for s in set(ready[0] + ready[1]):
        error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error == errno.ECONNREFUSED:
            refused += 1
        elif error:
            ended += 1
        else:
            try:
                if s.recv(1):
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            ended += 1
        left.discard(s)
        s.close()
    time.sleep(0.01)
print("left", len(left), "refused", refused, "ended", ended, flush=True)
"#;

/// More knock than the kernel lets wait, while squall is stopped: the rest of them is still trying when it goes down.
#[test]
fn nobody_is_left_hanging_before_a_queue_that_is_full() {
    let network = Namespace::new();
    network.run("echo 8 > /proc/sys/net/core/somaxconn");
    let room = Room::new();
    let peer = |words: &[&str]| {
        let mut command = network.command(installed("python3"));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/peer.py")).args(words);
        command
    };
    let upstream = Running::start(peer(&["serve", "7000"]).stdin(Stdio::piped()));
    upstream.wait_for("ready");
    let squall =
        Serve::through(network.command(env!("CARGO_BIN_EXE_squall")), &room, "127.0.0.1:7001", "127.0.0.1:7000");
    let id = squall.start("[[fault]]\nkind = 'down'\nproxy = 'default'\nat = '5s'\n");
    squall.program.signal(Signal::STOP);
    let mut crowd = network.command(installed("python3"));
    let crowd = Running::start(crowd.args(["-c", CROWD, "7001"]));
    crowd.wait_for("knocked");
    let waiting = run(network.command(installed("ss")).args(["-Hltn", "sport = :7001"]));
    let waiting: u32 = waiting.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(waiting >= 8, "{waiting} wait to be accepted: the queue is not full");
    std::thread::sleep(Duration::from_secs(5)); // until it is time to go down
    squall.program.signal(Signal::CONT);
    let ends = crowd.wait_for("left ");
    let words: Vec<&str> = ends.split(' ').collect();
    let [left, refused, ended] = [words[0], words[2], words[4]].map(|count| count.parse::<u32>().unwrap());
    assert_eq!((left, refused + ended), (0, 60), "{ends}");
    assert!(refused >= 30 && ended >= 8, "{ends}");
    squall.stop(&id);
    assert!(run(&mut peer(&["ask", "127.0.0.1", "7001"])).starts_with("127.0.0.1 "), "it listens again");
    squall.over(&id);
    let ledger = squall.ledger(&id, "down");
    let of = |what: &str| ledger.iter().filter(|line| line["what"] == what).count();
    assert_eq!((of("unlistened"), of("down")), (1, 1), "{ledger:#?}");
}
