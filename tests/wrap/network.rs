//! Where it goes and where it does not: private addresses, the proxy of a network, whom it vouches for.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::wrapped::{Wrap, saying};
use crate::support::namespace::Namespace;
use crate::support::tls;

#[test]
fn private_addresses_are_refused_whatever_name_they_have() {
    let wrap = Wrap::new();
    for place in ["10.0.0.1", "169.254.169.254", "[::1]", "127.0.0.1", "[fd00::1]", "2130706433"] {
        let script = format!("curl -sS --noproxy '' --max-time 20 https://{place}/ -w '%{{http_connect}}'");
        let ended = wrap.run(&["sh", "-c", &script]);
        assert!(ended.out.ends_with("403"), "{place}: {ended:?}");
    }
    // a name that is this machine's own
    let ended = wrap.run(&["curl", "-sS", "--noproxy", "", "http://localhost:9/"]).exits(0);
    assert!(ended.out.contains("private, link-local and metadata addresses"), "{ended:?}");
}

#[test]
fn a_stand_in_can_not_be_where_clouds_keep_credentials() {
    Wrap::new().with(&["--map", "api.stripe.com=169.254.169.254:80"]).run(&["true"]).exits(2).says("169.254.169.254");
}

#[test]
fn this_machine_is_reached_past_it() {
    let api = saying("{}");
    let url = format!("http://{}/x", api.address);
    Wrap::new().run(&["curl", "-sS", &url]).exits(0).says("{}");
    assert_eq!(api.news().len(), 1);
}

#[test]
fn its_ca_is_the_project_s_alone_and_vouches_for_opened_hosts_only() {
    let wrap = Wrap::new();
    wrap.run(&["true"]).exits(0);
    let found = std::fs::read_dir(wrap.room.path("project")).unwrap().map(|entry| entry.unwrap().path());
    let ca = found.into_iter().next().unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&ca.join("ca-key.pem")), 0o600);
    assert_eq!(mode(&wrap.room.path("project")), 0o700);
    let text =
        Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(ca.join("ca.pem")).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("Name Constraints: critical") && text.contains("DNS:api.stripe.com"), "{text}");
    // the same hosts have the same CA, others another
    wrap.run(&["true"]).exits(0);
    assert_eq!(std::fs::read_dir(wrap.room.path("project")).unwrap().count(), 1);
    let other = wrap.with(&["--only", "api.elsewhere.test"]);
    other.run(&["true"]).exits(0);
    assert_eq!(std::fs::read_dir(other.room.path("project")).unwrap().count(), 2);
}

#[test]
fn what_is_not_opened_is_a_tunnel_to_the_server_s_own_certificate() {
    let network = Namespace::new();
    network.run("ip address add 203.0.113.5/32 dev lo");
    let wrap = Wrap::new();
    let (cert, key) = tls::certificate(&wrap.room, "server", "IP:203.0.113.5");
    let mut server = network.command(crate::support::programs::installed("openssl"));
    server.args(["s_server", "-www", "-accept", "203.0.113.5:443"]).arg("-cert").arg(&cert).arg("-key").arg(&key);
    let server = crate::support::Running::start(&mut server);
    server.wait_for("ACCEPT");
    let script = format!("curl -sS --cacert {} https://203.0.113.5/", cert.display());
    let mut inner = wrap.command(&["sh", "-c", &script]);
    let mut command = network.command(inner.get_program());
    command.args(inner.get_args()).current_dir(inner.get_current_dir().unwrap());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    inner.stdin(std::process::Stdio::null());
    let ended = crate::support::Ended::of(&command.output().unwrap()).exits(0);
    assert!(ended.out.contains("s_server"), "{ended:?}");
}

/// A proxy of a network: it knows one host, where that is, and whom it lets through.
fn corporate(to: std::net::SocketAddr) -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let kept = seen.clone();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut reader = BufReader::new(client.try_clone().unwrap());
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                    break;
                }
                head.push(line.trim_end().to_owned());
            }
            kept.lock().unwrap().extend(head);
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let mut server = TcpStream::connect(to).unwrap();
            let (mut back, mut there) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back, &mut there));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut client, &mut server);
                let _ = server.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    (address, seen)
}

#[test]
fn it_goes_out_through_the_network_s_proxy_and_believes_the_network_s_ca() {
    let wrap = Wrap::new();
    let (cert, key) = tls::certificate(&wrap.room, "inner", "DNS:api.stripe.com");
    let (server, _running) = tls::web_server(&cert, &key, &[]);
    let (proxy, seen) = corporate(server);
    let url = format!("http://ann:hunter2@{proxy}");
    let wrap = wrap.set("HTTPS_PROXY", &url).set("REQUESTS_CA_BUNDLE", cert.to_str().unwrap());
    let ended = wrap.run(&["curl", "-sS", "https://api.stripe.com/"]).exits(0);
    assert!(ended.out.contains("s_server"), "{ended:?}");
    let seen = seen.lock().unwrap().clone();
    assert!(seen.contains(&"CONNECT api.stripe.com:443 HTTP/1.1".to_owned()), "{seen:?}");
    assert!(seen.contains(&"Proxy-Authorization: Basic YW5uOmh1bnRlcjI=".to_owned()), "{seen:?}");
    assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"), "{ended:?}");
}

#[test]
fn a_proxy_that_it_can_not_speak_with_is_told() {
    Wrap::new().set("HTTPS_PROXY", "socks5://127.0.0.1:1080").run(&["true"]).exits(2).says("socks5");
}
