//! Raft as a pure state machine.
//!
//! Floor 1 of ticketd: it uses nothing but `alloc`. It has no clock, no randomness but a seed, no threads and
//! no I/O; the same inputs give the same outputs, byte for byte. It must never know what is replicated (a
//! command is bytes), how messages travel, or how a disk is written.
//!
//! ```text
//! raft.step(now, input);
//! while let Some(output) = raft.poll_output() { carry out }
//! sleep until raft.deadline()
//! ```
//!
//! Persistence is asynchronous: a [`Write`] goes out, the core goes on, and whatever promises that the write is
//! durable is withheld in here until the driver says that it is. No driver can get that order wrong.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod io;
mod log;
mod membership;
mod message;
mod types;

pub use config::*;
pub use io::*;
pub use log::{Entry, Payload, Snapshot};
pub use membership::*;
pub use message::*;
pub use types::*;
