//! No promise before it is durable: what a message promises is on its sender's disk when it leaves.

use raft_core::{AppendOutcome, LogIndex, Message, Peer, Term};

use crate::history::{Violation, ensure};
use crate::node::Node;

/// Checks a message that `node` sends to `to`.
pub(crate) fn check(node: &Node, to: Peer, message: &Message) -> Result<(), Violation> {
    let me = node.raft.me();
    match message {
        Message::RequestVote(m) => {
            check_vote(node, m.term, me)?;
            let last = node.disk.last();
            let asked = (m.last_log_index, m.last_log_term);
            let durable = later(node, m.term) || last == asked;
            ensure(durable, || format!("node {me} campaigns with {asked:?}, durable is {last:?}"))
        }
        Message::RequestVoteResponse(m) if m.vote_granted => check_vote(node, m.term, to),
        Message::AppendEntriesResponse(m) => match m.outcome {
            AppendOutcome::Matched { match_index } => check_log(node, m.term, match_index),
            AppendOutcome::Rejected { .. } => Ok(()),
        },
        Message::InstallSnapshotResponse(m) => check_log(node, m.term, m.match_index),
        Message::RequestVoteResponse(_)
        | Message::PreVote(_)
        | Message::PreVoteResponse(_)
        | Message::AppendEntries(_)
        | Message::Heartbeat(_)
        | Message::HeartbeatResponse(_)
        | Message::InstallSnapshot(_)
        | Message::TimeoutNow(_) => Ok(()),
    }
}

/// Whether a later term is durable than the one that was promised in: what was promised was durable before it.
fn later(node: &Node, term: Term) -> bool {
    node.disk.hard_state().current_term > term
}

fn check_vote(node: &Node, term: Term, candidate: Peer) -> Result<(), Violation> {
    let durable = node.disk.hard_state();
    let kept = later(node, term) || (durable.current_term == term && durable.voted_for == Some(candidate));
    let me = node.raft.me();
    ensure(kept, || format!("node {me} votes for node {candidate} in term {term}, durable is {durable:?}"))
}

fn check_log(node: &Node, term: Term, index: LogIndex) -> Result<(), Violation> {
    let me = node.raft.me();
    let last = node.disk.last().0;
    ensure(later(node, term) || last >= index, || {
        format!("node {me} acknowledges entry {index} in term {term}, durable is {last}")
    })?;
    // Its own term is the one that it promises in, so nothing that it acknowledges may differ in memory.
    let same = |at: u64| match (node.disk.entry(LogIndex(at)), node.raft.entry(LogIndex(at))) {
        (Some(durable), Some(known)) => durable == known,
        (None, _) | (_, None) => true,
    };
    let agrees = node.raft.current_term() != term || (1..=index.0).all(same);
    ensure(agrees, || format!("node {me} acknowledges entry {index}, but another one is durable"))
}
