//! `squall explain SCENARIO --path /v1/charges`

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use squall_core::explain::{Explanation, Question, explain};
use squall_core::http::{Fields, Method, Request, Response, StatusCode, is_field_name, is_field_value};
use squall_core::matcher::NeverFault;
use squall_core::parse;

use super::files::{self, Setting};
use super::out::{say, tell};
use super::status::pretty;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The scenario's file, or the name of one that squall brings
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// The configuration that it runs with: its proxies, and its `never_fault`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The request's method
    #[arg(long, default_value = "GET")]
    method: Method,
    /// Its path, with its query if it has one
    #[arg(long, value_name = "PATH")]
    path: Target,
    /// The host that it asks for
    #[arg(long, default_value = "")]
    host: String,
    /// One of its headers, as in 'x-tenant: 7'; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<Header>,
    /// The client's address
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The server name of its TLS handshake
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// A protocol that it offers there, as in h2; may be repeated
    #[arg(long, value_name = "NAME")]
    alpn: Vec<String>,
    /// The answer's status, for rules that look at it
    #[arg(long)]
    status: Option<StatusCode>,
    /// One of the answer's headers; may be repeated
    #[arg(long, value_name = "NAME: VALUE", requires = "status")]
    response_header: Vec<Header>,
    /// For a scenario that names no seed: a start draws one
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The connection on its listener, from 0, and which request of it, for faults that select by the order of arrival
    #[arg(long, value_name = "CONNECTION[/REQUEST]")]
    unit: Option<Unit>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Set a parameter: name=value
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
}

pub(crate) fn run(args: Args) -> Outcome {
    let question = question(&args)?;
    let read: Vec<&Path> =
        [Some(&args.scenario), args.config.as_ref()].into_iter().flatten().map(|file| &**file).collect();
    let parse::Outcome { scenarios, config, .. } = files::load(&read, &files::settings(args.set.clone()))?;
    let [scenario] = scenarios.as_slice() else {
        return Err(Failure::input("explain takes one scenario (it has `name` and `[[fault]]`)"));
    };
    if args.config.is_some() && config.is_none() {
        return Err(Failure::input("the file of --config is no configuration"));
    }
    let seed = scenario.seed.or(args.seed).unwrap_or_else(|| {
        tell!("note: {} names no seed, and a start draws one; shown for seed 0", scenario.name);
        0
    });
    let never = config.as_ref().map(|config| NeverFault::compile(&config.safety.never_fault)).unwrap_or_default();
    let proxies = config.map(|config| config.proxies).unwrap_or_default();
    let explanation: Explanation = explain(scenario, &proxies, &never, seed, &question);
    match args.json {
        true => say!("{}", pretty(&explanation)?),
        false => say!("{}", explanation.to_string().trim_end()),
    }
    Ok(Exit::Done)
}

fn question(args: &Args) -> Result<Question, Failure> {
    let mut fields = fields(&args.header);
    let authority = match fields.text("host").map(str::to_owned) {
        Some(host) if args.host.is_empty() => host,
        _ => args.host.clone(),
    };
    fields.remove("host");
    let size = match fields.text("content-length").map(str::parse::<u64>) {
        Some(Err(_)) => return Err(Failure::input("content-length is a number of bytes")),
        length => length.and_then(Result::ok),
    };
    let request =
        Request { method: args.method.clone(), authority, target: args.path.0.clone(), fields, ..Request::default() };
    let answer = |status| Response { status, fields: self::fields(&args.response_header), ..Response::default() };
    Ok(Question {
        request,
        size,
        client: args.client,
        sni: args.sni.clone(),
        alpn: args.alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
        response: args.status.map(answer),
        unit: args.unit.map(|Unit(connection, request)| (connection, request)),
    })
}

fn fields(headers: &[Header]) -> Fields {
    headers.iter().map(|Header(name, value)| (name, value)).collect()
}

/// Path and query.
#[derive(Clone, Debug)]
struct Target(String);

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        match text.starts_with('/') || text == "*" {
            true => Ok(Target(text.into())),
            false => Err("a path begins with `/`; the host is told by --host".into()),
        }
    }
}

/// `name: value`
#[derive(Clone, Debug)]
struct Header(String, String);

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Header, String> {
        let (name, value) = text.split_once(':').ok_or("expected 'name: value'")?;
        let (name, value) = (name.trim(), value.trim());
        if !is_field_name(name.as_bytes()) || !is_field_value(value.as_bytes()) {
            return Err("this can't be a header".into());
        }
        Ok(Header(name.into(), value.into()))
    }
}

/// `3` or `3/1`
#[derive(Clone, Copy, Debug)]
struct Unit(u64, u64);

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Unit, String> {
        let (connection, request) = text.split_once('/').unwrap_or((text, "0"));
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
        Ok(Unit(number(connection)?, number(request)?))
    }
}
