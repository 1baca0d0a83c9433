//! `[[probe]]` as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::parse::draft::Label;
use crate::scenario::ProbeMode;
use crate::unit::{Duration, Percentage};

/// `[[probe]]`: a check from outside. It has one of `http`, `tcp`, `exec`, `redis`, `postgres`, `prometheus`,
/// `alertmanager`.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProbeDraft {
    /// Unique.
    pub(crate) name: Label,
    /// When: `continuous` unless written.
    pub(crate) mode: Option<ProbeMode>,
    /// From check to check: 1 s unless written.
    pub(crate) every: Option<Duration>,
    /// Failures in a row from which on they count: 1 unless written. A probe that runs once is asked again so often.
    pub(crate) failures: Option<u64>,
    /// Share of the checks that may fail: 0 unless written.
    pub(crate) tolerance: Option<Percentage>,
    /// An HTTP request.
    pub(crate) http: Option<Box<HttpProbe>>,
    /// A connection.
    pub(crate) tcp: Option<TcpProbe>,
    /// A program.
    pub(crate) exec: Option<ExecProbe>,
    /// A command to Redis.
    pub(crate) redis: Option<RedisProbe>,
    /// A statement to PostgreSQL.
    pub(crate) postgres: Option<PostgresProbe>,
    /// An instant query to Prometheus.
    pub(crate) prometheus: Option<PrometheusProbe>,
    /// An alert that must fire, or must not, after the first fault opened.
    pub(crate) alertmanager: Option<AlertmanagerProbe>,
}

/// What a probe can do, in its words.
pub(crate) const WORDS: [&str; 7] = ["http", "tcp", "exec", "redis", "postgres", "prometheus", "alertmanager"];

/// What a probe does.
pub(crate) enum What {
    Http(Box<HttpProbe>),
    Tcp(TcpProbe),
    Exec(ExecProbe),
    Redis(RedisProbe),
    Postgres(PostgresProbe),
    Prometheus(PrometheusProbe),
    Alertmanager(AlertmanagerProbe),
}

impl What {
    pub(crate) fn word(&self) -> &'static str {
        let [http, tcp, exec, redis, postgres, prometheus, alertmanager] = WORDS;
        match self {
            What::Http(_) => http,
            What::Tcp(_) => tcp,
            What::Exec(_) => exec,
            What::Redis(_) => redis,
            What::Postgres(_) => postgres,
            What::Prometheus(_) => prometheus,
            What::Alertmanager(_) => alertmanager,
        }
    }
}

impl ProbeDraft {
    /// Everything that is written of what it does: one, if it is right.
    pub(crate) fn what(self) -> Vec<What> {
        let all = [
            self.http.map(What::Http),
            self.tcp.map(What::Tcp),
            self.exec.map(What::Exec),
            self.redis.map(What::Redis),
            self.postgres.map(What::Postgres),
            self.prometheus.map(What::Prometheus),
            self.alertmanager.map(What::Alertmanager),
        ];
        all.into_iter().flatten().collect()
    }
}

/// `http`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpProbe {
    /// `http://…`
    pub(crate) url: String,
    /// GET unless written. Redirects are not followed.
    pub(crate) method: Option<String>,
    /// Headers besides Host.
    pub(crate) headers: Option<BTreeMap<String, String>>,
    /// Body of the request.
    pub(crate) body: Option<String>,
    /// Environment variable whose value is sent as `Authorization: Bearer`; its name begins with `SQUALL_`.
    pub(crate) token_env: Option<String>,
    /// The status that passes: 200 unless written.
    pub(crate) status: Option<u16>,
    /// Text that the answer's body must contain, in its first MiB.
    pub(crate) expect: Option<String>,
    /// How fast it must be.
    pub(crate) within: Option<Duration>,
    /// 5 s unless written.
    pub(crate) timeout: Option<Duration>,
}

/// `tcp`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TcpProbe {
    /// `host:port`
    pub(crate) address: String,
    /// What is sent.
    pub(crate) send: Option<String>,
    /// What the answer must begin with.
    pub(crate) expect: Option<String>,
    /// 5 s unless written.
    pub(crate) timeout: Option<Duration>,
}

/// `exec`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecProbe {
    /// The absolute path of a program that `[safety] allow_exec` names, and its arguments. There is no shell; the
    /// environment is empty.
    pub(crate) command: Vec<String>,
    /// The exit status that passes: 0 unless written.
    pub(crate) status: Option<i32>,
    /// Text that standard output must contain, in its first MiB.
    pub(crate) expect: Option<String>,
    /// 5 s unless written; then it is killed with everything that it started in its process group.
    pub(crate) timeout: Option<Duration>,
}

/// `redis`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedisProbe {
    /// `host:port`
    pub(crate) address: String,
    /// Command and arguments: `["PING"]` unless written.
    pub(crate) command: Option<Vec<String>>,
    /// What the reply, or one line of it, must be; left out, anything but an error.
    pub(crate) expect: Option<String>,
    /// User of the server's access list.
    pub(crate) user: Option<String>,
    /// Environment variable that holds the password; its name begins with `SQUALL_`.
    pub(crate) password_env: Option<String>,
    /// 5 s unless written.
    pub(crate) timeout: Option<Duration>,
}

/// `postgres`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresProbe {
    /// `host:port`
    pub(crate) address: Option<String>,
    /// `postgres://[user@]host[:port][/database]`, in place of `address`. TLS is not available.
    pub(crate) url: Option<String>,
    /// `postgres` unless written.
    pub(crate) user: Option<String>,
    /// The user's name unless written.
    pub(crate) database: Option<String>,
    /// One statement: `select 1` unless written.
    pub(crate) query: Option<String>,
    /// What the first column of the first row must be, as text; left out, the statement must succeed.
    pub(crate) expect: Option<String>,
    /// Environment variable that holds the password; its name begins with `SQUALL_`.
    pub(crate) password_env: Option<String>,
    /// 5 s unless written.
    pub(crate) timeout: Option<Duration>,
}

/// `prometheus`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrometheusProbe {
    /// Where its paths begin: `http://host:port`.
    pub(crate) url: String,
    /// PromQL, asked as of now. No data is a failure.
    pub(crate) query: String,
    /// Every value must be above this.
    pub(crate) above: Option<f64>,
    /// Every value must be below this.
    pub(crate) below: Option<f64>,
    /// Environment variable whose value is sent as `Authorization: Bearer`; its name begins with `SQUALL_`.
    pub(crate) token_env: Option<String>,
    /// 5 s unless written.
    pub(crate) timeout: Option<Duration>,
}

/// `alertmanager`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertmanagerProbe {
    /// Where its paths begin: `http://host:port`.
    pub(crate) url: String,
    /// The alert's name.
    pub(crate) alert: String,
    /// Labels that it must have besides.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// How long after the first fault opened: until the planned end unless written.
    pub(crate) within: Option<Duration>,
    /// It must not fire.
    pub(crate) absent: Option<bool>,
    /// Environment variable whose value is sent as `Authorization: Bearer`; its name begins with `SQUALL_`.
    pub(crate) token_env: Option<String>,
    /// 5 s unless written.
    pub(crate) timeout: Option<Duration>,
}
