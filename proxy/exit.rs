//! Exit codes, and why a command ends with one.

use std::process::ExitCode;

use squall_drill::view::{Refusal, Verdict};

/// How the program ends. Scripts depend on the numbers ([`Exit::code`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Upheld, or done.
    Done,
    /// The hypothesis is refuted.
    Refuted,
    /// Bad input, or refused at the start.
    BadInput,
    /// Inconclusive or invalid.
    Undecided,
    /// The control port is out of reach.
    OutOfReach,
    /// Ended by Ctrl-C.
    Interrupted,
    /// The program that `squall wrap` ran ended with this code.
    Child(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Exit {
        match verdict {
            Verdict::Upheld => Exit::Done,
            Verdict::Refuted => Exit::Refuted,
            Verdict::Inconclusive | Verdict::Invalid => Exit::Undecided,
        }
    }
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Refuted => 1,
            Exit::BadInput => 2,
            Exit::Undecided => 3,
            Exit::OutOfReach => 4,
            Exit::Interrupted => 130,
            Exit::Child(code) => code,
        }
    }

    /// The worse of two, for several scenarios in one run: interrupted, then refuted, then undecided.
    pub fn worse(self, other: Exit) -> Exit {
        let rank = |exit| match exit {
            Exit::Done | Exit::Child(0) => 0,
            Exit::Undecided => 1,
            Exit::Refuted | Exit::Child(_) => 2,
            Exit::OutOfReach => 3,
            Exit::BadInput => 4,
            Exit::Interrupted => 5,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Why a command could not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// For people, on standard error; empty: everything has been said.
    pub message: String,
}

impl Failure {
    /// Bad input, or refused.
    pub fn input(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::BadInput, message: message.into() }
    }

    /// No control port, or one that does not answer.
    pub fn out_of_reach(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::OutOfReach, message: message.into() }
    }

    /// Bad input about which everything has been printed.
    pub fn said() -> Failure {
        Failure::input("")
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::NotArmed(reasons) => Failure::input(format!("it can not start:\n  {}", reasons.join("\n  "))),
            other => Failure::input(other.to_string()),
        }
    }
}

/// What a command gives back.
pub type Outcome = Result<Exit, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_scenarios_decides() {
        assert_eq!(Exit::Done.worse(Exit::Undecided), Exit::Undecided);
        assert_eq!(Exit::Refuted.worse(Exit::Undecided), Exit::Refuted);
        assert_eq!(Exit::Refuted.worse(Exit::Interrupted), Exit::Interrupted);
    }
}
