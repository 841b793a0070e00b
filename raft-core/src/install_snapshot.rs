//! The InstallSnapshot RPC (Raft §7, Figure 13). Snapshots are tiny, so each is sent in one message.

use alloc::sync::Arc;

use crate::admission::INDEX_MAX;
use crate::io::DropReason;
use crate::log::Snapshot;
use crate::message::{InstallSnapshot, InstallSnapshotResponse, Message};
use crate::raft::Raft;
use crate::types::{LogIndex, Peer, Term};

impl Raft {
    /// Receiver.
    pub(crate) fn on_install_snapshot(&mut self, from: Peer, m: InstallSnapshot) {
        if !is_well_formed(&m.snapshot, m.term) {
            self.drop_message(from, DropReason::MalformedSnapshot);
            return;
        }
        self.follow(from);
        let index = m.snapshot.last_included_index;
        if index <= self.commit_index {
            // Nothing new, and what is committed here agrees with the leader.
            self.acknowledge_snapshot(from, self.commit_index);
            return;
        }
        if self.log.term_at(index) == Some(m.snapshot.last_included_term) {
            // Figure 13, step 6: the log has everything that the snapshot has, and perhaps more; keep it.
            self.commit_to(index);
        } else {
            self.restore(m.snapshot);
        }
        self.acknowledge_snapshot(from, index);
    }

    /// Sender.
    pub(crate) fn on_install_snapshot_response(&mut self, from: Peer, m: InstallSnapshotResponse) {
        self.on_matched(from, m.match_index);
    }

    fn restore(&mut self, snapshot: Arc<Snapshot>) {
        self.log.restore(Arc::clone(&snapshot));
        let agreed = self.commit_index;
        self.commit_index = snapshot.last_included_index;
        self.persistence.note_restore(snapshot, agreed);
    }

    fn acknowledge_snapshot(&mut self, to: Peer, match_index: LogIndex) {
        let term = self.hard_state.current_term;
        let response = InstallSnapshotResponse { term, match_index };
        self.persistence.send_once_durable(to, Message::InstallSnapshotResponse(response));
    }
}

fn is_well_formed(snapshot: &Snapshot, leader_term: Term) -> bool {
    let index = snapshot.last_included_index;
    index > LogIndex(0)
        && index <= INDEX_MAX
        && snapshot.last_included_term > Term(0)
        && snapshot.last_included_term <= leader_term
        && snapshot.membership.voters().next().is_some()
}
