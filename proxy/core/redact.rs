//! What must not be written down: secrets in what passes. Fields are kept by name, texts are searched for what keys, tokens
//! and passwords look like.
//!
//! What is taken out of a text is replaced byte by byte, so that lengths, and with them Content-Length, frames of gRPC and
//! the chunks that a body came in, stay true; and whoever redacts the same text again gets the same.

use regex::bytes::{Regex, RegexBuilder};

/// Stands for each byte that was taken out of a text.
const STAR: u8 = b'*';
/// Stands for the value of a field that is not kept.
pub const REDACTED: &str = "[redacted]";
/// Memory that a pattern may take, bytes.
const PATTERN_SIZE: usize = 1 << 20;

/// Fields whose values are nobody's business but that of the two who talk. They can't be kept, whoever asks for it.
pub const NEVER_KEPT: &[&str] =
    &["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-auth-token"];

/// Fields that say nothing about who asks.
const KEPT: &[&str] = &[
    "accept",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "anthropic-version",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "last-modified",
    "link",
    "location",
    "openai-processing-ms",
    "openai-version",
    "range",
    "request-id",
    "retry-after",
    "server",
    "stripe-should-retry",
    "stripe-version",
    "te",
    "user-agent",
    "vary",
    "www-authenticate",
    "x-amz-id-2",
    "x-amz-request-id",
    "x-amzn-errortype",
    "x-amzn-requestid",
    "x-github-api-version",
    "x-github-request-id",
    "x-request-id",
    "x-should-retry",
];
/// Beginnings of such fields.
const KEPT_PREFIXES: &[&str] = &["access-control-", "anthropic-ratelimit-", "ratelimit", "x-ratelimit-"];

/// What secrets look like; the group `s` is what is taken out, else all of it. The forms are those that the services
/// document for their keys.
const PATTERNS: &[&str] = &[
    r"(?i)\b(?:bearer|basic)\s+(?P<s>[a-z0-9._~+/=-]{6,})",
    r"\b(?:sk|pk|rk)_(?:live|test)_(?P<s>[A-Za-z0-9]{4,})", // Stripe
    r"\bwhsec_(?P<s>[A-Za-z0-9+/=]{8,})",                   // Stripe, Svix
    r"\bsk-(?P<s>[A-Za-z0-9_-]{16,})",                      // OpenAI, Anthropic
    r"\bgh[pousr]_(?P<s>[A-Za-z0-9]{16,})",                 // GitHub
    r"\bgithub_pat_(?P<s>[A-Za-z0-9_]{20,})",               // GitHub
    r"\bglpat-(?P<s>[A-Za-z0-9_-]{16,})",                   // GitLab
    r"\b(?:AKIA|ASIA)(?P<s>[A-Z0-9]{12,})",                 // AWS
    r"\bxox[a-z]-(?P<s>[A-Za-z0-9-]{8,})",                  // Slack
    r"\bxapp-(?P<s>[A-Za-z0-9-]{8,})",                      // Slack
    r"\bAIza(?P<s>[A-Za-z0-9_-]{30,})",                     // Google
    r"\bya29\.(?P<s>[A-Za-z0-9_-]{16,})",                   // Google
    r"\bSG\.(?P<s>[A-Za-z0-9_-]{12,}\.[A-Za-z0-9_-]{12,})", // SendGrid
    r"\bSK(?P<s>[0-9a-f]{32})\b",                           // Twilio
    r"\bshp(?:at|ca|pa|ss)_(?P<s>[A-Za-z0-9]{16,})",        // Shopify
    r"\bnpm_(?P<s>[A-Za-z0-9]{24,})",                       // npm
    r"\bpypi-(?P<s>[A-Za-z0-9_-]{24,})",                    // PyPI
    r"\bhf_(?P<s>[A-Za-z0-9]{16,})",                        // Hugging Face
    r"\bdop_v1_(?P<s>[a-f0-9]{32,})",                       // DigitalOcean
    r"\bsqt_(?P<s>[A-Za-z0-9_]{16,})",                      // squall
    r"\beyJ(?P<s>[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)", // JSON Web Tokens
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?P<s>[A-Za-z0-9+/=\s\\]+)", // PEM
    r#"[a-z][a-z0-9+.-]*://[^/\s:@"']*:(?P<s>[^/\s@"']+)@"#, // passwords in URLs
];

