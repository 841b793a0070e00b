//! `ticketd` without a subcommand: a node continues with its store.

use super::Failure;
use super::serving::launch::{Checked, Launch, refuse_running};
use super::serving::listen;
use super::serving::serve::{after_serving, get_ready};
use crate::cli::Flags;
use crate::identity::Standing;
use crate::settings::Settings;
use crate::storage::Store;

/// Checks the store, and serves with the stored settings, as changed by the flags.
///
/// # Errors
/// [`Failure`]. Nothing has changed if the settings make no sense or a port cannot be had; what is found only
/// once the node listens, or while it serves, comes after the new settings have been stored.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let path = flags.path();
    let shown = path.display();
    let launch = Launch::prepare(flags)?;
    refuse_running(path)?;
    if launch.check(path)? == Checked::StoppedMeanwhile {
        return Ok(());
    }
    let mut store = Store::open(path)?;
    match store.identity().standing {
        Standing::Member { .. } => (),
        Standing::Joining => {
            return Err(Failure::runtime(format!(
                "the join of the store at {shown} did not finish: run the 'ticketd join' command again"
            )));
        }
    }
    let id = store.identity().me.id;
    let stored = Settings::from_pairs(store.settings())?;
    let mut settings = stored.clone().with(&flags.serving.changes())?;
    // The other members look for it at the old address, and it does not know theirs.
    if settings.peer_address() != stored.peer_address() && store.knows_nobody() {
        return Err(Failure::runtime(format!(
            "the node of the store at {shown} has not heard from its cluster yet, and cannot tell it of \
             another address: run the 'ticketd join' command again"
        )));
    }
    // Before the wait: an operator who chose a port that is taken need not wait to be told so.
    let bound = listen::bind(&mut settings)?;
    if launch.sit_out_promises(&stored, &settings).is_err() {
        return Ok(());
    }

    // Even if no flag changes it: a restart with another size may have been killed in between these two.
    store.resize(settings.db_size_bytes())?;
    let pairs = settings.to_pairs();
    if store.settings() != pairs.as_slice() {
        store.set_settings(&pairs)?;
    }
    after_serving(get_ready(store, bound, &settings, launch)?.serve()?, path, id)
}
