//! What the control port asks of the rest of the program.

use squall_core::diagnostic::Diagnostic;
use squall_core::plane::DataPlane;
use squall_core::scenario::{Checked, ProxySpec};
use squall_core::who::Identity;
use squall_drill::approve::Approving;
use squall_drill::audit::Act;
use squall_drill::engine::{Aborting, Engine, Keep};
use squall_drill::view::{AbortReport, Event, ExperimentView, LeverView, Mark, Marked, Refusal};
use tokio::sync::broadcast;

use crate::api::ProxyRequest;

/// The program behind the control port; `main` puts it together. Methods may be called from several threads.
pub trait App: Send + Sync + 'static {
    /// The experiments.
    fn experiments(&self) -> &dyn Experiments;
    /// The proxies.
    fn plane(&self) -> &dyn DataPlane;
    /// What this host is.
    fn environment(&self) -> String;
    /// Whether every configured proxy listens and the program is not shutting down. Must not block.
    fn is_ready(&self) -> bool;
    /// Reads and checks a scenario: in `format`, with parameters set to other values. All that is wrong with it comes back
    /// as diagnostics whose source is `<request>`.
    fn scenario(&self, text: &str, format: Format, set: &[(String, String)]) -> Result<Checked, Vec<Diagnostic>>;
    /// The scenario whose canonical form this is, with other fields of one fault: null takes one out. Checked as a whole,
    /// against what runs and the limits of this host.
    fn changed(
        &self,
        canonical: &str,
        fault: &str,
        fields: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Checked, Vec<Diagnostic>>;
    /// Checks a proxy of this name as `[[proxy]]` of a configuration is checked: limits and the list of upstreams included.
    fn proxy(&self, name: &str, request: &ProxyRequest) -> Result<ProxySpec, Vec<Diagnostic>>;
    /// Reads the configuration anew, all or nothing. Gives what has changed, one line each.
    fn reload(&self) -> Result<Vec<String>, Vec<Diagnostic>>;
    /// Where what runs is not what the configuration's file says, and nobody has taken it as it is: one line each.
    fn drift(&self) -> Vec<String>;
    /// Takes what runs as it is; gives the differences.
    fn accept(&self) -> Vec<String>;
    /// What is in force, as a `squall.toml`.
    fn config(&self) -> String;
    /// Puts an attempt at the control port on record. `often`: one of a kind that is counted after the first. Called on the
    /// control port's own thread, so it must not wait for anything.
    fn attempted(&self, act: Act, often: bool);
}

/// How a scenario is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/toml`
    Toml,
    /// `application/json`, the same fields.
    Json,
}

/// The experiments, as [`Engine`] runs them; tests have their own. See there for the methods.
pub trait Experiments: Send + Sync {
    /// [`Engine::submit`]
    fn submit(&self, scenario: Checked, by: &Identity) -> Result<ExperimentView, Refusal>;
    /// [`Engine::start`]
    fn start(&self, id: &str, keep: Keep, by: &Identity) -> Result<ExperimentView, Refusal>;
    /// [`Engine::observe`]
    fn observe(&self, id: &str, keep: Keep, by: &Identity) -> Result<ExperimentView, Refusal>;
    /// [`Engine::check`]
    fn check(&self, id: &str, keep: Keep, observed: bool, by: &Identity) -> Result<ExperimentView, Refusal>;
    /// [`Engine::approve`]
    fn approve(&self, id: &str, given: &Approving, by: &Identity) -> Result<ExperimentView, Refusal>;
    /// [`Engine::reject`]
    fn reject(&self, id: &str, reason: &str, by: &Identity) -> Result<ExperimentView, Refusal>;
    /// [`Engine::canonical`]
    fn canonical(&self, id: &str) -> Result<String, Refusal>;
    /// [`Engine::change`]
    fn change(&self, id: &str, fault: &str, before: &str, changed: Checked) -> Result<ExperimentView, Refusal>;
    /// [`Engine::mark`]
    fn mark(&self, id: &str, mark: Mark) -> Result<Marked, Refusal>;
    /// [`Engine::renew`]
    fn renew(&self, id: &str) -> Result<ExperimentView, Refusal>;
    /// [`Engine::pause`]
    fn pause(&self, id: &str) -> Result<ExperimentView, Refusal>;
    /// [`Engine::resume`]
    fn resume(&self, id: &str) -> Result<ExperimentView, Refusal>;
    /// [`Engine::begin_abort`]: called on the control port's own thread, so it must not wait for anything.
    fn begin_abort(&self, id: Option<&str>, reason: &str) -> Result<Box<dyn AbortProgress>, Refusal>;
    /// [`Engine::engage`]: called like [`Experiments::begin_abort`].
    fn engage(&self, reason: &str, by: &str) -> Box<dyn AbortProgress>;
    /// [`Engine::keep_lever`]
    fn keep_lever(&self) -> Result<(), String>;
    /// [`Engine::release_lever`]
    fn release_lever(&self, by: &str) -> Result<(), String>;
    /// [`Engine::lever`]
    fn lever(&self) -> LeverView;
    /// [`Engine::list`]
    fn list(&self) -> Vec<ExperimentView>;
    /// [`Engine::view`]
    fn view(&self, id: &str) -> Result<ExperimentView, Refusal>;
    /// [`Engine::report`]
    fn report(&self, id: &str) -> Result<(serde_json::Value, String), Refusal>;
    /// [`Engine::events`]
    fn events(&self) -> broadcast::Receiver<Event>;
}

