//! `tls` and `upstream_tls` of `[[proxy]]`. Files are relative to the one that names them, and must be there.

use std::path::{Path, PathBuf};

use super::draft::ProxyDraft;
use super::node::{Node, Table, Value};
use super::reader::{Reader, join};
use super::stand::only_for;
use crate::read;
use crate::scenario::Protocol;
use crate::tls::{Mode, SYSTEM, Tls, UpstreamTls};
use crate::way::HttpVersion;

/// What HTTP is spoken over, by preference.
const OF_HTTP: [&str; 2] = ["h2", "http/1.1"];

/// Fields that hold a path.
const PATHS: [(&str, &[&str]); 2] = [("tls", &["cert", "key"]), ("upstream_tls", &["roots", "cert", "key"])];

/// Checks `tls`.
pub(crate) fn read(reader: &mut Reader, table: &Table, path: &str, draft: &ProxyDraft) -> Option<Tls> {
    let mut tls = draft.tls.clone()?;
    let protocol = draft.protocol.unwrap_or_default();
    only_for(reader, table, path, &["tls"], protocol != Protocol::Udp, "proxies of connections, not of datagrams");
    let (table, path) = (within(table, "tls"), join(path, "tls"));
    check_alpn(reader, table, &path, &tls.alpn);
    match tls.mode {
        Mode::Passthrough => {
            let fields = ["cert", "key", "issue", "alpn"];
            only_for(reader, table, &path, &fields, false, "`mode = \"terminate\"`: here the upstream has its own");
            if matches!(protocol, Protocol::Http | Protocol::Auto) {
                let why = "nobody can see HTTP within TLS that the upstream carries out: give `mode = \"terminate\"`, \
                           or leave `protocol` out";
                reader.error(table, &path, "mode", why);
            }
        }
        Mode::Terminate if tls.issue => {
            let why = "`issue = true`, which makes certificates as they are asked for";
            for key in ["cert", "key"].into_iter().filter(|key| table.has(key)) {
                reader.error(table, &path, key, format!("this and {why} exclude each other"));
            }
        }
        Mode::Terminate if !table.has("cert") && !table.has("key") => {
            reader.error(table, &path, "", "a certificate is needed: `cert` and `key`, or `issue = true`");
        }
        Mode::Terminate => check_pair(reader, table, &path),
    }
    if tls.alpn.is_empty() && tls.mode == Mode::Terminate && protocol != Protocol::Tcp {
        tls.alpn = OF_HTTP.map(str::to_owned).into();
    }
    file(reader, table, &path, "cert", CERTIFICATE, &mut tls.cert);
    file(reader, table, &path, "key", KEY, &mut tls.key);
    Some(tls)
}

/// Checks `upstream_tls`.
pub(crate) fn upstream(reader: &mut Reader, table: &Table, path: &str, draft: &ProxyDraft) -> Option<UpstreamTls> {
    let mut tls = draft.upstream_tls.clone()?;
    let protocol = draft.protocol.unwrap_or_default();
    let whole = ["upstream_tls"];
    only_for(reader, table, path, &whole, protocol != Protocol::Udp, "proxies of connections, not of datagrams");
    if draft.tls.as_ref().is_some_and(|tls| tls.mode == Mode::Passthrough) {
        let why =
            "the client's TLS goes through to the upstream: squall speaks none of its own (`mode = \"terminate\"`)";
        reader.error(table, path, "upstream_tls", why);
    }
    let unix = draft.upstream.starts_with("unix:");
    let (table, path) = (within(table, "upstream_tls"), join(path, "upstream_tls"));
    check_alpn(reader, table, &path, &tls.alpn);
    check_pair(reader, table, &path);
    if !tls.verify && table.has("roots") {
        reader.error(table, &path, "roots", "`verify = false` looks at no root: write one of them");
    }
    if unix && tls.verify && tls.server_name.is_none() {
        reader.error(table, &path, "server_name", "a unix socket has no host name: say whose certificate is expected");
    }
    if let Some(name) = &tls.server_name
        && (name.is_empty() || name.len() > 253 || name.contains(|c: char| !c.is_ascii_graphic() || "/*[]".contains(c)))
    {
        reader.error(table, &path, "server_name", format!("{name:?} is not the name of a host"));
    }
    if tls.postgres && protocol != Protocol::Tcp {
        reader.error(table, &path, "postgres", "PostgreSQL is not spoken over HTTP");
    }
    if protocol != Protocol::Tcp {
        let spoken = match draft.http.as_ref().map(|http| http.upstream).unwrap_or_default() {
            HttpVersion::One => "http/1.1",
            HttpVersion::Two => "h2",
        };
        if tls.alpn.is_empty() {
            tls.alpn = vec![spoken.to_owned()];
        } else if tls.alpn != [spoken] {
            let message =
                format!("squall speaks `{spoken}` with this upstream (`http.upstream`): nothing else may be offered");
            reader.error(table, &path, "alpn", message);
        }
    }
    file(reader, table, &path, "cert", CERTIFICATE, &mut tls.cert);
    file(reader, table, &path, "key", KEY, &mut tls.key);
    if let Some(roots) = tls.roots.take_if(|roots| roots != SYSTEM) {
        let mut roots = Some(PathBuf::from(roots));
        file(reader, table, &path, "roots", CERTIFICATE, &mut roots);
        tls.roots = roots.map(|roots| roots.to_string_lossy().into_owned());
    }
    Some(tls)
}

