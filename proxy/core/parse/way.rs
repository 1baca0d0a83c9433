//! The fields of `[[proxy]]` about PROXY headers, transparent mode, squall's own sockets and how HTTP goes on.

use std::net::IpAddr;

use super::address::{self, host_port};
use super::draft::ProxyDraft;
use super::node::{Node, Table};
use super::reader::{Reader, join};
use super::tls;
use crate::matcher::Network;
use crate::scenario::Protocol;
use crate::way::{HttpWay, ORIGINAL, ProxyProtocol, Way};

/// Checks them.
pub(crate) fn read(reader: &mut Reader, table: &Table, path: &str, draft: &ProxyDraft) -> Way {
    let tcp = draft.protocol != Some(Protocol::Udp);
    for key in ["proxy_protocol", "transparent", "source", "mark"] {
        if !tcp && table.has(key) {
            reader.error(table, path, key, format!("`{key}` is for proxies of connections, not of datagrams"));
        }
    }
    if let Some(protocol) = &draft.proxy_protocol {
        let inner = table.node("proxy_protocol").and_then(Node::as_table).unwrap_or(table);
        check_headers(reader, inner, &join(path, "proxy_protocol"), protocol, &draft.listen);
    }
    if draft.transparent.is_some() {
        if draft.upstream != ORIGINAL {
            let why = "a transparent proxy leads where its clients meant to go: write `original`";
            reader.error(table, path, "upstream", why);
        }
        if draft.listen.starts_with("unix:") {
            reader.error(table, path, "transparent", "nothing is redirected to a unix socket");
        }
    }
    for key in ["source", "mark"] {
        if table.has(key) && draft.upstream.starts_with("unix:") {
            reader.error(table, path, key, format!("`{key}` is for upstreams on a network, not for unix sockets"));
        }
    }
    if draft.source.is_some() && draft.listen.starts_with("unix:") {
        reader.error(table, path, "source", "the clients of a unix socket have no address");
    }
    if draft.mark == Some(0) {
        reader.error(
            table,
            path,
            "mark",
            "0 is what packets without a mark have: a mark lies between 1 and 4294967295",
        );
    }
    if draft.http.is_some() && !matches!(draft.protocol, Some(Protocol::Http | Protocol::Auto)) {
        reader.error(table, path, "http", "`http` is for proxies with `protocol = \"http\"`");
    }
    if let Some(http) = &draft.http {
        check_host(reader, table, path, &http.host, &draft.upstream);
        check_asking(reader, table, path, &http.envoy_headers_from, &draft.listen);
    }
    Way {
        http: draft.http.clone(),
        proxy_protocol: draft.proxy_protocol.clone(),
        transparent: draft.transparent,
        source: draft.source,
        mark: draft.mark,
        tls: tls::read(reader, table, path, draft),
        upstream_tls: tls::upstream(reader, table, path, draft),
    }
}

/// Whom the upstream is asked for goes into every request.
fn check_host(reader: &mut Reader, table: &Table, path: &str, host: &str, upstream: &str) {
    let (inner, path) = (table.node("http").and_then(Node::as_table).unwrap_or(table), join(path, "http"));
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || host.len() > 255 || !host.chars().all(is_host) {
        let message = format!("{host:?} is no host: `preserve`, `upstream`, or a name such as `api.example.com`");
        reader.error(inner, &path, "host", message);
    }
    if host == HttpWay::UPSTREAM && (upstream.starts_with("unix:") || upstream == ORIGINAL) {
        reader.error(inner, &path, "host", "this upstream has no host name to ask for: write one, or `preserve`");
    }
}

/// Whose clients may ask for faults.
fn check_asking(reader: &mut Reader, table: &Table, path: &str, from: &[Network], listen: &str) {
    const KEY: &str = "envoy_headers_from";
    let (inner, path) = (table.node("http").and_then(Node::as_table).unwrap_or(table), join(path, "http"));
    if !inner.has(KEY) {
        return;
    }
    if from.is_empty() {
        reader.error(inner, &path, KEY, "an empty list lets nobody ask for faults: leave it out");
    } else if listen.starts_with("unix:") {
        reader.error(inner, &path, KEY, "the clients of a unix socket are in no network");
    }
}

fn check_headers(reader: &mut Reader, table: &Table, path: &str, protocol: &ProxyProtocol, listen: &str) {
    const KEY: &str = "accept_from";
    if !table.has(KEY) {
        if protocol.send.is_none() {
            let why = "this says neither whom to take headers from (`accept_from`) nor which to send (`send`)";
            reader.error(table, path, "", why);
        }
        return;
    }
    if protocol.accept_from.is_empty() {
        return reader.error(table, path, KEY, "an empty list takes headers from nobody: leave it out");
    }
    if listen.starts_with("unix:") {
        return reader.error(table, path, KEY, "the clients of a unix socket are in no network");
    }
    let own = host_port(listen).ok().and_then(|(host, _)| address::ip(host));
    let none = |family: fn(&IpAddr) -> bool| {
        !protocol.accept_from.iter().any(|network| family(&network.address.to_canonical()))
    };
    match own {
        Some(IpAddr::V4(_)) if none(IpAddr::is_ipv4) => {
            reader.error(table, path, KEY, format!("no client of {listen} comes from an IPv6 network"));
        }
        Some(IpAddr::V6(own)) if !own.is_unspecified() && none(IpAddr::is_ipv6) => {
            reader.error(table, path, KEY, format!("no client of {listen} comes from an IPv4 network"));
        }
        _ => {}
    }
}
