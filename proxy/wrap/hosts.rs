//! Which hosts are opened: their TLS ends at squall, and faults may act on their calls. All others are blind tunnels.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;

use squall_core::config::Safety;
use squall_core::limits::Limits;
use squall_core::scenario::{Checked, Protocol, ProxySpec};
use squall_core::time::SECOND;
use squall_core::tls::{Mode, Tls, UpstreamTls};
use squall_core::way::{HttpWay, Way};

/// How the names of the proxies of hosts begin.
pub const HOST: &str = "host:";
const HTTPS: u16 = 443;
const HTTP: u16 = 80;
/// How long a connect to the real service may take.
const CONNECT_TIMEOUT: u64 = 10 * SECOND;

/// A port of an opened host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// In lower case.
    pub name: String,
    /// The port that clients ask for.
    pub port: u16,
    /// Clients speak TLS there.
    pub tls: bool,
    /// Whoever stands in for it.
    pub map: Option<StandIn>,
}

/// Who answers instead of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    /// It speaks TLS.
    pub tls: bool,
}

/// `--only [http://|https://]HOST[:PORT]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    /// In lower case.
    pub name: String,
    port: Option<u16>,
    tls: Option<bool>,
}

/// `--map HOST[:PORT]=[http://|https://]ADDRESS:PORT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// What is asked for.
    pub host: Only,
    /// Who answers.
    pub to: StandIn,
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Only, String> {
        let (tls, rest) = scheme(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| format!("`{port}` is not a port"))?)),
            None => (rest, None),
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let whole = name.trim_end_matches('.');
        // an empty one would be more than no host: a CA that is kept to it is kept to nothing
        if whole.is_empty() || name.len() > 253 || !name.bytes().all(fits) {
            return Err(format!("`{name}` is not the name of a host"));
        }
        Ok(Only { name: whole.to_ascii_lowercase(), port, tls })
    }
}

impl FromStr for Mapped {
    type Err = String;

    fn from_str(text: &str) -> Result<Mapped, String> {
        let expected = || format!("`{text}`: expected HOST=ADDRESS:PORT, as in api.stripe.com=127.0.0.1:9000");
        let (host, to) = text.split_once('=').ok_or_else(expected)?;
        let (tls, address) = scheme(to);
        let local = address.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = local.as_deref().unwrap_or(address).parse().map_err(|_| expected())?;
        Ok(Mapped { host: host.parse()?, to: StandIn { address, tls: tls.unwrap_or(false) } })
    }
}

fn scheme(text: &str) -> (Option<bool>, &str) {
    match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (Some(true), rest),
        (_, Some(rest)) => (Some(false), rest),
        _ => (None, text),
    }
}

impl Only {
    /// As it is written.
    pub fn written(&self) -> String {
        let scheme = match self.tls {
            Some(true) => "https://",
            Some(false) => "http://",
            None => "",
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}{}{port}", self.name)
    }

    /// Its ports: without one those of HTTPS and HTTP; one that is named speaks TLS unless it says `http://`.
    fn ports(&self) -> Vec<(u16, bool)> {
        match (self.port, self.tls) {
            (Some(port), tls) => vec![(port, tls.unwrap_or(true))],
            (None, Some(true)) => vec![(HTTPS, true)],
            (None, Some(false)) => vec![(HTTP, false)],
            (None, None) => vec![(HTTPS, true), (HTTP, false)],
        }
    }
}

impl Mapped {
    /// As it is written.
    pub fn written(&self) -> String {
        let scheme = if self.to.tls { "https://" } else { "" };
        format!("{}={scheme}{}", self.host.written(), self.to.address)
    }

    /// Private addresses are what it is for, those that are denied everywhere are not.
    ///
    /// # Errors
    /// When it leads to where no stand-in can be.
    pub fn check(&self) -> Result<(), String> {
        let to = self.to.address;
        Limits::new(&Safety::default())?
            .check_denied("", to)
            .map_err(|why| format!("--map {}={to}: {why}", self.host.name))
    }
}

/// All that are opened, those of the command line before those that the library names.
pub fn opened(library: &[String], only: &[Only], maps: &[Mapped]) -> Vec<Host> {
    let mut found: BTreeMap<(String, u16), Host> = BTreeMap::new();
    let mut add = |host: &Only, map: Option<StandIn>| {
        for (port, tls) in host.ports() {
            let opened = Host { name: host.name.clone(), port, tls, map };
            found.entry((host.name.clone(), port)).or_insert(opened);
        }
    };
    maps.iter().for_each(|map| add(&map.host, Some(map.to)));
    let of_library = library.iter().filter_map(|name| name.parse().ok());
    only.iter().cloned().chain(of_library).for_each(|host: Only| add(&host, None));
    found.into_values().collect()
}

/// The hosts that a scenario's text names, with its parameters as they are unless set. Patterns are left out.
pub fn named(text: &str) -> Vec<String> {
    let quoted = text.split(['"', '\'']).filter_map(|quoted| quoted.strip_prefix(HOST));
    let mut names: Vec<String> = quoted.map(str::to_owned).collect();
    if names.iter().any(|name| name.contains("${")) {
        let defaults = defaults(text);
        for name in &mut names {
            *name =
                defaults.iter().fold(name.clone(), |name, (key, value)| name.replace(&format!("${{{key}}}"), value));
        }
    }
    names.retain(|name| name.parse::<Only>().is_ok());
    names
}

