//! Records, which make up both the data file and the journal: the bytes of a record, and of its key.
//!
//! ```text
//! (this file)   one record             <-> its bytes
//! pending       changes of records      -> their net effect
//! inventory     the records of a store  -> one number
//! ```
//!
//! ```text
//! key     table u8 [index u64]
//! value   format version u8 | kind u8 | payload | CRC-32 of the key and all before, u32
//! ```
//!
//! Pure. Decoding is total: any bytes from a disk give a record or a reason. The checksum covers the key, so
//! a record that turns up under a wrong key is detected. This module must never know of LMDB, of files, or of
//! the order of records.

mod inventory;
mod pending;

use std::fmt;

use byteorder::{BigEndian, ByteOrder};
use raft_core::{Entry, HardState, LogIndex, Snapshot, Term};

use crate::codec::{DecodeError, Reader, Writer};
use crate::identity::{ClusterId, Identity, Standing};

pub(super) use self::inventory::Inventory;
pub(super) use self::pending::Change;
pub use self::pending::Pending;
use super::{SETTINGS_MAX, Setting};

/// The format that this program writes, and the only one that it reads, for records and for the journal.
pub(super) const FORMAT_VERSION: u8 = 2;

/// The longest key that we write.
pub(super) const KEY_BYTES_MAX: usize = 9;

const VERSION_BYTES: usize = 1;
/// A record ends with its checksum; a sector begins with it.
pub(super) const CHECKSUM_BYTES: usize = 4;

/// The key of a record: the tables of a store, in key order.
///
/// The entries come late, so that appending them fills pages in order. The extent comes after them, so that
/// it is on the page that an append makes dirty anyway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// The identity of the node.
    Identity,
    /// The settings that the node was last started with.
    Settings,
    /// The largest size that the store may reach.
    MapSize,
    /// The hard state.
    HardState,
    /// The snapshot.
    Snapshot,
    /// One log entry.
    Entry(LogIndex),
    /// Which snapshot and which entries there must be.
    Extent,
    /// Which transactions are in the data file, so that the journal need not hold them.
    Checkpoint,
    /// That the node has acknowledged entries that the store lacks. No sound store has this record.
    LostEntries,
}

const TABLE_IDENTITY: u8 = 1;
const TABLE_SETTINGS: u8 = 2;
const TABLE_MAP_SIZE: u8 = 3;
const TABLE_HARD_STATE: u8 = 4;
const TABLE_SNAPSHOT: u8 = 5;
const TABLE_ENTRY: u8 = 6;
const TABLE_EXTENT: u8 = 7;
const TABLE_CHECKPOINT: u8 = 8;
const TABLE_LOST_ENTRIES: u8 = 9;

impl Key {
    fn table(self) -> u8 {
        match self {
            Key::Identity => TABLE_IDENTITY,
            Key::Settings => TABLE_SETTINGS,
            Key::MapSize => TABLE_MAP_SIZE,
            Key::HardState => TABLE_HARD_STATE,
            Key::Snapshot => TABLE_SNAPSHOT,
            Key::Entry(_) => TABLE_ENTRY,
            Key::Extent => TABLE_EXTENT,
            Key::Checkpoint => TABLE_CHECKPOINT,
            Key::LostEntries => TABLE_LOST_ENTRIES,
        }
    }

    /// The key's bytes. Entries that come earlier in the log sort first.
    #[must_use]
    pub fn to_bytes(self) -> KeyBytes {
        let mut key = KeyBytes { bytes: [0; KEY_BYTES_MAX], len: 1 };
        key.bytes[0] = self.table();
        if let Key::Entry(index) = self {
            BigEndian::write_u64(&mut key.bytes[1..], index.0);
            key.len = KEY_BYTES_MAX;
        }
        key
    }

