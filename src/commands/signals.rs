//! Signals that must not end a process of this program, whichever command it runs. Those that ask a node to
//! stop are the server's.

use std::io;
use std::sync::Arc;

use signal_hook::consts::{SIGCHLD, SIGXFSZ};
use signal_hook::flag;

use super::Failure;
use crate::advice::about_refusal;

/// Lets this process wait for its children. If it was started with SIGCHLD ignored, the system forgets a
/// child that ends and says that it never existed (wait(2)).
///
/// # Errors
/// The system refuses a handler.
pub(super) fn keep_ended_children() -> io::Result<()> {
    // Any handler will do, and no child inherits it.
    flag::register(SIGCHLD, Arc::default()).map(|_| ())
}

/// From now on, a write beyond the limit on file size (`ulimit -f`) fails like a write to a full disk. It
/// would end this process, which could not say why.
///
/// # Errors
/// The system refuses a handler.
pub(super) fn outlive_file_size_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(|_| ())
}

/// The system refuses a handler.
pub(super) fn cannot_be_handled(error: &io::Error) -> Failure {
    let remedy = about_refusal(error);
    Failure::runtime(format!("cannot handle signals ({error}): {remedy}"))
}
