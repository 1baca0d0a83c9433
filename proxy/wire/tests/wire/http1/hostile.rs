//! Peers that are not well.
