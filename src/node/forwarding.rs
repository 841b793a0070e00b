//! Forwarding: a node that is configured to forward does not redirect its clients while another node leads.
//! It asks the leader for the IDs of all waiting requests in one message, and answers its clients from the
//! range that comes back.
//!
//! While answers come quickly, one message is under way at a time. Requests that arrive meanwhile go into the
//! next message, so under load few messages serve many requests. On a slow network messages overlap, each for
//! the requests that arrived after those of the one before. The order of IDs holds because the leader takes
//! the range after the message was sent, and so after every request that the message covers had arrived.
//!
//! Answers are used in the order of their messages; one that comes earlier waits for those before it. If the
//! oldest message is not answered in time, all that are under way are given up, and their requests are asked
//! for again in one message under the next number; if an earlier range still comes, it is a gap. So each
//! message gets more time than the one before that was given up: a leader that takes longer for its answers,
//! perhaps because its commits do, would never be in time otherwise. If the connection to the leader breaks,
//! they are given up at once, and the next message, on another connection, need not wait that long.
//!
//! If fewer IDs are left than all the requests want together, some of them may still be served. The next
//! messages then cover only the oldest requests, and no more than half as many IDs as were refused, until it
//! is known of each request whether it can be served.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use raft_core::{Micros, Peer};

use super::Node;
use super::io::Answer;
use super::peer_message::{Forward, ForwardOutcome, SequenceNumber};
use super::requests::{Arrival, Asker, Requests, Waiting};
use super::round_trips::RoundTrips;

/// How many messages for a request fit into its time, if each waits no longer than it must: all but the last
/// may be lost.
const MESSAGES_PER_REQUEST: u64 = 4;

/// How many messages may be under way if they are answered quickly: each costs two nodes as much as a few
/// requests.
const QUICK_MAX: usize = 1;

/// The messages under way, or when the next one may be sent.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    last_sequence: SequenceNumber,
    /// Each covers the requests that arrived after those of the one before.
    under_way: RoundTrips<Message>,
    /// The smallest number of IDs that was refused as too many, on behalf of requests of which some still
    /// wait.
    shortage: Option<Asked>,
    /// A leader that said that it does not lead is not asked again before this moment.
    not_before: Micros,
    /// How long the next message is to wait for its answer, as far as the last one shows.
    timeout_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    sequence: SequenceNumber,
    asked: Asked,
    /// When the message is given up.
    deadline: Micros,
    /// What was answered, if an earlier message was not answered yet.
    outcome: Option<ForwardOutcome>,
}

/// What a message asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// The node that was asked.
    leader: Peer,
    /// The message covers every waiting request up to this one.
    pub(crate) latest: Arrival,
    /// The number of IDs.
    count: NonZeroU64,
}

impl Node {
    /// Another node asks on behalf of its clients, or answers what this node asked.
    pub(super) fn on_forward(&mut self, from: Peer, message: Forward) {
        match message {
            Forward::TakeIds { sequence, count, still_awaited }
                if self.leadership.is_some() && self.is_of_cluster(from) =>
            {
                self.counts.forwards_taken += 1;
                // What the node has given up, it asks for again; and each number stands for one request.
                let is_given_up = |earlier| {
                    earlier == sequence || sequence.follows_by_more_than(earlier, still_awaited.into())
                };
                self.requests.take_asks(|peer, earlier| peer == from && is_given_up(earlier));
                self.enqueue(Asker::Node(from, sequence), count);
            }
            Forward::TakeIds { sequence, .. } => {
                // A node that is no member may be anybody, and ask for all the IDs that there are. And no
                // request is forwarded again: two nodes that take each other for the leader would never stop.
                self.answer(Asker::Node(from, sequence), Answer::NotLeader { leader: None });
            }
            Forward::TakeIdsResponse { sequence, outcome } => {
                self.forwarding.on_answer(from, sequence, outcome);
                while let Some((asked, outcome)) = self.forwarding.next_answered(self.now) {
                    self.on_take_ids_response(asked, outcome);
                }
            }
        }
    }

    /// Whether this peer is a member, or is one until its removal is committed.
    fn is_of_cluster(&self, peer: Peer) -> bool {
        self.raft.membership().contains(peer) || self.raft.committed_membership().contains(peer)
    }

