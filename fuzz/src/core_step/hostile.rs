//! What a hostile member may say: anything that the types allow.

use std::sync::Arc;

use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, CampaignReason, Entry, Heartbeat, HeartbeatResponse,
    Incarnation, InstallSnapshot, InstallSnapshotResponse, LogIndex, Membership, Message, NodeId, Payload,
    Peer, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse, Round, Snapshot, Suffrage, Term,
    TimeoutNow,
};

use super::super::bytes::Bytes;
use super::{member, peer};

/// Any member but the receiver: the driver knows the node at the other end of a link, so no node can speak as
/// another, but any member, in any life, may be hostile.
pub(crate) fn sender(bytes: &mut Bytes<'_>, receiver: Peer) -> Peer {
    let from = anyone(bytes);
    if from == receiver { peer(receiver.id.get() % 3 + 1) } else { from }
}

/// A member or a stranger, or either in another life.
pub(crate) fn anyone(bytes: &mut Bytes<'_>) -> Peer {
    let byte = bytes.byte();
    let id = NodeId::new(u64::from(byte % 4) + 1).expect("counted from 1");
    Peer { id, incarnation: Incarnation(if byte < 224 { 1 } else { 2 }) }
}

fn reason(bytes: &mut Bytes<'_>) -> CampaignReason {
    if bytes.flag() { CampaignReason::LeaderLost } else { CampaignReason::LeadershipTransfer }
}

/// Anything.
pub(crate) fn message(bytes: &mut Bytes<'_>) -> Message {
    let kind = bytes.below(11);
    let term = Term(bytes.number());
    match kind {
        0 => {
            let (last_log_index, last_log_term) = (index(bytes), Term(bytes.number()));
            Message::PreVote(PreVote {
                next_term: term,
                last_log_index,
                last_log_term,
                reason: reason(bytes),
            })
        }
        1 => {
            let (next_term, vote_granted) = (Term(bytes.number()), bytes.flag());
            Message::PreVoteResponse(PreVoteResponse { term, next_term, vote_granted })
        }
        2 => {
            let (last_log_index, last_log_term) = (index(bytes), Term(bytes.number()));
            Message::RequestVote(RequestVote { term, last_log_index, last_log_term, reason: reason(bytes) })
        }
        3 => Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted: bytes.flag() }),
        4 => append_entries(bytes, term),
        5 => {
            let outcome = if bytes.flag() {
                AppendOutcome::Matched { match_index: index(bytes) }
            } else {
                let (prev_log_index, hint_index) = (index(bytes), index(bytes));
                AppendOutcome::Rejected { prev_log_index, hint_index, hint_term: Term(bytes.number()) }
            };
            Message::AppendEntriesResponse(AppendEntriesResponse { term, outcome })
        }
        6 => {
            let (leader_commit, round) = (index(bytes), Round(bytes.number()));
            let (election_timeout_us, is_stuck) = (bytes.number(), bytes.flag());
            Message::Heartbeat(Heartbeat { term, leader_commit, round, election_timeout_us, is_stuck })
        }
        7 => {
            let (round, lease_us) = (Round(bytes.number()), bytes.flag().then(|| bytes.number()));
            let awaits_disk = bytes.flag();
            Message::HeartbeatResponse(HeartbeatResponse { term, round, awaits_disk, lease_us })
        }
        8 => {
            let snapshot = Snapshot {
                last_included_index: index(bytes),
                last_included_term: Term(bytes.number()),
                membership: Arc::new(membership(bytes)),
                state: Arc::from([bytes.byte()]),
            };
            Message::InstallSnapshot(InstallSnapshot { term, snapshot: Arc::new(snapshot) })
        }
        9 => Message::InstallSnapshotResponse(InstallSnapshotResponse { term, match_index: index(bytes) }),
        _ => Message::TimeoutNow(TimeoutNow { term }),
    }
}

fn append_entries(bytes: &mut Bytes<'_>, term: Term) -> Message {
    let (prev_log_index, prev_log_term) = (index(bytes), Term(bytes.number()));
    let leader_commit = index(bytes);
    let count = bytes.below(5);
    let mut next = prev_log_index;
    let mut entries = Vec::new();
    for _ in 0..count {
        // Mostly in order, so that the entries are not merely refused.
        next = if bytes.byte() < 240 { LogIndex(next.0.wrapping_add(1)) } else { index(bytes) };
        let term = if bytes.flag() { term } else { Term(bytes.number()) };
        entries.push(Entry { index: next, term, payload: payload(bytes) });
    }
    Message::AppendEntries(AppendEntries { term, prev_log_index, prev_log_term, entries, leader_commit })
}

fn payload(bytes: &mut Bytes<'_>) -> Payload {
    match bytes.below(4) {
        0 => Payload::Noop,
        1 => Payload::Membership(Arc::new(membership(bytes))),
        _ => Payload::Command(Arc::from([bytes.byte()])),
    }
}

/// Any four nodes, in any life and role; possibly none at all.
fn membership(bytes: &mut Bytes<'_>) -> Membership {
    let (present, voting, reborn) = (bytes.byte(), bytes.byte(), bytes.byte());
    let numbers = (0..4u64).filter(|bit| present >> bit & 1 == 1);
    let members = numbers.map(|bit| {
        let suffrage = if voting >> bit & 1 == 1 { Suffrage::Voter } else { Suffrage::Learner };
        let incarnation = Incarnation(if reborn >> bit & 1 == 1 { 2 } else { 1 });
        let peer = Peer { incarnation, ..peer(bit + 1) };
        (peer.id, member(peer, suffrage))
    });
    Membership { members: members.collect() }
}

fn index(bytes: &mut Bytes<'_>) -> LogIndex {
    LogIndex(bytes.number())
}
