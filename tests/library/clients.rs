//! Clients without an SDK: curl, Python's requests and httpx, fetch of Node, git.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::sdks::{Clients, is};
use super::stand_ins::models;
use super::{Library, any_service};
use crate::support::Room;
use crate::support::api::{Api, Asked, Says, header};
use crate::support::programs::{installed, run, run_within};
use crate::support::wait::PATIENCE;

const ALL: (&str, &str) = ("rate", "100%");

/// An object of 200 kB.
fn object() -> Api {
    let body = crate::support::pattern(200_000);
    Api::answering(move |_| Says::Whole(200, "binary/octet-stream".into(), body.clone()))
}

fn curl(address: SocketAddr, words: &[&str], path: &str) -> (i32, String) {
    let mut command = Command::new(installed("curl"));
    command.args(["--silent", "--show-error", "--fail", "--max-time", "25", "--noproxy", "*"]).args(words);
    run_within(command.arg(format!("http://{address}{path}")), PATIENCE)
}

#[test]
fn curl_waits_as_it_is_told_and_counts_what_it_gets() {
    let library = Library::before(any_service());
    let played = library.play("kubernetes/too-many-requests", &[ALL, ("retry_after", "1")]);
    let began = std::time::Instant::now();
    let (code, said) = curl(library.address(), &["--retry", "1"], "/api/v1/pods");
    assert!(code == 22 && said.contains("429") && began.elapsed().as_millis() >= 1000, "{code} {said}");
    assert_eq!(played.hits(), 2);
    played.stop();
    let played = library.play("slack/error-in-a-200", &[ALL]);
    let (code, said) = curl(library.address(), &["--request", "POST"], "/api/chat.postMessage");
    assert_eq!((code, said.as_str()), (0, r#"{"ok":false,"error":"internal_error"}"#), "an error that no status shows");
    played.stop();
    let library = Library::before(object());
    let played = library.play("aws/s3-download-cut", &[ALL]);
    let (code, said) = curl(library.address(), &["--output", "/dev/null"], "/bucket/key");
    assert_eq!(code, 18, "a partial file: {said}");
    played.stop();
}

#[test]
fn clients_of_python_see_the_status_and_count_the_bytes() {
    let (mut clients, library) = (Clients::start(), Library::before(any_service()));
    for client in ["requests", "httpx"] {
        let post = |path: &str| json!({ "client": client, "method": "POST", "path": path });
        let (seen, calls) =
            clients.under(&library, "shopify/graphql-throttled", &[], post("/admin/api/2026-10/graphql.json"));
        assert!(seen["status"] == 200 && seen["text"].as_str().unwrap().contains("THROTTLED") && calls == 1, "{seen}");
        let (seen, calls) = clients.under(&library, "github/graphql-rate-limited", &[], post("/graphql"));
        assert!(
            seen["status"] == 200 && seen["text"].as_str().unwrap().contains("RATE_LIMITED") && calls == 1,
            "{seen}"
        );
        let (seen, calls) = clients.under(&library, "http/gateway-page", &[], json!({ "client": client, "path": "/" }));
        assert!(seen["status"] == 502 && calls == 1, "{seen}");
    }
    let again = json!({ "client": "requests", "path": "/orders", "retries": 2 });
    let (seen, calls) = clients.under(&library, "twilio/too-many-requests", &[], {
        let mut what = again.clone();
        what["path"] = "/2010-04-01/Accounts/AC0/Messages.json".into();
        what
    });
    assert!(is(&seen, "RetryError") && calls == 3, "{calls} {seen}");

    let library = Library::before(object());
    for (client, class) in [("requests", "RequestException"), ("httpx", "RemoteProtocolError")] {
        let get = json!({ "client": client, "path": "/bucket/key" });
        let (seen, calls) = clients.under(&library, "aws/s3-download-cut", &[], get);
        assert!(is(&seen, class) && calls == 1, "{seen}");
    }
}

const FETCH: &str = "
const [url, method] = process.argv.slice(1);
const seen = { bytes: 0 };
(async () => {
  try {
    const answer = await fetch(url, { method, body: method == 'POST' ? '{\"stream\":true}' : undefined });
    Object.assign(seen, { status: answer.status, ok: answer.ok });
    for await (const piece of answer.body) seen.bytes += piece.length;
  } catch (error) { seen.error = error.message; }
  console.log(JSON.stringify(seen));
})();
";

fn fetch(address: SocketAddr, method: &str, path: &str) -> Value {
    let mut command = Command::new(installed("node"));
    let printed = run(command.arg("--eval").arg(FETCH).arg(format!("http://{address}{path}")).arg(method));
    crate::support::python::result(&printed)
}

#[test]
fn fetch_of_node_is_content_with_a_stream_that_ends_politely() {
    let library = Library::before(models());
    let played = library.play("openai/stream-ends-early", &[ALL]);
    let seen = fetch(library.address(), "POST", "/v1/chat/completions");
    assert!(seen["ok"] == true && seen["error"].is_null() && seen["bytes"].as_u64() > Some(100), "{seen}");
    played.stop();
    let played = library.play("openai/no-terminator", &[ALL]);
    let seen = fetch(library.address(), "POST", "/v1/chat/completions");
    assert_eq!(seen["error"], "terminated", "{seen}");
    played.stop();
    let library = Library::before(object());
    let played = library.play("aws/s3-download-cut", &[ALL]);
    let seen = fetch(library.address(), "GET", "/bucket/key");
    assert_eq!((&seen["ok"], &seen["error"]), (&json!(true), &json!("terminated")), "{seen}");
    played.stop();
}

/// A repository, served as `git http-backend` does behind a web server (gitprotocol-http).
fn repository(room: &Room) -> Api {
    let root = room.path("repositories");
    let bare = root.join("shop.git");
    std::fs::create_dir_all(&bare).unwrap();
    let work = room.path("work");
    run(git(&["init", "--quiet", "--bare"]).arg(&bare));
    run(git(&["init", "--quiet", "--initial-branch=main"]).arg(&work));
    // what no compression makes small
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13; // xorshift, as in Marsaglia, Xorshift RNGs, 2003
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    });
    let noise: Vec<u8> = noise.take(100_000).collect();
    std::fs::write(work.join("noise"), noise).unwrap();
    run(git(&["add", "noise"]).current_dir(&work));
    run(git(&["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", "noise"])
        .current_dir(&work));
    run(git(&["push", "--quiet"]).arg(&bare).arg("main").current_dir(&work));
    run(git(&["symbolic-ref", "HEAD", "refs/heads/main"]).current_dir(&bare));
    Api::answering(move |asked| backend(&root, asked))
}

