//! Tells two processes that run with copies of one store from one process that has moved. Pure.
//!
//! An established connection does not prove that a process runs at its other end: after a loss of power or of
//! the network it stays established until the kernel gives it up, and the node may be running elsewhere by
//! then. But a node that moved does not return to the address it lost. If two processes run, each connection
//! replaces the other's, and the replaced process dials again: an address that was replaced comes back.

use std::collections::VecDeque;

use crate::server::limits::REPLACED_ADDRESSES_MAX;

/// The addresses that a member connected from before; each connection was replaced by the next while it was
/// still established.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Replaced(VecDeque<String>);

/// What it shows when a member connects while it is already connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sign {
    /// One process, which has lost its last connection or has moved.
    OfOne,
    /// Two processes: an address that was replaced has come back.
    OfTwo,
}

impl Replaced {
    /// A connection from `former` is replaced by one from `newest`.
    pub(crate) fn replace(&mut self, former: &str, newest: &str) -> Sign {
        if former == newest {
            return Sign::OfOne;
        }
        let returns = self.0.iter().any(|address| address == newest);
        if !self.0.iter().any(|address| address == former) {
            self.0.push_back(former.to_owned());
        }
        if self.0.len() > REPLACED_ADDRESSES_MAX {
            self.0.pop_front();
        }
        if returns { Sign::OfTwo } else { Sign::OfOne }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signs given by a member that connects from these addresses in turn.
    fn signs(addresses: &[&str]) -> Vec<Sign> {
        let mut replaced = Replaced::default();
        addresses.windows(2).map(|pair| replaced.replace(pair[0], pair[1])).collect()
    }

    #[test]
    fn an_address_that_was_replaced_and_returns_is_the_sign_of_two_processes() {
        let (one, two) = (Sign::OfOne, Sign::OfTwo);
        assert_eq!(signs(&["a", "a", "a"]), [one, one], "it lost its connections");
        assert_eq!(signs(&["a", "b", "c"]), [one, one], "it moved twice");
        assert_eq!(signs(&["a", "b", "a", "b"]), [one, two, two]);
        assert_eq!(signs(&["a", "b", "b", "a"]), [one, one, two]);
        assert_eq!(signs(&["a", "b", "c", "a", "b"]), [one, one, two, two], "three run");
    }

    #[test]
    fn only_so_many_addresses_are_kept_the_latest() {
        let mut replaced = Replaced::default();
        for number in 0..3 * REPLACED_ADDRESSES_MAX {
            let sign = replaced.replace(&number.to_string(), &(number + 1).to_string());
            assert_eq!(sign, Sign::OfOne);
            assert!(replaced.0.len() <= REPLACED_ADDRESSES_MAX);
        }
        let last = 3 * REPLACED_ADDRESSES_MAX;
        assert_eq!(replaced.replace(&last.to_string(), &(last - 1).to_string()), Sign::OfTwo);
    }
}
