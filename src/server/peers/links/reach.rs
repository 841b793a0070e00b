//! Whether members can be dialled where they say that they are. One that cannot be may go on dialling others,
//! vote and lead, so nothing else shows it; but whoever is sent there fails.

use raft_core::{Micros, NodeId, Peer};

use super::{Link, LinkState, Links};
use crate::server::context::Context;
use crate::server::limits::{LINK_SETTLED_US, UNREACHED_US_MAX};
use crate::server::narration::{self, reminder::Notice};

impl Links {
    /// Gives up the links that are up elsewhere than where their peers say that they are, once for each such
    /// place: the former address says nothing about the new one, and may be gone with the next restart.
    /// Otherwise two nodes that reach each other at their recorded addresses, but not at those that they
    /// announce, would break their links to each other in turn for ever.
    pub(crate) fn follow_moves(&mut self, ctx: &mut Context) {
        for key in 0..self.links.capacity() {
            if self.links.get(key).is_some_and(|link| link.has_moved(ctx.now())) {
                self.follow_move(ctx, key);
            }
        }
    }

    /// Dials the peer where it says that it is, instead of where its link is up.
    pub(super) fn follow_move(&mut self, ctx: &mut Context, key: usize) {
        let place = self.links[key].whereabouts.claimed().to_owned();
        self.on_broken(ctx, key, &format_args!("it listens at {place} now"));
        let link = &mut self.links[key];
        link.whereabouts.dial_as_claimed();
        // It was this node that gave the link up: should nobody listen there, the peer need not be gone.
        link.broke_at = None;
    }

    /// Whether a link to a member is up.
    pub(crate) fn reaches_a_member(&self, ctx: &Context) -> bool {
        self.links.iter().any(|(_, link)| link.is_up() && ctx.membership.contains(link.peer))
    }

    /// Whether the member with this id is reached where it says that it is, and was heard within an election
    /// timeout, as a leader hears every voter that runs.
    pub(crate) fn reaches_and_hears(&self, ctx: &Context, id: NodeId) -> bool {
        let timeout_us = ctx.node.election_timeout_us();
        let mut links =
            self.links.iter().map(|(_, link)| link).filter(|link| ctx.membership.contains(link.peer));
        links.any(|link| {
            link.peer.id == id
                && link.is_reached()
                && link.silence_us(ctx.now(), ctx.silence_from) < timeout_us
        })
    }

    /// Warns of members that are connected to this node and cannot be dialled by it.
    pub(crate) fn watch_reach(&mut self, ctx: &Context, is_connected: impl Fn(Peer) -> bool) {
        for (_, link) in &mut self.links {
            // Why a peer refuses this node has been logged.
            let counts = ctx.membership.contains(link.peer) && link.log.refusal().is_none();
            let is_missed = counts && !link.is_reached() && is_connected(link.peer);
            // Once that was logged, it counts until the peer is reached, even if it is restarted meanwhile.
            let is_pending = !is_missed && !link.is_reached() && link.log.unreached.told_at().is_some();
            if is_pending {
                continue;
            }
            let since = is_missed.then(|| link.unreached_since.unwrap_or(ctx.now()));
            match link.note_unreached(ctx.now(), since, ctx.silence_from) {
                None => {}
                Some(Notice::Lasts(us, left_out)) => {
                    let (id, address) = (link.peer.id, link.whereabouts.claimed());
                    let line = narration::unreached_line(id, address, us, link.log.failure());
                    log::warn!("{line}{left_out}");
                }
                Some(Notice::Over(_)) => {
                    log::info!("node {} can be reached at {} again", link.peer, link.whereabouts.claimed());
                }
            }
        }
    }
}

impl Link {
    /// Whether the link is up to where the peer says that it is.
    pub(crate) fn is_reached(&self) -> bool {
        self.is_up() && self.whereabouts.is_dialled_as_claimed()
    }

    /// Whether the link should be given up for another place. One that has only just come up is not, so that
    /// news which come fast cannot keep it down.
    pub(super) fn has_moved(&self, now: Micros) -> bool {
        self.whereabouts.is_untried()
            && matches!(self.state, LinkState::Up { since, .. } if now.since(since) >= LINK_SETTLED_US)
    }

    /// What is to be logged about a peer that has not been reached since then, or is reached.
    fn note_unreached(&mut self, now: Micros, since: Option<Micros>, silence_from: Micros) -> Option<Notice> {
        self.unreached_since = since;
        let since = self.log.unreached.since(since, silence_from);
        self.log.unreached.note(now, since, UNREACHED_US_MAX)
    }
}
