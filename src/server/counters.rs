//! What the server counts: plain numbers, so that counting costs nothing. `metrics` shows them. Pure.

use std::collections::BTreeMap;

/// Counts since the server began. Each only grows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Counters {
    pub(super) turns: u64,
    pub(super) clients_accepted: u64,
    pub(super) clients_refused: u64,
    pub(super) client_bytes_received: u64,
    pub(super) client_bytes_sent: u64,
    pub(super) requests: u64,
    pub(super) ids_answered: u64,
    pub(super) answers: AnswerCounters,
    pub(super) peer_connections_accepted: u64,
    pub(super) peer_connections_refused: u64,
    pub(super) handshakes_accepted: u64,
    pub(super) handshakes_refused: u64,
    pub(super) handshakes_timed_out: u64,
    pub(super) peer_bytes_received: u64,
    pub(super) peer_bytes_sent: u64,
    pub(super) messages_received: u64,
    pub(super) messages_sent: u64,
    /// Messages that found no link, or a full one.
    pub(super) messages_dropped: u64,
    /// Messages that no sound peer sends.
    pub(super) messages_impossible: u64,
    pub(super) operations: u64,
    pub(super) dials: u64,
    pub(super) dials_failed: u64,
    pub(super) links_broken: u64,
    /// By what was wrong with them.
    pub(super) bad_frames: BTreeMap<&'static str, u64>,
}

/// Answers to requests for IDs, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct AnswerCounters {
    pub(super) ids: u64,
    pub(super) redirect: u64,
    pub(super) leader_unavailable: u64,
    pub(super) timed_out: u64,
    pub(super) overloaded: u64,
    pub(super) exhausted: u64,
}

impl Counters {
    /// One more bad frame.
    pub(super) fn count_bad_frame(&mut self, label: &'static str) {
        *self.bad_frames.entry(label).or_insert(0) += 1;
    }
}
