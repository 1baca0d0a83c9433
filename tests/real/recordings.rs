//! Real services recorded by `squall record`, and their recordings played to the same clients.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;
use squall_core::diagnostic::Source;
use squall_core::parse;
use squall_core::recording::{Content, Ended, Exchange, Recording};

use crate::support::namespace::Namespace;
use crate::support::programs::{free_port, installed, run, run_within};
use crate::support::tls::{certificate, web_server};
use crate::support::wait::PATIENCE;
use crate::support::{Room, Running, python, turn};

/// `squall record` before somebody, under way.
struct Recorder {
    squall: Running,
    /// Where clients come.
    at: String,
    file: String,
}

impl Recorder {
    #[track_caller]
    fn of(room: &Room, upstream: &str, words: &[&str]) -> Recorder {
        let file = room.path("api.recording.toml").display().to_string();
        let squall = room.start(&[&["record", "--upstream", upstream, "--output", &file], words].concat());
        let at = squall.proxy("record");
        Recorder { squall, at, file }
    }

    /// Ctrl-C; the file's text, and what it says.
    #[track_caller]
    fn end(mut self) -> (String, Recording) {
        self.squall.signal(Signal::INT);
        assert_eq!(self.squall.code_within(PATIENCE), 0, "{}", self.squall.printed());
        read(&self.file)
    }
}

/// A recording's text, and what it says.
#[track_caller]
fn read(file: &str) -> (String, Recording) {
    let text = std::fs::read_to_string(file).unwrap();
    let source = Arc::new(Source { name: file.into(), text: text.clone() });
    let recording = parse::recording(&source).unwrap_or_else(|told| panic!("{told:?}\n{text}"));
    (text, recording)
}

/// A drill whose service plays `api.recording.toml` of a room, and where its proxy listens.
#[track_caller]
fn play(room: &Room, http: &str) -> (Running, String) {
    let port = free_port();
    let scenario = format!(
        "name = \"played\"\nowner = \"tests\"\nhypothesis = \"it holds\"\nenvironments = [\"local\"]\nmax_duration = \"60s\"\n\
         guard = [{{ metric = \"active_connections\", above = 1000000 }}]\n\
         [[service]]\nname = \"api\"\nkind = \"recording\"\nfile = \"api.recording.toml\"\n\
         [[proxy]]\nname = \"api\"\nlisten = \"127.0.0.1:{port}\"\nupstream = \"service:api\"\nprotocol = \"http\"\n\
         http = {{ upstream = \"{http}\" }}\n\
         [[fault]]\nkind = \"error\"\nproxy = \"api\"\nhttp_status = 503\nmatch = {{ path = \"/v1/broken\" }}\nfor = \"55s\"\n"
    );
    let scenario = room.file("played.toml", &scenario);
    let drill = room.start(&["drill", &scenario]);
    drill.wait_for_words("opens at 0.000 s");
    (drill, format!("127.0.0.1:{port}"))
}

fn curl(words: &[&str], url: &str) -> (i32, String) {
    let mut curl = Command::new(installed("curl"));
    curl.args(["--silent", "--max-time", "50", "--header", "Authorization: Bearer canary-bearer"]);
    curl.args(["--cookie", "s=canary-cookie", "--compressed", "--write-out", " %{http_code} %header{content-type}"]);
    run_within(curl.args(words).arg(url), PATIENCE)
}

fn serve(script: &str) -> (Running, String) {
    let service = Running::start(python::script(script).arg("serve").stdin(Stdio::piped()));
    let port = service.wait_for("port ");
    (service, format!("127.0.0.1:{port}"))
}

fn events(at: &str) -> Value {
    python::result(&run(python::script("recorded.py").args(["events", &format!("http://{at}/v1/events")])))
}

/// When each piece of an answer came, ms after the request.
fn times(exchange: &Exchange) -> Vec<f64> {
    let after = |at: &mut u64, ns: u64| {
        *at += ns;
        Some(*at as f64 / 1e6)
    };
    exchange.chunks.iter().map(|chunk| chunk.after).scan(exchange.first, after).collect()
}

