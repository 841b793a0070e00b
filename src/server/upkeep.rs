//! What the loop looks after that has no event of its own, and what it then says of the cluster in the log.

use std::time::Duration;

use raft_core::{NodeId, Peer, Term};

use super::Server;
use super::leaderless::Notice;
use super::limits::{FIRST_CALL_SECONDS_MAX, PAUSE_US_MIN, SILENCE_ELECTION_TIMEOUTS};
use super::narrate::{self, StepDown};
use super::shutdown::Shutdown;

impl Server {
    /// Looks after what has no event of its own.
    pub(super) fn upkeep(&mut self) {
        self.operations.record_moves(&mut self.ctx, &self.peer_connections);
        self.peer_connections.close_departed(&self.ctx);
        self.links.reconcile(&self.ctx, &self.peer_connections);
        self.warn_where_nobody_calls();
        self.note_leader();
        if self.ctx.leads() {
            let patience_us = self.silence_patience_us();
            self.links.watch_silence(&self.ctx, patience_us);
            if matches!(self.shutdown, Shutdown::HandingOver { .. }) {
                self.operations.hand_over(&mut self.ctx);
            }
        }
    }

    /// A turn begins, after `timeout` at the latest if the process runs at all. Where it did not, it was
    /// stopped, swapped out, or its machine was: nobody else was silent meanwhile.
    pub(super) fn note_pause(&mut self, timeout: Option<Duration>) {
        let now = self.ctx.now();
        let since_last = now.since(self.turn_began);
        self.turn_began = now;
        let timeout_us = timeout.map_or(u64::MAX, |t| u64::try_from(t.as_micros()).unwrap_or(u64::MAX));
        if since_last.saturating_sub(timeout_us) >= PAUSE_US_MIN {
            self.ctx.silence_from = now;
            log::warn!(
                "node {} did not run for {}: its process was stopped, or its machine",
                self.ctx.me.peer.id,
                narrate::seconds(since_last)
            );
        }
    }

    /// Says where no leader is known for long, and who cannot be heard. A node that joins knows no voters at
    /// first. One that takes no part says that instead, and again and again, whoever leads.
    pub(super) fn note_leader(&mut self) {
        let (now, me) = (self.ctx.now(), self.ctx.me.peer);
        let patience_us = self.silence_patience_us();
        let has_leader = self.ctx.leader.is_some() && self.write_error.is_none();
        match (self.leaderless.note(now, has_leader, patience_us), &self.write_error) {
            (None, _) => {}
            (Some(_), Some(error)) => log::warn!("{}", narrate::failed_line(me.id, error)),
            (Some(Notice::Missing(_)), None) if self.ctx.membership.members.is_empty() => {}
            (Some(Notice::Over(us)), None) => {
                log::info!("a leader is known again after {}", narrate::seconds(us))
            }
            (Some(Notice::Missing(us)), None) => {
                let membership = &self.ctx.membership;
                let voters = membership.voters().filter_map(|id| membership.peer(id));
                let is_silent = |peer: &Peer| {
                    let heard = self.links.status(&self.ctx, *peer).and_then(|link| link.last_heard);
                    *peer != me && heard.is_none_or(|heard| now.since(heard) >= patience_us)
                };
                let silent: Vec<NodeId> = voters.filter(is_silent).map(|peer| peer.id).collect();
                log::warn!("{}", narrate::leaderless_line(me.id, us, membership, &silent));
            }
        }
    }

    /// This node, which led, has become a follower in this term.
    pub(super) fn why_it_stepped_down(&self, term: Term) -> StepDown {
        if self.ctx.node.raft().is_muted() {
            StepDown::WriteFailed
        } else if !self.ctx.node.membership().contains(self.ctx.me.peer) {
            StepDown::Removed
        } else if term > self.led_in {
            StepDown::LaterTerm
        } else {
            StepDown::NoMajority
        }
    }

    /// How long a voter has to be silent for that to be worth a word.
    fn silence_patience_us(&self) -> u64 {
        SILENCE_ELECTION_TIMEOUTS * self.election_timeout_us
    }

    /// A node hears from a cluster only if members can reach it at the address that it announces. It is not
    /// told where they cannot.
    fn warn_where_nobody_calls(&mut self) {
        let is_alone = !self.has_followed && self.peer_connections.announcements().next().is_none();
        if is_alone && !self.warned_of_silence && self.ctx.clock.uptime_seconds() >= FIRST_CALL_SECONDS_MAX {
            self.warned_of_silence = true;
            log::warn!(
                "no member has connected to this node for {FIRST_CALL_SECONDS_MAX} s: can they reach it at {}?",
                self.ctx.me.peer_address
            );
        }
    }
}
