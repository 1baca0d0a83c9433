//! squall's own CA: certificates for tests, made as they are asked for.
//!
//! It is made once per directory, a key that only this user may read and a root certificate, and stays there. It is never
//! installed anywhere: a client that is to trust it is told where it is. What it issues ends within a week.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use squall_core::draw;
use squall_core::read;
use squall_core::time::Clock;
use time::{Duration, OffsetDateTime};

use super::provider;
use crate::clock::SystemClock;

const CERT: &str = "ca.pem";
const KEY: &str = "ca-key.pem";
/// How long a leaf lasts, and how much of that lies in the past: clocks differ.
const LASTS: Duration = Duration::days(7);
const BACKDATED: Duration = Duration::hours(1);
/// A leaf is made anew when it has less left than this.
const RENEWED: Duration = Duration::days(1);
/// How long a root lasts.
const ROOT_LASTS: Duration = Duration::days(3650);
/// Leaves that are kept at most.
const KEPT: usize = 1024;

/// See the module.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    leaves: Mutex<HashMap<String, (Arc<CertifiedKey>, OffsetDateTime)>>,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ca") // its key is nobody's business
    }
}

impl Ca {
    /// The CA of a directory, made if there is none yet. A new one may be kept to names (`example.com`: that and everything
    /// below); empty: any.
    ///
    /// # Errors
    /// When it can not be read, made or believed, or is there already and `only` asks for another.
    pub fn open(directory: &Path, only: &[String]) -> Result<Ca, String> {
        let cannot = |what: &Path, error: &dyn std::fmt::Display| format!("CA in {}: {error}", what.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| cannot(directory, &error))?;
        let (cert, key) = (directory.join(CERT), directory.join(KEY));
        let is_new = !key.exists();
        if is_new {
            let made = KeyPair::generate().map_err(|error| cannot(directory, &error))?;
            place(&key, made.serialize_pem().as_bytes(), 0o600).map_err(|error| cannot(&key, &error))?;
        } else if !only.is_empty() && cert.exists() {
            return Err(cannot(directory, &"it is there already: the names that it is kept to can't change"));
        }
        // whoever was first has made it
        let pem = |path: &Path| read::load(path).map_err(|mistake| cannot(path, &mistake.message));
        let pair = KeyPair::from_pem(&pem(&key)?.text).map_err(|error| cannot(&key, &error))?;
        if !cert.exists() {
            let root = root(&pair, "squall CA", only).and_then(|params| params.self_signed(&pair));
            let root = root.map_err(|error| cannot(directory, &error))?;
            place(&cert, root.pem().as_bytes(), 0o644).map_err(|error| cannot(&cert, &error))?;
        }
        let root = super::files::certificates(&cert)?.swap_remove(0);
        let ca = Ca::with(pair, "squall CA", root).map_err(|error| cannot(directory, &error))?;
        ca.believe().map_err(|why| cannot(&cert, &format!("{why}; without the two files a new one is made")))?;
        Ok(ca)
    }

    /// Where the root certificate of a directory's CA is.
    pub fn certificate(directory: &Path) -> PathBuf {
        directory.join(CERT)
    }

    /// Where its key is.
    pub fn key(directory: &Path) -> PathBuf {
        directory.join(KEY)
    }

    /// One that nobody knows.
    pub(super) fn in_memory(name: &str) -> Result<Ca, rcgen::Error> {
        let key = KeyPair::generate()?;
        let root = root(&key, name, &[])?.self_signed(&key)?;
        let der = root.der().clone();
        Ca::with(key, name, der)
    }

    fn with(key: KeyPair, name: &str, root: CertificateDer<'static>) -> Result<Ca, rcgen::Error> {
        let params = self::root(&key, name, &[])?;
        Ok(Ca { issuer: Issuer::new(params, key), root, leaves: Mutex::default() })
    }

