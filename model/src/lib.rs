//! Explores every state that a small cluster of raft-core can reach.
//!
//! The nodes are values of the shipped [`raft_core::Raft`]. The network, the disks and the clock belong to
//! this crate, and may at every moment do anything that is possible, so each state has many successors. All
//! of them are visited, breadth first, up to the bounds of a [`Configuration`]. After every step the
//! properties of `history` are checked. This crate uses only raft-core and std, and must never know how a
//! driver of raft-core is written. `docs/model-checking.rst` says what was explored, and what that does not
//! show.

mod action;
mod bounds;
mod configurations;
mod disk;
mod durable;
mod explore;
mod history;
mod interned;
mod network;
mod node;
mod state;
mod step;
mod symmetry;
mod violation;
mod world;

pub use action::Action;
pub use bounds::{Bounds, Change, DiskSpeed};
pub use configurations::{Configuration, configurations};
pub use explore::{Counterexample, Ending, Limits, Report, explore};
pub use violation::Violation;
