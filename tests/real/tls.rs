//! TLS between real programs: openssl and curl before squall, openssl and PostgreSQL behind it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::postgres::Postgres;
use crate::support::programs::{free_port, installed, run_within};
use crate::support::tls::{certificate, curl, web_server};
use crate::support::wait::{self, PATIENCE};
use crate::support::{End, Line, Peer, Room, Serve, pattern};

fn serve(room: &Room, fields: &str) -> Serve {
    Serve::with(room.command::<&str>(&[]), room, "", &format!("listen = \"127.0.0.1:0\"\n{fields}"))
}

/// Answers every connection with one HTTP answer, in the clear.
fn plain_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut asked = Vec::new();
                let mut part = [0; 4096];
                while !asked.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut part) {
                        Ok(n) if n > 0 => asked.extend_from_slice(&part[..n]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
            });
        }
    });
    address
}

#[test]
fn certificates_are_issued_for_the_names_that_are_asked_for() {
    let room = Room::new();
    let fields = format!("upstream = \"{}\"\ntls = {{ mode = \"terminate\", issue = true }}", plain_server());
    let squall = serve(&room, &fields);
    let state = room.path("state").display().to_string();
    let ca = room.squall(&["ca", "--state", &state]).exits(0).out.trim().to_owned();
    for name in ["localhost", "api.example.com", "127.0.0.1"] {
        assert_eq!(curl(name, squall.address, &["--cacert", &ca]), (0, "hello".into()), "{name}");
    }
    let (code, said) = curl("api.example.com", squall.address, &[]);
    assert_eq!(code, 60, "nobody else trusts it: {said}");
    let view = wait::until("the failure to be counted", || {
        Some(squall.client.proxies().unwrap().remove(0)).filter(|view| view.tls_client_failed > 0)
    });
    assert_eq!((view.tls_client_failed, view.hello_refused), (1, 0));
}

#[test]
fn each_flaw_is_what_a_client_says_it_is() {
    let room = Room::new();
    let fields = format!(
        "upstream = \"{}\"\ntls = {{ mode = \"terminate\", issue = true, alpn = [\"http/1.1\"] }}",
        plain_server()
    );
    let squall = serve(&room, &fields);
    let state = room.path("state").display().to_string();
    let ca = room.squall(&["ca", "--state", &state]).exits(0).out.trim().to_owned();
    let trusting = ["--cacert", &ca];
    for (flaw, said) in [
        ("expired", "certificate has expired"),
        ("not_yet_valid", "certificate is not yet valid"),
        ("wrong_name", "no alternative certificate subject name matches"),
        ("untrusted", "unable to get local issuer certificate"),
        ("missing_intermediate", "unable to get local issuer certificate"),
        ("wrong_alpn", "no application protocol"),
        ("alert", "handshake failure"),
    ] {
        let fault = format!(
            "[[fault]]\nkind = \"tls\"\nproxy = \"default\"\nflaw = \"{flaw}\"\nmatch = {{ sni = \"*.example.com\" }}\n"
        );
        let id = squall.start(&fault);
        let (code, told) = curl("api.example.com", squall.address, &trusting);
        assert_ne!(code, 0, "{flaw}: {told}");
        assert!(told.contains(said), "{flaw}: {told}");
        assert_eq!(curl("localhost", squall.address, &trusting), (0, "hello".into()), "{flaw}: not meant");
        squall.stop(&id);
        assert_eq!(curl("api.example.com", squall.address, &trusting), (0, "hello".into()), "{flaw}: lifted");
        squall.over(&id);
        let ledger = squall.ledger(&id, "tls");
        assert_eq!(ledger.len(), 1, "{flaw}: {ledger:?}");
    }
    let view = squall.client.proxies().unwrap().remove(0);
    assert_eq!(view.tls_client_failed, 0, "injected failures are none of the client's");
}

