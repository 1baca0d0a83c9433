//! squall's model: faults, plans, the chain engine and the language. No I/O, no clock of its own.

pub mod bucket;
pub mod cell;
pub mod chain;
pub mod config;
pub mod curve;
pub mod diagnostic;
pub mod dist;
pub mod draw;
pub mod fault;
pub mod groups;
pub mod limits;
pub mod matcher;
pub mod observe;
pub mod parse;
pub mod plan;
pub mod plane;
pub mod preset;
pub mod preview;
pub mod read;
pub mod scenario;
pub mod schema;
pub mod select;
pub mod time;
pub mod unit;
pub mod way;
pub mod window;
