//! Serving requests, both clients' own and those that other nodes forward. A request is answered as soon as
//! leadership, the window and the queue allow it; if another node leads, clients are redirected to it, or it
//! is asked on their behalf.

use std::num::NonZeroU64;

use raft_core::{Confirmation, Peer};

use super::Node;
use super::forwarding::Asked;
use super::io::{Answer, Forward, ForwardOutcome, Output, RequestId};
use super::requests::{Arrival, Asker, Waiting};

impl Node {
    pub(super) fn on_take_ids(&mut self, request: RequestId, count: NonZeroU64) {
        let asker = Asker::Client(request);
        if self.has_departed && self.config.forward {
            return self.answer(asker, Answer::NotLeader { leader: None });
        }
        let waits = match self.raft.leader() {
            Some(_) => self.leadership.is_some() || self.config.forward,
            // Between two leaders, the next one becomes known in a moment, and clients need not notice the
            // gap.
            None => self.now < self.orphans_deadline,
        };
        if waits || !self.requests.is_empty() {
            // If older requests still wait for the next leader to become known, this one queues behind them.
            self.enqueue(asker, count);
        } else {
            self.answer(asker, Answer::NotLeader { leader: self.raft.leader() });
        }
    }

    /// This node has been removed. If it forwards, the leader takes nothing from it any more, and answers
    /// nothing that it took: what waits would wait until the leader counts as lost. Its clients are not sent
    /// to the leader either, as they need not know what a redirect is.
    pub(super) fn on_departed(&mut self) {
        self.has_departed = true;
        if self.config.forward {
            while let Some(waiting) = self.requests.pop() {
                self.answer_waiting(waiting, Answer::NotLeader { leader: None });
            }
        }
    }

    /// Another node asks on behalf of its clients, or answers what this node asked.
    pub(super) fn on_forward(&mut self, from: Peer, message: Forward) {
        match message {
            Forward::TakeIds { ticket, count } if self.leadership.is_some() => {
                self.counts.forwards_taken += 1;
                // The node has given up what it asked for before, and asks for it again with this message.
                self.requests.take_asks(|asker| asker == from);
                self.enqueue(Asker::Node(from, ticket), count);
            }
            Forward::TakeIds { ticket, .. } => {
                // Not forwarded again: two nodes that take each other for the leader would never stop.
                self.answer(Asker::Node(from, ticket), Answer::NotLeader { leader: None });
            }
            Forward::Taken { ticket, outcome } => {
                if let Some(asked) = self.forwarding.answered(from, ticket) {
                    self.on_taken(asked, outcome);
                }
            }
        }
    }

    /// The leader has answered for every request up to the latest that its message covered. Requests that
    /// have timed out meanwhile leave a gap.
    fn on_taken(&mut self, asked: Asked, outcome: ForwardOutcome) {
        let latest = asked.latest;
        match outcome {
            ForwardOutcome::Ids { first } => self.share_out(latest, first),
            ForwardOutcome::NotLeader => {
                self.forwarding.pause(self.now.plus(self.config.raft.heartbeat_interval_us));
            }
            ForwardOutcome::TimedOut => self.answer_through(latest, Answer::TimedOut),
            ForwardOutcome::Overloaded => self.answer_through(latest, Answer::Overloaded),
            ForwardOutcome::Exhausted => self.forwarding.on_exhausted(asked),
        }
        self.refuse_what_is_beyond();
    }

    /// Refuses the oldest requests that want more IDs than are known to be left. A request behind one that
    /// may still get its IDs is answered after it.
    fn refuse_what_is_beyond(&mut self) {
        while let Some((arrival, waiting)) = self.requests.front()
            && self.forwarding.is_beyond_what_is_left(arrival, waiting.count)
        {
            self.requests.pop();
            self.answer_waiting(waiting, Answer::Exhausted);
        }
    }

    /// Answers every request up to `latest` from the range that begins at `next`.
    fn share_out(&mut self, latest: Arrival, mut next: u64) {
        while let Some(waiting) = self.pop_through(latest) {
            let Waiting { count, deadline, .. } = waiting;
            if deadline <= self.now {
                self.answer_waiting(waiting, Answer::TimedOut);
                continue;
            }
            // The leader counted all of these together, so no request extends beyond the last integer.
            let Some(end) = next.checked_add(count.get()) else {
                self.answer_waiting(waiting, Answer::Exhausted);
                continue;
            };
            self.answer_waiting(waiting, Answer::Ids { first: next, count });
            next = end;
        }
    }

    fn answer_through(&mut self, latest: Arrival, answer: Answer) {
        while let Some(waiting) = self.pop_through(latest) {
            self.answer_waiting(waiting, answer);
        }
    }

    fn pop_through(&mut self, latest: Arrival) -> Option<Waiting> {
        let (arrival, _) = self.requests.front()?;
        if arrival <= latest { self.requests.pop() } else { None }
    }

    fn enqueue(&mut self, asker: Asker, count: NonZeroU64) {
        let deadline = self.now.plus(self.config.request_timeout_us);
        if !self.requests.push(Waiting { asker, count, deadline }) {
            self.answer(asker, Answer::Overloaded);
        }
    }

