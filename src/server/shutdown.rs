//! How a server stops. Pure: it decides, others act.
//!
//! ```text
//! Serving --asked to stop, leads others--> HandingOver --handed over, or time is up--> Draining --> exit
//!    |------asked to stop------------------------------------------------------------------^
//!    |------removed from the cluster-------------------------------------------------------^
//! ```

use raft_core::Micros;

use super::limits::{DRAIN_US_MAX, GRACE_US};

/// How a server ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It was asked to stop and stopped in order. The store is closed.
    Stopped,
    /// The node took part in the cluster and was then removed from it. The store is closed.
    Removed,
    /// The node was removed from the cluster before it was started. The store is closed.
    RemovedBefore,
    /// It was asked to stop a second time and did not wait for anything more: the process must exit now.
    Interrupted,
}

/// How far the server has come in stopping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shutdown {
    /// Nobody has asked it to stop.
    Serving,
    /// Asked to stop while leading: everything is served until another node leads, so that no request fails.
    HandingOver {
        /// When it stops without a hand-over.
        until: Micros,
    },
    /// No new connections are accepted; waiting requests are answered.
    Draining {
        /// Until when to wait for requests that may be in transit; `None` once that time is over.
        grace_until: Option<Micros>,
        /// When it stops waiting for clients.
        until: Micros,
        /// How the server ends after that.
        exit: Exit,
    },
    /// The server has ended.
    Ended(Exit),
}

/// Whether this node must hand over leadership before it stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HandOver {
    /// It must: it leads, and other members vote.
    Needed,
    /// It does not lead, or no other member votes.
    NotNeeded,
}

/// What a request to stop asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StopRequest {
    /// To hand over leadership and answer waiting requests.
    InOrder,
    /// To stop without waiting: this is a repeated request.
    AtOnce,
}

/// How clients of a draining server are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Grace {
    /// A request may be in transit: each client is let go once its next request has been answered.
    OneMoreRequest,
    /// A client that has sent no request by now is let go.
    Over,
}

impl Shutdown {
    /// The server was asked to stop. Returns true if leadership must be handed over first.
    pub(super) fn on_stop_request(
        &mut self,
        request: StopRequest,
        now: Micros,
        hand_over: HandOver,
        election_timeout_us: u64,
    ) -> bool {
        match (*self, request, hand_over) {
            (Shutdown::Ended(_), _, _) => false,
            (
                Shutdown::Serving | Shutdown::HandingOver { .. } | Shutdown::Draining { .. },
                StopRequest::AtOnce,
                _,
            ) => {
                *self = Shutdown::Ended(Exit::Interrupted);
                false
            }
            (Shutdown::Serving, StopRequest::InOrder, HandOver::Needed) => {
                // The core gives up a transfer after one election timeout; the new leader gets as long again.
                *self = Shutdown::HandingOver { until: now.plus(2 * election_timeout_us) };
                true
            }
            (Shutdown::Serving, StopRequest::InOrder, HandOver::NotNeeded) => {
                self.drain(now, Exit::Stopped);
                false
            }
            // It is already doing that.
            (Shutdown::HandingOver { .. } | Shutdown::Draining { .. }, StopRequest::InOrder, _) => false,
        }
    }

    /// The hand-over has succeeded or failed: there is nothing more to wait for.
    pub(super) fn on_handed_over(&mut self, now: Micros) {
        if matches!(self, Shutdown::HandingOver { .. }) {
            self.drain(now, Exit::Stopped);
        }
    }

    /// This node is no longer a member: the server must end in this way. Every other member says so, again
    /// and again: true if that is news.
    pub(super) fn on_removed(&mut self, now: Micros, exit: Exit) -> bool {
        match *self {
            Shutdown::Serving | Shutdown::HandingOver { .. } => {
                self.drain(now, exit);
                true
            }
            Shutdown::Draining { grace_until, until, exit: before } => {
                *self = Shutdown::Draining { grace_until, until, exit };
                before != exit
            }
            Shutdown::Ended(_) => false,
        }
    }

