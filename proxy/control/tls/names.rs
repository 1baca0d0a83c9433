//! The names in a certificate: its extension *subject alternative name* (RFC 5280, 4.2.1.6), read from the DER. The library
//! that verifies certificates gives out DNS names and URIs only, and people have addresses of mail.

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// `[3] EXPLICIT`, the extensions of a certificate.
const EXTENSIONS: u8 = 0xa3;
const MAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
/// 2.5.29.17
const ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
/// Names that are read of one certificate.
const MOST: usize = 64;

/// Addresses of mail, DNS names and URIs of a certificate that has been verified, in their order.
pub(crate) fn names(certificate: &[u8]) -> Vec<String> {
    find(certificate).unwrap_or_default()
}

fn find(certificate: &[u8]) -> Option<Vec<String>> {
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (fields, _) = element(whole, SEQUENCE)?;
    let extensions = Elements(fields).find(|(tag, _)| *tag == EXTENSIONS)?.1;
    let (extensions, _) = element(extensions, SEQUENCE)?;
    for (_, extension) in Elements(extensions) {
        let (object, rest) = element(extension, OBJECT)?;
        if object != ALTERNATIVE_NAME {
            continue;
        }
        let value = Elements(rest).find(|(tag, _)| *tag == OCTETS)?.1; // a truth value may stand before it
        let (names, _) = element(value, SEQUENCE)?;
        let named = Elements(names).filter(|(tag, _)| [MAIL, DNS, URI].contains(tag)).take(MOST);
        return Some(named.filter_map(|(_, text)| std::str::from_utf8(text).ok().map(str::to_owned)).collect());
    }
    None
}

/// The content of the first element, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = split(der)?;
    (found == tag).then_some((content, rest))
}

fn split(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// Elements one after another: tag and content.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, content, rest) = split(self.0)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    #[test]
    fn names_of_every_kind_are_found_and_nonsense_is_survived() {
        let mut params = CertificateParams::new(vec!["ci.example.com".into()]).unwrap();
        params.subject_alt_names.push(SanType::Rfc822Name("alice@example.com".try_into().unwrap()));
        params.subject_alt_names.push(SanType::URI("spiffe://example.com/ci".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        assert_eq!(names(&der), ["ci.example.com", "alice@example.com", "spiffe://example.com/ci"]);
        for end in 0..der.len() {
            assert!(names(&der[..end]).len() <= 3);
        }
        for at in 0..der.len() {
            let mut wrong = der.clone();
            wrong[at] ^= 0xff;
            assert!(names(&wrong).len() <= MOST);
        }
        let none = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert!(names(none.der()).is_empty());
    }
}
