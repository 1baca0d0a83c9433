//! `[[proxy]]` and `[[service]]`

use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::{self, Target, target};
use super::draft::{ProxyDraft, ServiceDraft, ServiceWord};
use super::fault::reference;
use super::node::{Node, Table};
use super::reader::{Reader, item, join};
use super::world::World;
use super::{way, words};
use crate::diagnostic::{Diagnostic, Source};
use crate::fault::Carrier;
use crate::recording::Recording;
use crate::scenario::{Calls, Capacity, Protocol, ProxySpec, ServiceKind, ServiceSpec};
use crate::time::SECOND;
use crate::way::ORIGINAL;

/// Where a time-out is not written.
pub(crate) const TIMEOUT: u64 = 5 * SECOND;
/// Requests that wait for a service of limited capacity, where nothing is written.
const QUEUE: u64 = 1024;
/// Requests that a service may serve, or keep waiting, at one moment.
const MOST_PLACES: u64 = 16_384;
/// Others that a service may ask.
const MOST_CALLS: usize = 16;

/// Reads and checks one proxy.
pub(crate) fn proxy(reader: &mut Reader, table: &Table, index: usize, world: &World) -> Option<ProxySpec> {
    let path = item("proxy", table, index);
    let draft: ProxyDraft = reader.read(table, &path)?;
    check_datagrams(reader, table, &path, &draft);
    if let Err(why) = address::listen(&draft.listen) {
        reader.error(table, &path, "listen", why);
    }
    if draft.transparent.is_none() {
        let carrier = draft.protocol.unwrap_or_default().carrier();
        check_target(reader, table, &path, "upstream", &draft.upstream, carrier, world);
    }
    let way = way::read(reader, table, &path, &draft);
    if draft.max_connections == Some(0) {
        reader.error(table, &path, "max_connections", "a proxy that takes no connection is of no use");
    }
    let slo = draft.slo.as_ref().map(|slo| (slo.objective.0 / 100.0, slo.window.0));
    if let Some((objective, window)) = slo
        && (objective >= 1.0 || objective <= 0.0 || window == 0)
    {
        reader.error(table, &path, "slo", "an objective lies between 0 and 100 %, both excluded, over some time");
    }
    if draft.connect_timeout.is_some_and(|timeout| timeout.0 == 0) {
        reader.error(table, &path, "connect_timeout", "no connection is made in no time");
    }
    Some(ProxySpec {
        name: draft.name.0,
        listen: draft.listen,
        upstream: draft.upstream,
        protocol: draft.protocol.unwrap_or_default(),
        max_connections: draft.max_connections,
        closes_unreached: false,
        connect_timeout: draft.connect_timeout.map_or(TIMEOUT, |timeout| timeout.0),
        idle_timeout: draft.idle_timeout.map_or(ProxySpec::IDLE_TIMEOUT, |timeout| timeout.0),
        slo,
        from: draft.from.map(|node| node.0),
        to: draft.to.map(|node| node.0),
        way,
    })
}

/// What only UDP has, and what it has not.
fn check_datagrams(reader: &mut Reader, table: &Table, path: &str, draft: &ProxyDraft) {
    if draft.protocol != Some(Protocol::Udp) {
        only_for(reader, table, path, &["idle_timeout"], false, "proxies with `protocol = \"udp\"`");
        return;
    }
    if draft.idle_timeout.is_some_and(|timeout| timeout.0 < SECOND) {
        reader.error(table, path, "idle_timeout", "an association must be silent for 1s at least before it ends");
    }
    for (key, address) in [("listen", &draft.listen), ("upstream", &draft.upstream)] {
        if address.starts_with("unix:") {
            reader.error(table, path, key, "datagrams over unix sockets are not carried: give `host:port`");
        }
    }
}