    /// Time has passed. Must be called before [`Shutdown::grace`] and [`Shutdown::on_turn`].
    pub(super) fn on_time(&mut self, now: Micros) {
        match self {
            Shutdown::HandingOver { until } if *until <= now => self.drain(now, Exit::Stopped),
            Shutdown::Draining { grace_until, .. } => *grace_until = grace_until.filter(|until| now < *until),
            Shutdown::Serving | Shutdown::HandingOver { .. } | Shutdown::Ended(_) => {}
        }
    }

    /// A turn ends, and this many clients are still owed something.
    pub(super) fn on_turn(&mut self, now: Micros, clients_owed: usize) {
        if let Shutdown::Draining { until, exit, .. } = *self
            && (until <= now || clients_owed == 0)
        {
            *self = Shutdown::Ended(exit);
        }
    }

    /// How idle clients are treated; `None` as long as new connections are accepted.
    pub(super) fn grace(self) -> Option<Grace> {
        match self {
            Shutdown::Serving | Shutdown::HandingOver { .. } => None,
            Shutdown::Draining { grace_until: Some(_), .. } => Some(Grace::OneMoreRequest),
            Shutdown::Draining { grace_until: None, .. } | Shutdown::Ended(_) => Some(Grace::Over),
        }
    }

    /// How the server ended; `None` if it has not.
    pub(super) fn exit(self) -> Option<Exit> {
        match self {
            Shutdown::Ended(exit) => Some(exit),
            Shutdown::Serving | Shutdown::HandingOver { .. } | Shutdown::Draining { .. } => None,
        }
    }

    /// Whether it ends because this node is no longer a member.
    pub(super) fn is_removed(self) -> bool {
        match self {
            Shutdown::Serving | Shutdown::HandingOver { .. } => false,
            Shutdown::Draining { exit, .. } | Shutdown::Ended(exit) => match exit {
                Exit::Removed | Exit::RemovedBefore => true,
                Exit::Stopped | Exit::Interrupted => false,
            },
        }
    }

    /// When [`Shutdown::on_time`] or [`Shutdown::on_turn`] has something to decide.
    pub(super) fn deadline(self) -> Option<Micros> {
        match self {
            Shutdown::HandingOver { until } => Some(until),
            Shutdown::Draining { grace_until, until, .. } => Some(grace_until.unwrap_or(until)),
            Shutdown::Serving | Shutdown::Ended(_) => None,
        }
    }