/// Names whose values are secrets, in JSON (written into a text of JSON as well), forms and queries.
const NAMES: &str = r"(?:[a-z0-9_-]*(?:password|passwd|passphrase|secret|api[_-]?key|apikey|private[_-]?key)|(?:access|refresh|id|auth|session|security|csrf|x-amz-security)[_-]?token|authorization|(?:x-amz-|x-goog-)?(?:signature|credential)|secret[_-]?key|access[_-]?key(?:[_-]?id)?|awsaccesskeyid|sig|client_assertion|[a-z0-9_%\[\]-]*(?:\[|%5b)(?:number|cvc|password|secret)(?:\]|%5d)|cvc)";

/// Takes secrets out.
#[derive(Clone, Debug)]
pub struct Redaction {
    known: Vec<Regex>,
    own: Vec<Regex>,
    kept: Vec<String>,
}

impl Redaction {
    /// The patterns that squall knows, and `own` ones; fields of the names in `kept` keep their values besides those that
    /// are known to say nothing.
    ///
    /// # Errors
    /// A pattern that can't be read or is too large, or a field that is never kept.
    pub fn new(kept: &[String], own: &[String]) -> Result<Redaction, String> {
        let kept: Vec<String> = kept.iter().map(|name| name.to_ascii_lowercase()).collect();
        if let Some(name) = kept.iter().find(|name| NEVER_KEPT.contains(&name.as_str())) {
            return Err(format!("`{name}` carries secrets: its value is never written down"));
        }
        let named = [
            format!(r#"(?i)"{NAMES}"\s*:\s*"(?P<s>(?:[^"\\]|\\.)+)"#),
            format!(r#"(?i)"{NAMES}\\*"\s*:\s*\\*"(?P<s>[^"\\]+)"#),
            // shorter ones are what language models count in
            r#"(?i)"token\\*"\s*:\s*\\*"(?P<s>[a-z0-9._~+/=-]{20,})"#.to_owned(),
            format!(r#"(?i)(?:^|[?&;\s"])(?:{NAMES}|token)=(?P<s>[^&;\s"'\\<>]+)"#),
        ];
        let known = PATTERNS.iter().copied().chain(named.iter().map(String::as_str)).map(compile);
        let own = own.iter().map(|pattern| compile(pattern));
        Ok(Redaction { known: known.collect::<Result<_, _>>()?, own: own.collect::<Result<_, _>>()?, kept })
    }

    /// Takes secrets out of bytes in their place; whether a pattern of [`Redaction::new`]'s `own` had to do with it.
    pub fn bytes(&self, bytes: &mut [u8]) -> bool {
        self.known.iter().for_each(|pattern| {
            star(pattern, bytes);
        });
        self.own.iter().fold(false, |hit, pattern| star(pattern, bytes) | hit)
    }

    /// A text without its secrets.
    pub fn text(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        self.bytes(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned() // a pattern of somebody else's may have met half a character
    }

    /// The value of a field as it may be written down; none: nothing of it.
    pub fn field(&self, name: &str, value: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        if name == "set-cookie" {
            return Some(cookie(value));
        }
        let is_kept = KEPT.contains(&&*name)
            || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || self.kept.contains(&name);
        (is_kept && !NEVER_KEPT.contains(&&*name)).then(|| self.text(value))
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_SIZE).build();
    built.map_err(|error| format!("the pattern {pattern:?}: {error}"))
}

/// Puts stars where a pattern matches; whether it does.
fn star(pattern: &Regex, bytes: &mut [u8]) -> bool {
    let found = pattern.captures_iter(bytes).filter_map(|found| found.name("s").or_else(|| found.get(0)));
    let places: Vec<_> = found.map(|found| found.range()).filter(|place| !place.is_empty()).collect();
    for place in &places {
        bytes[place.clone()].fill(STAR);
    }
    !places.is_empty()
}

/// A cookie with its name and attributes, and another value.
fn cookie(value: &str) -> String {
    let (pair, attributes) = value.split_at(value.find(';').unwrap_or(value.len()));
    let name = pair.split_once('=').map_or("", |(name, _)| name);
    format!("{name}={REDACTED}{attributes}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn redaction() -> Redaction {
        Redaction::new(&["x-tenant".into()], &["hunter[0-9]".into()]).unwrap()
    }

    #[test]
    fn keys_of_services_are_found_wherever_they_stand() {
        let secrets = [
            "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
            "sk-ant-api03-AAAABBBBCCCCDDDDEEEE",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "AKIAIOSFODNN7EXAMPLE",
            "xoxb-123456789012-abcdefGHIJKL",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        ];
        for secret in secrets {
            for frame in ["data: {\"x\":\"@\"}\n\n", "a=@&b=1", "Bearer @", "<@>", "@"] {
                let text = frame.replace('@', secret);
                let redacted = redaction().text(&text);
                assert!(!redacted.contains(&secret[12..]), "{redacted}");
                assert_eq!((redacted.len(), redaction().text(&redacted)), (text.len(), redacted), "{secret}");
            }
        }
    }

    #[test]
    fn values_of_telling_names_are_found_and_the_rest_stays() {
        let text = |text: &str| redaction().text(text);
        assert_eq!(text(r#"{"password": "abc", "n":1}"#), r#"{"password": "***", "n":1}"#);
        assert_eq!(text(r#"{"a":"{\"client_secret\":\"abc\"}"}"#), r#"{"a":"{\"client_secret\":\"***\"}"}"#);
        assert_eq!(text("grant_type=x&refresh_token=abc&n=1"), "grant_type=x&refresh_token=***&n=1");
        assert_eq!(text(r#"{"password":"ab\"cd\\","n":"\""}"#), r#"{"password":"********","n":"\""}"#);
        assert_eq!(
            text("a=1&data[card][number]=4242&card%5Bcvc%5D=123&b=2"),
            "a=1&data[card][number]=****&card%5Bcvc%5D=***&b=2"
        );
        assert_eq!(text(r#"{"token":"AABF3JGZDX3P5PMEXLND6TS6"}"#), r#"{"token":"************************"}"#);
        assert_eq!(text("/v1/a?api_key=abc#b"), "/v1/a?api_key=*****");
        assert_eq!(text("amqp://guest:abc@queue/"), "amqp://guest:***@queue/");
        assert_eq!(text("my hunter2 is"), "my ******* is");
        assert_eq!(
            text(r#"{"form":"a=1&password=abc","n":"token=abc"}"#),
            r#"{"form":"a=1&password=***","n":"token=***"}"#
        );
        let pem = "{\"key\":\"-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\"}";
        assert_eq!(text(pem), pem.replace("\\nMIIE\\n", "********"));
        for innocent in [r#"{"token":{"text":" Hello"},"max_tokens":5}"#, "the secret of success", "amount=100&key=a"] {
            assert_eq!(text(innocent), innocent);
        }
    }

    #[test]
    fn only_own_patterns_are_told() {
        let hit = |text: &str| redaction().bytes(&mut text.as_bytes().to_vec());
        assert!(hit("hunter2") && !hit("sk_live_4eC39HqLyjWDarjtT1zdp7dc"));
    }

    #[test]
    fn fields_are_kept_by_name() {
        let field = |name: &str, value: &str| redaction().field(name, value);
        assert_eq!(field("Content-Type", "text/plain").as_deref(), Some("text/plain"));
        assert_eq!(field("X-RateLimit-Remaining", "7").as_deref(), Some("7"));
        assert_eq!(field("X-Tenant", "a").as_deref(), Some("a"));
        assert_eq!(field("X-Session", "a"), None);
        assert_eq!(field("Authorization", "Bearer abcdefgh"), None);
        assert_eq!(field("Set-Cookie", "id=abc; Path=/; HttpOnly").as_deref(), Some("id=[redacted]; Path=/; HttpOnly"));
        assert_eq!(field("Location", "/a?access_token=abc").as_deref(), Some("/a?access_token=***"));
        assert!(Redaction::new(&["Cookie".into()], &[]).unwrap_err().contains("never"));
        assert!(Redaction::new(&[], &["(".into()]).is_err());
    }
}
