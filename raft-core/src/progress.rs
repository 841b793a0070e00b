//! What a leader knows about one other member (Raft Figure 2: `nextIndex`, `matchIndex`).

use alloc::collections::VecDeque;

use crate::config::{APPENDS_IN_FLIGHT_MAX, ROUNDS_UNANSWERED_MAX};
use crate::types::{LogIndex, Micros, Round};

/// One other member, as the leader sees it. Always `match_index < next_index`.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// Highest index known to agree with the leader's log, durably.
    pub(crate) match_index: LogIndex,
    /// The next index to send.
    pub(crate) next_index: LogIndex,
    /// How entries are sent at present.
    pub(crate) state: ProgressState,
    /// What is in flight has been unanswered for so long that it may be lost. The answer to this round, which
    /// began later, shows whether it is: links deliver in order.
    pub(crate) loss_check: Option<Round>,
    /// When it last answered anything in this term, or when the term began.
    pub(crate) last_heard: Micros,
    /// The driver has reported that its process is gone, and nothing has been heard from it since.
    pub(crate) is_gone: bool,
    /// The latest round that it has answered.
    pub(crate) acked_round: Round,
    /// The latest rounds that it was asked for and has not answered, oldest first; no more of them than make
    /// it lag.
    pub(crate) rounds_unanswered: VecDeque<Round>,
    /// Until when, by the leader's clock, the leader may rely on it to support no other node.
    pub(crate) supports_until: Micros,
}

/// How entries are sent to a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ProgressState {
    /// It is not known where the logs agree. One append is sent at a time, and the next only after an
    /// answer, or if it may be lost.
    Probe {
        /// Whether one is in flight.
        waiting: bool,
    },
    /// The logs agree up to `match_index`: appends follow each other without waiting for answers.
    Replicate {
        /// The last index of each append that has not been answered yet.
        in_flight: VecDeque<LogIndex>,
        /// When an answer last moved `match_index`, or the first of these was sent.
        progressed_at: Micros,
    },
    /// A snapshot is in flight; nothing else is sent before it is answered.
    Snapshot {
        /// When it was sent.
        sent_at: Micros,
    },
}

impl Progress {
    /// What a new leader assumes (Figure 2: `nextIndex` is its last index plus one, `matchIndex` is 0).
    pub(crate) fn new(next_index: LogIndex, now: Micros) -> Progress {
        Progress {
            match_index: LogIndex(0),
            next_index,
            state: ProgressState::Probe { waiting: false },
            loss_check: None,
            last_heard: now,
            is_gone: false,
            acked_round: Round(0),
            rounds_unanswered: VecDeque::new(),
            supports_until: Micros(0),
        }
    }

    /// The member has answered.
    pub(crate) fn on_heard(&mut self, now: Micros) {
        self.last_heard = now;
        self.is_gone = false;
    }

    /// The member's process is gone: what was in flight is lost.
    pub(crate) fn on_gone(&mut self) {
        self.is_gone = true;
        self.probe();
    }

    /// Whether the member can be expected to answer: it has answered within `timeout_us` and is not known to
    /// be gone.
    pub(crate) fn is_responsive(&self, now: Micros, timeout_us: u64) -> bool {
        !self.is_gone && now.since(self.last_heard) < timeout_us
    }

    /// It is asked for this round.
    pub(crate) fn on_asked(&mut self, round: Round) {
        if self.lags_in_rounds() {
            self.rounds_unanswered.pop_front();
        }
        self.rounds_unanswered.push_back(round);
    }

    /// Whether it has left so many rounds unanswered that more of them would only wait in its link. Rounds
    /// that it was not asked for do not count: a thrifty leader asks some voters hardly ever.
    pub(crate) fn lags_in_rounds(&self) -> bool {
        self.rounds_unanswered.len() >= ROUNDS_UNANSWERED_MAX
    }

