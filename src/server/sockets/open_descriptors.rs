//! How many descriptors this process has open, for its metrics.

use std::cell::Cell;
use std::fs;

use raft_core::Micros;

use super::descriptors::count_open_descriptors;
use crate::server::limits::DESCRIPTORS_COUNT_INTERVAL_US;

/// The number of open descriptors. Linux tells it from 6.2 on. An older Linux only lists them, which takes
/// tens of milliseconds if there are many and keeps the loop waiting: so they are not counted for every page.
#[derive(Debug, Default)]
pub(crate) struct OpenDescriptors {
    /// When they were counted last, and how many there were.
    counted: Cell<Option<(Micros, u64)>>,
}

impl OpenDescriptors {
    pub(crate) fn number(&self, now: Micros) -> Option<u64> {
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
}