    /// The leader has answered for every request up to the latest that its message covered. Requests that
    /// have timed out meanwhile leave a gap.
    fn on_take_ids_response(&mut self, asked: Asked, outcome: ForwardOutcome) {
        let latest = asked.latest;
        match outcome {
            ForwardOutcome::Ids { first, .. } => self.share_out(latest, first),
            ForwardOutcome::NotLeader => {
                self.forwarding.pause(self.now.plus(self.config.raft.heartbeat_interval_us));
            }
            ForwardOutcome::TimedOut => self.answer_through(latest, Answer::TimedOut),
            ForwardOutcome::Overloaded => self.answer_through(latest, Answer::Overloaded),
            ForwardOutcome::Exhausted => self.forwarding.on_exhausted(asked),
        }
        self.refuse_what_is_beyond();
    }

    /// Refuses the oldest requests that want more IDs than are known to be left. A request behind one that
    /// may still get its IDs is answered after it.
    fn refuse_what_is_beyond(&mut self) {
        while let Some((arrival, waiting)) = self.requests.front()
            && self.forwarding.is_beyond_what_is_left(arrival, waiting.count)
        {
            self.requests.pop();
            self.answer_waiting(waiting, Answer::Exhausted);
        }
    }

    /// Answers every request up to `latest` from the range that begins at `next`.
    fn share_out(&mut self, latest: Arrival, mut next: u64) {
        while let Some(waiting) = self.pop_through(latest) {
            let Waiting { count, deadline, .. } = waiting;
            if deadline <= self.now {
                self.answer_waiting(waiting, Answer::TimedOut);
                continue;
            }
            // The leader counted all of these together, so no request extends beyond the last integer.
            let Some(end) = next.checked_add(count.get()) else {
                self.answer_waiting(waiting, Answer::Exhausted);
                continue;
            };
            self.answer_waiting(waiting, Answer::Ids { first: next, count });
            next = end;
        }
    }

    fn answer_through(&mut self, latest: Arrival, answer: Answer) {
        while let Some(waiting) = self.pop_through(latest) {
            self.answer_waiting(waiting, answer);
        }
    }

    fn pop_through(&mut self, latest: Arrival) -> Option<Waiting> {
        let (arrival, _) = self.requests.front()?;
        if arrival <= latest { self.requests.pop() } else { None }
    }

    /// This node no longer leads: tells the nodes that asked it, so that they ask the new leader.
    pub(super) fn turn_askers_away(&mut self) {
        for (peer, sequence) in self.requests.take_asks(|_, _| true) {
            self.answer(Asker::Node(peer, sequence), Answer::NotLeader { leader: None });
        }
    }

    /// Asks the leader for the IDs that requests wait for here.
    pub(super) fn forward(&mut self) {
        let Some(leader) = self.forwards_to() else {
            self.forwarding.stop(self.now);
            return;
        };
        let request_timeout_us = self.config.request_timeout_us;
        let least_us = self.config.raft.election_timeout_us.min(request_timeout_us / MESSAGES_PER_REQUEST);
        let timeout_us = least_us..=request_timeout_us;
        if let Some(message) = self.forwarding.ask(self.now, leader, &self.requests, timeout_us) {
            self.counts.forwards_sent += 1;
            self.send(leader, message);
        }
    }

    /// The leader that this node asks on behalf of its clients.
    pub(super) fn forwards_to(&self) -> Option<Peer> {
        if !self.config.forward || self.leadership.is_some() {
            return None;
        }
        self.raft.leader_peer()
    }
}

impl Forwarding {
    /// `last_sequence` is the number before the first, and is random.
    pub(crate) fn new(last_sequence: SequenceNumber, now: Micros) -> Forwarding {
        Forwarding {
            last_sequence,
            under_way: RoundTrips::default(),
            shortage: None,
            not_before: now,
            timeout_us: 0,
        }
    }

