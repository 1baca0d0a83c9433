//! `[[probe]]`

mod draft;

use std::sync::Arc;

use super::address;
use super::node::{Node, Table};
use super::reader::{Reader, item, join};
use super::stand::check_head;
use super::world::World;
use crate::diagnostic::Diagnostic;
use crate::scenario::{Checked, ProbeCheck, ProbeMode, ProbeSpec, Secret};
use crate::time::{MILLI, SECOND, Time};
use crate::unit::Duration;

pub(crate) use draft::ProbeDraft;

/// Where a time-out is not written.
const TIMEOUT: Time = 5 * SECOND;
/// Failures in a row that may be asked for.
const MOST_FAILURES: u64 = 1_000;

/// One of the tables that say what a probe does, where it stands.
struct Place<'a> {
    reader: &'a mut Reader,
    table: &'a Table,
    path: String,
}

impl Place<'_> {
    fn error(&mut self, key: &str, message: impl Into<String>) {
        self.reader.error(self.table, &self.path, key, message);
    }

    fn timeout(&mut self, written: Option<Duration>) -> Time {
        let timeout = written.map_or(TIMEOUT, |timeout| timeout.0);
        if timeout == 0 {
            self.error("timeout", "nothing is answered in no time");
        }
        timeout
    }

    fn address(&mut self, address: &str) {
        if let Err(why) = address::host_port(address) {
            self.error("address", why);
        }
    }

    fn url(&mut self, url: &str) {
        if let Err(why) = check_url(url) {
            self.error("url", why);
        }
    }

    /// Only what was set for squall: a scenario may come over the control port, and must not be able to send any other
    /// secret of this process anywhere.
    fn secret(&mut self, key: &str, written: Option<String>) -> Option<Secret> {
        let name = written?;
        let fits = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
        if !name.strip_prefix("SQUALL_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(fits)) {
            let message = format!("{name:?} is not an environment variable that a probe may use");
            let help =
                "name one that begins with `SQUALL_`, in capitals, digits and `_`; squall reads it when it checks";
            self.reader.at(Diagnostic::error(message).help(help), self.table, &self.path, key);
        }
        Some(Secret(name))
    }
}

/// Reads and checks one probe.
pub(crate) fn read(reader: &mut Reader, table: &Table, index: usize, world: &World) -> Option<ProbeSpec> {
    let path = item("probe", table, index);
    let draft: ProbeDraft = reader.read(table, &path)?;
    let every = draft.every.map_or(SECOND, |every| every.0);
    if every < 10 * MILLI {
        reader.error(table, &path, "every", "a probe runs every 10 ms at most");
    }
    let failures = draft.failures.unwrap_or(1);
    if !(1..=MOST_FAILURES).contains(&failures) {
        reader.error(table, &path, "failures", format!("between 1 and {MOST_FAILURES} failures in a row"));
    }
    let mode = draft.mode.unwrap_or_default();
    if draft.tolerance.is_some() && !matches!(mode, ProbeMode::Continuous | ProbeMode::During) {
        reader.error(table, &path, "tolerance", "a share needs many checks: `continuous` or `during`");
    }
    let tolerance = draft.tolerance.map_or(0.0, |share| share.0 / 100.0);
    if tolerance >= 1.0 {
        reader.error(table, &path, "tolerance", "a probe that may always fail tells nothing");
    }
    if draft.alertmanager.is_some() {
        for key in ["mode", "failures", "tolerance"].into_iter().filter(|key| table.has(key)) {
            reader.error(table, &path, key, "an alert has its own time: from the first fault's opening, `within`");
        }
    }
    let name = draft.name.0.clone();
    let (check, timeout) = check(reader, table, &path, draft.what(), world)?;
    Some(ProbeSpec { name, mode, every, timeout, failures, tolerance, check: Arc::new(check) })
}

