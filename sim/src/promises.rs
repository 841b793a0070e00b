//! Checks that no promise is made before it is durable: what a message promises is on its sender's disk when
//! the message leaves.

use raft_core::{Durable, Entry, LogIndex, Membership, Message, Payload, Peer, Raft, Role, Term};

use crate::disk::Disk;
use crate::violated;

/// Checks a message that a node with this disk sends to `to`.
pub(crate) fn check(raft: &Raft, to: Peer, message: &Message, disk: &Disk) {
    if let Err(broken) = Durable::from(&disk.written).check_message(raft, to, message) {
        violated!("{broken}");
    }
}

/// Checks a node that leads in `term`: its own vote of that term must be on its disk.
pub(crate) fn check_leader(me: Peer, term: Term, disk: &Disk) {
    if let Err(broken) = Durable::from(&disk.written).check_leader(me, term) {
        violated!("{broken}");
    }
}

/// Whether a majority of these voters has the entry of this leader's term at `index` on disk. `disk_of`
/// returns the disk of a member in the life that the membership names, even if that disk has been wiped
/// since: what its owner had said was true.
pub(crate) fn is_on_a_majority<'a>(
    raft: &Raft,
    membership: &Membership,
    index: LogIndex,
    disk_of: impl Fn(Peer) -> Option<&'a Disk>,
) -> bool {
    let term = raft.current_term();
    let durable = membership
        .voters()
        .filter_map(|id| membership.peer(id))
        .filter(|peer| disk_of(*peer).is_some_and(|disk| disk.holds(index, term)));
    durable.count() >= membership.quorum()
}

/// A leader changes the membership one step at a time, and only once it has committed an entry of its own
/// term (dissertation §4.1, and its correction of July 2015). What is committed by now was committed no later
/// than now.
pub(crate) fn check_membership_changes(raft: &Raft, written: &[Entry]) {
    let (me, term, commit_index) = (raft.me(), raft.current_term(), raft.commit_index());
    let is_change = |entry: &Entry| matches!(entry.payload, Payload::Membership(_));
    if raft.role() != Role::Leader {
        return;
    }
    for change in written.iter().filter(|entry| entry.term == term && is_change(entry)) {
        let mut before = (commit_index.0 + 1..change.index.0).filter_map(|index| raft.entry(LogIndex(index)));
        if let Some(other) = before.find(|entry| is_change(entry)) {
            violated!("{me} changes the membership at {}, before {} is committed", change.index, other.index);
        }
        let committed = raft.entry(commit_index).map(|entry| entry.term);
        if committed.is_some_and(|committed| committed != term) {
            violated!(
                "{me} changes the membership at {} before it has committed in term {term}",
                change.index
            );
        }
    }
}
