//! A whole configuration.

use std::path::Path;

use super::draft::{
    AuditDraft, BlackoutDraft, ConfigHead, ControlDraft, ControlTlsDraft, HoursDraft, SafetyDraft, is_name,
};
use super::node::{Node, Table};
use super::reader::{Reader, item, tables};
use super::world::World;
use super::{address, probe, stand};
use crate::calendar::{Blackout, Calendar, Hours, minutes};
use crate::config::{AuditConfig, AuditTo, Config, Consent, ControlConfig, ControlTls, NotifyConfig, Safety};
use crate::matcher::{MatchSpec, Network, Pattern, check_glob};
use crate::stamp;
use crate::time::MILLI;

/// Reads and checks it; none: something essential is missing, and it is on record.
pub(crate) fn read(reader: &mut Reader, root: &Table, world: &World) -> Option<Config> {
    let (parts, head) = root.split(|key| key == "proxy");
    let head: Option<ConfigHead> = reader.read_beside(&head, "", &["proxy"]);
    let proxies = tables(reader, &parts, "proxy");
    let proxies =
        proxies.iter().enumerate().filter_map(|(index, table)| stand::proxy(reader, table, index, world)).collect();
    let head = head?;
    let inner = |key| root.node(key).and_then(Node::as_table).unwrap_or(root);
    let base = reader.source().map(|source| Path::new(&source.name).parent().unwrap_or(Path::new("")).to_owned());
    let base = base.unwrap_or_default();
    let control = head.control.map(|draft| control(reader, inner("control"), draft, &base));
    if let Some(listen) = control.as_ref().and_then(|control| control.listen.as_deref()) {
        keep_apart(reader, root, listen);
    }
    if let Some(metrics) = &head.metrics {
        check_listen(reader, inner("metrics"), "metrics", "listen", Some(&metrics.listen));
    }
    let audit = head.audit.map(|draft| audit(reader, inner("audit"), draft, &base));
    let notify = head.notify.map(|draft| {
        if let Err(why) = probe::check_url(&draft.webhook) {
            reader.error(inner("notify"), "notify", "webhook", why);
        }
        NotifyConfig { webhook: draft.webhook, secret: draft.secret.map(|path| base.join(path)) }
    });
    Some(Config {
        notify,
        audit: audit.unwrap_or_default(),
        environment: head.environment.map(|name| name.0),
        control: control.unwrap_or_default(),
        metrics_listen: head.metrics.map(|metrics| metrics.listen),
        safety: head.safety.map(|draft| safety(reader, inner("safety"), draft)).unwrap_or_default(),
        proxies,
    })
}

fn control(reader: &mut Reader, table: &Table, draft: ControlDraft, base: &Path) -> ControlConfig {
    check_listen(reader, table, "control", "listen", draft.listen.as_deref());
    check_listen(reader, table, "control", "toxiproxy", draft.toxiproxy.as_deref());
    let is_known = draft.tokens.is_some() || draft.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if draft.listen.as_deref().is_some_and(address::is_public) && !(is_known && draft.tls.is_some()) {
        let why = "this can be reached from other machines: `tls` is needed, and `tokens` or its `client_ca`";
        reader.error(table, "control", "listen", why);
    }
    if draft.tls.is_some() && draft.listen.as_deref().is_some_and(|listen| listen.starts_with("unix:")) {
        reader.error(table, "control", "tls", "a unix socket needs no TLS: the kernel says who asks");
    }
    let tls = draft.tls.map(|draft| control_tls(reader, table, draft, base));
    if draft.toxiproxy.as_deref().is_some_and(address::is_public) && !draft.toxiproxy_open {
        let why = "this can be reached from other machines and has no tokens: `toxiproxy_open = true` is needed";
        reader.error(table, "control", "toxiproxy", why);
    }
    ControlConfig {
        listen: draft.listen,
        toxiproxy: draft.toxiproxy,
        toxiproxy_open: draft.toxiproxy_open,
        state: draft.state.map(|path| base.join(path)),
        tokens: draft.tokens.map(|path| base.join(path)),
        tls,
        hosts: draft.hosts,
    }
}

