//! Journals that no life has written and that no disk damage produces, because their checksums are right:
//! each gives an error, or contents as valid as any. A store continues with them, and opens again with the
//! same contents.
//!
//! The checksum of a sector, like that of a record, keeps almost all damage from the code behind it, and a
//! fuzzer as well. So here a journal is taken apart, down to the changes of its transactions; they are
//! modified, put into sectors, which are modified as well, and everything gets checksums that match.

use std::sync::{Arc, OnceLock};

use raft_core::{HardState, LogIndex, Term, Write};
use ticketd::storage::{Contents, MAP_BYTES_MIN, SECTOR_BYTES, Step, Value};

use super::super::memory::{
    BLOCK_BYTES, CHECKPOINT, Memory, Told, entry, identity, nothing, settings, snapshot,
};

/// The length of the journal, in blocks.
const BLOCKS: usize = 8;
const BLOCK_SECTORS: usize = BLOCK_BYTES / SECTOR_BYTES;
const CHECKSUM_BYTES: usize = 4;
/// Where a sector holds its format, part, length, number, the number before, and its payload.
const VERSION_AT: usize = 4;
const PART_AT: usize = 5;
const LENGTH_AT: usize = 7;
const ID_AT: usize = 11;
const AFTER_AT: usize = 19;
const PAYLOAD_AT: usize = 27;
const PAYLOAD_BYTES: usize = SECTOR_BYTES - PAYLOAD_AT;

const FORMAT_VERSION: u8 = 2;
const DELETE: u8 = 0;
const PUT: u8 = 1;
/// The table whose keys contain an index.
const ENTRY_TABLE: u8 = 6;

/// The kinds of steps that change transactions; all others change sectors.
const KINDS_OF_CHANGES: u8 = 16;

