//! Who has agreed to an experiment: bound to its exact content, to what runs here, and to an end; by somebody who neither
//! handed it in nor starts it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use squall_core::config::{Consent, Safety};
use squall_core::plane::ProxyInfo;
use squall_core::scenario::Checked;
use squall_core::select::Count;
use squall_core::unit::Percentage;
use squall_core::who::Identity;

use crate::stamp::rfc3339;
use crate::view::{ApprovalView, ConsentView, RejectionView};

/// How long an approval holds unless it says otherwise, and at most.
pub const HOLDS: Duration = Duration::from_secs(8 * 3600);
/// The longest that an approval may hold.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Characters of the reason of a rejection.
pub const REASON: usize = 500;

/// An approval as somebody gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Approving {
    /// The digest of what they have read.
    pub digest: String,
    /// For how long it holds, up to [`LONGEST`].
    pub holds: Duration,
    /// No fault may select more than this, 0 to 100; none: no limit beyond those in force.
    pub max_exposure: Option<f64>,
}

/// What an experiment needs here before it may start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Required {
    /// Different people.
    pub(crate) people: u32,
    /// One of each, different people too.
    pub(crate) groups: Vec<String>,
}

impl Required {
    /// By the scenario, by the floor of the environment, and because production is production.
    pub(crate) fn of(checked: &Checked, environment: &str, safety: &Safety) -> Required {
        let (floor, groups) = match safety.approvals.get(environment) {
            None => (0, Vec::new()),
            Some(Consent::People(people)) => (*people, Vec::new()),
            Some(Consent::Groups(groups)) => (u32::try_from(groups.len()).unwrap_or(u32::MAX), groups.clone()),
        };
        let production = u32::from(environment == "production");
        Required { people: checked.approvals_required.max(floor).max(production), groups }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.people == 0
    }

    /// `2 approval(s), of them one each by security, product`
    pub(crate) fn told(&self) -> String {
        let groups = match self.groups.as_slice() {
            [] => String::new(),
            groups => format!(", of them one each by {}", groups.join(", ")),
        };
        format!("{} approval(s){groups}", self.people)
    }

    fn is_met(&self, by: &[&Identity]) -> bool {
        let names: BTreeSet<&str> = by.iter().map(|who| &*who.name).collect();
        names.len() >= usize::try_from(self.people).unwrap_or(usize::MAX) && covers(&self.groups, by, &mut Vec::new())
    }
}

/// Whether each group can have somebody of its own.
fn covers<'a>(groups: &[String], by: &[&'a Identity], taken: &mut Vec<&'a str>) -> bool {
    let Some((group, rest)) = groups.split_first() else { return true };
    by.iter().filter(|who| who.groups.contains(group)).any(|who| {
        if taken.contains(&&*who.name) {
            return false;
        }
        taken.push(&who.name);
        let covered = covers(rest, by, taken);
        taken.pop();
        covered
    })
}

/// Who has handed it in, agreed to it, objected to it, started it.
#[derive(Clone, Debug)]
pub(crate) struct Consents {
    pub(crate) submitted: Identity,
    pub(crate) started: Option<Identity>,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) rejection: Option<Rejection>,
}

/// An approval on record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Approval {
    pub(crate) by: Identity,
    pub(crate) at: SystemTime,
    pub(crate) expires: SystemTime,
    pub(crate) max_exposure: Option<f64>,
    /// What ran here then.
    pub(crate) world: String,
}

/// An objection on record.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    pub(crate) by: Identity,
    pub(crate) at: SystemTime,
    pub(crate) reason: String,
}

/// What approvals are held against at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) now: SystemTime,
    pub(crate) world: &'a str,
    pub(crate) exposure: f64,
    /// Who starts it; none: nobody does yet.
    pub(crate) starter: Option<&'a Identity>,
}

impl Consents {
    pub(crate) fn new(submitted: Identity) -> Consents {
        Consents { submitted, started: None, approvals: Vec::new(), rejection: None }
    }

    /// Errors: everything that is missing, in words.
    pub(crate) fn check(&self, id: &str, required: &Required, moment: &Moment<'_>) -> Result<(), Vec<String>> {
        if required.is_nothing() {
            return Ok(());
        }
        let unproven = [Some(&self.submitted), moment.starter].into_iter().flatten().any(|who| !who.is_proven());
        if unproven {
            return Err(vec![format!("it needs {}, and {}", required.told(), UNPROVEN)]);
        }
        let (counted, against) = self.counted(moment);
        if required.is_met(&counted) {
            return Ok(());
        }
        let so_far = match counted.as_slice() {
            [] => String::new(),
            some => format!(" (so far: {})", some.iter().map(|who| &*who.name).collect::<Vec<_>>().join(", ")),
        };
        let who = "by people who neither handed it in nor start it";
        let missing = format!("it needs {} {who}{so_far}: `squall approve {id}`", required.told());
        Err(std::iter::once(missing).chain(against).collect())
    }