    fn drain(&mut self, now: Micros, exit: Exit) {
        let (grace_until, until) = (Some(now.plus(GRACE_US)), now.plus(DRAIN_US_MAX));
        *self = Shutdown::Draining { grace_until, until, exit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_000);
    const ELECTION_TIMEOUT_US: u64 = 1_000_000;

    fn asked(hand_over: HandOver) -> Shutdown {
        let mut shutdown = Shutdown::Serving;
        let hands_over = shutdown.on_stop_request(StopRequest::InOrder, NOW, hand_over, ELECTION_TIMEOUT_US);
        assert_eq!(hands_over, hand_over == HandOver::Needed);
        shutdown
    }

    #[test]
    fn a_leader_of_others_hands_over_before_it_drains() {
        let mut shutdown = asked(HandOver::Needed);
        assert_eq!(shutdown.grace(), None);
        shutdown.on_turn(NOW, 0);
        assert_eq!(shutdown.exit(), None, "nobody has taken over yet");
        shutdown.on_handed_over(NOW);
        assert_eq!(shutdown.grace(), Some(Grace::OneMoreRequest));
        shutdown.on_turn(NOW, 1);
        assert_eq!(shutdown.exit(), None, "a client still waits");
        shutdown.on_turn(NOW, 0);
        assert_eq!(shutdown.exit(), Some(Exit::Stopped));
    }

    #[test]
    fn a_hand_over_that_nobody_answers_is_given_up_in_time() {
        let mut shutdown = asked(HandOver::Needed);
        shutdown.on_time(shutdown.deadline().unwrap());
        assert_eq!(shutdown.grace(), Some(Grace::OneMoreRequest), "it begins with the turn that gives up");
        shutdown.on_time(shutdown.deadline().unwrap());
        assert_eq!(shutdown.grace(), Some(Grace::Over));
        let until = shutdown.deadline().unwrap();
        shutdown.on_turn(until, 5);
        assert_eq!(shutdown.exit(), Some(Exit::Stopped), "a client that never reads must not hold the node");
    }

    #[test]
    fn a_follower_drains_at_once() {
        let mut shutdown = asked(HandOver::NotNeeded);
        assert_eq!(shutdown.grace(), Some(Grace::OneMoreRequest));
        shutdown.on_turn(NOW, 0);
        assert_eq!(shutdown.exit(), Some(Exit::Stopped));
    }

    #[test]
    fn clients_that_say_nothing_have_a_grace_that_ends_long_before_those_are_given_up_that_read_nothing() {
        let mut shutdown = asked(HandOver::NotNeeded);
        let grace_until = shutdown.deadline().unwrap();
        shutdown.on_time(Micros(grace_until.0 - 1));
        assert_eq!(shutdown.grace(), Some(Grace::OneMoreRequest));
        shutdown.on_time(grace_until);
        assert_eq!(shutdown.grace(), Some(Grace::Over));
        shutdown.on_turn(grace_until, 1);
        assert_eq!(shutdown.exit(), None, "a client still waits");
        assert!(shutdown.deadline().unwrap() > grace_until);
        shutdown.on_removed(grace_until, Exit::Removed);
        assert_eq!(shutdown.grace(), Some(Grace::Over), "there is one grace");
    }

    #[test]
    fn a_second_request_ends_it_at_once_wherever_it_stands() {
        for hand_over in [HandOver::Needed, HandOver::NotNeeded] {
            let mut shutdown = asked(hand_over);
            assert!(!shutdown.on_stop_request(StopRequest::AtOnce, NOW, hand_over, ELECTION_TIMEOUT_US));
            assert_eq!(shutdown.exit(), Some(Exit::Interrupted));
        }
    }

    #[test]
    fn a_request_to_stop_in_order_changes_nothing_where_it_is_being_done() {
        for hand_over in [HandOver::Needed, HandOver::NotNeeded] {
            let mut shutdown = asked(hand_over);
            assert!(!shutdown.on_stop_request(
                StopRequest::InOrder,
                Micros(2_000),
                hand_over,
                ELECTION_TIMEOUT_US
            ));
            assert_eq!(shutdown, asked(hand_over));
        }
    }

    #[test]
    fn removal_is_how_it_ends_even_where_it_was_asked_to_stop() {
        let starts = [Shutdown::Serving, asked(HandOver::Needed), asked(HandOver::NotNeeded)];
        for mut shutdown in starts {
            assert!(!shutdown.is_removed());
            assert!(shutdown.on_removed(NOW, Exit::Removed) && shutdown.is_removed());
            assert!(!shutdown.on_removed(NOW, Exit::Removed), "another member says the same");
            shutdown.on_turn(NOW, 0);
            assert_eq!((shutdown.exit(), shutdown.is_removed()), (Some(Exit::Removed), true));
        }
    }

    #[test]
    fn a_server_that_nobody_asked_goes_on() {
        let mut shutdown = Shutdown::Serving;
        shutdown.on_handed_over(NOW);
        shutdown.on_turn(Micros(u64::MAX), 0);
        assert_eq!(shutdown, Shutdown::Serving);
        assert_eq!(shutdown.deadline(), None);
    }
}
