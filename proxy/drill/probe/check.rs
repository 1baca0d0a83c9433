//! One check: carried out within its time-out, its answer looked at up to a bound, its secrets kept out of every message.

mod alertmanager;
mod exec;
mod http;
mod postgres;
mod prometheus;
mod redis;
mod tcp;

use squall_core::limits::Limits;
use squall_core::scenario::{ProbeCheck, Secret};
use squall_core::time::Time;
use tokio::net::TcpStream;

/// Bytes of an answer that are looked at.
const LOOK: usize = 1 << 20;
/// Characters of an answer that a message repeats.
const QUOTE: usize = 200;

/// Runs one check. Ends within its time-out, ns.
pub(crate) async fn check(check: &ProbeCheck, timeout: Time, limits: &Limits) -> Result<(), String> {
    let secret = match check.secret() {
        Some(secret) => Some(reveal(secret)?),
        None => None,
    };
    let limit = std::time::Duration::from_nanos(timeout);
    let work = carry_out(check, secret.as_deref(), limits);
    let outcome = match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {limit:?}")),
    };
    outcome.map_err(|why| match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => why.replace(&secret, "…"), // a server may repeat what it was sent
        None => why,
    })
}

/// Posts a body to a URL: squall's own messages to others. Any 2xx is an answer.
pub(crate) async fn post(
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: std::time::Duration,
    limits: &Limits,
) -> Result<(), String> {
    let body = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let ask = http::Ask { url, method: "POST", headers: Some(&headers), body: Some(body), token: None };
    match tokio::time::timeout(limit, http::send(&ask, limits)).await {
        Ok(Ok(answer)) if (200..300).contains(&answer.status) => Ok(()),
        Ok(Ok(answer)) => Err(format!("answered {}", answer.status)),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

async fn carry_out(check: &ProbeCheck, secret: Option<&str>, limits: &Limits) -> Result<(), String> {
    match check {
        ProbeCheck::Http { url, method, headers, body, status, expect, .. } => {
            let ask = http::Ask { url, method, headers: Some(headers), body: body.as_deref(), token: secret };
            http::check(&ask, *status, expect.as_deref(), limits).await
        }
        ProbeCheck::Tcp { address, send, expect } => {
            tcp::check(address, send.as_deref(), expect.as_deref(), limits).await
        }
        ProbeCheck::Exec { command, status, expect } => exec::check(command, *status, expect.as_deref()).await,
        ProbeCheck::Redis { address, command, expect, user, .. } => {
            let stream = connect(address, limits).await?;
            let auth = secret.map(|password| user.iter().map(String::as_str).chain([password]).collect::<Vec<_>>());
            redis::check(stream, auth.as_deref(), command, expect.as_deref()).await
        }
        ProbeCheck::Postgres { address, user, database, query, expect, .. } => {
            let stream = connect(address, limits).await?;
            let login = postgres::Login { user, database, password: secret };
            postgres::check(stream, &login, query, expect.as_deref()).await
        }
        ProbeCheck::Prometheus { url, query, above, below, .. } => {
            prometheus::check(url, query, (*above, *below), secret, limits).await
        }
        ProbeCheck::Alertmanager { url, alert, labels, absent, .. } => {
            alertmanager::check(url, alert, labels, *absent, secret, limits).await
        }
    }
}

/// The variable that a check needs and that is not set here.
pub(super) fn unset(check: &ProbeCheck) -> Option<String> {
    check.secret().and_then(|secret| reveal(secret).err())
}

fn reveal(secret: &Secret) -> Result<String, String> {
    std::env::var(&secret.0).map_err(|_| format!("the environment variable {} is not set", secret.0))
}

/// Connects to the first address behind `host:port` that answers and that no list denies.
async fn connect(address: &str, limits: &Limits) -> Result<TcpStream, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let resolved = tokio::net::lookup_host(address).await.map_err(|error| format!("{address}: {error}"))?;
    let mut last = format!("{address}: the name has no address");
    for to in resolved {
        if let Err(why) = limits.check_denied(host, to) {
            last = why;
            continue;
        }
        match TcpStream::connect(to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

/// The beginning of an answer, for a message.
fn quote(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(QUOTE) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests;