#[test]
fn what_clients_were_told_they_are_told_again_and_secrets_are_not_written() {
    let _turn = turn();
    let room = Room::new();
    let (_service, upstream) = serve("recorded.py");
    let recorder = Recorder::of(&room, &format!("http://{upstream}"), &[]);
    let ask = |at: &str| {
        let url = |path: &str| format!("http://{at}{path}");
        [
            curl(&[], &url("/v1/orders/7?api_key=canary-query&page=1")),
            curl(&[], &url("/v1/orders/7?api_key=canary-query&page=2")),
            curl(&["--data", "amount=1&password=canary-form"], &url("/v1/charges")),
            curl(&["--data", "amount=2&password=canary-form"], &url("/v1/charges")),
            curl(&["--http2-prior-knowledge"], &url("/v1/orders/8")),
            curl(&[], &url("/v1/cut")),
        ]
    };
    let told = ask(&recorder.at);
    assert_eq!(told[5].0, 18, "a cut is felt: {told:?}");
    let streamed = events(&recorder.at);
    assert_eq!(streamed["events"].as_array().unwrap().len(), 5, "{streamed}");

    let (text, recording) = recorder.end();
    // "canary" stands in every secret that was sent either way
    let found: Vec<&str> = text.lines().filter(|line| line.contains("canary")).collect();
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(recording.exchanges.len(), 7, "{text}");
    assert_eq!(recording.head.upstream.as_deref(), Some(&*format!("http://{upstream}")));
    let of = |path: &str| recording.exchanges.iter().find(|exchange| exchange.path == path).unwrap();
    assert_eq!(of("/v1/cut").ended, Ended::Cut);
    let route = recording.routes.iter().find(|route| route.path == "/v1/orders/*").unwrap();
    assert_eq!((route.method.as_str(), route.samples), ("GET", 3));

    let (_drill, at) = play(&room, "1.1");
    let again = ask(&at);
    // secrets have been replaced byte by byte, and nothing else has changed
    let unsaid = |(code, text): &(i32, String)| {
        let secrets = ["canary-in-json", "canary16C7e42F292c6912E7710c83834", "canary-form"];
        let text = secrets.iter().fold(text.clone(), |text, secret| text.replace(secret, &"*".repeat(secret.len())));
        (*code, text)
    };
    assert_eq!(again, told.each_ref().map(unsaid));
    let played = events(&at);
    for what in ["status", "type", "events"] {
        assert_eq!(played[what], streamed[what], "{what}");
    }
    // the double speaks when the service did: never before, and not for long after
    let recorded = times(of("/v1/events"));
    let at: Vec<f64> = played["at"].as_array().unwrap().iter().map(|at| at.as_f64().unwrap()).collect();
    assert_eq!(recorded.len(), at.len(), "each event was a piece of its own");
    let late: Vec<f64> = at.iter().zip(&recorded).map(|(at, recorded)| at - recorded).collect();
    println!("recorded at {recorded:.1?} ms, played {late:.2?} ms later");
    assert!(recorded[4] - recorded[0] > 150.0, "the pauses are in the recording: {recorded:?}");
    // the client's clock starts before the service has the request
    assert!(late.iter().all(|late| *late > -0.01 && *late < 5_000.0), "{late:?}");
}

#[test]
fn large_files_of_nginx_come_back_whole() {
    let room = Room::new();
    let port = free_port();
    let large: String = (0..25_000).map(|n| format!("{n:07}\n")).collect();
    room.file("large", &large);
    let at = room.directory().display().to_string();
    let config = room.file(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid {at}/nginx.pid; error_log stderr;\nevents {{}}\n\
             http {{ access_log off; gzip on; gzip_types *; client_body_temp_path {at}/body;\n\
             server {{ listen 127.0.0.1:{port}; root {at}; location = /old {{ return 301 /large; }} }} }}\n"
        ),
    );
    let _nginx = Running::start(Command::new(installed("nginx")).args(["-p", &at, "-e", "stderr", "-c", &config]));
    crate::support::wait::until("nginx", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let recorder = Recorder::of(&room, &format!("127.0.0.1:{port}"), &["--body", "512KiB"]);
    let get = |at: &str, path: &str| curl(&["--location"], &format!("http://{at}{path}"));
    let told = get(&recorder.at, "/old");
    assert!(
        told.1 == format!("{large} 200 application/octet-stream") || told.1.starts_with(&large),
        "{}",
        told.1.len()
    );
    let (text, recording) = recorder.end();
    assert!(!text.contains("canary"));
    let kept = recording.exchanges[1].chunks.iter().map(|chunk| match &chunk.content {
        Content::Bytes(bytes) => bytes.len(),
        Content::Size(_) => 0,
    });
    assert_eq!(kept.sum::<usize>(), large.len());

    let (_drill, at) = play(&room, "1.1");
    assert_eq!(get(&at, "/old"), told);
    let (_, missing) = get(&at, "/elsewhere");
    assert!(missing.starts_with("squall: the recording has no answer to GET /elsewhere\n"), "{missing}");
    assert_eq!(
        get(&at, "/v1/broken").1.split(' ').nth_back(1),
        Some("503"),
        "faults act before a recording as before any service"
    );
}

