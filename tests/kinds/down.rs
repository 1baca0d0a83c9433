//! down: nobody listens, until it is lifted; the port stays squall's.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{End, Room, Serve, Stage, echo, round_trip, scenario, wait};

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
        "name = 'test'\nseed = 1\nmax_duration = '60s'\n[[proxy]]\nname = 'local'\nlisten = '{listen}'\nupstream = '{}'\n\
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