#[test]
fn a_handshake_stalls_until_its_fault_is_lifted() {
    let room = Room::new();
    let fields = format!("upstream = \"{}\"\ntls = {{ mode = \"terminate\", issue = true }}", plain_server());
    let squall = serve(&room, &fields);
    let id = squall.start("[[fault]]\nkind = \"tls\"\nproxy = \"default\"\nflaw = \"stall\"\n");
    let address = squall.address;
    let asking = std::thread::spawn(move || curl("localhost", address, &["--insecure"]));
    wait::until("the handshake to be held", || {
        let held = squall.client.view(&id).unwrap().faults[0].tally.held;
        (held == 1).then_some(())
    });
    squall.stop(&id);
    assert_eq!(asking.join().unwrap(), (0, "hello".into()));
}

#[test]
fn certificate_files_are_read_anew() {
    let room = Room::new();
    let (cert, key) = certificate(&room, "one", "DNS:one.example");
    let fields = format!(
        "upstream = \"{}\"\ntls = {{ mode = \"terminate\", cert = \"one.pem\", key = \"one.key\" }}",
        plain_server()
    );
    let squall = serve(&room, &fields);
    let old = room.file("old.pem", &std::fs::read_to_string(&cert).unwrap());
    assert_eq!(curl("one.example", squall.address, &["--cacert", &old]), (0, "hello".into()));
    std::fs::write(&key, "this is no key").unwrap();
    assert_eq!(curl("one.example", squall.address, &["--cacert", &old]), (0, "hello".into()), "the old one stays");
    let (cert, _) = certificate(&room, "one", "DNS:two.example");
    let new = cert.display().to_string();
    wait::until("the new certificate to be shown", || {
        (curl("two.example", squall.address, &["--cacert", &new]).0 == 0).then_some(())
    });
}

#[test]
fn rules_select_by_the_hello_that_goes_through() {
    let room = Room::new();
    let (cert, key) = certificate(&room, "localhost", "DNS:localhost,DNS:api.example.com");
    let (upstream, _server) = web_server(&cert, &key, &["-alpn", "http/1.1"]);
    let squall = serve(&room, &format!("upstream = \"{upstream}\"\ntls = {{ mode = \"passthrough\" }}"));
    let roots = cert.display().to_string();
    let trusting = ["--cacert", &roots];
    assert_eq!(curl("localhost", squall.address, &trusting).0, 0);
    let id = squall.start(
        "[[fault]]\nname = \"named\"\nkind = \"reset\"\nproxy = \"default\"\nmatch = { sni = \"*.example.com\" }\n\
         [[fault]]\nname = \"offered\"\nkind = \"tls\"\nproxy = \"default\"\nflaw = \"alert\"\nalert = \"access_denied\"\n\
         match = { sni = \"localhost\", alpn = [\"h2\"] }\n",
    );
    let (code, said) = curl("api.example.com", squall.address, &trusting);
    assert!(code == 35 && said.contains("reset"), "{code} {said}");
    let (code, said) = curl("localhost", squall.address, &trusting);
    assert!(code == 35 && said.contains("access denied"), "{code} {said}");
    assert_eq!(curl("localhost", squall.address, &["--cacert", &roots, "--http1.1"]).0, 0, "no h2 is offered");
    squall.stop(&id);
    assert_eq!(curl("api.example.com", squall.address, &trusting).0, 0);
}

#[test]
fn what_does_not_begin_as_tls_does_is_refused_and_counted() {
    let room = Room::new();
    let fields = "upstream = \"127.0.0.1:1\"\nconnect_timeout = \"300ms\"\ntls = { mode = \"passthrough\" }";
    let squall = serve(&room, fields);
    let mut refused = 0;
    let too_long = [&[22, 3, 1, 0x40, 0, 1, 1, 0, 0][..], &[0; 40_000]].concat();
    let in_crumbs: Vec<u8> =
        [1, 0, 0, 200].into_iter().chain([0; 196]).flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &too_long, &in_crumbs, &[22, 3, 1], &[22, 3, 1, 0, 4, 2, 0, 0, 0]] {
        let mut client = TcpStream::connect(squall.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let _reset_already = client.write_all(bytes);
        let ended = client.read(&mut [0]);
        assert!(!matches!(ended, Ok(1)), "{ended:?}");
        refused += 1;
        wait::until("the refusal to be counted", || {
            (squall.client.proxies().unwrap()[0].hello_refused == refused).then_some(())
        });
    }
    drop(TcpStream::connect(squall.address).unwrap()); // who only looks has said nothing wrong
    let view = wait::until("all to be gone", || {
        Some(squall.client.proxies().unwrap().remove(0)).filter(|view| view.active == 0 && view.accepted > refused)
    });
    assert_eq!(view.hello_refused, refused);
}

