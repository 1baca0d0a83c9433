//! A sidecar's configuration: `squall.toml`, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::calendar::Calendar;
use crate::scenario::ProxySpec;
use crate::time::{SECOND, Time};
use crate::who::Role;

/// `squall.toml`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What this host is.
    pub environment: Option<String>,
    /// `[control]`
    pub control: ControlConfig,
    /// `[audit]`
    pub audit: AuditConfig,
    /// `[notify]`; none: nobody is told.
    pub notify: Option<NotifyConfig>,
    /// `[metrics] listen`
    pub metrics_listen: Option<String>,
    /// `[safety]`
    pub safety: Safety,
    /// `[[proxy]]`
    pub proxies: Vec<ProxySpec>,
}

/// `[control]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlConfig {
    /// `address:port` or `unix:PATH`.
    pub listen: Option<String>,
    /// Toxiproxy-compatible API.
    pub toxiproxy: Option<String>,
    /// It may be reached from other machines, although it has no tokens.
    pub toxiproxy_open: bool,
    /// Directory, resolved against the file's.
    pub state: Option<PathBuf>,
    /// Token file, resolved against the file's.
    pub tokens: Option<PathBuf>,
    /// TLS of the control port.
    pub tls: Option<ControlTls>,
    /// Names besides localhost and the listening address that the Host header may carry.
    pub hosts: Vec<String>,
}

/// `[audit]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditConfig {
    /// Where records go.
    pub to: AuditTo,
    /// Whose log it is, in checkpoints; none: the host's name.
    pub origin: Option<String>,
    /// A file with the key that checkpoints are signed with, resolved against the configuration's.
    pub key: Option<PathBuf>,
}

/// `[notify]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConfig {
    /// `http://host:port/path`
    pub webhook: String,
    /// A file with the key of the signature, resolved against the configuration's.
    pub secret: Option<PathBuf>,
}

/// Where audit records go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuditTo {
    /// `audit.log` in the state directory.
    #[default]
    State,
    /// A file, resolved against the configuration's.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// `http://host:port/path`
    Http(String),
}

/// `[control] tls`; paths are resolved against the file's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlTls {
    /// Certificate and chain, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Who vouches for clients, PEM.
    pub client_ca: Option<PathBuf>,
    /// Roles by name in the certificate.
    pub roles: BTreeMap<String, Role>,
    /// Names by group.
    pub groups: BTreeMap<String, Vec<String>>,
}

/// `[safety]`
#[derive(Clone, Debug, PartialEq)]
pub struct Safety {
    /// Networks and `host:port` globs; held against the resolved address.
    pub allow_upstreams: Vec<String>,
    /// Always wins.
    pub deny_upstreams: Vec<String>,
    /// Paths that no fault touches.
    pub never_fault: Vec<String>,
    /// 0 to 100; none: no limit.
    pub max_percentage: Option<f64>,
    /// None: no limit.
    pub max_active_faults: Option<u64>,
    /// ns
    pub lease: Time,
    /// Absolute paths that exec probes may run.
    pub allow_exec: Vec<String>,
    /// `host:port` tried before every start.
    pub must_not_reach: Vec<String>,
    /// Approvals by environment.
    pub approvals: BTreeMap<String, Consent>,
    /// Experiments that may run at one moment.
    pub max_experiments: usize,
    /// A file, only root can write it, that says which environment this host is.
    pub environment_file: Option<PathBuf>,
    /// When experiments may run.
    pub calendar: Calendar,
}

/// Who has to agree.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Consent {
    /// So many people.
    People(u32),
    /// One of each of these groups, all different people.
    Groups(Vec<String>),
}

impl Default for Safety {
    fn default() -> Safety {
        Safety {
            allow_upstreams: vec!["127.0.0.0/8".into(), "[::1]".into()],
            deny_upstreams: Vec::new(),
            never_fault: Vec::new(),
            max_percentage: None,
            max_active_faults: None,
            lease: 10 * SECOND,
            allow_exec: Vec::new(),
            must_not_reach: Vec::new(),
            approvals: Default::default(),
            max_experiments: 4,
            environment_file: None,
            calendar: Calendar::default(),
        }
    }
}
