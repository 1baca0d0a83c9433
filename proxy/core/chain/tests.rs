#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acts;
mod live;
mod random;
mod selection;
mod support;