#[test]
fn the_upstream_is_spoken_to_under_tls_and_held_to_its_name() {
    let room = Room::new();
    let (cert, key) = certificate(&room, "server", "DNS:db.example");
    let (client_cert, client_key) = certificate(&room, "client", "DNS:client.example");
    let verify = ["-Verify", "1", "-verify_return_error", "-CAfile", &client_cert.display().to_string()];
    let (upstream, _server) = web_server(&cert, &key, &verify);
    let tls = |more: &str| format!("upstream = \"{upstream}\"\nupstream_tls = {{ roots = \"server.pem\"{more} }}");
    let pair = format!(", cert = {:?}, key = {:?}", client_cert, client_key);
    let ask = |fields: &str| {
        let room_of_its_own = Room::new();
        for file in ["server.pem", "client.pem", "client.key"] {
            std::fs::copy(room.path(file), room_of_its_own.path(file)).unwrap();
        }
        let squall = serve(&room_of_its_own, fields);
        let mut client = TcpStream::connect(squall.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut said = Vec::new();
        let whole = client.read_to_end(&mut said).is_ok();
        (whole, String::from_utf8_lossy(&said).into_owned(), squall.client.proxies().unwrap()[0].tls_server_failed)
    };
    let (_, said, failed) = ask(&tls(&format!(", server_name = \"db.example\"{pair}")));
    assert!(said.contains("200 ok") && failed == 0, "{said}");
    let (whole, said, failed) = ask(&tls(&pair));
    assert!(!whole && said.is_empty() && failed == 1, "another name: {said}");
}

#[test]
fn postgres_comes_to_tls_in_its_own_way() {
    let room = Room::new();
    let postgres = Postgres::start(&room);
    let upstream = postgres.address;
    let ask = |address: SocketAddr, mode: &str| {
        let mut psql = Command::new(installed("psql"));
        let server = format!("host=localhost hostaddr=127.0.0.1 port={} user=postgres {mode}", address.port());
        psql.args(["--no-psqlrc", "-qtA", "-c", "select ssl from pg_stat_ssl where pid = pg_backend_pid()", &server]);
        let (code, said) = run_within(psql.env("PGCONNECT_TIMEOUT", "20"), PATIENCE);
        (code, said.trim().to_owned())
    };
    // squall ends TLS, and the database is spoken to in the clear
    let ended = Room::new();
    let fields = format!("upstream = \"{upstream}\"\ntls = {{ mode = \"terminate\", issue = true }}");
    let ending = serve(&ended, &fields);
    let ca = room.squall(&["ca", "--state", &ended.path("state").display().to_string()]).exits(0).out;
    let verified = format!("sslmode=verify-full sslrootcert={}", ca.trim());
    assert_eq!(ask(ending.address, &verified), (0, "f".into()));
    let id = ending.start("[[fault]]\nkind = \"tls\"\nproxy = \"default\"\nflaw = \"wrong_name\"\n");
    let (code, said) = ask(ending.address, &verified);
    assert!(code == 2 && said.contains("does not match host name"), "{code} {said}");
    ending.stop(&id);

    // the database speaks TLS itself
    let (cert, key) = certificate(&room, "database", "DNS:localhost");
    postgres.speaks_tls(&cert, &key);
    let roots = format!("sslmode=verify-full sslrootcert={}", cert.display());
    let through = Room::new();
    let passing = serve(&through, &format!("upstream = \"{upstream}\"\ntls = {{ mode = \"passthrough\" }}"));
    assert_eq!(ask(passing.address, &roots), (0, "t".into()));
    let id = passing.start("[[fault]]\nkind = \"reset\"\nproxy = \"default\"\nmatch = { sni = \"localhost\" }\n");
    assert_eq!(ask(passing.address, &roots).0, 2);
    passing.stop(&id);
    let begun = Room::new();
    let tls = format!("upstream_tls = {{ roots = {cert:?}, server_name = \"localhost\", postgres = true }}");
    let beginning = serve(&begun, &format!("upstream = \"{upstream}\"\n{tls}"));
    assert_eq!(ask(beginning.address, "sslmode=disable"), (0, "t".into()));
}

/// Two proxies, one behind the other: the first begins TLS, and the second, whose faults are beneath it, ends it.
struct Tunnel {
    squall: Serve,
    server: TcpListener,
    _room: Room,
}

impl Tunnel {
    fn new() -> Tunnel {
        let room = Room::new();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let squall = serve(
            &room,
            &format!(
                "upstream = \"{between}\"\nupstream_tls = {{ verify = false }}\n\
                 [[proxy]]\nname = \"inner\"\nlisten = \"{between}\"\nupstream = \"{}\"\n\
                 tls = {{ mode = \"terminate\", issue = true }}",
                server.local_addr().unwrap()
            ),
        );
        Tunnel { squall, server, _room: room }
    }

    fn line(&self) -> Line {
        let client = Peer::new(TcpStream::connect(self.squall.address).unwrap());
        Line { client, server: Peer::new(self.server.accept().unwrap().0) }
    }

    /// On the bytes beneath TLS.
    fn start(&self, fault: &str) -> String {
        self.squall.start(&format!("[[fault]]\nproxy = \"inner\"\n{fault}\n"))
    }
}

#[test]
fn both_directions_and_their_ends_go_through_tls() {
    let tunnel = Tunnel::new();
    let mut line = tunnel.line();
    line.works();
    // more than the buffers on the way hold, and one side closed while the other goes on
    let bytes = pattern(8 << 20);
    let saying = line.client.say_aside(bytes.clone());
    assert_eq!(line.server.hear(bytes.len()), bytes);
    saying.join().unwrap();
    line.client.finish();
    assert_eq!(line.server.end(), End::Fin);
    let saying = line.server.say_aside(bytes.clone());
    assert_eq!(line.client.hear(bytes.len()), bytes);
    saying.join().unwrap();
    drop(line.server);
    assert_eq!(line.client.end(), End::Fin);

    let mut line = tunnel.line();
    line.works();
    line.server.abort();
    assert_eq!(line.client.end(), End::Reset, "what broke off is no clean end");
    let mut line = tunnel.line();
    line.works();
    line.client.abort();
    assert_eq!(line.server.end(), End::Reset);
}

#[test]
fn faults_on_bytes_act_beneath_tls() {
    let tunnel = Tunnel::new();
    let mut line = tunnel.line();
    line.works();
    let id = tunnel.start("kind = \"latency\"\ndelay = \"60ms\"");
    let began = Instant::now();
    line.works();
    assert!(began.elapsed() >= Duration::from_millis(60));
    let mut late = tunnel.line(); // its handshake waits too
    late.works();
    tunnel.squall.stop(&id);
    let tally = tunnel.squall.over(&id).faults[0].tally;
    assert!(tally.selected >= 2 && tally.injected >= 4, "{tally:?}");

    // what is held goes on when it is lifted
    let id = tunnel.start("kind = \"partition\"\nhow = \"hang\"");
    line.client.say(b"held");
    wait::until("the bytes to be held", || {
        (tunnel.squall.client.view(&id).unwrap().faults[0].tally.held > 0).then_some(())
    });
    assert!(line.server.is_silent_for(50));
    tunnel.squall.stop(&id);
    assert_eq!(line.server.hear(4), b"held");
    line.works();

    let id = tunnel.start("kind = \"cut\"\nafter = \"256KiB\"\ndirection = \"downstream\"\nhow = \"reset\"");
    let mut cut = tunnel.line();
    cut.works();
    let saying = cut.server.say_aside(pattern(1 << 20));
    let (came, end) = cut.client.rest();
    saying.join().unwrap();
    assert!(came.len() < 256 << 10 && came == pattern(1 << 20)[..came.len()], "{} bytes", came.len());
    assert_eq!(end, End::Reset, "half of it is not told as all of it");
    tunnel.squall.stop(&id);
    assert_eq!(tunnel.squall.over(&id).faults[0].tally.injected, 1);
}
