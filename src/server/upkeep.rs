//! What the loop does regularly because no event calls for it, and what it then logs about the cluster.

use std::time::Duration;

use raft_core::{LogIndex, Micros, NodeId, Peer, Suffrage, Term};

use super::limits::{PAUSE_US_MIN, SILENCE_ELECTION_TIMEOUTS, UNREACHED_US_MAX};
use super::narration::log_limit::LogLimit;
use super::narration::reminder::{Notice, Reminder};
use super::narration::{self, StepDown};
use super::peers::links::LinkStatus;
use super::shutdown::Shutdown;
use crate::server::Server;

/// What upkeep remembers from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When the last turn began; `None` before the first.
    turn_began: Option<Micros>,
    pauses: LogLimit,
    /// Since when this node has known no leader (`None` while it knows one), and what has been logged about
    /// that.
    leaderless_since: Option<Micros>,
    leaderless: Reminder,
    /// What has been logged about a disk that does not answer.
    disk: Reminder,
    /// On a leader with entries to commit: how much is committed, since when, and what has been logged about
    /// that.
    committed_since: Option<(LogIndex, Micros)>,
    uncommitted: Reminder,
    /// Since when no member has been connected to this node although one should be, and what has been logged
    /// about that.
    unconnected_since: Option<Micros>,
    unconnected: Reminder,
}

impl Watch {
    /// A turn begins, at the latest `timeout` after the last one if the process runs at all. If it is much
    /// later: how long after the last one it begins. The first turn follows on no other: it may have had to
    /// wait until a parent process was told that this one listens.
    fn pause_us(&mut self, now: Micros, timeout: Duration) -> Option<u64> {
        let since_last = now.since(self.turn_began.replace(now)?);
        let timeout_us = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        (since_last.saturating_sub(timeout_us) >= PAUSE_US_MIN).then_some(since_last)
    }
}

impl Server {
    pub(super) fn upkeep(&mut self) {
        self.operations.record_relocations(&mut self.ctx, self.peer_connections.announcements());
        self.peer_connections.close_unwelcome(&self.ctx);
        self.reconcile_links();
        self.links.follow_moves(&mut self.ctx);
        self.links.watch_reach(&self.ctx, |peer| self.peer_connections.is_connected(peer));
        self.links.ping(self.ctx.now());
        if let Some(line) = self.roles.catch_up(self.ctx.now()) {
            log::info!("{line}");
        }
        self.links.log_suppressed_changes(self.ctx.now());
        self.peer_connections.warn_of_rivals(self.ctx.now());
        self.warn_if_no_member_connects();
        self.note_leader();
        self.note_disk();
        self.note_commit();
        if self.ctx.leads() {
            let patience_us = self.silence_patience_us();
            self.links.watch_silence(&self.ctx, patience_us);
            if matches!(self.shutdown, Shutdown::HandingOver { .. }) {
                self.operations.hand_over(&mut self.ctx, &self.links);
            }
        }
    }

    /// A turn begins that should have begun within `timeout`. If it is much later, the process or its machine
    /// was stopped, or the process was swapped out: the other nodes were not silent meanwhile.
    pub(super) fn note_pause(&mut self, timeout: Duration) {
        let now = self.ctx.now();
        let Some(us) = self.watch.pause_us(now, timeout) else { return };
        self.ctx.silence_from = now;
        if let Some(left_out) = self.watch.pauses.admit(now) {
            log::warn!(
                "node {} did not run for {}: its process was stopped, or its machine{left_out}",
                self.ctx.me.peer.id,
                narration::seconds(us)
            );
        }
    }

