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
    of: BTreeMap<KeyBytes, Option<Vec<u8>>>,
}

impl Pending {
    pub(crate) fn put(&mut self, key: KeyBytes, record: &[u8]) {
        match self.of.get_mut(&key) {
            Some(Some(there)) => {
                there.clear();
                there.extend_from_slice(record);
            }
            Some(_) | None => drop(self.of.insert(key, Some(record.to_vec()))),
        }
    }

    pub(crate) fn delete(&mut self, key: KeyBytes) {
        self.of.insert(key, None);
    }

    pub(crate) fn clear(&mut self) {
        self.of.clear();
    }

    /// By key: the record to put, or `None` for one that must not be there. A record that was put and deleted
    /// again is among the latter, although the data file never had it.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyBytes, Option<&[u8]>)> {
        self.of.iter().map(|(key, record)| (key, record.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use raft_core::LogIndex;

    use super::*;

    #[test]
    fn the_last_change_of_each_record_is_pending() {
        let [four, five, six] = [4, 5, 6].map(|index| Key::Entry(LogIndex(index)).to_bytes());
        let mut pending = Pending::default();
        pending.put(five, b"a long record");
        pending.delete(five);
        pending.put(six, b"a longer record");
        pending.put(five, b"another");
        pending.put(six, b"short");
        pending.put(four, b"gone");
        pending.delete(four);
        let found: Vec<_> = pending.iter().collect();
        assert_eq!(found, [(&four, None), (&five, Some(&b"another"[..])), (&six, Some(&b"short"[..]))]);
        pending.clear();
        assert_eq!(pending.iter().count(), 0);
    }
}
