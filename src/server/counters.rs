//! The server's counters: plain numbers, so that counting costs next to nothing. `metrics` shows them. Pure.

use std::collections::BTreeMap;

use crate::node::Answer;

/// Counts since the server started. They only grow.
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
    /// Messages that were dropped because there was no link, or because it was full.
    pub(super) messages_dropped: u64,
    /// Messages that no correct peer sends.
    pub(super) messages_impossible: u64,
    pub(super) operations: u64,
    pub(super) dials: u64,
    pub(super) dials_failed: u64,
    pub(super) links_broken: u64,
    /// By the kind of error: one of those of the decoder (`FrameError::LABELS`), or of the two below.
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
    /// The kind of a frame that is sound, and not one that may come there and then.
    pub(super) const UNEXPECTED: &str = "unexpected";
    /// The kind of a frame whose rest does not come.
    pub(super) const INCOMPLETE: &str = "incomplete";

    pub(super) fn count_bad_frame(&mut self, label: &'static str) {
        *self.bad_frames.entry(label).or_insert(0) += 1;
    }

    pub(super) fn count_answer(&mut self, answer: Answer) {
        let answers = &mut self.answers;
        match answer {
            Answer::Ids { count, .. } => {
                answers.ids += 1;
                self.ids_answered += count.get();
            }
            Answer::NotLeader { leader: Some(_) } => answers.redirect += 1,
            Answer::NotLeader { leader: None } => answers.leader_unavailable += 1,
            Answer::TimedOut => answers.timed_out += 1,
            Answer::Overloaded => answers.overloaded += 1,
            Answer::Exhausted => answers.exhausted += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use raft_core::NodeId;

    use super::*;

    #[test]
    fn ids_are_counted_one_by_one_and_answers_by_kind() {
        let mut counters = Counters::default();
        let count = NonZeroU64::new(5).unwrap();
        for answer in [
            Answer::Ids { first: 1, count },
            Answer::Ids { first: 6, count },
            Answer::NotLeader { leader: None },
            Answer::NotLeader { leader: NodeId::new(1) },
            Answer::TimedOut,
        ] {
            counters.count_answer(answer);
        }
        assert_eq!(counters.ids_answered, 10);
        let expected =
            AnswerCounters { ids: 2, redirect: 1, leader_unavailable: 1, timed_out: 1, ..Default::default() };
        assert_eq!(counters.answers, expected);
    }
}
