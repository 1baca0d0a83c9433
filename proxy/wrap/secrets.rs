//! Keys that move real money or real data, and whatever else must not be printed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use squall_core::http::Request;
use squall_core::redact::Redaction;

/// How keys begin that act on real accounts. Services that mark no difference between test and live can't be told here.
const LIVE: [&str; 8] = [
    "sk_live_",                 // Stripe, Paystack, Clerk
    "rk_live_",                 // Stripe, restricted
    "rzp_live_",                // Razorpay
    "shippo_live_",             // Shippo
    "access_token$production$", // Braintree
    "access-production-",       // Plaid
    "sq0atp-",                  // Square
    "cfsk_ma_prod_",            // Cashfree
];

/// How secrets begin that are masked wherever a command line is printed.
const SECRET: [&str; 14] = [
    "sk-",
    "sk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "ASIA",
    "eyJ",
    "AIza",
];
/// Words in the names of variables and options that hold secrets.
const NAMES: [&str; 7] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "AUTH"];
/// Options of curl and its like behind which stands `user:password`.
const USER: [&str; 4] = ["-u", "-U", "--user", "--proxy-user"];
/// A part of a path that is longer is an identifier, if it holds digits.
const LONG: usize = 16;

/// How a live key in this text begins; none: there is none.
pub fn live_key(text: &str) -> Option<&'static str> {
    LIVE.into_iter().find(|start| text.contains(start))
}

/// Refuses a request with a live key, in any field or the target.
///
/// # Errors
/// Where it is; never what it is.
pub fn refuse(host: &str, request: &Request) -> Result<(), String> {
    let found = |place: &str, start: &str| {
        format!(
            "a live key ({start}…) in {place} of a request to {host}: it was not sent. Use a test key, \
             or say --allow-live if you mean it"
        )
    };
    if let Some(start) = live_key(&request.target) {
        return Err(found("the target", start));
    }
    for (name, value) in request.fields.iter() {
        let text = String::from_utf8_lossy(value);
        let basic = text.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "));
        let inner = basic.then(|| STANDARD.decode(text[6..].trim()).ok()).flatten().unwrap_or_default();
        if let Some(start) = live_key(&text).or_else(|| live_key(&String::from_utf8_lossy(&inner))) {
            return Err(found(&format!("the field `{}`", String::from_utf8_lossy(name)), start));
        }
    }
    Ok(())
}

/// The variable of this process that holds a live key, and how that begins.
pub fn live_variable() -> Option<(String, &'static str)> {
    std::env::vars_os().find_map(|(name, value)| {
        let start = live_key(&value.to_string_lossy())?;
        Some((name.to_string_lossy().into_owned(), start))
    })
}

