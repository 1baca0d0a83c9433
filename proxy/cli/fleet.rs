//! One experiment on several sidecars: all are armed or none, what ends one ends all, and there is one report. Percentages and
//! counts are per sidecar: each draws for the units that it sees.

use std::sync::Mutex;
use std::sync::mpsc::Receiver;

use serde_json::{Value, json};
use squall_control::client::{Client, ClientError};
use squall_drill::view::{AbortReport, Event, ExperimentView, FaultView, Mark, Marked, State, Verdict};

use super::abort::{self, told};
use super::follow::{self, Followed, Print};
use super::interrupt::Wish;
use super::out::{say, tell};
use super::start::{How, Remote, Text, events, told as started};
use crate::exit::{Exit, Failure, Outcome};

/// What every figure of several sidecars is about.
const PER_SIDECAR: &str = "percentages and counts are per sidecar: each draws for the units that it sees";

/// Hands a scenario in everywhere, looks everywhere whether it may start, starts it everywhere, and waits for the verdict.
pub(crate) fn start(
    clients: Vec<Client>,
    scenario: &Text,
    set: &[(String, String)],
    how: &How,
    wishes: &Receiver<Wish>,
    print: &Print<'_>,
) -> Outcome {
    let mut members = Vec::new();
    for client in clients {
        let events = events(&client);
        match scenario.submit(&client, set) {
            Ok(view) => members.push(Remote { client, id: view.id, events }),
            Err(failure) => return Err(none(&members, &client, failure)),
        }
    }
    begin(members, how, wishes, print)
}

/// The same for what was handed in before, by ids in the order of their control ports.
pub(crate) fn begin(members: Vec<Remote>, how: &How, wishes: &Receiver<Wish>, print: &Print<'_>) -> Outcome {
    let max = how.max.as_deref();
    // first whether all may, so that none has acted when another refuses
    for looks in [true, false] {
        for member in &members {
            let asked = match looks {
                true => member.client.may_start(&member.id, max, how.observe),
                false if how.observe => member.client.observe(&member.id, max),
                false => member.client.start(&member.id, max),
            };
            if let Err(refused) = asked {
                return Err(none(&members, &member.client, refused.into()));
            }
        }
    }
    let fleet = Fleet { members: members.into_iter().map(Member::new).collect(), ended: Mutex::new(None) };
    for Member { remote, .. } in &fleet.members {
        let line = format!("{}: {}", remote.client.place(), started(&remote.client.view(&remote.id)?));
        if how.detach { say!("{line}; `squall abort {}` ends it", remote.id) } else { tell!("{line}") }
    }
    tell!("{PER_SIDECAR}");
    if how.detach {
        return Ok(Exit::Done);
    }
    let mut fleet = fleet;
    let exit = follow::follow(&mut fleet, wishes, print)?;
    Ok(if fleet.lost().is_empty() { exit } else { exit.worse(Exit::OutOfReach) })
}

/// Nothing runs: what was started is ended, what was handed in is cancelled.
fn none(members: &[Remote], refused: &Client, mut failure: Failure) -> Failure {
    for member in members {
        match member.client.abort(&member.id) {
            Ok(_) | Err(ClientError::Refused(_)) => {}
            Err(error) => tell!("{} did not confirm that nothing runs there: {error}", member.client.place()),
        }
    }
    failure.message = format!("nothing was started: {}: {}", refused.place(), failure.message);
    failure
}

/// Ends one experiment by id or name, or everything, on all of them at once; names those who did not confirm.
pub(crate) fn abort(clients: &[Client], what: Option<&str>) -> Outcome {
    let ended: Vec<Result<AbortReport, Failure>> = std::thread::scope(|scope| {
        let ended: Vec<_> = clients.iter().map(|client| scope.spawn(move || abort::on(client, what))).collect();
        ended
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err(Failure::input("it failed here (a bug)"))))
            .collect()
    });
    let mut exit = Exit::Done;
    for (client, ended) in clients.iter().zip(ended) {
        match ended {
            Ok(report) => {
                say!("{}: {}", client.place(), told(&report));
                if report.permitted_us.is_none() && report.released > 0 {
                    tell!("{} has not confirmed yet that everything held may go on", client.place());
                    exit = exit.worse(Exit::OutOfReach);
                }
            }
            Err(failure) => {
                tell!("{} did not confirm: {}", client.place(), failure.message);
                exit = exit.worse(Exit::OutOfReach);
            }
        }
    }
    Ok(exit)
}

