//! `squall serve`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use squall_control::api::ProxyRequest;
use squall_core::config::Config;

use super::abort::told;
use super::files;
use super::interrupt::{self, Wish};
use super::out::{say, tell};
use crate::exit::{Exit, Failure, Outcome};
use crate::language;
use crate::wiring::{DRAIN, Wired};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration (squall.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where a proxy named `default` listens
    #[arg(long, value_name = "ADDRESS", requires = "upstream")]
    listen: Option<String>,
    /// Where it leads
    #[arg(long, value_name = "ADDRESS", requires = "listen")]
    upstream: Option<String>,
    /// Where the control port listens: `address:port` or `unix:PATH`. Else as configured, else any port of 127.0.0.1
    #[arg(long, value_name = "ADDRESS")]
    control: Option<String>,
    /// Where the Toxiproxy-compatible API listens: `address:port`, on loopback. Else as configured, else nowhere
    #[arg(long, value_name = "ADDRESS")]
    toxiproxy: Option<String>,
}

/// Where the control port listens unless said otherwise.
pub(crate) const ANY_PORT: &str = "127.0.0.1:0";

pub(crate) fn run(args: Args) -> Outcome {
    let config = config(&args)?;
    if config.proxies.is_empty() && args.config.is_none() && args.control.is_none() && args.toxiproxy.is_none() {
        return Err(Failure::input(
            "nothing to serve: give --config FILE, --listen with --upstream, --control ADDRESS or --toxiproxy ADDRESS",
        ));
    }
    let wishes = interrupt::listen()?;
    let listen = args.control.or_else(|| config.control.listen.clone()).unwrap_or_else(|| ANY_PORT.into());
    let wired = Wired::new(config, args.config)?;
    for proxy in wired.open(&listen)? {
        say!("proxy {} {} -> {}", proxy.spec.name, proxy.listen, proxy.spec.upstream);
    }
    let server = wired.control(&listen)?;
    if let Some(place) = server.metrics() {
        say!("metrics {place}");
    }
    if let Some(place) = server.toxiproxy() {
        say!("toxiproxy {place}");
    }
    say!("control {}", server.place());
    attend(&wired, &wishes);
    wired.shut(DRAIN);
    Ok(Exit::Done)
}

fn config(args: &Args) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(file) => {
            let (config, notes) = language::config(file).map_err(|mistakes| files::refuse(&mistakes))?;
            files::show(&notes);
            config
        }
        None => Config::default(),
    };
    if let Some(toxiproxy) = &args.toxiproxy {
        let is_local = toxiproxy.starts_with("localhost:")
            || toxiproxy.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
        if !is_local && !config.control.toxiproxy_open {
            let why =
                "--toxiproxy takes `address:port` on loopback; elsewhere it needs [control] toxiproxy_open = true";
            return Err(Failure::input(why));
        }
        config.control.toxiproxy = Some(toxiproxy.clone());
    }
    if let (Some(listen), Some(upstream)) = (&args.listen, &args.upstream) {
        if config.proxies.iter().any(|proxy| proxy.name == "default") {
            return Err(Failure::input(
                "--listen brings the proxy `default`, and the configuration has one of this name too",
            ));
        }
        let request = ProxyRequest { listen: listen.clone(), upstream: upstream.clone(), ..ProxyRequest::default() };
        config.proxies.push(language::proxy("default", &request).map_err(|mistakes| files::refuse(&mistakes))?);
    }
    Ok(config)
}

/// Does what signals ask for, until the end is asked for. Ctrl-C lifts the faults; the second one never comes here.
fn attend(wired: &Arc<Wired>, wishes: &Receiver<Wish>) {
    for wish in wishes {
        match wish {
            Wish::Terminate => return,
            Wish::Enter(_) => {}
            Wish::Stop => {
                let report = wired.engine().abort_all("Ctrl-C", Duration::from_millis(50));
                tell!("{}; Ctrl-C again ends squall", told(&report));
            }
            Wish::Reload => match wired.reload() {
                Ok(changes) if changes.is_empty() => tell!("reloaded: nothing has changed"),
                Ok(changes) => changes.iter().for_each(|change| tell!("reloaded: {change}")),
                Err(mistakes) => {
                    files::show(&mistakes);
                    tell!("the old configuration stays");
                }
            },
        }
    }
}
