//! The replicated state: the smallest integer that was never reserved, and the one command that moves it.
//!
//! It must never know who reserves, or why.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::codec::{DecodeError, Reader, Writer};

/// The first byte of an encoded command and of an encoded state: its kind.
const COMMAND_RESERVE: u8 = 1;
const STATE_COUNTER: u8 = 1;

/// The state machine. IDs are handed out from 1 to 2^64-2; 2^64-1 is the end and is never handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counter {
    next: u64,
}

/// Reserves the next `count` integers for the leader that proposed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reserve {
    pub(crate) count: NonZeroU64,
}

/// The integers from `first` up to but not including `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct IdRange {
    pub(crate) first: u64,
    pub(crate) end: u64,
}

impl Counter {
    /// A counter that begins at `first_id`; 0 is never handed out.
    pub(crate) fn starting_at(first_id: NonZeroU64) -> Counter {
        Counter { next: first_id.get() }
    }

    /// The smallest integer that was never reserved.
    pub(crate) fn next(self) -> u64 {
        self.next
    }

    /// How many integers are left.
    pub(crate) fn remaining(self) -> u64 {
        u64::MAX - self.next
    }

    /// Reserves the next `count` integers, or as many as are left.
    pub(crate) fn apply(&mut self, Reserve { count }: Reserve) -> IdRange {
        let first = self.next;
        self.next = first.saturating_add(count.get());
        IdRange { first, end: self.next }
    }

    pub(crate) fn encode(self) -> Arc<[u8]> {
        let mut bytes = Vec::new();
        bytes.put_u8(STATE_COUNTER);
        bytes.put_u64(self.next);
        Arc::from(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Counter, DecodeError> {
        let mut reader = Reader::new(bytes);
        let counter = match reader.u8()? {
            // 0 is never handed out.
            STATE_COUNTER => Counter { next: reader.id()? },
            other => return Err(DecodeError::UnknownKind(other)),
        };
        reader.finish()?;
        Ok(counter)
    }
}

impl Reserve {
    pub(crate) fn encode(self) -> Arc<[u8]> {
        let mut bytes = [COMMAND_RESERVE; 9];
        bytes[1..].copy_from_slice(&self.count.get().to_be_bytes());
        Arc::from(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Reserve, DecodeError> {
        let mut reader = Reader::new(bytes);
        let reserve = match reader.u8()? {
            // An encoder never writes 0, which would reserve nothing.
            COMMAND_RESERVE => Reserve { count: reader.count()? },
            other => return Err(DecodeError::UnknownKind(other)),
        };
        reader.finish()?;
        Ok(reserve)
    }
}

impl IdRange {
    /// How many integers the range contains.
    pub(crate) fn len(self) -> u64 {
        self.end - self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(count: u64) -> Reserve {
        Reserve { count: NonZeroU64::new(count).unwrap() }
    }

    #[test]
    fn ranges_follow_each_other_without_overlap() {
        let mut counter = Counter::starting_at(NonZeroU64::MIN);
        assert_eq!(counter.apply(reserve(10)), IdRange { first: 1, end: 11 });
        assert_eq!(counter.apply(reserve(1)), IdRange { first: 11, end: 12 });
    }

    #[test]
    fn at_the_end_a_range_is_cut_short_and_nothing_wraps() {
        let mut counter = Counter::starting_at(NonZeroU64::new(u64::MAX - 3).unwrap());
        assert_eq!(counter.apply(reserve(100)).len(), 3);
        assert_eq!(counter.remaining(), 0);
        assert_eq!(counter.apply(reserve(u64::MAX)).len(), 0);
    }

    /// What `docs/peer-protocol.rst` says about them.
    #[test]
    fn a_command_and_a_state_are_a_kind_and_a_number() {
        assert_eq!(*reserve(0x0102_0304).encode(), [1, 0, 0, 0, 0, 1, 2, 3, 4]);
        let counter = Counter::starting_at(NonZeroU64::new(0x0506).unwrap());
        assert_eq!(*counter.encode(), [1, 0, 0, 0, 0, 0, 0, 5, 6]);
    }

    #[test]
    fn commands_and_states_come_back_and_everything_else_is_refused() {
        assert_eq!(Reserve::decode(&reserve(7).encode()), Ok(reserve(7)));
        let counter = Counter::starting_at(NonZeroU64::new(9).unwrap());
        assert_eq!(Counter::decode(&counter.encode()), Ok(counter));
        assert_eq!(Reserve::decode(&[1, 0, 0, 0, 0, 0, 0, 0, 0]), Err(DecodeError::ZeroCount));
        assert_eq!(Reserve::decode(&[9]), Err(DecodeError::UnknownKind(9)));
        assert_eq!(Counter::decode(&[]), Err(DecodeError::Truncated));
        assert_eq!(Counter::decode(&[1, 0, 0, 0, 0, 0, 0, 0, 9, 0]), Err(DecodeError::TrailingBytes));
        assert_eq!(Counter::decode(&[1, 0, 0, 0, 0, 0, 0, 0, 0]), Err(DecodeError::ZeroId));
    }
}