/// One report of several.
pub(crate) fn merge(reports: Vec<(String, Value, String)>) -> (Value, String) {
    let count = |report: &Value, what: &str| report["summary"][what].as_u64().unwrap_or_default();
    let sum = |what: &str| reports.iter().map(|(_, report, _)| count(report, what)).sum::<u64>();
    let summary = json!({
        "eligible": sum("eligible"), "selected": sum("selected"), "injected": sum("injected"),
        "affected": sum("affected"),
    });
    let why: Vec<String> = reports.iter().flat_map(|(place, report, _)| reasons(place, report)).collect();
    let verdicts = reports.iter().filter_map(|(_, report, _)| serde_json::from_value(report["verdict"].clone()).ok());
    let verdict = verdicts.reduce(worse);
    let mut text = format!(
        "eligible {} / selected {} / injected {} / affected {}, on {} sidecars together\n\n# {}\n\n{PER_SIDECAR}\n",
        sum("eligible"),
        sum("selected"),
        sum("injected"),
        sum("affected"),
        reports.len(),
        verdict.map_or("no verdict", Verdict::word)
    );
    let mut each = Vec::new();
    for (place, report, markdown) in reports {
        text.push_str(&format!("\n---\n\nOn {place}:\n\n{markdown}"));
        each.push(json!({ "control": place, "report": report }));
    }
    let merged = json!({ "summary": summary, "per": PER_SIDECAR, "verdict": verdict, "why": why, "sidecars": each });
    (merged, text)
}

fn reasons(place: &str, report: &Value) -> Vec<String> {
    let told = report["why"].as_array().into_iter().flatten().filter_map(Value::as_str);
    told.map(|why| format!("{place}: {why}")).collect()
}

/// Invalid anywhere is invalid, refuted anywhere refuted, and only what is upheld everywhere is upheld.
fn worse(a: Verdict, b: Verdict) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Upheld => 0,
        Verdict::Inconclusive => 1,
        Verdict::Refuted => 2,
        Verdict::Invalid => 3,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// An experiment on several sidecars.
struct Fleet {
    members: Vec<Member>,
    /// Why all were ended, once one was.
    ended: Mutex<Option<String>>,
}

struct Member {
    remote: Remote,
    /// How it stood last, and why it is not heard of any more.
    last: Mutex<(Option<ExperimentView>, Option<String>)>,
}

impl Member {
    fn new(remote: Remote) -> Member {
        Member { remote, last: Mutex::default() }
    }

    fn place(&self) -> String {
        self.remote.client.place().to_string()
    }

    /// Its lease is kept by this. One that has fallen silent stays so: its own lease ends it.
    fn look(&self) -> (Option<ExperimentView>, Option<String>) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_done = last.1.is_some() || last.0.as_ref().is_some_and(|view| view.state.is_over());
        if !is_done {
            match self.remote.view() {
                Ok(view) => last.0 = Some(view),
                Err(failure) => last.1 = Some(failure.message),
            }
        }
        last.clone()
    }
}

impl Fleet {
    /// Those who are not heard of any more.
    fn lost(&self) -> Vec<String> {
        self.members.iter().filter(|member| member.look().1.is_some()).map(Member::place).collect()
    }

    /// What ends one early ends all.
    fn end_all(&self, why: String) {
        let mut ended = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if ended.is_some() {
            return;
        }
        tell!("{why}; it is ended everywhere");
        *ended = Some(why);
        drop(ended);
        let _ = self.abort();
    }
}

impl Followed for Fleet {
    fn view(&self) -> Result<ExperimentView, Failure> {
        let looks: Vec<_> = self.members.iter().map(|member| (member.place(), member.look())).collect();
        for (place, (view, lost)) in &looks {
            if let Some(lost) = lost {
                self.end_all(format!("{place} has fallen silent: {lost}"));
            }
            let early = view.as_ref().filter(|view| view.state.is_over() && view.state != State::Completed);
            if let Some(view) = early {
                self.end_all(format!("{place}: {}", view.reason.as_deref().unwrap_or(view.state.word())));
            }
        }
        let mut views = looks.iter().filter_map(|(_, (view, lost))| view.as_ref().zip(Some(lost.is_some())));
        // the one that has the longest way to go stands for all; one that is not heard of is waited for no more
        let (first, _) = views
            .clone()
            .min_by_key(|(view, lost)| *lost || view.state.is_over())
            .ok_or_else(|| Failure { exit: Exit::OutOfReach, message: "no sidecar answers any more".into() })?;
        let mut whole = first.clone();
        let all_lost_or_over = views.clone().all(|(view, lost)| lost || view.state.is_over());
        if all_lost_or_over && !whole.state.is_over() {
            whole.state = State::Stopped;
        }
        whole.id = self.members.iter().map(|member| member.remote.id.as_str()).collect::<Vec<_>>().join("+");
        whole.faults = views.clone().map(|(view, _)| view.faults.clone()).reduce(add).unwrap_or_default();
        whole.verdict = views.clone().filter_map(|(view, _)| view.verdict).reduce(worse);
        let early = views.find(|(view, _)| view.state.is_over() && view.state != State::Completed);
        if let Some((ended, _)) = early.filter(|_| whole.state.is_over()) {
            (whole.state, whole.reason) = (ended.state, ended.reason.clone());
        }
        Ok(whole)
    }

