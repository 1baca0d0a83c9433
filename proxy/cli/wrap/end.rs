//! The end of a run: what was seen, what came of it, and what to do next.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use squall_core::plane::DataPlane;
use squall_drill::view::ExperimentView;

use super::{Args, DRAIN, Seen};
use crate::cli::out::{tell, tell_table};
use crate::exit::{Exit, Failure, Outcome};
use crate::library;
use crate::wrap::bypassed::Detector;
use crate::wrap::expect::{self, Expect, Judged};
use crate::wrap::hosts::{self, HOST};
use crate::wrap::session::Session;
use crate::wrap::verdict::{self, Verdict};
use crate::wrap::{secrets, told};

/// Ends what runs, tells what came of it, and gives the exit code.
pub(super) fn end(session: &Session, args: &Args, runs: &[String], mut seen: Seen, code: u8) -> Outcome {
    let engine = session.wired.engine();
    let views: Vec<ExperimentView> = runs.iter().filter_map(|id| engine.view(id).ok()).collect();
    let distrusted = distrusted(session);
    engine.abort_all("the program has ended", Duration::from_millis(50));
    session.wired.shut(DRAIN);
    seen.take_in(session);
    let verdict = Verdict {
        exit_code: code,
        hosts: verdict::hosts(&seen.calls, code),
        tunnels: session.tunnels.all().into_iter().map(|(place, tunnel)| (place, tunnel.into())).collect(),
        calls_lost: seen.lost + session.sent.lost(),
        bypassed: seen.detector.as_ref().map(Detector::all).unwrap_or_default(),
    };
    let judged: Vec<Judged> = args.expect.iter().map(|one: &Expect| one.judge(&verdict)).collect();
    tell!("");
    if runs.is_empty() {
        tell_table(&told::seen(&verdict));
    } else {
        tell_faults(&views);
        tell_table(&told::judged(&verdict));
    }
    tell_table(&told::tunnels(&verdict));
    tell_trouble(&verdict, &distrusted);
    for one in &judged {
        tell!("squall: expectation {} {}: {}", one.expect, told::word(one.met), one.found);
    }
    if runs.is_empty() {
        tell!("next: {}", next(args, &verdict));
    }
    if let Some(directory) = &args.report {
        write(directory, &verdict, &judged)
            .map_err(|error| Failure::input(format!("{}: {error}", directory.display())))?;
        tell!("squall: report {}", directory.join("wrap.md").display());
    }
    Ok(Exit::Child(expect::code(&judged).unwrap_or(code)))
}

/// Hosts with handshakes that clients broke off.
fn distrusted(session: &Session) -> Vec<(String, u64)> {
    let failed = |host: &hosts::Host| session.wired.plane().reading(&host.proxy()).map(|it| it.tls_client_failed);
    let all = session.hosts.iter().filter_map(|host| Some((host.name.clone(), failed(host)?)));
    all.filter(|(_, failed)| *failed > 0).collect()
}

fn tell_faults(views: &[ExperimentView]) {
    for view in views {
        tell!("{}: {}", view.id, view.reason.as_deref().unwrap_or("acted to the end of the program"));
        for fault in &view.faults {
            let tally = &fault.tally;
            tell!(
                "  {} ({}): {} eligible, {} selected, {} injections",
                fault.name,
                fault.summary,
                tally.eligible,
                tally.selected,
                tally.injected
            );
        }
        tell!("  seed {}", view.seed);
    }
}

fn tell_trouble(verdict: &Verdict, distrusted: &[(String, u64)]) {
    for (host, failed) in distrusted {
        tell!(
            "squall: {host}: {failed} TLS handshakes were broken off by the client: it does not trust squall's certificate, or a \
             fault spoiled them; `squall doctor` says which clients trust by which variable"
        );
    }
    for (place, tunnel) in &verdict.tunnels {
        if let Some(why) = &tunnel.why {
            tell!("squall: no connection to {place}: {why}");
        }
    }
    for one in &verdict.bypassed {
        tell!(
            "squall: {} (process {}) went to {} past squall (best effort: what is short is not seen): it ignores HTTPS_PROXY; \
             `squall doctor` has the fix for common clients",
            one.program,
            one.pid,
            one.to
        );
    }
    if verdict.calls_lost > 0 {
        tell!("squall: {} calls were too many to be looked at, and are in no figure above", verdict.calls_lost);
    }
}

