//! `squall record`: the exchanges of one service, or of a program with all that it calls.

mod upstream;
mod wrapped;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
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
use crate::wrap::hosts::{Mapped, Only};

use self::upstream::Upstream;

/// The proxy's name.
const NAME: &str = "record";
/// How long what is under way may take to end.
const DRAIN: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whom clients are led to: `https://host`, `http://host:port` or `host:port`
    #[arg(long, value_name = "URL", required_unless_present = "command", conflicts_with = "command")]
    upstream: Option<Upstream>,
    /// Where clients come
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", conflicts_with = "command")]
    listen: String,
    /// The recording; one that is there is replaced
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How long, as in 30s: until Ctrl-C unless given
    #[arg(long = "for", value_name = "DURATION", value_parser = str::parse::<unit::Duration>,
          conflicts_with = "command")]
    how_long: Option<unit::Duration>,
    /// Speak HTTP/2 with the upstream, as gRPC does
    #[arg(long, conflicts_with = "command")]
    http2: bool,
    /// The roots that the upstream's certificate must lead to, PEM: those of this machine unless given
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
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
    /// With a program: open this host besides those that squall's scenarios know, as `squall wrap` does
    #[arg(long, value_name = "HOST", requires = "command")]
    only: Vec<Only>,
    /// With a program: have another program answer in a host's place, as in `squall wrap`
    #[arg(long, value_name = "HOST=ADDRESS:PORT", requires = "command")]
    map: Vec<Mapped>,
    /// With a program: where the project's CA is kept, as in `squall wrap`
    #[arg(long, value_name = "DIR", requires = "command")]
    state: Option<PathBuf>,
    /// With a program: let live keys (sk_live_ and the like) out to the services
    #[arg(long, requires = "command")]
    allow_live: bool,
    /// A program, instead of an upstream: what it asks of opened hosts is recorded, and how it ends is the exit code
    #[arg(value_name = "CMD", last = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> Outcome {
    let options = Options {
        upstream: args.upstream.as_ref().map(Upstream::to_string),
        keep_header: args.keep_header.clone(),
        redact: args.redact.clone(),
        body: args.body.0,
        exchanges: args.exchanges,
        size: args.size.0,
    };
    let recorder = Recorder::start(&args.output, options)?;
    match &args.upstream {
        Some(upstream) => before(upstream, &args, recorder),
        None => wrapped::run(args, recorder),
    }
}

/// The exchanges of one service.
fn before(upstream: &Upstream, args: &Args, recorder: Recorder) -> Outcome {
    let wishes = interrupt::listen()?;
    let plane = plane()?;
    let refused = |error| Failure::input(format!("{error}"));
    // clients learn the port once the tap is on; where it was given, one may come a moment before
    let proxy = plane.open(&spec(upstream, args)?).map_err(refused)?;
    plane.tap(NAME, Some(recorder.tap())).map_err(refused)?;
    say!("proxy {NAME} {} -> {upstream}", proxy.listen);
    wait(&wishes, args.how_long);
    plane.shutdown(DRAIN);
    say!("{}", told(recorder, &args.output)?);
    Ok(Exit::Done)
}

/// Writes the recording; what came of it.
fn told(recorder: Recorder, file: &Path) -> Result<String, Failure> {
    let summary = recorder.finish()?;
    summary.left_out.iter().for_each(|words| tell!("left out: {words}"));
    let (exchanges, routes) = (summary.exchanges, summary.routes);
    Ok(format!("recorded {exchanges} exchanges of {routes} routes in {}", file.display()))
}

/// The command line names the one upstream, so any may be reached but those that are denied everywhere.
fn limits() -> Result<Limits, Failure> {
    let allow_upstreams = vec!["0.0.0.0/0".into(), "::/0".into()];
    Limits::new(&Safety { allow_upstreams, ..Safety::default() }).map_err(Failure::input)
}

/// A data plane without experiments.
fn plane() -> Result<Plane, Failure> {
    let limits = limits()?;
    let (ledger, _nothing_is_injected) = Ledger::new(1);
    let allow = Arc::new(move |host: &str, to: &std::net::SocketAddr| limits.check(host, *to));
    let options = squall_wire::Options { allow, ..squall_wire::Options::new(ledger) };
    Plane::new(options).map_err(|error| Failure::input(format!("no data plane: {error}")))
}

fn spec(upstream: &Upstream, args: &Args) -> Result<ProxySpec, Failure> {
    let Upstream { tls, host, port } = upstream;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::limits;

    #[test]
    fn the_upstream_may_be_anywhere_but_where_credentials_are_served() {
        let limits = limits().unwrap_or_else(|failure| unreachable!("{}", failure.message));
        let allowed = |to: &str| limits.check("api.example.com", to.parse().unwrap()).is_ok();
        assert!(allowed("203.0.113.9:443") && allowed("[2001:db8::1]:443") && allowed("127.0.0.1:80"));
        assert!(!allowed("169.254.169.254:80") && !allowed("[fe80::1]:80"));
    }
}