    /// Whether an append may be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.state {
            ProgressState::Probe { waiting } => !waiting,
            ProgressState::Replicate { in_flight, .. } => in_flight.len() < APPENDS_IN_FLIGHT_MAX,
            ProgressState::Snapshot { .. } => false,
        }
    }

    /// An append up to `last_index` has been sent.
    pub(crate) fn on_sent(&mut self, last_index: LogIndex, now: Micros) {
        match &mut self.state {
            ProgressState::Probe { waiting } => *waiting = true,
            ProgressState::Replicate { in_flight, progressed_at } => {
                if in_flight.is_empty() {
                    *progressed_at = now;
                }
                in_flight.push_back(last_index);
                self.next_index = last_index.next();
            }
            ProgressState::Snapshot { .. } => {}
        }
    }

    /// The member's log agrees up to `match_index`.
    pub(crate) fn on_matched(&mut self, match_index: LogIndex, now: Micros) {
        let advanced = match_index > self.match_index;
        if advanced || !matches!(self.state, ProgressState::Replicate { .. }) {
            self.loss_check = None;
        }
        self.match_index = self.match_index.max(match_index);
        self.next_index = self.next_index.max(self.match_index.next());
        match &mut self.state {
            ProgressState::Replicate { in_flight, progressed_at } => {
                while in_flight.pop_front_if(|last| *last <= match_index).is_some() {}
                if advanced {
                    *progressed_at = now;
                }
            }
            ProgressState::Probe { .. } | ProgressState::Snapshot { .. } => {
                self.state = ProgressState::Replicate { in_flight: VecDeque::new(), progressed_at: now };
                // What was sent before may have been lost: start from what is known.
                self.next_index = self.match_index.next();
            }
        }
    }

    /// The member rejected an append after `prev_log_index`; the logs agree no further than
    /// `agree_at_most`. False if the answer is stale.
    pub(crate) fn on_rejected(&mut self, prev_log_index: LogIndex, agree_at_most: LogIndex) -> bool {
        // What matched once stays matched: a follower does not lose it, and an answer to the contrary is
        // stale.
        let stale = prev_log_index <= self.match_index
            || match &self.state {
                ProgressState::Replicate { .. } => false,
                ProgressState::Probe { .. } | ProgressState::Snapshot { .. } => {
                    self.next_index.previous() != Some(prev_log_index)
                }
            };
        if stale {
            return false;
        }
        let next_index = prev_log_index.min(agree_at_most.next());
        self.next_index = next_index.max(self.match_index.next());
        self.loss_check = None;
        self.state = ProgressState::Probe { waiting: false };
        true
    }

    /// What was in flight may be lost: finds out again where the logs agree.
    pub(crate) fn probe(&mut self) {
        self.next_index = self.match_index.next();
        self.loss_check = None;
        self.state = ProgressState::Probe { waiting: false };
    }

    /// To be called with each heartbeat. What has gone unanswered for `timeout_us`, or as a probe at all, may
    /// be lost. A probe or a snapshot is sent again at once, behind that heartbeat; a third copy, and
    /// anything of a row of appends, only once the answer to `round`, which that heartbeat can begin, shows
    /// that it is lost: what is on its way through a narrow link is slow, and each copy makes it slower.
    /// Returns whether the heartbeat must begin that round.
    pub(crate) fn check_for_loss(&mut self, now: Micros, timeout_us: u64, round: Round) -> bool {
        let is_single = !matches!(self.state, ProgressState::Replicate { .. });
        let may_be_lost = match &self.state {
            ProgressState::Probe { waiting } => *waiting,
            ProgressState::Replicate { in_flight, progressed_at } => {
                !in_flight.is_empty() && now.since(*progressed_at) >= timeout_us
            }
            ProgressState::Snapshot { sent_at } => now.since(*sent_at) >= timeout_us,
        };
        if !may_be_lost || self.loss_check.is_some() {
            return false;
        }
        if is_single {
            self.send_again();
        }
        self.loss_check = Some(round);
        true
    }

    /// The member has answered this round.
    pub(crate) fn on_round_answered(&mut self, round: Round) {
        self.acked_round = self.acked_round.max(round);
        // Links deliver in order: what it was asked before that is answered, or lost.
        while self.rounds_unanswered.pop_front_if(|asked| *asked < round).is_some() {}
        self.rounds_unanswered.pop_front_if(|asked| *asked == round);
    }

    /// The member has answered this round, and no answer of it waits for its disk. Returns whether that shows
    /// that a row of appends, or the answer to it, is lost, and that one is to be sent again.
    pub(crate) fn finds_loss(&mut self, round: Round) -> bool {
        if self.loss_check.is_none_or(|check| round < check) {
            return false;
        }
        self.loss_check = None;
        let is_row = matches!(self.state, ProgressState::Replicate { .. });
        if is_row {
            self.probe();
        }
        is_row
    }

    /// Lets a probe or a snapshot be sent again. A probe stays where it was in finding out where the logs
    /// agree.
    fn send_again(&mut self) {
        match &mut self.state {
            ProgressState::Probe { waiting } => *waiting = false,
            ProgressState::Replicate { .. } | ProgressState::Snapshot { .. } => self.probe(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT_US: u64 = 80;

    /// One whose log agrees up to 5, and to whom 6 to 8 were sent at the moments 100 to 102, each on its own.
    fn replicating() -> Progress {
        let mut progress = Progress::new(LogIndex(6), Micros(0));
        progress.on_matched(LogIndex(5), Micros(50));
        for (index, now) in [(6, 100), (7, 101), (8, 102)] {
            progress.on_sent(LogIndex(index), Micros(now));
        }
        progress
    }

    /// The member answers this round, and its disk has nothing to write. Whether that shows a loss.
    fn answered(progress: &mut Progress, round: Round) -> bool {
        progress.on_round_answered(round);
        progress.finds_loss(round)
    }

    fn in_flight(progress: &Progress) -> Option<usize> {
        match &progress.state {
            ProgressState::Replicate { in_flight, .. } => Some(in_flight.len()),
            ProgressState::Probe { .. } | ProgressState::Snapshot { .. } => None,
        }
    }

    #[test]
    fn who_has_been_silent_for_an_election_timeout_is_not_expected_to_answer() {
        let mut progress = Progress::new(LogIndex(1), Micros(100));
        assert!(progress.is_responsive(Micros(179), TIMEOUT_US));
        assert!(!progress.is_responsive(Micros(180), TIMEOUT_US));
        progress.on_heard(Micros(180));
        assert!(progress.is_responsive(Micros(180), TIMEOUT_US));
    }

    #[test]
    fn an_answer_makes_room_for_as_many_appends_as_it_covers() {
        let mut progress = replicating();
        progress.on_matched(LogIndex(7), Micros(110));
        assert_eq!(in_flight(&progress), Some(1));
        progress.on_matched(LogIndex(6), Micros(111));
        assert_eq!((in_flight(&progress), progress.match_index), (Some(1), LogIndex(7)), "an old answer");
        progress.on_matched(LogIndex(8), Micros(112));
        assert_eq!(in_flight(&progress), Some(0));
    }

    #[test]
    fn what_is_unanswered_for_the_response_timeout_is_taken_for_lost_and_sent_anew() {
        let mut progress = replicating();
        assert!(!progress.check_for_loss(Micros(179), TIMEOUT_US, Round(5)));
        assert!(!answered(&mut progress, Round(5)));
        assert!(progress.check_for_loss(Micros(180), TIMEOUT_US, Round(6)));
        assert!(!answered(&mut progress, Round(5)), "that was sent before what is in flight");
        assert!(!progress.check_for_loss(Micros(181), TIMEOUT_US, Round(7)), "it has been asked");
        assert_eq!((in_flight(&progress), progress.next_index), (Some(3), LogIndex(9)));
        assert!(answered(&mut progress, Round(6)));
        assert_eq!((in_flight(&progress), progress.next_index), (None, LogIndex(6)));
        assert!(!answered(&mut progress, Round(7)));
    }

    #[test]
    fn what_has_arrived_and_waits_for_the_disk_is_not_sent_again_however_long_that_takes() {
        let mut progress = replicating();
        assert!(progress.check_for_loss(Micros(180), TIMEOUT_US, Round(6)));
        for round in 6..100 {
            progress.on_round_answered(Round(round));
            assert!(
                !progress.check_for_loss(Micros(200 + round), TIMEOUT_US, Round(round + 1)),
                "it has been asked"
            );
            assert_eq!((in_flight(&progress), progress.next_index), (Some(3), LogIndex(9)));
        }
        assert!(answered(&mut progress, Round(100)), "its answer is lost");
    }

    #[test]
    fn only_an_answer_that_brings_something_new_restarts_the_response_timeout() {
        let mut progress = replicating();
        progress.on_matched(LogIndex(6), Micros(170));
        progress.on_matched(LogIndex(6), Micros(240));
        progress.on_matched(LogIndex(5), Micros(241));
        assert!(!progress.check_for_loss(Micros(249), TIMEOUT_US, Round(1)));
        assert!(progress.check_for_loss(Micros(250), TIMEOUT_US, Round(1)));
        progress.on_matched(LogIndex(7), Micros(251));
        assert!(!answered(&mut progress, Round(1)), "it was slow");
        assert_eq!(in_flight(&progress), Some(1));
        assert!(progress.check_for_loss(Micros(331), TIMEOUT_US, Round(2)));
        assert!(answered(&mut progress, Round(2)));
        assert_eq!((in_flight(&progress), progress.next_index), (None, LogIndex(8)));
    }

    #[test]
    fn an_answer_that_brings_nothing_new_settles_a_probe_and_leaves_a_row_in_doubt() {
        let mut row = replicating();
        assert!(row.check_for_loss(Micros(180), TIMEOUT_US, Round(6)));
        row.on_matched(LogIndex(5), Micros(181));
        assert!(answered(&mut row, Round(6)), "it is lost");
        let mut probe = Progress::new(LogIndex(6), Micros(0));
        probe.on_sent(LogIndex(5), Micros(0));
        assert!(probe.check_for_loss(Micros(1), TIMEOUT_US, Round(1)));
        probe.on_matched(LogIndex(0), Micros(2));
        probe.on_sent(LogIndex(5), Micros(3));
        assert!(!answered(&mut probe, Round(1)), "what is in flight now was sent later");
    }

    /// Heartbeats repeat the latest round.
    #[test]
    fn of_a_round_that_was_asked_for_again_and_again_each_answer_accounts_for_one() {
        let mut progress = Progress::new(LogIndex(1), Micros(0));
        for _ in 0..=ROUNDS_UNANSWERED_MAX {
            progress.on_asked(Round(7));
        }
        assert!(progress.lags_in_rounds());
        progress.on_round_answered(Round(7));
        assert!(!progress.lags_in_rounds());
        progress.on_asked(Round(8));
        assert!(progress.lags_in_rounds(), "the other copies are still on their way");
        progress.on_round_answered(Round(8));
        assert!(progress.rounds_unanswered.is_empty());
    }

    #[test]
    fn a_member_that_lacks_nothing_is_not_probed_however_long_it_says_nothing() {
        let mut progress = Progress::new(LogIndex(6), Micros(0));
        progress.on_matched(LogIndex(5), Micros(0));
        assert!(!progress.check_for_loss(Micros(1_000), TIMEOUT_US, Round(1)));
        assert_eq!(in_flight(&progress), Some(0));
    }

    #[test]
    fn a_snapshot_that_is_unanswered_for_the_response_timeout_is_taken_for_lost() {
        let mut progress = Progress::new(LogIndex(1), Micros(0));
        progress.state = ProgressState::Snapshot { sent_at: Micros(100) };
        assert!(!progress.check_for_loss(Micros(179), TIMEOUT_US, Round(1)));
        assert!(progress.check_for_loss(Micros(180), TIMEOUT_US, Round(1)));
        assert!(progress.is_ready());
    }

    #[test]
    fn a_probe_is_repeated_once_and_again_when_the_heartbeat_before_the_copy_is_answered() {
        let mut progress = Progress::new(LogIndex(9), Micros(0));
        progress.on_sent(LogIndex(8), Micros(0));
        assert!(progress.check_for_loss(Micros(1), TIMEOUT_US, Round(1)));
        assert!(progress.is_ready());
        progress.on_sent(LogIndex(8), Micros(1));
        assert!(!progress.check_for_loss(Micros(2), TIMEOUT_US, Round(2)));
        assert!(!progress.is_ready());
        assert!(!answered(&mut progress, Round(1)));
        assert!(progress.check_for_loss(Micros(3), TIMEOUT_US, Round(2)));
        assert!(progress.is_ready());
        assert_eq!(progress.next_index, LogIndex(9));
    }
}
