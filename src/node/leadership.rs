//! What a node has while it leads, in one term: the window that it reserved, and what confirms that it still
//! leads. All of it is discarded when leadership ends.
//!
//! An ID may be handed out when two conditions hold. It is in the window, so no other leader will ever hand
//! it out. And leadership was confirmed after the request arrived, so no newer leader had handed out a larger
//! ID before it arrived. Either of two events confirms it: a read barrier that began after the request
//! arrived passes (a lease lets it pass at once), or an entry proposed after the request arrived is
//! committed.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use raft_core::{Audience, BarrierId, LogIndex, Micros, Peer, Term};

use super::barriers::Barriers;
use super::counter::{Counter, IdRange, Reserve};
use super::demand::Demand;
use super::group_commit::GroupCommit;
use super::io::WindowStatus;
use super::peer_message::Bequest;
use super::requests::{Arrival, Requests};
use super::reservation::Reservation;

#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    term: Term,
    /// The IDs that this leader may hand out.
    window: IdRange,
    /// Reservations proposed and not yet applied, oldest first.
    reservations: VecDeque<Reservation>,
    /// Barriers begun and not yet passed.
    barriers: Barriers,
    /// Leadership is confirmed for every request up to this one.
    confirmed: Arrival,
    /// The last bequest, and its heir.
    bequest: Option<(Peer, Bequest)>,
    demand: Demand,
    group_commit: GroupCommit,
    /// Whether this node's disk has a write to make durable.
    disk_is_busy: bool,
}

impl Leadership {
    /// A new leadership, with the window that it inherited, which may be empty.
    pub(crate) fn new(term: Term, window_max: u64, window: IdRange, now: Micros) -> Leadership {
        Leadership {
            term,
            window,
            reservations: VecDeque::new(),
            barriers: Barriers::default(),
            confirmed: Arrival::default(),
            bequest: None,
            demand: Demand::new(window_max, now),
            group_commit: GroupCommit::default(),
            disk_is_busy: false,
        }
    }

    /// In this turn, this node's disk has a write to make durable.
    pub(crate) fn on_disk_busy(&mut self, now: Micros) {
        self.disk_is_busy = true;
        self.note_disk_use(now);
    }

    /// In this turn, this node's disk has nothing to make durable.
    pub(crate) fn on_disk_idle(&mut self, now: Micros) {
        if std::mem::take(&mut self.disk_is_busy) {
            self.note_disk_use(now);
        }
    }