    /// The key with these bytes; `None` if there is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Key> {
        match *bytes {
            [TABLE_IDENTITY] => Some(Key::Identity),
            [TABLE_SETTINGS] => Some(Key::Settings),
            [TABLE_MAP_SIZE] => Some(Key::MapSize),
            [TABLE_HARD_STATE] => Some(Key::HardState),
            [TABLE_SNAPSHOT] => Some(Key::Snapshot),
            [TABLE_EXTENT] => Some(Key::Extent),
            [TABLE_CHECKPOINT] => Some(Key::Checkpoint),
            [TABLE_LOST_ENTRIES] => Some(Key::LostEntries),
            [TABLE_ENTRY, ref index @ ..] if index.len() == 8 => {
                Some(Key::Entry(LogIndex(BigEndian::read_u64(index))))
            }
            _ => None,
        }
    }

    /// Reads the next key.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Key, DecodeError> {
        let table = reader.u8()?;
        if table == TABLE_ENTRY {
            return Ok(Key::Entry(LogIndex(reader.u64()?)));
        }
        Key::from_bytes(&[table]).ok_or(DecodeError::UnknownKind(table))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Identity => f.write_str("the identity record"),
            Key::Settings => f.write_str("the settings record"),
            Key::MapSize => f.write_str("the map size record"),
            Key::HardState => f.write_str("the hard state record"),
            Key::Snapshot => f.write_str("the snapshot record"),
            Key::Entry(index) => write!(f, "the record of log entry {index}"),
            Key::Extent => f.write_str("the extent record"),
            Key::Checkpoint => f.write_str("the checkpoint record"),
            Key::LostEntries => f.write_str("the record of lost entries"),
        }
    }
}

/// The bytes of a key, without an allocation. They compare as in LMDB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KeyBytes {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

impl AsRef<[u8]> for KeyBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Which records of the log there are. It is rewritten with every change of the log, so that a record missing
/// at either end is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// Index and term of the snapshot; `None` if there is none.
    pub(super) snapshot: Option<(LogIndex, Term)>,
    /// Index of the last entry; without entries, that of the snapshot; without a snapshot, 0.
    pub(super) last_log_index: LogIndex,
}

impl Extent {
    /// The index before the first entry.
    pub(super) fn base(&self) -> LogIndex {
        self.snapshot.map_or(LogIndex(0), |(index, _)| index)
    }
}

/// The number of a transaction of a store. The numbers ascend; those of transactions that were never finished
/// are skipped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TransactionId(pub u64);

impl TransactionId {
    /// Above every number that a store can reach, and far enough below the largest integer that counting can
    /// go on from it: at a million transactions a second, either takes 292,000 years.
    pub(super) const MAX: TransactionId = TransactionId(u64::MAX / 2);
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the data file ends and the journal continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The last transaction in the data file.
    pub(super) through: TransactionId,
    /// The size of the journal, in bytes.
    pub(super) journal_bytes: u64,
    /// The number over all other records in the data file: see `inventory`.
    pub(super) inventory: u32,
}

/// The node has acknowledged an entry that its log does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LostEntries {
    /// The index of that entry.
    pub acknowledged: LogIndex,
    /// Where the log ended when the node found out.
    pub last: LogIndex,
}

/// A value to be written under a key.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// The identity of the node.
    Identity(&'a Identity),
    /// The settings that the node was last started with.
    Settings(&'a [Setting]),
    /// The largest size that the store may reach, in bytes.
    MapSize(u64),
    /// The hard state.
    HardState(&'a HardState),
    /// The snapshot.
    Snapshot(&'a Snapshot),
    /// One log entry.
    Entry(&'a Entry),
    /// Which snapshot and which entries there must be.
    Extent(Extent),
    /// Which transactions are in the data file.
    Checkpoint(Checkpoint),
    /// Which entries the store lacks.
    LostEntries(LostEntries),
}

impl Value<'_> {
    /// The key that the value belongs under.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Value::Identity(_) => Key::Identity,
            Value::Settings(_) => Key::Settings,
            Value::MapSize(_) => Key::MapSize,
            Value::HardState(_) => Key::HardState,
            Value::Snapshot(_) => Key::Snapshot,
            Value::Entry(entry) => Key::Entry(entry.index),
            Value::Extent(_) => Key::Extent,
            Value::Checkpoint(_) => Key::Checkpoint,
            Value::LostEntries(_) => Key::LostEntries,
        }
    }

    /// Encodes the whole record into `out`, replacing its content.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        self.append_to(out);
    }

    /// Appends the whole record to `out`.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u8(FORMAT_VERSION);
        out.put_u8(self.key().table());
        match self {
            Value::Identity(identity) => put_identity(out, identity),
            Value::Settings(settings) => put_settings(out, settings),
            Value::MapSize(map_bytes) => out.put_u64(*map_bytes),
            Value::HardState(hard_state) => {
                out.put_u64(hard_state.current_term.0);
                out.put_option(hard_state.voted_for, Writer::put_peer);
            }
            Value::Snapshot(snapshot) => out.put_snapshot(snapshot),
            Value::Entry(entry) => out.put_entry(entry),
            Value::Extent(extent) => put_extent(out, extent),
            Value::Checkpoint(checkpoint) => {
                out.put_u64(checkpoint.through.0);
                out.put_u64(checkpoint.journal_bytes);
                out.put_u32(checkpoint.inventory);
            }
            Value::LostEntries(LostEntries { acknowledged, last }) => {
                out.put_u64(acknowledged.0);
                out.put_u64(last.0);
            }
        }
        let crc = checksum(self.key().to_bytes().as_ref(), &out[start..]);
        out.put_u32(crc);
    }
}

