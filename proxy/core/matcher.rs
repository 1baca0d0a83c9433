//! Match rules.

/// `match = { … }`, checked; evaluated with the HTTP data plane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatchSpec {}
