//! The bytes of raft-core's messages: one frame type for each RPC of the paper and one for each answer.
//!
//! This module must never know what the core does with a message: the core finds out whether one is
//! impossible.

use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, CampaignReason, ENTRIES_PER_APPEND_MAX, Entry,
    Heartbeat, HeartbeatResponse, InstallSnapshot, InstallSnapshotResponse, LogIndex, Message, PreVote,
    PreVoteResponse, RequestVote, RequestVoteResponse, Round, Term, TimeoutNow,
};

use super::frame_type;
use crate::codec::{DecodeError, Reader, Writer};

/// The type of the frame that carries a message.
pub(super) const fn type_of(message: &Message) -> u8 {
    match message {
        Message::PreVote(_) => frame_type::PRE_VOTE,
        Message::PreVoteResponse(_) => frame_type::PRE_VOTE_RESPONSE,
        Message::RequestVote(_) => frame_type::REQUEST_VOTE,
        Message::RequestVoteResponse(_) => frame_type::REQUEST_VOTE_RESPONSE,
        Message::AppendEntries(_) => frame_type::APPEND_ENTRIES,
        Message::AppendEntriesResponse(_) => frame_type::APPEND_ENTRIES_RESPONSE,
        Message::Heartbeat(_) => frame_type::HEARTBEAT,
        Message::HeartbeatResponse(_) => frame_type::HEARTBEAT_RESPONSE,
        Message::InstallSnapshot(_) => frame_type::INSTALL_SNAPSHOT,
        Message::InstallSnapshotResponse(_) => frame_type::INSTALL_SNAPSHOT_RESPONSE,
        Message::TimeoutNow(_) => frame_type::TIMEOUT_NOW,
    }
}

pub(super) fn put(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::PreVote(m) => {
            out.put_u64(m.next_term.0);
            out.put_u64(m.last_log_index.0);
            out.put_u64(m.last_log_term.0);
            put_campaign_reason(m.reason, out);
        }
        Message::PreVoteResponse(m) => {
            out.put_u64(m.term.0);
            out.put_u64(m.next_term.0);
            out.put_bool(m.vote_granted);
        }
        Message::RequestVote(m) => {
            out.put_u64(m.term.0);
            out.put_u64(m.last_log_index.0);
            out.put_u64(m.last_log_term.0);
            put_campaign_reason(m.reason, out);
        }
        Message::RequestVoteResponse(m) => {
            out.put_u64(m.term.0);
            out.put_bool(m.vote_granted);
        }
        Message::AppendEntries(m) => put_append_entries(m, out),
        Message::AppendEntriesResponse(m) => put_append_entries_response(*m, out),
        Message::Heartbeat(m) => {
            out.put_u64(m.term.0);
            out.put_u64(m.leader_commit.0);
            out.put_u64(m.round.0);
            out.put_u64(m.election_timeout_us);
            out.put_bool(m.is_stuck);
        }
        Message::HeartbeatResponse(m) => {
            out.put_u64(m.term.0);
            out.put_u64(m.round.0);
            out.put_bool(m.awaits_disk);
            out.put_option(m.lease_us, Writer::put_u64);
        }
        Message::InstallSnapshot(m) => {
            out.put_u64(m.term.0);
            out.put_snapshot(&m.snapshot);
        }
        Message::InstallSnapshotResponse(m) => {
            out.put_u64(m.term.0);
            out.put_u64(m.match_index.0);
        }
        Message::TimeoutNow(m) => out.put_u64(m.term.0),
    }
}

/// The message in a frame of this type; `None` if no message has this type.
pub(super) fn read(frame_type: u8, reader: &mut Reader<'_>) -> Result<Option<Message>, DecodeError> {
    let message = match frame_type {
        frame_type::PRE_VOTE => Message::PreVote(PreVote {
            next_term: term(reader)?,
            last_log_index: index(reader)?,
            last_log_term: term(reader)?,
            reason: campaign_reason(reader)?,
        }),
        frame_type::PRE_VOTE_RESPONSE => Message::PreVoteResponse(PreVoteResponse {
            term: term(reader)?,
            next_term: term(reader)?,
            vote_granted: reader.bool()?,
        }),
        frame_type::REQUEST_VOTE => Message::RequestVote(RequestVote {
            term: term(reader)?,
            last_log_index: index(reader)?,
            last_log_term: term(reader)?,
            reason: campaign_reason(reader)?,
        }),
        frame_type::REQUEST_VOTE_RESPONSE => Message::RequestVoteResponse(RequestVoteResponse {
            term: term(reader)?,
            vote_granted: reader.bool()?,
        }),
        frame_type::APPEND_ENTRIES => Message::AppendEntries(append_entries(reader)?),
        frame_type::APPEND_ENTRIES_RESPONSE => {
            Message::AppendEntriesResponse(append_entries_response(reader)?)
        }
        frame_type::HEARTBEAT => Message::Heartbeat(Heartbeat {
            term: term(reader)?,
            leader_commit: index(reader)?,
            round: Round(reader.u64()?),
            election_timeout_us: reader.u64()?,
            is_stuck: reader.bool()?,
        }),
        frame_type::HEARTBEAT_RESPONSE => Message::HeartbeatResponse(HeartbeatResponse {
            term: term(reader)?,
            round: Round(reader.u64()?),
            awaits_disk: reader.bool()?,
            lease_us: reader.option(Reader::u64)?,
        }),
        frame_type::INSTALL_SNAPSHOT => Message::InstallSnapshot(InstallSnapshot {
            term: term(reader)?,
            snapshot: reader.snapshot()?.into(),
        }),
        frame_type::INSTALL_SNAPSHOT_RESPONSE => Message::InstallSnapshotResponse(InstallSnapshotResponse {
            term: term(reader)?,
            match_index: index(reader)?,
        }),
        frame_type::TIMEOUT_NOW => Message::TimeoutNow(TimeoutNow { term: term(reader)? }),
        _ => return Ok(None),
    };
    Ok(Some(message))
}