fn put_identity(out: &mut Vec<u8>, identity: &Identity) {
    out.put_peer(identity.me);
    match identity.standing {
        Standing::Joining => out.put_u8(STANDING_JOINING),
        Standing::Member { cluster, joined_at } => {
            out.put_u8(STANDING_MEMBER);
            out.put_u128(cluster.0);
            out.put_u64(joined_at.0);
        }
    }
}

const STANDING_JOINING: u8 = 0;
const STANDING_MEMBER: u8 = 1;

fn put_settings(out: &mut Vec<u8>, settings: &[Setting]) {
    out.put_u16(u16::try_from(settings.len()).expect("their number was checked against SETTINGS_MAX"));
    for (name, value) in settings {
        out.put_text(name);
        out.put_blob(value.as_bytes());
    }
}

fn put_extent(out: &mut Vec<u8>, extent: &Extent) {
    out.put_option(extent.snapshot, |out, (index, term)| {
        out.put_u64(index.0);
        out.put_u64(term.0);
    });
    out.put_u64(extent.last_log_index.0);
}

/// A record that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Record {
    Identity(Identity),
    Settings(Vec<Setting>),
    MapSize(u64),
    HardState(HardState),
    Snapshot(Snapshot),
    Entry(Entry),
    Extent(Extent),
    Checkpoint(Checkpoint),
    LostEntries(LostEntries),
}

/// Why bytes are not the record of their key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecordError {
    /// Too short to be a record.
    TooShort,
    /// The checksum does not match.
    Checksum,
    /// A sound record, but of a format that this program does not read.
    Version(u8),
    /// A sound record, but of another table.
    Kind(u8),
    /// The payload makes no sense.
    Payload(DecodeError),
    /// An entry under the key of another entry.
    WrongIndex(LogIndex),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::TooShort => f.write_str("it is too short to be a record"),
            RecordError::Checksum => f.write_str("its checksum does not match"),
            RecordError::Version(found) => write!(f, "it has format {found}"),
            RecordError::Kind(kind) => write!(f, "it is of kind {kind}"),
            RecordError::Payload(error) => error.fmt(f),
            RecordError::WrongIndex(index) => write!(f, "it holds entry {index}"),
        }
    }
}

/// Whether these bytes, under this key, are a record of this program, in whichever format: no other program's
/// have its checksums.
pub(super) fn is_ours(key: &[u8], bytes: &[u8]) -> bool {
    let damaged = |key| matches!(decode(key, bytes), Err(RecordError::TooShort | RecordError::Checksum));
    Key::from_bytes(key).is_some_and(|key| !damaged(key))
}

