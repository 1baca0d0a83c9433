//! The audit log, as the configuration says.

use std::path::Path;
use std::sync::Arc;

use squall_core::config::{AuditConfig, AuditTo, Config};
use squall_core::limits::Limits;
use squall_core::time::Clock;
use squall_drill::audit::{Audit, Settings, To};

use crate::cli::out::tell;
use crate::exit::Failure;

/// Bytes of a key: as many as the hash has.
const KEY: usize = 32;

/// Starts it. A log that can't be written is no mistake here: traffic does not wait for it.
pub(super) fn start(config: &Config, state: &Path, limits: Limits, clock: Arc<dyn Clock>) -> Result<Audit, Failure> {
    let AuditConfig { to, origin, key } = &config.audit;
    let to = match to {
        AuditTo::State => To::File(state.join("audit.log")),
        AuditTo::File(path) => To::File(path.clone()),
        AuditTo::Stdout => To::StandardOutput,
        AuditTo::Http(url) => To::Http(url.clone()),
    };
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let key = key.as_deref().map(|key| read_key("[audit] key", key)).transpose()?;
    let settings = Settings { to, origin: origin.clone().unwrap_or_else(host), key, limits };
    // where nobody has chosen a place the log goes with the process, and so do its checkpoints
    let is_kept = config.control.state.is_some() || config.audit != AuditConfig::default();
    let told = move |text: &str| {
        if is_kept || !text.starts_with("audit checkpoint") {
            tell!("{text}");
        }
    };
    Audit::start(settings, clock, told).map_err(|error| Failure::input(format!("no audit log: {error}")))
}

/// A key that something is signed with; `what` names it in messages.
pub(crate) fn read_key(what: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let key = std::fs::read(path).map_err(|error| Failure::input(format!("{what}: {shown}: {error}")))?;
    match key.len() >= KEY {
        true => Ok(key),
        false => Err(Failure::input(format!("{what}: {shown} has {} bytes, it needs {KEY}", key.len()))),
    }
}
