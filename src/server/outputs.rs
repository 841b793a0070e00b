//! What the loop does with each output of the node.

use std::sync::Arc;

use raft_core::{DropReason, Membership, NodeId, Peer, Role, Term};

use super::Server;
use super::narration;
use super::operations::Concluded;
use super::shutdown::Exit;
use crate::node::{Input, OperationId, OperationOutcome, Output, PeerMessage};
use crate::peer::Frame;
use crate::storage::{LostEntries, StoreError};

impl Server {
    /// Carries out the node's output in order. All writes of the turn go to the disk together: a new leader's
    /// first entries then cost one sync, not two.
    pub(super) fn carry_out(&mut self) {
        while let Some(output) = self.ctx.node.poll_output() {
            match output {
                Output::Write(write) => self.writes.push(write),
                Output::Send { to, message } => self.send(to, message),
                Output::Answer { request, answer } => self.clients.on_answer(&mut self.ctx, request, answer),
                Output::OperationDone { operation, outcome } => self.on_operation_done(operation, outcome),
                Output::RoleChanged { role, term, leader } => self.on_role(role, term, leader),
                Output::MembershipChanged(membership) => self.on_membership(membership),
                Output::PeerRemoved(peer) => {
                    log::debug!("node {peer} is refused from now on");
                    self.peer_connections.close_unwelcome(&self.ctx);
                }
                Output::Removed { at } if at <= self.ctx.me.joined_at => {
                    log::debug!(
                        "the removal at {at} was before this node joined, at {}",
                        self.ctx.me.joined_at
                    );
                }
                Output::Removed { at: _ } => self.on_removed("the members have agreed on it"),
                Output::EntriesLost { acknowledged, last } => {
                    self.fail(&StoreError::EntriesLost { acknowledged, last });
                    self.storage.record_lost_entries(LostEntries { acknowledged, last });
                }
                Output::SafetyLost(evidence) => self.fail(&StoreError::Contradicted(evidence)),
                Output::Dropped { from, reason } => self.on_dropped(from, reason),
            }
        }
        if !self.writes.is_empty() {
            self.woken |= self.storage.submit(self.writes.drain(..));
        }
    }

    /// Responses go back the way that the peer's messages come: TCP then acknowledges the message with the
    /// response, and they need no link to have come up. As a rule that is the connection that the peer has
    /// dialled. But it asks on the link from here if it cannot dial, or knows that its connection is dead;
    /// this node may not know that yet. Other messages take the peer's connection only as long as there is
    /// no link: a node that cannot dial counts in a majority, so it must be able to lead.
    fn send(&mut self, to: Peer, message: PeerMessage) {
        let prefers_link = if message.is_response() {
            self.links.asked_at(to).is_some_and(|at| self.peer_connections.heard_at(to) < Some(at))
        } else {
            self.links.is_up_to(to)
        };
        let frame = Frame::Message(message);
        if prefers_link || !self.peer_connections.send(&mut self.ctx, to, &frame) {
            self.links.send(&mut self.ctx, to, &frame);
        }
    }

    fn on_operation_done(&mut self, operation: OperationId, outcome: OperationOutcome) {
        match self.operations.conclude(&self.ctx, operation, outcome) {
            Concluded::Answer(connection, response) => {
                self.peer_connections.answer(&mut self.ctx, connection, response);
            }
            Concluded::HandOver(outcome) => self.on_hand_over_done(outcome),
            Concluded::Nothing => {}
        }
    }

    /// If another node takes over, this one waits to learn which, so that clients can be redirected to it. If
    /// none does and this node still leads, the next upkeep tries again: the chosen successor may be gone,
    /// but there may be others.
    fn on_hand_over_done(&mut self, outcome: OperationOutcome) {
        log::debug!("handing over: {outcome:?}");
        match outcome {
            OperationOutcome::Done { .. } | OperationOutcome::Transferred { .. } => {}
            OperationOutcome::TransferFailed | OperationOutcome::Busy | OperationOutcome::HandingOver
                if self.ctx.leads() => {}
            OperationOutcome::TransferFailed
            | OperationOutcome::NoOtherVoter
            | OperationOutcome::NotAVoter
            | OperationOutcome::Busy
            | OperationOutcome::NotLeader { .. }
            | OperationOutcome::HandingOver
            | OperationOutcome::Refused(_)
            | OperationOutcome::TooManyMembers
            | OperationOutcome::Unknown => self.shutdown.on_handed_over(self.ctx.now()),
        }
    }

    fn on_role(&mut self, role: Role, term: Term, leader: Option<NodeId>) {
        let me = self.ctx.me.peer.id;
        let line = if self.ctx.leads() && role == Role::Follower && leader.is_none() {
            Some(narration::step_down_line(me, self.why_it_stepped_down(term), term))
        } else if self.shutdown.is_removed() {
            // What it still asks the members for, they refuse.
            None
        } else {
            Some(narration::role_line(me, role, term, leader))
        };
        if let Some(line) = line.and_then(|line| self.roles.note(self.ctx.now(), line)) {
            log::info!("{line}");
        }
        (self.ctx.role, self.ctx.leader) = (role, leader);
        self.note_leader();
        self.has_followed |= leader.is_some();
        if role == Role::Leader {
            self.ctx.silence_from = self.ctx.now();
            self.led_in = term;
            // A member that moved while there was no leader must be recorded at its new address.
            self.upkeep_at = self.ctx.now();
        } else if leader.is_some() {
            self.shutdown.on_handed_over(self.ctx.now());
        }
    }

    fn on_membership(&mut self, membership: Arc<Membership>) {
        if self.ctx.membership != membership
            && let Some(line) =
                narration::membership_line(self.ctx.me.peer, &self.ctx.membership, &membership)
        {
            log::info!("{line}");
        }
        let members_before = self.ctx.membership.members.len();
        self.ctx.membership = membership;
        self.warn_of_many_members(members_before);
        self.reconcile_links();
        self.upkeep_at = self.ctx.now();
    }

    pub(super) fn on_removed(&mut self, why: &str) {
        let exit = if self.has_followed { Exit::Removed } else { Exit::RemovedBefore };
        if self.shutdown.on_removed(self.ctx.now(), exit) {
            log::info!(
                "node {} is no longer a member of the cluster ({why}), and stops",
                self.ctx.me.peer.id
            );
            self.ctx.step(Input::StopForwarding);
        }
    }

    fn on_dropped(&mut self, from: Peer, reason: DropReason) {
        self.ctx.counters.messages_impossible += 1;
        if let Some(left_out) = self.dropped.admit(self.ctx.now()) {
            log::warn!(
                "node {from} sent a message that no sound node sends ({reason}): run the same version of \
                 ticketd on all nodes{left_out}"
            );
        }
    }
}
