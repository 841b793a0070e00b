//! One turn of a process, as in the real driver: inputs, the end of the turn, then every output in order.

use std::mem;
use std::sync::Arc;

use raft_core::{Membership, Micros, Peer, Write};
use ticketd::node::{Input, Output, PeerMessage};
use ticketd::peer::Frame;

use crate::durable;
use crate::host::{Health, Standing, slot_of};
use crate::narration::names;
use crate::network::LinkState;
use crate::schedule::{ConnId, Direction, Event, Life, Slot};
use crate::violated;
use crate::world::World;

/// The longest time by which the end of a turn is put off, in microseconds: as if a busy loop were reading
/// its other sockets.
const PUT_OFF_US: u64 = 300;

impl World {
    /// Gives a process an input, and in most cases ends the turn with it.
    pub(crate) fn give(&mut self, slot: Slot, input: Input) {
        let now = self.now;
        let host = &mut self.hosts[slot.at()];
        let local = host.clock.local(now);
        let Some(process) = host.run.process_mut() else { return };
        process.node.step(local, input);
        if !self.net_rng.ppm(self.plan.put_off_ppm) {
            self.end_turn(slot);
        } else if !process.put_off {
            process.put_off = true;
            let at = now.plus(self.net_rng.below(PUT_OFF_US));
            self.plan_turn_at(slot, at);
        }
    }

    pub(crate) fn on_turn(&mut self, life: Life) {
        if self.defer(life, Event::Turn { life }) {
            return;
        }
        let now = self.now;
        let Some(process) = self.process(life) else { return };
        if process.turn_at.is_none_or(|at| at > now) {
            // An earlier turn was planned afterwards.
            return;
        }
        process.turn_at = None;
        self.end_turn(life.slot);
    }

    /// Plans a turn at the node's deadline.
    pub(crate) fn plan_turn(&mut self, slot: Slot) {
        let host = &self.hosts[slot.at()];
        let Some(deadline) = host.run.process().and_then(|process| process.node.deadline()) else { return };
        let at = host.clock.when(deadline).max(self.now.plus(1));
        self.plan_turn_at(slot, at);
    }

    /// Plans a turn, unless an earlier one is planned.
    fn plan_turn_at(&mut self, slot: Slot, at: Micros) {
        let life = self.life(slot);
        let Some(process) = self.process(life) else { return };
        if process.turn_at.is_none_or(|planned| planned > at) {
            process.turn_at = Some(at);
            self.schedule.plan(at, Event::Turn { life });
        }
    }

    pub(crate) fn end_turn(&mut self, slot: Slot) {
        let (now, life) = (self.now, self.life(slot));
        let host = &mut self.hosts[slot.at()];
        let local = host.clock.local(now);
        let Some(process) = host.run.process_mut() else { return };
        process.put_off = false;
        process.node.step(local, Input::Wake);
        let mut outputs = mem::take(&mut self.outputs);
        while let Some(output) = process.node.poll_output() {
            outputs.push(output);
        }
        let pause_us = process.pause_us.take();
        self.check_turn(slot, &outputs);
        if let Some(us) = pause_us {
            self.pause(slot, us, mem::take(&mut outputs));
        }
        self.carry_out_all(life, &mut outputs);
        self.outputs = outputs;
        self.plan_turn(slot);
    }

    pub(crate) fn carry_out_all(&mut self, life: Life, outputs: &mut Vec<Output>) {
        let Some(process) = self.process(life) else { return };
        let dies_after = if outputs.is_empty() { None } else { process.dies_after.take() };
        for (done, output) in outputs.drain(..).enumerate() {
            if dies_after.is_some_and(|after| usize::from(after) == done) {
                break;
            }
            self.carry_out(life, output);
        }
        if dies_after.is_some() {
            self.crash(life.slot);
        } else if self.process(life).is_some_and(|process| process.removed) {
            self.on_removed(life.slot);
        }
    }

    fn carry_out(&mut self, life: Life, output: Output) {
        let slot = life.slot;
        match output {
            Output::Write(write) => self.on_write(life, write),
            Output::Send { to, message } => {
                let host = &self.hosts[slot.at()];
                match &message {
                    PeerMessage::Raft(message) => {
                        let process = host.run.process().expect("a process that is gone carries nothing out");
                        durable::check_message(process.node.raft(), to, message, &host.disk);
                    }
                    PeerMessage::Forward(_) => {}
                    PeerMessage::Bequest(bequest) => {
                        self.oracle.on_bequest((host.peer, life.epoch), to, *bequest);
                    }
                }
                self.send(slot, to, message);
            }
            Output::Answer { request, answer } => self.on_answer(life, request, answer),
            Output::OperationDone { operation, outcome } => self.on_operation_done(operation, outcome),
            Output::RoleChanged { role, term, leader } => {
                self.narrate(slot, || format!("is {role:?} in term {term}, leader {leader:?}"));
            }
            Output::MembershipChanged(membership) => {
                self.narrate(slot, || format!("has the members {}", names(&membership)));
                self.relink(slot, &membership);
            }
            Output::Removed { at } => {
                if let Standing::Member { joined_at } = self.hosts[slot.at()].standing
                    && at > joined_at
                    && let Some(process) = self.process(life)
                {
                    process.removed = true;
                }
            }
            Output::PeerRemoved(peer) => {
                self.unlink(slot, peer);
                self.close_from(slot, peer);
                // A process has one link to each host: the next life of that node may have had to wait for
                // this one.
                if let Some(process) = self.process(life) {
                    let membership = Arc::clone(process.node.membership());
                    self.relink(slot, &membership);
                }
            }
            Output::EntriesLost { acknowledged, last } => {
                violated!(
                    "{} acknowledged entry {acknowledged}, and its log ends at {last}",
                    self.hosts[slot.at()].peer
                );
            }
            Output::SafetyLost(evidence) => violated!("{}: {evidence}", self.hosts[slot.at()].peer),
            Output::Dropped { from, reason } => {
                violated!("{} says that {from} is not sound: {reason:?}", self.hosts[slot.at()].peer);
            }
        }
    }

