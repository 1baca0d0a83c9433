//! `squall record`

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use squall_core::config::Safety;
use squall_core::limits::Limits;
use squall_core::observe::Ledger;
use squall_core::plane::DataPlane;
use squall_core::scenario::{Protocol, ProxySpec};
use squall_core::time::SECOND;
use squall_core::tls::UpstreamTls;
use squall_core::unit;
use squall_core::way::{HttpVersion, HttpWay, Way};
use squall_wire::Plane;

use super::interrupt::{self, Wish};
use super::out::{say, tell};
use crate::exit::{Exit, Failure, Outcome};
use crate::record::{Options, Recorder};

/// The proxy's name.
const NAME: &str = "record";
/// How long what is under way may take to end.
const DRAIN: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where clients come: any port of 127.0.0.1 unless given
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// Whom they are led to: `https://host`, `http://host:port` or `host:port`
    #[arg(long, value_name = "URL")]
    upstream: Upstream,
    /// The recording; one that is there is replaced
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How long, as in 30s: until Ctrl-C unless given
    #[arg(long = "for", value_name = "DURATION", value_parser = str::parse::<unit::Duration>)]
    how_long: Option<unit::Duration>,
    /// Speak HTTP/2 with the upstream, as gRPC does
    #[arg(long)]
    http2: bool,
    /// The roots that the upstream's certificate must lead to, PEM: those of this machine unless given
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Keep the values of this header (may be repeated). Those of Authorization, cookies and API keys are never kept
    #[arg(long, value_name = "NAME")]
    keep_header: Vec<String>,
    /// Take out what matches this regular expression, or its group `s`, besides what squall knows for secrets (may be
    /// repeated)
    #[arg(long, value_name = "REGEX")]
    redact: Vec<String>,
    /// Keep so much of each body
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = str::parse::<unit::Bytes>)]
    body: unit::Bytes,
    /// Keep so many exchanges
    #[arg(long, value_name = "N", default_value_t = 1000)]
    exchanges: usize,
    /// The longest file, 256KiB to 1MiB
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = str::parse::<unit::Bytes>)]
    size: unit::Bytes,
}

pub(crate) fn run(args: Args) -> Outcome {
    let options = Options {
        upstream: Some(args.upstream.to_string()),
        keep_header: args.keep_header.clone(),
        redact: args.redact.clone(),
        body: args.body.0,
        exchanges: args.exchanges,
        size: args.size.0,
    };
    let recorder = Recorder::start(&args.output, options)?;
    let wishes = interrupt::listen()?;
    let plane = plane()?;
    let refused = |error| Failure::input(format!("{error}"));
    // nothing passes before it is listened to: nobody knows the port yet, unless it was given, and then a moment is lost
    let proxy = plane.open(&spec(&args)?).map_err(refused)?;
    plane.tap(NAME, Some(recorder.tap())).map_err(refused)?;
    say!("proxy {NAME} {} -> {}", proxy.listen, args.upstream);
    wait(&wishes, args.how_long);
    plane.shutdown(DRAIN);
    let seen = recorder.seen();
    let summary = recorder.finish()?;
    tracing::debug!(seen, "exchanges before the end");
    summary.left_out.iter().for_each(|words| tell!("left out: {words}"));
    let (exchanges, routes) = (summary.exchanges, summary.routes);
    say!("recorded {exchanges} exchanges of {routes} routes in {}", args.output.display());
    Ok(Exit::Done)
}

/// A data plane without experiments.
fn plane() -> Result<Plane, Failure> {
    let limits = Limits::new(&Safety::default()).map_err(Failure::input)?;
    let (ledger, _nothing_is_injected) = Ledger::new(1);
    let allow = Arc::new(move |host: &str, to: &std::net::SocketAddr| limits.check(host, *to));
    let options = squall_wire::Options { allow, ..squall_wire::Options::new(ledger) };
    Plane::new(options).map_err(|error| Failure::input(format!("no data plane: {error}")))
}

fn spec(args: &Args) -> Result<ProxySpec, Failure> {
    let Upstream { tls, host, port } = &args.upstream;
    if args.roots.is_some() && !tls {
        return Err(Failure::input("--roots is for an upstream with https"));
    }
    let roots = args.roots.as_ref().map(std::path::absolute).transpose();
    let roots = roots.map_err(|error| Failure::input(format!("--roots: {error}")))?;
    let upstream_tls = tls.then(|| UpstreamTls {
        roots: roots.map(|roots| roots.display().to_string()),
        cert: None,
        key: None,
        server_name: None,
        alpn: Vec::new(),
        verify: true,
        postgres: false,
    });
    let version = if args.http2 { HttpVersion::Two } else { HttpVersion::One };
    let http = HttpWay { upstream: version, host: HttpWay::UPSTREAM.into(), ..HttpWay::default() };
    Ok(ProxySpec {
        name: NAME.into(),
        listen: args.listen.clone(),
        upstream: format!("{host}:{port}"),
        protocol: Protocol::Http,
        connect_timeout: 10 * SECOND,
        idle_timeout: ProxySpec::IDLE_TIMEOUT,
        way: Way { http: Some(http), upstream_tls, ..Way::default() },
        ..ProxySpec::default()
    })
}

/// Until somebody asks for the end, or the time is over.
fn wait(wishes: &Receiver<Wish>, how_long: Option<unit::Duration>) {
    let until_it_ends = |wish| matches!(wish, Ok(Wish::Stop | Wish::Terminate) | Err(_));
    match how_long {
        None => while !until_it_ends(wishes.recv().map_err(|_| RecvTimeoutError::Disconnected)) {},
        Some(how_long) => while !until_it_ends(wishes.recv_timeout(Duration::from_nanos(how_long.0))) {},
    }
}

/// Whom clients are led to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Upstream {
    tls: bool,
    /// With the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Upstream, String> {
        let expected = || "expected https://host, http://host:port or host:port, without a path".to_owned();
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ if text.contains("://") => return Err(expected()),
            _ => (false, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
            return Err(expected());
        }
        let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| expected())?),
            None => (rest, if tls { 443 } else { 80 }),
        };
        if host.is_empty() || host.contains(':') && !host.starts_with('[') {
            return Err(expected());
        }
        Ok(Upstream { tls, host: host.into(), port })
    }
}

/// As a recording names it: without a port that goes without saying.
impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Upstream { tls, host, port } = self;
        match (tls, port) {
            (true, 443) => write!(f, "https://{host}"),
            (true, port) => write!(f, "https://{host}:{port}"),
            (false, 80) => write!(f, "http://{host}"),
            (false, port) => write!(f, "http://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Upstream;

    #[test]
    fn upstreams_are_read_as_they_are_written() {
        for (text, told, dialled) in [
            ("https://api.example.com", "https://api.example.com", "api.example.com:443"),
            ("https://api.example.com:8443/", "https://api.example.com:8443", "api.example.com:8443"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]", "http://[::1]", "[::1]:80"),
            ("http://[::1]:81", "http://[::1]:81", "[::1]:81"),
        ] {
            let upstream: Upstream = text.parse().unwrap();
            assert_eq!(
                (upstream.to_string().as_str(), format!("{}:{}", upstream.host, upstream.port).as_str()),
                (told, dialled)
            );
        }
        for text in
            ["", "https://", "ftp://a", "http://a/b", "http://a?b", "http://u:p@a", "a:b", "::1", "http://a:99999"]
        {
            assert!(text.parse::<Upstream>().is_err(), "{text}");
        }
    }
}
