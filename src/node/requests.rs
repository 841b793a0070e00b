//! The waiting requests, oldest first, and how many IDs they want in total.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use raft_core::{Micros, Peer};

use super::io::RequestId;
use super::peer_message::SequenceNumber;

/// How many requests may wait. A leader that cannot answer for a while holds 4 MiB of them and refuses the
/// rest.
pub(crate) const WAITING_REQUESTS_MAX: usize = 65_536;
const _: () = assert!(size_of::<Waiting>() * WAITING_REQUESTS_MAX <= 4 * 1024 * 1024);

/// A place in the order of arrival. The first request has place 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Arrival(u64);

/// The origin of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// A client of this node.
    Client(RequestId),
    /// Another node, on behalf of all the clients that wait there.
    Node(Peer, SequenceNumber),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Waiting {
    pub(crate) asker: Asker,
    pub(crate) count: NonZeroU64,
    /// From this moment on, the request must not be answered with IDs.
    pub(crate) deadline: Micros,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    queue: VecDeque<Waiting>,
    /// The place of the latest arrival; the queue holds the last arrivals up to it.
    latest: Arrival,
    /// How many IDs they want in total. Wide enough for the sum to be exact, whatever they want: a range is
    /// handed out for all of them by this number.
    wanted: u128,
}

impl Requests {
    /// Whether one more request may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < WAITING_REQUESTS_MAX
    }

    /// Returns false if the queue is full.
    pub(crate) fn push(&mut self, waiting: Waiting) -> bool {
        if !self.has_room() {
            return false;
        }
        self.latest.0 += 1;
        self.wanted += u128::from(waiting.count.get());
        self.queue.push_back(waiting);
        true
    }

    /// The oldest request and its place in the order of arrival.
    pub(crate) fn front(&self) -> Option<(Arrival, Waiting)> {
        let behind = self.waiting().checked_sub(1)?;
        self.queue.front().map(|waiting| (Arrival(self.latest.0 - behind), *waiting))
    }

    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.queue.pop_front()?;
        self.wanted -= u128::from(waiting.count.get());
        Some(waiting)
    }

    /// Removes the matching requests of other nodes. Each request that waits before a removed one then counts
    /// as having arrived one place later, so it may be confirmed later but never too early.
    pub(crate) fn take_asks(
        &mut self,
        is_meant: impl Fn(Peer, SequenceNumber) -> bool,
    ) -> Vec<(Peer, SequenceNumber)> {
        let mut taken = Vec::new();
        let mut count = 0;
        self.queue.retain(|waiting| match waiting.asker {
            Asker::Node(peer, sequence) if is_meant(peer, sequence) => {
                taken.push((peer, sequence));
                count += u128::from(waiting.count.get());
                false
            }
            Asker::Node(..) | Asker::Client(_) => true,
        });
        self.wanted -= count;
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The place of the latest arrival, answered or not.
    pub(crate) fn latest(&self) -> Arrival {
        self.latest
    }

    /// The oldest waiting requests up to this place that together want at most `count_max` IDs, or the very
    /// oldest request alone. Returns the place of the last of them and how many IDs they want.
    pub(crate) fn oldest_wanting(&self, latest: Arrival, count_max: u64) -> Option<(Arrival, NonZeroU64)> {
        let (mut last, oldest) = self.front().filter(|(arrival, _)| *arrival <= latest)?;
        let mut count = oldest.count;
        for waiting in self.queue.iter().skip(1) {
            let more = count.checked_add(waiting.count.get());
            let Some(more) = more.filter(|more| more.get() <= count_max && last < latest) else { break };
            last.0 += 1;
            count = more;
        }
        Some((last, count))
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> u64 {
        u64::try_from(self.queue.len()).expect("a length fits 64 bits")
    }

    /// How many of the waiting requests arrived after this place.
    pub(crate) fn waiting_after(&self, place: Arrival) -> u64 {
        self.latest.0.saturating_sub(place.0).min(self.waiting())
    }

    /// How many IDs the requests want that arrived after this place; 2^64-1 if that is more.
    pub(crate) fn wanted_after(&self, place: Arrival) -> u64 {
        let after = usize::try_from(self.waiting_after(place)).unwrap_or(usize::MAX);
        if after >= self.queue.len() {
            return self.wanted();
        }
        let counts = self.queue.iter().rev().take(after).map(|waiting| waiting.count.get());
        counts.fold(0, u64::saturating_add)
    }

    /// How many IDs the waiting requests want in total; 2^64-1 if that is more, which is more than there are.
    pub(crate) fn wanted(&self) -> u64 {
        u64::try_from(self.wanted).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(request: u64, count: u64) -> Waiting {
        Waiting {
            asker: Asker::Client(RequestId(request)),
            count: NonZeroU64::new(count).unwrap(),
            deadline: Micros(0),
        }
    }

    #[test]
    fn places_are_numbered_in_the_order_of_arrival_whatever_has_left() {
        let mut requests = Requests::default();
        assert_eq!(requests.front(), None);
        for request in 1..=3 {
            assert!(requests.push(waiting(request, 2)));
        }
        assert_eq!(requests.front(), Some((Arrival(1), waiting(1, 2))));
        requests.pop();
        assert_eq!(requests.front(), Some((Arrival(2), waiting(2, 2))));
        assert_eq!((requests.latest(), requests.wanted()), (Arrival(3), 4));
    }

    #[test]
    fn the_oldest_that_want_no_more_than_so_many_are_counted_or_the_very_oldest_alone() {
        let mut requests = Requests::default();
        assert_eq!(requests.oldest_wanting(Arrival(9), 9), None);
        for (request, count) in [(1, 7), (2, 5), (3, 1), (4, 4), (5, u64::MAX)] {
            assert!(requests.push(waiting(request, count)));
        }
        requests.pop();
        for (latest, count_max, expected) in [
            (5, 0, Some((2, 5))),
            (5, 5, Some((2, 5))),
            (5, 6, Some((3, 6))),
            (5, 9, Some((3, 6))),
            (5, 10, Some((4, 10))),
            (5, u64::MAX, Some((4, 10))),
            (3, u64::MAX, Some((3, 6))),
            (2, u64::MAX, Some((2, 5))),
            (1, u64::MAX, None),
        ] {
            let expected = expected.map(|(last, count)| (Arrival(last), NonZeroU64::new(count).unwrap()));
            assert_eq!(
                requests.oldest_wanting(Arrival(latest), count_max),
                expected,
                "{latest}, {count_max}"
            );
        }
    }

    #[test]
    fn a_full_queue_refuses_and_a_sum_beyond_64_bits_stays_exact() {
        let mut requests = Requests::default();
        for request in 0..WAITING_REQUESTS_MAX {
            assert!(requests.push(waiting(u64::try_from(request).unwrap(), u64::MAX)));
        }
        assert!(!requests.push(waiting(0, 1)));
        assert_eq!(requests.wanted(), u64::MAX);
        for left in (0..WAITING_REQUESTS_MAX).rev() {
            requests.pop();
            assert_eq!(requests.wanted(), if left == 0 { 0 } else { u64::MAX }, "{left} wait");
        }
    }
}
