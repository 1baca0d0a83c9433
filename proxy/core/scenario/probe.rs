//! `[[probe]]`, checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::time::Time;

/// `[[probe]]`
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSpec {
    /// Unique, up to 80 characters.
    pub name: String,
    /// When.
    pub mode: ProbeMode,
    /// From check to check, ns: for the repeating modes, and for one that is asked again because of `failures`.
    pub every: Time,
    /// How long one check may take, ns.
    pub timeout: Time,
    /// Failures in a row from which on they count; at least 1.
    pub failures: u64,
    /// Share of the checks that may fail, 0 to 1.
    pub tolerance: f64,
    /// What. Shared: a check is handed to the task that carries it out.
    pub check: Arc<ProbeCheck>,
}

/// `mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeMode {
    /// Once before the first fault.
    Start,
    /// Once after the last.
    End,
    /// Before and after.
    Edge,
    /// Throughout.
    #[default]
    Continuous,
    /// While faults act.
    During,
}

/// The name of an environment variable that holds a secret; the secret itself is read when it is used, and kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(pub String);

/// What a probe does.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeCheck {
    /// An HTTP/1.1 request; redirects are not followed.
    Http {
        /// `http://…`
        url: String,
        /// Method.
        method: String,
        /// Headers besides Host.
        headers: BTreeMap<String, String>,
        /// Body of the request.
        body: Option<String>,
        /// Sent as `Authorization: Bearer`.
        token: Option<Secret>,
        /// The status that passes.
        status: u16,
        /// What the answer's body must contain.
        expect: Option<String>,
    },
    /// A connection.
    Tcp {
        /// `host:port`
        address: String,
        /// What is sent.
        send: Option<String>,
        /// What the answer must begin with.
        expect: Option<String>,
    },
    /// A program, without a shell.
    Exec {
        /// An absolute path that `[safety] allow_exec` names, and its arguments; never empty.
        command: Vec<String>,
        /// The exit status that passes.
        status: i32,
        /// What its standard output must contain.
        expect: Option<String>,
    },
    /// A command to a Redis server.
    Redis {
        /// `host:port`
        address: String,
        /// Command and arguments; never empty.
        command: Vec<String>,
        /// What the reply, or one line of it, must be; none: anything but an error.
        expect: Option<String>,
        /// User of the server's access list; none: the default one.
        user: Option<String>,
        /// Sent with AUTH.
        password: Option<Secret>,
    },
    /// A statement to a PostgreSQL server.
    Postgres {
        /// `host:port`
        address: String,
        /// User.
        user: String,
        /// Database.
        database: String,
        /// One statement.
        query: String,
        /// What the first column of the first row must be; none: the statement must succeed.
        expect: Option<String>,
        /// For the methods password, md5 and scram-sha-256.
        password: Option<Secret>,
    },
    /// An instant query to Prometheus.
    Prometheus {
        /// Where the server's paths begin: `http://host:port`.
        url: String,
        /// PromQL.
        query: String,
        /// Every value must be above this.
        above: Option<f64>,
        /// Every value must be below this.
        below: Option<f64>,
        /// Sent as `Authorization: Bearer`.
        token: Option<Secret>,
    },
    /// Whether Alertmanager holds an alert that fires.
    Alertmanager {
        /// Where the server's paths begin: `http://host:port`.
        url: String,
        /// `alertname`
        alert: String,
        /// Labels that it must have besides.
        labels: BTreeMap<String, String>,
        /// How long after the first fault opened, ns; none: until the planned end.
        within: Option<Time>,
        /// It must not fire.
        absent: bool,
        /// Sent as `Authorization: Bearer`.
        token: Option<Secret>,
    },
}

impl ProbeCheck {
    /// The secrets that it uses.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            ProbeCheck::Tcp { .. } | ProbeCheck::Exec { .. } => None,
            ProbeCheck::Redis { password, .. } | ProbeCheck::Postgres { password, .. } => password.as_ref(),
            ProbeCheck::Http { token, .. }
            | ProbeCheck::Prometheus { token, .. }
            | ProbeCheck::Alertmanager { token, .. } => token.as_ref(),
        }
    }
}