/// Checks where somebody sends to who is carried as `carrier`.
pub(crate) fn check_target(
    reader: &mut Reader,
    table: &Table,
    path: &str,
    key: &str,
    text: &str,
    carrier: Carrier,
    world: &World,
) {
    match target(text) {
        Err(why) => reader.error(table, path, key, why),
        Ok(Target::Service(name)) => {
            if let Some(service) = world.services.iter().find(|known| known.name == name) {
                return check_carrier(reader, table, path, key, &format!("service `{name}`"), carrier, service.carrier);
            }
            let known = world.services.iter().map(|known| known.name.as_str());
            let mut diagnostic = Diagnostic::error(format!("there is no service `{name}`"));
            diagnostic.help = words::nearest(name, known.clone())
                .map(words::did_you_mean)
                .or_else(|| (!world.services.is_empty()).then(|| words::expected(known)));
            reader.at(diagnostic, table, path, key);
        }
        Ok(Target::Proxy(name)) => {
            if name.contains('*') {
                return reader.error(table, path, key, "an address is that of one proxy: no globs here");
            }
            reference(reader, table, path, key, name, world);
            for known in world.named(name) {
                let theirs = known.protocol.map(Protocol::carrier);
                check_carrier(reader, table, path, key, &format!("proxy `{name}`"), carrier, theirs);
            }
            if world.named(name).any(|known| known.upstream == ORIGINAL) {
                let why = format!("proxy `{name}` is transparent: it takes only what the kernel redirects to it");
                reader.error(table, path, key, why);
            }
        }
        Ok(Target::Original) if !table.has("transparent") => {
            reader.error(table, path, key, "`original` is the upstream of transparent proxies");
        }
        Ok(_) => {}
    }
}

/// Whoever sends datagrams needs somebody who takes them.
fn check_carrier(
    reader: &mut Reader,
    table: &Table,
    path: &str,
    key: &str,
    who: &str,
    own: Carrier,
    theirs: Option<Carrier>,
) {
    if theirs.is_none_or(|theirs| theirs == own) {
        return;
    }
    let why = match own {
        Carrier::Datagrams => format!("{who} does not take datagrams: `udp` goes to `udp` and `udp-echo`"),
        Carrier::Stream => format!("{who} takes datagrams only, and what comes here are connections"),
    };
    reader.error(table, path, key, why);
}

/// Reads and checks one service.
pub(crate) fn service(reader: &mut Reader, table: &Table, index: usize, world: &World) -> Option<ServiceSpec> {
    let path = item("service", table, index);
    let draft: ServiceDraft = reader.read(table, &path)?;
    let listen = draft.listen.clone().unwrap_or_else(|| "127.0.0.1:0".into());
    if let Err(why) = address::socket(&listen) {
        reader.error(table, &path, "listen", why);
    }
    let of_http = ["answers", "capacity", "queue", "calls", "tries", "timeout"];
    only_for(reader, table, &path, &of_http, draft.kind == ServiceWord::Http, "http services");
    only_for(reader, table, &path, &["text"], draft.kind == ServiceWord::Banner, "banner services");
    let of_recording = ["file", "recording", "timing", "strict"];
    only_for(reader, table, &path, &of_recording, draft.kind == ServiceWord::Recording, "recording services");
    let kind = match draft.kind {
        ServiceWord::Echo => ServiceKind::Echo,
        ServiceWord::UdpEcho => ServiceKind::UdpEcho,
        ServiceWord::Recording => ServiceKind::Recording {
            recording: recorded(reader, table, &path, &draft)?,
            timing: draft.timing.unwrap_or_default(),
            strict: draft.strict.unwrap_or_default(),
        },
        ServiceWord::Banner => ServiceKind::Banner { text: draft.text.unwrap_or_else(|| "squall\r\n".into()) },
        ServiceWord::Http => {
            let (capacity, calls) =
                (capacity(reader, table, &path, &draft), calls(reader, table, &path, &draft, world));
            let answers = draft.answers.unwrap_or_default();
            let status = answers.status.unwrap_or(200);
            let inner = table.node("answers").and_then(Node::as_table).unwrap_or(table);
            let path = join(&path, "answers");
            check_status(reader, inner, &path, Some(status));
            let latency = match answers.latency.map(crate::dist::DistributionConfig::build) {
                None => None,
                Some(Ok(latency)) => Some(latency),
                Some(Err(misfit)) => {
                    let table = inner.node("latency").and_then(Node::as_table).unwrap_or(inner);
                    let path = join(&path, "latency");
                    reader.error(table, &path, misfit.field.unwrap_or_default(), misfit.message);
                    None
                }
            };
            ServiceKind::Http { status, size: answers.size.map_or(0, |size| size.0), latency, capacity, calls }
        }
    };
    Some(ServiceSpec { name: draft.name.0, kind, listen })
}