    /// Asks the leader for the IDs of all requests that no message under way covers or, in a shortage, of
    /// some of them, if another message may be sent. `timeout_us` is how long a message waits for its answer
    /// at least and at most.
    pub(crate) fn ask(
        &mut self,
        now: Micros,
        leader: Peer,
        requests: &Requests,
        timeout_us: RangeInclusive<u64>,
    ) -> Option<Forward> {
        self.give_up(now, leader);
        if now < self.not_before || !self.may_ask(now) {
            return None;
        }
        let asked = self.next_asked(leader, requests)?;
        let sequence = SequenceNumber(self.last_sequence.0.wrapping_add(1));
        self.last_sequence = sequence;
        let timeout_us = self.timeout_us.clamp(*timeout_us.start(), *timeout_us.end());
        let still_awaited = u8::try_from(self.under_way.len()).expect("a few are under way");
        let deadline = now.plus(timeout_us);
        self.under_way.begin(now, Message { sequence, asked, deadline, outcome: None });
        Some(Forward::TakeIds { sequence, count: asked.count, still_awaited })
    }

    /// Gives up all messages if another node leads now, or if the oldest has waited for its time.
    fn give_up(&mut self, now: Micros, leader: Peer) {
        let Some((asked_at, oldest)) = self.under_way.oldest() else { return };
        if oldest.asked.leader != leader {
            self.timeout_us = 0;
        } else if oldest.deadline <= now {
            self.timeout_us = oldest.deadline.since(asked_at).saturating_mul(2);
        } else {
            return;
        }
        self.under_way.clear();
    }

    /// What was sent to this peer and not answered may be lost, whatever time it has left.
    pub(crate) fn on_connection_broken(&mut self, peer: Peer) {
        if self.under_way.oldest().is_some_and(|(_, oldest)| oldest.asked.leader == peer) {
            self.under_way.clear();
            self.timeout_us = 0;
        }
    }

    /// Whether another message may be sent. In a shortage, only the answer to the last one shows what to ask
    /// for next.
    fn may_ask(&self, now: Micros) -> bool {
        self.under_way.may_begin(now, QUICK_MAX) && (self.shortage.is_none() || self.under_way.len() == 0)
    }

    /// The latest request that a message under way covers.
    fn covered(&self) -> Arrival {
        self.under_way.latest().map_or(Arrival::default(), |latest| latest.asked.latest)
    }

    /// A message is answered. The answer counts if the message is under way and asked for as many IDs: a
    /// range that does not fit the requests is that of another message, and is handed out to others as well.
    pub(crate) fn on_answer(&mut self, from: Peer, sequence: SequenceNumber, outcome: ForwardOutcome) {
        let is_meant = |m: &Message| m.sequence == sequence && m.asked.leader == from;
        let Some(message) = self.under_way.iter_mut().find(|message| is_meant(message)) else { return };
        let misfits = matches!(outcome, ForwardOutcome::Ids { count, .. } if count != message.asked.count);
        if !misfits {
            message.outcome = Some(outcome);
        }
    }

    /// The oldest message, if it has been answered: what was asked for, and the answer.
    pub(crate) fn next_answered(&mut self, now: Micros) -> Option<(Asked, ForwardOutcome)> {
        let (asked_at, _) = self.under_way.oldest()?;
        let answered = self.under_way.end_oldest_if(now, |oldest| oldest.outcome.is_some())?;
        self.timeout_us = now.since(asked_at).saturating_mul(2);
        answered.outcome.map(|outcome| (answered.asked, outcome))
    }

    /// Fewer IDs are left than were asked for. The requests that were asked for wait before all others, so
    /// what comes for these is a gap.
    pub(crate) fn on_exhausted(&mut self, asked: Asked) {
        self.under_way.clear();
        // In a shortage, fewer were asked for than were refused before, and for no later requests.
        let latest = self.shortage.map_or(asked.latest, |before| before.latest);
        self.shortage = Some(Asked { latest, ..asked });
    }

    /// Whether a request at this place is known to want more IDs than are left. The number left never grows,
    /// but only requests that already waited when this became known are refused: the leader is asked for
    /// those that came later, as if they were its own clients'.
    pub(crate) fn is_beyond_what_is_left(&self, place: Arrival, count: NonZeroU64) -> bool {
        self.shortage.is_some_and(|shortage| place <= shortage.latest && count >= shortage.count)
    }

    /// The node that was asked does not lead: leaves time for news of the next leader to arrive.
    pub(crate) fn pause(&mut self, until: Micros) {
        self.under_way.clear();
        self.not_before = until;
    }

