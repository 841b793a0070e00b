//! Operators: they remove nodes, join new ones in their place, and ask again until it is done.

use raft_core::{ChangeRefused, LogIndex, MembershipChange, NodeId, Peer, Term};
use ticketd::node::{Input, OperationId, OperationOutcome};

use crate::host::{Run, Standing, slot_of};
use crate::network::address;
use crate::schedule::{Event, Life, Slot};
use crate::violated;
use crate::world::{Phase, World};

/// The work of the operators.
#[derive(Debug, Default)]
pub(crate) struct Operators {
    last: u64,
    /// Oldest first; for each host, only the first task is worked on.
    tasks: Vec<Task>,
}

#[derive(Clone, Debug)]
struct Task {
    wish: Wish,
    /// The request that was sent and not answered yet.
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    operation: OperationId,
    /// The process that was asked, and the term that it was in.
    process: Life,
    term: Term,
}

/// What an operator wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// Remove this node, in this life, from the cluster.
    Leave(Peer),
    /// Add it to the cluster.
    Join(Peer),
    /// Change its address.
    Move(Peer, String),
    /// Make another node lead.
    Transfer(Option<NodeId>),
}

impl Operators {
    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// What remains to be done.
    pub(crate) fn wishes(&self) -> impl Iterator<Item = &Wish> {
        self.tasks.iter().map(|task| &task.wish)
    }

    pub(crate) fn wish(&mut self, wish: Wish) {
        self.tasks.push(Task { wish, asked: None });
    }

    /// Whether an operator already works on this host.
    pub(crate) fn works_on(&self, slot: Slot) -> bool {
        self.tasks.iter().any(|task| task.wish.slot() == Some(slot))
    }
}

impl Wish {
    fn slot(&self) -> Option<Slot> {
        match self {
            Wish::Leave(peer) | Wish::Join(peer) | Wish::Move(peer, _) => Some(slot_of(peer.id)),
            Wish::Transfer(_) => None,
        }
    }

    fn input(&self, operation: OperationId) -> Input {
        let change = match self {
            Wish::Leave(peer) => {
                MembershipChange::Remove { id: peer.id, incarnation: Some(peer.incarnation) }
            }
            Wish::Join(peer) => MembershipChange::Add {
                peer: *peer,
                peer_address: address(slot_of(peer.id)),
                client_address: address(slot_of(peer.id)),
            },
            Wish::Move(peer, address) => MembershipChange::Relocate {
                peer: *peer,
                peer_address: address.clone(),
                client_address: address.clone(),
            },
            Wish::Transfer(to) => return Input::TransferLeadership { operation, to: *to },
        };
        Input::ChangeMembership { operation, change }
    }
}

impl World {
    /// Operators look for work.
    pub(crate) fn on_operate(&mut self) {
        self.watch_star();
        self.sweep_clients();
        let mut busy = Vec::new();
        for at in 0..self.operators.tasks.len() {
            let Some(task) = self.operators.tasks.get(at) else { break };
            let slot = task.wish.slot();
            if slot.is_some_and(|slot| busy.contains(&slot)) {
                continue;
            }
            busy.extend(slot);
            if let Some(Asked { process, .. }) = task.asked
                && self.process(process).is_some()
            {
                continue;
            }
            self.ask(at);
        }
        if self.phase < Phase::Quiet {
            let at = self.now.plus(self.plan.heartbeat_interval_us * 2);
            self.schedule.plan(at, Event::Operate);
        }
    }

    fn ask(&mut self, at: usize) {
        let Some(slot) = self.whom_to_ask() else { return };
        self.operators.last += 1;
        let operation = OperationId(self.operators.last);
        let process = self.life(slot);
        let Some(term) = self.process(process).map(|process| process.node.raft().current_term()) else {
            return;
        };
        let task = &mut self.operators.tasks[at];
        task.asked = Some(Asked { operation, process, term });
        let input = task.wish.input(operation);
        self.narrate(slot, || format!("is asked for {:?}", self.operators.tasks[at].wish));
        self.give(slot, input);
    }

