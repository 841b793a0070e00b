//! What may happen in a state, and to which node.

use raft_core::Confirmation;

use super::World;
use crate::action::{Action, Told};
use crate::bounds::Bounds;
use crate::state::State;
use crate::step::Cause;

impl World {
    /// A description of this action in this state, for a person.
    pub(crate) fn told(&self, state: &State, action: &Action) -> String {
        let envelope = match action {
            Action::Deliver(at) | Action::Duplicate(at) | Action::Lose(at) => self.envelope(state, *at),
            Action::Timeout(_)
            | Action::Silence(_)
            | Action::Refused(..)
            | Action::Sync(_)
            | Action::FailWrite(_)
            | Action::Crash(_)
            | Action::Propose(_)
            | Action::Barrier(..)
            | Action::Change(..)
            | Action::Transfer(_)
            | Action::Compact(_) => None,
        };
        Told { action, envelope }.to_string()
    }

    /// Everything that may happen next, in a fixed order.
    pub(crate) fn actions(&self, state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
        // A message that never arrives is the same as a lost one; losing it only makes room for others.
        let crowded = state.in_flight() + self.peers.len() > bounds.in_flight;
        for at in state.network.distinct() {
            actions.push(Action::Deliver(at));
            if state.spent.duplicates < bounds.duplicates {
                actions.push(Action::Duplicate(at));
            }
            if crowded {
                actions.push(Action::Lose(at));
            }
        }
        for at in 0..self.peers.len() {
            self.actions_of_node(state, at, bounds, actions);
        }
    }

    fn actions_of_node(&self, state: &State, at: usize, bounds: &Bounds, actions: &mut Vec<Action>) {
        let spent = &state.spent;
        let known = self.known(state, at);
        let mut offer = |possible: bool, action: Action| {
            if possible {
                actions.push(action);
            }
        };
        let leads = known.leads;
        let (wakes, budget) =
            if leads { (spent.heartbeats, bounds.heartbeats) } else { (spent.timeouts, bounds.timeouts) };
        offer(known.wakes && wakes < budget, Action::Timeout(at));
        if let Some(leader) = known.follows {
            offer(!known.is_muted && spent.silences < bounds.silences, Action::Silence(at));
            offer(spent.refusals < bounds.refusals, Action::Refused(at, leader));
        }
        offer(known.has_pending, Action::Sync(at));
        let may_fail = !known.is_muted && spent.write_failures < bounds.write_failures;
        offer(may_fail && known.has_pending, Action::FailWrite(at));
        offer(spent.crashes < bounds.crashes, Action::Crash(at));
        offer(leads && spent.proposals < bounds.proposals, Action::Propose(at));
        for confirms in [Confirmation::Leadership, Confirmation::CommitIndex] {
            offer(leads && spent.barriers < bounds.barriers, Action::Barrier(at, confirms));
        }
        for (change, number) in bounds.changes.iter().zip(1..).skip(usize::from(spent.changes)) {
            offer(leads, Action::Change(at, number, *change));
        }
        offer(leads && spent.transfers < bounds.transfers, Action::Transfer(at));
        offer(known.may_compact && spent.compactions < bounds.compactions, Action::Compact(at));
    }

    /// Counts an action, and takes its message out of the network; returns the node, and what the action
    /// means to it.
    pub(super) fn spend(&self, next: &mut State, action: &Action) -> Option<(usize, Cause)> {
        let spent = &mut next.spent;
        let one_more = |count: &mut u8| {
            *count += 1;
            *count
        };
        match *action {
            Action::Deliver(place) => {
                let envelope_no = next.network.as_slice()[place];
                next.network.take(place);
                self.envelopes[envelope_no].to.map(|at| (at, Cause::Message(envelope_no)))
            }
            Action::Duplicate(place) => {
                spent.duplicates += 1;
                let envelope_no = next.network.as_slice()[place];
                self.envelopes[envelope_no].to.map(|at| (at, Cause::Message(envelope_no)))
            }
            Action::Lose(place) => {
                next.network.take(place);
                None
            }
            Action::Timeout(at) => {
                let leads = self.nodes[next.nodes[at]].leads;
                one_more(if leads { &mut spent.heartbeats } else { &mut spent.timeouts });
                Some((at, Cause::Timeout))
            }
            Action::Silence(at) => {
                spent.silences += 1;
                Some((at, Cause::Silence))
            }
            Action::Refused(at, peer) => {
                spent.refusals += 1;
                Some((at, Cause::Refused(peer)))
            }
            Action::Sync(at) => Some((at, Cause::Sync)),
            Action::FailWrite(at) => {
                spent.write_failures += 1;
                Some((at, Cause::FailWrite))
            }
            Action::Crash(at) => {
                spent.crashes += 1;
                Some((at, Cause::Crash))
            }
            Action::Propose(at) => Some((at, Cause::Propose(one_more(&mut spent.proposals)))),
            Action::Barrier(at, confirms) => {
                Some((at, Cause::Barrier(one_more(&mut spent.barriers), confirms)))
            }
            Action::Change(at, number, change) => {
                // The changes before it are skipped.
                spent.changes = number;
                Some((at, Cause::Change(number, change)))
            }
            Action::Transfer(at) => {
                spent.transfers += 1;
                Some((at, Cause::Transfer))
            }
            Action::Compact(at) => {
                spent.compactions += 1;
                Some((at, Cause::Compact(next.history)))
            }
        }
    }
}