    /// Those who count, and why others do not.
    fn counted(&self, moment: &Moment<'_>) -> (Vec<&Identity>, Vec<String>) {
        let (mut counted, mut against) = (Vec::new(), Vec::new());
        for approval in &self.approvals {
            match self.why_not(approval, moment) {
                None => counted.push(&approval.by),
                Some(why) => against.push(format!("the approval of `{}` does not count: {why}", approval.by.name)),
            }
        }
        (counted, against)
    }

    fn why_not(&self, approval: &Approval, moment: &Moment<'_>) -> Option<String> {
        let name = &approval.by.name;
        if *name == self.submitted.name {
            return Some("they handed it in".into());
        }
        if moment.starter.is_some_and(|starter| starter.name == *name) {
            return Some("they start it".into());
        }
        if moment.now >= approval.expires {
            return Some(format!("it expired at {}", rfc3339(approval.expires, 0)));
        }
        if approval.world != moment.world {
            return Some("the proxies or limits that run here have changed since".into());
        }
        let most = approval.max_exposure.filter(|most| moment.exposure > *most)?;
        Some(format!("it allows {}, and a fault selects up to {}", Percentage(most), Percentage(moment.exposure)))
    }

    /// Takes an approval in; gives what it is worth in words. Errors: it is no approval, and whether that is for who gives it.
    pub(crate) fn approve(
        &mut self,
        given: &Approving,
        by: &Identity,
        moment: &Moment<'_>,
    ) -> Result<(), (bool, String)> {
        if !by.is_proven() || !self.submitted.is_proven() {
            return Err((false, format!("an approval is somebody's, and {UNPROVEN}")));
        }
        if by.name == self.submitted.name {
            return Err((true, format!("`{}` handed it in: somebody else has to approve it", by.name)));
        }
        let own = self.approvals.iter().find(|approval| approval.by.name == by.name);
        if own.is_some_and(|own| self.why_not(own, moment).is_none()) {
            return Err((false, format!("`{}` has approved it already", by.name)));
        }
        self.approvals.retain(|approval| approval.by.name != by.name);
        self.approvals.push(Approval {
            by: by.clone(),
            at: moment.now,
            expires: moment.now.checked_add(given.holds.min(LONGEST)).unwrap_or(moment.now),
            max_exposure: given.max_exposure,
            world: moment.world.to_owned(),
        });
        Ok(())
    }

    pub(crate) fn view(&self, required: &Required) -> ConsentView {
        let approval = |approval: &Approval| ApprovalView {
            by: approval.by.name.to_string(),
            groups: approval.by.groups.to_vec(),
            at: rfc3339(approval.at, 0),
            expires: rfc3339(approval.expires, 0),
            max_exposure: approval.max_exposure,
        };
        let rejection = |rejection: &Rejection| RejectionView {
            by: rejection.by.name.to_string(),
            at: rfc3339(rejection.at, 0),
            reason: rejection.reason.clone(),
        };
        ConsentView {
            required: required.people,
            groups: required.groups.clone(),
            submitted_by: self.submitted.name.to_string(),
            started_by: self.started.as_ref().map(|who| who.name.to_string()),
            approvals: self.approvals.iter().map(approval).collect(),
            rejection: self.rejection.as_ref().map(rejection),
        }
    }
}

const UNPROVEN: &str = "here nobody can be told from anybody: set `tokens = \"tokens.toml\"` in [control] of a `squall serve` \
                        (`squall token make` makes them), or have its port listen on a unix socket";

/// The most that any fault selects by percentage, 0 to 100.
pub(crate) fn exposure(checked: &Checked) -> f64 {
    let by_share = checked.faults.iter().filter(|fault| fault.count == Count::All);
    by_share.flat_map(|fault| fault.percentage.values()).copied().fold(0.0, f64::max)
}

