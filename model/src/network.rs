//! The messages on their way: a multiset, because a network that may reorder has no order.

use raft_core::{Message, Peer, Term};

use crate::interned::EnvelopeNo;

/// Messages on their way at once, at most: what [`Network`] has room for.
pub(crate) const IN_FLIGHT_MAX: usize = 10;

/// A message on its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: Peer,
    pub(crate) to: Peer,
    pub(crate) message: Message,
}

/// The messages on their way, in ascending order of their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Network {
    envelopes: [EnvelopeNo; IN_FLIGHT_MAX],
    len: u8,
}

impl Network {
    pub(crate) fn as_slice(&self) -> &[EnvelopeNo] {
        &self.envelopes[..usize::from(self.len)]
    }

    /// The positions of the messages, one for each distinct message.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = usize> + '_ {
        let envelopes = self.as_slice();
        (0..envelopes.len()).filter(|at| *at == 0 || envelopes[at - 1] != envelopes[*at])
    }

    /// Sends a message; if the network is full, returns false and sends nothing.
    pub(crate) fn send(&mut self, envelope_no: EnvelopeNo) -> bool {
        let len = usize::from(self.len);
        if len == IN_FLIGHT_MAX {
            return false;
        }
        let at = self.as_slice().partition_point(|other| *other <= envelope_no);
        self.envelopes.copy_within(at..len, at + 1);
        self.envelopes[at] = envelope_no;
        self.len += 1;
        true
    }

    pub(crate) fn take(&mut self, at: usize) {
        let len = usize::from(self.len);
        self.envelopes.copy_within(at + 1..len, at);
        // Unused positions must not distinguish two networks.
        self.envelopes[len - 1] = EnvelopeNo::default();
        self.len -= 1;
    }

    pub(crate) fn retain(&mut self, keeps: impl Fn(EnvelopeNo) -> bool) {
        let mut at = 0;
        while let Some(envelope_no) = self.as_slice().get(at) {
            if keeps(*envelope_no) { at += 1 } else { self.take(at) }
        }
    }
}

/// When a message on its way can never again have an effect: its receiver drops it silently, whatever else
/// happens to the receiver. Such a message would only distinguish states that are the same. What a receiver
/// may forget in a crash does not count, so its durable term decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dead {
    /// It may have an effect in any term: a request is answered, if only with a later term.
    Never,
    /// In this term and later ones.
    From(Term),
    /// A response to a candidate of this term or to a leader: in later terms, and in this one if its receiver
    /// is neither, because it will not be again.
    UnlessElected(Term),
}

/// When this message is dead.
pub(crate) fn dead(message: &Message) -> Dead {
    match message {
        // A refusal may still report a later term; a grant is for one candidacy alone, which may begin again.
        Message::PreVoteResponse(m) if m.vote_granted => Dead::From(m.term.max(m.next_term)),
        Message::PreVoteResponse(m) => Dead::From(m.term),
        Message::RequestVoteResponse(m) => Dead::UnlessElected(m.term),
        Message::AppendEntriesResponse(m) => Dead::UnlessElected(m.term),
        Message::HeartbeatResponse(m) => Dead::UnlessElected(m.term),
        Message::InstallSnapshotResponse(m) => Dead::UnlessElected(m.term),
        // Of an earlier term, it is the only request that is not answered.
        Message::TimeoutNow(m) => Dead::From(m.term.next()),
        Message::PreVote(_)
        | Message::RequestVote(_)
        | Message::AppendEntries(_)
        | Message::Heartbeat(_)
        | Message::InstallSnapshot(_) => Dead::Never,
    }
}
