//! The commands: `start`, `join`, `restart`, `leave`, `drop`, `status`, `transfer` and `verify`. A command
//! checks first, says what is wrong and what to do about it, and only then changes anything.
//!
//! How commands ask a cluster is in `admin`, how a process becomes a node in `serving`. A store comes with
//! `new_store` and goes with `doomed`. The rest is what any command may need.
//!
//! Floor 5: uses everything below. It must never decide anything that a cluster has to agree on.

mod admin;
mod doomed;
mod drop;
mod failure;
mod join;
mod leave;
mod new_store;
mod output;
mod patience;
mod random;
mod restart;
mod serving;
mod signals;
mod start;
mod status;
#[cfg(test)]
mod testing;
mod transfer;
mod verify;

pub use self::failure::Failure;
pub use self::output::print;
use crate::cli::{Cli, Command};
use crate::server::hold_stop_signals;

/// What helps where the cluster has given no answer in time: most often too few voters are up.
const WHO_IS_UP: &str = "'ticketd status' shows who votes and is up";

/// Runs the command that the command line asks for.
///
/// # Errors
/// [`Failure`], with the line to print and the exit status.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let Cli { command, flags } = cli;
    // Needed for the process in the background, and for the one that checks a store.
    signals::keep_ended_children()
        .and_then(|()| signals::outlive_file_size_limit())
        .map_err(|error| signals::cannot_be_handled(&error))?;
    if flags.in_background {
        serving::daemonize::expect_parent()?;
    } else if flags.serving.daemonize {
        return serving::daemonize::launch();
    }
    match command {
        None => restart::run(flags),
        Some(Command::Start) => start::run(flags),
        Some(Command::Join { members }) => join::run(flags, members),
        Some(Command::Leave) => leave::run(flags),
        Some(Command::Drop) => drop::run(flags),
        Some(Command::Status) => status::run(flags),
        Some(Command::Transfer) => transfer::run(flags),
        Some(Command::Verify) => verify::run(flags),
    }
}

/// Before any thread is started: no request to stop gets lost while this process becomes a node. Another
/// command just ends.
///
/// # Errors
/// [`Failure`] if the operating system refuses.
pub fn hold_requests_to_stop(cli: &Cli) -> Result<(), Failure> {
    if !serves(cli) {
        return Ok(());
    }
    hold_stop_signals().map_err(|error| signals::cannot_be_handled(&error))
}

/// Whether this process is to become a node.
#[must_use]
pub fn serves(cli: &Cli) -> bool {
    let Cli { command, flags } = cli;
    let is_of_a_node = match command {
        None | Some(Command::Start | Command::Join { .. }) => true,
        Some(Command::Leave | Command::Drop | Command::Status | Command::Transfer | Command::Verify) => false,
    };
    is_of_a_node && (flags.in_background || !flags.serving.daemonize)
}