    fn events(&mut self) -> Vec<Event> {
        let told = |member: &mut Member| {
            let place = member.place();
            let own = member.remote.events();
            own.into_iter()
                .map(move |event| Event { text: format!("{place}: {}", event.text), ..event })
                .collect::<Vec<_>>()
        };
        self.members.iter_mut().flat_map(told).collect()
    }

    /// A mark is about the experiment, wherever it runs.
    fn mark(&self, mark: Mark) -> Result<Marked, Failure> {
        let marked: Result<Vec<Marked>, Failure> =
            self.members.iter().map(|member| member.remote.mark(mark.clone())).collect();
        marked?.into_iter().next().ok_or_else(|| Failure::input("there is no sidecar"))
    }

    fn abort(&self) -> Result<AbortReport, Failure> {
        let ended: Vec<(String, Result<AbortReport, Failure>)> = std::thread::scope(|scope| {
            let spawn = |member: &Member| {
                let (client, id) = (member.remote.client.clone(), member.remote.id.clone());
                (member.place(), scope.spawn(move || Ok(client.abort(&id)?.abort)))
            };
            let ended: Vec<_> = self.members.iter().map(spawn).collect();
            let gone = || Err(Failure::input("it failed here (a bug)"));
            ended.into_iter().map(|(place, one)| (place, one.join().unwrap_or_else(|_| gone()))).collect()
        });
        let mut whole = AbortReport { permitted_us: Some(0), drained_us: Some(0), ..AbortReport::default() };
        for (place, ended) in ended {
            match ended {
                Ok(report) => {
                    whole.experiments.extend(report.experiments.iter().map(|id| format!("{id} on {place}")));
                    whole.stopped_injecting_us = whole.stopped_injecting_us.max(report.stopped_injecting_us);
                    whole.released += report.released;
                    whole.permitted_us = whole.permitted_us.zip(report.permitted_us).map(|(a, b)| a.max(b));
                    whole.drained_us = whole.drained_us.zip(report.drained_us).map(|(a, b)| a.max(b));
                }
                Err(failure) if failure.exit == Exit::BadInput => {} // over already
                Err(failure) => {
                    tell!("{place} did not confirm: {}", failure.message);
                    (whole.permitted_us, whole.drained_us) = (None, None);
                }
            }
        }
        Ok(whole)
    }

    fn report(&self) -> Result<(Value, String), Failure> {
        let mut reports = Vec::new();
        for member in &self.members {
            match member.remote.report() {
                Ok((json, markdown)) => reports.push((member.place(), json, markdown)),
                Err(failure) => {
                    tell!("{} has no report: {}", member.place(), failure.message);
                    reports.push((member.place(), json!({ "missing": failure.message }), String::new()));
                }
            }
        }
        Ok(merge(reports))
    }
}

/// The same faults on another sidecar.
fn add(mut these: Vec<FaultView>, those: Vec<FaultView>) -> Vec<FaultView> {
    for fault in those {
        let Some(own) = these.iter_mut().find(|own| own.name == fault.name) else { continue };
        own.active |= fault.active;
        own.tally.eligible += fault.tally.eligible;
        own.tally.selected += fault.tally.selected;
        own.tally.injected += fault.tally.injected;
        own.tally.affected += fault.tally.affected;
        own.tally.held += fault.tally.held;
    }
    these
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_upheld_everywhere_is_upheld() {
        use Verdict::{Inconclusive, Invalid, Refuted, Upheld};
        for (a, b, both) in [
            (Upheld, Upheld, Upheld),
            (Upheld, Inconclusive, Inconclusive),
            (Refuted, Inconclusive, Refuted),
            (Refuted, Invalid, Invalid),
        ] {
            assert_eq!((worse(a, b), worse(b, a)), (both, both));
        }
    }

    #[test]
    fn a_merged_report_adds_up_and_keeps_each() {
        let one = |injected: u64, verdict: &str| json!({ "summary": { "injected": injected, "affected": 1 }, "verdict": verdict, "why": ["it did"] });
        let reports = vec![
            ("http://a".to_owned(), one(3, "upheld"), "# a\n".to_owned()),
            ("http://b".to_owned(), one(4, "refuted"), "# b\n".to_owned()),
        ];
        let (report, text) = merge(reports);
        assert_eq!((&report["summary"]["injected"], &report["verdict"]), (&json!(7), &json!("refuted")));
        assert_eq!(report["why"], json!(["http://a: it did", "http://b: it did"]));
        assert_eq!(report["sidecars"][1]["control"], "http://b");
        assert!(text.contains(PER_SIDECAR) && text.contains("# a") && text.contains("On http://b:"), "{text}");
    }
}
