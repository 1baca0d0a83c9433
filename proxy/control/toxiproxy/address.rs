//! Addresses as the original's clients write them, and as it reports them; and what the names in them stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use http::StatusCode;

use super::failure::Failure;

/// How long names are looked up: a request is answered within a second whatever a name server does.
const PATIENCE: Duration = Duration::from_millis(400);
/// Look-ups under way, those that nobody waits for any more included.
const MOST: usize = 64;

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// What the names in some addresses stand for. Made before the registry is locked, so that nobody waits for a name server.
#[derive(Debug, Default)]
pub(super) struct Book(BTreeMap<String, IpAddr>);

impl Book {
    /// Looks up the names in these addresses, all side by side. What has no answer in time is not known.
    pub(super) fn of<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Book {
        let hosts = addresses.into_iter().filter_map(|text| Some(parts(text).ok()?.0));
        let names: BTreeSet<&str> = hosts.filter(|host| literal(host).is_none()).collect();
        let found = Arc::new(Mutex::new(BTreeMap::new()));
        let (looking, all_done) = mpsc::channel::<()>();
        for name in names {
            look_up(name.to_owned(), found.clone(), looking.clone());
        }
        drop(looking);
        let _closed_or_too_late = all_done.recv_timeout(PATIENCE);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        Book(std::mem::take(&mut *found))
    }

    /// Where to listen: `host:port`, where no host and `0.0.0.0` stand for every address of both families.
    ///
    /// # Errors
    /// In the words of the original.
    pub(super) fn place(&self, text: &str) -> Result<SocketAddr, Failure> {
        let (host, port) = parts(text).map_err(wrong)?;
        let ip = literal(host).or_else(|| self.0.get(host).copied());
        ip.map(|ip| (ip, port).into()).ok_or_else(|| wrong(format!("listen tcp: lookup {host}: no such host")))
    }

    /// The same place, whatever it is called.
    pub(super) fn is_same(&self, a: &str, b: &str) -> bool {
        a == b || matches!((self.place(a), self.place(b)), (Ok(a), Ok(b)) if a == b)
    }
}

/// In a thread of its own, which may outlive who asks.
fn look_up(name: String, found: Arc<Mutex<BTreeMap<String, IpAddr>>>, looking: mpsc::Sender<()>) {
    if UNDER_WAY.fetch_add(1, Ordering::Relaxed) >= MOST {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let look = move || {
        let addresses: Vec<IpAddr> =
            (name.as_str(), 0).to_socket_addrs().into_iter().flatten().map(|address| address.ip()).collect();
        // as the original does: the first of the older family
        if let Some(ip) = addresses.iter().find(|ip| ip.is_ipv4()).or(addresses.first()) {
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(name, *ip);
        }
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        drop(looking);
    };
    if std::thread::Builder::new().name("squall-lookup".into()).spawn(look).is_err() {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Host and port; a host in brackets without them.
fn parts(text: &str) -> Result<(&str, u16), String> {
    let text = if text.is_empty() { ":0" } else { text };
    let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'))
    else {
        return Err(format!("listen tcp: address {text}: missing port in address"));
    };
    let port = port.parse().map_err(|_| format!("listen tcp: address {port}: invalid port"))?;
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
}

/// The address that needs no look-up.
fn literal(host: &str) -> Option<IpAddr> {
    match host {
        "" | "0.0.0.0" | "::" => Some(Ipv6Addr::UNSPECIFIED.into()),
        name if name.eq_ignore_ascii_case("localhost") => Some(Ipv4Addr::LOCALHOST.into()),
        address => address.parse().ok(),
    }
}

fn wrong(why: String) -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_place() {
        for (text, meant) in [
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("localhost:80", Some("127.0.0.1:80")),
            ("Localhost:80", Some("127.0.0.1:80")),
            ("0.0.0.0:80", Some("[::]:80")),
            (":80", Some("[::]:80")),
            ("", Some("[::]:0")),
            ("[::1]:80", Some("[::1]:80")),
            ("127.0.0.1", None),
            ("::1:80", None),
            ("127.0.0.1:http", None),
            ("unknown:80", None),
        ] {
            let place = Book::default().place(text).ok();
            assert_eq!(place.map(|address| address.to_string()).as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn names_are_the_addresses_that_they_stand_for() {
        let book = Book(BTreeMap::from([("db".to_owned(), Ipv4Addr::new(10, 0, 0, 5).into())]));
        for (a, b) in [
            ("0.0.0.0:80", "[::]:80"),
            (":80", "0.0.0.0:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("db:80", "10.0.0.5:80"),
            ("no.such.name:80", "no.such.name:80"),
        ] {
            assert!(book.is_same(a, b), "{a} {b}");
        }
        for (a, b) in [("db:80", "db:81"), ("127.0.0.1:80", "127.0.0.2:80"), ("a:80", "b:80"), ("db:80", "a:80")] {
            assert!(!book.is_same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn what_has_no_answer_is_not_known() {
        let book = Book::of(["no.such.name.invalid:80", "127.0.0.1:1", "nonsense", ""]);
        assert!(book.0.is_empty(), "{book:?}");
    }
}
