use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use squall_drill::view::State;

use super::support::{Port, Program, limits, port, port_with, scratch};
use crate::api::ProxyRequest;
use crate::app::Format;
use crate::client::{Client, ClientError};
use crate::place::{self, Place};
use crate::server::{Server, Settings};

fn everything(port: &Port) {
    let client = Client::new(port.server.place().clone());
    assert!(!client.is_ready().unwrap());
    let request =
        ProxyRequest { listen: "127.0.0.1:0".into(), upstream: "localhost:1".into(), ..ProxyRequest::default() };
    assert_eq!(client.put_proxy("a", &request).unwrap().proxy.listen, "127.0.0.1:40000");
    assert!(client.is_ready().unwrap());
    assert_eq!(client.proxies().unwrap().len(), 1);
    assert_eq!(client.status().unwrap().proxies[0].name, "a");
    client.delete_proxy("a").unwrap();

    let set = [("rate".to_owned(), "5 %&=".to_owned())];
    let id = client.submit("name = \"drill\"", Format::Toml, &set).unwrap().id;
    assert_eq!(*port.program.sets.lock().unwrap(), set);
    assert_eq!(client.start(&id, Some("5m")).unwrap().state, State::Running);
    assert_eq!(client.pause(&id).unwrap().state, State::Paused);
    assert_eq!(client.resume(&id).unwrap().state, State::Running);
    assert_eq!(client.renew(&id).unwrap().state, State::Running);
    assert_eq!(client.list().unwrap(), [client.view(&id).unwrap()]);
    let aborted = client.abort(&id).unwrap();
    assert_eq!((aborted.experiment.state, aborted.abort.drained_us), (State::Stopped, Some(120)));
    assert_eq!(client.report(&id).unwrap()["verdict"], "upheld");
    assert_eq!(client.report_markdown(&id).unwrap(), "# upheld\n");
    assert!(client.abort_all().unwrap().experiments.is_empty());
    assert_eq!(client.reload().unwrap().changes, ["proxy `a` added"]);
    assert!(client.config().unwrap().contains("environment"));

    let refused = client.submit("bogus", Format::Toml, &[]).unwrap_err();
    let ClientError::Refused(problem) = &refused else { panic!("{refused:?}") };
    assert_eq!((problem.status, problem.errors[0].line), (422, Some(1)));
    assert!(!refused.is_out_of_reach());
    let traversal = client.view("../status").unwrap_err();
    assert!(matches!(traversal, ClientError::Refused(problem) if problem.status == 404));

    let mut events = client.events().unwrap();
    port.program.event(1, "one\nline");
    port.program.event(2, "two");
    assert_eq!(events.next().unwrap().unwrap().text, "one\nline");
    assert_eq!(events.next().unwrap().unwrap().seq, 2);
}

#[test]
fn everything_goes_over_tcp() {
    everything(&port());
}

#[test]
fn everything_goes_over_a_unix_socket_of_this_user_only() {
    let path = scratch("all.sock");
    let listen = format!("unix:{}", path.display());
    let port = port_with(Settings { publish: None, limits: limits(), ..Settings::new(listen.clone()) });
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    everything(&port);
    let taken = Server::start(Settings { publish: None, ..Settings::new(listen) }, Arc::new(Program::default()));
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(port);
    assert!(!path.exists());
}

#[test]
fn a_socket_left_behind_is_no_obstacle() {
    let path = scratch("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let port = port_with(Settings { publish: None, ..Settings::new(format!("unix:{}", path.display())) });
    assert!(Client::new(port.server.place().clone()).status().is_ok());
}

#[test]
fn a_file_in_the_way_of_a_socket_is_left_alone() {
    let path = scratch("file");
    std::fs::write(&path, "precious").unwrap();
    let listen = format!("unix:{}", path.display());
    let refused = Server::start(Settings { publish: None, ..Settings::new(listen) }, Arc::new(Program::default()));
    assert!(refused.unwrap_err().to_string().contains("can not listen"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn addresses_that_cannot_be_had_are_said() {
    let port = port();
    let start = |listen: &str, metrics: Option<String>| {
        let settings = Settings { publish: None, metrics, ..Settings::new(listen) };
        Server::start(settings, Arc::new(Program::default())).unwrap_err().to_string()
    };
    assert!(start(&port.address(), None).contains(&port.address()));
    assert!(start("127.0.0.1:0", Some(port.address())).contains(&port.address()));
    assert!(start("0.0.0.0:0", None).contains("loopback"));
    for listen in ["", "7070", "example.com:1", "unix:", "127.0.0.1:99999"] {
        assert!(start(listen, None).contains("expected"), "{listen}");
    }
}

#[test]
fn the_address_is_published_while_it_listens() {
    let file = scratch("runtime").join("control");
    let port = port_with(Settings { publish: Some(file.clone()), ..Settings::new("127.0.0.1:0") });
    let place = place::published(&file).unwrap().unwrap();
    assert_eq!(&place, port.server.place());
    drop(port);
    assert_eq!(place::published(&file), Ok(None));
    std::fs::remove_dir(file.parent().unwrap()).unwrap();
    let gone = Client::new(place).status().unwrap_err();
    assert!(gone.is_out_of_reach(), "{gone}");
}

#[test]
fn something_else_than_squall_is_noticed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::of(listener.local_addr().unwrap());
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"SSH-2.0-squall\r\n").unwrap();
    });
    assert!(Client::new(place).status().unwrap_err().is_out_of_reach());
    answers.join().unwrap();
}

#[test]
fn streams_end_with_the_port_and_gaps_are_told() {
    let port = port();
    let client = Client::new(port.server.place().clone());
    let mut events = client.events().unwrap();
    // More than the channel holds, while nobody reads: the runtime of the iterator stands still, the socket fills.
    let text = "x".repeat(64 << 10);
    for seq in 1..=400 {
        port.program.event(seq, &text);
        std::thread::yield_now();
    }
    let lost = events.by_ref().map(Result::unwrap).find(|event| event.kind == "lost").unwrap();
    assert!(lost.text.contains("events were lost"), "{}", lost.text);
    drop(port);
    assert!(events.all(|event| event.is_ok()));
}
