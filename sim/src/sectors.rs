//! The journal on a disk: sectors, each of which reaches the disk as a whole or not at all.
//!
//! The storage layer that ships makes the sectors, and judges what is read. This module only keeps the bytes.

use std::ops::Range;

use raft_core::Incarnation;
use ticketd::storage::{Journal, SECTOR_BYTES};

use crate::rng::Rng;

/// The size of a simulated store's journal, in bytes: few small transactions between two checkpoints, so that
/// both are frequent and a start reads little.
pub(crate) const JOURNAL_BYTES: u64 = 8 * 4096;

/// The sectors, and what the transactions in them have replaced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sectors {
    bytes: Vec<u8>,
    /// What each sector held before the last complete transaction was written to it.
    replaced: Vec<u8>,
    /// The transactions since the last checkpoint, each by its sectors.
    transactions: Vec<Range<usize>>,
    /// The sectors that were left unwritten when a transaction was last cut short.
    left_out: Vec<usize>,
    /// A bit that has flipped; its sector has not been written since.
    flipped_bit: Option<usize>,
}

impl Sectors {
    /// The sectors of a new store.
    pub(crate) fn new(incarnation: Incarnation) -> Sectors {
        let bytes = Journal::blank(incarnation, JOURNAL_BYTES);
        Sectors { replaced: bytes.clone(), bytes, ..Sectors::default() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many transactions there are since the last checkpoint.
    pub(crate) fn transactions(&self) -> usize {
        self.transactions.len()
    }

    /// A checkpoint was made: the transactions here no longer count.
    pub(crate) fn clear(&mut self) {
        self.transactions.clear();
    }

    /// Writes a transaction.
    pub(crate) fn write(&mut self, offset: u64, transaction: &[u8]) {
        let sectors = sectors(offset, transaction);
        let range = sectors.start * SECTOR_BYTES..sectors.end * SECTOR_BYTES;
        self.replaced[range.clone()].copy_from_slice(&self.bytes[range.clone()]);
        self.bytes[range].copy_from_slice(transaction);
        if let Some(bit) = self.flipped_bit.take_if(|bit| sectors.contains(&sector_of(*bit))) {
            // What the sector held before the bit flipped.
            self.replaced[bit / 8] ^= 1 << (bit % 8);
        }
        self.transactions.push(sectors);
    }

    /// Writes some sectors of a transaction, and leaves the others as they are. Returns whether all of them
    /// were written.
    pub(crate) fn write_some(&mut self, offset: u64, transaction: &[u8], rng: &mut Rng) -> bool {
        let sectors = sectors(offset, transaction);
        let written = self.some_of(sectors.clone(), rng);
        if written.len() == sectors.len() {
            self.write(offset, transaction);
            return true;
        }
        self.left_out = sectors.clone().filter(|sector| !written.contains(sector)).collect();
        for sector in written {
            let part = (sector - sectors.start) * SECTOR_BYTES;
            let bytes = &transaction[part..][..SECTOR_BYTES];
            self.bytes[sector * SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(bytes);
            self.flipped_bit.take_if(|bit| sector_of(*bit) == sector);
        }
        false
    }

    /// None of the sectors, the first few, or any of them, because a disk writes sectors in any order; or
    /// those that, with the remains of another transaction, look most like a complete one.
    fn some_of(&self, sectors: Range<usize>, rng: &mut Rng) -> Vec<usize> {
        match rng.below(4) {
            0 => Vec::new(),
            1 => {
                let count = rng.below(u64::try_from(sectors.len()).expect("a length fits 64 bits"));
                let end = sectors.start + usize::try_from(count).expect("below a length");
                (sectors.start..end).collect()
            }
            2 => {
                let chance = rng.pick(&[10, 50, 90]).unwrap_or(50);
                sectors.filter(|_| rng.percent(chance)).collect()
            }
            _ => sectors.filter(|sector| self.left_out.contains(sector)).collect(),
        }
    }

    /// Flips a bit in any sector. Returns which.
    pub(crate) fn flip(&mut self, rng: &mut Rng) -> Option<usize> {
        let bits = u64::try_from(self.bytes.len() * 8).ok()?;
        let bit = usize::try_from(rng.below(bits)).ok()?;
        self.bytes[bit / 8] ^= 1 << (bit % 8);
        self.flipped_bit = Some(bit);
        Some(bit)
    }

    /// Whether no flipped bit remains.
    pub(crate) fn is_sound(&self) -> bool {
        self.flipped_bit.is_none()
    }

    /// Loses a transaction that is followed by another: its sectors hold what they held before. Returns the
    /// first sector of the transaction that follows; `None` if there is no such pair.
    pub(crate) fn lose(&mut self, rng: &mut Rng) -> Option<usize> {
        let later = u64::try_from(self.transactions.len()).ok()?.checked_sub(1).filter(|later| *later > 0)?;
        let lost = usize::try_from(rng.below(later)).ok()?;
        let Range { start, end } = self.transactions[lost];
        let range = start * SECTOR_BYTES..end * SECTOR_BYTES;
        self.bytes[range.clone()].copy_from_slice(&self.replaced[range]);
        Some(end)
    }
}

/// The sector that a bit is in.
pub(crate) fn sector_of(bit: usize) -> usize {
    bit / 8 / SECTOR_BYTES
}

/// The sectors of a transaction at this offset.
fn sectors(offset: u64, transaction: &[u8]) -> Range<usize> {
    let first = usize::try_from(offset).expect("a journal is short") / SECTOR_BYTES;
    first..first + transaction.len() / SECTOR_BYTES
}