    fn note_disk_use(&mut self, now: Micros) {
        if !self.demand.reserves_ahead()
            && let Some(reservation) = self.reservations.back_mut()
        {
            reservation.note_disk_use(now);
        }
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    pub(crate) fn status(&self, counter: Counter) -> WindowStatus {
        let left = self.remaining();
        // With nothing left, the next ID is the first that is reserved next.
        WindowStatus { next_id: if left > 0 { self.window.first } else { counter.next() }, left }
    }

    /// How many IDs are left in the window.
    pub(crate) fn remaining(&self) -> u64 {
        self.window.len()
    }

    /// Whether the request at this place in the order may be answered with IDs, if the window has enough.
    pub(crate) fn is_confirmed(&self, arrival: Arrival) -> bool {
        arrival <= self.confirmed
    }

    /// Takes `count` IDs from the window; `None` if it has fewer.
    pub(crate) fn take(&mut self, count: NonZeroU64) -> Option<u64> {
        let first = self.window.first;
        if self.window.len() < count.get() {
            return None;
        }
        self.window.first += count.get();
        self.demand.on_taken(count);
        Some(first)
    }

    /// Leaves the upper half of the window to a node that is about to take over with a log that ends at
    /// `last_log_index`. Repeating the call with the same arguments repeats the bequest. Nothing is left
    /// while a reservation is under way, because the end of the window is not settled then.
    pub(crate) fn bequeath(&mut self, to: Peer, last_log_index: LogIndex) -> Option<Bequest> {
        let again =
            self.bequest.filter(|(heir, bequest)| *heir == to && bequest.last_log_index == last_log_index);
        if let Some((_, bequest)) = again {
            return Some(bequest);
        }
        let count = NonZeroU64::new(self.window.len() / 2).filter(|_| self.reservations.is_empty())?;
        self.window.end -= count.get();
        let bequest = Bequest { term: self.term, last_log_index, first: self.window.end, count };
        self.bequest = Some((to, bequest));
        Some(bequest)
    }

    /// What to reserve now, for waiting requests and for those to come. To be asked once in each turn in
    /// which a proposal would be accepted: demand, and who is waited for, are followed from turn to turn.
    pub(crate) fn next_reservation(
        &mut self,
        now: Micros,
        requests: &Requests,
        counter: Counter,
    ) -> Option<Reserve> {
        self.demand.end_period_if_over(now);
        if self.awaits_more(now, requests) {
            return None;
        }
        let (under_way, at_hand) = (self.under_way(), self.at_hand());
        let wanted = requests.wanted();
        if wanted > at_hand {
            self.demand.on_shortage();
        }
        let target = self.demand.target();
        // The next window is requested when half of the target is used up, so that it is there in time.
        if at_hand >= wanted.saturating_add(target.div_ceil(2)) {
            return None;
        }
        let missing = wanted.saturating_add(target) - at_hand;
        let available = counter.remaining().saturating_sub(under_way);
        NonZeroU64::new(missing.min(available)).map(|count| Reserve { count })
    }

    /// Nothing can be reserved at present. To be called instead of [`Leadership::next_reservation`].
    pub(crate) fn on_proposals_refused(&mut self) {
        self.group_commit.stop_gathering();
    }

    /// Whether the next reservation is to begin later, so that it serves more requests.
    fn awaits_more(&mut self, now: Micros, requests: &Requests) -> bool {
        let waiting = requests.waiting();
        match self.reservations.back() {
            Some(reservation) => {
                self.group_commit.on_under_way(reservation.proposed_at, waiting);
                now < reservation.next_at() || self.waits_for_disk()
            }
            None if self.demand.reserves_ahead() => false,
            None => {
                self.group_commit.on_none_under_way(now, waiting);
                self.group_commit.is_gathering()
            }
        }
    }

    fn waits_for_disk(&self) -> bool {
        self.disk_is_busy && !self.demand.reserves_ahead()
    }

    /// When the next reservation or barrier should begin that those under way delay, if the waiting requests
    /// need one. What is overdue waits for something else.
    pub(crate) fn deadline(&self, now: Micros, requests: &Requests) -> Option<Micros> {
        let reservation = self.reservations.back().filter(|_| !self.waits_for_disk());
        let next_at = reservation.filter(|_| requests.wanted() > self.at_hand()).map(|r| r.next_at());
        let barrier = self.barriers.timer().filter(|_| self.uncovered(requests) > 0);
        [next_at, barrier].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// When to find out again whether the next reservation should begin, if it waits for more requests.
    pub(crate) fn gathering_deadline(&self) -> Option<Micros> {
        self.group_commit.deadline()
    }

    /// A reservation is being proposed and will be appended.
    pub(crate) fn on_proposed(&mut self, now: Micros, Reserve { count }: Reserve, latest: Arrival) {
        self.reservations.push_back(Reservation::new(count, now, latest));
    }

    /// A reservation of this term was applied: its range belongs to this leader.
    pub(crate) fn on_reserved(&mut self, range: IdRange) {
        let reservation = self.reservations.pop_front();
        let Reservation { latest, .. } =
            reservation.expect("every reservation in a leader's term is one that it proposed");
        let end = self.window.end;
        assert!(range.first >= end, "a window from {} after one that ends at {end}", range.first);
        if range.first == end {
            self.window.end = range.end;
        } else {
            // What lies between was left to another node; two windows are not worth keeping for the rest of
            // the old one.
            self.window = range;
        }
        self.confirmed = self.confirmed.max(latest);
    }

    /// How many requests a barrier beginning now would confirm; `None` if none should begin, because every
    /// request is covered by something under way or enough barriers are under way.
    pub(crate) fn next_barrier(&self, now: Micros, requests: &Requests, audience: Audience) -> Option<u64> {
        let uncovered = self.uncovered(requests);
        (uncovered > 0 && self.barriers.may_begin(now, audience)).then_some(uncovered)
    }

    /// How many requests need a barrier that has not begun.
    fn uncovered(&self, requests: &Requests) -> u64 {
        let mut covered = self.barriers.latest().unwrap_or_default().max(self.confirmed);
        if !self.demand.reserves_ahead() {
            let reservation = self.reservations.back();
            let is_due = reservation.is_some() || self.group_commit.is_gathering();
            if is_due && requests.wanted() > self.at_hand() {
                // These requests wait for a reservation of their own, which will confirm them.
                return 0;
            }
            // Each batch is committed before it is answered, and the commit confirms it.
            covered = reservation.map_or(covered, |r| covered.max(r.latest));
        }
        requests.waiting_after(covered)
    }

    /// How many IDs are being reserved.
    fn under_way(&self) -> u64 {
        self.reservations.iter().map(|r| r.count).sum()
    }

    /// How many IDs can be handed out, now or soon.
    fn at_hand(&self) -> u64 {
        self.window.len().saturating_add(self.under_way())
    }

    pub(crate) fn on_barrier_begun(&mut self, now: Micros, barrier: BarrierId, latest: Arrival) {
        self.barriers.on_begun(now, barrier, latest);
    }

    /// A barrier has passed, and so have all before it.
    pub(crate) fn on_barrier_passed(&mut self, now: Micros, barrier: BarrierId) {
        if let Some(latest) = self.barriers.on_passed(now, barrier) {
            self.confirmed = self.confirmed.max(latest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::demand::WINDOW_MIN;
    use super::super::io::RequestId;
    use super::super::requests::{Asker, Waiting};
    use super::super::reservation::RESERVATION_INTERVAL_US;
    use super::*;

    const WINDOW_MAX: u64 = 1_000_000;

    fn count(count: u64) -> NonZeroU64 {
        NonZeroU64::new(count).unwrap()
    }

    fn requests(counts: &[u64]) -> Requests {
        let mut requests = Requests::default();
        for wanted in counts {
            let asker = Asker::Client(RequestId(1));
            assert!(requests.push(Waiting { asker, count: count(*wanted), deadline: Micros(0) }));
        }
        requests
    }

    fn deadline(leadership: &Leadership, requests: &Requests) -> Option<Micros> {
        leadership.deadline(Micros(0), requests)
    }

    fn next_barrier(leadership: &Leadership, requests: &Requests) -> Option<u64> {
        leadership.next_barrier(Micros(0), requests, Audience::EveryVoter)
    }

    fn counter() -> Counter {
        Counter::starting_at(count(1))
    }

    /// A leadership with this many IDs to hand out and nothing under way.
    fn leadership(left: u64) -> Leadership {
        let mut leadership = Leadership::new(Term(2), WINDOW_MAX, IdRange::default(), Micros(0));
        leadership.on_proposed(Micros(0), Reserve { count: count(left) }, Arrival::default());
        leadership.on_reserved(IdRange { first: 1, end: 1 + left });
        leadership
    }

    /// A time at which the reservation proposed at the beginning no longer delays the next.
    const LATER: Micros = Micros(RESERVATION_INTERVAL_US);

    fn reservation(leadership: &mut Leadership, wanted: &[u64]) -> Option<u64> {
        let reserve = leadership.next_reservation(LATER, &requests(wanted), counter());
        reserve.map(|r| r.count.get())
    }

    #[test]
    fn a_window_is_taken_to_its_last_id_and_no_further() {
        let mut leadership = leadership(10);
        assert_eq!(leadership.take(count(11)), None);
        assert_eq!(leadership.take(count(3)), Some(1));
        assert_eq!(leadership.status(counter()), WindowStatus { next_id: 4, left: 7 });
        assert_eq!(leadership.take(count(7)), Some(4));
        assert_eq!(leadership.status(counter()), WindowStatus { next_id: 1, left: 0 });
        assert_eq!(leadership.take(count(1)), None);
    }

    #[test]
    fn the_next_window_is_asked_for_when_less_than_half_of_the_target_would_be_left() {
        let half = WINDOW_MIN / 2;
        for (left, wanted, reserved) in [
            (half, 0, None),
            (half - 1, 0, Some(half + 1)),
            (half + 7, 7, None),
            (half + 6, 7, Some(half + 1)),
        ] {
            let wanted: &[u64] = if wanted == 0 { &[] } else { &[wanted] };
            assert_eq!(reservation(&mut leadership(left), wanted), reserved, "{left} left, {wanted:?}");
        }
    }

    #[test]
    fn what_is_being_reserved_already_is_not_asked_for_again() {
        let mut leadership = leadership(3);
        let missing = reservation(&mut leadership, &[]).unwrap();
        assert_eq!(missing, WINDOW_MIN - 3);
        leadership.on_proposed(Micros(0), Reserve { count: count(missing) }, Arrival::default());
        assert_eq!(reservation(&mut leadership, &[]), None);
    }

    /// Requests that arrive while a reservation is under way share the next one, which begins when that one
    /// has ended or has been under way for long enough.
    #[test]
    fn a_reservation_that_is_under_way_holds_up_the_next_one_until_it_ends_and_not_for_long() {
        let mut leadership = Leadership::new(Term(2), 0, IdRange::default(), Micros(0));
        let next = |leadership: &mut Leadership, now: u64, wanted: &[u64]| {
            let reserve = leadership.next_reservation(Micros(now), &requests(wanted), counter())?;
            leadership.on_proposed(Micros(now), reserve, Arrival::default());
            Some(reserve.count.get())
        };
        assert_eq!(next(&mut leadership, 5, &[1]), Some(1));
        assert_eq!(deadline(&leadership, &requests(&[1])), None, "the one under way is enough");
        let soon = 5 + RESERVATION_INTERVAL_US;
        assert_eq!(next(&mut leadership, soon - 1, &[1, 1, 4]), None);
        assert_eq!(deadline(&leadership, &requests(&[1, 1, 4])), Some(Micros(soon)));
        assert_eq!(next(&mut leadership, soon, &[1, 1, 4]), Some(5));
        assert_eq!(next(&mut leadership, soon + 1, &[1, 1, 4, 2]), None);
        leadership.on_reserved(IdRange { first: 1, end: 2 });
        assert_eq!(next(&mut leadership, soon + 1, &[1, 1, 4, 2]), None, "there is another under way");
        leadership.on_reserved(IdRange { first: 2, end: 7 });
        assert_eq!(deadline(&leadership, &requests(&[1, 1, 4, 2])), None, "nothing is under way");
        assert_eq!(next(&mut leadership, soon + 1, &[1, 1, 4, 2]), Some(2));
    }

    #[test]
    fn without_a_window_the_next_reservation_does_not_wait_behind_the_one_that_the_disk_writes() {
        for (window_max, waits) in [(0, true), (WINDOW_MAX, false)] {
            let mut leadership = Leadership::new(Term(2), window_max, IdRange::default(), Micros(0));
            leadership.on_proposed(Micros(0), Reserve { count: count(1) }, Arrival::default());
            leadership.on_disk_busy(Micros(10));
            let both = requests(&[1, 1]);
            assert_eq!(deadline(&leadership, &both), (!waits).then_some(LATER));
            leadership.on_disk_busy(LATER);
            let next = |leadership: &mut Leadership, at| {
                leadership.next_reservation(Micros(at), &both, counter()).is_some()
            };
            assert_eq!(next(&mut leadership, LATER.0), !waits);
            leadership.on_disk_idle(Micros(5_000));
            assert_eq!(next(&mut leadership, 5_000), !waits, "the commit may follow soon");
            leadership.on_disk_idle(Micros(9_999));
            assert_eq!(deadline(&leadership, &both), Some(if waits { Micros(10_000) } else { LATER }));
            assert_eq!(next(&mut leadership, 9_999), !waits);
            assert!(next(&mut leadership, 10_000), "the other disks or the network are slower");
        }
    }

    #[test]
    fn a_window_that_runs_dry_is_doubled_and_one_that_just_suffices_is_not() {
        let mut leadership = leadership(10);
        assert_eq!(reservation(&mut leadership, &[4, 6]), Some(WINDOW_MIN));
        assert_eq!(reservation(&mut leadership, &[4, 7]), Some(2 * WINDOW_MIN + 1));
        assert_eq!(reservation(&mut leadership, &[]), Some(2 * WINDOW_MIN - 10), "the target stays");
    }

    #[test]
    fn at_the_end_of_the_integers_only_what_is_left_is_reserved() {
        let mut leadership = leadership(10);
        let counter = Counter::starting_at(count(u64::MAX - 5));
        let reserve = |leadership: &mut Leadership| {
            leadership.next_reservation(LATER, &requests(&[]), counter).map(|r| r.count.get())
        };
        assert_eq!(reserve(&mut leadership), Some(5));
        leadership.on_proposed(Micros(0), Reserve { count: count(2) }, Arrival::default());
        assert_eq!(reserve(&mut leadership), Some(3));
        leadership.on_proposed(Micros(0), Reserve { count: count(3) }, Arrival::default());
        assert_eq!(reserve(&mut leadership), None);
    }

    #[test]
    fn two_barriers_at_most_are_under_way_and_each_begins_for_somebody() {
        let mut leadership = leadership(10);
        let mut requests = Requests::default();
        let asker = Asker::Client(RequestId(1));
        let waiting = Waiting { asker, count: count(1), deadline: Micros(0) };
        assert_eq!(next_barrier(&leadership, &requests), None, "nobody waits");
        let mut places = Vec::new();
        for (barrier, covers) in [(1, Some(2)), (2, Some(1)), (3, None)] {
            for _ in 0..covers.unwrap_or(1) {
                assert!(requests.push(waiting));
            }
            assert_eq!(next_barrier(&leadership, &requests), covers);
            if covers.is_some() {
                leadership.on_barrier_begun(Micros(0), BarrierId(barrier), requests.latest());
                assert_eq!(next_barrier(&leadership, &requests), None, "all that wait are covered");
            }
            places.push(requests.latest());
        }
        leadership.on_barrier_passed(Micros(0), BarrierId(1));
        let confirmed = |leadership: &Leadership| {
            places.iter().map(|place| leadership.is_confirmed(*place)).collect::<Vec<_>>()
        };
        assert_eq!(confirmed(&leadership), [true, false, false]);
        assert_eq!(next_barrier(&leadership, &requests), Some(1), "there is room for the third again");
        leadership.on_barrier_passed(Micros(0), BarrierId(2));
        assert_eq!(confirmed(&leadership), [true, true, false]);
    }

    #[test]
    fn where_rounds_are_slow_a_timer_is_set_for_those_whom_no_barrier_covers() {
        for (took_us, next_at, sets_timer) in [(8_000, 9_000, true), (100, 8_200, false)] {
            let mut leadership = leadership(10);
            leadership.on_barrier_begun(Micros(0), BarrierId(1), Arrival::default());
            leadership.on_barrier_passed(Micros(took_us), BarrierId(1));
            let now = Micros(8_000);
            for barrier in 2..=3 {
                leadership.on_barrier_begun(now, BarrierId(barrier), requests(&[1]).latest());
            }
            assert_eq!(leadership.deadline(now, &requests(&[1])), None, "all are covered");
            let both = requests(&[1, 1]);
            let deadline = sets_timer.then_some(Micros(next_at));
            assert_eq!(leadership.deadline(now, &both), deadline);
            assert_eq!(leadership.next_barrier(Micros(next_at - 1), &both, Audience::EveryVoter), None);
            assert_eq!(leadership.next_barrier(Micros(next_at), &both, Audience::EveryVoter), Some(1));
        }
    }

    fn heir(id: u64) -> Peer {
        Peer { id: raft_core::NodeId::new(id).unwrap(), incarnation: raft_core::Incarnation(7) }
    }

    #[test]
    fn the_upper_half_is_left_once_and_the_same_to_the_same_again() {
        let mut leadership = leadership(10);
        let last_log_index = LogIndex(5);
        let left = Bequest { term: Term(2), last_log_index, first: 6, count: count(5) };
        for _ in 0..2 {
            assert_eq!(leadership.bequeath(heir(2), last_log_index), Some(left));
            assert_eq!(leadership.status(counter()), WindowStatus { next_id: 1, left: 5 });
        }
        // To another heir, or with a longer log, half of what remains is left.
        let more = Bequest { first: 4, count: count(2), ..left };
        assert_eq!(leadership.bequeath(heir(3), last_log_index), Some(more));
        let last_log_index = LogIndex(6);
        let most = Bequest { last_log_index, first: 3, count: count(1), ..left };
        assert_eq!(leadership.bequeath(heir(3), last_log_index), Some(most));
        assert_eq!(leadership.take(count(3)), None);
        assert_eq!(leadership.take(count(2)), Some(1));
    }

    #[test]
    fn nothing_is_left_of_one_id_or_while_more_are_being_reserved() {
        assert_eq!(leadership(1).bequeath(heir(2), LogIndex(5)), None);
        let mut leadership = leadership(10);
        leadership.on_proposed(Micros(0), Reserve { count: count(5) }, Arrival::default());
        assert_eq!(leadership.bequeath(heir(2), LogIndex(5)), None);
        assert_eq!(leadership.status(counter()).left, 10);
    }

    /// What lies between was left to another node.
    #[test]
    fn a_window_that_does_not_follow_on_the_last_one_takes_its_place() {
        let mut leadership = leadership(10);
        assert!(leadership.bequeath(heir(2), LogIndex(5)).is_some());
        leadership.on_proposed(Micros(0), Reserve { count: count(4) }, Arrival::default());
        leadership.on_reserved(IdRange { first: 11, end: 15 });
        assert_eq!(leadership.status(counter()), WindowStatus { next_id: 11, left: 4 });
    }

    /// If every batch is committed before it is answered, the commit confirms it.
    #[test]
    fn without_a_window_a_reservation_under_way_makes_a_barrier_needless() {
        for (window_max, covers) in [(0, None), (1, Some(1))] {
            let mut leadership = Leadership::new(Term(2), window_max, IdRange::default(), Micros(0));
            let requests = requests(&[1]);
            leadership.on_proposed(Micros(0), Reserve { count: count(1) }, requests.latest());
            assert_eq!(next_barrier(&leadership, &requests), covers);
        }
    }

    /// The next reservation confirms the requests that need one. Those whose IDs are at hand need a barrier.
    #[test]
    fn without_a_window_those_who_will_be_reserved_for_need_no_barrier_and_others_do() {
        let mut leadership = Leadership::new(Term(2), 0, IdRange::default(), Micros(0));
        leadership.on_proposed(Micros(0), Reserve { count: count(2) }, Arrival::default());
        for (wanted, covers) in [(&[1, 1, 1][..], None), (&[1, 1], Some(2))] {
            assert_eq!(next_barrier(&leadership, &requests(wanted)), covers, "{wanted:?}");
        }
        leadership.on_reserved(IdRange { first: 1, end: 3 });
        let covers = next_barrier(&leadership, &requests(&[1, 1, 1]));
        assert_eq!(covers, Some(3), "no integers may be left for one");
    }

    /// If the next reservation waits for more requests, it confirms those that wait with it, but for those
    /// whose IDs are at hand.
    #[test]
    fn without_a_window_those_who_are_gathered_need_no_barrier() {
        let mut leadership = Leadership::new(Term(2), 0, IdRange::default(), Micros(0));
        leadership.on_proposed(Micros(0), Reserve { count: count(4) }, Arrival::default());
        let under_way = leadership.next_reservation(Micros(100), &requests(&[1; 4]), counter());
        assert_eq!(under_way, None);
        leadership.on_reserved(IdRange { first: 1, end: 5 });
        assert_eq!(leadership.take(count(3)), Some(1));
        for at in [200, 201] {
            assert_eq!(leadership.next_reservation(Micros(at), &requests(&[1, 1]), counter()), None);
        }
        assert_eq!(leadership.gathering_deadline(), Some(Micros(252)));
        assert_eq!(next_barrier(&leadership, &requests(&[1, 1])), None);
        assert_eq!(next_barrier(&leadership, &requests(&[1])), Some(1));
        let reserve = leadership.next_reservation(Micros(252), &requests(&[1, 1]), counter());
        assert_eq!(reserve.map(|r| r.count.get()), Some(1), "one is at hand");
        assert_eq!(leadership.gathering_deadline(), None);
    }

    /// During a transfer, nothing is proposed: whose IDs are at hand must not wait for a reservation.
    #[test]
    fn where_nothing_can_be_reserved_those_whose_ids_are_at_hand_get_a_barrier() {
        let mut leadership = Leadership::new(Term(2), 0, IdRange::default(), Micros(0));
        leadership.on_proposed(Micros(0), Reserve { count: count(4) }, Arrival::default());
        assert_eq!(leadership.next_reservation(Micros(100), &requests(&[1; 4]), counter()), None);
        leadership.on_reserved(IdRange { first: 1, end: 5 });
        assert_eq!(leadership.take(count(3)), Some(1));
        assert_eq!(leadership.next_reservation(Micros(200), &requests(&[1, 1]), counter()), None);
        assert_eq!(next_barrier(&leadership, &requests(&[1, 1])), None);
        leadership.on_proposals_refused();
        assert_eq!(next_barrier(&leadership, &requests(&[1, 1])), Some(2));
    }

    /// A commit confirmed more than the barrier that is under way will.
    #[test]
    fn what_a_commit_has_confirmed_needs_no_barrier_although_one_is_under_way() {
        let requests = requests(&[1, 1]);
        let mut leadership = leadership(10);
        leadership.on_barrier_begun(Micros(0), BarrierId(1), Arrival::default());
        leadership.on_proposed(Micros(0), Reserve { count: count(10) }, requests.latest());
        leadership.on_reserved(IdRange { first: 11, end: 21 });
        assert_eq!(leadership.uncovered(&requests), 0);
    }

    #[test]
    fn with_a_window_a_reservation_waits_for_nobody() {
        let mut leadership = leadership(1);
        leadership.on_proposed(Micros(0), Reserve { count: count(1) }, Arrival::default());
        assert_eq!(leadership.next_reservation(Micros(10), &requests(&[1; 8]), counter()), None);
        leadership.on_reserved(IdRange { first: 2, end: 3 });
        assert!(leadership.next_reservation(Micros(20), &requests(&[1]), counter()).is_some());
    }

    #[test]
    fn the_commit_of_a_reservation_confirms_those_who_waited_for_it_and_nobody_later() {
        let mut leadership = Leadership::new(Term(2), WINDOW_MAX, IdRange::default(), Micros(0));
        let (first, second) = (requests(&[1]), requests(&[1, 1]));
        leadership.on_proposed(Micros(0), Reserve { count: count(5) }, first.latest());
        leadership.on_proposed(Micros(0), Reserve { count: count(5) }, first.latest());
        assert!(!leadership.is_confirmed(first.latest()));
        leadership.on_reserved(IdRange { first: 8, end: 13 });
        leadership.on_reserved(IdRange { first: 13, end: 18 });
        assert_eq!(leadership.status(counter()), WindowStatus { next_id: 8, left: 10 });
        assert!(leadership.is_confirmed(first.latest()));
        assert!(!leadership.is_confirmed(second.latest()));
    }
}
