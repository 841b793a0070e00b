//! What the operating system tells about this process (Linux: proc(5)). What it does not tell is left out.

use std::cell::Cell;
use std::fs;

use raft_core::Micros;
use rustix::process::{Resource, getrlimit};

use crate::server::limits::DESCRIPTORS_COUNT_INTERVAL_US;
use crate::server::sockets::descriptors::count_open_descriptors;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    /// Processor time spent on it, in microseconds.
    pub(super) cpu_us: u64,
    pub(super) open_descriptors: Option<u64>,
    /// `None` also if there is no limit.
    pub(super) descriptors_max: Option<u64>,
}

impl Process {
    pub(super) fn read(now: Micros, descriptors: &OpenDescriptors) -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Process {
            resident_bytes: resident_bytes(&status),
            cpu_us: cpu_us(),
            open_descriptors: descriptors.number(now),
            descriptors_max: getrlimit(Resource::Nofile).current,
        }
    }
}

/// The number of open descriptors. Linux tells it from 6.2 on. An older Linux only lists them, which takes
/// tens of milliseconds if there are many and keeps the loop waiting: so they are not counted for every page.
#[derive(Debug, Default)]
pub(in crate::server) struct OpenDescriptors {
    /// When they were counted last, and how many there were.
    counted: Cell<Option<(Micros, u64)>>,
}

impl OpenDescriptors {
    fn number(&self, now: Micros) -> Option<u64> {
        told_by_kernel()
            .or_else(|| self.counted_lately(now, || count_open_descriptors().map(|number| number as u64)))
    }

    fn counted_lately(&self, now: Micros, count: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let is_recent = |(at, _): &(Micros, u64)| now.since(*at) < DESCRIPTORS_COUNT_INTERVAL_US;
        if let Some((_, number)) = self.counted.get().filter(is_recent) {
            return Some(number);
        }
        let number = count()?;
        self.counted.set(Some((now, number)));
        Some(number)
    }
}

/// The number of open descriptors: the size of their directory, which is 0 on a Linux that does not tell it.
fn told_by_kernel() -> Option<u64> {
    fs::metadata("/proc/self/fd").ok().map(|directory| directory.len()).filter(|number| *number > 0)
}

fn cpu_us() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(spent.tv_sec), u64::try_from(spent.tv_nsec));
    // The times are never negative.
    seconds.unwrap_or(0).saturating_mul(1_000_000).saturating_add(nanoseconds.unwrap_or(0) / 1_000)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_that_have_to_be_counted_are_not_counted_for_each_page() {
        let descriptors = OpenDescriptors::default();
        let number = |us, there| descriptors.counted_lately(Micros(us), || there);
        assert_eq!(number(5, None), None, "where there is no proc(5)");
        assert_eq!(number(10, Some(7)), Some(7));
        assert_eq!(number(9 + DESCRIPTORS_COUNT_INTERVAL_US, Some(8)), Some(7));
        assert_eq!(number(10 + DESCRIPTORS_COUNT_INTERVAL_US, Some(9)), Some(9));
    }

    #[test]
    fn resident_memory_is_read_from_the_status_of_a_process() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    3140 kB\nVmData:\t 1 kB\n"), Some(3140 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        assert_eq!(resident_bytes("VmRSS:\t many kB\n"), None);
    }
}
