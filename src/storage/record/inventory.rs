//! Which records a data file must have: the key and the checksum of each, and one number over all of them.
//!
//! A record's own checksum shows that it is a record of ours, not that it is the latest: when a disk loses a
//! page write, an older record stays in place, with a correct checksum. So each checkpoint records the number
//! over all other records, and a data file that is not exactly what the last checkpoint made of it is
//! refused.
//!
//! Pure. It must never know what is in a record.

use std::collections::BTreeMap;

use super::{CHECKSUM_BYTES, Key, KeyBytes};

/// All records except the checkpoint, which holds the number over the others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Inventory {
    by_key: BTreeMap<KeyBytes, [u8; CHECKSUM_BYTES]>,
}

impl Inventory {
    /// The record is written, replacing any that is there, or removed if it is `None`. It is complete: it
    /// ends with its checksum.
    pub(crate) fn set(&mut self, key: Key, record: Option<&[u8]>) {
        if key == Key::Checkpoint {
            return;
        }
        match record {
            Some(record) => {
                let checksum = record.last_chunk().expect("a record ends with its checksum");
                self.by_key.insert(key.to_bytes(), *checksum);
            }
            None => drop(self.by_key.remove(&key.to_bytes())),
        }
    }

    /// The number over all records: CRC-32 of the key and the checksum of each, in key order.
    pub(crate) fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for (key, checksum) in &self.by_key {
            hasher.update(key.as_ref());
            hasher.update(checksum);
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use raft_core::LogIndex;

    use super::*;

    const ENTRIES: [Key; 2] = [Key::Entry(LogIndex(4)), Key::Entry(LogIndex(5))];

    fn inventory(records: &[(Key, &[u8])]) -> Inventory {
        let mut inventory = Inventory::default();
        records.iter().for_each(|(key, record)| inventory.set(*key, Some(record)));
        inventory
    }

    #[test]
    fn one_record_more_or_less_or_another_in_its_place_is_told_and_the_order_of_writing_is_not() {
        let [four, five] = ENTRIES;
        let both = inventory(&[(four, b"4abcd"), (five, b"5abce")]).checksum();
        assert_eq!(inventory(&[(five, b"5abce"), (four, b"9zzzz"), (four, b"4abcd")]).checksum(), both);
        for other in [
            &[(four, &b"4abcd"[..])][..],
            &[(four, b"4abcd"), (five, b"5abcf")],
            &[(four, b"5abce"), (five, b"4abcd")],
            &[(four, b"4abcd"), (five, b"5abce"), (Key::Extent, b"4abcd")],
        ] {
            assert_ne!(inventory(other).checksum(), both, "{other:?}");
        }
    }

    #[test]
    fn what_is_removed_is_gone_and_the_checkpoint_does_not_count() {
        let [four, five] = ENTRIES;
        let mut inventory = inventory(&[(four, b"abcd"), (five, b"abcd"), (Key::Checkpoint, b"abcd")]);
        [five, five].into_iter().for_each(|key| inventory.set(key, None));
        assert_eq!(inventory, self::inventory(&[(four, b"abcd")]));
    }
}
