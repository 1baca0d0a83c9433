//! Large bodies: equal at the other end whatever carries them, in constant memory, no faster than their reader, and no longer
//! than their client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::programs::{free_port, installed, run, run_within};
use crate::support::tls::certificate;
use crate::support::wait::{self, PATIENCE};
use crate::support::{Room, Running, Serve, nginx, pattern, turn};

const LARGE: usize = 50_000_000;

/// As the client's options and squall's words have the versions.
const CLIENTS: [(&str, &str); 2] = [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")];

fn serve(room: &Room, upstream: impl std::fmt::Display, more: &str) -> Serve {
    let proxy = format!("listen = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\nprotocol = \"http\"\n{more}");
    Serve::with(room.command::<&str>(&[]), room, "", &proxy)
}

fn curl(words: &[&str]) -> Command {
    let mut command = Command::new(installed("curl"));
    command.args(["--silent", "--show-error", "--max-time", "55", "--noproxy", "*"]).args(words);
    command
}

/// nginx that speaks both versions under TLS, gives files and takes them.
fn vault(room: &Room) -> (u16, Running) {
    let port = free_port();
    let (cert, key) = certificate(room, "vault", "DNS:vault.example");
    std::fs::create_dir(room.path("kept")).unwrap();
    let at = room.directory().display();
    let server = format!(
        "server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {}; ssl_certificate_key {}; root {at};\n\
         client_max_body_size 0; location /kept/ {{ dav_methods PUT; }} }}",
        cert.display(),
        key.display()
    );
    let nginx = nginx::start(room, &[port], &server);
    (port, nginx)
}

#[test]
fn fifty_megabytes_are_equal_under_tls_in_all_pairs_of_versions() {
    let _turn = turn();
    let room = Room::new();
    std::fs::write(room.path("large"), pattern(LARGE)).unwrap();
    let (port, _nginx) = vault(&room);
    for upstream in ["1.1", "2"] {
        let own = Room::new();
        let roots = room.path("vault.pem");
        let more = format!(
            "http = {{ upstream = \"{upstream}\" }}\n\
             tls = {{ mode = \"terminate\", issue = true, alpn = [\"h2\", \"http/1.1\"] }}\n\
             upstream_tls = {{ roots = {roots:?}, server_name = \"vault.example\" }}"
        );
        let squall = serve(&own, format!("127.0.0.1:{port}"), &more);
        let state = own.path("state").display().to_string();
        let ca = own.squall(&["ca", "--state", &state]).exits(0).out.trim().to_owned();
        let base = format!("https://localhost:{}", squall.address.port());
        for (client, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let pair = format!("{version} to {upstream}");
            let down = own.path("down").display().to_string();
            let told =
                ["--cacert", &ca, client, "--write-out", "%{http_version} %{response_code} %{ssl_verify_result}"];
            let said = run(curl(&told).args(["--output", &down, &format!("{base}/large")]));
            assert_eq!(said, format!("{version} 200 0"), "{pair}");
            assert!(same(Path::new(&down), &room.path("large")), "{pair}");
            let name = format!("kept/{version}-{upstream}");
            let large = room.path("large").display().to_string();
            let said = run(curl(&told).args(["--upload-file", &large, &format!("{base}/{name}")]));
            assert_eq!(said, format!("{version} 201 0"), "{pair}");
            assert!(same(&room.path(&name), &room.path("large")), "{pair}");
        }
    }
}

/// Compared without being printed.
fn same(one: &Path, other: &Path) -> bool {
    std::fs::read(one).unwrap() == std::fs::read(other).unwrap()
}

/// What a server of the test's has seen of the connections that it had.
#[derive(Default)]
struct Seen {
    /// Bytes that it got or got rid of.
    bytes: AtomicU64,
    /// Connections that ended from the other side.
    ended: AtomicU64,
}

/// Serves each connection with `serve`, once the head of a request is there.
fn server(serve: impl Fn(TcpStream, &Seen) + Send + Sync + 'static) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Seen> = Arc::default();
    let (serve, counts) = (Arc::new(serve), seen.clone());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (serve, counts) = (serve.clone(), counts.clone());
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                    head.push(byte[0]);
                }
                serve(stream, &counts);
                counts.ended.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    (address, seen)
}

/// Bytes that are uploaded: 1 GB, or as many as `.ci/full` says.
fn upload() -> u64 {
    let gigabytes = std::env::var("SQUALL_UPLOAD_GB").ok();
    gigabytes.map_or(1, |text| text.parse::<u64>().unwrap()) * 1_000_000_000
}

#[test]
fn a_large_upload_costs_constant_memory() {
    let _turn = turn();
    let room = Room::new();
    let total = upload();
    let (address, seen) = server(move |mut stream, seen| {
        let (mut buffer, mut got) = (vec![0; 1 << 20], 0);
        while got < total
            && let Ok(n @ 1..) = stream.read(&mut buffer)
        {
            got += n as u64;
        }
        seen.bytes.fetch_add(got, Ordering::Relaxed);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nall\n");
    });
    let squall = serve(&room, address, "");
    let zeros = room.path("zeros");
    std::fs::File::create(&zeros).unwrap().set_len(total).unwrap(); // on the disk it has no room
    let zeros = zeros.display().to_string();
    let put = |client: &str| {
        let words = ["--max-time", "900", "--header", "expect:", client, "--upload-file", &zeros];
        run_within(curl(&words).arg(format!("http://{}/", squall.address)), Duration::from_secs(900))
    };
    let before = squall.most_memory();
    for (client, version) in CLIENTS {
        assert_eq!(put(client), (0, "all".into()), "{version}");
        let grown = squall.most_memory() - before;
        println!("{total} bytes in HTTP/{version}: {grown} bytes of memory more");
        assert!(grown < 32 << 20, "{version}: {grown} bytes more");
    }
    assert_eq!(seen.bytes.load(Ordering::Relaxed), 2 * total);
}

