//! Waiting for something to become true.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The limit for anything that a test waits for. Only a failure takes this long.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The pause between two checks: short compared with an election, long compared with the cost of a check.
const PAUSE: Duration = Duration::from_millis(10);

/// Calls `probe` until it returns a value.
///
/// # Panics
/// After [`DEADLINE`] without a value; `what` says what was awaited.
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

/// Calls `probe` until it returns true.
///
/// # Panics
/// As [`until`].
#[track_caller]
pub fn until_true(what: &str, mut probe: impl FnMut() -> bool) {
    until(what, || probe().then_some(()));
}

/// Waits for the next connection to this listener, whose reads have the same limit.
///
/// # Panics
/// As [`until`].
#[track_caller]
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("any socket can be");
    let (stream, _) = until("a node connects", || listener.accept().ok());
    stream.set_nonblocking(false).expect("any socket can be");
    stream.set_read_timeout(Some(DEADLINE)).expect("it is not 0");
    stream
}