    /// This node leads, or knows no leader: it no longer expects an answer.
    pub(crate) fn stop(&mut self, now: Micros) {
        self.under_way.clear();
        self.shortage = None;
        self.not_before = now;
        self.timeout_us = 0;
    }

    /// When [`Forwarding::ask`] may have something to do, if requests wait.
    pub(crate) fn deadline(&self, requests: &Requests) -> Micros {
        let Some((_, oldest)) = self.under_way.oldest() else { return self.not_before };
        let needs_another = self.shortage.is_none() && requests.waiting_after(self.covered()) > 0;
        let timer = self.under_way.timer().filter(|_| needs_another);
        timer.map_or(oldest.deadline, |at| at.min(oldest.deadline))
    }

    /// What to ask for next. In a shortage, each refusal either halves the number of IDs or leads to an
    /// answer for the oldest request, and each range leads to such an answer: so a shortage ends.
    fn next_asked(&mut self, leader: Peer, requests: &Requests) -> Option<Asked> {
        let (oldest, _) = requests.front()?;
        // Another leader may have inherited IDs that this one does not know about.
        self.shortage.take_if(|shortage| shortage.leader != leader || shortage.latest < oldest);
        let (latest, count) = match self.shortage {
            Some(shortage) => requests.oldest_wanting(shortage.latest, shortage.count.get() / 2)?,
            None => (requests.latest(), NonZeroU64::new(requests.wanted_after(self.covered()))?),
        };
        Some(Asked { leader, latest, count })
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Incarnation, NodeId};

    use super::super::io::RequestId;
    use super::super::requests::{Asker, Waiting};
    use super::*;

    const TIMEOUT_US: u64 = 100;
    const PATIENCE_US_MAX: u64 = 500;

    fn leader(id: u64) -> Peer {
        Peer { id: NodeId::new(id).unwrap(), incarnation: Incarnation(1) }
    }

    /// Requests for two IDs each.
    fn requests(waiting: u64) -> Requests {
        let mut requests = Requests::default();
        for request in 0..waiting {
            let asker = Asker::Client(RequestId(request));
            let count = NonZeroU64::new(2).unwrap();
            assert!(requests.push(Waiting { asker, count, deadline: Micros(0) }));
        }
        requests
    }

    fn ask(
        forwarding: &mut Forwarding,
        now: u64,
        leader_id: u64,
        waiting: u64,
    ) -> Option<(SequenceNumber, u64)> {
        let message =
            forwarding.ask(Micros(now), leader(leader_id), &requests(waiting), TIMEOUT_US..=PATIENCE_US_MAX);
        message.map(|message| match message {
            Forward::TakeIds { sequence, count, still_awaited } => {
                assert_eq!(usize::from(still_awaited) + 1, forwarding.under_way.len());
                (sequence, count.get())
            }
            Forward::TakeIdsResponse { .. } => panic!("asked with an answer"),
        })
    }

    fn answered_at(
        now: u64,
        forwarding: &mut Forwarding,
        from: Peer,
        sequence: SequenceNumber,
    ) -> Option<Asked> {
        forwarding.on_answer(from, sequence, ForwardOutcome::TimedOut);
        forwarding.next_answered(Micros(now)).map(|(asked, _)| asked)
    }

    fn answered(forwarding: &mut Forwarding, from: Peer, sequence: SequenceNumber) -> Option<Asked> {
        answered_at(0, forwarding, from, sequence)
    }

    /// What is asked for on behalf of this many requests.
    fn asked(leader_id: u64, waiting: u64) -> Asked {
        let requests = requests(waiting);
        let count = NonZeroU64::new(requests.wanted()).unwrap();
        Asked { leader: leader(leader_id), latest: requests.latest(), count }
    }

    #[test]
    fn one_message_asks_for_all_that_wait_and_the_next_waits_for_its_answer() {
        let mut forwarding = Forwarding::new(SequenceNumber(u64::MAX), Micros(0));
        assert_eq!(ask(&mut forwarding, 10, 1, 0), None, "nobody waits");
        assert_eq!(ask(&mut forwarding, 10, 1, 3), Some((SequenceNumber(0), 6)));
        assert_eq!(forwarding.deadline(&Requests::default()), Micros(10 + TIMEOUT_US));
        assert_eq!(ask(&mut forwarding, 20, 1, 4), None);
        assert_eq!(answered(&mut forwarding, leader(1), SequenceNumber(0)), Some(asked(1, 3)));
        assert_eq!(
            answered(&mut forwarding, leader(1), SequenceNumber(0)),
            None,
            "a second answer to one message"
        );
        assert_eq!(ask(&mut forwarding, 30, 1, 1), Some((SequenceNumber(1), 2)));
    }

