//! Leases: an experiment whose starter falls silent ends by itself. The workers enforce it on their own through the
//! switch; what is here sets it and notes that it has run out. Counted on the boot-time clock, which goes on while the
//! machine sleeps.

use squall_core::cell::Switch;
use squall_core::time::{NEVER, Now, Time};

use crate::engine::Keep;

/// Sets a first lease, counted from now.
pub(crate) fn grant(switch: &Switch, keep: Keep, now: Now, length: Time) {
    match keep {
        Keep::Lease => switch.set_lease(now.boot.saturating_add(length)),
        Keep::Detached(_) | Keep::Owned => switch.set_lease(NEVER),
    }
}

/// Renews a lease, counted from now; an experiment without one stays without. False: it has run out.
pub(crate) fn renew(switch: &Switch, now: Now, length: Time) -> bool {
    if switch.lease() == NEVER {
        return true;
    }
    if has_run_out(now, switch.lease()) {
        return false;
    }
    switch.set_lease(now.boot.saturating_add(length));
    true
}

/// Whether a lease has run out.
pub(crate) fn has_run_out(now: Now, lease: Time) -> bool {
    now.boot >= lease
}
