//! Prometheus' text format, version 0.0.4: one head per family, followed by the family's samples.
//!
//! Pure. It must never know what the numbers mean. Names, help texts and label values are our own and need no
//! escaping, which a test checks.

use std::fmt::{self, Display, Write};

use crate::histogram::Histogram;

/// The media type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const MICROS_PER_SECOND: u64 = 1_000_000;

/// The text being built. Writing to a `String` cannot fail, so the results of `write!` are ignored.
#[derive(Debug)]
pub(super) struct Exposition {
    text: String,
}

/// A family whose head has been written.
#[derive(Debug)]
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    pub(super) fn new() -> Exposition {
        Exposition { text: String::with_capacity(16 * 1024) }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// A number that only grows.
    pub(super) fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.counters(name, help).sample("", value);
    }

    /// A number that goes up and down.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: u64) {
        self.gauges(name, help).sample("", value);
    }

    /// Numbers that only grow, told apart by labels.
    pub(super) fn counters(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    /// Numbers that go up and down, told apart by labels.
    pub(super) fn gauges(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// A distribution of times, measured in microseconds and shown in seconds.
    pub(super) fn times<const N: usize>(&mut self, name: &'static str, help: &str, times: &Histogram<N>) {
        self.histogram(name, help, times, Seconds);
    }

    /// A distribution of sizes.
    pub(super) fn sizes<const N: usize>(&mut self, name: &'static str, help: &str, sizes: &Histogram<N>) {
        self.histogram(name, help, sizes, |size| size);
    }

    /// A distribution, with how its values are shown.
    fn histogram<const N: usize, D: Display>(
        &mut self,
        name: &'static str,
        help: &str,
        histogram: &Histogram<N>,
        shown: impl Fn(u64) -> D,
    ) {
        let Family { text, .. } = self.family(name, help, "histogram");
        for (bound, at_most) in histogram.cumulative() {
            let _ = writeln!(text, "{name}_bucket{{le=\"{}\"}} {at_most}", shown(bound));
        }
        let (count, sum) = (histogram.count(), shown(histogram.sum()));
        let _ =
            writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) -> Family<'_> {
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { text: &mut self.text, name }
    }
}

impl Family<'_> {
    /// One sample. `labels` is empty, or pairs as in `a="b",c="d"`.
    pub(super) fn sample(&mut self, labels: &str, value: impl Display) {
        let name = self.name;
        let _ = match labels {
            "" => writeln!(self.text, "{name} {value}"),
            _ => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }
}

/// Microseconds, shown as seconds without loss of digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seconds(pub(super) u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / MICROS_PER_SECOND, self.0 % MICROS_PER_SECOND);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Sizes, Times};

    #[test]
    fn seconds_are_shown_to_the_last_microsecond_and_without_idle_zeros() {
        for (us, shown) in [
            (0, "0"),
            (1, "0.000001"),
            (10, "0.00001"),
            (2_500, "0.0025"),
            (1_000_000, "1"),
            (61_500_000, "61.5"),
            (u64::MAX, "18446744073709.551615"),
        ] {
            assert_eq!(Seconds(us).to_string(), shown);
        }
    }

    #[test]
    fn a_histogram_ends_with_all_values_their_sum_and_their_number() {
        let mut sizes = Sizes::of_sizes();
        sizes.note(2);
        sizes.note(9_999);
        let mut times = Times::of_times();
        times.note(1_500_000);
        let mut exposition = Exposition::new();
        exposition.sizes("a", "A.", &sizes);
        exposition.times("b_seconds", "B.", &times);
        let text = exposition.finish();
        let (sizes, times) = text.split_once("# HELP b_seconds").unwrap();
        assert!(
            sizes
                .starts_with("# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 0\na_bucket{le=\"2\"} 1\n")
        );
        assert!(sizes.ends_with("a_bucket{le=\"+Inf\"} 2\na_sum 10001\na_count 2\n"), "{sizes}");
        assert!(
            times.contains("\nb_seconds_bucket{le=\"1\"} 0\nb_seconds_bucket{le=\"2.5\"} 1\n"),
            "{times}"
        );
        assert!(times.ends_with("b_seconds_sum 1.5\nb_seconds_count 1\n"), "{times}");
    }
}
