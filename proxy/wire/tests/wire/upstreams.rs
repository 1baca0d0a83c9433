//! Where connections go: names, unix sockets, upstreams that are down or not allowed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use squall_core::observe::Ledger;
use squall_core::plane::{DataPlane, PlaneError};
use squall_wire::{Options, Plane};

use crate::support::*;

fn socket_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("squall-wire-{}-{name}", std::process::id()));
    let _not_there = std::fs::remove_file(&path);
    path
}

#[test]
fn an_upstream_that_is_down_ends_the_client() {
    let (plane, _records) = plane(1);
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(is_refused(open(&plane, unused)), "a clean end");
    assert_eq!(plane.reading("p").unwrap().connect_failed, 1);
    eventually("the connection is gone", || plane.connections() == 0);
}

#[test]
fn a_name_is_tried_at_all_its_addresses() {
    // localhost is ::1 and 127.0.0.1 on most machines: one of them refuses, whichever comes first
    for own in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(own) else { continue };
        let port = listener.local_addr().unwrap().port();
        let resolved = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", port)).unwrap();
        if !resolved.into_iter().any(|address| address == listener.local_addr().unwrap()) {
            continue;
        }
        let (plane, _records) = plane(1);
        let mut client = connect(open(&plane, format!("localhost:{port}")));
        client.write_all(b"x").unwrap();
        let mut server = bounded(listener.accept().unwrap().0);
        server.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_name_that_does_not_resolve_is_a_failed_connect() {
    let (plane, _records) = plane(1);
    assert!(is_refused(open(&plane, "no-such-host.invalid:80")));
    assert_eq!(plane.reading("p").unwrap().connect_failed, 1);
}

#[test]
fn addresses_that_are_not_allowed_are_not_dialled() {
    let (ledger, _records) = Ledger::new(16);
    let strict = Arc::new(AtomicBool::new(true));
    let rule = strict.clone();
    let allow = Arc::new(move |_: &str, _: &SocketAddr| match rule.load(Ordering::Relaxed) {
        true => Err("not here".to_owned()),
        false => Ok(()),
    });
    let plane = Plane::new(Options { workers: 1, allow, ..Options::new(ledger) }).unwrap();
    let upstream = echo();
    let by_name = format!("localhost:{}", upstream.port());
    assert_eq!(plane.open(&spec("p", upstream)), Err(PlaneError::Denied("not here".into())));
    // what a name stands for is looked at at every connect, and only there
    assert!(is_refused(open(&plane, &by_name)));
    plane.close("p").unwrap();
    strict.store(false, Ordering::Relaxed);
    let address = open(&plane, by_name);
    let mut client = connect(address);
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    strict.store(true, Ordering::Relaxed);
    assert!(is_refused(address));
    assert_eq!(plane.reading("p").unwrap().connect_failed, 1);
}

#[test]
fn unix_sockets_on_both_sides() {
    let (upstream, listen) = (socket_path("up"), socket_path("down"));
    let listener = UnixListener::bind(&upstream).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                echo_one(&stream, &stream, || drop(stream.shutdown(std::net::Shutdown::Write)));
            });
        }
    });
    drop(UnixListener::bind(&listen).unwrap()); // left behind by a process that is gone
    let (plane, _records) = plane(2);
    let mut proxy = spec("p", format!("unix:{}", upstream.display()));
    proxy.listen = format!("unix:{}", listen.display());
    let info = plane.open(&proxy).unwrap();
    assert_eq!((info.address, info.listen), (None, proxy.listen.clone()));
    assert!(matches!(
        plane.open(&squall_core::scenario::ProxySpec { name: "q".into(), ..proxy }),
        Err(PlaneError::Bind(..))
    ));
    let mut client = UnixStream::connect(&listen).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    let mut sent = vec![0; 3_000_000];
    pattern(0, &mut sent);
    let mut writer = client.try_clone().unwrap();
    let bytes = sent.clone();
    let sender = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    sender.join().unwrap();
    assert!(got == sent);
    plane.close("p").unwrap();
    assert!(!listen.exists());
    let _own = std::fs::remove_file(&upstream);
}

#[test]
fn ipv6_on_both_sides() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let (plane, _records) = plane(1);
    let mut proxy = spec("p", listener.local_addr().unwrap());
    proxy.listen = "[::1]:0".into();
    let mut client = connect(address(&plane.open(&proxy).unwrap()));
    client.write_all(b"x").unwrap();
    bounded(listener.accept().unwrap().0).read_exact(&mut [0]).unwrap();
}
