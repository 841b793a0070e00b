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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
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

/// When a message can never have an effect again, though it is still on its way: its receiver drops it
/// without a word, whatever may happen to that. Then it would only tell states apart that are the same. What
/// a receiver may forget in a crash does not count, so this goes by its durable term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dead {
    /// It may have one in any term: a request is answered, if only with a later term.
    Never,
    /// In this term and later ones.
    From(Term),
    /// An answer for a candidate of this term, or a leader: in later terms, and in this one where its
    /// receiver is neither, for it will not be again.
    UnlessElected(Term),
}

/// When this message is dead.
pub(crate) fn dead(message: &Message) -> Dead {
    match message {
        // A refusal may still tell of a later term; a grant is for one candidacy alone, which may begin
        // again.
        Message::PreVoteResponse(m) if m.vote_granted => Dead::From(m.term.max(m.next_term)),
        Message::PreVoteResponse(m) => Dead::From(m.term),
        Message::RequestVoteResponse(m) => Dead::UnlessElected(m.term),
        Message::AppendEntriesResponse(m) => Dead::UnlessElected(m.term),
        Message::HeartbeatResponse(m) => Dead::UnlessElected(m.term),
        Message::InstallSnapshotResponse(m) => Dead::UnlessElected(m.term),
        // Of an earlier term, it is the one request that is not answered.
        Message::TimeoutNow(m) => Dead::From(m.term.next()),
        Message::PreVote(_)
        | Message::RequestVote(_)
        | Message::AppendEntries(_)
        | Message::Heartbeat(_)
        | Message::InstallSnapshot(_) => Dead::Never,
    }
}
