//! Serving requests, both clients' own and those that other nodes forward. A request is answered as soon as
//! leadership, the window and the queue allow it; if another node leads, clients are redirected to it, or it
//! is asked on their behalf (see [`forwarding`](super::forwarding)).

use std::num::NonZeroU64;

use raft_core::{Confirmation, Micros, NodeId};

use super::Node;
use super::io::{Answer, Output, RequestId};
use super::peer_message::{Forward, ForwardOutcome};
use super::requests::{Arrival, Asker, Waiting};

impl Node {
    pub(super) fn on_take_ids(&mut self, request: RequestId, count: NonZeroU64) {
        let asker = Asker::Client(request);
        if self.forwarding_is_over {
            return self.answer(asker, Answer::NotLeader { leader: None });
        }
        let waits = self.leadership.is_some() || self.forwards_to().is_some() || self.awaits_leader();
        if waits || !self.requests.is_empty() {
            // If older requests still wait for the next leader to become known, this one queues behind them.
            self.enqueue(asker, count);
        } else {
            self.answer(asker, Answer::NotLeader { leader: self.redirects_to() });
        }
    }

    /// The leader, if clients can be sent there: a node that has just joined may know who leads before it
    /// knows where.
    pub(super) fn redirects_to(&self) -> Option<NodeId> {
        self.raft.leader().filter(|leader| self.raft.membership().members.contains_key(leader))
    }

    /// Whether requests wait for the next leader: between two leaders it becomes known in a moment, and
    /// clients need not notice the gap.
    fn awaits_leader(&self) -> bool {
        self.redirects_to().is_none() && self.now < self.leader_wait_deadline
    }

    /// This node has been removed, or its store is an earlier copy. If it forwards, the leader takes nothing
    /// from it any more, and answers nothing that it took, or takes it for the node with the true store: what
    /// waits would wait until the leader counts as lost. Its clients are not sent to the leader either, as
    /// they need not know what a redirect is.
    pub(super) fn stop_forwarding(&mut self) {
        if self.config.forward {
            self.forwarding_is_over = true;
            while let Some(waiting) = self.requests.pop() {
                self.answer_waiting(waiting, Answer::NotLeader { leader: None });
            }
        }
    }

    pub(super) fn enqueue(&mut self, asker: Asker, count: NonZeroU64) {
        let deadline = self.now.plus(self.config.request_timeout_us);
        if !self.requests.push(Waiting { asker, count, deadline }) {
            self.answer(asker, Answer::Overloaded);
        }
    }

    pub(super) fn reserve(&mut self) {
        let Some(leadership) = &mut self.leadership else { return };
        if !self.raft.accepts_proposals() {
            leadership.on_proposals_refused();
            return;
        }
        match self.raft.oldest_write_issued_at() {
            Some(_) => leadership.on_disk_busy(self.now),
            None => leadership.on_disk_idle(self.now),
        }
        let Some(reserve) = leadership.next_reservation(self.now, &self.requests, self.counter) else {
            return;
        };
        leadership.on_proposed(self.now, reserve, self.requests.latest());
        self.counts.reservations += 1;
        let proposal = self.next_proposal();
        self.step_raft(raft_core::Input::Propose { proposal, command: reserve.encode() });
    }

    pub(super) fn begin_barrier(&mut self) {
        let Some(leadership) = &mut self.leadership else { return };
        if let Some(covers) = leadership.next_barrier(self.now, &self.requests, self.thrifty.audience()) {
            self.counts.barriers.note(covers);
            self.last_barrier = self.last_barrier.next();
            let barrier = self.last_barrier;
            leadership.on_barrier_begun(self.now, barrier, self.requests.latest());
            let audience = self.thrifty.begin_round(covers);
            // An answer depends only on the window, which belongs to this leader, and reads nothing of the
            // replicated state.
            let confirms = Confirmation::Leadership;
            self.step_raft(raft_core::Input::ReadBarrier { barrier, audience, confirms });
        }
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
            let waits = forwards || self.awaits_leader();
            return (!waits).then_some(Answer::NotLeader { leader: self.redirects_to() });
        };
        let obtainable = leadership.remaining().saturating_add(self.counter.remaining());
        if waiting.count.get() > obtainable {
            return Some(Answer::Exhausted);
        }
        if !leadership.is_confirmed(arrival) {
            return None;
        }
        let first = leadership.take(waiting.count)?;
        Some(Answer::Ids { first, count: waiting.count })
    }

    /// Answers a request that has been removed from the queue.
    pub(super) fn answer_waiting(&mut self, waiting: Waiting, answer: Answer) {
        match waiting.asker {
            Asker::Client(_) => {
                let arrived = Micros(waiting.deadline.0.saturating_sub(self.config.request_timeout_us));
                self.counts.waits.note(self.now.since(arrived));
            }
            // The asking node measures how long its clients wait.
            Asker::Node(..) => {}
        }
        self.answer(waiting.asker, answer);
    }

    pub(super) fn answer(&mut self, asker: Asker, answer: Answer) {
        match asker {
            Asker::Client(request) => self.outputs.push_back(Output::Answer { request, answer }),
            Asker::Node(to, sequence) => {
                let outcome = match answer {
                    Answer::Ids { first, count } => ForwardOutcome::Ids { first, count },
                    Answer::NotLeader { .. } => ForwardOutcome::NotLeader,
                    Answer::TimedOut => ForwardOutcome::TimedOut,
                    Answer::Overloaded => ForwardOutcome::Overloaded,
                    Answer::Exhausted => ForwardOutcome::Exhausted,
                };
                self.send(to, Forward::TakeIdsResponse { sequence, outcome });
            }
        }
    }
}