const REASON_LEADER_LOST: u8 = 0;
const REASON_LEADERSHIP_TRANSFER: u8 = 1;

const OUTCOME_MATCHED: u8 = 0;
const OUTCOME_REJECTED: u8 = 1;

fn put_append_entries(m: &AppendEntries, out: &mut Vec<u8>) {
    let count = m.entries.len();
    assert!(count <= ENTRIES_PER_APPEND_MAX, "{count} entries, {ENTRIES_PER_APPEND_MAX} at most");
    out.put_u64(m.term.0);
    out.put_u64(m.prev_log_index.0);
    out.put_u64(m.prev_log_term.0);
    out.put_u64(m.leader_commit.0);
    out.put_u16(u16::try_from(count).expect("ENTRIES_PER_APPEND_MAX fits 16 bits"));
    for entry in &m.entries {
        out.put_entry(entry);
    }
}

fn append_entries(reader: &mut Reader<'_>) -> Result<AppendEntries, DecodeError> {
    Ok(AppendEntries {
        term: term(reader)?,
        prev_log_index: index(reader)?,
        prev_log_term: term(reader)?,
        leader_commit: index(reader)?,
        entries: entries(reader)?,
    })
}

fn entries(reader: &mut Reader<'_>) -> Result<Vec<Entry>, DecodeError> {
    let count = usize::from(reader.u16()?);
    if count > ENTRIES_PER_APPEND_MAX {
        return Err(DecodeError::TooLong);
    }
    // It grows with the entries that are really present: a large count alone allocates nothing.
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(reader.entry()?);
    }
    Ok(entries)
}

fn put_append_entries_response(m: AppendEntriesResponse, out: &mut Vec<u8>) {
    out.put_u64(m.term.0);
    match m.outcome {
        AppendOutcome::Matched { match_index } => {
            out.put_u8(OUTCOME_MATCHED);
            out.put_u64(match_index.0);
        }
        AppendOutcome::Rejected { prev_log_index, hint_index, hint_term } => {
            out.put_u8(OUTCOME_REJECTED);
            out.put_u64(prev_log_index.0);
            out.put_u64(hint_index.0);
            out.put_u64(hint_term.0);
        }
    }
}

fn append_entries_response(reader: &mut Reader<'_>) -> Result<AppendEntriesResponse, DecodeError> {
    Ok(AppendEntriesResponse { term: term(reader)?, outcome: append_outcome(reader)? })
}

fn append_outcome(reader: &mut Reader<'_>) -> Result<AppendOutcome, DecodeError> {
    match reader.u8()? {
        OUTCOME_MATCHED => Ok(AppendOutcome::Matched { match_index: index(reader)? }),
        OUTCOME_REJECTED => Ok(AppendOutcome::Rejected {
            prev_log_index: index(reader)?,
            hint_index: index(reader)?,
            hint_term: term(reader)?,
        }),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

fn put_campaign_reason(reason: CampaignReason, out: &mut Vec<u8>) {
    out.put_u8(match reason {
        CampaignReason::LeaderLost => REASON_LEADER_LOST,
        CampaignReason::LeadershipTransfer => REASON_LEADERSHIP_TRANSFER,
    });
}

fn campaign_reason(reader: &mut Reader<'_>) -> Result<CampaignReason, DecodeError> {
    match reader.u8()? {
        REASON_LEADER_LOST => Ok(CampaignReason::LeaderLost),
        REASON_LEADERSHIP_TRANSFER => Ok(CampaignReason::LeadershipTransfer),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

fn term(reader: &mut Reader<'_>) -> Result<Term, DecodeError> {
    Ok(Term(reader.u64()?))
}

fn index(reader: &mut Reader<'_>) -> Result<LogIndex, DecodeError> {
    Ok(LogIndex(reader.u64()?))
}
