//! What a leader leaves to the node that it tells to take over: the upper half of its window.
//!
//! A new leader has no window until a reservation of its own is committed, which takes a disk write while
//! clients wait. IDs that were left to it can be handed out as soon as a majority confirms that it leads.
//!
//! Why no ID is handed out twice: the leader that leaves IDs keeps none of them, and they come from a range
//! that was reserved for it alone. They are left to one node, for one term, and a node leads a term at most
//! once. Why IDs are in order: the leader hands out smaller ones until its leadership ends. It could go on in
//! its term, reserve more, and hand out larger ones. But then its log has grown, a committed entry is in the
//! log of every node elected later, and IDs left with the shorter log are void. And no other node has led in
//! between, because the terms are consecutive.
//!
//! If any of this cannot be seen to hold, the IDs that were left are a gap.

use std::num::NonZeroU64;

use raft_core::{Peer, Term};

use super::Node;
use super::counter::IdRange;
use super::peer_message::Bequest;

impl Node {
    /// The node `to` is about to be told to take over.
    pub(super) fn bequeath(&mut self, to: Peer) {
        let last_log_index = self.raft.last_log_index();
        let bequest = self.leadership.as_mut().and_then(|leadership| leadership.bequeath(to, last_log_index));
        if let Some(bequest) = bequest {
            self.send(to, bequest);
        }
    }

    /// Accepts a bequest only from the leader of the current term.
    pub(super) fn on_bequest(&mut self, from: Peer, bequest: Bequest) {
        if self.raft.leader_peer() == Some(from) && bequest.term == self.raft.current_term() {
            self.bequest = Some(bequest);
        }
    }

    /// This node has begun to lead this term: returns the IDs that were left to it for that, up to the size
    /// of its own window.
    pub(super) fn inherit(&mut self, term: Term) -> Option<IdRange> {
        let Bequest { term: left_in, last_log_index, first, count } = self.bequest.take()?;
        let count = NonZeroU64::new(count.get().min(self.config.window))?;
        let end = first.checked_add(count.get())?;
        // A leader's log ends with an entry of its own term, so the two logs are the same up to that entry
        // (Raft §5.3), and this node's first entry is the only one after it.
        let is_same_log = self.raft.term_at(last_log_index) == Some(left_in)
            && self.raft.last_log_index().previous() == Some(last_log_index);
        let was_reserved = end <= self.counter.next();
        (left_in.next() == term && is_same_log && was_reserved).then_some(IdRange { first, end })
    }
}
