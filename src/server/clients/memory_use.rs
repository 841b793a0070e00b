//! How much memory all clients hold together, and what follows when that is too much. Pure.
//!
//! The limits of HTTP are per connection: a connection may hold 130 KB and more of waiting requests and of
//! answers that its client does not read. With thousands of such clients that adds up to gigabytes. So once
//! all connections together hold [`CLIENTS_MEMORY_BYTES_MAX`], each may add little to that: a client is not
//! read while its output is blocked or a request of it waits; the kernel keeps what it sends, until the
//! client's window is full. It is read in small pieces, into one of which an ordinary request fits, and a
//! head that is longer than a few of them is refused.

use crate::server::limits::{CLIENTS_MEMORY_BYTES_MAX, READ_BYTES_MAX, SCARCE_READ_BYTES_MAX};

/// What all connections hold together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct MemoryUse {
    bytes: usize,
}

impl MemoryUse {
    /// A connection now holds this much. `counted` is what was counted for it before.
    pub(crate) fn note(&mut self, counted: &mut usize, bytes: usize) {
        self.bytes = self.bytes - *counted + bytes;
        *counted = bytes;
    }

    /// Whether memory is scarce.
    pub(crate) fn is_scarce(&self) -> bool {
        self.bytes >= CLIENTS_MEMORY_BYTES_MAX
    }

    /// How much to read at once.
    pub(crate) fn read_bytes_max(&self) -> usize {
        if self.is_scarce() { SCARCE_READ_BYTES_MAX } else { READ_BYTES_MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_scarce_as_long_as_all_together_hold_as_much_as_the_bound() {
        let mut memory_use = MemoryUse::default();
        let (mut one, mut other) = (0, 0);
        memory_use.note(&mut one, CLIENTS_MEMORY_BYTES_MAX - 1);
        assert_eq!((memory_use.is_scarce(), memory_use.read_bytes_max()), (false, READ_BYTES_MAX));
        memory_use.note(&mut other, 1);
        assert_eq!((memory_use.is_scarce(), memory_use.read_bytes_max()), (true, SCARCE_READ_BYTES_MAX));
        memory_use.note(&mut other, 2);
        memory_use.note(&mut one, 0);
        assert!(!memory_use.is_scarce());
        memory_use.note(&mut other, 0);
        assert_eq!((memory_use, one, other), (MemoryUse::default(), 0, 0));
    }
}