/// The command that comes next, to be pasted.
fn next(args: &Args, verdict: &Verdict) -> String {
    let mut words = vec!["squall wrap".to_owned()];
    words.extend(args.map.iter().map(|map| format!("--map {}", map.written())));
    words.extend(args.only.iter().map(|only| format!("--only {}", only.written())));
    let called = verdict.hosts.iter().max_by_key(|host| host.calls).map(|host| host.host.as_str());
    let is_open = |host: &str| args.only.iter().chain(args.map.iter().map(|map| &map.host)).any(|it| it.name == host);
    // a name alone stands for the ports 443 and 80
    let place =
        |place: &str| place.strip_suffix(":443").or_else(|| place.strip_suffix(":80")).unwrap_or(place).to_owned();
    let can_be_opened = |place: &str| place.parse::<hosts::Only>().is_ok();
    let tunnel = verdict.tunnels.iter().filter(|(place, it)| it.connections > 0 && can_be_opened(place));
    let tunnel = tunnel.max_by_key(|(_, it)| it.connections).map(|(it, _)| place(it));
    match (called, tunnel) {
        (Some(host), _) => words.push(match scenario_of(host) {
            Some(name) => format!("--with {name}"),
            None if is_open(host) => "--error 503 --first 2".to_owned(),
            None => format!("--only {host} --error 503 --first 2"),
        }),
        (None, Some(place)) => words.push(format!("--only {place}")),
        (None, None) => return "no call came through squall; `squall doctor` says which clients find it".into(),
    }
    words.extend(args.reverse.then(|| "--reverse".to_owned()));
    words.extend(args.allow_live.then(|| "--allow-live".to_owned()));
    words.extend(args.state_option());
    let command: Vec<String> = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match command.as_slice() {
        [] => words.join(" "),
        command => format!("{} -- {}", words.join(" "), secrets::shown(command)),
    }
}

/// A shipped scenario about a host.
fn scenario_of(host: &str) -> Option<&'static str> {
    let about = |text: &str| hosts::named(text).iter().any(|name| name == host);
    library::all().find(|shipped| shipped.text.contains(HOST) && about(shipped.text)).map(|shipped| shipped.path)
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    expectations: &'a [Judged],
}

/// Puts a file in its place in one step: a link of this name, which a project may have brought along, is not followed.
pub(in crate::cli) fn put(file: &Path, text: &str) -> io::Result<()> {
    let beside = file.with_extension(format!("{}.new", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&beside);
    let written = made.and_then(|mut to| to.write_all(text.as_bytes())).and_then(|()| fs::rename(&beside, file));
    written.inspect_err(|_| drop(fs::remove_file(&beside)))
}

fn write(directory: &Path, verdict: &Verdict, judged: &[Judged]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut json = serde_json::to_string_pretty(&Report { verdict, expectations: judged })?;
    json.push('\n');
    put(&directory.join("wrap.json"), &json)?;
    put(&directory.join("wrap.md"), &told::markdown(verdict, judged))?;
    put(&directory.join("junit.xml"), &told::junit(verdict, judged))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_link_in_a_report_s_place_is_replaced_not_followed() {
        let place = std::env::temp_dir().join(format!("squall-report-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let (theirs, report) = (place.join("theirs"), place.join("wrap.md"));
        fs::write(&theirs, "theirs").unwrap();
        std::os::unix::fs::symlink(&theirs, &report).unwrap();
        put(&report, "ours").unwrap();
        put(&report, "ours again").unwrap();
        let read = |file: &Path| fs::read_to_string(file).unwrap();
        assert_eq!((read(&theirs), read(&report)), ("theirs".to_owned(), "ours again".to_owned()));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 2, "nothing else is left");
        fs::remove_dir_all(&place).unwrap();
    }
}
