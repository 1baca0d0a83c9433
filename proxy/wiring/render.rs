//! What is in force, as a `squall.toml` that gives the same again.

use squall_core::calendar::{self, Blackout, Hours};
use squall_core::config::{AuditConfig, AuditTo, Config, Consent, ControlConfig, ControlTls, NotifyConfig, Safety};
use squall_core::plane::ProxyInfo;
use squall_core::scenario::{Protocol, ProxySpec};
use squall_core::stamp;
use squall_core::time::{MICRO, MILLI, SECOND, Time};
use toml::{Table, Value};

/// The configuration, with the proxies as they run.
pub(super) fn toml(config: &Config, environment: &str, proxies: &[ProxyInfo]) -> String {
    let mut root = Table::new();
    root.insert("environment".into(), environment.into());
    insert(&mut root, "control", control(&config.control));
    insert(&mut root, "audit", audit(&config.audit));
    insert(&mut root, "notify", config.notify.as_ref().map(notify).unwrap_or_default());
    let metrics = config.metrics_listen.iter().map(|listen| ("listen".to_owned(), Value::from(listen.as_str())));
    insert(&mut root, "metrics", metrics.collect());
    insert(&mut root, "safety", safety(&config.safety));
    let list: Vec<Value> = proxies.iter().map(|info| Value::Table(proxy(&info.spec, &info.listen))).collect();
    if !list.is_empty() {
        root.insert("proxy".into(), list.into());
    }
    root.to_string()
}

/// Empty tables are left out.
fn insert(root: &mut Table, name: &str, table: Table) {
    if !table.is_empty() {
        root.insert(name.into(), table.into());
    }
}

fn control(control: &ControlConfig) -> Table {
    let mut table = Table::new();
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let fields = [
        ("listen", control.listen.clone()),
        ("toxiproxy", control.toxiproxy.clone()),
        ("state", path(&control.state)),
        ("tokens", path(&control.tokens)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            table.insert(name.into(), value.into());
        }
    }
    words(&mut table, "hosts", &control.hosts);
    if let Some(tls) = &control.tls {
        table.insert("tls".into(), control_tls(tls).into());
    }
    table
}

fn control_tls(tls: &ControlTls) -> Table {
    let path = |path: &std::path::Path| Value::from(path.display().to_string());
    let mut table = Table::from_iter([("cert".to_owned(), path(&tls.cert)), ("key".to_owned(), path(&tls.key))]);
    if let Some(ca) = &tls.client_ca {
        table.insert("client_ca".into(), path(ca));
    }
    let roles: Table = tls.roles.iter().map(|(name, role)| (name.clone(), role.word().into())).collect();
    insert(&mut table, "roles", roles);
    let mut groups = Table::new();
    tls.groups.iter().for_each(|(name, members)| words(&mut groups, name, members));
    insert(&mut table, "groups", groups);
    table
}

fn audit(audit: &AuditConfig) -> Table {
    let to = match &audit.to {
        AuditTo::State => None,
        AuditTo::File(path) => Some(path.display().to_string()),
        AuditTo::Stdout => Some("stdout".to_owned()),
        AuditTo::Http(url) => Some(url.clone()),
    };
    let key = audit.key.as_ref().map(|key| key.display().to_string());
    let fields = [("to", to), ("origin", audit.origin.clone()), ("key", key)];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect()
}

fn notify(notify: &NotifyConfig) -> Table {
    let secret = notify.secret.as_ref().map(|secret| secret.display().to_string());
    let fields = [("webhook", Some(notify.webhook.clone())), ("secret", secret)];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect()
}