    #[test]
    fn while_messages_overlap_a_timer_is_set_for_those_whom_none_covers() {
        let mut forwarding = Forwarding::new(SequenceNumber(0), Micros(0));
        let (sequence, _) = ask(&mut forwarding, 0, 1, 1).unwrap();
        assert_eq!(forwarding.deadline(&requests(2)), Micros(TIMEOUT_US), "as if the answer were quick");
        assert!(answered_at(1_600, &mut forwarding, leader(1), sequence).is_some());
        assert_eq!(ask(&mut forwarding, 1_600, 1, 2), Some((SequenceNumber(2), 4)));
        assert_eq!(ask(&mut forwarding, 1_610, 1, 3), Some((SequenceNumber(3), 2)), "one more");
        assert_eq!(forwarding.deadline(&requests(3)), Micros(1_600 + PATIENCE_US_MAX), "all are covered");
        assert_eq!(forwarding.deadline(&requests(4)), Micros(1_810));
        assert_eq!(ask(&mut forwarding, 1_809, 1, 4), None);
        assert_eq!(ask(&mut forwarding, 1_810, 1, 4), Some((SequenceNumber(4), 2)));
    }

    #[test]
    fn an_answer_of_another_node_or_to_another_message_is_none() {
        let mut forwarding = Forwarding::new(SequenceNumber(4), Micros(0));
        assert_eq!(answered(&mut forwarding, leader(1), SequenceNumber(4)), None, "nothing was asked");
        assert_eq!(ask(&mut forwarding, 10, 1, 1), Some((SequenceNumber(5), 2)));
        assert_eq!(answered(&mut forwarding, leader(2), SequenceNumber(5)), None);
        assert_eq!(answered(&mut forwarding, leader(1), SequenceNumber(4)), None);
        assert_eq!(answered(&mut forwarding, leader(1), SequenceNumber(5)), Some(asked(1, 1)));
    }

    #[test]
    fn a_message_is_given_up_for_another_leader_or_when_its_time_is_over() {
        for (now, leader_id, again) in
            [(10 + TIMEOUT_US - 1, 1, None), (10 + TIMEOUT_US, 1, Some(6)), (11, 2, Some(6))]
        {
            let mut forwarding = Forwarding::new(SequenceNumber(4), Micros(0));
            assert_eq!(ask(&mut forwarding, 10, 1, 1), Some((SequenceNumber(5), 2)));
            let again = again.map(|sequence| (SequenceNumber(sequence), 2));
            assert_eq!(ask(&mut forwarding, now, leader_id, 1), again, "at {now}, {leader_id} leads");
            let late = answered(&mut forwarding, leader(1), SequenceNumber(5));
            assert_eq!(late.is_some(), again.is_none(), "the first range is a gap then");
        }
    }

    /// A leader forgets what it was asked for before when the node asks again. If it needs longer than the
    /// node waits, it would never answer.
    #[test]
    fn each_message_waits_twice_as_long_as_the_one_before_that_was_given_up_up_to_a_bound() {
        let mut forwarding = Forwarding::new(SequenceNumber(4), Micros(0));
        let mut now = 10;
        for timeout_us in [100, 200, 400, PATIENCE_US_MAX, PATIENCE_US_MAX] {
            assert!(ask(&mut forwarding, now, 1, 1).is_some());
            assert_eq!(forwarding.deadline(&Requests::default()), Micros(now + timeout_us));
            now += timeout_us;
        }
        assert!(ask(&mut forwarding, now, 2, 1).is_some());
        assert_eq!(
            forwarding.deadline(&Requests::default()),
            Micros(now + TIMEOUT_US),
            "another leader may be quicker"
        );
    }

