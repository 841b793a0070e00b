//! A reservation that is under way, and when the next one may begin.

use std::num::NonZeroU64;

use raft_core::Micros;

use super::requests::Arrival;

/// While a reservation is under way, the next one begins at the earliest this much later, in microseconds. On
/// a fast network and a fast disk, where a reservation takes less than this, all requests that arrive
/// meanwhile share the next one: a sync costs the processor as much as several requests. On a slow network it
/// delays no request by much, and many reservations are under way at once.
pub(crate) const RESERVATION_INTERVAL_US: u64 = 1_000;

/// Without a window, the next one begins at the earliest after this many times what the disk of this node
/// took for the one under way: a disk takes one write after the other, so a reservation that begins earlier
/// only waits behind that one, and those who wait for that one then wait behind it. The disks of a majority
/// often take about as long.
const DISK_TIMES: u64 = 2;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reservation {
    /// How many IDs it reserves.
    pub(crate) count: u64,
    /// When it was proposed.
    pub(crate) proposed_at: Micros,
    /// The latest request when it was proposed.
    pub(crate) latest: Arrival,
    /// For how long this node's disk has been busy since then.
    disk_us: u64,
}

impl Reservation {
    pub(crate) fn new(count: NonZeroU64, proposed_at: Micros, latest: Arrival) -> Reservation {
        Reservation { count: count.get(), proposed_at, latest, disk_us: 0 }
    }

    /// This node's disk has been busy until now.
    pub(crate) fn note_disk_use(&mut self, now: Micros) {
        self.disk_us = now.since(self.proposed_at);
    }

    /// When the next reservation may begin, at the earliest.
    pub(crate) fn next_at(&self) -> Micros {
        self.proposed_at.plus(RESERVATION_INTERVAL_US.max(self.disk_us.saturating_mul(DISK_TIMES)))
    }
}
