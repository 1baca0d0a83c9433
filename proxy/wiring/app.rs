//! What the control port asks for.

use std::sync::atomic::Ordering;

use squall_control::api::ProxyRequest;
use squall_control::app::{App, Experiments, Format};
use squall_core::diagnostic::Diagnostic;
use squall_core::plane::DataPlane;
use squall_core::scenario::{Checked, ProxySpec};
use squall_drill::audit::Act;

use super::{Wired, render};
use crate::language;

impl App for Wired {
    fn experiments(&self) -> &dyn Experiments {
        &self.engine
    }

    fn plane(&self) -> &dyn DataPlane {
        &*self.plane
    }

    fn environment(&self) -> String {
        self.environment.clone()
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn scenario(&self, text: &str, format: Format, set: &[(String, String)]) -> Result<Checked, Vec<Diagnostic>> {
        language::request(text, format, set, self.plane.proxies(), Wired::config(self).safety.clone())
    }

    fn changed(
        &self,
        canonical: &str,
        fault: &str,
        fields: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Checked, Vec<Diagnostic>> {
        language::changed(canonical, fault, fields, self.plane.proxies(), Wired::config(self).safety.clone())
    }

    fn proxy(&self, name: &str, request: &ProxyRequest) -> Result<ProxySpec, Vec<Diagnostic>> {
        language::proxy(name, request)
    }

    fn drift(&self) -> Vec<String> {
        self.drift.as_ref().map(|drift| drift.look(&self.engine.lasting())).unwrap_or_default()
    }

    fn accept(&self) -> Vec<String> {
        let accepted = self.drift.as_ref().map(|drift| drift.accept(&self.engine.lasting())).unwrap_or_default();
        if !accepted.is_empty() {
            self.engine.tell("drift", &format!("taken as it is: {}", accepted.join("; ")));
        }
        accepted
    }

    fn reload(&self) -> Result<Vec<String>, Vec<Diagnostic>> {
        Wired::reload(self)
    }

    fn attempted(&self, act: Act, often: bool) {
        match often {
            true => self.engine.audit().often(act),
            false => self.engine.audit().note(act),
        }
    }

    fn config(&self) -> String {
        let config = Wired::config(self).clone();
        render::toml(&config, &self.environment, &self.plane.proxies())
    }
}