/// What an approval is about besides the scenario: this host's limits and the proxies that are its own, as one digest.
pub(crate) fn world(environment: &str, safety: &Safety, lasting: &[ProxyInfo]) -> String {
    let own: Vec<_> = lasting.iter().map(|proxy| &proxy.spec).collect();
    let text = format!("{environment}\n{safety:?}\n{}", serde_json::to_string(&own).unwrap_or_default());
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Body of an approval over the wire, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// The digest of what was read: the experiment's, else nothing is approved.
    pub digest: String,
    /// For how long it holds, as in "1h": 8 h unless written, 30 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// No fault may select more than this, as in "25%".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_exposure: Option<String>,
}

impl ApproveRequest {
    /// Errors: the field that is wrong, and why.
    pub fn read(self) -> Result<Approving, (&'static str, String)> {
        let holds = match self.expires {
            None => HOLDS,
            Some(text) => {
                let holds: squall_core::unit::Duration = text.parse().map_err(|why| ("expires", why))?;
                Duration::from_nanos(holds.0)
            }
        };
        if !(Duration::from_secs(1)..=LONGEST).contains(&holds) {
            return Err(("expires", "an approval holds for 1 s to 30 days".into()));
        }
        let limit = self.max_exposure.map(|text| text.parse::<Percentage>()).transpose();
        let max_exposure = limit.map_err(|why| ("max_exposure", why))?.map(|limit| limit.0);
        Ok(Approving { digest: self.digest, holds, max_exposure })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use squall_core::who::{Proof, Role};
    use std::time::UNIX_EPOCH;

    fn who(name: &str, groups: &[&str]) -> Identity {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Identity { groups, ..Identity::new(name, Role::Approver, Proof::Certificate, "here") }
    }

    fn at(seconds: u64) -> Moment<'static> {
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        Moment { now, world: "w", exposure: 25.0, starter: None }
    }

    fn given(seconds: u64, max_exposure: Option<f64>) -> Approving {
        Approving { digest: String::new(), holds: Duration::from_secs(seconds), max_exposure }
    }

    #[test]
    fn groups_need_people_of_their_own() {
        let both = who("both", &["security", "product"]);
        let (security, product) = (who("s", &["security"]), who("p", &["product"]));
        let required = Required { people: 2, groups: vec!["security".into(), "product".into()] };
        assert!(!required.is_met(&[&both]));
        assert!(!required.is_met(&[&both, &both]));
        assert!(required.is_met(&[&both, &security]) && required.is_met(&[&both, &product]));
        assert!(required.is_met(&[&security, &product]));
        assert!(!required.is_met(&[&security, &who("x", &["security"])]));
    }

    #[test]
    fn an_approval_counts_while_everything_is_as_it_was() {
        let mut consents = Consents::new(who("author", &[]));
        let required = Required { people: 1, groups: vec![] };
        let bob = who("bob", &[]);
        assert!(consents.approve(&given(60, None), &who("author", &[]), &at(0)).unwrap_err().0);
        assert!(consents.check("x-1", &required, &at(0)).unwrap_err()[0].contains("squall approve x-1"));
        consents.approve(&given(60, Some(25.0)), &bob, &at(0)).unwrap();
        assert!(consents.approve(&given(60, None), &bob, &at(1)).unwrap_err().1.contains("already"));
        assert!(consents.check("x-1", &required, &at(59)).is_ok());
        type Change = fn(Moment<'static>, &'static Identity) -> Moment<'static>;
        let cases: [(&str, Change); 4] = [
            ("expired", |moment, _| Moment { now: at(60).now, ..moment }),
            ("changed since", |moment, _| Moment { world: "other", ..moment }),
            ("it allows 25%", |moment, _| Moment { exposure: 25.1, ..moment }),
            ("they start it", |moment, bob| Moment { starter: Some(bob), ..moment }),
        ];
        let starter: &'static Identity = Box::leak(Box::new(bob.clone()));
        for (why, change) in cases {
            let against = consents.check("x-1", &required, &change(at(1), starter)).unwrap_err();
            assert!(against[1].contains(why), "{against:?}");
        }
        consents.approve(&given(60, None), &bob, &at(61)).unwrap();
        assert!(consents.check("x-1", &required, &at(62)).is_ok(), "what has expired can be renewed");
    }

    #[test]
    fn where_nobody_is_known_nothing_is_approved() {
        let mut consents = Consents::new(Identity::local());
        let required = Required { people: 1, groups: vec![] };
        assert!(consents.approve(&given(60, None), &who("bob", &[]), &at(0)).unwrap_err().1.contains("tokens"));
        assert!(consents.check("x-1", &required, &at(0)).unwrap_err()[0].contains("squall token make"));
        assert!(consents.check("x-1", &Required::default(), &at(0)).is_ok());
    }
}
