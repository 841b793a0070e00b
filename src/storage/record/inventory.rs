//! Which records a data file must have: each by its key and its checksum, and all of them by one number.
//!
//! A record's own checksum says that it is a record of ours, not that it is the latest: a page that a disk
//! has lost leaves an older record in its place, whose checksum is right. So each checkpoint has the number
//! of all the others, and a data file that is not exactly what the last checkpoint has made of it is refused.
//!
//! Pure. It must never know what is in a record.

use std::collections::BTreeMap;

use super::{CHECKSUM_BYTES, Key, KeyBytes};

/// All records but the checkpoint, which has the number of the others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Inventory {
    of: BTreeMap<KeyBytes, [u8; CHECKSUM_BYTES]>,
}

impl Inventory {
    /// The record is written, in place of what is there. It is whole: it ends with its checksum.
    pub(crate) fn put(&mut self, key: Key, record: &[u8]) {
        let checksum = record.last_chunk().expect("a record ends with its checksum");
        if key != Key::Checkpoint {
            self.of.insert(key.to_bytes(), *checksum);
        }
    }

    /// The record is removed, if it is there.
    pub(crate) fn delete(&mut self, key: Key) {
        self.of.remove(&key.to_bytes());
    }

    /// The number of all: CRC-32 over key and checksum of each, in the order of their keys.
    pub(crate) fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for (key, checksum) in &self.of {
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
        records.iter().for_each(|(key, record)| inventory.put(*key, record));
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
        [five, five].into_iter().for_each(|key| inventory.delete(key));
        assert_eq!(inventory, self::inventory(&[(four, b"abcd")]));
    }
}
