//! `ticketd verify`: reads a stopped node's whole store and says whether it is sound.
//!
//! The reading is done in a child process, because a damaged page can end the process that reads it; a start
//! does the same. The child must therefore say what it finds in one line on standard error, and nothing else
//! there.

use super::{Failure, say};
use crate::cli::Flags;
use crate::node;
use crate::server::ServerError;
use crate::storage::{self, Findings};

/// Prints what the store holds.
///
/// # Errors
/// [`Failure`] with the first thing found wrong.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let findings = match flags.in_child {
        Some(parent) => {
            storage::end_with_parent(parent);
            report(&storage::verify(flags.path())?)?
        }
        None => storage::verify_in_child(flags.path())?,
    };
    say(findings.trim_end())
}

/// What the store holds, and up to where it reserves IDs: whoever has lost a majority for good has to know.
fn report(findings: &Findings) -> Result<String, Failure> {
    let next = node::next_unreserved(&findings.recovered).map_err(ServerError::State)?;
    Ok(format!("{findings}\nno ID from {next} on is reserved by its log\n"))
}