    /// The host to ask: mostly the leader's, as far as that can be told from outside.
    fn whom_to_ask(&mut self) -> Option<Slot> {
        let runs = |slot: &Slot| matches!(self.hosts[slot.at()].run, Run::Up(_));
        let running: Vec<Slot> = self.slots().filter(runs).collect();
        let leading: Vec<Slot> =
            running.iter().copied().filter(|slot| self.hosts[slot.at()].leads()).collect();
        if self.client_rng.percent(90) {
            self.client_rng.pick(&leading)
        } else {
            self.client_rng.pick(&running)
        }
    }

    pub(crate) fn on_operation_done(&mut self, operation: OperationId, outcome: OperationOutcome) {
        let asked = |task: &Task| task.asked.filter(|asked| asked.operation == operation);
        let mut tasks = self.operators.tasks.iter().enumerate();
        let Some((at, asked)) = tasks.find_map(|(at, task)| Some((at, asked(task)?))) else { return };
        self.operators.tasks[at].asked = None;
        let wish = self.operators.tasks[at].wish.clone();
        let done = match (outcome, &wish) {
            (OperationOutcome::Done { index }, _) => {
                self.check_done(asked, &wish, index);
                self.summary.changes += u64::from(!matches!(wish, Wish::Transfer(_)));
                if let Wish::Join(peer) = wish {
                    self.on_joined(peer, index);
                }
                true
            }
            (OperationOutcome::Transferred { leader }, _) => {
                self.check_transferred(asked, &wish, leader);
                self.summary.transfers += 1;
                true
            }
            (OperationOutcome::Refused(reason), wish) => is_settled(reason, wish),
            (
                OperationOutcome::NotLeader { .. }
                | OperationOutcome::HandingOver
                | OperationOutcome::Busy
                | OperationOutcome::TooManyMembers
                | OperationOutcome::TransferFailed
                | OperationOutcome::NoOtherVoter
                | OperationOutcome::NotAVoter
                | OperationOutcome::Unknown,
                wish,
            ) => matches!(wish, Wish::Transfer(_)),
        };
        if done {
            self.operators.tasks.remove(at);
        }
    }

    /// What an operator is told is done must be so. Nobody else has worked on the same host since.
    fn check_done(&self, asked: Asked, wish: &Wish, index: LogIndex) {
        if index > self.oracle.commit_index() {
            violated!("{wish:?} is said to be done at {index}, which nobody has committed");
        }
        let membership = self.oracle.membership();
        let holds = match wish {
            Wish::Leave(peer) => !membership.contains(*peer),
            Wish::Join(peer) => membership.contains(*peer),
            Wish::Move(peer, to) => membership
                .peers()
                .any(|(member, at)| member == *peer && at.peer_address == *to && at.client_address == *to),
            Wish::Transfer(to) => *to == Some(self.hosts[asked.process.slot.at()].peer.id),
        };
        if !holds {
            violated!("{wish:?} is said to be done at {index}, and is not: the members are {membership:?}");
        }
    }

    /// Another node has been elected since.
    fn check_transferred(&self, asked: Asked, wish: &Wish, leader: NodeId) {
        let is_other = leader != self.hosts[asked.process.slot.at()].peer.id;
        if !matches!(wish, Wish::Transfer(_)) || !is_other || !self.oracle.has_led_after(asked.term, leader) {
            violated!("{wish:?} is said to be done because {leader} leads: {asked:?}");
        }
    }

    fn on_joined(&mut self, peer: Peer, joined_at: LogIndex) {
        let host = &mut self.hosts[slot_of(peer.id).at()];
        if host.peer == peer {
            host.standing = Standing::Member { joined_at };
            host.disk.set_identity(&host.identity());
            self.start_at(slot_of(peer.id), self.now.plus(1));
        }
    }
}

/// Whether nothing remains to be done although the request was refused.
fn is_settled(reason: ChangeRefused, wish: &Wish) -> bool {
    match (reason, wish) {
        (ChangeRefused::NoSuchMember | ChangeRefused::LastVoter, Wish::Leave(_))
        | (ChangeRefused::NoSuchMember, Wish::Move(..) | Wish::Transfer(Some(_))) => true,
        // Its former life is still a member; its removal is under way.
        (ChangeRefused::IdTaken, Wish::Join(_)) => false,
        // Other nodes are down, and will recover.
        (ChangeRefused::NoQuorumLeft, Wish::Leave(_)) => false,
        (reason, wish) => violated!("{wish:?} was refused: {reason:?}"),
    }
}