    /// As the server does: a response goes where its message came from, if that is still open; another
    /// message goes there only if there is no link.
    fn send(&mut self, slot: Slot, to: Peer, message: PeerMessage) {
        let link = self.link_up_to(slot, to).map(|conn| (conn, Direction::Forward));
        let heard = self.heard_on(slot, to).map(|conn| (conn, Direction::Back));
        let way = if message.is_response() { heard.or(link) } else { link.or(heard) };
        if let Some((conn, direction)) = way {
            self.send_frame(conn, direction, &Frame::Message(message));
        }
    }

    /// The connection that a process has dialled to this node and that was welcomed, if it has one.
    fn link_up_to(&self, slot: Slot, peer: Peer) -> Option<ConnId> {
        let process = self.hosts[slot.at()].run.process()?;
        let link = process.links[slot_of(peer.id).at()].filter(|link| link.peer == peer)?;
        if let LinkState::Up(conn) = link.state { Some(conn) } else { None }
    }

    /// Keeps a link to each member, and to every other node that was let in.
    pub(crate) fn relink(&mut self, slot: Slot, membership: &Membership) {
        let me = self.hosts[slot.at()].peer;
        for id in membership.members.keys() {
            let Some(peer) = membership.peer(*id) else { continue };
            // If a later life of it is connected to us, this one is over.
            if peer.id != me.id && !self.is_connected_in_a_later_life(slot, peer) {
                self.link_to(slot, peer);
            }
        }
    }

    fn on_write(&mut self, life: Life, write: Write) {
        if let Some(snapshot) = &write.snapshot {
            self.oracle.on_snapshot(self.hosts[life.slot.at()].peer, snapshot);
        }
        let Some(process) = self.process(life) else { return };
        if process.storage.submit(write) {
            self.plan_sync(life);
        }
    }

    fn plan_sync(&mut self, life: Life) {
        let mut us = self.plan.sync.drawn(&mut self.net_rng);
        if let Health::Slow { at_least_us } = self.hosts[life.slot.at()].health {
            us = us.max(at_least_us);
        }
        self.schedule.plan(self.now.plus(us), Event::Synced { life });
    }

    pub(crate) fn on_synced(&mut self, life: Life) {
        if self.defer(life, Event::Synced { life }) {
            return;
        }
        let slot = life.slot;
        let torn = self.process(life).filter(|process| process.tears_next);
        if let Some(pending) = torn.and_then(|process| process.storage.checkpoint_under_way())
            && self.tear(slot, &pending)
        {
            return;
        }
        let health = self.hosts[slot.at()].health;
        // A sync may fail after all of it, or a part, has reached the disk.
        let is_reached = health == Health::Failing && self.fault_rng.percent(50);
        let Some((process, disk)) = self.hosts[slot.at()].process_and_disk(life.epoch) else { return };
        if process.storage.has_failed() {
            return;
        }
        match health {
            Health::Sound | Health::Slow { .. } => {
                let through = process.storage.commit(disk, &mut self.oracle);
                if process.storage.begin() {
                    self.plan_sync(life);
                }
                if let Some(through) = through {
                    self.give(slot, Input::WritesDurable { through });
                }
            }
            Health::Failing => {
                if is_reached {
                    let _ = process.storage.commit(disk, &mut self.oracle);
                } else {
                    process.storage.cut(disk, &mut self.fault_rng, &mut self.oracle);
                }
                self.fail_writes(life);
            }
            Health::Full => self.fail_writes(life),
        }
    }

    /// A transaction failed: the node is told, and must take no further part.
    fn fail_writes(&mut self, life: Life) {
        let Some(process) = self.process(life) else { return };
        process.storage.fail();
        self.narrate(life.slot, || {
            format!("fails to write, its disk is {:?}", self.hosts[life.slot.at()].health)
        });
        self.give(life.slot, Input::WriteFailed);
        if self.process(life).is_some_and(|process| !process.node.raft().is_muted()) {
            violated!("{} takes part after a write that failed", self.hosts[life.slot.at()].peer);
        }
    }
}
