//! Checks of a node's new state at the end of its turn, before any of its outputs is carried out: what it has
//! become, and what it considers committed, must be on enough disks.

use std::sync::Arc;

use raft_core::{Entry, LogIndex, Membership, Payload, Peer, Raft, Role};
use ticketd::node::Output;

use crate::disk::Disk;
use crate::durable;
use crate::host::slot_of;
use crate::narration::names;
use crate::schedule::Slot;
use crate::violated;
use crate::world::World;

impl World {
    pub(crate) fn check_turn(&mut self, slot: Slot, outputs: &[Output]) {
        let host = &mut self.hosts[slot.at()];
        let Some(process) = host.run.process_mut() else { return };
        let raft = process.node.raft();
        let (seen, commit_index) = (process.commit_seen, raft.commit_index());
        if commit_index < seen {
            violated!("the commit index of {} goes back from {seen} to {commit_index}", host.peer);
        }
        process.commit_seen = commit_index;
        let (mut is_elected, mut has_new_membership) = (false, false);
        for output in outputs {
            match output {
                Output::RoleChanged { role: Role::Leader, term, .. } => {
                    is_elected = true;
                    self.summary.elections += 1;
                    self.oracle.on_leader(raft, host.epoch, *term);
                    durable::check_leader(host.peer, *term, &host.disk);
                }
                Output::MembershipChanged(_) => has_new_membership = true,
                Output::Write(write) => check_membership_changes(raft, &write.entries),
                Output::RoleChanged { .. }
                | Output::Send { .. }
                | Output::Answer { .. }
                | Output::OperationDone { .. }
                | Output::Removed { .. }
                | Output::PeerRemoved(_)
                | Output::EntriesLost { .. }
                | Output::SafetyLost(_)
                | Output::Dropped { .. } => {}
            }
        }
        if commit_index > seen {
            let mut counted_under = vec![Arc::clone(raft.membership())];
            if has_new_membership {
                // The commit may have been counted under the one before it.
                counted_under.push(Arc::clone(raft.committed_membership()));
            }
            self.oracle.on_commit(raft, seen, commit_index);
            self.check_leaders_commit(slot, commit_index, &counted_under);
        }
        if is_elected && !has_new_membership {
            self.check_election(slot);
        }
    }

    /// A leader must have the votes of a majority of the voters on their disks (Raft §5.2).
    fn check_election(&self, slot: Slot) {
        let Some(process) = self.hosts[slot.at()].run.process() else { return };
        let raft = process.node.raft();
        let (term, membership) = (raft.current_term(), raft.membership());
        let voted = |peer: &Peer| {
            let vote = self.disk_of(*peer).map(|disk| disk.written.hard_state);
            // A node in a later term may have voted in this one: that is forgotten.
            vote.is_some_and(|v| {
                v.current_term > term || (v.current_term == term && v.voted_for == Some(raft.me()))
            })
        };
        let votes = membership.voting_peers().filter(voted).count();
        if raft.role() == Role::Leader && votes < membership.quorum() {
            violated!("{} leads term {term} with {votes} votes of {}", raft.me(), names(membership));
        }
    }

    /// What a leader commits must already be on the disks of a majority of one of these memberships.
    fn check_leaders_commit(&self, slot: Slot, index: LogIndex, counted_under: &[Arc<Membership>]) {
        let Some(process) = self.hosts[slot.at()].run.process() else { return };
        let raft = process.node.raft();
        // It may just have been compacted.
        let own = raft.term_at(index) == Some(raft.current_term());
        if raft.role() != Role::Leader || !own {
            return;
        }
        if !counted_under.iter().any(|membership| self.is_on_a_majority(raft, membership, index)) {
            violated!(
                "{} commits entry {index} in term {}, which a majority of {} does not have on disk",
                raft.me(),
                raft.current_term(),
                names(raft.membership())
            );
        }
    }

    /// Whether a majority of these voters has the entry of this leader's term at `index` on disk.
    fn is_on_a_majority(&self, raft: &Raft, membership: &Membership, index: LogIndex) -> bool {
        let term = raft.current_term();
        let durable = membership
            .voting_peers()
            .filter(|peer| self.disk_of(*peer).is_some_and(|disk| disk.holds(index, term)));
        durable.count() >= membership.quorum()
    }

    /// The disk of a node in this life, even if it has been wiped since: what its owner had said was true.
    fn disk_of(&self, peer: Peer) -> Option<&Disk> {
        let host = &self.hosts[slot_of(peer.id).at()];
        let former = || host.former.iter().find(|(owner, _)| *owner == peer).map(|(_, disk)| disk);
        if host.peer == peer { Some(&host.disk) } else { former() }
    }
}

/// A leader changes the membership one step at a time, and only once it has committed an entry of its own
/// term (dissertation §4.1, and its correction of July 2015). What is committed by now was committed no later
/// than now.
fn check_membership_changes(raft: &Raft, written: &[Entry]) {
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
        if raft.term_at(commit_index).is_some_and(|committed| committed != term) {
            violated!(
                "{me} changes the membership at {} before it has committed in term {term}",
                change.index
            );
        }
    }
}
