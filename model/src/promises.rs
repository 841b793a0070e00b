//! No promise before it is durable: what a message promises is on its sender's disk when it leaves.

use raft_core::{AppendOutcome, LogIndex, Message, Peer, Term};

use crate::history::{Violation, ensure};
use crate::node::Node;

/// Checks a message that `node` sends to `to`.
pub(crate) fn check(node: &Node, to: Peer, message: &Message) -> Result<(), Violation> {
    let me = node.raft.me();
    match message {
        Message::RequestVote(m) => {
            let last = node.disk.last();
            let asked = (m.last_log_index, m.last_log_term);
            // Its own vote is written after its log: where that is durable, the log was.
            let durable = has_voted(node, m.term, me) || last == asked;
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

/// Who leads has its own vote of that term on disk: after a crash it might otherwise lead in it once more,
/// with another log, or vote for somebody else.
pub(crate) fn check_leader(node: &Node) -> Result<(), Violation> {
    let (me, term) = (node.raft.me(), node.raft.current_term());
    let durable = node.disk.hard_state();
    ensure(has_voted(node, term, me), || format!("node {me} leads in term {term}, durable is {durable:?}"))
}

/// Whether a later term is durable than the one that was promised in: what was promised was durable before
/// it.
fn later(node: &Node, term: Term) -> bool {
    node.disk.hard_state().current_term > term
}

fn check_vote(node: &Node, term: Term, candidate: Peer) -> Result<(), Violation> {
    let (me, durable) = (node.raft.me(), node.disk.hard_state());
    ensure(has_voted(node, term, candidate), || {
        format!("node {me} votes for node {candidate} in term {term}, durable is {durable:?}")
    })
}

/// Whether a vote is durable, or a later term: then it was.
fn has_voted(node: &Node, term: Term, candidate: Peer) -> bool {
    let durable = node.disk.hard_state();
    later(node, term) || (durable.current_term == term && durable.voted_for == Some(candidate))
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