/// Treats `data` as a list of modifications, in steps of five bytes.
pub(super) fn check(data: &[u8]) {
    let steps = || data.chunks_exact(5).map(|step| [step[0], step[1], step[2], step[3], step[4]]);
    let mut forged = sound().clone();
    for step in steps().filter(|step| step[0] % 32 < KINDS_OF_CHANGES) {
        forged.change(step);
    }
    let mut sectors = forged.sectors();
    for step in steps().filter(|step| step[0] % 32 >= KINDS_OF_CHANGES) {
        change_sectors(&mut sectors, step);
    }
    let mut memory = forged.memory;
    memory.journal = sealed(&sectors);
    match memory.open() {
        Ok(contents) => check_goes_on(memory, &Told::by_contents(&contents)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Everything written from now on is there, through two checkpoints, and what is half written is not.
fn check_goes_on(mut memory: Memory, told: &Told) {
    let mut told = told.clone();
    let mut contents = memory.open().expect("it has just been opened");
    let mut recorder = contents.recorder();
    let mut checkpoints = 0;
    for round in 0.. {
        assert_eq!(Told::by_contents(&contents), told, "round {round}");
        if checkpoints == 2 {
            break;
        }
        let next = next_write(&told, round);
        let mut unfinished = memory.clone();
        match recorder.clone().write(std::slice::from_ref(&next)) {
            Step::Append { offset, bytes } => {
                let bytes = &bytes[..bytes.len() - SECTOR_BYTES];
                unfinished.carry_out(Step::Append { offset, bytes });
            }
            Step::Checkpoint(_) => checkpoints += 1,
        }
        let Some(opened) = reopened(&unfinished) else { return };
        assert_eq!(Told::by_contents(&opened), told, "round {round}, not finished");
        // What is left of it is in the way of the next life.
        if round % 3 == 1 {
            memory = unfinished;
            recorder = opened.recorder();
        }
        memory.carry_out(recorder.write(std::slice::from_ref(&next)));
        told.apply(&next);
        let Some(opened) = reopened(&memory) else { return };
        contents = opened;
        if round % 2 == 0 {
            recorder = contents.recorder();
        }
    }
}

/// The contents of a store that was sound before it was written to; `None` if it has reached an impossible
/// transaction number because a forged number was just below the limit.
fn reopened(memory: &Memory) -> Option<Contents> {
    match memory.open() {
        Ok(contents) => Some(contents),
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("no store has come to transaction"), "it does not stay sound: {said}");
            None
        }
    }
}

/// A write that a core could make, whatever is there; sometimes one of several blocks.
fn next_write(told: &Told, round: u64) -> Write {
    let last = told.recovered.last().0.0;
    let term = told.recovered.hard_state.current_term.0;
    if last == u64::MAX {
        return nothing(round);
    }
    let command_bytes = if round % 4 == 2 { 4096 } else { 8 };
    Write { entries: vec![entry(last + 1, term, command_bytes, round)], ..nothing(round) }
}

/// A journal taken apart, and the data file that goes with it.
#[derive(Clone)]
struct Forged {
    memory: Memory,
    transactions: Vec<Vec<Change>>,
    /// All keys and bodies that occur, to be put in other places.
    known: Vec<Change>,
}

/// One change of a transaction.
#[derive(Clone)]
struct Change {
    kind: u8,
    key: Vec<u8>,
    /// The record without its checksum; meaningless if the record is removed.
    body: Vec<u8>,
    /// Whether the checksum is to be right.
    is_sound: bool,
    /// Bytes that follow and are not a change.
    rest: Vec<u8>,
}

impl Forged {
    /// Modifies the transactions, or the record of how far the data file goes.
    fn change(&mut self, [kind, which, at, value, other]: [u8; 5]) {
        let number = usize::from(which >> 4) % self.transactions.len().max(1);
        let known = self.known[usize::from(value) % self.known.len()].clone();
        let Some(transaction) = self.transactions.get_mut(number) else { return };
        let place = usize::from(which & 0xf) % transaction.len().max(1);
        match kind % KINDS_OF_CHANGES {
            0 => self.go_on_from(value),
            1 => drop(self.transactions.remove(number)),
            2 => {
                let copy = transaction.clone();
                self.transactions.insert(usize::from(value) % (number + 1), copy);
            }
            3 => transaction.clear(),
            4 => transaction.insert(place, known),
            5 => transaction.push(known),
            _ => {
                let Some(change) = transaction.get_mut(place) else { return };
                if kind % KINDS_OF_CHANGES == 6 {
                    transaction.remove(place);
                } else {
                    change.change([kind, at, value, other], &known);
                }
            }
        }
    }

    /// The data file now claims another last transaction: an earlier one, or one of the last that are
    /// possible.
    fn go_on_from(&mut self, value: u8) {
        let record = self.memory.records.get_mut(CHECKPOINT).expect("no step removes it");
        let through = u64::from_be_bytes(*record[2..].first_chunk().expect("its first field"));
        let through = through.wrapping_add_signed(i64::from(value.cast_signed()));
        record[2..10].copy_from_slice(&through.to_be_bytes());
        record.truncate(record.len() - CHECKSUM_BYTES);
        let checksum = crc32fast::hash(&[CHECKPOINT, record].concat());
        record.extend(checksum.to_be_bytes());
    }

    /// The transactions in order, as far as there is room.
    fn sectors(&self) -> Vec<Sector> {
        let record = &self.memory.records[CHECKPOINT];
        let mut id = u64::from_be_bytes(*record[2..].first_chunk().expect("its first field"));
        let mut sectors = Vec::new();
        for transaction in &self.transactions {
            let bytes: Vec<u8> = transaction.iter().flat_map(Change::bytes).collect();
            let after = id;
            id = id.wrapping_add(1);
            let count = bytes.len().div_ceil(PAYLOAD_BYTES).max(1).next_multiple_of(BLOCK_SECTORS);
            let mut payloads = bytes.chunks(PAYLOAD_BYTES);
            for part in 0..count {
                let payload = payloads.next().unwrap_or_default();
                sectors.push(Sector::new(number(part), number(bytes.len()), id, after, payload));
            }
        }
        sectors.resize(BLOCKS * BLOCK_SECTORS, Sector::new(0, 0, 0, 0, &[]));
        sectors
    }
}

impl Change {
    /// Modifies this change.
    fn change(&mut self, [kind, at, value, other]: [u8; 4], known: &Change) {
        let body = &mut self.body;
        let at = usize::from(at) % body.len().max(1);
        match kind % KINDS_OF_CHANGES {
            7 => body.iter_mut().skip(at).take(1).for_each(|byte| *byte = byte.wrapping_add(value)),
            8 => body.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
            9 => body.truncate(body.len() - usize::from(value) % (body.len() + 1)),
            10 => body.extend(std::iter::repeat_n(value, usize::from(other))),
            11 => self.key.clone_from(&known.key),
            12 => {
                let at = usize::from(other) % self.key.len().max(1);
                self.key.iter_mut().skip(at).take(1).for_each(|byte| *byte = byte.wrapping_add(value));
            }
            13 => self.kind = value % 3,
            14 => self.is_sound = false,
            _ => self.rest = vec![value; usize::from(other) % 40],
        }
    }

    /// Takes the first change off the bytes of a transaction.
    fn read(bytes: &mut &[u8]) -> Change {
        let mut take = |count: usize| {
            let (taken, rest) = bytes.split_at(count);
            *bytes = rest;
            taken.to_vec()
        };
        let (kind, mut key, mut body) = (take(1)[0], take(1), Vec::new());
        if key == [ENTRY_TABLE] {
            key.extend(take(8));
        }
        if kind == PUT {
            let length = u32::from_be_bytes(*take(4).first_chunk().expect("four bytes"));
            body = take(length as usize);
            body.truncate(body.len() - CHECKSUM_BYTES);
        }
        Change { kind, key, body, is_sound: true, rest: Vec::new() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&[self.kind], &self.key[..]].concat();
        if self.kind != DELETE {
            let checksum = crc32fast::hash(&[&self.key[..], &self.body].concat()) ^ u32::from(!self.is_sound);
            let length: u32 = number(self.body.len() + CHECKSUM_BYTES);
            bytes.extend(length.to_be_bytes());
            bytes.extend_from_slice(&self.body);
            bytes.extend(checksum.to_be_bytes());
        }
        bytes.extend_from_slice(&self.rest);
        bytes
    }
}

#[derive(Clone)]
struct Sector {
    bytes: [u8; SECTOR_BYTES],
    /// Whether the checksum is to be right.
    is_sound: bool,
}

impl Sector {
    fn new(part: u16, length: u32, id: u64, after: u64, payload: &[u8]) -> Sector {
        let mut bytes = [0; SECTOR_BYTES];
        bytes[VERSION_AT] = FORMAT_VERSION;
        bytes[PART_AT..LENGTH_AT].copy_from_slice(&part.to_be_bytes());
        bytes[LENGTH_AT..ID_AT].copy_from_slice(&length.to_be_bytes());
        bytes[ID_AT..AFTER_AT].copy_from_slice(&id.to_be_bytes());
        bytes[AFTER_AT..PAYLOAD_AT].copy_from_slice(&after.to_be_bytes());
        bytes[PAYLOAD_AT..][..payload.len()].copy_from_slice(payload);
        Sector { bytes, is_sound: true }
    }
}

/// Modifies the sectors.
fn change_sectors(sectors: &mut Vec<Sector>, [kind, which, at, value, other]: [u8; 5]) {
    let count = sectors.len();
    if count == 0 {
        return;
    }
    let which = usize::from(which) % count;
    let block = which / BLOCK_SECTORS * BLOCK_SECTORS;
    match kind % 8 {
        0 => sectors[which].bytes[VERSION_AT + usize::from(at) % (SECTOR_BYTES - VERSION_AT)] = value,
        // A field of the head, in one sector or in a whole block.
        1 => add(&mut sectors[which..=which], at, value, other),
        2 => add(&mut sectors[block..(block + BLOCK_SECTORS).min(count)], at, value, other),
        // A sector or a block in place of another.
        3 => sectors[usize::from(other) % count] = sectors[which].clone(),
        4 => {
            let to = usize::from(other) % count / BLOCK_SECTORS * BLOCK_SECTORS;
            for part in 0..BLOCK_SECTORS.min(count - to.max(block)) {
                sectors[to + part] = sectors[block + part].clone();
            }
        }
        5 => sectors[which].is_sound = false,
        6 => sectors[which] = Sector::new(0, 0, 0, 0, &[]),
        _ if value < 128 => sectors.truncate(which),
        _ => sectors.resize(count + usize::from(value % 16), Sector::new(0, 0, 0, 0, &[])),
    }
}

/// Adds to a field of each sector.
fn add(sectors: &mut [Sector], field: u8, value: u8, other: u8) {
    let value = i64::from(value.cast_signed());
    let range = [PART_AT..LENGTH_AT, LENGTH_AT..ID_AT, ID_AT..AFTER_AT, AFTER_AT..PAYLOAD_AT];
    let range = range[usize::from(field % 4)].clone();
    for sector in sectors {
        let field = &mut sector.bytes[range.clone()];
        let mut wide = [0; 8];
        wide[8 - field.len()..].copy_from_slice(field);
        // Reaches the other half of the range as well.
        let sum = u64::from_be_bytes(wide).wrapping_add_signed(value) ^ u64::from(other % 2) << 63;
        field.copy_from_slice(&sum.to_be_bytes()[8 - field.len()..]);
    }
}

/// The bytes of the sectors, with their checksums.
fn sealed(sectors: &[Sector]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(sectors.len() * SECTOR_BYTES);
    for (number, sector) in (0u64..).zip(sectors) {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&identity().me.incarnation.0.to_be_bytes());
        hasher.update(&number.to_be_bytes());
        hasher.update(&sector.bytes[CHECKSUM_BYTES..]);
        let checksum = hasher.finalize() ^ u32::from(!sector.is_sound);
        bytes.extend(checksum.to_be_bytes());
        bytes.extend_from_slice(&sector.bytes[CHECKSUM_BYTES..]);
    }
    bytes
}