/// Decodes the record of a key.
pub(super) fn decode(key: Key, bytes: &[u8]) -> Result<Record, RecordError> {
    let body_len = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(RecordError::TooShort)?;
    let (body, crc) = bytes.split_at(body_len);
    if checksum(key.to_bytes().as_ref(), body) != BigEndian::read_u32(crc) {
        return Err(RecordError::Checksum);
    }
    // The version is checked before everything that another version may have changed.
    match body {
        [version, ..] if *version != FORMAT_VERSION => return Err(RecordError::Version(*version)),
        [] | [_] => return Err(RecordError::TooShort),
        [_, kind, ..] if *kind != key.table() => return Err(RecordError::Kind(*kind)),
        [_, _, ..] => {}
    }
    let mut reader = Reader::new(&body[VERSION_BYTES + 1..]);
    let record = read_payload(key, &mut reader).map_err(RecordError::Payload)?;
    reader.finish().map_err(RecordError::Payload)?;
    if let (Key::Entry(index), Record::Entry(entry)) = (key, &record)
        && entry.index != index
    {
        return Err(RecordError::WrongIndex(entry.index));
    }
    Ok(record)
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

fn read_payload(key: Key, reader: &mut Reader<'_>) -> Result<Record, DecodeError> {
    Ok(match key {
        Key::Identity => Record::Identity(read_identity(reader)?),
        Key::Settings => Record::Settings(read_settings(reader)?),
        Key::MapSize => Record::MapSize(reader.u64()?),
        Key::HardState => Record::HardState(HardState {
            current_term: Term(reader.u64()?),
            voted_for: reader.option(Reader::peer)?,
        }),
        Key::Snapshot => Record::Snapshot(reader.snapshot()?),
        Key::Entry(_) => Record::Entry(reader.entry()?),
        Key::Extent => Record::Extent(read_extent(reader)?),
        Key::Checkpoint => Record::Checkpoint(Checkpoint {
            through: TransactionId(reader.u64()?),
            journal_bytes: reader.u64()?,
            inventory: reader.u32()?,
        }),
        Key::LostEntries => Record::LostEntries(LostEntries {
            acknowledged: LogIndex(reader.u64()?),
            last: LogIndex(reader.u64()?),
        }),
    })
}

fn read_identity(reader: &mut Reader<'_>) -> Result<Identity, DecodeError> {
    let me = reader.peer()?;
    let standing = match reader.u8()? {
        STANDING_JOINING => Standing::Joining,
        STANDING_MEMBER => {
            Standing::Member { cluster: ClusterId(reader.u128()?), joined_at: LogIndex(reader.u64()?) }
        }
        other => return Err(DecodeError::UnknownKind(other)),
    };
    Ok(Identity { me, standing })
}

fn read_settings(reader: &mut Reader<'_>) -> Result<Vec<Setting>, DecodeError> {
    let count = usize::from(reader.u16()?);
    if count > SETTINGS_MAX {
        return Err(DecodeError::TooLong);
    }
    let mut settings = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.text()?.to_owned();
        let value = reader.blob()?;
        let value = std::str::from_utf8(&value).map_err(|_| DecodeError::NotUtf8)?.to_owned();
        settings.push((name, value));
    }
    Ok(settings)
}

fn read_extent(reader: &mut Reader<'_>) -> Result<Extent, DecodeError> {
    let snapshot = reader.option(|reader| Ok((LogIndex(reader.u64()?), Term(reader.u64()?))))?;
    Ok(Extent { snapshot, last_log_index: LogIndex(reader.u64()?) })
}

#[cfg(test)]
mod tests {
    use raft_core::{Incarnation, NodeId, Peer};

    use super::*;
    use crate::storage::testing::{entry, member, settings, snapshot};

    fn encoded(value: &Value<'_>) -> Vec<u8> {
        let mut bytes = vec![0xff; 3];
        value.encode(&mut bytes);
        bytes
    }

    #[test]
    fn every_kind_of_record_comes_back_as_it_was() {
        let joining = Identity { standing: Standing::Joining, ..member() };
        let voted_for = Some(Peer { id: NodeId::new(3).unwrap(), incarnation: Incarnation(9) });
        let hard_state = HardState { current_term: Term(7), voted_for };
        let some = Extent { snapshot: Some((LogIndex(5), Term(2))), last_log_index: LogIndex(8) };
        let none = Extent { snapshot: None, last_log_index: LogIndex(8) };
        let checkpoint =
            Checkpoint { through: TransactionId(u64::MAX), journal_bytes: 1 << 20, inventory: 7 };
        let lost = LostEntries { acknowledged: LogIndex(77), last: LogIndex(27) };
        let (settings, snapshot, entry) = (settings(), snapshot(4, 2), entry(u64::MAX, 3));
        for (value, record) in [
            (Value::Identity(&member()), Record::Identity(member())),
            (Value::Identity(&joining), Record::Identity(joining)),
            (Value::Settings(&settings), Record::Settings(settings.clone())),
            (Value::MapSize(1 << 30), Record::MapSize(1 << 30)),
            (Value::HardState(&hard_state), Record::HardState(hard_state)),
            (Value::Snapshot(&snapshot), Record::Snapshot(snapshot.clone())),
            (Value::Entry(&entry), Record::Entry(entry.clone())),
            (Value::Extent(some), Record::Extent(some)),
            (Value::Extent(none), Record::Extent(none)),
            (Value::Checkpoint(checkpoint), Record::Checkpoint(checkpoint)),
            (Value::LostEntries(lost), Record::LostEntries(lost)),
        ] {
            assert_eq!(decode(value.key(), &encoded(&value)), Ok(record));
        }
    }

