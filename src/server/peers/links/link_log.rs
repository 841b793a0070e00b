//! What the log says of a link. Pure: it decides which lines are logged, and the caller logs them.

use log::Level;
use raft_core::Micros;

use crate::peer::Refuse;
use crate::server::narration::log_limit::{LeftOut, LogLimit};
use crate::server::narration::reminder::Reminder;
use crate::server::narration::state_log::StateLog;

/// What was logged of a link, and what is still to be.
#[derive(Debug)]
pub(crate) struct LinkLog {
    /// It has been noted for the log that the link is down, or need not be, and the link has not been up
    /// since.
    is_told_down: bool,
    /// Why the last attempt to reach the peer where it says that it is failed, if the link has not been up
    /// since.
    failure: Option<String>,
    /// The refusal that was logged last, and at which level, if the link has not been up since.
    refusal: Option<(Refuse, Level)>,
    /// The lines that say that the link is up or down.
    changes: StateLog,
    /// Bounds the lines that say why the peer refuses this node: of two addresses, each may refuse for a
    /// reason of its own.
    refusals: LogLimit,
    /// What this node, as the leader, has logged of the peer's silence.
    pub(super) silence: Reminder,
    /// What was logged of a peer that cannot be dialled where it says that it is.
    pub(super) unreached: Reminder,
}

impl Default for LinkLog {
    fn default() -> LinkLog {
        LinkLog {
            is_told_down: false,
            failure: None,
            refusal: None,
            changes: StateLog::default(),
            refusals: LogLimit::default(),
            silence: Reminder::once(),
            unreached: Reminder::default(),
        }
    }
}

impl LinkLog {
    /// The link is up, as this line says. Returns what to log.
    pub(super) fn on_up(&mut self, now: Micros, line: String) -> Option<String> {
        self.is_told_down = false;
        self.failure = None;
        self.refusal = None;
        self.changes.note(now, line)
    }

    /// The link has broken, as this line says. Returns what to log.
    pub(super) fn on_broken(&mut self, now: Micros, line: String) -> Option<String> {
        self.is_told_down = true;
        self.changes.note(now, line)
    }

    /// The link to a node that is no member has broken. It closes its connections when it leaves, and that it
    /// leaves has been logged.
    pub(super) fn on_left(&mut self) {
        self.is_told_down = true;
        self.changes.forget_untold();
    }

    /// The peer could not be reached where it says that it is.
    pub(super) fn note_failure(&mut self, reason: String) {
        self.failure = Some(reason);
    }

    /// Whether the log says already that the link is down.
    pub(super) fn says_down(&self) -> bool {
        self.is_told_down
    }

    /// The peer refuses this node. If that is to be logged now: how many such lines were left out.
    pub(super) fn on_refused(&mut self, now: Micros, refuse: Refuse, level: Level) -> Option<LeftOut> {
        if self.refusal == Some((refuse, level)) {
            return None;
        }
        self.refusal = Some((refuse, level));
        self.is_told_down = true;
        self.refusals.admit(now)
    }

    /// Returns what to log of a change that was left out when it was new.
    pub(super) fn catch_up(&mut self, now: Micros) -> Option<String> {
        self.changes.catch_up(now)
    }

    /// Why the last attempt to reach the peer where it says that it is failed.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The refusal that was logged last, if the link has not been up since.
    pub(crate) fn refusal(&self) -> Option<(Refuse, Level)> {
        self.refusal
    }

    /// What has been left out and is still to be logged.
    #[cfg(test)]
    pub(crate) fn untold(&self) -> Option<&str> {
        self.changes.untold()
    }
}