    pub(super) fn reserve(&mut self) {
        let Some(leadership) = &mut self.leadership else { return };
        if !self.raft.accepts_proposals() {
            return;
        }
        let Some(reserve) = leadership.next_reservation(self.now, &self.requests, self.counter) else {
            return;
        };
        leadership.on_proposed(self.now, reserve, self.requests.latest());
        self.counts.reservations += 1;
        let proposal = self.next_proposal();
        self.step_raft(raft_core::Input::Propose { proposal, command: reserve.encode() });
    }

    pub(super) fn begin_round(&mut self) {
        let Some(leadership) = &mut self.leadership else { return };
        if let Some(covers) = leadership.next_round(&self.requests) {
            self.counts.rounds.note(covers);
            self.last_barrier = self.last_barrier.next();
            let barrier = self.last_barrier;
            leadership.on_round_begun(barrier, self.requests.latest());
            let asks = self.thrift.begin_round(covers);
            // An answer depends only on the window, which belongs to this leader, and reads nothing of the
            // replicated state.
            let confirms = Confirmation::Leadership;
            self.step_raft(raft_core::Input::ReadBarrier { barrier, asks, confirms });
        }
    }

    /// Asks the leader for the IDs that requests wait for here.
    pub(super) fn forward(&mut self) {
        let Some(leader) = self.forwards_to() else {
            self.forwarding.stop(self.now);
            return;
        };
        let patience_us = self.config.raft.election_timeout_us;
        if let Some(message) = self.forwarding.ask(self.now, leader, &self.requests, patience_us) {
            self.counts.forwards_sent += 1;
            self.outputs.push_back(Output::Forward { to: leader, message });
        }
    }

    /// The leader that this node asks on behalf of its clients.
    pub(super) fn forwards_to(&self) -> Option<Peer> {
        if !self.config.forward || self.leadership.is_some() {
            return None;
        }
        self.raft.leader().and_then(|leader| self.raft.membership().peer(leader))
    }

    /// Answers, in the order of arrival, every request that can be answered.
    pub(super) fn serve(&mut self) {
        while let Some((arrival, waiting)) = self.requests.front() {
            let Some(answer) = self.answer_to(arrival, waiting) else { return };
            self.requests.pop();
            self.answer_waiting(waiting, answer);
        }
    }

    /// The answer to the oldest request; `None` if it must still wait.
    fn answer_to(&mut self, arrival: Arrival, waiting: Waiting) -> Option<Answer> {
        if waiting.deadline <= self.now {
            return Some(Answer::TimedOut);
        }
        let forwards = self.forwards_to().is_some();
        let Some(leadership) = &mut self.leadership else {
            let in_vain = !forwards && self.orphans_deadline <= self.now;
            return in_vain.then(|| Answer::NotLeader { leader: self.raft.leader() });
        };
        let obtainable = leadership.status().left.saturating_add(self.counter.left());
        if waiting.count.get() > obtainable {
            return Some(Answer::Exhausted);
        }
        if !leadership.is_confirmed(arrival) {
            return None;
        }
        let first = leadership.take(waiting.count)?;
        Some(Answer::Ids { first, count: waiting.count })
    }

    /// Redirects the requests that waited for the next leader to become known, unless this node forwards
    /// them.
    pub(super) fn release_orphans(&mut self) {
        if self.config.forward {
            return;
        }
        while let Some(waiting) = self.requests.pop() {
            self.answer_waiting(waiting, Answer::NotLeader { leader: self.raft.leader() });
        }
    }

    /// This node no longer leads: tells the nodes that asked it, so that they ask the new leader.
    pub(super) fn turn_askers_away(&mut self) {
        for (peer, ticket) in self.requests.take_asks(|_| true) {
            self.answer(Asker::Node(peer, ticket), Answer::NotLeader { leader: None });
        }
    }

    /// Answers a request that has been removed from the queue.
    fn answer_waiting(&mut self, waiting: Waiting, answer: Answer) {
        match waiting.asker {
            Asker::Client(_) => {
                let arrived = waiting.deadline.0.saturating_sub(self.config.request_timeout_us);
                self.counts.waits.note(self.now.0.saturating_sub(arrived));
            }
            // The asking node measures how long its clients wait.
            Asker::Node(..) => {}
        }
        self.answer(waiting.asker, answer);
    }

    fn answer(&mut self, asker: Asker, answer: Answer) {
        self.outputs.push_back(match asker {
            Asker::Client(request) => Output::Answer { request, answer },
            Asker::Node(to, ticket) => {
                let outcome = match answer {
                    Answer::Ids { first, .. } => ForwardOutcome::Ids { first },
                    Answer::NotLeader { .. } => ForwardOutcome::NotLeader,
                    Answer::TimedOut => ForwardOutcome::TimedOut,
                    Answer::Overloaded => ForwardOutcome::Overloaded,
                    Answer::Exhausted => ForwardOutcome::Exhausted,
                };
                Output::Forward { to, message: Forward::Taken { ticket, outcome } }
            }
        });
    }
}
