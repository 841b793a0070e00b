//! The bytes of what a leader leaves to its successor.
//!
//! This module must never know what a node does with them: the node decides whether a bequest is valid.

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
    Ok(Bequest {
        term: Term(reader.u64()?),
        last_log_index: LogIndex(reader.u64()?),
        first: reader.id()?,
        count: reader.count()?,
    })
}
