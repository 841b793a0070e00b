//! `ticketd verify`: reads the whole store of a stopped node and says whether it is sound.
//!
//! The store is read in a child process, because a damaged page can kill the process that reads it; a start
//! does the same. The child must therefore report its finding in one line on standard error, and write
//! nothing else there.

use std::path::Path;

use raft_core::LogIndex;

use super::Failure;
use super::output::say;
use crate::cli::Flags;
use crate::node;
use crate::server::ServerError;
use crate::storage::{self, Findings};

/// Prints what the store holds.
///
/// # Errors
/// [`Failure`] with the first fault found.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let findings = match flags.in_child {
        Some(parent) => {
            storage::end_with_parent(parent);
            report(flags.path(), &storage::verify(flags.path())?)?
        }
        None => storage::verify_in_child(flags.path())?,
    };
    say(findings.trim_end())
}

/// What the store holds, and from where on IDs are not reserved: an operator who has lost a majority for good
/// needs to know.
fn report(path: &Path, findings: &Findings) -> Result<String, Failure> {
    let next = node::next_unreserved(&findings.recovered)
        .map_err(|error| ServerError::State { path: path.to_owned(), error })?;
    let reserves = if findings.recovered.last().0 == LogIndex(0) {
        "its log is empty, and says nothing about which IDs are reserved".to_owned()
    } else {
        format!("no ID from {next} on is reserved by its log")
    };
    Ok(format!("{findings}\n{reserves}\n"))
}
