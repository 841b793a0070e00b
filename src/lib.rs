//! ticketd: unique, strictly increasing 64-bit integers over HTTP, replicated by Raft.
//!
//! A module uses only the floors below its own; on floors 2 and 5 it may use its neighbours as well:
//!
//! ```text
//! 5  main, cli, commands      what a person types
//!    logging                  the log
//! 4  server                   the event loop: the only place where sockets, timers and the node meet
//! 3  http | peer | storage | log_writer | procfs
//!                             five ways out of the process; none knows the others, none knows the server
//! 2  node, codec, identity, settings, redirect_status, address, histogram, advice
//!                             pure: Raft and the counter; the encoding of their values; a node's identity,
//!                             settings and addresses; what the operator is told to do
//! 1  raft-core                pure: the Raft state machine, a crate of its own
//! ```

pub mod address;
pub mod advice;
pub mod cli;
pub mod codec;
pub mod commands;
pub mod histogram;
pub mod http;
pub mod identity;
pub mod log_writer;
pub mod logging;
pub mod node;
pub mod peer;
pub mod procfs;
pub mod redirect_status;
pub mod server;
pub mod settings;
pub mod storage;
