//! The commands, one file for each. A command checks first, says what is wrong and what to do about it, and
//! only then changes anything.
//!
//! Floor 5: uses everything below. It must never decide anything that a cluster has to agree on.

mod admin_client;
mod backoff;
mod cluster_view;
mod contacts;
mod daemonize;
mod doomed;
mod drop;
mod exchange;
mod failure;
mod join;
mod leave;
mod listen;
mod new_store;
mod patience;
mod pid_file;
mod random;
mod reach;
mod restart;
mod serve;
mod start;
mod status;
#[cfg(test)]
mod testing;
mod transfer;
mod verify;

use std::io::{self, Write};
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use raft_core::NodeId;

pub use self::failure::Failure;
use crate::advice::{about_refusal, path_flag};
use crate::cli::{Cli, Command};
use crate::server::{hold_stop_signals, keep_ended_children, outlive_file_size_limit};
use crate::storage;

/// What helps where the cluster has given no answer in time: most often too few voters are up.
const WHO_IS_UP: &str = "'ticketd status' shows who votes and is up";

/// How long the first process of a container waits for a 'ticketd leave' to destroy the store, and how often
/// it looks.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
const LEAVE_TICK: Duration = Duration::from_millis(10);

/// How long that command may then take to say so.
const LAST_WORDS_PATIENCE: Duration = Duration::from_millis(200);

/// Runs the command that the command line asks for.
///
/// # Errors
/// [`Failure`], with the line to print and the exit status.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let Cli { command, flags } = cli;
    // Needed for the process in the background, and for the one that checks a store.
    keep_ended_children()
        .and_then(|()| outlive_file_size_limit())
        .map_err(|error| cannot_handle_signals(&error))?;
    if flags.in_background {
        daemonize::expect_parent()?;
    } else if flags.serving.daemonize {
        return daemonize::launch();
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
    hold_stop_signals().map_err(|error| cannot_handle_signals(&error))
}

fn cannot_handle_signals(error: &io::Error) -> Failure {
    let remedy = about_refusal(error);
    Failure::runtime(format!("cannot handle signals ({error}): {remedy}"))
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

/// Prints text to standard output. A reader that has closed it, such as `head`, is not an error.
///
/// # Errors
/// If standard output cannot be written, as on a full disk.
pub fn print(text: &str) -> io::Result<()> {
    match print_to_reader(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints text that somebody must get.
///
/// # Errors
/// As [`print()`], and if nobody reads standard output any more.
fn print_to_reader(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints lines; the last one needs no newline.
///
/// # Errors
/// As [`print()`].
fn say(lines: &str) -> Result<(), Failure> {
    print(&format!("{lines}\n")).map_err(|error| {
        Failure::runtime(format!("cannot write to standard output ({error}); the command itself was done"))
    })
}

/// The outcome of a node that has served. One that was removed while it ran has done what it was asked to do;
/// one that had been removed before it started was started in vain.
fn after_serving(ended: serve::Ended, path: &Path, id: NodeId) -> Result<(), Failure> {
    let path_flag = path_flag(path);
    match ended {
        serve::Ended::Stopped => {
            log::info!("node {id} has stopped, and its store at {} is closed", path.display());
            Ok(())
        }
        serve::Ended::Removed => {
            if process::id() == 1 {
                await_leave(path);
            }
            log::info!(
                "node {id} has left its cluster, and its store is no longer of use: a 'ticketd leave' given \
                 here destroys it; if the node was removed from elsewhere, 'ticketd drop {path_flag}' does"
            );
            Ok(())
        }
        serve::Ended::RemovedBefore => Err(Failure::permanent(format!(
            "node {id} has been removed from its cluster: destroy its store with 'ticketd drop {path_flag}', \
             and 'ticketd join' if it is to come back"
        ))),
    }
}

/// The end of the first process of a container ends all others there: a 'ticketd leave' that was given there,
/// and waits for this process to release the store, would not come to destroy it.
fn await_leave(path: &Path) {
    let begun = Instant::now();
    while begun.elapsed() < LEAVE_PATIENCE {
        if !storage::is_there(path) {
            return thread::sleep(LAST_WORDS_PATIENCE);
        }
        thread::sleep(LEAVE_TICK);
    }
}
