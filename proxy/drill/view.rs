//! What people and programs see of experiments: the shapes behind the control port, the event stream and `status --json`.

use serde::{Deserialize, Serialize};
use squall_core::plan::TallyReading;

pub use crate::lever::LeverView;
pub use crate::marks::{Mark, MarkKind, Marked};

/// `draft → approved → armed → running ⇄ paused → stopping → completed | stopped | failed | cancelled`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum State {
    Draft,
    Approved,
    Armed,
    Running,
    Paused,
    Stopping,
    /// Reached its planned end.
    Completed,
    /// Ended early: person, guard, lease, limit.
    Stopped,
    /// squall could not carry it out.
    Failed,
    /// Ended before it ran.
    Cancelled,
}

impl State {
    /// Whether it is over.
    pub fn is_over(self) -> bool {
        matches!(self, State::Completed | State::Stopped | State::Failed | State::Cancelled)
    }

    /// Whether it has been started and is not over.
    pub fn is_under_way(self) -> bool {
        matches!(self, State::Armed | State::Running | State::Paused | State::Stopping)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            State::Draft => "draft",
            State::Approved => "approved",
            State::Armed => "armed",
            State::Running => "running",
            State::Paused => "paused",
            State::Stopping => "stopping",
            State::Completed => "completed",
            State::Stopped => "stopped",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }
}

/// The verdict on the hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Verdict {
    Upheld,
    Refuted,
    Inconclusive,
    Invalid,
}

impl Verdict {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Upheld => "upheld",
            Verdict::Refuted => "refuted",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Invalid => "invalid",
        }
    }
}

/// One experiment, as GET /v1/experiments/{id} shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExperimentView {
    /// Unique in this state directory: `<name>-<base36 number>`.
    pub id: String,
    /// The scenario's name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// SHA-256 of the expanded plan, hex.
    pub digest: String,
    /// For draws.
    pub seed: u64,
    /// Once it is over (or could be told early).
    pub verdict: Option<Verdict>,
    /// Why it ended, in words.
    pub reason: Option<String>,
    /// Seconds on its timeline (pauses left out).
    pub elapsed: f64,
    /// Seconds that it is planned to take.
    pub planned: f64,
    /// Its faults.
    pub faults: Vec<FaultView>,
    /// Proxies that it brought, with their addresses.
    pub proxies: Vec<(String, String)>,
    /// Whether it only observes: nothing is injected, and its counts are of what would have been.
    #[serde(default)]
    pub observed: bool,
    /// The step that it waits for.
    #[serde(default)]
    pub waiting: Option<WaitingView>,
    /// Who handed it in, approved it, started it.
    #[serde(default)]
    pub consent: ConsentView,
    /// What is expected to hold; "none stated" is never upheld.
    #[serde(default)]
    pub hypothesis: Option<String>,
}

/// Who has handed an experiment in, and who has agreed to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConsentView {
    /// People who must approve it here; 0: nobody has to.
    pub required: u32,
    /// One of each of these groups must be among them.
    pub groups: Vec<String>,
    /// Who handed it in.
    pub submitted_by: String,
    /// Who started it.
    pub started_by: Option<String>,
    /// Approvals, whether they still hold or not.
    pub approvals: Vec<ApprovalView>,
    /// Who has objected to it.
    pub rejection: Option<RejectionView>,
}

/// An approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ApprovalView {
    /// By whom.
    pub by: String,
    /// Their groups.
    pub groups: Vec<String>,
    /// When, RFC 3339.
    pub at: String,
    /// Until when.
    pub expires: String,
    /// No fault may select more than this, 0 to 100.
    pub max_exposure: Option<f64>,
}

/// An objection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RejectionView {
    /// By whom.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// Why.
    pub reason: String,
}

/// A step that a run waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WaitingView {
    /// Its name.
    pub step: String,
    /// What the person is to do.
    pub manual: String,
    /// Seconds that it is waited for at most.
    pub within: f64,
    /// Seconds that it has been waited for.
    pub waited: f64,
}

/// One fault of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FaultView {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// In words.
    pub summary: String,
    /// Whether its window is open and its switch on.
    pub active: bool,
    /// What it has done, over all its proxies.
    pub tally: TallyReading,
    /// Where its percentage stands, if that is a ladder and its window has opened.
    #[serde(default)]
    pub ladder: Option<LadderView>,
}

/// Where the exposure ladder of a fault stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LadderView {
    /// The step, from 1.
    pub step: usize,
    /// How many there are.
    pub steps: usize,
    /// The percentage in force, 0 to 100; 0 while the window is closed.
    pub percentage: f64,
    /// The highest so far.
    pub reached: f64,
    /// Why it does not climb now, in words; none: it is on its last step, or its window is closed.
    pub waits: Option<String>,
}

impl LadderView {
    /// In words.
    pub fn told(&self) -> String {
        let waits = self.waits.as_ref().map_or_else(String::new, |why| format!(", {why}"));
        format!("{} %, step {} of {}{waits}", self.percentage, self.step, self.steps)
    }
}

/// A change of an exposure ladder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rung {
    /// Seconds on the timeline.
    pub at: f64,
    /// The step, from 1.
    pub step: usize,
    /// The percentage from then on, 0 to 100.
    pub percentage: f64,
    /// Why, in words.
    pub why: String,
}

/// The answer to an abort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AbortReport {
    /// Ids of the experiments that it ended.
    pub experiments: Vec<String>,
    /// µs from the request until no new injection could happen.
    pub stopped_injecting_us: u64,
    /// Connections and requests that were held and let go.
    pub released: u64,
    /// µs until every worker had let go what was held; none: a worker has not confirmed within the time to answer.
    pub permitted_us: Option<u64>,
    /// µs until the last byte of it was written; none: still being written.
    pub drained_us: Option<u64>,
}

/// One event of GET /v1/events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Event {
    /// Counts from 1.
    pub seq: u64,
    /// RFC 3339 with milliseconds.
    pub at: String,
    /// Seconds on the experiment's timeline, where there is one.
    pub elapsed: Option<f64>,
    /// Id of the experiment, where there is one.
    pub experiment: Option<String>,
    /// What happened: `state`, `before`, `fault`, `ladder`, `guard`, `near`, `probe`, `step`, `mark`, `approval`, `abort`, `drained`,
    /// `residue`, `lever`, `config`, `drift`.
    pub kind: String,
    /// In words.
    pub text: String,
}

/// Why the engine refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// No experiment of this id.
    Unknown(String),
    /// Not in a state for that; in words.
    State(String),
    /// It can't be armed: everything that is in the way, one message each.
    NotArmed(Vec<String>),
    /// Already as many as may run.
    TooMany(usize),
    /// The safety lever is engaged; why.
    Lever(String),
    /// Not for who asks; in words.
    Forbidden(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Unknown(id) => write!(f, "there is no experiment `{id}`"),
            Refusal::State(why) | Refusal::Forbidden(why) => f.write_str(why),
            Refusal::NotArmed(why) => f.write_str(&why.join("; ")),
            Refusal::Lever(why) => write!(f, "the safety lever is engaged: {why}; nothing starts until it is released"),
            Refusal::TooMany(max) => write!(f, "{max} experiments are running already; `squall abort ID` ends one"),
        }
    }
}

impl std::error::Error for Refusal {}
