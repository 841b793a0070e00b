//! The sectors of a journal: transactions are turned into sectors, and back.
//!
//! Pure: bytes in, bytes out. It must never know what a transaction does, nor of files.

use std::fmt;
use std::ops::Range;

use byteorder::{BigEndian, ByteOrder};
use raft_core::Incarnation;

use crate::storage::record::{CHECKSUM_BYTES, Checkpoint, FORMAT_VERSION, TransactionId};

/// The unit that a disk writes as a whole or not at all, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// Every transaction begins at a block boundary, so that no write touches a unit that also holds something
/// acknowledged. That holds on disks whose own sectors have the size of a block, and for the blocks of a file
/// system and the pages of the system.
const BLOCK_SECTORS: usize = 8;

/// The size of a new store's journal, in bytes: room for 256 small transactions between two checkpoints, each
/// of which costs a few times as much as one of them.
pub(crate) const JOURNAL_BYTES: u64 = 1 << 20;

/// The largest journal that is read, in bytes: the parts of a transaction are numbered with 16 bits.
pub(crate) const JOURNAL_BYTES_MAX: u64 = 16 << 20;

// Where the fields of a sector are; the checksum is at the front.
const VERSION_AT: usize = CHECKSUM_BYTES;
const PART_AT: usize = VERSION_AT + 1;
const BYTES_AT: usize = PART_AT + 2;
const ID_AT: usize = BYTES_AT + 4;
const AFTER_AT: usize = ID_AT + 8;
const HEAD_BYTES: usize = AFTER_AT + 8;
const PAYLOAD_BYTES: usize = SECTOR_BYTES - HEAD_BYTES;

/// A transaction that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Transaction {
    /// The number of its first sector.
    pub(crate) sector: usize,
    pub(crate) bytes: Vec<u8>,
}

/// Why bytes are not a journal of this store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum JournalError {
    /// It does not have the expected length.
    Length { found: u64, expected: u64 },
    /// The checksum of this sector does not match.
    Checksum { sector: usize },
    /// This sector is sound, but of a format that this program does not read.
    Version { found: u8 },
    /// This sector says that a transaction was durable when it was written, and that transaction is missing.
    Lost { sector: usize, transaction: TransactionId },
    /// No store reaches a transaction of this number.
    Impossible { transaction: TransactionId },
}

impl JournalError {
    /// The sector that is at fault, if it is a single one.
    pub(crate) fn sector(self) -> Option<usize> {
        match self {
            JournalError::Checksum { sector } | JournalError::Lost { sector, .. } => Some(sector),
            JournalError::Length { .. } | JournalError::Version { .. } | JournalError::Impossible { .. } => {
                None
            }
        }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Length { found, expected } => {
                write!(f, "it has {found} bytes, and should have {expected}")
            }
            JournalError::Checksum { sector: _ } => f.write_str("its checksum does not match"),
            JournalError::Version { found } => write!(f, "it has format {found}"),
            JournalError::Lost { sector: _, transaction } => {
                write!(f, "it was written when transaction {transaction} was durable, which is not there")
            }
            JournalError::Impossible { transaction } => {
                write!(f, "no store has come to transaction {transaction}")
            }
        }
    }
}

/// Where the journal ends, and the numbers of its transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    incarnation: Incarnation,
    /// How many sectors there are.
    sectors: usize,
    /// Where the last transaction begins; if there is none since the checkpoint, where the next one goes.
    last_sector: usize,
    /// Where the next transaction goes.
    next_sector: usize,
    /// The last transaction: durable, here or in the data file, once the caller has made it so.
    last: TransactionId,
    /// The number of the next transaction: above that of every sector.
    next: TransactionId,
    /// The sectors of the last transaction.
    bytes: Vec<u8>,
}

impl Journal {
    /// The bytes of an empty journal. The incarnation is that of the store's node: it keeps the journal of
    /// another store from being taken for this one's.
    #[must_use]
    pub fn blank(incarnation: Incarnation, journal_bytes: u64) -> Vec<u8> {
        let sectors = usize::try_from(journal_bytes).expect("64-bit machines only") / SECTOR_BYTES;
        let mut bytes = vec![0; sectors * SECTOR_BYTES];
        let head = Head { part: 0, bytes: 0, id: TransactionId(0), after: TransactionId(0) };
        for (number, sector) in bytes.chunks_exact_mut(SECTOR_BYTES).enumerate() {
            head.seal(incarnation, number, sector);
        }
        bytes
    }

