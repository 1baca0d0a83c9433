//! The way out: to a host itself, or through the proxy that this machine has to use.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use squall_core::config::Safety;
use squall_core::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::bypass::Bypass;

/// How long all addresses of a host may take together.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head that a proxy's answer may have.
const LONGEST_ANSWER: usize = 16 * 1024;
/// Characters of its first line that are shown.
const LONGEST_SHOWN: usize = 200;

/// Networks that a wrapped program reaches only without squall, or where `--map` leads: private ones, this machine, and what
/// is no host at all; also behind NAT64 and 6to4.
const PRIVATE: [&str; 29] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "::ffff:0:0:0/96", // IPv4 translated (RFC 7915)
    "fc00::/7",
    "fec0::/10",
    "ff00::/8",
    "64:ff9b::/104",
    "64:ff9b::a00:0/104",
    "64:ff9b::6440:0/106",
    "64:ff9b::7f00:0/104",
    "64:ff9b::ac10:0/108",
    "64:ff9b::c0a8:0/112",
    "64:ff9b:1::/48",
    "2002::/24",
    "2002:a00::/24",
    "2002:6440::/26",
    "2002:7f00::/24",
    "2002:ac10::/28",
    "2002:c0a8::/32",
    "2001::/32", // Teredo
];

/// The limits of a program under `squall wrap`: anywhere on the Internet, and nowhere else.
pub fn safety() -> Safety {
    Safety {
        allow_upstreams: vec!["0.0.0.0/0".into(), "::/0".into()],
        deny_upstreams: PRIVATE.map(str::to_owned).to_vec(),
        ..Safety::default()
    }
}

/// A proxy that leads out of this network.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain {
    host: String,
    port: u16,
    credentials: Option<String>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port) // never its password
    }
}

impl Chain {
    /// What `HTTPS_PROXY` and its like name; none: there is no such proxy.
    ///
    /// # Errors
    /// When it is one that squall can't speak with.
    pub fn of_environment() -> Result<Option<Chain>, String> {
        let names = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        let set =
            names.into_iter().find_map(|name| Some((name, std::env::var(name).ok().filter(|it| !it.is_empty())?)));
        set.map(|(name, url)| Chain::parse(&url).map_err(|why| format!("{name}: {why}"))).transpose()
    }

    /// `[http://][user:password@]host:port`
    ///
    /// # Errors
    /// What it is not, without its password.
    pub fn parse(url: &str) -> Result<Chain, String> {
        let rest = match url.split_once("://") {
            None => url,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => {
                return Err(format!("squall can't speak with a proxy of `{scheme}://`, only of `http://`"));
            }
        };
        let rest = rest.split(['/', '?']).next().unwrap_or_default();
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| "the port of the proxy is none".to_owned())?),
            None => (place, 80),
        };
        if host.is_empty() {
            return Err("it names no host".into());
        }
        let credentials = user.map(|user| STANDARD.encode(percent_decode_str(user).collect::<Vec<u8>>()));
        Ok(Chain { host: host.trim_matches(['[', ']']).to_owned(), port, credentials })
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Refused> {
        let failed = |why: String| Refused::Unreachable(format!("the proxy {self:?} {why}"));
        let mut stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| failed(format!("can not be reached: {error}")))?;
        let credentials =
            self.credentials.as_ref().map(|user| format!("Proxy-Authorization: Basic {user}\r\n")).unwrap_or_default();
        let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{credentials}\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| failed(error.to_string()))?;
        let status = answer(&mut stream).await.map_err(failed)?;
        match status.split(' ').nth(1) {
            Some(code) if code.starts_with('2') => Ok(stream),
            _ => Err(failed(format!("refused {place}: {status}"))),
        }
    }
}

