//! The journal of a store, in memory: what it gives back after any life, and what it takes that no life has
//! written.
//!
//! The first byte of an input says which of the two it is about: see [`lives`] and [`forged`].

mod forged;
mod lives;

/// Takes `data` for what becomes of a journal.
pub fn check(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    if which % 2 == 0 { lives::check(rest) } else { forged::check(rest) }
}