    /// Whether what it issues leads to its root, now.
    fn believe(&self) -> Result<(), String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.clone()).map_err(|error| error.to_string())?;
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        let leaf = self.make(&Order::of("localhost")).map_err(|error| error.to_string())?;
        let name = rustls::pki_types::ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let now = rustls::pki_types::UnixTime::now();
        let found = rustls::client::danger::ServerCertVerifier::verify_server_cert(
            &*verifier,
            &leaf.cert[0],
            &[],
            &name,
            &[],
            now,
        );
        match found {
            // it may be kept to other names
            Ok(_) | Err(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(_))) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A certificate for these names: made now, or a while ago.
    pub(super) fn issue(&self, names: &[String]) -> Result<Arc<CertifiedKey>, rcgen::Error> {
        let all = names.join(" ");
        let now = now();
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((leaf, until)) = leaves.get(&all)
            && now + RENEWED < *until
        {
            return Ok(leaf.clone());
        }
        let order = Order { names: names.to_vec(), ..Order::of("") };
        let leaf = Arc::new(self.make(&order)?);
        if leaves.len() >= KEPT {
            leaves.clear();
        }
        leaves.insert(all, (leaf.clone(), order.to));
        Ok(leaf)
    }

    /// Makes what was ordered.
    pub(super) fn make(&self, order: &Order) -> Result<CertifiedKey, rcgen::Error> {
        let (chain, key) = self.sign(order)?;
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        CertifiedKey::from_der(chain, secret, &provider()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)
    }

    fn sign(&self, order: &Order) -> Result<(Vec<CertificateDer<'static>>, KeyPair), rcgen::Error> {
        let key = KeyPair::generate()?;
        let params = order.params()?;
        if !order.behind_another {
            return Ok((vec![params.signed_by(&key, &self.issuer)?.der().clone()], key));
        }
        // the certificate between is not shown
        let between = KeyPair::generate()?;
        let mut middle = root(&between, "squall intermediate", &[])?;
        middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let issuer = Issuer::new(middle, between);
        Ok((vec![params.signed_by(&key, &issuer)?.der().clone()], key))
    }

    /// A certificate and its key as files have them.
    #[cfg(test)]
    pub(super) fn pem_for(&self, name: &str) -> Result<(String, String), rcgen::Error> {
        let key = KeyPair::generate()?;
        let leaf = Order::of(name).params()?.signed_by(&key, &self.issuer)?;
        Ok((leaf.pem(), key.serialize_pem()))
    }
}

/// A leaf to be made.
pub(super) struct Order {
    pub(super) names: Vec<String>,
    pub(super) from: OffsetDateTime,
    pub(super) to: OffsetDateTime,
    /// Signed by an intermediate CA.
    pub(super) behind_another: bool,
}

impl Order {
    /// One in order, for one name.
    pub(super) fn of(name: &str) -> Order {
        let from = now() - BACKDATED;
        Order { names: vec![name.to_owned()], from, to: from + LASTS, behind_another: false }
    }

    /// Moves the time in which it is valid.
    pub(super) fn shifted(self, by: Duration) -> Order {
        Order { from: self.from + by, to: self.to + by, ..self }
    }

    fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = self.names.first().filter(|name| name.len() <= 64) {
            params.distinguished_name.push(DnType::CommonName, name.as_str()); // RFC 5280, ub-common-name
        }
        for name in &self.names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        (params.not_before, params.not_after) = (self.from, self.to);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params)
    }
}

/// A root, named after its key: two of them are told apart.
fn root(key: &KeyPair, name: &str, only: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let known_by = format!("{name} {:016x}", draw::hash(key.public_key_raw()));
    params.distinguished_name.push(DnType::CommonName, known_by);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now() - BACKDATED;
    params.not_after = params.not_before + ROOT_LASTS;
    if !only.is_empty() {
        let permitted_subtrees = only.iter().map(|name| GeneralSubtree::DnsName(name.clone())).collect();
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    }
    Ok(params)
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from(SystemClock.wall())
}

/// Puts a file in its place whole, or leaves the one that is there.
fn place(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.exists() => Ok(()),
        placed => placed,
    }
}