    /// Whether these bytes, of whatever length, are a [blank](Journal::blank) journal or what a crash has
    /// left of the creation of one. This does not tell whose journal it is: the node is not known at that
    /// point.
    pub(crate) fn is_void(bytes: &[u8]) -> bool {
        bytes.chunks(SECTOR_BYTES).all(|sector| sector.iter().skip(PART_AT).all(|byte| *byte == 0))
    }

    /// Reads a whole journal: the transactions that it holds beyond the checkpoint.
    pub(crate) fn read(
        bytes: &[u8],
        incarnation: Incarnation,
        checkpoint: Checkpoint,
    ) -> Result<(Journal, Vec<Transaction>), JournalError> {
        check_length(bytes.len() as u64, checkpoint.journal_bytes)?;
        let sectors = bytes.chunks_exact(SECTOR_BYTES).enumerate();
        let heads = sectors
            .map(|(number, sector)| Head::read(incarnation, number, sector))
            .collect::<Result<Vec<Head>, JournalError>>()?;
        let (mut last_sector, mut next_sector, mut last) = (0, 0, checkpoint.through);
        let mut transactions = Vec::new();
        while let Some(length) = whole_after(last, &heads[next_sector..]) {
            let first = heads[next_sector];
            let parts = &bytes[next_sector * SECTOR_BYTES..][..length * SECTOR_BYTES];
            let payloads = parts.chunks_exact(SECTOR_BYTES).flat_map(|sector| &sector[HEAD_BYTES..]);
            let payload = payloads.take(first.bytes).copied().collect();
            transactions.push(Transaction { sector: next_sector, bytes: payload });
            last = first.id;
            last_sector = next_sector;
            next_sector += length;
        }
        // A sector is written only once the transaction that it names as the one before is durable.
        if let Some(sector) = heads.iter().position(|head| head.after > last) {
            return Err(JournalError::Lost { sector, transaction: heads[sector].after });
        }
        let highest = heads.iter().map(|head| head.id).max().unwrap_or_default().max(last);
        if highest > TransactionId::MAX {
            return Err(JournalError::Impossible { transaction: highest });
        }
        let next = TransactionId(highest.0 + 1);
        let sectors = heads.len();
        let journal =
            Journal { incarnation, sectors, last_sector, next_sector, last, next, bytes: Vec::new() };
        Ok((journal, transactions))
    }

    /// Whether a transaction of this many bytes still fits.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        length_sectors(bytes) <= self.sectors - self.next_sector
    }

    /// Returns the sectors of the next transaction and where they go, in bytes from the front. The
    /// transaction after it builds on it, so if this one does not become durable, no other may follow.
    ///
    /// # Panics
    /// If there is no room for it.
    pub(crate) fn append(&mut self, transaction: &[u8]) -> (u64, &[u8]) {
        let (bytes, next, sectors) = (transaction.len(), self.next_sector, self.sectors);
        assert!(self.has_room(bytes), "{bytes} bytes from sector {next} on, of {sectors}");
        let length = length_sectors(transaction.len());
        self.bytes.clear();
        self.bytes.resize(length * SECTOR_BYTES, 0);
        let mut payloads = transaction.chunks(PAYLOAD_BYTES);
        for (part, sector) in self.bytes.chunks_exact_mut(SECTOR_BYTES).enumerate() {
            let payload = payloads.next().unwrap_or_default();
            sector[HEAD_BYTES..][..payload.len()].copy_from_slice(payload);
            let head = Head { part, bytes: transaction.len(), id: self.next, after: self.last };
            head.seal(self.incarnation, self.next_sector + part, sector);
        }
        let offset = self.next_sector * SECTOR_BYTES;
        self.last_sector = self.next_sector;
        self.next_sector += length;
        self.take_number();
        (offset as u64, &self.bytes)
    }

    /// Sends the next transaction to the data file, together with this record and everything in the journal.
    /// As with [`Journal::append`], nothing may follow if it does not become durable.
    pub(crate) fn checkpoint(&mut self, inventory: u32) -> Checkpoint {
        self.take_number();
        (self.last_sector, self.next_sector) = (0, 0);
        Checkpoint { through: self.last, journal_bytes: (self.sectors * SECTOR_BYTES) as u64, inventory }
    }

    /// Another transaction has the next number.
    fn take_number(&mut self) {
        self.last = self.next;
        self.next = TransactionId(self.next.0 + 1);
    }

    /// The last transaction.
    pub(crate) fn last(&self) -> TransactionId {
        self.last
    }

    /// Where the last transaction is, in bytes from the front; empty if it is in the data file.
    pub(crate) fn last_range(&self) -> Range<usize> {
        self.last_sector * SECTOR_BYTES..self.next_sector * SECTOR_BYTES
    }
}

