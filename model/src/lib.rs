//! Every state that a small cluster of raft-core can reach, one after the other.
//!
//! The nodes are values of the shipped [`raft_core::Raft`]; the network, the disks and the clock are this
//! crate's, and do at every moment whatever they may: so each state has many successors, and all of them are
//! visited, breadth first, up to the bounds of a [`Configuration`]. After every step the properties of
//! `history` are checked. It uses raft-core and std alone, and must never know how a driver of raft-core is
//! written. `docs/model-checking.rst` says what was explored, and what that does not show.

mod action;
mod bounds;
mod configurations;
mod disk;
mod explore;
mod history;
mod network;
mod node;
mod promises;
mod state;
mod step;
mod symmetry;
mod world;

pub use action::Action;
pub use bounds::{Bounds, Change, DiskSpeed};
pub use configurations::{Configuration, configurations};
pub use explore::{Counterexample, Ending, Limits, Report, explore};
pub use history::Violation;
