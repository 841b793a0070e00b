//! How a process becomes a node: what `start`, `join` and the restart share once there is a store.

pub(super) mod daemonize;
mod file_id;
pub(super) mod launch;
pub(super) mod listen;
pub(super) mod pid_file;
pub(super) mod serve;
