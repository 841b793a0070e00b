//! The journal of a store, in memory: what it returns after any life, and what it accepts that no life has
//! written.
//!
//! The first byte of an input says which of the two is tested: see [`lives`] and [`forged`].

mod forged;
mod lives;

/// Treats `data` as the history of a journal.
pub fn check(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    if which % 2 == 0 { lives::check(rest) } else { forged::check(rest) }
}
