//! The AppendEntries RPC (Raft Figure 2, §5.3).

use alloc::vec::Vec;

use crate::io::{DropReason, Evidence};
use crate::log::Entry;
use crate::message::{AppendEntries, AppendEntriesResponse, AppendOutcome, Message};
use crate::raft::Raft;
use crate::types::{LogIndex, Peer, Term};

impl Raft {
    /// Receiver.
    pub(crate) fn on_append_entries(&mut self, from: Peer, m: AppendEntries) {
        if !is_well_formed(&m) {
            self.drop_message(from, DropReason::MalformedEntries);
            return;
        }
        self.follow(from);
        let m = match self.skip_committed(from, m) {
            Ok(m) => m,
            Err(evidence) => return self.on_safety_lost(evidence),
        };
        if self.log.term_at(m.prev_log_index) != Some(m.prev_log_term) {
            if m.prev_log_index == self.commit_index {
                // What is committed agrees with every leader (§5.4.3), unless this log is an earlier copy,
                // whose end the leader takes for that which this node acknowledged since.
                self.on_entries_lost(m.prev_log_index);
            } else {
                self.reject_append(from, &m);
            }
            return;
        }
        let match_index = m.entries.last().map_or(m.prev_log_index, |e| e.index);
        self.append_missing(m.entries);
        self.commit_to(m.leader_commit.min(match_index));
        self.acknowledge(from, match_index);
    }

    /// Sender.
    pub(crate) fn on_append_entries_response(&mut self, from: Peer, m: AppendEntriesResponse) {
        match m.outcome {
            AppendOutcome::Matched { match_index } => self.on_matched(from, match_index),
            AppendOutcome::Rejected { prev_log_index, hint_index, hint_term } => {
                self.on_rejected(from, prev_log_index, hint_index, hint_term);
            }
        }
    }

    /// The append without its part up to the commit index, if it reaches further back. What is committed here
    /// agrees with every leader (§5.4.3), so only what follows it is compared; an append that ends before it
    /// brings nothing new. A leader whose log has another entry at that index is evidence that safety is
    /// already lost (Leader Completeness, §5.4).
    fn skip_committed(&self, leader: Peer, m: AppendEntries) -> Result<AppendEntries, Evidence> {
        let index = self.commit_index;
        if m.prev_log_index >= index {
            return Ok(m);
        }
        let committed = self.log.term_at(index).expect("what is committed is in the log");
        let theirs = m.entries.iter().find(|e| e.index == index).map_or(committed, |e| e.term);
        if theirs != committed {
            return Err(Evidence::Conflict { leader, index, committed, theirs });
        }
        let entries = m.entries.into_iter().filter(|e| e.index > index).collect();
        Ok(AppendEntries { prev_log_index: index, prev_log_term: committed, entries, ..m })
    }

    /// Tells the leader that the log agrees up to this index, once it is durable.
    fn acknowledge(&mut self, to: Peer, match_index: LogIndex) {
        let response = AppendEntriesResponse {
            term: self.hard_state.current_term,
            outcome: AppendOutcome::Matched { match_index },
        };
        self.persistence.send_once_durable(to, Message::AppendEntriesResponse(response));
    }

    /// A rejection promises nothing, so it goes out at once, with a hint that skips whole terms (§5.3).
    fn reject_append(&mut self, to: Peer, m: &AppendEntries) {
        let hint_index = self.log.last_index_of_term_at_most(m.prev_log_term, m.prev_log_index);
        let response = AppendEntriesResponse {
            term: self.hard_state.current_term,
            outcome: AppendOutcome::Rejected {
                prev_log_index: m.prev_log_index,
                hint_index,
                hint_term: self.log.term_at(hint_index).unwrap_or(Term(0)),
            },
        };
        self.send(to, Message::AppendEntriesResponse(response));
    }

    /// Appends the entries that the log does not have. Only a conflicting entry removes what follows it: a
    /// delayed append that is shorter than the log by now removes nothing (Figure 2, steps 3 and 4).
    fn append_missing(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            match self.log.term_at(entry.index) {
                Some(term) if term == entry.term => continue,
                Some(_) => {
                    let commit_index = self.commit_index;
                    let index = entry.index;
                    assert!(index > commit_index, "conflict at {index}, committed up to {commit_index}");
                    self.log.truncate_from(index);
                    self.persistence.note_truncation(index);
                }
                None => {}
            }
            self.persistence.note_append(entry.index);
            self.log.append(entry);
        }
    }

    fn on_rejected(&mut self, from: Peer, prev_log_index: LogIndex, hint_index: LogIndex, hint_term: Term) {
        let agree_at_most = self.log.last_index_of_term_at_most(hint_term, hint_index);
        let now = self.now;
        let Some(leader) = self.role.as_leader_mut() else { return };
        let Some(progress) = leader.progress.get_mut(&from.id) else { return };
        progress.on_heard(now);
        if progress.on_rejected(prev_log_index, agree_at_most) {
            self.replicate_to(from.id);
        }
    }
}

/// Whether the entries follow each other and `prev_log_index`, with terms that never decrease or exceed the
/// leader's; index 0, and nothing else, is in term 0. A sound leader sends nothing else.
fn is_well_formed(m: &AppendEntries) -> bool {
    let (mut last_index, mut last_term) = (m.prev_log_index, m.prev_log_term);
    if (last_index == LogIndex(0)) != (last_term == Term(0)) {
        return false;
    }
    for entry in &m.entries {
        if last_index.0.checked_add(1) != Some(entry.index.0) || entry.term < last_term.max(Term(1)) {
            return false;
        }
        (last_index, last_term) = (entry.index, entry.term);
    }
    last_term <= m.term
}
