//! Raft as a pure state machine.
//!
//! Floor 1 of ticketd: it uses nothing but `alloc`. It has no clock, no threads, no I/O, and no randomness
//! but a seed: the same inputs give the same outputs, byte for byte. It must never know what is replicated
//! (a command is bytes), how messages travel, or how a disk is written.
//!
//! ```text
//! raft.step(now, input);
//! while let Some(output) = raft.poll_output() { carry out }
//! sleep until raft.deadline()
//! ```
//!
//! Persistence is asynchronous: the core emits a [`Write`] and goes on. It withholds every message that
//! promises that the write is durable until the driver reports that it is. No driver can get that order
//! wrong.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

// Values: messages, state, inputs and outputs.
mod config;
mod io;
mod log;
mod membership;
mod message;
mod types;

// The node and its parts.
mod admission;
mod catch_up;
mod election;
mod lease;
mod membership_change;
mod muted;
mod pauses;
mod persistence;
mod progress;
mod proposals;
mod quick_failover;
mod quorum;
mod raft;
mod read_index;
mod replication;
mod rng;
mod roles;
mod rounds;
mod stalled_disk;
mod stuck_leader;
mod thrifty_rounds;

// One module for each RPC, receiver and sender.
mod append_entries;
mod heartbeat;
mod install_snapshot;
mod leadership_transfer;
mod pre_vote;
mod request_vote;

// For simulators, model checkers and tests: the core uses neither.
mod durable;
mod fingerprint;

#[cfg(test)]
mod testing;

pub use admission::{INDEX_MAX, TERM_MAX};
pub use config::*;
pub use durable::Durable;
pub use io::*;
pub use log::{Entry, Payload, Snapshot};
pub use membership::*;
pub use message::*;
pub use raft::Raft;
pub use rng::SplitMix64;
pub use types::*;
