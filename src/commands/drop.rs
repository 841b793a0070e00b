//! `ticketd drop`: destroys the store of a stopped node, and asks nobody.

use raft_core::{Membership, NodeId};

use super::contacts::others;
use super::serve::refuse_running;
use super::{Failure, say};
use crate::cli::Flags;
use crate::storage::{self, Store, StoreError};

/// Destroys a sound store; with `--force` any.
///
/// # Errors
/// [`Failure`]; the store is still there then.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let path = flags.path();
    let known = if flags.force { None } else { look(flags)? };
    storage::destroy(path)?;
    say(&format!("the store at {} is destroyed", path.display()))?;
    if let Some((id, membership)) = known
        && membership.members.contains_key(&id)
        && !others(&membership, id).is_empty()
    {
        say(&format!(
            "node {id} is still a member of its cluster, as far as the store knew: remove it there with 'ticketd \
             leave --id {id}'"
        ))?;
    }
    Ok(())
}

/// What is about to be destroyed. A store that can not be read may be wanted by whoever looks into why.
fn look(flags: &Flags) -> Result<Option<(NodeId, Membership)>, Failure> {
    let path = flags.path();
    refuse_running(path)?;
    let outcome = match storage::verify_in_child(path) {
        Ok(_) => Store::open(path),
        // The child has survived, so this process does, and learns what kind of error it is.
        Err(found @ StoreError::CheckFailed { .. }) => Store::open(path).and(Err(found)),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(store) => Ok(Some((store.identity().me.id, store.latest_membership()))),
        // It never took part in anything.
        Err(StoreError::Interrupted { .. }) => Ok(None),
        Err(
            error @ (StoreError::NotFound { .. }
            | StoreError::NotADirectory { .. }
            | StoreError::ForeignFiles { .. }
            | StoreError::Denied { .. }
            | StoreError::InUse { .. }),
        ) => Err(error.into()),
        Err(error) => {
            let line = Failure::from(error);
            Err(Failure::runtime(format!("{line}; 'ticketd drop --force' destroys it as it is")))
        }
    }
}
