//! Certificates and keys in PEM files; those in use are read anew when they change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};
use squall_core::read;
use squall_core::time::{SECOND, Time};

use super::provider;
use crate::clock::SystemClock;

/// How often the files are looked at, at most, ns.
const LOOKS: Time = SECOND;

/// All certificates of a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = text(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let all = all.map_err(|error| format!("{}: this is not PEM: {error}", path.display()))?;
    if all.is_empty() { Err(format!("{}: there is no certificate in it", path.display())) } else { Ok(all) }
}

/// The roots of a file.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

fn text(path: &Path) -> Result<String, String> {
    let source = read::load(path).map_err(|mistake| format!("{}: {}", path.display(), mistake.message))?;
    Ok(source.text.clone())
}

fn load(cert: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain = certificates(cert)?;
    let secret = PrivateKeyDer::from_pem_slice(text(key)?.as_bytes());
    let secret = secret.map_err(|error| format!("{}: there is no private key in it: {error}", key.display()))?;
    CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("{}: this is not the key of {}", key.display(), cert.display())
        }
        error => format!("{}: {error}", cert.display()),
    })
}

/// A certificate with its key, from two files.
#[derive(Debug)]
pub(super) struct Pair {
    cert: PathBuf,
    key: PathBuf,
    now: ArcSwap<CertifiedKey>,
    seen: Mutex<Seen>,
    /// Changes that could not be taken.
    broken: AtomicU64,
}

/// The files as they were last.
#[derive(Debug)]
struct Seen {
    at: Time,
    stamps: [Option<Stamp>; 2],
}

/// What changes when a file does: inode, size, and when it was written, ns.
type Stamp = (u64, u64, i128);

impl Pair {
    pub(super) fn open(cert: &Path, key: &Path) -> Result<Arc<Pair>, String> {
        let stamps = [stamp(cert), stamp(key)];
        let now = ArcSwap::from_pointee(load(cert, key)?);
        let seen = Mutex::new(Seen { at: SystemClock::mono(), stamps });
        let (cert, key) = (cert.to_owned(), key.to_owned());
        Ok(Arc::new(Pair { cert, key, now, seen, broken: AtomicU64::new(0) }))
    }

    /// The pair in force: what the files say now, or what they said when they last made sense.
    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.look(SystemClock::mono());
        self.now.load_full()
    }

    /// Looks whether the files have changed, unless somebody has done so a moment ago.
    fn look(&self, now: Time) {
        let Ok(mut seen) = self.seen.try_lock() else { return };
        if now.saturating_sub(seen.at) < LOOKS {
            return;
        }
        seen.at = now;
        let stamps = [stamp(&self.cert), stamp(&self.key)];
        if stamps == seen.stamps {
            return;
        }
        seen.stamps = stamps;
        match load(&self.cert, &self.key) {
            Ok(new) => {
                tracing::info!(cert = %self.cert.display(), "a certificate was read anew");
                self.now.store(Arc::new(new));
            }
            Err(why) => {
                self.broken.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("a certificate has changed and can't be taken, so the old one stays: {why}");
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    let written = i128::from(meta.mtime()) * i128::from(SECOND) + i128::from(meta.mtime_nsec());
    Some((meta.ino(), meta.len(), written))
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Pair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tls::ca::Ca;
    use crate::tls::ca::tests::Place;

    #[test]
    fn changed_files_are_read_anew_and_broken_ones_are_not_taken() {
        let place = Place::new("files");
        let ca = Ca::in_memory("a CA").unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| place.0.join(name));
        let written = |name: &str| {
            let (chain, secret) = ca.pem_for(name).unwrap();
            std::fs::write(&cert, chain).unwrap();
            std::fs::write(&key, secret).unwrap();
        };
        written("one.example");
        let pair = Pair::open(&cert, &key).unwrap();
        let first = pair.current();
        let later = |n: Time| SystemClock::mono() + n * LOOKS;
        written("two.example");
        pair.look(SystemClock::mono());
        assert!(Arc::ptr_eq(&first, &pair.now.load_full()), "not looked at again so soon");
        pair.look(later(1));
        let second = pair.now.load_full();
        assert_ne!(first.cert, second.cert);
        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        pair.look(later(3));
        assert!(Arc::ptr_eq(&second, &pair.now.load_full()));
        std::fs::remove_file(&cert).unwrap();
        pair.look(later(5));
        pair.look(later(7));
        assert_eq!(pair.broken.load(Ordering::Relaxed), 2, "each change once");
        written("three.example");
        pair.look(later(9));
        assert_ne!(second.cert, pair.now.load_full().cert);
    }

    #[test]
    fn what_does_not_belong_together_is_told() {
        let place = Place::new("pairs");
        let ca = Ca::in_memory("a CA").unwrap();
        let files = ["a.pem", "a.key", "b.pem", "b.key", "text"].map(|name| place.0.join(name));
        for (at, name) in [(0, "a.example"), (2, "b.example")] {
            let (chain, secret) = ca.pem_for(name).unwrap();
            std::fs::write(&files[at], chain).unwrap();
            std::fs::write(&files[at + 1], secret).unwrap();
        }
        std::fs::write(&files[4], "nothing").unwrap();
        assert!(Pair::open(&files[0], &files[1]).is_ok());
        assert!(Pair::open(&files[0], &files[3]).unwrap_err().contains("this is not the key of"));
        assert!(Pair::open(&files[4], &files[1]).unwrap_err().contains("there is no certificate in it"));
        assert!(Pair::open(&files[0], &files[4]).unwrap_err().contains("there is no private key in it"));
        assert!(Pair::open(Path::new("/dev/zero"), &files[1]).unwrap_err().contains("not a regular file"));
    }
}
