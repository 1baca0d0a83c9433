//! Whether what runs is still what the configuration's file says: shown, told, and in the way of every start until it is
//! brought in line or taken as it is.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use squall_core::config::Config;
use squall_core::plane::ProxyInfo;

use super::Wired;
use super::reload::{fixed_parts, steps};
use crate::language;

/// How often it is looked for while nobody starts anything.
const LOOK: Duration = Duration::from_secs(1);

/// What is compared.
#[derive(Debug)]
pub(super) struct Drift {
    file: PathBuf,
    /// Proxies that the command line has brought.
    given: Vec<String>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// The file as it was read.
    read: Config,
    /// Differences that somebody has taken as they are.
    accepted: Vec<String>,
    /// Those that were told.
    told: Vec<String>,
}

impl Drift {
    /// `given`: proxies that the command line has brought.
    pub(super) fn new(file: PathBuf, read: Config, given: Vec<String>) -> Drift {
        Drift { file, given, known: Mutex::new(Known { read, accepted: Vec::new(), told: Vec::new() }) }
    }

    /// Every difference that nobody has taken as it is; `running`: the proxies that last.
    pub(super) fn look(&self, running: &[ProxyInfo]) -> Vec<String> {
        let all = self.all(running);
        let known = self.known();
        all.into_iter().filter(|difference| !known.accepted.contains(difference)).collect()
    }

    /// Takes everything as it is; gives what that is.
    pub(super) fn accept(&self, running: &[ProxyInfo]) -> Vec<String> {
        let all = self.all(running);
        self.known().accepted.clone_from(&all);
        all
    }

    /// The file has been read anew.
    pub(super) fn read(&self, read: Config) {
        let mut known = self.known();
        known.read = read;
        known.accepted.clear();
    }

    fn all(&self, running: &[ProxyInfo]) -> Vec<String> {
        let read = self.known().read.clone();
        let mut differences = match language::config(&self.file) {
            Err(mistakes) => {
                let first = mistakes.first().map_or("", |mistake| mistake.message.as_str());
                vec![format!("{} can't be taken any more: {first}", self.file.display())]
            }
            Ok((now, _)) => {
                let parts = fixed_parts(&read, &now).into_iter().map(|part| format!("in the file: {}", part.message));
                let proxies =
                    steps(&read.proxies, &now.proxies).into_iter().map(|step| format!("in the file: {}", step.told()));
                parts.chain(proxies).collect()
            }
        };
        for spec in &read.proxies {
            match running.iter().find(|info| info.spec.name == spec.name) {
                None => differences.push(format!("proxy {} is in the file and does not run", spec.name)),
                Some(info) if info.spec != *spec => {
                    let (name, listen, upstream) = (&spec.name, &info.listen, &info.spec.upstream);
                    differences.push(format!("proxy {name} runs otherwise than in the file: {listen} -> {upstream}"));
                }
                Some(_) => {}
            }
        }
        let is_known = |name: &String| self.given.contains(name) || read.proxies.iter().any(|spec| spec.name == *name);
        let more = running.iter().filter(|info| !is_known(&info.spec.name));
        differences.extend(more.map(|info| {
            format!("proxy {} runs and is not in the file: {} -> {}", info.spec.name, info.listen, info.spec.upstream)
        }));
        differences
    }

    /// What is new since the last time: what there is, if that is not what was told.
    fn news(&self, running: &[ProxyInfo]) -> Option<Vec<String>> {
        let now = self.look(running);
        let mut known = self.known();
        (known.told != now).then(|| {
            known.told.clone_from(&now);
            now
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells of differences as they come and go, until the program ends.
pub(super) fn watch(wired: Weak<Wired>) {
    while let Some(wired) = wired.upgrade() {
        let Some(drift) = &wired.drift else { return };
        if let Some(news) = drift.news(&wired.engine.lasting()) {
            let text = match news.as_slice() {
                [] => "what runs is what the configuration says again".to_owned(),
                some => format!("what runs is not what the configuration says: {}", some.join("; ")),
            };
            if !news.is_empty() {
                tracing::warn!("{text}");
            }
            wired.engine.tell("drift", &text);
        }
        drop(wired);
        std::thread::sleep(LOOK);
    }
}
