//! What an experiment must have and who must agree before it starts; who is let in at all.

mod approvals;
mod certificates;
mod clear;
mod drift;
mod golden;
mod ladder;
mod places;
mod several;
mod support;
