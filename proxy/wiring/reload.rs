//! Reading the configuration anew: all of it comes into force, or nothing does.

use std::time::Duration;

use squall_core::config::Config;
use squall_core::diagnostic::Diagnostic;
use squall_core::plane::{DataPlane, PlaneError};
use squall_core::scenario::ProxySpec;

use super::Wired;
use crate::language;

/// One thing to do, and what undoes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Open(ProxySpec),
    Change { from: ProxySpec, to: Box<ProxySpec> },
    Close(ProxySpec),
}

impl Wired {
    /// Brings the proxies in line with the configuration's file. Running experiments end first, since what they were
    /// approved for no longer holds; proxies that were added over the control port stay.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or the proxy that could not be opened; the old configuration stays.
    pub fn reload(&self) -> Result<Vec<String>, Vec<Diagnostic>> {
        let reloaded = self.bring_in_line();
        let told = match &reloaded {
            Ok(changes) if changes.is_empty() => "reloaded: nothing has changed".to_owned(),
            Ok(changes) => format!("reloaded: {}", changes.join("; ")),
            Err(mistakes) => {
                let first = mistakes.first().map_or("", |mistake| mistake.message.as_str());
                format!("not reloaded: {first} ({} mistakes in all)", mistakes.len())
            }
        };
        self.engine.tell("config", &told);
        reloaded
    }

    fn bring_in_line(&self) -> Result<Vec<String>, Vec<Diagnostic>> {
        let Some(file) = &self.file else {
            return Err(vec![Diagnostic::error("this squall was started without a configuration file")]);
        };
        let (new, _) = language::config(file)?;
        let mut old = self.config(); // held throughout: one reload at a time
        let refused = fixed_parts(&old, &new);
        if !refused.is_empty() {
            return Err(refused);
        }
        let steps = steps(&self.running(&old.proxies), &new.proxies);
        if steps.is_empty() {
            self.in_line(&new);
            return Ok(Vec::new());
        }
        self.engine.abort_all("the configuration was reloaded", Duration::from_millis(50));
        let mut done: Vec<&Step> = Vec::new();
        for step in &steps {
            if let Err(error) = step.carry_out(&*self.plane) {
                let mut mistakes = vec![Diagnostic::error(format!("{}: {error}", step.told()))];
                for step in done.into_iter().rev() {
                    if let Err(error) = step.undo(&*self.plane) {
                        mistakes.push(Diagnostic::error(format!("{} could not be undone: {error}", step.told())));
                    }
                }
                return Err(mistakes);
            }
            done.push(step);
        }
        self.in_line(&new);
        *old = new;
        Ok(steps.iter().map(Step::told).collect())
    }
}

impl Wired {
    fn in_line(&self, read: &Config) {
        if let Some(drift) = &self.drift {
            drift.read(read.clone());
        }
    }

    /// Those of these proxies that run, as they run: somebody may have changed or removed one over the control port.
    fn running(&self, configured: &[ProxySpec]) -> Vec<ProxySpec> {
        let running = self.plane.proxies().into_iter().map(|info| info.spec);
        running.filter(|spec| configured.iter().any(|known| known.name == spec.name)).collect()
    }
}

/// What can only change at a start.
pub(super) fn fixed_parts(old: &Config, new: &Config) -> Vec<Diagnostic> {
    let parts = [
        ("environment", old.environment == new.environment),
        ("[control]", old.control == new.control),
        ("[audit]", old.audit == new.audit),
        ("[notify]", old.notify == new.notify),
        ("[metrics]", old.metrics_listen == new.metrics_listen),
        ("[safety]", old.safety == new.safety),
    ];
    let changed = parts.iter().filter(|(_, same)| !same);
    changed
        .map(|(part, _)| Diagnostic::error(format!("{part} can not change while squall runs")).help("restart it"))
        .collect()
}

/// What leads from one list of proxies to another. A listener that another proxy takes over closes first; the others
/// close last, when nothing can fail any more.
pub(super) fn steps(old: &[ProxySpec], new: &[ProxySpec]) -> Vec<Step> {
    let named = |list: &[ProxySpec], name: &str| list.iter().find(|spec| spec.name == name).cloned();
    let gone: Vec<&ProxySpec> = old.iter().filter(|spec| named(new, &spec.name).is_none()).collect();
    let (first, last): (Vec<&ProxySpec>, Vec<&ProxySpec>) =
        gone.into_iter().partition(|gone| new.iter().any(|spec| spec.listen == gone.listen));
    let mut steps: Vec<Step> = first.into_iter().cloned().map(Step::Close).collect();
    for to in new {
        match named(old, &to.name) {
            None => steps.push(Step::Open(to.clone())),
            Some(from) if from != *to => steps.push(Step::Change { from, to: Box::new(to.clone()) }),
            Some(_) => {}
        }
    }
    steps.extend(last.into_iter().cloned().map(Step::Close));
    steps
}

impl Step {
    fn carry_out(&self, plane: &dyn DataPlane) -> Result<(), PlaneError> {
        match self {
            Step::Open(spec) => plane.open(spec).map(drop),
            Step::Change { to, .. } => plane.change(to).map(drop),
            Step::Close(spec) => closed(plane, &spec.name),
        }
    }

    fn undo(&self, plane: &dyn DataPlane) -> Result<(), PlaneError> {
        match self {
            Step::Open(spec) => closed(plane, &spec.name),
            Step::Change { from, .. } => plane.change(from).map(drop),
            Step::Close(spec) => plane.open(spec).map(drop),
        }
    }

    pub(super) fn told(&self) -> String {
        match self {
            Step::Open(spec) => format!("proxy {} added: {} -> {}", spec.name, spec.listen, spec.upstream),
            Step::Change { to, .. } => format!("proxy {} changed: {} -> {}", to.name, to.listen, to.upstream),
            Step::Close(spec) => format!("proxy {} removed", spec.name),
        }
    }
}

/// Somebody may have removed it over the control port.
fn closed(plane: &dyn DataPlane, name: &str) -> Result<(), PlaneError> {
    match plane.close(name) {
        Err(PlaneError::Unknown(_)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_core::scenario::Protocol;
    use squall_core::time::SECOND;
    use squall_core::way::Way;

    fn spec(name: &str, listen: &str) -> ProxySpec {
        ProxySpec {
            name: name.into(),
            listen: listen.into(),
            upstream: "127.0.0.1:1".into(),
            protocol: Protocol::Tcp,
            closes_unreached: false,
            max_connections: None,
            connect_timeout: 5 * SECOND,
            idle_timeout: ProxySpec::IDLE_TIMEOUT,
            slo: None,
            from: None,
            to: None,
            way: Way::default(),
        }
    }

    #[test]
    fn a_listener_that_is_taken_over_closes_first_and_others_last() {
        let old = [spec("a", "x:1"), spec("b", "x:2"), spec("c", "x:3")];
        let new = [spec("c", "x:4"), spec("d", "x:1")];
        let expected = [
            Step::Close(spec("a", "x:1")),
            Step::Change { from: spec("c", "x:3"), to: Box::new(spec("c", "x:4")) },
            Step::Open(spec("d", "x:1")),
            Step::Close(spec("b", "x:2")),
        ];
        assert_eq!(steps(&old, &new), expected);
        assert_eq!(steps(&old, &old), []);
    }
}
