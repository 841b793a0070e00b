//! `ticketd drop`: destroys the store of a stopped node without asking the cluster.

use std::path::Path;

use super::Failure;
use super::doomed::{Doomed, cannot_say_first, forced_drop};
use super::output::{print_to_reader, say};
use super::serving::launch::refuse_running;
use crate::cli::Flags;
use crate::storage::{self, Restart};

/// Destroys a sound store; with `--force`, any store.
///
/// # Errors
/// [`Failure`]; the store, or what is left of it, is still there then.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let path = flags.path();
    if flags.force {
        storage::destroy(path)?;
    } else {
        let doomed = open(path)?;
        if let Some(notice) = doomed.final_notice() {
            print_to_reader(&format!("{notice}\n"))
                .map_err(|error| cannot_say_first("standard output", &error))?;
        }
        doomed.destroy()?;
    }
    say(&format!("the store at {} is destroyed", path.display()))
}

/// Opens a store that is about to be destroyed. One that cannot be read is refused: it may still be needed to
/// find out why.
fn open(path: &Path) -> Result<Doomed, Failure> {
    refuse_running(path)?;
    Doomed::open(path, storage::verify_in_child(path)).map_err(|error| {
        let permanent = error.restart() == Restart::CannotHelp;
        let failure = Failure::from(error);
        if permanent { failure.adding(&forced_drop(path)) } else { failure }
    })
}
