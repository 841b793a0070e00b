//! `ticketd verify`: reads a stopped node's whole store and says whether it is sound.
//!
//! The reading is done in a child process, because a damaged page can end the process that reads it; a start
//! does the same. The child must therefore say what it finds in one line on standard error, and nothing else
//! there.

use super::{Failure, say};
use crate::cli::Flags;
use crate::storage;

/// Prints what the store holds.
///
/// # Errors
/// [`Failure`] with the first thing found wrong.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let findings = match flags.in_child {
        Some(parent) => {
            storage::end_with_parent(parent);
            storage::verify(flags.path())?.to_string()
        }
        None => storage::verify_in_child(flags.path())?,
    };
    say(findings.trim_end())
}
