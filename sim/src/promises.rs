//! No promise before it is durable: what a message promises is on its sender's disk when it leaves.

use raft_core::{AppendOutcome, Entry, LogIndex, Membership, Message, Payload, Peer, Raft, Role, Term};

use crate::disk::Disk;
use crate::violated;

/// Checks a message that `me` sends to `to`, with this on its disk.
pub(crate) fn check(me: Peer, to: Peer, message: &Message, disk: &Disk) {
    match message {
        Message::RequestVote(m) => {
            let asked = (m.last_log_index, m.last_log_term);
            // Its own vote is written after its log: where that is durable, the log was.
            if !has_voted(me, m.term, disk) && disk.last() != asked {
                violated!("{me} campaigns in term {} with {asked:?}, on disk is {:?}", m.term, disk.last());
            }
        }
        Message::RequestVoteResponse(m) => {
            if m.vote_granted {
                check_vote(me, m.term, to, disk);
            }
        }
        Message::AppendEntriesResponse(m) => match m.outcome {
            AppendOutcome::Matched { match_index } => check_log(me, m.term, match_index, disk),
            AppendOutcome::Rejected { .. } => {}
        },
        Message::InstallSnapshotResponse(m) => check_log(me, m.term, m.match_index, disk),
        Message::PreVote(_)
        | Message::PreVoteResponse(_)
        | Message::AppendEntries(_)
        | Message::Heartbeat(_)
        | Message::HeartbeatResponse(_)
        | Message::InstallSnapshot(_)
        | Message::TimeoutNow(_) => {}
    }
}

/// A leader commits an entry of its own term: a majority must have it on disk. `sound` gives the disk of a
/// member in the life that the membership names, also one that was wiped since: its owner had told the truth.
pub(crate) fn check_commit<'a>(
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

/// A leader changes the membership one step at a time, and only when it has committed an entry of its own
/// term (dissertation §4.1, and its correction of July 2015). What is committed by now was committed at the
/// latest now.
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

/// Who leads in `term` has its own vote of that term on disk: after a crash it might otherwise lead in it
/// once more, with another log, or vote for somebody else.
pub(crate) fn check_leader(me: Peer, term: Term, disk: &Disk) {
    if !has_voted(me, term, disk) {
        violated!("{me} leads in term {term}, with {:?} on disk", disk.hard_state);
    }
}

fn check_vote(me: Peer, term: Term, candidate: Peer, disk: &Disk) {
    if !has_voted(candidate, term, disk) {
        violated!("{me} gives its vote of term {term} to {candidate}, with {:?} on disk", disk.hard_state);
    }
}

/// Whether this vote is on the disk, or a later term: then it was.
fn has_voted(candidate: Peer, term: Term, disk: &Disk) -> bool {
    let durable = disk.hard_state;
    durable.current_term > term || (durable.current_term == term && durable.voted_for == Some(candidate))
}

fn check_log(me: Peer, term: Term, index: LogIndex, disk: &Disk) {
    if index == LogIndex(0) {
        // Nothing is promised: it only says which term it is.
        return;
    }
    let durable = disk.hard_state.current_term;
    if durable < term {
        violated!("{me} promises something in term {term}, with term {durable} on disk");
    }
    // In a later term, what was promised may have been cut off again.
    let (last, _) = disk.last();
    if durable == term && last < index {
        violated!("{me} promises entry {index} in term {term}, with {last} on disk");
    }
}