/// The parameters of a scenario that have a default in words.
fn defaults(text: &str) -> Vec<(String, String)> {
    let Ok(table) = text.parse::<toml::Table>() else { return Vec::new() };
    let parameters = table.get("parameter").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let read = |parameter: &toml::Value| {
        let word = |key: &str| Some(parameter.get(key)?.as_str()?.to_owned());
        Some((word("name")?, word("default")?))
    };
    parameters.iter().filter_map(read).collect()
}

/// The hosts that the faults of a checked scenario name, patterns left out.
pub fn of_faults(scenario: &Checked) -> impl Iterator<Item = String> {
    let names = scenario.faults.iter().filter_map(|fault| fault.proxy.strip_prefix(HOST));
    names.filter(|name| name.parse::<Only>().is_ok()).map(str::to_owned)
}

impl Host {
    /// The name of its proxy on the data plane: `host:NAME`, other ports than that of HTTPS with their number.
    pub fn proxy(&self) -> String {
        match self.port {
            HTTPS if self.tls => format!("{HOST}{}", self.name),
            port => format!("{HOST}{}:{port}", self.name),
        }
    }

    /// Its proxy: TLS ends at a certificate made on the fly and begins anew towards the service. `through`: the service is
    /// reached over this socket (a proxy of the network). `roots`: what the service's certificate must lead to.
    pub fn spec(&self, through: Option<&str>, roots: &str) -> ProxySpec {
        let tls = self.tls.then(|| Tls {
            mode: Mode::Terminate,
            issue: true,
            alpn: vec!["h2".into(), "http/1.1".into()],
            ..Tls::default()
        });
        let upstream_tls = self.map.map_or(self.tls, |map| map.tls).then(|| UpstreamTls {
            roots: Some(roots.to_owned()),
            cert: None,
            key: None,
            server_name: Some(self.name.clone()),
            alpn: vec!["http/1.1".into()],
            verify: !self.map.is_some_and(|map| map.address.ip().is_loopback()), // a stand-in made its own
            postgres: false,
        });
        let upstream = match (self.map, through) {
            (Some(map), _) => map.address.to_string(),
            (None, Some(socket)) => socket.to_owned(),
            (None, None) => format!("{}:{}", self.name, self.port),
        };
        http_proxy(self.proxy(), upstream, Way { tls, upstream_tls, ..Way::default() })
    }

    /// A proxy for clients that speak no TLS to squall and are told a base URL instead: `host:NAME:reverse`.
    pub fn reverse(&self, through: Option<&str>, roots: &str) -> ProxySpec {
        let spec = self.spec(through, roots);
        let host =
            if matches!(self.port, HTTPS | HTTP) { self.name.clone() } else { format!("{}:{}", self.name, self.port) };
        let http = Some(HttpWay { host, ..HttpWay::default() });
        http_proxy(format!("{HOST}{}:reverse", self.name), spec.upstream, Way { tls: None, http, ..spec.way })
    }
}

fn http_proxy(name: String, upstream: String, way: Way) -> ProxySpec {
    ProxySpec {
        name,
        listen: "127.0.0.1:0".into(),
        upstream,
        protocol: Protocol::Http,
        max_connections: None,
        closes_unreached: false,
        connect_timeout: CONNECT_TIMEOUT,
        idle_timeout: ProxySpec::IDLE_TIMEOUT,
        slo: None,
        from: None,
        to: None,
        way,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_host_without_a_port_has_two_and_a_map_goes_first() {
        let only: Only = "API.example.com.".parse().unwrap();
        let map: Mapped = "api.stripe.com=127.0.0.1:9000".parse().unwrap();
        let hosts = opened(&["api.stripe.com".into(), "api.openai.com".into()], &[only], &[map]);
        let told: Vec<(String, bool)> = hosts.iter().map(|host| (host.proxy(), host.map.is_some())).collect();
        let expected = [
            ("host:api.example.com:80", false),
            ("host:api.example.com", false),
            ("host:api.openai.com:80", false),
            ("host:api.openai.com", false),
            ("host:api.stripe.com:80", true),
            ("host:api.stripe.com", true),
        ];
        assert_eq!(told, expected.map(|(name, map)| (name.to_owned(), map)));
    }

    #[test]
    fn ports_and_schemes_are_taken_as_written() {
        let ports = |text: &str| text.parse::<Only>().unwrap().ports();
        assert_eq!(ports("http://a.test"), [(80, false)]);
        assert_eq!(ports("https://a.test/"), [(443, true)]);
        assert_eq!(ports("a.test:8443"), [(8443, true)]);
        assert_eq!(ports("http://a.test:8080"), [(8080, false)]);
        for wrong in ["", ".", "..:443", "a b", "a.test:http", "a.test:70000", "*.test", "[::1]"] {
            assert!(wrong.parse::<Only>().is_err(), "{wrong}");
        }
        for wrong in ["a.test", "a.test=b.test:80", "a.test=127.0.0.1", "=127.0.0.1:80"] {
            assert!(wrong.parse::<Mapped>().is_err(), "{wrong}");
        }
        assert!("a.test=https://localhost:9443".parse::<Mapped>().unwrap().to.tls);
    }

    #[test]
    fn scenarios_name_hosts() {
        let text = "proxy = \"host:api.stripe.com\" # one\nproxy = 'host:*.amazonaws.com'\nproxy = \"edge\"";
        assert_eq!(named(text), ["api.stripe.com"]);
        let text = "[[parameter]]\nname = \"region\"\ndefault = \"us-east-1\"\n\
                    [[fault]]\nproxy = \"host:dynamodb.${region}.amazonaws.com\"\n";
        assert_eq!(named(text), ["dynamodb.us-east-1.amazonaws.com"]);
        assert_eq!(named("proxy = \"host:${nobody}\""), [""; 0]);
    }
}