/// Makes the paths of certificates absolute: whoever reads the document elsewhere finds the same files. Whether there
/// were any.
pub(crate) fn make_absolute(root: &mut Table, document: &Path) -> bool {
    let base = document.parent().unwrap_or(Path::new(""));
    let mut found = false;
    let list = root.entries.iter_mut().find(|entry| entry.key == "proxy").map(|entry| &mut entry.node.value);
    let Some(Value::List(list)) = list else { return false };
    let tables = list.iter_mut().filter_map(|node| match &mut node.value {
        Value::Table(table) => Some(table),
        _ => None,
    });
    for entry in tables.flat_map(|table| &mut table.entries) {
        let Some((_, fields)) = PATHS.iter().find(|(key, _)| *key == entry.key) else { continue };
        let Value::Table(table) = &mut entry.node.value else { continue };
        for field in table.entries.iter_mut().filter(|field| fields.contains(&field.key.as_str())) {
            if let Value::Text(text) = &mut field.node.value
                && text != SYSTEM
                && let Ok(path) = std::path::absolute(base.join(&*text))
            {
                *text = path.to_string_lossy().into_owned();
                found = true;
            }
        }
    }
    found
}

const CERTIFICATE: &str = "CERTIFICATE-----";
const KEY: &str = "PRIVATE KEY-----";

/// Finds a file beside the one that names it, and looks whether it is what it should be.
fn file(reader: &mut Reader, table: &Table, path: &str, key: &str, what: &str, named: &mut Option<PathBuf>) {
    let Some(named) = named else { return };
    if named.is_relative() {
        let beside =
            reader.source().filter(|source| !source.name.starts_with('<')).map(|source| Path::new(&source.name));
        let Some(base) = beside.and_then(Path::parent) else {
            return reader.error(table, path, key, "what comes as a request lies in no directory: give the whole path");
        };
        *named = base.join(&*named);
    }
    let kind = if what == KEY { "private key" } else { "certificate" };
    match read::load(named) {
        Err(mistake) => reader.error(table, path, key, format!("{}: {}", named.display(), mistake.message)),
        Ok(source) if !source.text.contains(what) => {
            reader.error(table, path, key, format!("{}: there is no {kind} in it (PEM)", named.display()));
        }
        Ok(_) => {}
    }
}

fn check_pair(reader: &mut Reader, table: &Table, path: &str) {
    for (key, other) in [("cert", "key"), ("key", "cert")] {
        if table.has(key) && !table.has(other) {
            reader.error(table, path, other, format!("`{key}` is of no use without `{other}`"));
        }
    }
}

fn check_alpn(reader: &mut Reader, table: &Table, path: &str, alpn: &[String]) {
    if table.has("alpn") && alpn.is_empty() {
        reader.error(table, path, "alpn", "an empty list names no protocol: leave it out");
    }
    let twice = |at: usize, name: &String| alpn[..at].contains(name);
    if let Some((_, name)) = alpn.iter().enumerate().find(|(at, name)| {
        !(1..=255).contains(&name.len()) || !name.bytes().all(|c| c.is_ascii_graphic()) || twice(*at, name)
    }) {
        let why = format!("{name:?}: each protocol is named once, in 1 to 255 letters, as in \"h2\" or \"http/1.1\"");
        reader.error(table, path, "alpn", why);
    }
}

fn within<'a>(table: &'a Table, key: &str) -> &'a Table {
    table.node(key).and_then(Node::as_table).unwrap_or(table)
}