/// A journal with some transactions of each kind, taken apart.
fn sound() -> &'static Forged {
    static SOUND: OnceLock<Forged> = OnceLock::new();
    SOUND.get_or_init(|| {
        let hard_state = HardState { current_term: Term(1), voted_for: None };
        let memory = Memory::new(&hard_state, &snapshot(1, 1), BLOCKS);
        let mut recorder = memory.open().expect("a new store is sound").recorder();
        let (settings, identity) = (settings(), identity());
        let hard_state = HardState { current_term: Term(3), voted_for: Some(identity.me) };
        let entries = |from: u64, to: u64| (from..=to).map(|index| entry(index, 3, 8, index)).collect();
        let of_write = [
            Write { hard_state: Some(hard_state), entries: entries(2, 5), ..nothing(1) },
            Write {
                truncate_from: Some(LogIndex(5)),
                // A transaction of two blocks.
                entries: vec![entry(5, 3, 4096, 5), entry(6, 3, 8, 6)],
                ..nothing(2)
            },
            Write { snapshot: Some(Arc::new(snapshot(3, 3))), ..nothing(3) },
        ];
        let mut transactions: Vec<Vec<Change>> =
            of_write.map(|write| taken_apart(&recorder.write(&[write]))).into();
        let of_value =
            [Value::Settings(&settings), Value::Identity(&identity), Value::MapSize(MAP_BYTES_MIN)];
        transactions.extend(of_value.map(|value| taken_apart(&recorder.put(value))));
        let of_record = |(key, record): (&Vec<u8>, &Vec<u8>)| {
            let body = record[..record.len() - CHECKSUM_BYTES].to_vec();
            Change { kind: PUT, key: key.clone(), body, is_sound: true, rest: Vec::new() }
        };
        let known =
            memory.records.iter().map(of_record).chain(transactions.iter().flatten().cloned()).collect();
        Forged { memory, transactions, known }
    })
}

/// The changes of a transaction that goes to the journal.
fn taken_apart(step: &Step<'_>) -> Vec<Change> {
    let Step::Append { bytes, .. } = step else { panic!("there is room for all of them") };
    let length = u32::from_be_bytes(*bytes[LENGTH_AT..].first_chunk().expect("a sector is longer"));
    let payloads = bytes.chunks_exact(SECTOR_BYTES).flat_map(|sector| &sector[PAYLOAD_AT..]);
    let transaction: Vec<u8> = payloads.copied().take(length as usize).collect();
    let mut rest = &transaction[..];
    let mut changes = Vec::new();
    while !rest.is_empty() {
        changes.push(Change::read(&mut rest));
    }
    changes
}

fn number<N: TryFrom<usize>>(count: usize) -> N {
    N::try_from(count).ok().expect("a journal is short")
}
