//! `ticketd drop`: destroys the store of a stopped node without asking the cluster.

use std::io;
use std::path::Path;

use raft_core::{Membership, Peer, Recovered};

use super::serve::refuse_running;
use super::{Failure, print, say};
use crate::cli::Flags;
use crate::node;
use crate::storage::{self, Prospect, Store, StoreError};

/// Destroys a sound store; with `--force`, any store.
///
/// # Errors
/// [`Failure`]; the store, or what is left of it, is still there then.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let path = flags.path();
    let known = if flags.force { None } else { read_owner(path)? };
    if let Some(line) = known.as_ref().and_then(Known::last_words) {
        say_first(&line)?;
    }
    storage::destroy(path)?;
    say(&format!("the store at {} is destroyed", path.display()))
}

/// Says what only the store knows, while it is there: this process may be killed at any moment, and a disk
/// may fail when part of the store is gone.
fn say_first(line: &str) -> Result<(), Failure> {
    print(&format!("{line}\n")).map_err(|error| cannot_say_first("standard output", &error))
}

/// The store is not destroyed, because what only it knows cannot be written there.
pub(super) fn cannot_say_first(place: &str, error: &io::Error) -> Failure {
    Failure::runtime(format!(
        "cannot write to {place} ({error}), where this command says what only the store knows: nothing has \
         changed"
    ))
}

/// What a store says of the node that it belonged to.
struct Known {
    me: Peer,
    /// The last one that the node knew.
    membership: Membership,
    recovered: Recovered,
}

impl Known {
    fn last_words(&self) -> Option<String> {
        let Known { me, membership, recovered } = self;
        left_behind(*me, membership).or_else(|| lost(*me, membership, recovered))
    }
}

/// What must be known elsewhere, or by a later cluster, once the store at this path is destroyed, and only
/// this store knows; `None` also if it cannot be read.
pub(super) fn last_words(path: &Path) -> Option<String> {
    read_owner(path).ok().flatten().as_ref().and_then(Known::last_words)
}

fn is_alone(me: Peer, membership: &Membership) -> bool {
    membership.members.keys().eq([&me.id])
}

/// From where on a cluster has to begin that follows the one whose only store is destroyed: nothing else
/// knows that any more.
fn lost(me: Peer, membership: &Membership, recovered: &Recovered) -> Option<String> {
    if !is_alone(me, membership) || !membership.contains(me) {
        return None;
    }
    // At 2^64-1 there are no more IDs, and no cluster can begin there.
    let next = node::next_unreserved(recovered).ok().filter(|next| *next < u64::MAX)?;
    Some(format!(
        "the cluster of node {} has no other member, and handed out no ID from {next} on: a cluster that is \
         to take its place needs 'ticketd start --first_id {next}', or it hands out the same IDs again",
        me.id
    ))
}

/// What to do elsewhere if other nodes may still count the node whose store is destroyed as a member. Its id
/// may have been given to a new node since, which must not be removed in its place.
fn left_behind(me: Peer, membership: &Membership) -> Option<String> {
    let Peer { id, incarnation } = me;
    // A node that has not heard from its cluster yet may have been taken in nevertheless.
    let may_count = membership.members.is_empty() || membership.contains(me);
    (may_count && !is_alone(me, membership)).then(|| {
        format!(
            "node {id} may still be a member of its cluster: if 'ticketd status --json' at a member shows id \
             {id} with incarnation {incarnation}, remove it there with 'ticketd leave --id {id}'; if with \
             another incarnation, that is a new node, and not the one whose store this is"
        )
    })
}

/// The node whose store is about to be destroyed; `None` if the store was never finished. A store that cannot
/// be read is refused: it may still be needed to find out why.
fn read_owner(path: &Path) -> Result<Option<Known>, Failure> {
    refuse_running(path)?;
    let outcome = match storage::verify_in_child(path) {
        Ok(_) => Store::open(path),
        // The child has survived, so this process will too, and learns what kind of error it is.
        Err(found @ StoreError::CheckFailed { .. }) => Store::open(path).and(Err(found)),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(store) => Ok(Some(Known {
            me: store.identity().me,
            membership: store.latest_membership(),
            recovered: store.recovered(),
        })),
        // The store never took part in anything.
        Err(StoreError::Interrupted { .. }) => Ok(None),
        Err(
            error @ (StoreError::NotFound { .. }
            | StoreError::NotADirectory { .. }
            | StoreError::ForeignFiles { .. }
            | StoreError::Denied { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::InUse { .. }),
        ) => Err(error.into()),
        Err(error) => {
            let hopeless = error.prospect() == Prospect::Hopeless;
            let failure = Failure::from(error);
            Err(if hopeless { failure.and("'ticketd drop --force' destroys it as it is") } else { failure })
        }
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Incarnation, Member, NodeId, Suffrage};

    use super::*;

    fn membership(of: &[(u64, u128)]) -> Membership {
        let member = |incarnation| Member {
            incarnation: Incarnation(incarnation),
            suffrage: Suffrage::Voter,
            peer_address: "h:1".to_owned(),
            client_address: "h:2".to_owned(),
        };
        let members =
            of.iter().map(|&(id, incarnation)| (NodeId::new(id).unwrap(), member(incarnation))).collect();
        Membership { members }
    }

    #[test]
    fn a_member_that_may_be_counted_is_named_with_what_tells_it_from_a_new_node_of_its_number() {
        let me = Peer { id: NodeId::new(3).unwrap(), incarnation: Incarnation(255) };
        for counted in [&[(1, 1), (3, 255)][..], &[]] {
            let said = left_behind(me, &membership(counted)).unwrap();
            assert!(said.contains("incarnation 000000000000000000000000000000ff"), "{said}");
            assert!(said.contains("'ticketd leave --id 3'"), "{said}");
        }
    }

    #[test]
    fn nobody_is_told_to_remove_a_node_that_is_gone_or_was_alone() {
        let me = Peer { id: NodeId::new(3).unwrap(), incarnation: Incarnation(255) };
        for others in [&[(1, 1)][..], &[(1, 1), (3, 256)], &[(3, 255)]] {
            assert_eq!(left_behind(me, &membership(others)), None, "{others:?}");
        }
    }
}
