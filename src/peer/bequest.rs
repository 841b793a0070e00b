//! The bytes of what a leader leaves to its successor.
//!
//! This module must never know what a node does with them: the node decides whether a bequest is valid.

use std::num::NonZeroU64;

use raft_core::{LogIndex, Term};

use crate::codec::{DecodeError, Reader, Writer};
use crate::node::Bequest;

pub(super) fn put(bequest: Bequest, out: &mut Vec<u8>) {
    out.put_u64(bequest.term.0);
    out.put_u64(bequest.last_log_index.0);
    out.put_u64(bequest.first);
    out.put_u64(bequest.count.get());
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<Bequest, DecodeError> {
    let (term, last_log_index) = (Term(reader.u64()?), LogIndex(reader.u64()?));
    let (first, count) = (reader.u64()?, reader.u64()?);
    if first == 0 {
        return Err(DecodeError::ZeroId);
    }
    let count = NonZeroU64::new(count).ok_or(DecodeError::ZeroCount)?;
    Ok(Bequest { term, last_log_index, first, count })
}
