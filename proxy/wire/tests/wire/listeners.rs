//! Proxies opened, changed and closed; limits.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use squall_core::plane::{DataPlane, PlaneError};

use crate::support::*;

fn ping(stream: &mut TcpStream) {
    stream.write_all(b"ping").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
}

#[test]
fn changes_leave_open_connections_alone() {
    let (plane, _records) = plane(2);
    let mut proxy = spec("p", echo());
    let first = address(&plane.open(&proxy).unwrap());
    let mut before = connect(first);
    ping(&mut before);

    let other = server(|mut stream| stream.write_all(b"other").unwrap());
    proxy.upstream = other.to_string();
    assert_eq!(address(&plane.change(&proxy).unwrap()), first);
    let mut greeting = String::new();
    connect(first).read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "other");

    proxy.listen = "127.0.0.2:0".into();
    let second = address(&plane.change(&proxy).unwrap());
    assert!(TcpStream::connect_timeout(&first, LONG).is_err());
    connect(second).read_exact(&mut [0; 5]).unwrap();
    ping(&mut before);
    eventually("only the first is open", || plane.reading("p").unwrap().active == 1);
    assert_eq!(plane.reading("p").unwrap().accepted, 3);

    plane.close("p").unwrap();
    assert!(TcpStream::connect_timeout(&second, LONG).is_err());
    ping(&mut before);
    assert!(plane.reading("p").is_none() && plane.proxies().is_empty());
    assert_eq!(plane.close("p"), Err(PlaneError::Unknown("p".into())));
    assert!(matches!(plane.change(&proxy), Err(PlaneError::Unknown(_))));

    // the port is free again at once
    proxy.listen = first.to_string();
    proxy.upstream = echo().to_string();
    eventually("bound again", || plane.open(&proxy).is_ok());
    ping(&mut connect(first));
}

#[test]
fn what_can_not_be_is_refused() {
    let (plane, _records) = plane(1);
    let taken = echo();
    let mut proxy = spec("p", taken);
    proxy.listen = taken.to_string();
    assert!(matches!(plane.open(&proxy), Err(PlaneError::Bind(..))));
    proxy.listen = "nonsense".into();
    assert!(matches!(plane.open(&proxy), Err(PlaneError::Bind(..))));
    let first = open(&plane, taken);
    assert_eq!(plane.open(&spec("p", taken)), Err(PlaneError::Exists("p".into())));
    assert!(matches!(plane.change(&spec("p", first)), Err(PlaneError::Loop(_))));
    // p -> q -> p
    let second = address(&plane.open(&spec("q", first)).unwrap());
    assert!(matches!(plane.change(&spec("p", second)), Err(PlaneError::Loop(_))));
    assert!(matches!(plane.change(&spec("p", "nonsense")), Err(PlaneError::Denied(_))));
    ping(&mut connect(second));
}

#[test]
fn connections_beyond_the_limit_are_reset() {
    let (plane, _records) = plane(2);
    let mut proxy = spec("p", echo());
    proxy.max_connections = Some(2);
    let address = address(&plane.open(&proxy).unwrap());
    let mut first = connect(address);
    ping(&mut first);
    let mut second = connect(address);
    ping(&mut second);
    assert!(is_refused(address));
    eventually("counted", || plane.reading("p").unwrap().refused == 1);
    drop(first);
    eventually("one has left", || plane.reading("p").unwrap().active == 1);
    ping(&mut connect(address));
    ping(&mut second);
}

#[test]
fn those_who_wait_at_a_listener_outlive_it() {
    use std::sync::Mutex;
    let busy = Arc::new(Mutex::new(()));
    let stop = busy.clone();
    let (ledger, _records) = squall_core::observe::Ledger::new(16);
    let allow = Arc::new(move |_: &str, _: &SocketAddr| {
        drop(stop.lock().unwrap()); // the worker stands still here
        Ok(())
    });
    let plane =
        squall_wire::Plane::new(squall_wire::Options { workers: 1, allow, ..squall_wire::Options::new(ledger) })
            .unwrap();
    let mut proxy = spec("p", echo());
    for moved in [false, true] {
        let first = address(&plane.open(&proxy).unwrap());
        let still = busy.lock().unwrap();
        let mut crowd: Vec<_> = (0..20).map(|_| connect(first)).collect();
        if moved {
            drop(still); // a change asks whether the upstream is allowed
            proxy.listen = "127.0.0.2:0".into();
            plane.change(&proxy).unwrap();
        } else {
            plane.close("p").unwrap();
            drop(still);
        }
        assert!(TcpStream::connect_timeout(&first, LONG).is_err());
        crowd.iter_mut().for_each(ping);
    }
}