    /// Notes whether a leader is known, and logs that none has been known for long. A node whose disk has
    /// failed logs that instead, again and again, even if there is a leader. A node that was removed logs
    /// neither.
    pub(super) fn note_leader(&mut self) {
        if self.shutdown.is_removed() {
            return;
        }
        let (now, me) = (self.ctx.now(), self.ctx.me.peer.id);
        // A joining node knows no members at first: nobody could lead that it knows.
        let misses_leader = self.ctx.leader.is_none() && !self.ctx.membership.members.is_empty();
        let is_leaderless = misses_leader || self.ctx.failure.is_some();
        self.watch.leaderless_since = is_leaderless.then(|| self.watch.leaderless_since.unwrap_or(now));
        // While this process did not run, nobody could be heard.
        let since = self.watch.leaderless.since(self.watch.leaderless_since, self.ctx.silence_from);
        let notice = self.watch.leaderless.note(now, since, self.silence_patience_us());
        match (notice, &self.ctx.failure) {
            (None, _) => {}
            (Some(_), Some(error)) => log::warn!("{}", narration::failed_line(me, error)),
            (Some(Notice::Lasts(us, left_out)), None) => {
                let missing = self.missing_voters();
                let line = narration::leaderless_line(me, us, &self.ctx.membership, &missing);
                log::warn!("{line}{left_out}");
            }
            (Some(Notice::Over(us)), None) => {
                log::info!("a leader is known again after {}", narration::seconds(us))
            }
        }
    }

    /// The voters that this node misses while there is no leader. Only a leader speaks to a learner, so a
    /// learner can tell only which voters it cannot reach.
    fn missing_voters(&self) -> Vec<NodeId> {
        let (now, me, membership) = (self.ctx.now(), self.ctx.me.peer, &self.ctx.membership);
        let patience_us = self.silence_patience_us();
        let me_as = if membership.is_voter(me.id) { Suffrage::Voter } else { Suffrage::Learner };
        let is_present = |peer: &Peer| {
            let link = self.links.status(&self.ctx, *peer);
            *peer == me || link.is_some_and(|link| is_there(link, me_as, now, patience_us))
        };
        membership.voting_peers().filter(|peer| !is_present(peer)).map(|peer| peer.id).collect()
    }

    /// Logs that the disk does not answer. A write is overdue as soon as a member would count as silent: by
    /// then, a leader that commits nothing has been replaced.
    fn note_disk(&mut self) {
        let patience_us = self.silence_patience_us().max(PAUSE_US_MIN);
        let issued_at = self.ctx.node.raft().oldest_write_issued_at();
        let since = self.watch.disk.since(issued_at, self.ctx.silence_from);
        match self.watch.disk.note(self.ctx.now(), since, patience_us) {
            None => {}
            Some(Notice::Lasts(us, left_out)) => log::warn!("{}{left_out}", narration::disk_line(us)),
            // The error that ended the wait is in the log.
            Some(Notice::Over(_)) if self.ctx.failure.is_some() => {}
            Some(Notice::Over(us)) => {
                log::info!("the disk takes writes again after {}", narration::seconds(us));
            }
        }
    }

    /// Logs that the leader can commit nothing: the members answer its heartbeats, but too few of them write
    /// what it sends, as their disks do not answer. Nothing else tells it: it goes on leading.
    fn note_commit(&mut self) {
        let (now, raft) = (self.ctx.now(), self.ctx.node.raft());
        let committed = raft.commit_index();
        let waits = self.ctx.leads() && committed < raft.last_log_index();
        let before = self.watch.committed_since.filter(|(index, _)| *index == committed);
        self.watch.committed_since = waits.then(|| before.unwrap_or((committed, now)));
        let began_at = self.watch.committed_since.map(|(_, since)| since);
        let since = self.watch.uncommitted.since(began_at, self.ctx.silence_from);
        match self.watch.uncommitted.note(now, since, self.silence_patience_us().max(PAUSE_US_MIN)) {
            None => {}
            Some(Notice::Lasts(us, left_out)) => {
                let (me, last) = (self.ctx.me.peer.id, raft.last_log_index());
                let others = self.ctx.membership.voters().filter(|id| *id != me);
                let behind: Vec<_> = others.filter(|id| raft.match_index(*id) < Some(last)).collect();
                let line = narration::uncommitted_line(us, &self.ctx.membership, &behind);
                log::warn!("{line}{left_out}");
            }
            // Why it ceased to lead is in the log.
            Some(Notice::Over(_)) if !self.ctx.leads() => {}
            Some(Notice::Over(us)) => {
                log::info!("entries are committed again after {}", narration::seconds(us));
            }
        }
    }