fn git(words: &[&str]) -> Command {
    let mut command = Command::new(installed("git"));
    command
        .args(words)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    command
}

fn backend(root: &Path, asked: &Asked) -> Says {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let of = |name| header(&asked.headers, name).unwrap_or_default();
    let mut command = git(&["http-backend"]);
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("PATH_INFO", path);
    command.env("QUERY_STRING", query).env("REQUEST_METHOD", &asked.method).env("CONTENT_TYPE", of("content-type"));
    command.env("CONTENT_LENGTH", asked.body.len().to_string()).env("HTTP_CONTENT_ENCODING", of("content-encoding"));
    command.env("GIT_PROTOCOL", of("git-protocol"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&asked.body).unwrap();
    let out = child.wait_with_output().unwrap().stdout;
    let end = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&out[..end]).into_owned();
    let kind = head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap_or_default();
    Says::Whole(if head.contains("Status: 4") { 404 } else { 200 }, kind.to_owned(), out[end + 4..].to_vec())
}

#[test]
fn git_keeps_nothing_of_a_clone_that_ends_in_the_middle() {
    let room = Room::new();
    let library = Library::before(repository(&room));
    let clone = |name: &str| {
        let mut command = git(&["clone", "--quiet"]);
        command.arg(format!("http://{}/shop.git", library.address())).arg(room.path(name));
        run_within(&mut command, PATIENCE)
    };
    let played = library.play("github/git-unavailable", &[ALL]);
    let (code, said) = clone("refused");
    assert!(code == 128 && said.contains("503"), "{code} {said}");
    assert_eq!(played.hits(), 1, "git does not try again");
    played.stop();
    let played = library.play("github/git-cut", &[ALL]);
    let (code, said) = clone("cut");
    assert!(code == 128 && !room.path("cut").exists(), "{code} {said}");
    assert!(played.hits() >= 1);
    played.stop();
    let (code, said) = clone("whole");
    assert_eq!(code, 0, "{said}");
    assert_eq!(std::fs::metadata(room.path("whole").join("noise")).unwrap().len(), 100_000);
}
