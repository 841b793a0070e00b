//! The messages on their way: a multiset, because a network that may reorder has no order.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use raft_core::{Message, Peer, Term};

/// A message on its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: Peer,
    pub(crate) to: Peer,
    pub(crate) message: Message,
}

/// What is on its way, each with its fingerprint, ordered by that.
#[derive(Clone, Default)]
pub(crate) struct Network {
    envelopes: Vec<(u64, Arc<Envelope>)>,
}

impl Network {
    pub(crate) fn len(&self) -> usize {
        self.envelopes.len()
    }

    pub(crate) fn envelope(&self, at: usize) -> Option<&Arc<Envelope>> {
        self.envelopes.get(at).map(|(_, envelope)| envelope)
    }

    /// The places of the messages, one for each that differs from the others.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = usize> + '_ {
        let same_as_before = |at: usize| at > 0 && self.envelopes[at - 1].0 == self.envelopes[at].0;
        (0..self.envelopes.len()).filter(move |at| !same_as_before(*at))
    }

    pub(crate) fn send(&mut self, envelope: Envelope) {
        let mut hasher = DefaultHasher::new();
        envelope.hash(&mut hasher);
        let fingerprint = hasher.finish();
        let at = self.envelopes.partition_point(|(other, _)| *other < fingerprint);
        self.envelopes.insert(at, (fingerprint, Arc::new(envelope)));
    }

    pub(crate) fn take(&mut self, at: usize) {
        self.envelopes.remove(at);
    }

    /// Removes what can never have an effect again, because its receiver has durably passed on to a later term.
    /// That it is there or not would only tell states apart that are the same.
    pub(crate) fn forget_dead_letters(&mut self, durable_term: impl Fn(Peer) -> Term) {
        self.envelopes.retain(|(_, envelope)| !is_dead(&envelope.message, durable_term(envelope.to)));
    }

    /// Replaces each message by the one in `pool` that is the same.
    pub(crate) fn share(&mut self, pool: &mut HashMap<u64, Arc<Envelope>>) {
        for (fingerprint, envelope) in &mut self.envelopes {
            *envelope = Arc::clone(pool.entry(*fingerprint).or_insert_with(|| Arc::clone(envelope)));
        }
        self.envelopes.shrink_to_fit();
    }

    pub(crate) fn fingerprint(&self, state: &mut impl Hasher) {
        for (fingerprint, _) in &self.envelopes {
            state.write_u64(*fingerprint);
        }
        state.write_usize(self.envelopes.len());
    }
}

/// Whether this is an answer that its receiver, in a later term than it speaks of, drops without a word.
fn is_dead(message: &Message, durable_term: Term) -> bool {
    match message {
        Message::PreVoteResponse(m) => {
            // A refusal may still tell of a later term; a grant is for one candidacy alone.
            m.term <= durable_term && (!m.vote_granted || m.next_term <= durable_term)
        }
        Message::RequestVoteResponse(m) => m.term < durable_term,
        Message::AppendEntriesResponse(m) => m.term < durable_term,
        Message::HeartbeatResponse(m) => m.term < durable_term,
        Message::InstallSnapshotResponse(m) => m.term < durable_term,
        Message::PreVote(_)
        | Message::RequestVote(_)
        | Message::AppendEntries(_)
        | Message::Heartbeat(_)
        | Message::InstallSnapshot(_)
        | Message::TimeoutNow(_) => false,
    }
}
