//! Waiting for something to become true.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that happens at all. A failure, and nothing else, takes so long.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks: short against an election, long against the cost of a look.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks `probe` until it has an answer.
///
/// # Panics
/// After [`DEADLINE`] without one; `what` says what was awaited.
#[track_caller]
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        thread::sleep(PAUSE);
    }
}

/// Asks `probe` until it says yes.
///
/// # Panics
/// As [`until`].
#[track_caller]
pub fn until_true(what: &str, mut probe: impl FnMut() -> bool) {
    until(what, || probe().then_some(()));
}
