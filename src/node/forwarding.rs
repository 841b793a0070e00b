//! What a node does for its clients while another leads, where it is told to forward: it asks the leader for as
//! many IDs as wait here, in one message, and answers its clients from the range that comes back.
//!
//! One message is under way at a time. What arrives meanwhile goes with the next, so under load few messages serve
//! many requests. The order holds because the leader takes the range after the message was sent, and so after every
//! request that it stands for had arrived. A message without an answer is given up and its requests are asked for
//! anew, under another ticket; the first range, should it still come, is a gap.

use std::num::NonZeroU64;

use raft_core::{Micros, Peer};

use super::io::{Forward, Ticket};
use super::requests::{Arrival, Requests};

/// The one message that is under way, or when the next may be.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    last_ticket: Ticket,
    under_way: Option<UnderWay>,
    /// Not before this moment is a leader asked again that said it does not lead.
    not_before: Micros,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    ticket: Ticket,
    leader: Peer,
    /// It asks for every request that waits up to this one.
    latest: Arrival,
    /// When it is given up.
    deadline: Micros,
}

impl Forwarding {
    /// `first_ticket` is random.
    pub(crate) fn new(first_ticket: Ticket, now: Micros) -> Forwarding {
        Forwarding { last_ticket: first_ticket, under_way: None, not_before: now }
    }

    /// Asks the leader for what waits, if nothing is under way.
    pub(crate) fn ask(
        &mut self,
        now: Micros,
        leader: Peer,
        requests: &Requests,
        patience_us: u64,
    ) -> Option<Forward> {
        if self.under_way.is_some_and(|u| u.leader != leader || u.deadline <= now) {
            self.under_way = None;
        }
        if self.under_way.is_some() || now < self.not_before {
            return None;
        }
        let count = NonZeroU64::new(requests.wanted())?;
        let ticket = Ticket(self.last_ticket.0.wrapping_add(1));
        self.last_ticket = ticket;
        let (latest, deadline) = (requests.latest(), now.plus(patience_us));
        self.under_way = Some(UnderWay { ticket, leader, latest, deadline });
        Some(Forward::TakeIds { ticket, count })
    }

    /// The answer to `ticket` came: it is for every request that waits up to the one given back. `None` where the
    /// ticket is not, or no more, the one under way.
    pub(crate) fn answered(&mut self, from: Peer, ticket: Ticket) -> Option<Arrival> {
        let answered = self.under_way.take_if(|u| u.ticket == ticket && u.leader == from);
        answered.map(|u| u.latest)
    }

    /// The node that was asked does not lead: give word of the next leader time to arrive.
    pub(crate) fn pause(&mut self, until: Micros) {
        self.not_before = until;
    }

    /// This node leads, or knows no leader: nothing is expected any more.
    pub(crate) fn stop(&mut self, now: Micros) {
        self.under_way = None;
        self.not_before = now;
    }

    /// When [`Forwarding::ask`] may have something to do, where requests wait.
    pub(crate) fn deadline(&self) -> Micros {
        self.under_way.map_or(self.not_before, |u| u.deadline)
    }
}
