//! `squall toxiproxy`: in place of the original's server, by its flags and also by its name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time;

use squall_control::toxiproxy::Shown;
use squall_core::config::{Config, ControlConfig, Safety};
use squall_core::unit::Duration;

use super::interrupt::{self, Wish};
use super::out::{say, tell};
use super::serve::ANY_PORT;
use crate::exit::{Exit, Failure, Outcome};
use crate::wiring::{Extras, Toxics, Wired};

/// How long what was held may be written at the end. Nobody waits for idle connections of a test suite to be closed.
const DRAIN: time::Duration = time::Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// Where the API listens
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// Its port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8474)]
    port: u16,
    /// Proxies to begin with: JSON, the array that a populate takes, toxics included
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Makes every draw of toxicity and jitter reproducible
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Show each proxy's bytes on /metrics
    #[arg(long)]
    proxy_metrics: bool,
    /// Show the process on /metrics
    #[arg(long)]
    runtime_metrics: bool,
    /// Lift all toxics when no request has come for so long; else they stay until they are removed
    #[arg(long, value_name = "TIME")]
    lease: Option<Duration>,
    /// Say the version and end
    #[arg(long)]
    version: bool,
}

pub(crate) fn run(args: Args) -> Outcome {
    if args.version {
        say!("toxiproxy-server version 2.12.0 (squall {})", env!("CARGO_PKG_VERSION"));
        return Ok(Exit::Done);
    }
    let host = if args.host == "localhost" { "127.0.0.1" } else { args.host.as_str() };
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let listen = resolved(&host, args.port)?;
    if !listen.ip().is_loopback() {
        tell!("warning: {listen} can be reached from other machines, and this API asks nobody who they are");
    }
    let control = ControlConfig {
        toxiproxy: Some(listen.to_string()),
        toxiproxy_open: true,
        hosts: vec![args.host.clone()],
        ..ControlConfig::default()
    };
    // as open as the original, but for link-local and metadata addresses, which are always denied
    let everywhere = vec!["0.0.0.0/0".into(), "::/0".into()];
    let safety = Safety { allow_upstreams: everywhere, ..Safety::default() };
    let shown = Shown { proxies: args.proxy_metrics, runtime: args.runtime_metrics };
    let toxics = Toxics { seed: args.seed, lease: args.lease.map(|lease| lease.0), shown };
    let wishes = interrupt::listen()?;
    let wired =
        Wired::with(Config { control, safety, ..Config::default() }, None, Extras { toxics, ..Extras::default() })?;
    wired.open(ANY_PORT)?;
    if let Some(file) = &args.config {
        let wrong = |why: String| Failure::input(format!("{}: {why}", file.display()));
        let json = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
        wired.populate(&json).map_err(|failure| wrong(failure.message))?;
    }
    let server = wired.control(ANY_PORT)?;
    if let Some(place) = server.toxiproxy() {
        say!("toxiproxy {place}");
    }
    say!("control {}", server.place());
    wait(&wishes);
    wired.shut(DRAIN);
    Ok(Exit::Done)
}

/// Until a signal asks for the end: the first does, as with the original.
fn wait(wishes: &Receiver<Wish>) {
    let _the_end = wishes.iter().find(|wish| !matches!(wish, Wish::Enter(_)));
}

fn resolved(host: &str, port: u16) -> Result<std::net::SocketAddr, Failure> {
    use std::net::ToSocketAddrs;
    let wrong = |why: String| Failure::input(format!("--host {host}: {why}"));
    let mut addresses = format!("{host}:{port}").to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    addresses.next().ok_or_else(|| wrong("this name has no address".into()))
}

/// Makes the original's command line one of squall's.
pub(super) fn adopt(mut words: Vec<OsString>) -> Vec<OsString> {
    let name = words.first().and_then(|word| Path::new(word).file_name()).unwrap_or_default().to_owned();
    if name == "toxiproxy-server" || name == "toxiproxy" {
        words.splice(..1, ["squall".into(), "toxiproxy".into()]); // as help and errors say it
    }
    if words.get(1).is_some_and(|word| word == "toxiproxy") {
        for word in &mut words[2..] {
            let text = word.to_string_lossy();
            if text.len() > 2 && text.starts_with('-') && !text.starts_with("--") {
                *word = format!("-{text}").into();
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_s_flags_have_one_dash() {
        let adopt = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let adopted: Vec<String> = adopt(words).iter().map(|word| word.to_string_lossy().into_owned()).collect();
            adopted.join(" ")
        };
        assert_eq!(adopt("/bin/toxiproxy-server -host=0.0.0.0 -port 1"), "squall toxiproxy --host=0.0.0.0 --port 1");
        assert_eq!(adopt("squall toxiproxy -proxy-metrics"), "squall toxiproxy --proxy-metrics");
        assert_eq!(adopt("squall toxiproxy --seed 7 -h"), "squall toxiproxy --seed 7 -h");
        assert_eq!(adopt("squall serve -config x"), "squall serve -config x");
    }
}
