//! `ticketd start`: founds a cluster with one member.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use raft_core::{
    HardState, Incarnation, LogIndex, Member, Membership, NodeId, Peer, Snapshot, Suffrage, Term,
};

use super::Failure;
use super::doomed::Doomed;
use super::new_store::{destroy_in_the_way, expect_apart, required_id};
use super::random::random_u128;
use super::serving::launch::{Launch, refuse_running};
use super::serving::listen;
use super::serving::serve::{after_serving, get_ready};
use crate::advice::path_flag;
use crate::cli::{FIRST_ID_DEFAULT, Flags};
use crate::identity::{ClusterId, Identity, Standing};
use crate::node;
use crate::settings::Settings;
use crate::storage::{self, NewStore, Store, StoreError};

/// The index and the term of the snapshot that a cluster begins with: as if a first leader had been elected,
/// had committed the membership, and were gone.
const FIRST_INDEX: LogIndex = LogIndex(1);
const FIRST_TERM: Term = Term(1);

/// Creates the store of a new cluster's first member, and serves.
///
/// # Errors
/// [`Failure`]. If it comes before the store is created, there may be none at the path any more: `--force`
/// destroys the one that was there. Once created, the store stays, and a failure before the node listens says
/// so: it is not destroyed here, because after this process has released it, nothing keeps another process
/// from serving with it.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let id = required_id(flags, "ticketd start --id 1")?;
    let mut settings = Settings::default().with(&flags.serving.changes())?;
    expect_apart(flags)?;
    let launch = Launch::prepare(flags)?;
    refuse_running(flags.path())?;
    let bound = listen::bind(&mut settings)?;

    let me = Peer { id, incarnation: Incarnation(random_u128()?) };
    let cluster = ClusterId(random_u128()?);
    let identity = Identity { me, standing: Standing::Member { cluster, joined_at: FIRST_INDEX } };
    let hard_state = HardState { current_term: FIRST_TERM, voted_for: None };
    let first_id = flags.first_id.unwrap_or(FIRST_ID_DEFAULT);
    let snapshot = first_snapshot(me, &settings, first_id);

    destroy_in_the_way(flags, &launch, |doomed| expect_first_id(flags, doomed))?;
    let new = NewStore {
        identity: &identity,
        settings: &settings.to_pairs(),
        map_bytes: settings.db_size_bytes(),
        hard_state,
        snapshot: Some(&snapshot),
    };
    let store = Store::create(flags.path(), &new).map_err(|error| not_made(error, flags.path()))?;
    log::info!("founded cluster {cluster} with node {id} as its only member; its first ID is {first_id}");
    let ready = get_ready(store, bound, &settings, launch).map_err(|failure| made(&failure, flags.path()))?;
    // If the node fails later, its failure says what to do: the store may be lost, and another in its place.
    after_serving(ready.serve()?, flags.path(), id)
}

/// The store of a cluster's only member knows up to where IDs were handed out. If it is damaged, nobody does
/// but the operator.
fn expect_first_id(flags: &Flags, doomed: &Doomed) -> Result<(), Failure> {
    match doomed {
        Doomed::Damaged(path) if flags.first_id.is_none() => Err(Failure::runtime(format!(
            "the store at {} is damaged and cannot say which IDs were handed out, and nothing has changed: \
             give a --first_id above all of them, or the new cluster hands them out again",
            path.display()
        ))),
        Doomed::Sound(_) | Doomed::Outdated(_) | Doomed::Unfinished(_) | Doomed::Damaged(_) => Ok(()),
    }
}

/// The last steps of creating a store can fail when the store is already whole.
fn not_made(error: StoreError, path: &Path) -> Failure {
    let of_another = matches!(error, StoreError::Exists { .. } | StoreError::InUse { .. });
    let failure = Failure::from(error);
    if !of_another && storage::is_there(path) { made(&failure, path) } else { failure }
}

/// Otherwise the operator would run the same command again, and be refused.
fn made(failure: &Failure, path: &Path) -> Failure {
    let shown = path.display();
    failure.adding(&format!("the store at {shown} is made: go on with 'ticketd {}'", path_flag(path)))
}

fn first_snapshot(me: Peer, settings: &Settings, first_id: NonZeroU64) -> Snapshot {
    let member = Member {
        incarnation: me.incarnation,
        suffrage: Suffrage::Voter,
        peer_address: settings.peer_address().to_string(),
        client_address: settings.client_address().to_string(),
    };
    let members = std::collections::BTreeMap::<NodeId, Member>::from([(me.id, member)]);
    Snapshot {
        last_included_index: FIRST_INDEX,
        last_included_term: FIRST_TERM,
        membership: Arc::new(Membership { members }),
        state: node::initial_state(first_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_begins_with_one_voter_at_the_addresses_that_others_can_use() {
        let me = Peer { id: NodeId::new(7).unwrap(), incarnation: Incarnation(8) };
        let settings = Settings {
            hosts: vec!["0.0.0.0".parse().unwrap()],
            advertise: Some("::1".parse().unwrap()),
            ..Settings::default()
        };
        let snapshot = first_snapshot(me, &settings, FIRST_ID_DEFAULT);
        assert_eq!(snapshot.membership.voters().collect::<Vec<_>>(), [me.id]);
        assert!(snapshot.membership.contains(me));
        let member = &snapshot.membership.members[&me.id];
        assert_eq!(member.peer_address, "[::1]:9000");
        assert_eq!(member.client_address, "[::1]:8000");
        assert_eq!(snapshot.last_included_index, LogIndex(1));
        assert_eq!(snapshot.state, node::initial_state(FIRST_ID_DEFAULT));
    }
}