fn check(
    reader: &mut Reader,
    table: &Table,
    path: &str,
    what: Vec<draft::What>,
    world: &World,
) -> Option<(ProbeCheck, Time)> {
    let mut what = what.into_iter();
    let (Some(one), None) = (what.next(), what.next()) else {
        let words = draft::WORDS.map(|word| format!("`{word}`")).join(", ");
        reader.error(table, path, "", format!("a probe needs one of {words}"));
        return None;
    };
    let key = one.word();
    let inner = table.node(key).and_then(Node::as_table).unwrap_or(table);
    let mut place = Place { reader, table: inner, path: join(path, key) };
    let place = &mut place;
    Some(match one {
        draft::What::Http(http) => http_check(place, *http),
        draft::What::Tcp(tcp) => {
            place.address(&tcp.address);
            let timeout = place.timeout(tcp.timeout);
            (ProbeCheck::Tcp { address: tcp.address, send: tcp.send, expect: tcp.expect }, timeout)
        }
        draft::What::Exec(exec) => exec_check(place, exec, world),
        draft::What::Redis(redis) => {
            place.address(&redis.address);
            let command = redis.command.unwrap_or_else(|| vec!["PING".into()]);
            if command.first().is_none_or(String::is_empty) {
                place.error("command", "a command has at least one word");
            }
            let password = place.secret("password_env", redis.password_env);
            if redis.user.is_some() && password.is_none() {
                place.error("user", "`user` goes with `password_env`");
            }
            let timeout = place.timeout(redis.timeout);
            let (address, expect, user) = (redis.address, redis.expect, redis.user);
            (ProbeCheck::Redis { address, command, expect, user, password }, timeout)
        }
        draft::What::Postgres(postgres) => postgres_check(place, postgres),
        draft::What::Prometheus(query) => {
            place.url(&query.url);
            if query.query.trim().is_empty() {
                place.error("query", "a query is expected here");
            }
            match (query.above, query.below) {
                (None, None) => place.error("", "a query needs `above` or `below`: what the figure is held against"),
                (Some(above), Some(below)) if above >= below => {
                    place.error("above", "nothing is both: `above` must be less than `below`");
                }
                _ => {}
            }
            let (token, timeout) = (place.secret("token_env", query.token_env), place.timeout(query.timeout));
            let (above, below) = (query.above, query.below);
            (ProbeCheck::Prometheus { url: query.url, query: query.query, above, below, token }, timeout)
        }
        draft::What::Alertmanager(alert) => {
            place.url(&alert.url);
            if alert.alert.is_empty() {
                place.error("alert", "the name of an alert is expected here");
            }
            if alert.within.is_some_and(|within| within.0 == 0) {
                place.error("within", "no alert fires in no time");
            }
            let (token, timeout) = (place.secret("token_env", alert.token_env), place.timeout(alert.timeout));
            let check = ProbeCheck::Alertmanager {
                url: alert.url,
                alert: alert.alert,
                labels: alert.labels.unwrap_or_default(),
                within: alert.within.map(|within| within.0),
                absent: alert.absent.unwrap_or(false),
                token,
            };
            (check, timeout)
        }
    })
}

fn http_check(place: &mut Place<'_>, http: draft::HttpProbe) -> (ProbeCheck, Time) {
    place.url(&http.url);
    if http.status.is_some_and(|status| !(100..600).contains(&status)) {
        place.error("status", "a status lies between 100 and 599");
    }
    let timeout = place.timeout(http.timeout);
    let within = http.within.map(|within| within.0);
    if within.is_some_and(|within| within > timeout || within == 0) {
        place.error("within", "`within` lies above 0 and is no longer than `timeout`");
    }
    check_head(place.reader, place.table, &place.path, http.method.as_deref(), http.headers.as_ref());
    let token = place.secret("token_env", http.token_env);
    let headers = http.headers.unwrap_or_default();
    if token.is_some() && headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")) {
        place.error("token_env", "`token_env` writes the header Authorization, which is written here too");
    }
    let check = ProbeCheck::Http {
        url: http.url,
        method: http.method.unwrap_or_else(|| "GET".into()),
        headers,
        body: http.body,
        token,
        status: http.status.unwrap_or(200),
        expect: http.expect,
    };
    (check, within.unwrap_or(timeout))
}

fn exec_check(place: &mut Place<'_>, exec: draft::ExecProbe, world: &World) -> (ProbeCheck, Time) {
    let program = exec.command.first().map_or("", String::as_str);
    if !program.starts_with('/') {
        place.error("command", "a command begins with the absolute path of a program; there is no shell");
    } else if !world.allow_exec.iter().any(|allowed| allowed == program) {
        let message = format!("`{program}` is not among the programs that probes may run here");
        let help = format!("write `allow_exec = [{program:?}]` under [safety] of the configuration, and give that too");
        place.reader.at(Diagnostic::error(message).help(help), place.table, &place.path, "command");
    }
    if exec.command.iter().any(|word| word.contains('\0')) {
        place.error("command", "no argument has a NUL in it");
    }
    let status = exec.status.unwrap_or(0);
    if !(0..=255).contains(&status) {
        place.error("status", "an exit status lies between 0 and 255");
    }
    let timeout = place.timeout(exec.timeout);
    (ProbeCheck::Exec { command: exec.command, status, expect: exec.expect }, timeout)
}

