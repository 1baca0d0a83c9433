//! What faults do.