/// The header of a sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    /// The number of this part of the transaction: 0 for the first.
    part: usize,
    /// The length of the whole transaction, in bytes.
    bytes: usize,
    id: TransactionId,
    /// The transaction that was durable when this one was written.
    after: TransactionId,
}

impl Head {
    fn read(incarnation: Incarnation, number: usize, sector: &[u8]) -> Result<Head, JournalError> {
        if checksum(incarnation, number, sector) != BigEndian::read_u32(sector) {
            return Err(JournalError::Checksum { sector: number });
        }
        if sector[VERSION_AT] != FORMAT_VERSION {
            return Err(JournalError::Version { found: sector[VERSION_AT] });
        }
        Ok(Head {
            part: usize::from(BigEndian::read_u16(&sector[PART_AT..])),
            bytes: BigEndian::read_u32(&sector[BYTES_AT..]) as usize,
            id: TransactionId(BigEndian::read_u64(&sector[ID_AT..])),
            after: TransactionId(BigEndian::read_u64(&sector[AFTER_AT..])),
        })
    }

    /// Puts this header and the checksum in front of the payload that is already there.
    fn seal(&self, incarnation: Incarnation, number: usize, sector: &mut [u8]) {
        sector[VERSION_AT] = FORMAT_VERSION;
        BigEndian::write_u16(&mut sector[PART_AT..], u16::try_from(self.part).expect("a journal is short"));
        BigEndian::write_u32(&mut sector[BYTES_AT..], u32::try_from(self.bytes).expect("a journal is short"));
        BigEndian::write_u64(&mut sector[ID_AT..], self.id.0);
        BigEndian::write_u64(&mut sector[AFTER_AT..], self.after.0);
        let crc = checksum(incarnation, number, sector);
        BigEndian::write_u32(sector, crc);
    }
}

/// Covers the node's incarnation and the sector's number, so that a sector that turns up elsewhere is
/// detected.
fn checksum(incarnation: Incarnation, number: usize, sector: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&incarnation.0.to_be_bytes());
    hasher.update(&(number as u64).to_be_bytes());
    hasher.update(&sector[CHECKSUM_BYTES..]);
    hasher.finalize()
}

/// Checks that a journal has as many bytes as its checkpoint says, and that a store can have as many: whole
/// blocks.
fn check_length(found: u64, expected: u64) -> Result<(), JournalError> {
    let are_blocks = expected > 0 && expected.is_multiple_of((BLOCK_SECTORS * SECTOR_BYTES) as u64);
    if found != expected || !are_blocks || expected > JOURNAL_BYTES_MAX {
        return Err(JournalError::Length { found, expected });
    }
    Ok(())
}

/// How many sectors the transaction at the front of `heads` takes; `None` unless it is the one after `last`
/// and all its sectors are there.
fn whole_after(last: TransactionId, heads: &[Head]) -> Option<usize> {
    let first = *heads.first()?;
    if first.after != last || first.id <= last {
        return None;
    }
    let length = length_sectors(first.bytes);
    let parts = heads.get(..length)?;
    let is_whole = parts.iter().enumerate().all(|(part, head)| *head == Head { part, ..first });
    is_whole.then_some(length)
}