/// Where the CA is, opened when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    directory: Option<PathBuf>,
    own: OnceLock<Result<Arc<Ca>, String>>,
    unknown: OnceLock<Option<Arc<Ca>>>,
}

impl Authority {
    /// The CA of this directory; none: one of this process alone, for flaws only.
    pub(crate) fn new(directory: Option<PathBuf>) -> Authority {
        Authority { directory, ..Authority::default() }
    }

    /// squall's CA.
    ///
    /// # Errors
    /// Why it can't be had.
    pub(super) fn own(&self) -> Result<Arc<Ca>, String> {
        let open = || match &self.directory {
            Some(directory) => Ca::open(directory, &[]).map(Arc::new),
            None => Err("there is no directory for a CA".to_owned()),
        };
        self.own.get_or_init(open).clone()
    }

    /// A CA that no client knows.
    pub(super) fn unknown(&self) -> Option<Arc<Ca>> {
        self.unknown.get_or_init(|| Ca::in_memory("Unknown CA").ok().map(Arc::new)).clone()
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory of its own, gone afterwards.
    pub(crate) struct Place(pub(crate) PathBuf);

    impl Place {
        pub(crate) fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("squall-ca-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Place(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_is_made_once_and_its_key_is_kept_from_others() {
        let place = Place::new("once");
        let directory = place.0.join("state/ca");
        let first = Ca::open(&directory, &[]).unwrap();
        let second = Ca::open(&directory, &[]).unwrap();
        assert_eq!(first.root, second.root);
        let mode = |name: &str| fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(KEY), mode(CERT)), (0o600, 0o644));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "nothing else is left");
        assert!(Ca::open(&directory, &["a.example".into()]).unwrap_err().contains("there already"));
        // the root alone is made anew from the key; a foreign one is not believed
        fs::remove_file(directory.join(CERT)).unwrap();
        assert!(Ca::open(&directory, &[]).is_ok());
        let other = Ca::open(&place.0.join("other"), &[]).unwrap();
        drop(other);
        fs::copy(place.0.join("other").join(CERT), directory.join(CERT)).unwrap();
        assert!(Ca::open(&directory, &[]).unwrap_err().contains("a new one is made"));
        fs::write(directory.join(KEY), "nothing").unwrap();
        assert!(Ca::open(&directory, &[]).is_err());
    }

    #[test]
    fn one_may_be_kept_to_names() {
        let place = Place::new("only");
        let directory = place.0.join("ca");
        assert!(Ca::open(&directory, &["example.test".into()]).is_ok());
        assert!(Ca::open(&directory, &[]).is_ok());
        // whoever makes one may die between its key and its root
        fs::remove_file(directory.join(CERT)).unwrap();
        assert!(Ca::open(&directory, &["example.test".into()]).is_ok());
        assert!(Ca::open(&directory, &["example.test".into()]).is_err());
    }

    #[test]
    fn leaves_are_kept_for_a_while_and_not_without_end() {
        let ca = Ca::in_memory("a CA").unwrap();
        let a = ca.issue(&["a.example".into()]).unwrap();
        assert!(Arc::ptr_eq(&a, &ca.issue(&["a.example".into()]).unwrap()));
        assert!(!Arc::ptr_eq(&a, &ca.issue(&["b.example".into()]).unwrap()));
        let long = format!("{}.example", "a".repeat(60));
        assert!(ca.issue(&[long]).is_ok(), "longer than a common name may be");
        let [alone, both] = [&["localhost".to_owned()][..], &["localhost".into(), "127.0.0.1".into()]];
        assert!(!Arc::ptr_eq(&ca.issue(alone).unwrap(), &ca.issue(both).unwrap()));
        for n in 0..KEPT {
            let until = now() + LASTS;
            ca.leaves.lock().unwrap().insert(n.to_string(), (a.clone(), until));
        }
        ca.issue(&["c.example".into()]).unwrap();
        assert!(ca.leaves.lock().unwrap().len() < KEPT);
    }
}
