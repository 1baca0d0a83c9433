//! Which requests belong together.

/// A path in which each segment that looks like an identifier is `*`: numbers, UUIDs, long hexadecimal numbers, and what has
/// a prefix or many characters with digits among them (`cus_NffrFeUfNV2Hib`).
pub fn template(path: &str) -> String {
    let segments = path.split('/').map(|segment| if is_identifier(segment) { "*" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn is_identifier(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let is_word = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if digits == 0 || !is_word {
        return false;
    }
    let is_number = digits == segment.len();
    let is_hex = segment.len() >= 8 && segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_prefixed = segment.split_once('_').is_some_and(|(_, rest)| rest.len() >= 8);
    is_number || is_hex || is_prefixed || segment.len() >= 20
}

#[cfg(test)]
mod tests {
    use super::template;

    #[test]
    fn identifiers_are_told_from_words() {
        for (path, route) in [
            ("/v1/orders/17", "/v1/orders/*"),
            ("/v1/customers/cus_NffrFeUfNV2Hib/cards", "/v1/customers/*/cards"),
            ("/a/0b7e8a3c-5d5e-4a3b-9d0e-6a1f0c7d2e11", "/a/*"),
            ("/repos/squall/issues/12/comments", "/repos/squall/issues/*/comments"),
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("/2024-01/products.json", "/2024-01/products.json"),
            ("/", "/"),
        ] {
            assert_eq!(template(path), route);
        }
    }
}
