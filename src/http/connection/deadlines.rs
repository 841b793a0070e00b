//! When to give up on a client that is slow or gone.

use raft_core::Micros;

use super::{Admission, Connection, Ending, Reading};
use crate::http::config::{BUFFERS_IDLE_US, Config};

impl Connection {
    pub(super) fn read_deadline(&self, config: &Config) -> Option<Micros> {
        let (idle_timeout_us, head_timeout_us) = match self.admission {
            Admission::Admitted => (config.idle_timeout_us, config.head_timeout_us),
            // Few places are kept for connections that are turned away, so none may be held for long.
            Admission::TurnedAway => (config.drain_timeout_us, config.drain_timeout_us),
        };
        if self.ending != Ending::NotYet {
            return None;
        }
        match &self.reading {
            Reading::Head(scanner) if scanner.begun() => Some(self.read_since.plus(head_timeout_us)),
            Reading::Head(_) => self.is_between_requests().then(|| self.read_since.plus(idle_timeout_us)),
            // The client may be waiting for a 100 that itself waits for earlier answers.
            Reading::Body { .. } if self.pipeline.awaits_continue() => None,
            Reading::Body { .. } => Some(self.read_since.plus(config.body_timeout_us)),
            Reading::Over => None,
        }
    }

    pub(super) fn send_deadline(&self, config: &Config) -> Option<Micros> {
        (!self.output.is_empty()).then(|| self.send_since.plus(config.send_timeout_us))
    }

    pub(super) fn drain_deadline(&self, config: &Config) -> Option<Micros> {
        match self.ending {
            Ending::Draining { .. } => Some(self.read_since.plus(config.drain_timeout_us)),
            Ending::NotYet | Ending::Finished => None,
        }
    }

    pub(super) fn release_deadline(&self) -> Option<Micros> {
        let holds_memory = self.memory_bytes() > 0 || self.remembered.is_some();
        (holds_memory && self.is_between_requests()).then(|| self.read_since.plus(BUFFERS_IDLE_US))
    }

    /// Whether all requests are answered, all answers sent, and no byte of another request has arrived.
    pub(super) fn is_between_requests(&self) -> bool {
        self.awaits_head() && self.pipeline.is_empty() && self.output.is_empty() && self.input.is_empty()
    }
}
