//! What the names in a document may refer to: everything that the documents given together define.

use super::address::{Target, arrives, target};
use super::node::{Node, Table};
use super::reader::{Reader, item};
use super::words;
use crate::fault::Carrier;
use crate::groups::Link;
use crate::matcher::NeverFault;
use crate::scenario::{Protocol, ProxySpec};
use crate::tls::Mode;
use crate::unit::Percentage;

/// Everything that has a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) proxies: Vec<Known>,
    pub(crate) services: Vec<KnownService>,
    /// Whether an unknown proxy is an error; else it may turn up at the start.
    pub(crate) strict: bool,
    pub(crate) max_percentage: Option<f64>,
    /// Paths that exec probes may run.
    pub(crate) allow_exec: Vec<String>,
    /// Paths that no fault touches.
    pub(crate) never_fault: NeverFault,
}

/// A service, as far as it could be read.
#[derive(Clone, Debug)]
pub(crate) struct KnownService {
    pub(crate) name: String,
    /// How it is reached; none: wrongly written.
    pub(crate) carrier: Option<Carrier>,
}

/// A proxy, as far as it could be read.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) listen: String,
    pub(crate) upstream: String,
    /// None: wrongly written.
    pub(crate) protocol: Option<Protocol>,
    /// Objective of its slo, 0 to 1; not a number: wrongly written.
    pub(crate) slo: Option<f64>,
    /// What becomes of its clients' TLS.
    pub(crate) tls: Option<Mode>,
    /// Whether some of its clients may ask for faults.
    pub(crate) lets_ask: bool,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    /// Which document defines it; none: it runs already.
    pub(crate) document: Option<usize>,
}

impl Known {
    pub(crate) fn of(spec: &ProxySpec) -> Known {
        Known {
            name: spec.name.clone(),
            listen: spec.listen.clone(),
            upstream: spec.upstream.clone(),
            protocol: Some(spec.protocol),
            slo: spec.slo.map(|(objective, _)| objective),
            tls: spec.way.tls.as_ref().map(|tls| tls.mode),
            lets_ask: spec.way.http.as_ref().is_some_and(|http| !http.envoy_headers_from.is_empty()),
            from: spec.from.clone(),
            to: spec.to.clone(),
            document: None,
        }
    }

    /// The link that it is between nodes.
    pub(crate) fn link(&self) -> Link<'_> {
        Link::new(&self.name, self.from.as_deref(), self.to.as_deref())
    }

    /// How it carries what it gets.
    pub(crate) fn carrier(&self) -> Carrier {
        self.protocol.unwrap_or_default().carrier()
    }

    /// Speaks HTTP, or may do so.
    pub(crate) fn may_be_http(&self) -> bool {
        !matches!(self.protocol, Some(Protocol::Tcp | Protocol::Udp))
    }
}

fn objective(table: &Table) -> Option<f64> {
    let written = table.node("slo")?.as_table().and_then(|slo| slo.node("objective")).map(Node::to_json);
    let share = match written {
        Some(serde_json::Value::String(text)) => text.parse::<Percentage>().ok().map(|share| share.0),
        Some(other) => other.as_f64(),
        None => None,
    };
    Some(share.map_or(f64::NAN, |share| share / 100.0))
}

impl World {
    /// Adds what a document defines, well written or not: one mistake should not make another.
    pub(crate) fn add(&mut self, root: &Table, document: usize) {
        for (_, table) in root.tables("proxy") {
            let text = |key| table.text(key).unwrap_or_default().to_owned();
            let protocol = match table.text("protocol") {
                None if !table.has("protocol") => Some(Protocol::Tcp),
                Some("tcp") => Some(Protocol::Tcp),
                Some("udp") => Some(Protocol::Udp),
                Some("http") => Some(Protocol::Http),
                Some("auto") => Some(Protocol::Auto),
                _ => None,
            };
            self.proxies.push(Known {
                name: text("name"),
                listen: text("listen"),
                upstream: text("upstream"),
                protocol,
                slo: objective(table),
                tls: tls(table),
                lets_ask: table
                    .node("http")
                    .and_then(Node::as_table)
                    .is_some_and(|http| http.has("envoy_headers_from")),
                from: table.text("from").map(str::to_owned),
                to: table.text("to").map(str::to_owned),
                document: Some(document),
            });
            self.strict = true;
        }
        self.services.extend(root.tables("service").filter_map(|(_, table)| {
            let carrier = match table.text("kind") {
                Some("udp-echo") => Some(Carrier::Datagrams),
                Some("http" | "echo" | "banner" | "recording") => Some(Carrier::Stream),
                _ => None,
            };
            Some(KnownService { name: table.text("name")?.to_owned(), carrier })
        }));
    }

