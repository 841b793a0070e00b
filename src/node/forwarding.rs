//! What a node does for its clients while another leads, where it is told to forward: it asks the leader for
//! as many IDs as wait here, in one message, and answers its clients from the range that comes back.
//!
//! One message is under way at a time. What arrives meanwhile goes with the next, so under load few messages
//! serve many requests. The order holds because the leader takes the range after the message was sent, and so
//! after every request that it stands for had arrived. A message without an answer is given up and its
//! requests are asked for anew, under another ticket; the first range, should it still come, is a gap.

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

    /// The answer to `ticket` came: it is for every request that waits up to the one given back. `None` where
    /// the ticket is not, or no more, the one under way.
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

#[cfg(test)]
mod tests {
    use raft_core::{Incarnation, NodeId};

    use super::super::io::RequestId;
    use super::super::requests::{Asker, Waiting};
    use super::*;

    const PATIENCE_US: u64 = 100;

    fn leader(id: u64) -> Peer {
        Peer { id: NodeId::new(id).unwrap(), incarnation: Incarnation(1) }
    }

    /// Requests that want two IDs each.
    fn requests(waiting: u64) -> Requests {
        let mut requests = Requests::default();
        for request in 0..waiting {
            let asker = Asker::Client(RequestId(request));
            let count = NonZeroU64::new(2).unwrap();
            assert!(requests.push(Waiting { asker, count, deadline: Micros(0) }));
        }
        requests
    }

    fn ask(forwarding: &mut Forwarding, now: u64, leader_id: u64, waiting: u64) -> Option<(Ticket, u64)> {
        let message = forwarding.ask(Micros(now), leader(leader_id), &requests(waiting), PATIENCE_US);
        message.map(|message| match message {
            Forward::TakeIds { ticket, count } => (ticket, count.get()),
            Forward::Taken { .. } => panic!("asked with an answer"),
        })
    }

    #[test]
    fn one_message_asks_for_all_that_wait_and_the_next_waits_for_its_answer() {
        let mut forwarding = Forwarding::new(Ticket(u64::MAX), Micros(0));
        assert_eq!(ask(&mut forwarding, 10, 1, 0), None, "nobody waits");
        assert_eq!(ask(&mut forwarding, 10, 1, 3), Some((Ticket(0), 6)));
        assert_eq!(forwarding.deadline(), Micros(10 + PATIENCE_US));
        assert_eq!(ask(&mut forwarding, 20, 1, 4), None);
        assert_eq!(forwarding.answered(leader(1), Ticket(0)), Some(requests(3).latest()));
        assert_eq!(forwarding.answered(leader(1), Ticket(0)), None, "a second answer to one message");
        assert_eq!(ask(&mut forwarding, 30, 1, 1), Some((Ticket(1), 2)));
    }

    #[test]
    fn an_answer_of_another_node_or_to_another_ticket_is_none() {
        let mut forwarding = Forwarding::new(Ticket(4), Micros(0));
        assert_eq!(forwarding.answered(leader(1), Ticket(4)), None, "nothing was asked");
        assert_eq!(ask(&mut forwarding, 10, 1, 1), Some((Ticket(5), 2)));
        assert_eq!(forwarding.answered(leader(2), Ticket(5)), None);
        assert_eq!(forwarding.answered(leader(1), Ticket(4)), None);
        assert_eq!(forwarding.answered(leader(1), Ticket(5)), Some(requests(1).latest()));
    }

    #[test]
    fn a_message_is_given_up_for_another_leader_or_when_its_time_is_over() {
        for (now, leader_id, again) in
            [(10 + PATIENCE_US - 1, 1, None), (10 + PATIENCE_US, 1, Some(6)), (11, 2, Some(6))]
        {
            let mut forwarding = Forwarding::new(Ticket(4), Micros(0));
            assert_eq!(ask(&mut forwarding, 10, 1, 1), Some((Ticket(5), 2)));
            let again = again.map(|ticket| (Ticket(ticket), 2));
            assert_eq!(ask(&mut forwarding, now, leader_id, 1), again, "at {now}, {leader_id} leads");
            let late = forwarding.answered(leader(1), Ticket(5));
            assert_eq!(late.is_some(), again.is_none(), "the first range is a gap then");
        }
    }

    #[test]
    fn a_leader_that_denied_it_is_asked_again_once_the_pause_is_over() {
        let mut forwarding = Forwarding::new(Ticket(4), Micros(0));
        forwarding.pause(Micros(50));
        assert_eq!(forwarding.deadline(), Micros(50));
        assert_eq!(ask(&mut forwarding, 49, 1, 1), None);
        assert_eq!(ask(&mut forwarding, 50, 1, 1), Some((Ticket(5), 2)));
    }

    #[test]
    fn what_is_stopped_expects_no_answer_and_need_not_pause() {
        let mut forwarding = Forwarding::new(Ticket(4), Micros(0));
        assert_eq!(ask(&mut forwarding, 10, 1, 1), Some((Ticket(5), 2)));
        forwarding.pause(Micros(500));
        forwarding.stop(Micros(20));
        assert_eq!(forwarding.deadline(), Micros(20));
        assert_eq!(forwarding.answered(leader(1), Ticket(5)), None);
        assert_eq!(ask(&mut forwarding, 20, 1, 1), Some((Ticket(6), 2)));
    }
}
