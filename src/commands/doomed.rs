//! A store that is about to be destroyed.
//!
//! What only it knows must be said first, while it is there: the process may be killed at any moment, and a
//! disk may fail when part of the store is gone. From then on no other process may use it, or more would be
//! lost than was said; so it stays open, and locked, in between.

use std::io;
use std::path::{Path, PathBuf};

use raft_core::{Membership, Peer, Recovered};
use rustix::process::Signal;

use super::Failure;
use crate::advice::path_flag;
use crate::node;
use crate::storage::{self, Store, StoreError};

/// A store that is about to be destroyed.
#[derive(Debug)]
pub(super) enum Doomed {
    /// It is sound, and open.
    Sound(Box<Store>),
    /// It is open, and lacks what its node acknowledged, as an earlier copy does.
    Outdated(Box<Store>),
    /// It never took part in anything.
    Unfinished(PathBuf),
    /// Nothing can be learnt from it any more.
    Damaged(PathBuf),
}

impl Doomed {
    /// Opens the store at `path`, after a check of it with this outcome.
    ///
    /// # Errors
    /// What was found, or what keeps the store from being opened.
    pub(super) fn open<T>(path: &Path, checked: Result<T, StoreError>) -> Result<Doomed, StoreError> {
        let opened = match checked {
            Ok(_) => Store::open(path),
            // The child has survived, so this process will too, and learns what kind of error it is.
            Err(found @ StoreError::CheckFailed { .. }) => Store::open(path).and(Err(found)),
            Err(error) => Err(error),
        };
        match opened {
            Ok(store) => Ok(Doomed::Sound(Box::new(store))),
            Err(StoreError::Interrupted { .. }) => Ok(Doomed::Unfinished(path.to_owned())),
            Err(error) => Err(error),
        }
    }

    /// The same for a store that is to go although no node can have it.
    ///
    /// # Errors
    /// Those that leave it open what the store holds: a later attempt, or another version, may read it.
    pub(super) fn open_unsound<T>(path: &Path, checked: Result<T, StoreError>) -> Result<Doomed, StoreError> {
        match Doomed::open(path, checked) {
            Err(StoreError::EntriesLost { .. }) => {
                Store::open_outdated(path).map(|store| Doomed::Outdated(Box::new(store)))
            }
            // A disk that cannot be read has killed the check: it may be read again.
            Err(error @ StoreError::CheckDied { signal, .. }) if signal == Signal::BUS.as_raw() => Err(error),
            // Nobody will ever learn from it what it holds.
            Err(StoreError::Damaged { .. } | StoreError::CheckDied { .. }) => {
                Ok(Doomed::Damaged(path.to_owned()))
            }
            opened => opened,
        }
    }

    /// What must be known elsewhere, or by a later cluster, once the store is destroyed, and only this store
    /// knows.
    pub(super) fn final_notice(&self) -> Option<String> {
        match self {
            Doomed::Sound(store) => {
                let (me, membership) = (store.identity().me, store.latest_membership());
                left_behind(me, &membership).or_else(|| lost(me, &membership, &store.recovered()))
            }
            // Its membership may be outdated too: there was a leader that counted the node as a member.
            Doomed::Outdated(store) => Some(still_counted(store.identity().me)),
            Doomed::Unfinished(_) | Doomed::Damaged(_) => None,
        }
    }

    /// Destroys the store.
    ///
    /// # Errors
    /// As [`storage::destroy`].
    pub(super) fn destroy(self) -> Result<(), StoreError> {
        match self {
            Doomed::Sound(store) | Doomed::Outdated(store) => store.destroy(),
            Doomed::Unfinished(path) | Doomed::Damaged(path) => storage::destroy(&path),
        }
    }
}

/// What destroys a store of which it cannot be known what it holds.
pub(super) fn forced_drop(path: &Path) -> String {
    format!("'ticketd drop --force {}' destroys it as it is", path_flag(path))
}

/// The store is not destroyed, because what only it knows cannot be written there.
pub(super) fn cannot_say_first(place: &str, error: &io::Error) -> Failure {
    Failure::runtime(format!(
        "cannot write to {place} ({error}), where this command says what only the store knows; nothing has \
         changed: run the command again where that can be read"
    ))
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

/// What to do elsewhere if other nodes may still count the node whose store is destroyed as a member.
fn left_behind(me: Peer, membership: &Membership) -> Option<String> {
    // A node that has not heard from its cluster yet may have been taken in nevertheless.
    let may_count = membership.members.is_empty() || membership.contains(me);
    (may_count && !is_alone(me, membership)).then(|| still_counted(me))
}

/// Its id may have been given to a new node since, which must not be removed in its place.
fn still_counted(me: Peer) -> String {
    let Peer { id, incarnation } = me;
    format!(
        "node {id} may still be a member of its cluster: if 'ticketd status --json' at a member shows id \
         {id} with incarnation {incarnation}, remove it there with 'ticketd leave --id {id}'; if with \
         another incarnation, that is a new node, and not the one whose store this is"
    )
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
