//! A verdict in words: for people at the end of a run, as Markdown, and as JUnit's XML for a CI.

use std::fmt::Write;

use super::expect::Judged;
use super::verdict::{Host, Verdict};

/// Kinds of calls of a host that are shown at the end of a run.
const PATHS: usize = 3;

/// What was seen, for a run in which nothing was injected.
pub fn seen(verdict: &Verdict) -> Vec<Vec<String>> {
    let mut rows = vec![["host", "calls", "answers", "p50", "p99", "most called"].map(str::to_owned).to_vec()];
    for host in &verdict.hosts {
        let paths: Vec<&str> = by_count(host).into_iter().take(PATHS).map(|(path, _)| path).collect();
        rows.push(vec![
            host.host.clone(),
            host.calls.to_string(),
            counts(host.statuses.iter()),
            time(host.p50_ms),
            time(host.p99_ms),
            paths.join(", "),
        ]);
    }
    if rows.len() > 1 { rows } else { Vec::new() }
}

fn by_count(host: &Host) -> Vec<(&str, u64)> {
    let mut paths: Vec<(&str, u64)> = host.paths.iter().map(|(path, n)| (path.as_str(), *n)).collect();
    paths.sort_by(|(_, n), (_, m)| m.cmp(n));
    paths
}

/// The same of hosts that are not opened.
pub fn tunnels(verdict: &Verdict) -> Vec<Vec<String>> {
    let mut rows = vec![["not opened", "connections", "sent", "received", "open"].map(str::to_owned).to_vec()];
    for (host, tunnel) in &verdict.tunnels {
        let connections = match tunnel.refused {
            0 => tunnel.connections.to_string(),
            n => format!("{} ({n} failed)", tunnel.connections),
        };
        let bytes = |n: u64| format!("{n} B");
        rows.push(vec![
            host.clone(),
            connections,
            bytes(tunnel.bytes_up),
            bytes(tunnel.bytes_down),
            time(Some(tunnel.open_ms)),
        ]);
    }
    if rows.len() > 1 { rows } else { Vec::new() }
}

const HEAD: [&str; 11] = [
    "host",
    "calls",
    "faults",
    "retried",
    "recovered",
    "surfaced",
    "swallowed",
    "unknown",
    "amplification",
    "back-off",
    "Retry-After",
];

/// What came of the faults, host by host.
pub fn judged(verdict: &Verdict) -> Vec<Vec<String>> {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(verdict.hosts.iter().map(row));
    if rows.len() > 1 { rows } else { Vec::new() }
}

fn row(host: &Host) -> Vec<String> {
    let retry_after = match host.retry_after {
        figures if figures.of == 0 => "-".to_owned(),
        figures => format!("{} of {}", figures.honoured, figures.of),
    };
    let back_off = host.back_off.map_or("-".to_owned(), |it| match it.min_ms.total_cmp(&it.max_ms) {
        std::cmp::Ordering::Equal => time(Some(it.min_ms)),
        _ => format!("{} to {}", time(Some(it.min_ms)), time(Some(it.max_ms))),
    });
    let amplification = host.amplification.map_or("-".to_owned(), |it| format!("{it:.1}"));
    let counted = [host.calls, host.faults, host.retried, host.recovered, host.surfaced, host.swallowed, host.unknown];
    let counted = counted.into_iter().map(|n| n.to_string());
    std::iter::once(host.host.clone()).chain(counted).chain([amplification, back_off, retry_after]).collect()
}

fn counts<'a>(of: impl Iterator<Item = (&'a String, &'a u64)>) -> String {
    of.map(|(what, n)| format!("{n} × {what}")).collect::<Vec<_>>().join(", ")
}

fn time(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms >= 1000.0 => format!("{:.2} s", ms / 1000.0),
        Some(ms) => format!("{ms} ms"),
    }
}