    /// The proxies that a name or glob stands for.
    pub(crate) fn named<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = &'a Known> {
        self.proxies.iter().filter(move |known| glob(pattern, &known.name))
    }

    /// What to say about a proxy that is not known.
    pub(crate) fn nearest_proxy(&self, name: &str) -> Option<String> {
        let names = || self.proxies.iter().map(|known| known.name.as_str());
        match words::nearest(name, names()) {
            Some(near) => Some(words::did_you_mean(near)),
            None if self.proxies.is_empty() => None,
            None => Some(words::expected(names())),
        }
    }

    /// The rings of proxies through which a connection would come back to where it was, by member.
    pub(crate) fn rings(&self) -> Vec<Option<Vec<&str>>> {
        let next: Vec<Option<usize>> = self.proxies.iter().map(|known| self.next(known)).collect();
        (0..self.proxies.len()).map(|start| self.ring(start, &next)).collect()
    }

    fn ring(&self, start: usize, next: &[Option<usize>]) -> Option<Vec<&str>> {
        let mut ring = vec![start];
        let mut at = start;
        for _ in 0..=next.len() {
            at = next[at]?;
            if at == start {
                return Some(ring.into_iter().map(|at| self.proxies[at].name.as_str()).collect());
            }
            ring.push(at);
        }
        None
    }

    fn next(&self, known: &Known) -> Option<usize> {
        let upstream = known.upstream.as_str();
        match target(upstream).ok()? {
            Target::Proxy(name) => self.proxies.iter().position(|other| other.name == name),
            Target::Service(_) | Target::Original => None,
            Target::Unix(_) => self.proxies.iter().position(|other| other.listen == upstream),
            Target::Host(..) => {
                let port = upstream.rsplit(':').next();
                let carrier = known.carrier();
                let same_port = |other: &Known| other.carrier() == carrier && other.listen.rsplit(':').next() == port;
                self.proxies.iter().position(|other| same_port(other) && arrives(&other.listen, upstream))
            }
        }
    }
}

/// Wrongly written, it is told elsewhere: it stands for what allows most.
fn tls(proxy: &Table) -> Option<Mode> {
    let written = proxy.node("tls")?.as_table().and_then(|tls| tls.text("mode"));
    Some(if written == Some("passthrough") { Mode::Passthrough } else { Mode::Terminate })
}

/// Refuses what two proxies can't both have, and proxies routed to themselves. `counts` tells which other documents'
/// proxies (none: running ones) are there at the same time.
pub(crate) fn collisions(
    reader: &mut Reader,
    root: &Table,
    document: usize,
    world: &World,
    counts: impl Fn(Option<usize>) -> bool,
) {
    let rings = world.rings();
    let own = world.proxies.iter().enumerate().filter(|(_, known)| known.document == Some(document));
    for ((at, known), (index, table)) in own.zip(root.tables("proxy")) {
        let path = item("proxy", table, index);
        let others = || {
            let before = |(other, known): &(usize, &Known)| known.document != Some(document) || *other < at;
            world
                .proxies
                .iter()
                .enumerate()
                .filter(before)
                .map(|(_, other)| other)
                .filter(|other| counts(other.document))
        };
        if !known.name.is_empty() && others().any(|other| other.name == known.name) {
            reader.error(table, &path, "name", format!("there is a proxy `{}` already", known.name));
        }
        let taken = |other: &&Known| other.carrier() == known.carrier() && arrives(&other.listen, &known.listen);
        if let Some(other) = others().find(taken) {
            let message = format!("proxy `{}` listens on {} already", other.name, other.listen);
            reader.error(table, &path, "listen", message);
        }
        match rings.get(at) {
            Some(Some(ring)) if ring.len() == 1 => {
                reader.error(table, &path, "upstream", format!("proxy `{}` would be routed to itself", known.name));
            }
            Some(Some(ring)) => {
                let message =
                    format!("proxy `{}` would be routed to itself: {} → {}", known.name, ring.join(" → "), ring[0]);
                reader.error(table, &path, "upstream", message);
            }
            _ => {}
        }
    }
}

/// Whether a glob with `*` matches a name.
pub fn glob(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (pattern, name) in [("*", "a"), ("a*", "a"), ("a*c", "abc"), ("*-db-*", "x-db-1"), ("a**", "ab")] {
            assert!(glob(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "ab"), ("a*a", "a"), ("*b", "ba"), ("*-db-*", "db")] {
            assert!(!glob(pattern, name), "{pattern} {name}");
        }
    }
}