/// The first line of a proxy's answer, read with its head and not a byte more.
async fn answer(stream: &mut TcpStream) -> Result<String, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_ANSWER {
            return Err("answers without end".into());
        }
        head.push(stream.read_u8().await.map_err(|error| format!("does not answer: {error}"))?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    // it is shown on a terminal
    Ok(String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(LONGEST_SHOWN).collect())
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// squall will not go there.
    Forbidden(String),
    /// It can not be reached.
    Unreachable(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Forbidden(why) | Refused::Unreachable(why) => f.write_str(why),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Exit {
    limits: Limits,
    chain: Option<Chain>,
    bypass: Bypass,
}

impl Exit {
    /// Out under these limits, through a proxy if there is one.
    pub fn new(limits: Limits, chain: Option<Chain>, bypass: Bypass) -> Arc<Exit> {
        Arc::new(Exit { limits, chain, bypass })
    }

    /// The proxy that leads to this host.
    pub fn chain(&self, host: &str) -> Option<&Chain> {
        self.chain.as_ref().filter(|_| !self.bypass.names(host))
    }

    /// Connects to a host. Every address that its name stands for is held against the limits; behind a proxy of the network
    /// it is that proxy which knows the addresses, and only one that is written as an address can be held against them.
    ///
    /// # Errors
    /// Why not.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Refused> {
        let late = |_| Refused::Unreachable(format!("{host}:{port} does not answer within {} s", PATIENCE.as_secs()));
        match self.chain(host) {
            Some(chain) => {
                match host.parse() {
                    Ok(address) => self.permit(host, SocketAddr::new(address, port))?,
                    Err(_) if is_this_machine(host) || is_number(host) => return Err(forbidden(host)),
                    Err(_) => {}
                }
                timeout(PATIENCE, chain.connect(host, port)).await.map_err(late)?
            }
            None => timeout(PATIENCE, self.direct(host, port)).await.map_err(late)?,
        }
    }

    async fn direct(&self, host: &str, port: u16) -> Result<TcpStream, Refused> {
        let unknown = |error| Refused::Unreachable(format!("{host} can not be resolved: {error}"));
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await.map_err(unknown)?.collect();
        let mut failed = Refused::Unreachable(format!("{host} has no address"));
        for address in addresses {
            failed = match self.permit(host, address) {
                Err(why) => why,
                Ok(()) => match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => Refused::Unreachable(format!("{host} ({address}): {error}")),
                },
            };
        }
        Err(failed)
    }

    fn permit(&self, host: &str, address: SocketAddr) -> Result<(), Refused> {
        self.limits.check(host, address).map_err(|_| {
            Refused::Forbidden(format!(
                "{host} is {}: private, link-local and metadata addresses are not reached through squall wrap. \
                 Name the host in NO_PROXY to go past squall, or a stand-in by --map {host}=ADDRESS:PORT",
                address.ip()
            ))
        })
    }
}

fn forbidden(host: &str) -> Refused {
    Refused::Forbidden(format!(
        "{host} is this machine, or an address that is not written as four decimal numbers: it is not asked of the network's \
         proxy. Name the host in NO_PROXY to go past squall, or a stand-in by --map {host}=ADDRESS:PORT"
    ))
}

/// RFC 6761, 6.3.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Whether resolvers may take it for an address of IPv4 in another notation (`2130706433`, `0x7f.1`, `0177.0.0.1`): its last
/// part is a number, which no name of the Internet ends in.
fn is_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let all = |digits: &str, fits: fn(&u8) -> bool| digits.as_bytes().iter().all(fits);
    match last.strip_prefix("0x").or_else(|| last.strip_prefix("0X")) {
        Some(hexadecimal) => all(hexadecimal, u8::is_ascii_hexdigit),
        None => !last.is_empty() && all(last, u8::is_ascii_digit),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn behind_a_proxy_addresses_in_disguise_are_refused_too() {
        for shut in ["2130706433", "0x7f.1", "0x7F000001", "0177.0.0.1", "127.1", "0x", "169.254.43518"] {
            assert!(is_number(shut), "{shut}");
        }
        for open in ["api.stripe.com", "a.0x7g", "1.example", "xn--p1ai", "deadbeef"] {
            assert!(!is_number(open), "{open}");
        }
        assert!(is_this_machine("a.localhost") && !is_this_machine("notlocalhost"));
        let chain = Chain::parse("http://127.0.0.1:1").unwrap(); // nobody
        let exit = Exit::new(Limits::new(&safety()).unwrap(), Some(chain), Bypass::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for host in ["2852039166", "localhost", "10.0.0.1", "::ffff:10.0.0.1"] {
            let refused = runtime.block_on(exit.connect(host, 80)).unwrap_err();
            assert!(matches!(refused, Refused::Forbidden(_)), "{host}: {refused}");
        }
        assert!(matches!(runtime.block_on(exit.connect("a.test", 80)), Err(Refused::Unreachable(_))));
    }

    #[test]
    fn only_the_internet_is_reached() {
        let exit = Exit::new(Limits::new(&safety()).unwrap(), None, Bypass::default());
        let permitted = |text: &str| exit.permit("x", SocketAddr::new(text.parse().unwrap(), 443)).is_ok();
        for open in ["1.1.1.1", "203.0.113.9", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"] {
            assert!(permitted(open), "{open}");
        }
        let shut = [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "fd00:ec2::254",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a01:203",
            "64:ff9b::7f00:1",
            "2002:c0a8:101::1",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "::10.0.0.1",
            "0.1.2.3",
            "64:ff9b::",
            "2002:0:1::1",
            "::ffff:0:10.0.0.1",
        ];
        for shut in shut {
            assert!(!permitted(shut), "{shut}");
        }
    }

    #[test]
    fn a_proxy_s_password_is_kept_to_itself() {
        let chain = Chain::parse("http://ann:p%40ss@proxy.corp:3128/").unwrap();
        assert_eq!(format!("{chain:?}"), "proxy.corp:3128");
        assert_eq!(chain.credentials.as_deref(), Some(STANDARD.encode("ann:p@ss").as_str()));
        assert_eq!(Chain::parse("proxy:8080").unwrap().port, 8080);
        assert!(Chain::parse("socks5://proxy:1080").unwrap_err().contains("socks5"));
        assert!(Chain::parse("http://").is_err());
    }
}