fn safety(safety: &Safety) -> Table {
    let mut table = Table::new();
    words(&mut table, "allow_upstreams", &safety.allow_upstreams);
    words(&mut table, "deny_upstreams", &safety.deny_upstreams);
    words(&mut table, "never_fault", &safety.never_fault);
    words(&mut table, "allow_exec", &safety.allow_exec);
    words(&mut table, "must_not_reach", &safety.must_not_reach);
    if let Some(max) = safety.max_percentage {
        table.insert("max_percentage".into(), max.into());
    }
    if let Some(max) = safety.max_active_faults.and_then(|max| i64::try_from(max).ok()) {
        table.insert("max_active_faults".into(), max.into());
    }
    table.insert("lease".into(), duration(safety.lease).into());
    if !safety.approvals.is_empty() {
        let consent = |consent: &Consent| match consent {
            Consent::People(people) => Value::from(i64::from(*people)),
            Consent::Groups(groups) => {
                groups.iter().map(|group| Value::from(group.as_str())).collect::<Vec<_>>().into()
            }
        };
        let approvals: Table = safety.approvals.iter().map(|(name, of)| (name.clone(), consent(of))).collect();
        table.insert("approvals".into(), approvals.into());
    }
    if let Some(file) = &safety.environment_file {
        table.insert("environment_file".into(), file.display().to_string().into());
    }
    list(&mut table, "windows", safety.calendar.windows.iter().map(window));
    list(&mut table, "blackouts", safety.calendar.blackouts.iter().map(blackout));
    if let Ok(max) = i64::try_from(safety.max_experiments) {
        table.insert("max_experiments".into(), max.into());
    }
    table
}

fn proxy(spec: &ProxySpec, listen: &str) -> Table {
    let mut table = Table::new();
    table.insert("name".into(), spec.name.as_str().into());
    table.insert("listen".into(), listen.into());
    table.insert("upstream".into(), spec.upstream.as_str().into());
    let protocol = match spec.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Http => "http",
        Protocol::Auto => "auto",
    };
    table.insert("protocol".into(), protocol.into());
    if let Some(max) = spec.max_connections.and_then(|max| i64::try_from(max).ok()) {
        table.insert("max_connections".into(), max.into());
    }
    table.insert("connect_timeout".into(), duration(spec.connect_timeout).into());
    if spec.protocol == Protocol::Udp {
        table.insert("idle_timeout".into(), duration(spec.idle_timeout).into());
    }
    if let Some((objective, window)) = spec.slo {
        let slo = Table::from_iter([
            ("objective".to_owned(), Value::from(format!("{}%", objective * 100.0))),
            ("window".to_owned(), Value::from(duration(window))),
        ]);
        table.insert("slo".into(), slo.into());
    }
    table.extend(Table::try_from(&spec.way).unwrap_or_default()); // text and numbers: nothing that TOML lacks
    table
}

fn list(table: &mut Table, name: &str, items: impl Iterator<Item = Table>) {
    let items: Vec<Value> = items.map(Value::Table).collect();
    if !items.is_empty() {
        table.insert(name.into(), items.into());
    }
}

fn window(hours: &Hours) -> Table {
    let days = calendar::DAYS.iter().zip(hours.days).filter(|(_, on)| *on);
    Table::from_iter([
        ("days".to_owned(), days.map(|(day, _)| Value::from(*day)).collect::<Vec<_>>().into()),
        ("from".to_owned(), calendar::clock(hours.from).into()),
        ("to".to_owned(), calendar::clock(hours.to).into()),
        ("zone".to_owned(), calendar::zone(hours.offset).into()),
    ])
}

fn blackout(blackout: &Blackout) -> Table {
    let mut table = Table::from_iter([
        ("from".to_owned(), Value::from(stamp::rfc3339(blackout.from, 3))),
        ("to".to_owned(), Value::from(stamp::rfc3339(blackout.to, 3))),
    ]);
    if let Some(reason) = &blackout.reason {
        table.insert("reason".into(), reason.as_str().into());
    }
    table
}

fn words(table: &mut Table, name: &str, words: &[String]) {
    if !words.is_empty() {
        table.insert(name.into(), words.iter().map(|word| Value::from(word.as_str())).collect::<Vec<_>>().into());
    }
}

/// In the largest unit that loses nothing.
fn duration(time: Time) -> String {
    match time {
        t if t.is_multiple_of(SECOND) => format!("{}s", t / SECOND),
        t if t.is_multiple_of(MILLI) => format!("{}ms", t / MILLI),
        t if t.is_multiple_of(MICRO) => format!("{}us", t / MICRO),
        t => format!("{t}ns"),
    }
}