/// How far an abort has come.
pub trait AbortProgress: Send {
    /// [`Aborting::report`]
    fn report(&self) -> AbortReport;
}

impl AbortProgress for Aborting {
    fn report(&self) -> AbortReport {
        Aborting::report(self)
    }
}

impl Experiments for Engine {
    fn submit(&self, scenario: Checked, by: &Identity) -> Result<ExperimentView, Refusal> {
        Engine::submit(self, scenario, by)
    }

    fn start(&self, id: &str, keep: Keep, by: &Identity) -> Result<ExperimentView, Refusal> {
        Engine::start(self, id, keep, by)
    }

    fn observe(&self, id: &str, keep: Keep, by: &Identity) -> Result<ExperimentView, Refusal> {
        Engine::observe(self, id, keep, by)
    }

    fn check(&self, id: &str, keep: Keep, observed: bool, by: &Identity) -> Result<ExperimentView, Refusal> {
        Engine::check(self, id, keep, observed, by)
    }

    fn approve(&self, id: &str, given: &Approving, by: &Identity) -> Result<ExperimentView, Refusal> {
        Engine::approve(self, id, given, by)
    }

    fn reject(&self, id: &str, reason: &str, by: &Identity) -> Result<ExperimentView, Refusal> {
        Engine::reject(self, id, reason, by)
    }

    fn canonical(&self, id: &str) -> Result<String, Refusal> {
        Engine::canonical(self, id)
    }

    fn change(&self, id: &str, fault: &str, before: &str, changed: Checked) -> Result<ExperimentView, Refusal> {
        Engine::change(self, id, fault, before, changed)
    }

    fn mark(&self, id: &str, mark: Mark) -> Result<Marked, Refusal> {
        Engine::mark(self, id, mark)
    }

    fn renew(&self, id: &str) -> Result<ExperimentView, Refusal> {
        Engine::renew(self, id)
    }

    fn pause(&self, id: &str) -> Result<ExperimentView, Refusal> {
        Engine::pause(self, id)
    }

    fn resume(&self, id: &str) -> Result<ExperimentView, Refusal> {
        Engine::resume(self, id)
    }

    fn begin_abort(&self, id: Option<&str>, reason: &str) -> Result<Box<dyn AbortProgress>, Refusal> {
        Ok(Box::new(Engine::begin_abort(self, id, reason)?))
    }

    fn engage(&self, reason: &str, by: &str) -> Box<dyn AbortProgress> {
        Box::new(Engine::engage(self, reason, by))
    }

    fn keep_lever(&self) -> Result<(), String> {
        Engine::keep_lever(self)
    }

    fn release_lever(&self, by: &str) -> Result<(), String> {
        Engine::release_lever(self, by)
    }

    fn lever(&self) -> LeverView {
        Engine::lever(self)
    }

    fn list(&self) -> Vec<ExperimentView> {
        Engine::list(self)
    }

    fn view(&self, id: &str) -> Result<ExperimentView, Refusal> {
        Engine::view(self, id)
    }

    fn report(&self, id: &str) -> Result<(serde_json::Value, String), Refusal> {
        Engine::report(self, id)
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        Engine::events(self)
    }
}