fn postgres_check(place: &mut Place<'_>, postgres: draft::PostgresProbe) -> (ProbeCheck, Time) {
    let (mut address, mut user, mut database) = (postgres.address, postgres.user, postgres.database);
    match (&address, &postgres.url) {
        (Some(_), Some(_)) | (None, None) => place.error("", "a database needs either `address` or `url`"),
        (Some(written), None) => place.address(&written.clone()),
        (None, Some(url)) => match take_apart(url) {
            Ok(parts) => {
                for (key, twice) in [("user", &parts.user), ("database", &parts.database)] {
                    if twice.is_some() && place.table.has(key) {
                        place.error(key, format!("the URL names the {key} already"));
                    }
                }
                address = Some(parts.address);
                user = user.or(parts.user);
                database = database.or(parts.database);
            }
            Err(why) => place.error("url", why),
        },
    }
    for (key, text) in [("user", &user), ("database", &database)] {
        if text.as_ref().is_some_and(|text| text.is_empty() || text.contains('\0')) {
            place.error(key, format!("this is not the name of a {key}"));
        }
    }
    let query = postgres.query.unwrap_or_else(|| "select 1".into());
    if query.contains('\0') || query.trim().is_empty() {
        place.error("query", "a statement is expected here");
    }
    let (password, timeout) = (place.secret("password_env", postgres.password_env), place.timeout(postgres.timeout));
    let user = user.unwrap_or_else(|| "postgres".into());
    let check = ProbeCheck::Postgres {
        address: address.unwrap_or_default(),
        database: database.unwrap_or_else(|| user.clone()),
        user,
        query,
        expect: postgres.expect,
        password,
    };
    (check, timeout)
}

/// `postgres://[user@]host[:port][/database]`
struct Parts {
    address: String,
    user: Option<String>,
    database: Option<String>,
}

fn take_apart(url: &str) -> Result<Parts, String> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest =
        rest.ok_or_else(|| "a URL such as postgres://user@127.0.0.1:5432/database is expected here".to_owned())?;
    if rest.contains('?') {
        return Err("parameters in the URL are not known; TLS to a database is not available".into());
    }
    let (authority, database) = rest.split_once('/').map_or((rest, None), |(before, after)| (before, Some(after)));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if user.is_some_and(|user| user.contains(':')) {
        return Err("a password does not belong into a file: use `password_env`".into());
    }
    let has_port = host.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    let address = if has_port { host.to_owned() } else { format!("{host}:5432") };
    address::host_port(&address)?;
    let own = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(Parts { address, user: own(user), database: own(database) })
}

/// An alert is awaited for some time after the first fault's opening: the run must last so long.
pub(crate) fn check_alerts(reader: &mut Reader, tables: &[(usize, Table)], checked: &Checked) {
    let opens = checked.faults.iter().map(|fault| fault.window.at).min().unwrap_or(0);
    let Some(end) = checked.planned_end() else { return };
    for (index, table) in tables {
        let spec = checked.probes.iter().find(|probe| table.text("name") == Some(probe.name.as_str()));
        let Some(ProbeCheck::Alertmanager { within: Some(within), .. }) = spec.map(|spec| &*spec.check) else {
            continue;
        };
        if opens.saturating_add(*within) > end {
            let message = format!("the run ends after {}: this alert can not be awaited so long", Duration(end));
            let help = "let the last fault act longer, or wait for less";
            let inner = table.node("alertmanager").and_then(Node::as_table).unwrap_or(table);
            let path = join(&item("probe", table, *index), "alertmanager");
            reader.at(Diagnostic::error(message).help(help), inner, &path, "within");
        }
    }
}

pub(super) fn check_url(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("http://") else {
        let tls = if url.starts_with("https://") { ": TLS is not available to probes" } else { "" };
        return Err(format!("{url:?} does not begin with `http://`{tls}"));
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if url.bytes().any(|byte| byte <= b' ' || byte >= 127) {
        return Err("a URL has no spaces, control characters or letters beyond ASCII".into());
    }
    if host.contains('@') {
        return Err("no user or password belongs into a URL: use `token_env`".into());
    }
    let has_port = host.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    let address = if has_port { host.to_owned() } else { format!("{host}:80") };
    address::host_port(&address).map(|_| ())
}
