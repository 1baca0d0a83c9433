//! `[[workload]]`

mod draft;
mod requests;

use super::address::{Target, target};
use super::node::{Node, Table, Value};
use super::reader::{Reader, item, join};
use super::stand::{TIMEOUT, check_head, check_status, check_target, only_for};
use super::world::World;
use crate::diagnostic::Diagnostic;
use crate::fault::Carrier;
use crate::scenario::{
    Arrivals, Burst, HttpRequest, LARGEST_DATAGRAM, SMALLEST_DATAGRAM, TcpRequest, Weighted, WorkloadKind, WorkloadSpec,
};
use crate::time::MILLI;
use draft::{ArrivalsWord, HTTP_FIELDS, REQUEST_FIELDS, RequestDraft, TCP_FIELDS, WorkloadWord};

pub(crate) use draft::WorkloadDraft;
pub(crate) use requests::{names_a_file, put_in_place};

/// Requests of one workload: each has figures of its own.
const MOST_REQUESTS: usize = 100;
const MOST_WEIGHT: u64 = 1_000_000;
/// Payload of datagrams where nothing is written, bytes.
const DATAGRAM: usize = 64;
/// Sockets that send datagrams in turn.
const MOST_SOCKETS: u64 = 1_000;

/// Reads and checks one workload.
pub(crate) fn read(reader: &mut Reader, table: &Table, index: usize, world: &World) -> Option<WorkloadSpec> {
    let path = item("workload", table, index);
    let draft: WorkloadDraft = reader.read(table, &path)?;
    let carrier = match draft.kind {
        WorkloadWord::Http | WorkloadWord::Tcp => Carrier::Stream,
        WorkloadWord::Udp => Carrier::Datagrams,
    };
    check_target(reader, table, &path, "target", &draft.target, carrier, world);
    check_socket(reader, table, &path, &draft.target, world);
    let arrivals = arrivals(reader, table, &path, &draft);
    let rates = draft.rate.values();
    let silent = rates.iter().all(|rate| **rate == 0.0) && !matches!(arrivals, Arrivals::Bursty(_));
    if rates.iter().any(|rate| !is_rate(**rate)) || silent {
        reader.error(
            table,
            &path,
            "rate",
            "a rate lies between 0 and 1000000 arrivals per second, and is not always 0",
        );
    }
    if draft.timeout.is_some_and(|timeout| timeout.0 == 0) {
        reader.error(table, &path, "timeout", "nothing is answered in no time");
    }
    if draft.retries.is_some_and(|retries| retries > 100) {
        reader.error(table, &path, "retries", "at most 100 attempts beyond the first");
    }
    if draft.connections.is_some_and(|connections| !(1..=100_000).contains(&connections)) {
        reader.error(table, &path, "connections", "between 1 and 100000 connections; left out, one per request");
    }
    let kind = kind(reader, table, &path, &draft)?;
    Some(WorkloadSpec {
        name: draft.name.0,
        target: draft.target,
        kind,
        rate: draft.rate,
        arrivals,
        timeout: draft.timeout.map_or(TIMEOUT, |timeout| timeout.0),
        retries: draft.retries.unwrap_or(0),
        connections: draft.connections,
    })
}

fn is_rate(rate: f64) -> bool {
    (0.0..=1e6).contains(&rate)
}

/// Load goes over TCP: a unix socket is reached through a proxy before it.
fn check_socket(reader: &mut Reader, table: &Table, path: &str, text: &str, world: &World) {
    let is_socket = match target(text) {
        Ok(Target::Unix(_)) => true,
        Ok(Target::Proxy(name)) => world.named(name).any(|known| known.listen.starts_with("unix:")),
        _ => false,
    };
    if is_socket {
        let help = "aim it at a proxy that listens on a port and whose `upstream` is the socket";
        let diagnostic = Diagnostic::error("load over unix sockets is not available").help(help);
        reader.at(diagnostic, table, path, "target");
    }
}

fn arrivals(reader: &mut Reader, table: &Table, path: &str, draft: &WorkloadDraft) -> Arrivals {
    let is_bursty = draft.arrivals == Some(ArrivalsWord::Bursty);
    let Some(burst) = draft.burst.as_ref().filter(|_| is_bursty) else {
        if is_bursty {
            reader.error(table, path, "arrivals", "bursty arrivals need `burst = { rate = …, on = …, off = … }`");
        } else if draft.burst.is_some() {
            reader.error(table, path, "burst", "`burst` goes with `arrivals = \"bursty\"`");
        }
        return if draft.arrivals == Some(ArrivalsWord::Poisson) { Arrivals::Poisson } else { Arrivals::Constant };
    };
    let (inner, path) = (table.node("burst").and_then(Node::as_table).unwrap_or(table), join(path, "burst"));
    if !is_rate(burst.rate) || burst.rate == 0.0 {
        reader.error(inner, &path, "rate", "a rate above 0 and up to 1000000 arrivals per second is expected here");
    }
    for (key, stay) in [("on", burst.on.0), ("off", burst.off.0)] {
        if stay < MILLI {
            reader.error(inner, &path, key, "a state lasts 1 ms on average at least");
        }
    }
    Arrivals::Bursty(Burst { rate: burst.rate, on: burst.on.0, off: burst.off.0 })
}