/// The recording whose text stands in a service.
fn recorded(reader: &mut Reader, table: &Table, path: &str, draft: &ServiceDraft) -> Option<Arc<Recording>> {
    let Some(text) = &draft.recording else {
        if draft.file.is_some() {
            let why = "a file is read only where a scenario's own file names it: give its text as `recording`";
            reader.error(table, path, "file", why);
        } else if !table.has("file") {
            reader.error(
                table,
                path,
                "file",
                "which recording? Name a file beside the scenario, made by `squall record`",
            );
        }
        return None;
    };
    if draft.file.is_some() {
        reader.error(table, path, "file", "`file` and `recording` exclude each other");
    }
    let source = Arc::new(Source { name: format!("the recording of {path}"), text: text.clone() });
    match super::recording::recording(&source) {
        Ok(recording) => Some(Arc::new(recording)),
        Err(told) => {
            reader.bring(told);
            None
        }
    }
}

fn capacity(reader: &mut Reader, table: &Table, path: &str, draft: &ServiceDraft) -> Option<Capacity> {
    let Some(serving) = draft.capacity else {
        if table.has("queue") {
            reader.error(table, path, "queue", "nobody waits for a service without a `capacity`");
        }
        return None;
    };
    let queue = draft.queue.unwrap_or(QUEUE);
    if !(1..=MOST_PLACES).contains(&serving) {
        reader.error(table, path, "capacity", format!("between 1 and {MOST_PLACES} requests at one moment"));
    }
    if queue > MOST_PLACES {
        reader.error(table, path, "queue", format!("at most {MOST_PLACES} requests wait"));
    }
    Some(Capacity { serving, queue })
}

fn calls(reader: &mut Reader, table: &Table, path: &str, draft: &ServiceDraft, world: &World) -> Option<Calls> {
    let Some(targets) = &draft.calls else {
        for key in ["tries", "timeout"].into_iter().filter(|key| table.has(key)) {
            reader.error(table, path, key, format!("`{key}` is for a service that `calls` others"));
        }
        return None;
    };
    if !(1..=MOST_CALLS).contains(&targets.len()) {
        reader.error(table, path, "calls", format!("between 1 and {MOST_CALLS} to ask"));
    }
    for text in targets {
        match target(text) {
            Ok(Target::Service(_) | Target::Proxy(_)) => {
                check_target(reader, table, path, "calls", text, Carrier::Stream, world);
            }
            _ => {
                reader.error(table, path, "calls", format!("`{text}`: a service calls `service:NAME` or `proxy:NAME`"))
            }
        }
    }
    let tries = draft.tries.unwrap_or(1);
    if !(1..=100).contains(&tries) {
        reader.error(table, path, "tries", "between 1 and 100 attempts");
    }
    if draft.timeout.is_some_and(|timeout| timeout.0 == 0) {
        reader.error(table, path, "timeout", "nothing is answered in no time");
    }
    Some(Calls { targets: targets.clone(), tries, timeout: draft.timeout.map_or(TIMEOUT, |timeout| timeout.0) })
}

pub(crate) fn only_for(reader: &mut Reader, table: &Table, path: &str, keys: &[&str], fits: bool, whose: &str) {
    for key in keys.iter().filter(|key| !fits && table.has(key)) {
        reader.error(table, path, key, format!("`{key}` is for {whose}"));
    }
}

pub(crate) fn check_status(reader: &mut Reader, table: &Table, path: &str, status: Option<u16>) {
    if status.is_some_and(|status| !(200..600).contains(&status)) {
        reader.error(table, path, "status", "a status lies between 200 and 599");
    }
}

/// What is written goes into a request's head: nothing may break out of its place.
pub(crate) fn check_head(
    reader: &mut Reader,
    table: &Table,
    path: &str,
    method: Option<&str>,
    headers: Option<&BTreeMap<String, String>>,
) {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
    };
    if method.is_some_and(|method| !token(method)) {
        reader.error(table, path, "method", "this is not an HTTP method");
    }
    for (name, value) in headers.into_iter().flatten() {
        let inner = table.node("headers").and_then(Node::as_table).unwrap_or(table);
        if !token(name) || value.bytes().any(|c| c < b' ' && c != b'\t' || c == 127) {
            reader.error(inner, &join(path, "headers"), name, "this is not an HTTP header");
        }
        if ["content-length", "transfer-encoding", "host", "connection"].contains(&name.to_lowercase().as_str()) {
            reader.error(inner, &join(path, "headers"), name, "squall writes this header itself");
        }
    }
}
