#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acts;
mod live;
mod observe;
mod random;
mod real;
mod selection;
mod support;