fn control_tls(reader: &mut Reader, table: &Table, draft: ControlTlsDraft, base: &Path) -> ControlTls {
    let (has_roles, has_ca) = (!draft.roles.is_empty(), draft.client_ca.is_some());
    if has_roles != has_ca {
        reader.error(table, "control", "tls", "`client_ca` vouches for the names in `roles`: they go together");
    }
    if draft.groups.values().flatten().any(|name| !draft.roles.contains_key(name)) {
        reader.error(table, "control", "tls", "a name in `groups` needs a role in `roles`");
    }
    ControlTls {
        cert: base.join(draft.cert),
        key: base.join(draft.key),
        client_ca: draft.client_ca.map(|path| base.join(path)),
        roles: draft.roles,
        groups: draft.groups,
    }
}

fn audit(reader: &mut Reader, table: &Table, draft: AuditDraft, base: &Path) -> AuditConfig {
    let to = match draft.to {
        None => AuditTo::State,
        Some(to) if to == "stdout" => AuditTo::Stdout,
        Some(to) if to.contains("://") => {
            if let Err(why) = probe::check_url(&to) {
                reader.error(table, "audit", "to", why);
            }
            AuditTo::Http(to)
        }
        Some(to) => {
            if to.is_empty() {
                reader.error(table, "audit", "to", "expected a file, `stdout` or `http://host:port/path`");
            }
            AuditTo::File(base.join(to))
        }
    };
    let is_plain = |origin: &String| (1..=200).contains(&origin.len()) && !origin.chars().any(char::is_control);
    if draft.origin.as_ref().is_some_and(|origin| !is_plain(origin)) {
        reader.error(table, "audit", "origin", "expected 1 to 200 bytes without control characters");
    }
    AuditConfig { to, origin: draft.origin, key: draft.key.map(|path| base.join(path)) }
}

/// The control port is no proxy's listener, and no proxy leads there.
fn keep_apart(reader: &mut Reader, root: &Table, control: &str) {
    for (index, table) in root.tables("proxy") {
        for (key, why) in [("listen", "the control port listens here"), ("upstream", "this is the control port itself")]
        {
            if table.text(key).is_some_and(|address| address::arrives(control, address)) {
                reader.error(table, &item("proxy", table, index), key, format!("{why}: {control}"));
            }
        }
    }
}

fn check_listen(reader: &mut Reader, table: &Table, path: &str, key: &str, listen: Option<&str>) {
    if let Some(Err(why)) = listen.map(address::listen) {
        reader.error(table, path, key, why);
    }
}

fn safety(reader: &mut Reader, table: &Table, draft: SafetyDraft) -> Safety {
    let path = "safety";
    let default = Safety::default();
    each(reader, table, "allow_upstreams", draft.allow_upstreams.as_deref(), upstream);
    each(reader, table, "deny_upstreams", draft.deny_upstreams.as_deref(), upstream);
    each(reader, table, "never_fault", draft.never_fault.as_deref(), never_faulted);
    each(reader, table, "allow_exec", draft.allow_exec.as_deref(), |path| {
        if path.starts_with('/') { Ok(()) } else { Err(format!("{path:?} is not an absolute path")) }
    });
    each(reader, table, "must_not_reach", draft.must_not_reach.as_deref(), |text| address::host_port(text).map(|_| ()));
    if draft.lease.is_some_and(|lease| lease.0 < 100 * MILLI) {
        reader.error(table, path, "lease", "a lease shorter than 100 ms would run out by itself");
    }
    if draft.max_experiments == Some(0) {
        reader.error(table, path, "max_experiments", "at least one experiment must be able to run");
    }
    let approvals = draft.approvals.unwrap_or_default();
    if let Some(name) = approvals.keys().find(|name| !is_name(name)) {
        reader.error(table, path, "approvals", format!("{name:?} is not the name of an environment"));
    }
    let is_odd = |consent: &Consent| match consent {
        Consent::People(_) => false,
        Consent::Groups(groups) => groups.is_empty() || groups.len() > 16 || groups.iter().any(String::is_empty),
    };
    if approvals.values().any(is_odd) {
        reader.error(table, path, "approvals", "groups are a list of 1 to 16 names");
    }
    if draft.environment_file.as_ref().is_some_and(|file| !file.is_absolute()) {
        reader.error(table, path, "environment_file", "this is not an absolute path");
    }
    if draft.must_not_reach.as_ref().is_some_and(|list| list.len() > 64) {
        reader.error(table, path, "must_not_reach", "at most 64 addresses are tried before a start");
    }
    let calendar = calendar(reader, table, draft.windows.unwrap_or_default(), draft.blackouts.unwrap_or_default());
    let most = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Safety {
        allow_upstreams: draft.allow_upstreams.unwrap_or(default.allow_upstreams),
        deny_upstreams: draft.deny_upstreams.unwrap_or_default(),
        never_fault: draft.never_fault.unwrap_or_default(),
        max_percentage: draft.max_percentage.map(|limit| limit.0),
        max_active_faults: draft.max_active_faults,
        lease: draft.lease.map_or(default.lease, |lease| lease.0),
        allow_exec: draft.allow_exec.unwrap_or_default(),
        must_not_reach: draft.must_not_reach.unwrap_or_default(),
        approvals,
        max_experiments: draft.max_experiments.map_or(default.max_experiments, most),
        environment_file: draft.environment_file,
        calendar,
    }
}