/// The whole of it as Markdown.
pub fn markdown(verdict: &Verdict, expectations: &[Judged]) -> String {
    let mut text = format!("# squall wrap\n\nThe program ended with {}.\n", verdict.exit_code);
    for rows in [judged(verdict), seen(verdict), tunnels(verdict)] {
        text.push_str(&table(&rows));
    }
    for host in verdict.hosts.iter().filter(|host| !host.by_fault.is_empty()) {
        let _ = writeln!(text, "\n{}: {}", cell(&host.host), cell(&counts(host.by_fault.iter())));
    }
    if !verdict.bypassed.is_empty() {
        text.push_str("\nPast squall went, as far as that was seen (best effort):\n");
        for one in &verdict.bypassed {
            let _ = writeln!(text, "- {} (process {}) to {}", cell(&one.program), one.pid, one.to);
        }
    }
    if !expectations.is_empty() {
        let rows = std::iter::once(["expectation", "met", "found"].map(str::to_owned).to_vec());
        let rows =
            rows.chain(expectations.iter().map(|it| vec![it.expect.clone(), word(it.met).into(), it.found.clone()]));
        text.push_str(&table(&rows.collect::<Vec<_>>()));
    }
    text
}

/// Whether an expectation holds, in a word.
pub fn word(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "undecided",
    }
}

fn table(rows: &[Vec<String>]) -> String {
    let Some((head, rows)) = rows.split_first() else { return String::new() };
    let line = |cells: &[String]| format!("| {} |\n", cells.iter().map(|it| cell(it)).collect::<Vec<_>>().join(" | "));
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    format!("\n{}{rule}{}", line(head), rows.iter().map(|row| line(row)).collect::<String>())
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}

/// As CIs read it: a test case per host and per expectation.
pub fn junit(verdict: &Verdict, expectations: &[Judged]) -> String {
    let mut cases = String::new();
    let mut failed = 0;
    for host in &verdict.hosts {
        let words = HEAD.iter().zip(row(host)).skip(1).map(|(name, value)| format!("{name} {value}"));
        let said = escaped(&words.collect::<Vec<_>>().join(", "));
        let _ = writeln!(
            cases,
            "  <testcase classname=\"squall.wrap\" name=\"{}\"><system-out>{said}</system-out></testcase>",
            escaped(&host.host)
        );
    }
    for one in expectations {
        let name = escaped(&one.expect);
        let found = escaped(&one.found);
        let inside = match one.met {
            Some(true) => String::new(),
            met => {
                failed += 1;
                format!("<failure message=\"{}\">{found}</failure>", word(met))
            }
        };
        let _ = writeln!(cases, "  <testcase classname=\"squall.wrap.expect\" name=\"{name}\">{inside}</testcase>");
    }
    let tests = verdict.hosts.len() + expectations.len();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"squall wrap\" tests=\"{tests}\" failures=\"{failed}\">\n\
         {cases}</testsuite>\n"
    )
}

fn escaped(text: &str) -> String {
    let legal = text.chars().filter(|c| !c.is_control());
    legal.fold(String::new(), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_named_can_not_break_out() {
        let host = Host { host: "a|b<c>&\"".into(), calls: 1, ..Host::default() };
        let verdict = Verdict {
            exit_code: 0,
            hosts: vec![host],
            tunnels: Default::default(),
            calls_lost: 0,
            bypassed: Vec::new(),
        };
        let missed = Judged { expect: "calls<=0".into(), met: Some(false), found: "x".into() };
        let xml = junit(&verdict, std::slice::from_ref(&missed));
        assert!(xml.contains("name=\"a|b&lt;c&gt;&amp;&quot;\"") && xml.contains("failures=\"1\""), "{xml}");
        assert!(xml.contains("name=\"calls&lt;=0\"><failure message=\"missed\">x</failure>"), "{xml}");
        let text = markdown(&verdict, &[missed]);
        assert!(text.contains("| a\\|b&lt;c>&\" | 1 |"), "{text}");
    }
}
