//! How long a command that waits goes on waiting: for a given time, or until this process is asked to stop.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use crate::server::StopRequests;

/// The longest delay before a signal is noticed while nothing arrives.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// How long to keep asking.
pub(super) struct Patience<'a> {
    deadline: Option<Instant>,
    stop: Option<&'a StopRequests>,
    /// A request to stop has been taken: it ends every wait from then on.
    interrupted: Cell<bool>,
    is_in_vain: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Patience<'a> {
    /// For this long.
    pub(super) fn lasting(patience: Duration) -> Patience<'static> {
        Patience { deadline: Instant::now().checked_add(patience), ..Patience::endless() }
    }

    /// For this long, unless asking turns out to be in vain.
    pub(super) fn lasting_unless(patience: Duration, is_in_vain: &'a dyn Fn() -> bool) -> Patience<'a> {
        Patience { is_in_vain: Some(is_in_vain), ..Patience::lasting(patience) }
    }

    /// Until this process is asked to stop.
    pub(super) fn until_stopped(stop: &'a StopRequests) -> Patience<'a> {
        Patience { stop: Some(stop), ..Patience::endless() }
    }

    fn endless() -> Patience<'a> {
        Patience { deadline: None, stop: None, interrupted: Cell::new(false), is_in_vain: None }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`Impatience`] if the wait is over.
    pub(super) fn check(&self) -> Result<(), Impatience> {
        if self.stop.is_some_and(StopRequests::take_all) {
            self.interrupted.set(true);
        }
        if self.interrupted.get() {
            return Err(Impatience::Interrupted);
        }
        let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if is_late || self.is_in_vain.is_some_and(|is_in_vain| is_in_vain()) {
            return Err(Impatience::Elapsed);
        }
        Ok(())
    }

    /// Waits for this long.
    ///
    /// # Errors
    /// [`Impatience`] if the wait is over before that.
    pub(super) fn sleep(&self, pause: Duration) -> Result<(), Impatience> {
        let until = Instant::now() + pause;
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(TICK));
        }
    }
}

/// Why the wait is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Impatience {
    /// This process was asked to stop.
    Interrupted,
    /// The time is over, or nothing can come of it any more.
    Elapsed,
}