/// What lies between two programs in the buffers of squall and of sockets, at most.
const BETWEEN: u64 = 24 << 20;

/// Waits until a count stands still.
fn standing(count: &AtomicU64) -> u64 {
    wait::until("it to stand still", || {
        let before = count.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(700));
        (before > 0 && count.load(Ordering::Relaxed) == before).then_some(before)
    })
}

/// A server whose answers have no end that anybody waits for.
fn endless() -> (SocketAddr, Arc<Seen>) {
    server(|mut stream, seen| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n");
        while let Ok(n) = stream.write(&[b'x'; 65_536]) {
            seen.bytes.fetch_add(n as u64, Ordering::Relaxed);
        }
    })
}

#[test]
fn a_reader_that_is_slow_holds_the_sender_back() {
    let room = Room::new();
    let (address, seen) = endless();
    let squall = serve(&room, address, "");
    for (client, version) in CLIENTS {
        let before = seen.bytes.load(Ordering::Relaxed);
        let slow = ["--limit-rate", "1", "--output", "/dev/null", client];
        let reader = Running::start(curl(&slow).arg(format!("http://{}/", squall.address)));
        wait::until("bytes to go", || (seen.bytes.load(Ordering::Relaxed) > before).then_some(()));
        let sent = standing(&seen.bytes) - before;
        println!("HTTP/{version}: {sent} bytes went");
        assert!(sent < BETWEEN, "HTTP/{version}: {sent}");
        // and the reader's end is the sender's
        let ended = seen.ended.load(Ordering::Relaxed);
        drop(reader);
        wait::until("the upstream to be told", || (seen.ended.load(Ordering::Relaxed) > ended).then_some(()));
    }
}

/// Processor time that a program has had so far.
fn worked(program: &Running) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.pid().as_raw_nonzero())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum(); // proc(5): utime, stime
    Duration::from_millis(ticks * 10)
}

#[test]
fn what_a_fault_paces_for_a_reader_that_is_slow_costs_no_work() {
    let room = Room::new();
    let (address, seen) = endless();
    let squall = serve(&room, address, "");
    let id = squall.start("[[fault]]\nkind = \"trickle\"\nproxy = \"default\"\nchunk = \"32KiB\"\ngap = \"1ms\"\n");
    for (client, version) in CLIENTS {
        let slow = ["--limit-rate", "1", "--output", "/dev/null", client];
        let _reader = Running::start(curl(&slow).arg(format!("http://{}/", squall.address)));
        standing(&seen.bytes);
        let before = worked(&squall.program);
        std::thread::sleep(Duration::from_secs(1));
        let took = worked(&squall.program) - before;
        assert!(took < Duration::from_millis(300), "HTTP/{version}: {took:?} for nothing");
    }
    squall.stop(&id);
}

#[test]
fn a_server_that_reads_nothing_holds_the_client_back() {
    let room = Room::new();
    let (address, _seen) = server(|stream, _| {
        std::thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    let squall = serve(&room, address, "");
    let zeros = room.path("zeros");
    std::fs::File::create(&zeros).unwrap().set_len(1 << 30).unwrap();
    let zeros = zeros.display().to_string();
    for (client, version) in CLIENTS {
        let words = ["--max-time", "4", "--header", "expect:", client, "--write-out", "%{size_upload}"];
        let mut upload = curl(&words);
        upload.args(["--upload-file", &zeros, &format!("http://{}/", squall.address)]);
        let (code, said) = run_within(&mut upload, PATIENCE);
        assert_eq!(code, 28, "HTTP/{version}: {said}"); // its time was over
        let sent: u64 = said.lines().find_map(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("{said}"));
        println!("HTTP/{version}: {sent} bytes went");
        assert!(sent > 0 && sent < BETWEEN, "HTTP/{version}: {said}");
    }
}

#[test]
fn a_client_that_leaves_cancels_what_its_upstream_does() {
    let room = Room::new();
    // its answer does not come: it is told by the connection alone that nobody waits
    let (address, seen) = server(|mut stream, seen| {
        seen.bytes.fetch_add(1, Ordering::Relaxed);
        let _ = stream.read(&mut [0]);
    });
    let squall = serve(&room, address, "");
    for (n, (client, version)) in (1..).zip(CLIENTS) {
        let mut waiting = curl(&[client]);
        let waiting = Running::start(waiting.arg(format!("http://{}/", squall.address)));
        wait::until("the request", || (seen.bytes.load(Ordering::Relaxed) == n).then_some(()));
        assert_eq!(seen.ended.load(Ordering::Relaxed), n - 1);
        drop(waiting);
        wait::until(version, || (seen.ended.load(Ordering::Relaxed) == n).then_some(()));
    }
}
