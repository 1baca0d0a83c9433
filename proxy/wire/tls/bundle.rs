//! Roots in files, for programs that are to trust what this machine trusts, and squall's own CA besides.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use sha1::{Digest, Sha1};

use super::files;

/// What a JKS key store begins with, and its version: the format is that of OpenJDK's `JavaKeyStore.java`.
const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
/// The tag of an entry that is a trusted certificate.
const TRUSTED: u32 = 2;
/// What goes into a key store's digest between password and content.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// Certificates that programs trust.
#[derive(Clone, Debug, Default)]
pub struct Bundle(Vec<CertificateDer<'static>>);

impl Bundle {
    /// What this machine trusts: its own roots, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead.
    pub fn of_this_machine() -> Bundle {
        let mut bundle = Bundle::default();
        rustls_native_certs::load_native_certs().certs.into_iter().for_each(|one| bundle.push(one));
        bundle
    }

    /// All certificates of a PEM file.
    ///
    /// # Errors
    /// When there is none.
    pub fn add(&mut self, file: &Path) -> Result<(), String> {
        files::certificates(file)?.into_iter().for_each(|one| self.push(one));
        Ok(())
    }

    fn push(&mut self, certificate: CertificateDer<'static>) {
        if !self.0.contains(&certificate) {
            self.0.push(certificate);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As most programs read them (RFC 7468).
    pub fn pem(&self) -> String {
        let mut text = String::new();
        for certificate in &self.0 {
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            let encoded = STANDARD.encode(certificate);
            let mut rest = encoded.as_str();
            while !rest.is_empty() {
                let (line, more) = rest.split_at(rest.len().min(64));
                text.push_str(line);
                text.push('\n');
                rest = more;
            }
            text.push_str("-----END CERTIFICATE-----\n");
        }
        text
    }

    /// As Java reads them: a JKS key store. The password only guards against damage. `made`: when, ms since 1970.
    pub fn jks(&self, password: &str, made: u64) -> Vec<u8> {
        let mut store = Vec::new();
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        [MAGIC, VERSION, count].into_iter().for_each(|word| store.extend(word.to_be_bytes()));
        for (n, certificate) in self.0.iter().enumerate() {
            store.extend(TRUSTED.to_be_bytes());
            put_text(&mut store, &format!("root-{n}"));
            store.extend(made.to_be_bytes());
            put_text(&mut store, "X.509");
            store.extend(u32::try_from(certificate.len()).unwrap_or(u32::MAX).to_be_bytes());
            store.extend_from_slice(certificate);
        }
        let mut digest = Sha1::new();
        password.encode_utf16().for_each(|unit| digest.update(unit.to_be_bytes()));
        digest.update(WHITENER);
        digest.update(&store);
        store.extend_from_slice(&digest.finalize());
        store
    }
}

/// As `DataOutput.writeUTF` writes ASCII.
fn put_text(to: &mut Vec<u8>, text: &str) {
    to.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    to.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tls::ca::Ca;
    use crate::tls::ca::tests::Place;

    #[test]
    fn what_is_written_is_read_again_and_each_certificate_once() {
        let place = Place::new("bundle");
        Ca::open(&place.0.join("ca"), &[]).unwrap();
        let root = Ca::certificate(&place.0.join("ca"));
        let mut bundle = Bundle::default();
        assert!(bundle.is_empty() && bundle.add(&place.0.join("none.pem")).is_err());
        bundle.add(&root).unwrap();
        bundle.add(&root).unwrap();
        assert_eq!(bundle.len(), 1);
        let written = place.0.join("bundle.pem");
        std::fs::write(&written, bundle.pem()).unwrap();
        assert_eq!(files::certificates(&written).unwrap(), bundle.0);
        let store = bundle.jks("changeit", 0);
        assert_eq!(store[..12], [0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2, 0, 0, 0, 1]);
        assert_eq!(store.len(), 12 + 4 + 2 + 6 + 8 + 2 + 5 + 4 + bundle.0[0].len() + 20);
    }
}
