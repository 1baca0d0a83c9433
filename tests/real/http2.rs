//! HTTP/2 between real programs: curl, h2load and nginx.

use std::net::SocketAddr;
use std::process::Command;

use crate::support::programs::{free_port, installed, run};
use crate::support::{Room, Running, Serve, nginx, turn};

/// nginx with a large file and a small one, and squall before it.
struct Files {
    squall: Serve,
    #[allow(dead_code)] // kept
    nginx: Running,
    #[allow(dead_code)]
    room: Room,
}

/// Two versions, as the client's options and squall's words have them.
const CLIENTS: [(&str, &str); 2] = [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")];
const LARGE: usize = 5_000_000;

/// What the large file holds.
fn numbers() -> String {
    (0..LARGE / 8).map(|n| format!("{n:07}\n")).collect()
}

/// Without TLS this nginx speaks one version on a port.
fn files(upstream: &str) -> Files {
    let room = Room::new();
    let port = free_port();
    let version = if upstream == "2" { " http2" } else { "" };
    room.file("small", "hello\n");
    room.file("large", &numbers());
    let at = room.directory().display().to_string();
    let server = format!(
        "server {{ listen 127.0.0.1:{port}{version}; root {at};\n\
         location /gone {{ return 410 \"gone\\n\"; }} }}"
    );
    let nginx = nginx::start(&room, &[port], &server);
    let proxy = format!(
        "listen = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:{port}\"\nprotocol = \"http\"\nhttp = {{ upstream = \"{upstream}\" }}"
    );
    let squall = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
    Files { squall, nginx, room }
}

fn curl(address: SocketAddr, words: &[&str], path: &str) -> String {
    let mut command = Command::new(installed("curl"));
    run(command
        .args(["--silent", "--show-error", "--max-time", "50"])
        .args(words)
        .arg(format!("http://{address}{path}")))
}

#[test]
fn curl_reads_files_in_all_pairs_of_versions() {
    let _turn = turn();
    for upstream in ["1.1", "2"] {
        let Files { squall, .. } = &files(upstream);
        for (client, version) in CLIENTS {
            let written = ["--write-out", "%{http_version} %{response_code}", client];
            assert_eq!(curl(squall.address, &written, "/small"), format!("hello\n{version} 200"), "to {upstream}");
            assert_eq!(curl(squall.address, &written, "/gone"), format!("gone\n{version} 410"), "to {upstream}");
            let large = curl(squall.address, &[client], "/large");
            assert!(large == numbers().trim_end(), "{client} to {upstream}: {} bytes", large.len()); // told without its last newline
            let head = curl(squall.address, &[client, "--head"], "/large").to_ascii_lowercase();
            assert!(head.contains(&format!("content-length: {LARGE}")), "{head}");
        }
    }
}

#[test]
fn h2load_keeps_many_streams_busy_on_each_connection() {
    let _turn = turn();
    for upstream in ["1.1", "2"] {
        let Files { squall, .. } = &files(upstream);
        let url = format!("http://{}/small", squall.address);
        let mut command = Command::new(installed("h2load"));
        let out = run(command.args(["-n", "20000", "-c", "8", "-m", "32", &url]));
        assert!(out.contains("20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout"), "{out}");
        assert!(out.contains("status codes: 20000 2xx"), "{out}");
    }
}