/// A command line as it may be printed: quoted for a shell, secrets left out.
pub fn shown(words: &[String]) -> String {
    let secrets: Vec<String> = std::env::vars()
        .filter(|(name, value)| names_secret(name) && value.len() >= 8)
        .map(|(_, value)| value)
        .collect();
    let known = Redaction::new(&[], &[]).ok();
    let has_known = |word: &str| known.as_ref().is_some_and(|known| known.text(word) != word);
    let (mut after_name, mut after_user) = (false, false);
    let shown = words.iter().map(|word| {
        let hidden = after_name
            || after_user && has_password(word)
            || is_secret(word)
            || has_known(word)
            || secrets.iter().any(|secret| word.contains(secret.as_str()));
        after_name = word.starts_with('-') && !word.contains('=') && names_secret(word);
        after_user = USER.contains(&word.as_str());
        if hidden { "'…'".to_owned() } else { quoted(word) }
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    NAMES.iter().any(|part| name.contains(part))
}

/// `user:password`, or a key in the user's place. Two numbers are none (`docker run -u 1000:1000`).
fn has_password(word: &str) -> bool {
    word.contains(':') && word.contains(|c: char| !c.is_ascii_digit() && c != ':')
}

fn is_secret(word: &str) -> bool {
    let parts = word.split(|c: char| c.is_whitespace() || matches!(c, '=' | ':' | ',' | '\'' | '"' | '@' | '/'));
    let by_start =
        parts.into_iter().any(|part| part.len() >= LONG && SECRET.iter().any(|start| part.starts_with(start)));
    let lower = word.to_ascii_lowercase();
    let by_name = ["authorization:", "bearer ", "x-api-key", "api-key:"].iter().any(|name| lower.contains(name))
        || ["=", ": "]
            .iter()
            .filter_map(|by| word.split_once(by))
            .any(|(name, value)| names_secret(name) && !value.is_empty());
    let with_user = USER.iter().any(|option| word.strip_prefix(option).is_some_and(has_password));
    let with_password = word.split_once("://").is_some_and(|(_, rest)| {
        rest.split('/').next().is_some_and(|place| place.split_once('@').is_some_and(|(user, _)| user.contains(':')))
    });
    by_start || by_name || with_user || with_password
}

/// A word for a shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A path as it may be printed, with `*` for what identifies one thing or is a secret: `/v1/charges/*`.
pub fn path(path: &str) -> String {
    let segment = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let is_number = digits > 0 && digits == part.len();
        let is_version = part.len() <= 10 && !is_number;
        let prefixed =
            part.split_once('_').is_some_and(|(_, rest)| rest.len() >= 8 && rest.bytes().any(|b| b.is_ascii_digit()));
        let identifies = is_number || !is_version && (digits > 1 || prefixed) || part.len() >= 2 * LONG;
        if identifies && !part.is_empty() { "*".to_owned() } else { part.to_owned() }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn live_keys_are_found_wherever_they_stand() {
        let mut request = Request::default();
        request.fields.push("authorization", "Bearer sk_test_1");
        assert_eq!(refuse("api.stripe.com", &request), Ok(()));
        let hidden = STANDARD.encode("sk_live_abcdef:");
        for (name, value) in [
            ("authorization", "Bearer sk_live_abcdef"),
            ("x-key", "rk_live_abcdef"),
            ("authorization", &format!("Basic {hidden}")),
        ] {
            let mut request = Request::default();
            request.fields.push(name, value);
            let why = refuse("api.stripe.com", &request).unwrap_err();
            assert!(why.contains("_live_") && !why.contains("abcdef"), "{why}");
        }
        let request = Request { target: "/x?key=sk_live_abcdef".into(), ..Request::default() };
        assert!(refuse("api.stripe.com", &request).is_err());
    }

    #[test]
    fn what_is_printed_can_be_pasted_and_tells_no_secret() {
        let line = |words: &[&str]| shown(&words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["pytest", "-k", "a or b", "it's"]), r"pytest -k 'a or b' 'it'\''s'");
        for innocent in ["pytest tests/test_auth.py::test_login http://127.0.0.1:80/x", "docker run -u 1000:1000 image"]
        {
            assert_eq!(line(&innocent.split(' ').collect::<Vec<_>>()), innocent);
        }
        let secrets = [
            &["curl", "-H", "Authorization: Bearer abcdefgh"][..],
            &["tool", "--api-key", "abcdefgh"],
            &["tool", "--token=abcdefgh"],
            &["tool", "ghp_abcdefghijklmnopqrst"],
            &["tool", "https://ann:abcdefgh@host/x"],
            &["env", "OPENAI_API_KEY=abcdefgh", "tool"],
            &["curl", "-u", "ann:abcdefgh"],
            &["curl", "-uann:abcdefgh"],
            &["curl", "--user=ann:abcdefgh"],
            &["curl", "-H", "Private-Token: abcdefgh"],
            &["tool", "glpat-abcdefghabcdefgh"],
        ];
        for words in secrets {
            assert!(!line(words).contains("abcdefgh"), "{words:?}: {}", line(words));
        }
    }

    #[test]
    fn paths_are_told_without_what_identifies() {
        assert_eq!(path("/v1/charges/ch_3MmlLrLkdIwHu7ix0snN0B15/refund"), "/v1/charges/*/refund");
        assert_eq!(path("/repos/octo/hello/issues/1347"), "/repos/octo/hello/issues/*");
        assert_eq!(path("/v1/chat/completions"), "/v1/chat/completions");
        assert_eq!(path("/services/T0123ABCD99/B0123ABCD99/XXXXabcd0123456789XXXXXX"), "/services/*/*/*");
        assert_eq!(path("/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/x"), "/*/x");
        assert_eq!(path("/"), "/");
    }
}
