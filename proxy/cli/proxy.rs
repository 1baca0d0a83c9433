//! `squall proxy add|rm|list`

use serde::de::DeserializeOwned;
use squall_control::api::ProxyRequest;
use squall_core::matcher::Network;
use squall_core::scenario::Protocol;
use squall_core::tls::Mode;
use squall_core::way::{HeaderVersion, ProxyProtocol, Source, Transparent, Way};

use super::out::{say, table};
use super::reach::Reach;
use super::status::pretty;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add a proxy, or change the one of this name
    Add(Add),
    /// Remove a proxy: its open connections go on until they end
    Rm {
        /// Its name
        name: String,
    },
    /// All proxies with their figures
    List {
        /// As JSON, as GET /v1/proxies gives it
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Its name: a-z, 0-9 and -
    name: String,
    /// `address:port` (port 0: any), `[v6]:port` or `unix:PATH`
    #[arg(long, value_name = "ADDRESS")]
    listen: String,
    /// `host:port` or `unix:PATH`; `original` with --transparent
    #[arg(long, value_name = "ADDRESS")]
    upstream: String,
    /// Connections at one moment; left out: as many as descriptors allow
    #[arg(long, value_name = "N")]
    max_connections: Option<u64>,
    /// How long a connect to the upstream may take, as in 5s
    #[arg(long, value_name = "DURATION")]
    connect_timeout: Option<String>,
    /// The node whose connections it carries, for faults between groups of nodes
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// The node that it carries them to
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
    /// A connection from here must begin with a PROXY header (may be repeated)
    #[arg(long, value_name = "NETWORK")]
    accept_from: Vec<Network>,
    /// PROXY header that the upstream gets: v1 or v2
    #[arg(long, value_name = "VERSION", value_parser = word::<HeaderVersion>)]
    send_proxy: Option<HeaderVersion>,
    /// Takes connections that the kernel brings here: redirect or tproxy
    #[arg(long, value_name = "HOW", value_parser = word::<Transparent>)]
    transparent: Option<Transparent>,
    /// Whose address the upstream sees, if not squall's: client
    #[arg(long, value_name = "WHOSE", value_parser = word::<Source>)]
    source: Option<Source>,
    /// Mark of the packets to the upstream
    #[arg(long, value_name = "N")]
    mark: Option<u32>,
    /// Carry datagrams instead of connections
    #[arg(long)]
    udp: bool,
    /// With --udp: how long a client may be silent before its association ends, as in 60s
    #[arg(long, value_name = "DURATION", requires = "udp")]
    idle_timeout: Option<String>,
}

/// A word of the language.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// What is out of the ordinary about a proxy's way, in a few words.
fn told(way: &Way) -> String {
    let headers = way.proxy_protocol.clone().unwrap_or_default();
    let word = |value: Option<serde_json::Value>| value.as_ref().and_then(|word| word.as_str().map(str::to_owned));
    let parts = [
        word(serde_json::to_value(way.transparent).ok()),
        (!headers.accept_from.is_empty()).then(|| "takes headers".to_owned()),
        word(serde_json::to_value(headers.send).ok()).map(|version| format!("sends {version}")),
        word(serde_json::to_value(way.source).ok()).map(|whose| format!("as {whose}")),
        way.mark.map(|mark| format!("mark {mark}")),
        way.tls.as_ref().map(|tls| match tls.mode {
            Mode::Passthrough => "reads TLS".to_owned(),
            Mode::Terminate => "ends TLS".to_owned(),
        }),
        way.upstream_tls.as_ref().map(|_| "TLS to the upstream".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(crate) fn run(args: Args) -> Outcome {
    let client = args.reach.client()?;
    match args.action {
        Action::Add(add) => {
            let request = ProxyRequest {
                listen: add.listen,
                upstream: add.upstream,
                max_connections: add.max_connections,
                connect_timeout: add.connect_timeout,
                from: add.from,
                to: add.to,
                proxy_protocol: (!add.accept_from.is_empty() || add.send_proxy.is_some())
                    .then_some(ProxyProtocol { accept_from: add.accept_from, send: add.send_proxy }),
                transparent: add.transparent,
                source: add.source,
                mark: add.mark,
                idle_timeout: add.idle_timeout,
                protocol: if add.udp { Protocol::Udp } else { Protocol::Tcp },
                ..ProxyRequest::default()
            };
            let proxy = client.put_proxy(&add.name, &request)?.proxy;
            say!("proxy {} {} -> {}", proxy.name, proxy.listen, proxy.upstream);
        }
        Action::Rm { name } => {
            client.delete_proxy(&name)?;
            say!("proxy {name} is removed");
        }
        Action::List { json } => {
            let proxies = client.proxies()?;
            if json {
                say!("{}", pretty(&proxies)?);
                return Ok(Exit::Done);
            }
            let head = ["PROXY", "LISTEN", "UPSTREAM", "ACTIVE", "ACCEPTED", "UP", "DOWN", "WAY"];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            for view in proxies {
                rows.push(vec![
                    view.proxy.name,
                    view.proxy.listen,
                    view.proxy.upstream,
                    view.active.to_string(),
                    view.accepted.to_string(),
                    format!("{}B", view.bytes_upstream),
                    format!("{}B", view.bytes_downstream),
                    told(&view.way),
                ]);
            }
            table(&rows);
        }
    }
    Ok(Exit::Done)
}
