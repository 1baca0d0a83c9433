//! HTTP on the wire: what becomes bytes, and what bytes become.

#[allow(dead_code, unused_imports)] // until the pump speaks HTTP
pub(crate) mod h1;