fn calendar(reader: &mut Reader, table: &Table, windows: Vec<HoursDraft>, blackouts: Vec<BlackoutDraft>) -> Calendar {
    let hours = |draft: HoursDraft| {
        let mut days = [draft.days.is_none(); 7];
        for day in draft.days.into_iter().flatten() {
            days[day as usize] = true;
        }
        let (from, to) = (minutes(&draft.from.0).unwrap_or_default(), minutes(&draft.to.0).unwrap_or_default());
        Hours { days, from, to, offset: draft.zone.and_then(|zone| stamp::offset(&zone.0)).unwrap_or_default() }
    };
    let windows: Vec<Hours> = windows.into_iter().map(hours).collect();
    if windows.iter().any(|hours| !hours.days.contains(&true)) {
        reader.error(table, "safety", "windows", "a window without days never opens");
    }
    let blackout = |draft: BlackoutDraft| {
        let (from, to) = (stamp::parse(&draft.from.0)?, stamp::parse(&draft.to.0)?);
        Some(Blackout { from, to, reason: draft.reason.map(|reason| reason.0) })
    };
    let blackouts: Vec<Blackout> = blackouts.into_iter().filter_map(blackout).collect();
    if blackouts.iter().any(|blackout| blackout.to <= blackout.from) {
        reader.error(table, "safety", "blackouts", "a black-out ends after it has begun");
    }
    Calendar { windows, blackouts }
}

fn each(
    reader: &mut Reader,
    table: &Table,
    key: &str,
    list: Option<&[String]>,
    check: impl Fn(&str) -> Result<(), String>,
) {
    for why in list.into_iter().flatten().filter_map(|text| check(text).err()) {
        reader.error(table, "safety", key, why);
    }
}

/// A glob that some path can match: one that no path can would leave unprotected what it means.
fn never_faulted(path: &str) -> Result<(), String> {
    let rule = || MatchSpec { path: Some(Pattern::Glob(path.to_owned())), ..MatchSpec::default() };
    match rule().impossible() {
        _ if !path.starts_with('/') => Err(format!("{path:?}: a path begins with `/`")),
        Some((_, why)) => Err(format!("{path:?} protects nothing: {why}")),
        None => check_glob(path),
    }
}

/// A network, an address, or a glob of `host` or `host:port`.
fn upstream(text: &str) -> Result<(), String> {
    if text.parse::<Network>().is_ok() || text.starts_with("unix:/") {
        return Ok(());
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "*"));
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'*' | b'[' | b']' | b':');
    let port_fits = port == "*" || port.parse::<u16>().is_ok();
    let looks_like_address = host.bytes().all(|c| c.is_ascii_digit() || c == b'.') && host.parse::<Network>().is_err();
    if host.is_empty() || !host.bytes().all(fits) || !port_fits || text.contains('/') || looks_like_address {
        return Err(format!("{text:?} is neither a network such as 10.0.0.0/8 nor a glob such as *.internal:443"));
    }
    Ok(())
}
