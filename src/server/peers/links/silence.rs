//! Which members a leader does not hear: their processes hang or have ended, or their messages do not arrive.

use raft_core::Micros;

use super::{Link, Links};
use crate::server::context::Context;
use crate::server::limits::LAST_WORDS_US_MAX;
use crate::server::narration::{self, reminder::Notice};

impl Links {
    /// Logs which members this node, the leader, has not heard for `patience_us`.
    pub(crate) fn watch_silence(&mut self, ctx: &Context, patience_us: u64) {
        for (_, link) in &mut self.links {
            let is_member = ctx.membership.contains(link.peer);
            let heard_at = is_member.then(|| link.heard_at());
            match link.note_silence(ctx.now(), heard_at, ctx.silence_from, patience_us) {
                None => {}
                Some(Notice::Lasts(us, left_out)) => {
                    let line =
                        if link.is_up() { narration::silent_line } else { narration::unreachable_line };
                    log::warn!("{}{left_out}", line(link.peer.id, us));
                }
                // It has left, which has been logged.
                Some(Notice::Over(_)) if !is_member => {}
                Some(Notice::Over(_)) => log::info!("node {} is heard again", link.peer),
            }
        }
    }
}

impl Link {
    /// How long the peer has been silent to this node, counted from `silence_from` at the earliest.
    pub(super) fn silence_us(&self, now: Micros, silence_from: Micros) -> u64 {
        now.since(self.heard_at().max(silence_from))
    }

    /// Whether a refused connection means that the process at the other end is gone. It does not if the peer
    /// was heard after the link had broken: then it lives, and something in between refuses. What it sent
    /// before it ended may be read somewhat later.
    pub(crate) fn may_be_gone(&self) -> bool {
        self.broke_at.is_some_and(|broke_at| self.heard_at() <= broke_at.plus(LAST_WORDS_US_MAX))
    }

    /// When the peer was last heard, or could first be heard.
    fn heard_at(&self) -> Micros {
        self.last_heard.unwrap_or(self.made_at)
    }

    /// What this node, which leads, is to log about the peer's silence. `heard_at` is when the peer was last
    /// heard, or could first be; `None` if it is no member.
    fn note_silence(
        &mut self,
        now: Micros,
        heard_at: Option<Micros>,
        silence_from: Micros,
        patience_us: u64,
    ) -> Option<Notice> {
        // What is read when the link has just broken may be the last that the peer has sent.
        let is_heard = heard_at.is_some_and(|at| now.since(at) < patience_us);
        if is_heard && self.may_be_gone() && self.log.silence.told_at().is_some() {
            return None;
        }
        // What an earlier leadership of this node has logged does not tell anybody who is missing now.
        let is_before = |at: Option<Micros>| at.is_some_and(|at| at < silence_from);
        let is_due = now.since(silence_from) >= patience_us;
        if is_due && is_before(self.log.silence.told_at()) && is_before(heard_at) {
            self.log.silence.forget();
        }
        let since = self.log.silence.since(heard_at, silence_from);
        self.log.silence.note(now, since, patience_us)
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Incarnation, NodeId, Peer};

    use super::*;

    #[test]
    fn a_member_is_silent_since_it_was_heard_last_or_could_first_be_heard_by_this_leader() {
        let peer = Peer { id: NodeId::new(2).unwrap(), incarnation: Incarnation(2) };
        let joined = Micros(5_000);
        let mut link = Link::new(peer, "b:9000", 0, joined);
        assert_eq!(link.silence_us(Micros(5_100), Micros(1_000)), 100, "it joined an old leader's cluster");
        assert_eq!(link.silence_us(Micros(9_000), Micros(8_000)), 1_000, "the leader is new");
        link.last_heard = Some(Micros(8_900));
        assert_eq!(link.silence_us(Micros(9_000), Micros(8_000)), 100);
    }

    #[test]
    fn the_silence_of_a_member_is_told_once_in_each_leadership_and_its_end_when_it_is_heard() {
        const PATIENCE_US: u64 = 1_500_000;
        let peer = Peer { id: NodeId::new(2).unwrap(), incarnation: Incarnation(2) };
        let start = Micros(1_000_000_000);
        let mut link = Link::new(peer, "b:9000", 0, start);
        let note = |link: &mut Link, us, leads_from| {
            let heard_at = Some(link.heard_at());
            link.note_silence(start.plus(us), heard_at, start.plus(leads_from), PATIENCE_US)
        };
        assert_eq!(note(&mut link, PATIENCE_US - 1, 0), None);
        assert!(matches!(note(&mut link, PATIENCE_US, 0), Some(Notice::Lasts(PATIENCE_US, _))));
        assert_eq!(note(&mut link, 100 * PATIENCE_US, 0), None);
        let again = 200 * PATIENCE_US;
        assert_eq!(note(&mut link, again + PATIENCE_US - 1, again), None);
        assert!(matches!(note(&mut link, again + PATIENCE_US, again), Some(Notice::Lasts(PATIENCE_US, _))));
        link.last_heard = Some(start.plus(again + 2 * PATIENCE_US));
        assert!(matches!(note(&mut link, again + 2 * PATIENCE_US, again), Some(Notice::Over(_))));
        assert_eq!(note(&mut link, again + 2 * PATIENCE_US + 1, again), None);

        assert!(matches!(note(&mut link, again + 4 * PATIENCE_US, again), Some(Notice::Lasts(..))));
        let broke_at = start.plus(again + 5 * PATIENCE_US);
        (link.broke_at, link.last_heard) = (Some(broke_at), Some(broke_at.plus(LAST_WORDS_US_MAX)));
        assert_eq!(note(&mut link, again + 5 * PATIENCE_US + 100_000, again), None, "its last words");
        link.last_heard = Some(broke_at.plus(LAST_WORDS_US_MAX + 1));
        assert!(matches!(note(&mut link, again + 5 * PATIENCE_US + 100_000, again), Some(Notice::Over(_))));
    }
}