    /// Why this node, which led, has become a follower in this term.
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

    /// How long a voter must be silent for that to be logged.
    fn silence_patience_us(&self) -> u64 {
        SILENCE_ELECTION_TIMEOUTS * self.ctx.node.election_timeout_us()
    }

    /// Members dial this node at the address that it announces, and nobody tells it if they cannot. If it can
    /// dial them, it may follow, vote and lead all the same. A node that has just joined knows no member that
    /// it could dial.
    fn warn_if_no_member_connects(&mut self) {
        let now = self.ctx.now();
        let is_connected = self.peer_connections.announcements().next().is_some();
        let takes_part = !self.shutdown.is_removed() && !self.ctx.is_store_unusable();
        let is_new = self.ctx.membership.members.is_empty();
        let should_be = takes_part && (is_new || self.links.reaches_a_member(&self.ctx));
        let since = (should_be && !is_connected).then(|| self.watch.unconnected_since.unwrap_or(now));
        self.watch.unconnected_since = since;
        let since = self.watch.unconnected.since(since, self.ctx.silence_from);
        match self.watch.unconnected.note(now, since, UNREACHED_US_MAX) {
            Some(Notice::Lasts(us, left_out)) => {
                let line = narration::unconnected_line(&self.ctx.me.peer_address, us);
                log::warn!("{line}{left_out}");
            }
            Some(Notice::Over(us)) if is_connected => {
                log::info!("a member has connected to this node after {}", narration::seconds(us));
            }
            Some(Notice::Over(_)) | None => {}
        }
    }
}

/// Whether a voter is there, as far as this node, of this suffrage, can tell while there is no leader.
fn is_there(link: LinkStatus, me: Suffrage, now: Micros, patience_us: u64) -> bool {
    match me {
        Suffrage::Voter => link.last_heard.is_some_and(|heard| now.since(heard) < patience_us),
        Suffrage::Learner => link.is_up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_is_late_follows_on_a_pause_unless_it_is_the_first() {
        const LATE: Micros = Micros(PAUSE_US_MIN + 500);
        let timeout = Duration::from_micros(500);
        assert_eq!(Watch::default().pause_us(LATE, timeout), None, "no turn was before it");
        let turns = |first, second, timeout| {
            let mut watch = Watch::default();
            assert_eq!(watch.pause_us(first, timeout), None);
            watch.pause_us(second, timeout)
        };
        assert_eq!(turns(Micros(0), LATE, timeout), Some(LATE.0));
        assert_eq!(turns(Micros(1), LATE, timeout), None, "no more than the loop may be late");
        assert_eq!(turns(Micros(0), LATE, Duration::MAX), None, "the loop had nothing to do");
    }

    #[test]
    fn where_nobody_leads_a_voter_is_there_if_voters_hear_it_and_learners_reach_it() {
        const PATIENCE_US: u64 = 1_500_000;
        let heard_at = Micros(5);
        let link = |is_up, last_heard| LinkStatus { is_up, last_heard, silence_us: 0 };
        let is_there = |link, me, us| is_there(link, me, Micros(us), PATIENCE_US);
        let up = link(true, Some(heard_at));
        assert!(is_there(up, Suffrage::Voter, 4 + PATIENCE_US));
        assert!(!is_there(up, Suffrage::Voter, 5 + PATIENCE_US));
        assert!(!is_there(link(true, None), Suffrage::Voter, 5));
        assert!(is_there(up, Suffrage::Learner, 5 + PATIENCE_US), "nobody speaks to a learner");
        assert!(is_there(link(true, None), Suffrage::Learner, 5));
        assert!(!is_there(link(false, Some(heard_at)), Suffrage::Learner, 5));
    }
}