/// How many sectors a transaction of this many bytes takes.
fn length_sectors(bytes: usize) -> usize {
    bytes.div_ceil(PAYLOAD_BYTES).max(1).next_multiple_of(BLOCK_SECTORS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Incarnation = Incarnation(0xabcd);
    const BLOCK_BYTES: usize = BLOCK_SECTORS * SECTOR_BYTES;
    /// How much fits into one block.
    const BLOCK_PAYLOAD_BYTES: usize = BLOCK_SECTORS * PAYLOAD_BYTES;
    const BLOCKS: usize = 6;
    /// Its value does not matter here.
    const INVENTORY: u32 = 0xfeed;

    fn checkpoint(through: u64) -> Checkpoint {
        Checkpoint {
            through: TransactionId(through),
            journal_bytes: (BLOCKS * BLOCK_BYTES) as u64,
            inventory: INVENTORY,
        }
    }

    fn read(file: &[u8], through: u64) -> Result<(Journal, Vec<Vec<u8>>), JournalError> {
        let (journal, transactions) = Journal::read(file, ME, checkpoint(through))?;
        Ok((journal, transactions.into_iter().map(|transaction| transaction.bytes).collect()))
    }

    fn blank() -> Vec<u8> {
        Journal::blank(ME, checkpoint(0).journal_bytes)
    }

    /// Writes as the file system would.
    fn write(file: &mut [u8], (offset, bytes): (u64, &[u8])) {
        file[usize::try_from(offset).unwrap()..][..bytes.len()].copy_from_slice(bytes);
    }

    /// A journal with transactions of one, two and one block, after checkpoint 7.
    fn three() -> (Vec<u8>, Journal, Vec<Vec<u8>>) {
        let mut file = blank();
        let (mut journal, _) = read(&file, 7).unwrap();
        let transactions = vec![b"one".to_vec(), vec![2; BLOCK_PAYLOAD_BYTES + 1], Vec::new()];
        for transaction in &transactions {
            let sectors = journal.append(transaction);
            write(&mut file, sectors);
        }
        (file, journal, transactions)
    }

    #[test]
    fn transactions_come_back_in_their_order_and_the_next_goes_after_them() {
        let (mut file, mut journal, mut transactions) = three();
        let (mut anew, found) = read(&file, 7).unwrap();
        assert_eq!(found, transactions);
        assert_eq!(
            (journal.last(), journal.last_range()),
            (TransactionId(10), 3 * BLOCK_BYTES..4 * BLOCK_BYTES)
        );
        assert_eq!(anew.last_range(), journal.last_range());
        let next = journal.append(b"four");
        assert_eq!(anew.append(b"four"), next);
        write(&mut file, next);
        transactions.push(b"four".to_vec());
        assert_eq!(read(&file, 7).unwrap().1, transactions);
    }

    #[test]
    fn after_a_checkpoint_nothing_of_before_is_read_and_the_front_is_written_again() {
        let (mut file, mut journal, transactions) = three();
        let made = journal.checkpoint(INVENTORY);
        assert_eq!((made, journal.last_range()), (checkpoint(11), 0..0));
        // Until the checkpoint is durable, the one before it counts.
        assert_eq!(read(&file, 7).unwrap().1, transactions);
        assert_eq!(read(&file, 11).unwrap().1, Vec::<Vec<u8>>::new());
        write(&mut file, journal.append(b"next"));
        assert_eq!(read(&file, 11).unwrap().1, [b"next".to_vec()]);
    }

    #[test]
    fn there_is_room_to_the_last_sector_and_no_further() {
        let (_, mut journal, _) = three();
        assert!(!journal.has_room(2 * BLOCK_PAYLOAD_BYTES + 1));
        assert_eq!(journal.append(&vec![0; 2 * BLOCK_PAYLOAD_BYTES]).1.len(), 2 * BLOCK_BYTES);
        assert!(!journal.has_room(0));
        assert_eq!(journal.checkpoint(INVENTORY).through, TransactionId(12));
        assert!(!journal.has_room(BLOCKS * BLOCK_PAYLOAD_BYTES + 1));
        assert_eq!(journal.append(&vec![0; BLOCKS * BLOCK_PAYLOAD_BYTES]).1.len(), BLOCKS * BLOCK_BYTES);
    }

    /// Every subset of a write's sectors that can reach the disk: over a blank block, and over an earlier
    /// transaction.
    #[test]
    fn a_transaction_is_there_with_all_its_sectors_and_with_fewer_it_never_was() {
        let (mut old, mut journal, _) = three();
        journal.checkpoint(INVENTORY);
        for before in [b"first".to_vec(), vec![3; BLOCK_PAYLOAD_BYTES]] {
            let (offset, sectors) = journal.append(&before);
            write(&mut old, (offset, sectors));
        }
        let at = journal.last_range().end;
        let sectors = journal.append(b"torn").1.to_vec();
        let told = |file: &[u8]| read(file, 11).unwrap();
        for landed in 0..1u32 << BLOCK_SECTORS {
            let mut file = old.clone();
            for part in (0..BLOCK_SECTORS).filter(|part| landed >> part & 1 == 1) {
                let range = part * SECTOR_BYTES..(part + 1) * SECTOR_BYTES;
                file[at + range.start..at + range.end].copy_from_slice(&sectors[range]);
            }
            let (mut next, found) = told(&file);
            assert_eq!(found.len(), 2 + usize::from(landed == 255), "{landed:08b}");
            // The next transaction is never mixed with what is left of this one, and is read correctly
            // however it is torn itself.
            if landed != 255 {
                let (offset, bytes) = next.append(b"torn as well");
                let half = &bytes[..bytes.len() / 2];
                write(&mut file, (offset, half));
                assert_eq!(told(&file).1.len(), 2, "{landed:08b}");
                let (mut next, _) = told(&file);
                write(&mut file, next.append(b"whole"));
                assert_eq!(told(&file).1.last().unwrap(), b"whole");
            }
        }
    }

    #[test]
    fn every_bit_that_flips_is_found_out_wherever_it_is() {
        let (file, _, _) = three();
        for bit in (0..file.len() * 8).step_by(13) {
            let mut rotten = file.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            let sector = bit / 8 / SECTOR_BYTES;
            assert_eq!(read(&rotten, 7).unwrap_err(), JournalError::Checksum { sector });
        }
    }

    /// As when a disk has lost a write and kept a later one.
    #[test]
    fn a_transaction_that_is_missing_before_another_is_missed() {
        let (file, journal, _) = three();
        let blocks = [(0, 0..1, 8), (1, 1..3, 9)];
        for (_, lost, id) in blocks {
            let mut without = file.clone();
            let range = lost.start * BLOCK_BYTES..lost.end * BLOCK_BYTES;
            without[range.clone()].copy_from_slice(&blank()[range]);
            let sector = lost.end * BLOCK_SECTORS;
            let transaction = TransactionId(id);
            assert_eq!(read(&without, 7).unwrap_err(), JournalError::Lost { sector, transaction });
        }
        // The data file is that of an earlier checkpoint.
        assert_eq!(
            read(&file, 6).unwrap_err(),
            JournalError::Lost { sector: 0, transaction: TransactionId(7) }
        );
        // A data file of a later checkpoint is fine: it holds everything that is here.
        assert_eq!(read(&file, journal.last().0).unwrap().1, Vec::<Vec<u8>>::new());
    }

    #[test]
    fn sectors_of_another_place_or_another_store_are_found_out() {
        let (file, _, _) = three();
        let mut moved = file.clone();
        moved.copy_within(0..BLOCK_BYTES, 4 * BLOCK_BYTES);
        assert_eq!(read(&moved, 7).unwrap_err(), JournalError::Checksum { sector: 4 * BLOCK_SECTORS });
        let other = Journal::blank(Incarnation(1), checkpoint(0).journal_bytes);
        assert_eq!(read(&other, 7).unwrap_err(), JournalError::Checksum { sector: 0 });
    }

    #[test]
    fn a_journal_of_another_length_is_refused() {
        let (file, _, _) = three();
        for length in [0, 1, SECTOR_BYTES, file.len() - SECTOR_BYTES] {
            assert!(matches!(read(&file[..length], 7).unwrap_err(), JournalError::Length { .. }));
        }
        for journal_bytes in [0, 1, SECTOR_BYTES as u64, JOURNAL_BYTES_MAX + BLOCK_BYTES as u64] {
            let bytes = vec![0; usize::try_from(journal_bytes).unwrap()];
            let checkpoint = Checkpoint { journal_bytes, ..checkpoint(0) };
            let error = JournalError::Length { found: journal_bytes, expected: journal_bytes };
            assert_eq!(Journal::read(&bytes, ME, checkpoint).unwrap_err(), error);
        }
    }

    #[test]
    fn numbers_at_the_end_of_their_range_and_other_formats_are_refused_without_a_panic() {
        let sealed = |head: Head, version: u8| {
            let mut file = blank();
            head.seal(ME, 0, &mut file[..SECTOR_BYTES]);
            file[4] = version;
            let crc = checksum(ME, 0, &file[..SECTOR_BYTES]);
            BigEndian::write_u32(&mut file, crc);
            read(&file, 7).map(|(_, found)| found)
        };
        let most = TransactionId(u64::MAX);
        let head = Head { part: 0, bytes: 0, id: most, after: TransactionId(7) };
        assert_eq!(sealed(head, FORMAT_VERSION), Err(JournalError::Impossible { transaction: most }));
        let next_to_most = Head { id: TransactionId::MAX, ..head };
        assert_eq!(sealed(next_to_most, FORMAT_VERSION), Ok(Vec::new()));
        let lost = JournalError::Lost { sector: 0, transaction: most };
        assert_eq!(sealed(Head { after: most, ..head }, FORMAT_VERSION), Err(lost));
        let long = Head { bytes: u32::MAX as usize, id: TransactionId(8), ..head };
        assert_eq!(sealed(long, FORMAT_VERSION), Ok(Vec::new()));
        assert_eq!(sealed(head, 9), Err(JournalError::Version { found: 9 }));
        let last = checkpoint(u64::MAX);
        let impossible = JournalError::Impossible { transaction: most };
        assert_eq!(Journal::read(&blank(), ME, last).unwrap_err(), impossible);
    }

    #[test]
    fn the_bytes_of_a_sector_are_those_of_the_documented_format() {
        let mut file = blank();
        let (mut journal, _) = read(&file, 7).unwrap();
        write(&mut file, journal.append(b"abc"));
        let second = &file[SECTOR_BYTES..][..SECTOR_BYTES];
        let head = [2, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7];
        assert_eq!(second[4..27], head);
        assert_eq!(file[27..31], *b"abc\0");
        let covered = [&ME.0.to_be_bytes()[..], &1u64.to_be_bytes(), &second[4..]].concat();
        assert_eq!(second[..4], crc32fast::hash(&covered).to_be_bytes());
    }

    #[test]
    fn a_journal_is_void_until_it_has_a_part_of_a_transaction_wherever_that_is() {
        let blank = Journal::blank(Incarnation(7), JOURNAL_BYTES);
        assert!(Journal::is_void(&blank) && Journal::is_void(&[]));
        for end in [1, 3, 5, 300, SECTOR_BYTES, SECTOR_BYTES + 4, blank.len() - 1] {
            assert!(Journal::is_void(&blank[..end]), "{end} bytes");
            assert!(Journal::is_void(&vec![0; end]), "{end} bytes that were not written");
        }
        let mut torn = blank.clone();
        torn[5 * SECTOR_BYTES..8 * SECTOR_BYTES].fill(0);
        assert!(Journal::is_void(&torn));
        for sector in [0, 1, 1000, blank.len() / SECTOR_BYTES - 1] {
            let mut used = blank.clone();
            let head = Head { part: 0, bytes: 0, id: TransactionId(1), after: TransactionId(0) };
            head.seal(Incarnation(7), sector, &mut used[sector * SECTOR_BYTES..][..SECTOR_BYTES]);
            assert!(!Journal::is_void(&used), "sector {sector}");
            used[sector * SECTOR_BYTES..][..SECTOR_BYTES - 1].fill(0);
            used[(sector + 1) * SECTOR_BYTES - 1] = 1;
            assert!(!Journal::is_void(&used), "sector {sector}");
        }
    }
}