fn kind(reader: &mut Reader, table: &Table, path: &str, draft: &WorkloadDraft) -> Option<WorkloadKind> {
    let is_http = draft.kind == WorkloadWord::Http;
    only_for(reader, table, path, HTTP_FIELDS, is_http, "http workloads");
    only_for(reader, table, path, TCP_FIELDS, draft.kind == WorkloadWord::Tcp, "tcp workloads");
    only_for(reader, table, path, REQUEST_FIELDS, draft.kind != WorkloadWord::Udp, "http and tcp workloads");
    only_for(reader, table, path, &["size"], draft.kind == WorkloadWord::Udp, "udp workloads");
    if draft.kind == WorkloadWord::Udp {
        return Some(udp(reader, table, path, draft));
    }
    let Some(node) = table.node("requests").filter(|node| !matches!(node.value, Value::Null)) else {
        if table.has("requests") && reader.has_errors() {
            return None; // a file that could not be had
        }
        let one = draft.request();
        return Some(match is_http {
            true => WorkloadKind::Http(vec![http(reader, table, path, 0, one)]),
            false => WorkloadKind::Tcp(vec![tcp(reader, table, path, 0, one)]),
        });
    };
    for key in HTTP_FIELDS.iter().chain(TCP_FIELDS).filter(|key| table.has(key)) {
        reader.error(table, path, key, format!("`{key}` goes into each of the `requests`"));
    }
    let list = match &node.value {
        Value::List(list) => list,
        Value::Text(_) | Value::Loose(_) => {
            let help = "`squall start FILE` and `squall drill FILE` put the file's requests in its place";
            let diagnostic = Diagnostic::error("only a scenario's file can name another file").help(help);
            reader.at(diagnostic, table, path, "requests");
            return None;
        }
        _ => {
            reader.error(
                table,
                path,
                "requests",
                "a list of requests, or a file beside the scenario, is expected here",
            );
            return None;
        }
    };
    if !(1..=MOST_REQUESTS).contains(&list.len()) {
        reader.error(table, path, "requests", format!("between 1 and {MOST_REQUESTS} requests"));
        return None;
    }
    let mut names = std::collections::HashSet::new();
    let (mut https, mut tcps) = (Vec::new(), Vec::new());
    for (index, node) in list.iter().enumerate() {
        let path = join(path, &format!("requests[{index}]"));
        let Some(table) = node.as_table() else {
            reader.push(Diagnostic::error("a request is a table"), &path, node.span.clone());
            continue;
        };
        let Some(request) = reader.read::<RequestDraft>(table, &path) else { continue };
        if request.weight.is_some_and(|weight| !(1..=MOST_WEIGHT).contains(&weight)) {
            reader.error(table, &path, "weight", format!("a weight lies between 1 and {MOST_WEIGHT}"));
        }
        only_for(reader, table, &path, HTTP_FIELDS, is_http, "http workloads");
        only_for(reader, table, &path, TCP_FIELDS, !is_http, "tcp workloads");
        let name = match is_http {
            true => {
                https.push(http(reader, table, &path, index, request));
                https.last().map(|one| one.name.clone())
            }
            false => {
                tcps.push(tcp(reader, table, &path, index, request));
                tcps.last().map(|one| one.name.clone())
            }
        };
        if let Some(name) = name.filter(|name| !names.insert(name.clone())) {
            let diagnostic = Diagnostic::error(format!("there is a request {name:?} already"));
            reader.at(diagnostic.help("give each request a `name` of its own"), table, &path, "name");
        }
    }
    Some(if is_http { WorkloadKind::Http(https) } else { WorkloadKind::Tcp(tcps) })
}

fn udp(reader: &mut Reader, table: &Table, path: &str, draft: &WorkloadDraft) -> WorkloadKind {
    let size = draft.size.map_or(DATAGRAM, |size| usize::try_from(size.0).unwrap_or(usize::MAX));
    if !(SMALLEST_DATAGRAM..=LARGEST_DATAGRAM).contains(&size) {
        let why = format!("a datagram carries between {SMALLEST_DATAGRAM} and {LARGEST_DATAGRAM} bytes");
        reader.error(table, path, "size", why);
    }
    if draft.connections.is_some_and(|sockets| sockets > MOST_SOCKETS) {
        reader.error(table, path, "connections", format!("at most {MOST_SOCKETS} sockets send datagrams"));
    }
    WorkloadKind::Udp { size }
}

fn http(reader: &mut Reader, table: &Table, path: &str, _: usize, draft: RequestDraft) -> Weighted<HttpRequest> {
    check_status(reader, table, path, draft.status);
    if draft.path.as_deref().is_some_and(|text| !text.starts_with('/') || text.bytes().any(|c| c <= b' ' || c == 127)) {
        reader.error(table, path, "path", "a path begins with `/` and has no spaces or control characters");
    }
    check_head(reader, table, path, draft.method.as_deref(), draft.headers.as_ref());
    let (method, path) = (draft.method.unwrap_or_else(|| "GET".into()), draft.path.unwrap_or_else(|| "/".into()));
    let headers = draft.headers.unwrap_or_default();
    Weighted {
        name: draft.name.map_or_else(|| format!("{method} {path}"), |name| name.0),
        weight: draft.weight.unwrap_or(1),
        request: HttpRequest { method, path, headers, body: draft.body, status: draft.status },
    }
}

fn tcp(reader: &mut Reader, table: &Table, path: &str, index: usize, draft: RequestDraft) -> Weighted<TcpRequest> {
    for key in TCP_FIELDS.iter().filter(|key| table.text(key).is_none_or(str::is_empty)) {
        reader.error(table, path, key, format!("a tcp workload needs `{key}`: text of at least one byte"));
    }
    Weighted {
        name: draft.name.map_or_else(|| format!("request {}", index + 1), |name| name.0),
        weight: draft.weight.unwrap_or(1),
        request: TcpRequest { send: draft.send.unwrap_or_default(), expect: draft.expect.unwrap_or_default() },
    }
}
