//! The messages on their way: a multiset, because a network that may reorder has no order.

use raft_core::{Message, Peer, Term};

/// Messages on their way at once, at most: what [`Network`] has room for.
pub(crate) const IN_FLIGHT_MAX: usize = 10;

/// A message on its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: Peer,
    pub(crate) to: Peer,
    pub(crate) message: Message,
}

/// What is on its way, each message by its number, in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Network {
    numbers: [u16; IN_FLIGHT_MAX],
    len: u8,
}

impl Network {
    pub(crate) fn as_slice(&self) -> &[u16] {
        &self.numbers[..usize::from(self.len)]
    }

    /// The places of the messages, one for each that differs from the others.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = usize> + '_ {
        let numbers = self.as_slice();
        (0..numbers.len()).filter(|at| *at == 0 || numbers[at - 1] != numbers[*at])
    }

    /// False, and nothing is sent, where it is full.
    pub(crate) fn send(&mut self, number: u16) -> bool {
        let len = usize::from(self.len);
        if len == IN_FLIGHT_MAX {
            return false;
        }
        let at = self.as_slice().partition_point(|other| *other <= number);
        self.numbers.copy_within(at..len, at + 1);
        self.numbers[at] = number;
        self.len += 1;
        true
    }

    pub(crate) fn take(&mut self, at: usize) {
        let len = usize::from(self.len);
        self.numbers.copy_within(at + 1..len, at);
        // What is beyond the end must not tell two networks apart.
        self.numbers[len - 1] = 0;
        self.len -= 1;
    }

    pub(crate) fn retain(&mut self, keeps: impl Fn(u16) -> bool) {
        let mut at = 0;
        while let Some(number) = self.as_slice().get(at) {
            if keeps(*number) { at += 1 } else { self.take(at) }
        }
    }
}

/// The durable term of its receiver from which on this message can never have an effect again: an answer of an
/// earlier term, which is dropped without a word. `None` for what may have one in any term.
///
/// That it is still on its way or not would only tell states apart that are the same.
pub(crate) fn dead_from(message: &Message) -> Option<Term> {
    match message {
        // A refusal may still tell of a later term; a grant is for one candidacy alone.
        Message::PreVoteResponse(m) if m.vote_granted => Some(m.term.max(m.next_term)),
        Message::PreVoteResponse(m) => Some(m.term),
        Message::RequestVoteResponse(m) => Some(m.term.next()),
        Message::AppendEntriesResponse(m) => Some(m.term.next()),
        Message::HeartbeatResponse(m) => Some(m.term.next()),
        Message::InstallSnapshotResponse(m) => Some(m.term.next()),
        Message::PreVote(_)
        | Message::RequestVote(_)
        | Message::AppendEntries(_)
        | Message::Heartbeat(_)
        | Message::InstallSnapshot(_)
        | Message::TimeoutNow(_) => None,
    }
}
