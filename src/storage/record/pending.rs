//! Changes of records, and their net effect.
//!
//! Pure. It must never know what makes the changes, or where.

use std::collections::BTreeMap;

use super::{Key, KeyBytes, Value};

/// One change of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'w> {
    /// The record is written, replacing the one that is there.
    Put(Value<'w>),
    /// The record, which must be there, is removed.
    Delete(Key),
}

/// The net effect of the transactions in the journal: the records to put into the data file, and those to
/// delete from it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pending {
    by_key: BTreeMap<KeyBytes, Option<Vec<u8>>>,
}

impl Pending {
    /// The record is to be put, or deleted if it is `None`, whatever was to be done with this key before.
    pub(crate) fn set(&mut self, key: Key, record: Option<&[u8]>) {
        let pending = self.by_key.entry(key.to_bytes()).or_default();
        match (record, pending) {
            (Some(record), Some(there)) => {
                there.clear();
                there.extend_from_slice(record);
            }
            (record, pending) => *pending = record.map(<[u8]>::to_vec),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_key.clear();
    }

    /// By key: the record to put, or `None` for one that must not be there. A record that was put and deleted
    /// again is among the latter, although the data file never had it.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyBytes, Option<&[u8]>)> {
        self.by_key.iter().map(|(key, record)| (key, record.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use raft_core::LogIndex;

    use super::*;

    #[test]
    fn the_last_change_of_each_record_is_pending() {
        let keys = [4, 5, 6].map(|index| Key::Entry(LogIndex(index)));
        let [four, five, six] = keys;
        let mut pending = Pending::default();
        pending.set(five, Some(b"a long record"));
        pending.set(five, None);
        pending.set(six, Some(b"a longer record"));
        pending.set(five, Some(b"another"));
        pending.set(six, Some(b"short"));
        pending.set(four, Some(b"gone"));
        pending.set(four, None);
        let found: Vec<_> = pending.iter().collect();
        let [four, five, six] = keys.map(Key::to_bytes);
        assert_eq!(found, [(&four, None), (&five, Some(&b"another"[..])), (&six, Some(&b"short"[..]))]);
        pending.clear();
        assert_eq!(pending.iter().count(), 0);
    }
}
