//! Messages and events as lines that a person reads.

use raft_core::{
    AppendOutcome, CampaignReason, Entry, Membership, Message, NotAppended, Output, Payload, ProposalOutcome,
    Raft, Role,
};

fn why(reason: CampaignReason) -> &'static str {
    match reason {
        CampaignReason::LeaderLost => "",
        CampaignReason::LeadershipTransfer => ", by transfer",
    }
}

/// `AppendEntries term 2, after 3@1: 4@2 noop; commit 3`
pub(crate) fn message(message: &Message) -> String {
    match message {
        Message::PreVote(m) => {
            let (term, index, why) = (m.next_term, m.last_log_index, why(m.reason));
            format!("PreVote for term {term}, log ends {index}@{}{why}", m.last_log_term)
        }
        Message::PreVoteResponse(m) => {
            format!("PreVoteResponse term {}, for term {}: {}", m.term, m.next_term, yes(m.vote_granted))
        }
        Message::RequestVote(m) => {
            let why = why(m.reason);
            format!("RequestVote term {}, log ends {}@{}{why}", m.term, m.last_log_index, m.last_log_term)
        }
        Message::RequestVoteResponse(m) => {
            format!("RequestVoteResponse term {}: {}", m.term, yes(m.vote_granted))
        }
        Message::AppendEntries(m) => {
            let entries: Vec<String> = m.entries.iter().map(entry).collect();
            let entries = if entries.is_empty() { "nothing".to_owned() } else { entries.join(", ") };
            let (index, term) = (m.prev_log_index, m.prev_log_term);
            format!(
                "AppendEntries term {}, after {index}@{term}: {entries}; commit {}",
                m.term, m.leader_commit
            )
        }
        Message::AppendEntriesResponse(m) => match m.outcome {
            AppendOutcome::Matched { match_index } => {
                format!("AppendEntriesResponse term {}: matched {match_index}", m.term)
            }
            AppendOutcome::Rejected { prev_log_index, hint_index, hint_term } => format!(
                "AppendEntriesResponse term {}: rejected after {prev_log_index}, try \
                 {hint_index}@{hint_term}",
                m.term
            ),
        },
        Message::Heartbeat(m) => {
            format!("Heartbeat term {}, round {}, commit {}", m.term, m.round, m.leader_commit)
        }
        Message::HeartbeatResponse(m) => format!("HeartbeatResponse term {}, round {}", m.term, m.round),
        Message::InstallSnapshot(m) => {
            let s = &m.snapshot;
            format!("InstallSnapshot term {}: {}@{}", m.term, s.last_included_index, s.last_included_term)
        }
        Message::InstallSnapshotResponse(m) => {
            format!("InstallSnapshotResponse term {}: matched {}", m.term, m.match_index)
        }
        Message::TimeoutNow(m) => format!("TimeoutNow term {}", m.term),
    }
}

/// What a node tells its driver; `None` for what is no news.
pub(crate) fn event(event: &Output) -> Option<String> {
    let line = match event {
        Output::Write(_) | Output::Send { .. } => return None,
        Output::Committed(committed) => format!("applies {}", entry(committed)),
        Output::Restored(s) => format!("restores {}@{}", s.last_included_index, s.last_included_term),
        Output::BarrierPassed(barrier) => format!("lets barrier {barrier} pass"),
        Output::ProposalDone { proposal, outcome } => {
            let outcome = match outcome {
                ProposalOutcome::Committed(index) => format!("committed at {index}"),
                ProposalOutcome::NotAppended(NotAppended::AlreadyDone) => "already done".to_owned(),
                ProposalOutcome::NotAppended(NotAppended::NotLeader) => "refused, not the leader".to_owned(),
                ProposalOutcome::NotAppended(NotAppended::Busy) => "refused, busy".to_owned(),
                ProposalOutcome::NotAppended(NotAppended::NotYet(why)) => format!("refused, {why:?}"),
                ProposalOutcome::NotAppended(NotAppended::Refused(why)) => format!("refused, {why:?}"),
                ProposalOutcome::Unknown => "may be lost".to_owned(),
            };
            format!("proposal {proposal} {outcome}")
        }
        Output::RoleChanged { role, term, leader } => match (role, leader) {
            (Role::Leader, _) => format!("leads term {term}"),
            (Role::Candidate, _) => format!("campaigns in term {term}"),
            (Role::PreCandidate, _) => format!("asks for pre-votes in term {term}"),
            (Role::Follower, Some(leader)) => format!("follows {leader} in term {term}"),
            (Role::Follower, None) => format!("follows nobody in term {term}"),
        },
        Output::TransferAborted => "gives the transfer up".to_owned(),
        Output::MembershipChanged(changed) => format!("members are now {}", membership(changed)),
        Output::EntriesLost { acknowledged, last } => {
            format!("acknowledged entry {acknowledged}, and its log ends at {last}")
        }
        Output::SafetyLost(evidence) => format!("finds safety lost: {evidence}"),
        Output::Dropped { from, reason } => format!("drops a message from {from}: {reason:?}"),
    };
    Some(line)
}

/// `leader of term 3, commit 4: 2@1 a, 3@2 noop, 4@3 noop`
pub(crate) fn state(raft: &Raft) -> String {
    let role = match raft.role() {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    let base = raft.snapshot().map_or_else(
        || "empty".to_owned(),
        |s| format!("snapshot {}@{}", s.last_included_index, s.last_included_term),
    );
    let first = raft.snapshot().map_or(1, |s| s.last_included_index.0 + 1);
    let entries = (first..=raft.last_log_index().0).filter_map(|i| raft.entry(raft_core::LogIndex(i)));
    let log: Vec<String> = std::iter::once(base).chain(entries.map(entry)).collect();
    let (term, commit) = (raft.current_term(), raft.commit_index());
    format!("{role} of term {term}, commit {commit}, log: {}", log.join(", "))
}

/// `1 2 3 4(learner)`
pub(crate) fn membership(membership: &Membership) -> String {
    let name = |id: &raft_core::NodeId| {
        if membership.is_voter(*id) { id.to_string() } else { format!("{id}(learner)") }
    };
    membership.members.keys().map(name).collect::<Vec<_>>().join(" ")
}

fn entry(entry: &Entry) -> String {
    let what = match &entry.payload {
        Payload::Noop => "noop".to_owned(),
        Payload::Command(command) => String::from_utf8_lossy(command).into_owned(),
        Payload::Membership(m) => format!("members {}", membership(m).replace(' ', "+")),
    };
    format!("{}@{} {what}", entry.index, entry.term)
}

fn yes(granted: bool) -> &'static str {
    if granted { "granted" } else { "refused" }
}
