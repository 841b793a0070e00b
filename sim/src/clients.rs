//! Clients: each sends one request at a time, follows redirects, and asks another node if it gets no answer.

use std::num::NonZeroU64;

use raft_core::Micros;
use ticketd::node::{Answer, Input, RequestId};

use crate::host::slot_of;
use crate::schedule::{Event, Life, Slot};
use crate::world::{Phase, World};

/// How often a client that was answered asks another node next.
const ASKS_ANOTHER_PERCENT: u64 = 10;

/// One client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    target: Slot,
    waiting: Option<Waiting>,
    /// When it will send its next request, if it is not waiting.
    next: Micros,
    /// Counts its plans: only the latest one is carried out.
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    request: RequestId,
    asked: Life,
    since: Micros,
}

impl World {
    pub(crate) fn begin_clients(&mut self) {
        for number in 0..self.plan.clients {
            let target = self.any_slot();
            self.clients.push(Client { target, waiting: None, next: self.now, generation: 0 });
            self.plan_request(number, self.plan.think_us);
        }
    }

    pub(crate) fn on_request(&mut self, number: u16, generation: u32) {
        let client = self.clients[usize::from(number)];
        if client.generation != generation || self.phase >= Phase::Quiet {
            return;
        }
        let slot = client.target;
        let host = &self.hosts[slot.at()];
        let Some(process) = host.run.process() else {
            self.turn_elsewhere(number);
            return;
        };
        let (term, peer, life) = (process.node.raft().current_term(), host.peer, self.life(slot));
        if host.run.is_paused() {
            // The request waits there with others, or the client does not even get a connection.
            if host.is_lost() || self.client_rng.percent(50) {
                self.turn_elsewhere(number);
            } else {
                self.defer(life, Event::Request { client: number, generation });
            }
            return;
        }
        let count = self.client_rng.between(1, self.plan.count_max);
        let request = self.history.begin(number, (life, peer), self.now, count, term);
        self.clients[usize::from(number)].waiting = Some(Waiting { request, asked: life, since: self.now });
        self.give(slot, Input::TakeIds { request, count: NonZeroU64::new(count).unwrap_or(NonZeroU64::MIN) });
    }

    pub(crate) fn on_answer(&mut self, from: Life, request: RequestId, answer: Answer) {
        let ended = self.history.end(request, from, answer, &self.oracle);
        let is_leased = self.process(from).is_some_and(|process| process.node.raft().holds_lease());
        self.summary.leased += u64::from(is_leased && matches!(answer, Answer::Ids { .. }));
        let number = ended.client;
        let client = &mut self.clients[usize::from(number)];
        if client.waiting.is_none_or(|waiting| waiting.request != request) {
            // The client has given up.
            return;
        }
        client.waiting = None;
        match answer {
            Answer::Ids { .. } | Answer::Exhausted => {
                if let Some(star) = &mut self.star {
                    star.answered_at = Some(self.now);
                }
                if self.phase >= Phase::Recovery {
                    self.first_answer_in_recovery.get_or_insert(self.now);
                }
                if self.client_rng.percent(ASKS_ANOTHER_PERCENT) {
                    // If two nodes both believe that they lead, some client must meet both.
                    self.clients[usize::from(number)].target = self.any_slot();
                }
                self.plan_request(number, self.plan.think_us);
            }
            Answer::NotLeader { leader: Some(leader) }
                if !self.hosts[slot_of(leader).at()].is_lost() && self.client_rng.percent(90) =>
            {
                client.target = slot_of(leader);
                self.plan_request(number, self.plan.think_us / 8);
            }
            Answer::NotLeader { .. } | Answer::TimedOut | Answer::Overloaded => self.turn_elsewhere(number),
        }
    }

    /// Clients whose connection is gone, or who have waited too long, ask another node.
    pub(crate) fn sweep_clients(&mut self) {
        let patience = self.plan.request_timeout_us * 2;
        for number in 0..self.plan.clients {
            let client = self.clients[usize::from(number)];
            let Some(waiting) = client.waiting else {
                if self.now.since(client.next) > patience {
                    // The process that had the request has died.
                    self.turn_elsewhere(number);
                }
                continue;
            };
            let asked = waiting.asked;
            let gone = self.process(asked).is_none() || self.hosts[asked.slot.at()].is_lost();
            if gone || self.now.since(waiting.since) > patience {
                self.clients[usize::from(number)].waiting = None;
                self.turn_elsewhere(number);
            }
        }
    }

    /// Makes every client ask again, so that the time to its answer shows how soon the cluster recovered.
    pub(crate) fn ask_anew(&mut self) {
        for number in 0..self.plan.clients {
            self.clients[usize::from(number)].waiting = None;
            self.turn_elsewhere(number);
        }
    }

    fn turn_elsewhere(&mut self, number: u16) {
        self.clients[usize::from(number)].target = self.any_slot();
        self.plan_request(number, self.plan.think_us.max(self.plan.heartbeat_interval_us));
    }

    fn any_slot(&mut self) -> Slot {
        if let Some(star) = self.star {
            // The others may never learn who leads.
            return star.hub;
        }
        let well: Vec<Slot> = self.slots().filter(|slot| !self.hosts[slot.at()].is_lost()).collect();
        self.client_rng.pick(&well).unwrap_or(Slot(0))
    }

    fn plan_request(&mut self, number: u16, within_us: u64) {
        let at = self.now.plus(self.client_rng.between(50, within_us.max(51)));
        let client = &mut self.clients[usize::from(number)];
        client.generation += 1;
        client.next = at;
        self.schedule.plan(at, Event::Request { client: number, generation: client.generation });
    }
}
