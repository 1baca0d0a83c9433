//! PROXY headers between real programs: HAProxy and nginx before squall, nginx behind it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::support::programs::{free_port, installed};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Room, Running, Serve, scenario};
use squall_control::app::Format;

/// A server that answers with the client's address and port, as the header says them: it takes no connection without one.
fn teller(room: &Room) -> (SocketAddr, Running) {
    nginx(room, "teller", |port| {
        format!(
            "http {{ access_log off; {} server {{ listen 127.0.0.1:{port} proxy_protocol;\n\
             location / {{ return 200 '$proxy_protocol_addr $proxy_protocol_port'; }} }} }}",
            temporary(room)
        )
    })
}

fn temporary(room: &Room) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    kinds.map(|kind| format!("{kind}_temp_path {};", room.path(kind).display())).join("\n")
}

fn nginx(room: &Room, name: &str, body: impl Fn(u16) -> String) -> (SocketAddr, Running) {
    listening(|port| {
        let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
        assert!(Path::new(module).exists(), "libnginx-mod-stream is missing; tests/run installs it");
        let pid = room.path(&format!("{name}.pid"));
        let text = format!(
            "load_module {module};\nuser root;\ndaemon off;\nmaster_process off;\npid {};\nerror_log stderr warn;\nevents {{}}\n{}\n",
            pid.display(),
            body(port)
        );
        let file = room.file(&format!("{name}.conf"), &text);
        let mut command = Command::new(installed("nginx"));
        command.args(["-c", &file, "-p"]).arg(room.directory()).args(["-e", "stderr"]);
        Running::start(&mut command)
    })
}

/// HAProxy before squall. `server`: how it speaks to it.
fn haproxy(room: &Room, squall: SocketAddr, server: &str) -> (SocketAddr, Running) {
    haproxy_with(room, "front", |port| format!("mode tcp\n bind 127.0.0.1:{port}\n server squall {squall} {server}"))
}

/// HAProxy as a [`teller`].
fn haproxy_teller(room: &Room) -> (SocketAddr, Running) {
    haproxy_with(room, "teller", |port| {
        let answer = "http-request return status 200 content-type text/plain lf-string '%[src] %[src_port]'";
        format!("mode http\n bind 127.0.0.1:{port} accept-proxy\n {answer}")
    })
}

fn haproxy_with(room: &Room, name: &str, listen: impl Fn(u16) -> String) -> (SocketAddr, Running) {
    listening(|port| {
        let text = format!(
            "defaults\n timeout connect 20s\n timeout client 60s\n timeout server 60s\nlisten {name}\n {}\n",
            listen(port)
        );
        let mut command = Command::new(installed("haproxy"));
        Running::start(command.args(["-db", "-f", &room.file(&format!("{name}.cfg"), &text)]))
    })
}

/// Starts a program on a port that is free until somebody else takes it.
fn listening(start: impl Fn(u16) -> Running) -> (SocketAddr, Running) {
    for _ in 0..5 {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut program = start(address.port());
        let up = wait::until("a program to listen", || match TcpStream::connect(address) {
            Ok(_) => Some(true),
            Err(_) => (!program.is_running()).then_some(false),
        });
        if up {
            return (address, program);
        }
        assert!(program.printed().to_lowercase().contains("in use"), "{}", program.printed());
    }
    panic!("no port could be had");
}

