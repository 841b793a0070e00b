//! The time in the event loop. Only this module reads the clocks that tell it.

use std::time::{SystemTime, UNIX_EPOCH};

use raft_core::Micros;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::limits::DATE_AGE_US_MAX;
use crate::http;

/// The time, read a few times per turn: reading it for every request would cost more than the request. It
/// keeps running while the machine is suspended, which a lease must not outlive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// How long the machine had been up when the server started, in microseconds.
    boot_us_at_start: u64,
    /// When the server started, in microseconds since 1970.
    unix_us_at_start: u64,
    /// The latest reading, counted from the start of the server.
    pub(super) now: Micros,
    /// For the `Date` header of answers.
    pub(super) date: http::HttpDate,
    date_read_at: Micros,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock {
            boot_us_at_start: since_boot_us(),
            unix_us_at_start: wall_clock_us(),
            now: Micros(0),
            date: read_date(),
            date_read_at: Micros(0),
        }
    }

    /// Reads the clock. The time of a test, which is ahead of it, stays as the test has set it.
    pub(super) fn tick(&mut self) {
        self.now = self.now.max(Micros(since_boot_us().saturating_sub(self.boot_us_at_start)));
        if self.now.since(self.date_read_at) >= DATE_AGE_US_MAX {
            self.date = read_date();
            self.date_read_at = self.now;
        }
    }

    /// The clock goes on by so much, which its next reading shows.
    #[cfg(test)]
    pub(super) fn go_on(&mut self, us: u64) {
        self.boot_us_at_start = self.boot_us_at_start.saturating_sub(us);
    }

    /// When the server started, in microseconds since 1970.
    pub(super) fn unix_us_at_start(&self) -> u64 {
        self.unix_us_at_start
    }

    pub(super) fn uptime_seconds(&self) -> u64 {
        self.now.0 / 1_000_000
    }
}

/// CLOCK_BOOTTIME: monotonic, and unlike CLOCK_MONOTONIC it goes on while the machine is suspended.
fn since_boot_us() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    let micros = tv_sec.saturating_mul(1_000_000).saturating_add(tv_nsec / 1_000);
    u64::try_from(micros).expect("a machine was started before it runs")
}

fn read_date() -> http::HttpDate {
    http::HttpDate::from_unix(wall_clock_us() / 1_000_000)
}

/// The wall clock is used for the `Date` header and the metrics, and for nothing else.
fn wall_clock_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
