//! `squall proxy add|rm|list`

use squall_control::api::ProxyRequest;

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
    /// `host:port` or `unix:PATH`
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
            let head = ["PROXY", "LISTEN", "UPSTREAM", "ACTIVE", "ACCEPTED", "UP", "DOWN"];
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
                ]);
            }
            table(&rows);
        }
    }
    Ok(Exit::Done)
}