/// What the kernel says to who connects.
fn knock(address: SocketAddr) -> Option<ErrorKind> {
    TcpStream::connect_timeout(&address, LONG).err().map(|error| error.kind())
}

#[test]
fn two_hundred_ups_and_downs_lose_no_listener() {
    let (plane, _records) = plane(2);
    let address = open(&plane, echo());
    let stop = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect_timeout(&address, LONG) else {
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    };
                    stream.set_read_timeout(Some(LONG)).unwrap();
                    let _either = stream.write_all(b"ping").and_then(|()| stream.read_exact(&mut [0; 4]));
                }
            })
        })
        .collect();
    for _ in 0..200 {
        publish(&plane, vec![active(&plane, Script::Down)]);
        assert_eq!(knock(address), Some(ErrorKind::ConnectionRefused));
        carried_out(&plane, plane.cell().publish(Arc::default()));
        ping(&mut connect(address));
    }
    stop.store(true, Ordering::Relaxed);
    crowd.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(plane.panics(), 0);
}

#[test]
fn a_listener_that_moves_or_is_closed_while_it_is_shut() {
    let (plane, _records) = plane(2);
    let mut proxy = spec("p", echo());
    let first = address(&plane.open(&proxy).unwrap());
    publish(&plane, vec![active(&plane, Script::Down)]);
    assert!(plane.is_shut(first));
    proxy.listen = "127.0.0.2:0".into();
    let second = address(&plane.change(&proxy).unwrap());
    eventually("the new one is shut too", || knock(second) == Some(ErrorKind::ConnectionRefused));
    carried_out(&plane, plane.cell().abort_all());
    ping(&mut connect(second));
    assert!(TcpStream::connect_timeout(&first, LONG).is_err());
    publish(&plane, vec![active(&plane, Script::Down)]);
    plane.close("p").unwrap();
    carried_out(&plane, plane.cell().abort_all());
    assert_eq!(knock(second), Some(ErrorKind::ConnectionRefused), "closed for good");
}

#[test]
fn connections_are_shared_out() {
    let (plane, _records) = plane(2);
    let address = open(&plane, echo());
    let mut all: Vec<_> = (0..40).map(|_| connect(address)).collect();
    all.iter_mut().for_each(ping);
    assert_eq!(plane.connections(), 40);
    // each worker tells how many it lets go
    let fault = active(&plane, Script::Stall);
    publish(&plane, vec![fault.clone()]);
    all.iter_mut().for_each(|stream| stream.write_all(b"ping").unwrap());
    eventually("all are held", || fault.tally.read().held == 40);
    carried_out(&plane, plane.cell().abort_all());
    let shares: Vec<_> = plane.cell().shards().iter().map(|shard| shard.released.load(Ordering::Acquire)).collect();
    assert!(shares.iter().all(|share| *share >= 15) && shares.iter().sum::<u64>() == 40, "{shares:?}");
}

#[test]
fn shutting_down_waits_for_connections_and_lifts_faults() {
    let (plane, _records) = plane(1);
    let address = open(&plane, echo());
    let fault = active(&plane, Script::Stall);
    publish(&plane, vec![fault.clone()]);
    let mut client = connect(address);
    client.write_all(b"held").unwrap();
    eventually("held", || fault.tally.read().held == 1);
    let reader = std::thread::spawn(move || {
        let mut got = [0; 4];
        client.read_exact(&mut got).unwrap();
        got
    });
    plane.shutdown(Duration::from_secs(20));
    assert_eq!(&reader.join().unwrap(), b"held");
    assert_eq!(plane.connections(), 0);
    assert_eq!(plane.open(&spec("p", address)), Err(PlaneError::Gone));
}

/// In a process of its own, because the limit on descriptors is the process's.
#[test]
fn running_out_of_descriptors_pauses_accepting() {
    const CHILD: &str = "SQUALL_WIRE_TEST_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "listeners::running_out_of_descriptors_pauses_accepting"])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let upstream = echo();
    let (plane, _records) = plane(1);
    let address = open(&plane, upstream);
    let mut first = connect(address);
    ping(&mut first);
    // the plane has reckoned with more descriptors than there will be
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = Some(used + 40);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let mut crowd = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        crowd.push(stream);
    }
    assert!(crowd.len() > 5);
    let busy = cpu_time();
    std::thread::sleep(Duration::from_millis(500));
    assert!(cpu_time() - busy < Duration::from_millis(250), "a busy loop");
    ping(&mut first);
    drop(crowd);
    eventually("it accepts again", || {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, LONG) else { return false };
        let _bounded = stream.set_read_timeout(Some(Duration::from_secs(2)));
        stream.write_all(b"ping").is_ok() && stream.read_exact(&mut [0; 4]).is_ok()
    });
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
