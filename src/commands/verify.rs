//! `ticketd verify`: reads a stopped node's whole store and says whether it is sound.
//!
//! Also what a start runs in a child process, because a damaged page can end the process that reads it. It must
//! therefore say what it finds in one line on standard error, and nothing else there.

use super::Failure;
use crate::cli::Flags;
use crate::storage;

/// Prints what the store holds.
///
/// # Errors
/// [`Failure`] with the first thing found wrong.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let findings = storage::verify(flags.path())?;
    println!("{}", findings.to_string().trim_end());
    Ok(())
}