    #[test]
    fn a_record_under_another_key_is_found_out() {
        let bytes = encoded(&Value::Entry(&entry(5, 1)));
        assert_eq!(decode(Key::Entry(LogIndex(6)), &bytes), Err(RecordError::Checksum));
        assert_eq!(decode(Key::Snapshot, &bytes), Err(RecordError::Checksum));
    }

    #[test]
    fn the_bytes_of_a_record_are_those_of_the_documented_format() {
        let bytes = encoded(&Value::MapSize(0x0102));
        assert_eq!(bytes[..10], [2, 3, 0, 0, 0, 0, 0, 0, 1, 2]);
        let crc = crc32fast::hash(&[3, 2, 3, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(bytes[10..], crc.to_be_bytes());
        assert_eq!(Key::Entry(LogIndex(0x0102)).to_bytes().as_ref(), [6, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn keys_sort_as_the_log_does_and_come_back_from_their_bytes() {
        let keys = [
            Key::Identity,
            Key::Settings,
            Key::MapSize,
            Key::HardState,
            Key::Snapshot,
            Key::Entry(LogIndex(0)),
            Key::Entry(LogIndex(255)),
            Key::Entry(LogIndex(256)),
            Key::Entry(LogIndex(u64::MAX)),
            Key::Extent,
            Key::Checkpoint,
            Key::LostEntries,
        ];
        assert!(keys.windows(2).all(|pair| pair[0].to_bytes().as_ref() < pair[1].to_bytes().as_ref()));
        for key in keys {
            assert_eq!(Key::from_bytes(key.to_bytes().as_ref()), Some(key));
        }
        for bytes in [&b""[..], &[0], &[10], &[6], &[6; 8], &[6; 10], &[1, 1]] {
            assert_eq!(Key::from_bytes(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn bytes_that_are_too_short_are_no_record() {
        for len in 0..4 {
            assert_eq!(decode(Key::Identity, &vec![0; len]), Err(RecordError::TooShort));
        }
        for body in [&[][..], &[FORMAT_VERSION]] {
            let mut bytes = body.to_vec();
            bytes.put_u32(checksum(Key::Identity.to_bytes().as_ref(), body));
            assert_eq!(decode(Key::Identity, &bytes), Err(RecordError::TooShort));
        }
    }

    #[test]
    fn a_record_with_a_sound_checksum_and_any_other_bytes_is_read_without_a_panic() {
        let keys = [
            Key::Identity,
            Key::Settings,
            Key::HardState,
            Key::Snapshot,
            Key::Entry(LogIndex(1)),
            Key::Extent,
        ];
        let (settings, snapshot, entry) = (settings(), snapshot(4, 2), entry(1, 3));
        let samples = [
            encoded(&Value::Identity(&member())),
            encoded(&Value::Settings(&settings)),
            encoded(&Value::HardState(&HardState::default())),
            encoded(&Value::Snapshot(&snapshot)),
            encoded(&Value::Entry(&entry)),
            encoded(&Value::Extent(Extent::default())),
        ];
        let mut refused = 0;
        for (key, sample) in keys.into_iter().zip(&samples) {
            let body = &sample[..sample.len() - CHECKSUM_BYTES];
            for position in 0..body.len() {
                for byte in [0, 1, 0x7f, 0xff] {
                    let mut bytes = body.to_vec();
                    bytes[position] = byte;
                    let crc = checksum(key.to_bytes().as_ref(), &bytes);
                    bytes.put_u32(crc);
                    refused += usize::from(decode(key, &bytes).is_err());
                }
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