/// A connection from an address of this machine's loopback network.
fn from(client: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What an HTTP server answers, without its head; none: the connection was reset.
fn ask(mut stream: &TcpStream) -> Option<String> {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    Some(body.trim().to_owned())
}

/// The fields of squall's proxy, which believes the loopback network.
fn believing(upstream: SocketAddr, send: &str) -> String {
    format!(
        "listen = '127.0.0.1:0'\nupstream = '{upstream}'\n\
         proxy_protocol = {{ accept_from = ['127.0.0.1'], send = '{send}' }}"
    )
}

fn own(stream: &TcpStream) -> String {
    stream.local_addr().unwrap().to_string().replace(':', " ")
}

#[test]
fn a_client_of_haproxy_is_known_to_whoever_is_behind_squall() {
    let room = Room::new();
    let tellers = [teller(&room), haproxy_teller(&room)];
    for (behind, send) in tellers.iter().flat_map(|(address, _)| [(*address, "v1"), (*address, "v2")]) {
        let squall = Serve::with(room.command::<&str>(&[]), &room, "", &believing(behind, send));
        for server in ["send-proxy", "send-proxy-v2"] {
            let (front, _haproxy) = haproxy(&room, squall.address, server);
            for last in [7, 8] {
                let client = from(Ipv4Addr::new(127, 0, 33, last), front);
                assert_eq!(ask(&client), Some(own(&client)), "{server}, then {send} to {behind}");
            }
        }
        assert_eq!(squall.client.proxies().unwrap()[0].misheaded, 0);
    }
}

#[test]
fn a_client_of_nginx_is_known_to_nginx_behind_squall() {
    let room = Room::new();
    let (behind, _behind) = teller(&room);
    let squall = Serve::with(room.command::<&str>(&[]), &room, "", &believing(behind, "v2"));
    let (front, _front) = nginx(&room, "front", |port| {
        format!("stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass {}; proxy_protocol on; }} }}", squall.address)
    });
    let client = from(Ipv4Addr::new(127, 0, 33, 9), front);
    assert_eq!(ask(&client), Some(own(&client)));
}

#[test]
fn health_checks_of_haproxy_speak_for_themselves() {
    let room = Room::new();
    let (nginx, _nginx) = teller(&room);
    let squall = Serve::with(room.command::<&str>(&[]), &room, "", &believing(nginx, "v1"));
    for server in ["send-proxy check inter 50ms", "send-proxy-v2 check inter 50ms"] {
        let before = squall.client.proxies().unwrap()[0].accepted;
        let (front, haproxy) = haproxy(&room, squall.address, server);
        wait::until("some checks", || (squall.client.proxies().unwrap()[0].accepted >= before + 6).then_some(()));
        let client = from(Ipv4Addr::new(127, 0, 33, 1), front);
        assert_eq!(ask(&client), Some(own(&client)));
        assert!(!haproxy.printed().contains("is DOWN"), "{}", haproxy.printed());
    }
    assert_eq!(squall.client.proxies().unwrap()[0].misheaded, 0);
}

#[test]
fn a_fault_by_client_hits_the_clients_of_a_load_balancer_one_by_one() {
    let room = Room::new();
    let (nginx, _nginx) = teller(&room);
    let squall = Serve::with(room.command::<&str>(&[]), &room, "", &believing(nginx, "v1"));
    let (front, _haproxy) = haproxy(&room, squall.address, "send-proxy-v2");
    let text = scenario("clients", &["kind = 'reset'\nkey = 'client'\npercentage = 50"]);
    let id = squall.client.submit(&text, Format::Toml, &[]).unwrap().id;
    squall.client.start(&id, Some("60s")).unwrap();
    let clients: Vec<Ipv4Addr> = (1..=24).map(|last| Ipv4Addr::new(127, 0, 44, last)).collect();
    let hit = |client: &Ipv4Addr| ask(&from(*client, front)).is_none();
    let first: Vec<bool> = clients.iter().map(hit).collect();
    let again: Vec<bool> = clients.iter().map(hit).collect();
    assert_eq!(first, again, "a client has one fate");
    assert!(first.contains(&true) && first.contains(&false), "they are told apart: {first:?}");
    squall.stop(&id);
    squall.over(&id);
    let lines = squall.ledger(&id, "reset");
    let on_record: Vec<&str> = lines.iter().filter_map(|line| line["client"].as_str()).collect();
    for (client, hit) in clients.iter().zip(first) {
        let is_there = on_record.iter().any(|text| text.starts_with(&format!("{client}:")));
        assert_eq!(is_there, hit, "{client} in {on_record:?}");
    }
}