    #[test]
    fn a_message_waits_twice_as_long_as_the_last_answer_took_or_as_long_as_it_must() {
        let mut forwarding = Forwarding::new(SequenceNumber(4), Micros(0));
        for (took_us, timeout_us) in [(0, 100), (80, 100), (120, 160), (10, 240), (400, 100)] {
            let (sequence, _) = ask(&mut forwarding, 1_000, 1, 1).unwrap();
            assert_eq!(forwarding.deadline(&Requests::default()), Micros(1_000 + timeout_us));
            assert!(answered_at(1_000 + took_us, &mut forwarding, leader(1), sequence).is_some());
        }
        assert!(ask(&mut forwarding, 1_000, 1, 1).is_some());
        assert_eq!(forwarding.deadline(&Requests::default()), Micros(1_000 + PATIENCE_US_MAX));
    }

    #[test]
    fn a_leader_that_denied_it_is_asked_again_once_the_pause_is_over() {
        let mut forwarding = Forwarding::new(SequenceNumber(4), Micros(0));
        forwarding.pause(Micros(50));
        assert_eq!(forwarding.deadline(&Requests::default()), Micros(50));
        assert_eq!(ask(&mut forwarding, 49, 1, 1), None);
        assert_eq!(ask(&mut forwarding, 50, 1, 1), Some((SequenceNumber(5), 2)));
    }

    #[test]
    fn what_is_stopped_expects_no_answer_and_need_not_pause() {
        let mut forwarding = Forwarding::new(SequenceNumber(4), Micros(0));
        assert_eq!(ask(&mut forwarding, 10, 1, 1), Some((SequenceNumber(5), 2)));
        forwarding.pause(Micros(500));
        forwarding.stop(Micros(20));
        assert_eq!(forwarding.deadline(&Requests::default()), Micros(20));
        assert_eq!(answered(&mut forwarding, leader(1), SequenceNumber(5)), None);
        assert_eq!(ask(&mut forwarding, 20, 1, 1), Some((SequenceNumber(6), 2)));
    }

    #[test]
    fn what_is_refused_as_too_much_is_asked_for_by_halves_of_that_leader_and_then_by_all_again() {
        let mut forwarding = Forwarding::new(SequenceNumber(0), Micros(0));
        for (waiting, wanted) in [(8, 16), (8, 8), (9, 4)] {
            let (sequence, count) = ask(&mut forwarding, 10, 1, waiting).unwrap();
            assert_eq!(count, wanted, "{waiting} wait");
            let refused = answered(&mut forwarding, leader(1), sequence).unwrap();
            forwarding.on_exhausted(refused);
        }
        let (eighth, ninth) = (requests(8).latest(), requests(9).latest());
        let beyond = |place, count| forwarding.is_beyond_what_is_left(place, NonZeroU64::new(count).unwrap());
        assert!(beyond(eighth, 4) && beyond(eighth, 5), "4 were refused");
        assert!(!beyond(eighth, 3), "3 may be left");
        assert!(!beyond(ninth, 4), "it came when the shortage was known");
        for (leader_id, waiting, wanted) in [(1, 9, 2), (2, 9, 18), (1, 9, 18)] {
            let (sequence, count) = ask(&mut forwarding, 20, leader_id, waiting).unwrap();
            assert_eq!(count, wanted, "{leader_id} leads");
            answered(&mut forwarding, leader(leader_id), sequence).unwrap();
        }
    }

    #[test]
    fn a_shortage_ends_with_the_last_who_waited_when_it_was_noticed_or_when_forwarding_stops() {
        for stops in [false, true] {
            let mut forwarding = Forwarding::new(SequenceNumber(0), Micros(0));
            let (sequence, _) = ask(&mut forwarding, 10, 1, 3).unwrap();
            let refused = answered(&mut forwarding, leader(1), sequence).unwrap();
            forwarding.on_exhausted(refused);
            let mut requests = requests(5);
            if stops {
                forwarding.stop(Micros(20));
            } else {
                while requests.front().is_some_and(|(arrival, _)| arrival <= refused.latest) {
                    requests.pop();
                }
            }
            let message = forwarding.ask(Micros(20), leader(1), &requests, TIMEOUT_US..=PATIENCE_US_MAX);
            let count = NonZeroU64::new(requests.wanted()).unwrap();
            let asks_for_all = Forward::TakeIds { sequence: SequenceNumber(2), count, still_awaited: 0 };
            assert_eq!(message, Some(asks_for_all), "stops: {stops}");
        }
    }
}