#[test]
fn grpc_is_recorded_and_played() {
    let room = Room::new();
    let (_service, upstream) = serve("http/grpc_peer.py");
    let recorder = Recorder::of(&room, &format!("http://{upstream}"), &["--http2"]);
    let unary = |at: &str| {
        let (host, port) = at.split_once(':').unwrap();
        python::result(&run(python::script("http/grpc_peer.py").args(["unary", host, port, "5"])))
    };
    assert_eq!(unary(&recorder.at)["right"], 5);
    let (_, recording) = recorder.end();
    let exchange = &recording.exchanges[0];
    assert_eq!((exchange.path.as_str(), recording.exchanges.len()), ("/test.Echo/Unary", 5));
    assert!(exchange.trailers.iter().any(|(name, value)| name == "grpc-status" && value == "0"), "{exchange:?}");
    let (_drill, at) = play(&room, "2");
    let played = unary(&at);
    assert_eq!(played["right"], 5, "each message has its own answer: {played}");
}

#[test]
fn an_upstream_with_tls_is_recorded() {
    let room = Room::new();
    let (cert, key) = certificate(&room, "localhost", "DNS:localhost");
    let (address, _server) = web_server(&cert, &key, &[]);
    let upstream = format!("https://localhost:{}", address.port());
    let recorder = Recorder::of(&room, &upstream, &["--roots", &cert.display().to_string()]);
    let (code, told) = curl(&[], &format!("http://{}/", recorder.at));
    assert!(code == 0 && told.contains(" 200 "), "{told}");
    let (_, recording) = recorder.end();
    assert_eq!((recording.head.upstream.as_deref(), recording.exchanges[0].status), (Some(&*upstream), 200));
    assert_eq!(format!("https://{}", recording.exchanges[0].host), upstream, "it was asked for by its own name");
}

#[test]
fn a_program_is_recorded_with_what_it_calls() {
    let room = Room::new();
    let (_service, upstream) = serve("recorded.py");
    let [file, state] = ["api.recording.toml", "project"].map(|name| room.path(name).display().to_string());
    let curl = installed("curl").display().to_string();
    let program = [
        &*curl,
        "--silent",
        "--fail",
        "--header",
        "Authorization: Bearer canary",
        "https://api.example.com/v1/orders/7",
    ];
    let map = format!("api.example.com={upstream}");
    let words = ["record", "--output", &file, "--state", &state, "--map", &map, "--"];
    let ended = room.squall(&[&words[..], &program].concat()).exits(0);
    assert!(ended.out.starts_with("{\"path\": \"/v1/orders/7\""), "its output is its own: {ended:?}");
    ended.says("recorded 1 exchanges of 1 routes");
    let (text, recording) = read(&file);
    assert!(!text.contains("canary"), "{text}");
    assert_eq!((recording.exchanges[0].host.as_str(), recording.head.upstream), ("api.example.com", None));
    let fails = [&words[..], &[&curl, "--silent", "--fail", "https://api.example.com:1/"]].concat();
    room.squall(&fails).says("nothing was recorded");
}

#[test]
fn what_can_not_be_recorded_is_refused() {
    let room = Room::new();
    let notes = room.file("notes.txt", "mine = true\n");
    let record =
        |words: &[&str]| room.squall(&[&["record", "--upstream", "127.0.0.1:9", "--for", "10ms"], words].concat());
    record(&["--output", &notes]).exits(2).says("is no recording");
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "mine = true\n");
    let file = room.path("a.recording.toml").display().to_string();
    record(&["--output", &file]).exits(2).says("nothing was recorded");
    record(&["--output", &file, "--keep-header", "Cookie"]).exits(2).says("never written down");
    record(&["--output", &file, "--redact", "("]).exits(2).says("the pattern");
    record(&["--output", &file, "--size", "1GiB"]).exits(2).says("between");
    room.squall(&["record", "--upstream", "http://a/b", "--output", &file]).exits(2).says("without a path");
    assert!(!Path::new(&file).exists());
}

#[test]
fn the_example_needs_no_network() {
    let _turn = turn();
    let room = Room::new();
    let network = Namespace::new();
    let mut drill = network.command(env!("CARGO_BIN_EXE_squall"));
    let report = room.path("report").display().to_string();
    drill.args(["drill", "examples/recordings/orders.toml", "--report", &report]);
    drill.current_dir(env!("CARGO_MANIFEST_DIR")).env("XDG_RUNTIME_DIR", room.directory());
    let (code, told) = run_within(&mut drill, PATIENCE);
    assert_eq!(code, 0, "{told}");
    let report: Value = serde_json::from_slice(&std::fs::read(room.path("report/report.json")).unwrap()).unwrap();
    let service = &report["services"][0];
    assert!(service["requests"].as_u64().unwrap() > 50, "{service}");
    assert_eq!(service["unknown"], 0, "{service}");
}
