//! A damaged store: it gives an error or the truth, never a wrong answer, and kills no process.
//!
//! One kind of damage looks like a commit that was never finished, and gives what was true before the last
//! transaction: see `docs/storage-format.rst`. A meta page whose transaction number has changed may do that,
//! and nothing else may; and only if the last transaction is the one that brought the journal to the data
//! file. If the last transaction is in the journal, an older data file lacks what the journal says was
//! durable.

use std::fs;
use std::sync::{Arc, OnceLock};

use raft_core::{Entry, HardState, LogIndex, Term, Write};
use ticketd::storage::{MAP_BYTES_MIN, Store, verify};

use super::directory::Directory;
use super::memory::{BLOCK_BYTES, Memory, Told, entry, identity, nothing, snapshot};

/// The size of LMDB's pages on the machines in use; on others the damage merely falls elsewhere.
const PAGE_BYTES: usize = 4096;
/// Where a meta page holds the number of its transaction: after the page's header and the descriptions of
/// both trees.
const TRANSACTION_AT: usize = 16 + 24 + 2 * 48 + 8;
/// How many entries have been written to the store: enough for a tree of more than one page.
const ENTRIES: u64 = 120;
/// The length of the journal, in blocks: some transactions wait in it, and soon one goes to the data file.
const BLOCKS: usize = 4;
/// How many writes follow on a store that was opened: some go to the data file.
const WRITES_AFTER: u64 = 24;
/// No damage makes a file longer than this, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Bits of the first byte, and of that of each step, beside the kind of damage: to which store, and to which
/// of its files.
const CHECKPOINTED: u8 = 0x40;
const OF_JOURNAL: u8 = 0x80;

/// Treats `data` as damage to the files of a store, in steps of five bytes.
pub fn check(data: &[u8]) {
    let is_checkpointed = data.first().is_some_and(|kind| kind & CHECKPOINTED != 0);
    let [journalled, checkpointed] = sound();
    let sound = if is_checkpointed { checkpointed } else { journalled };
    let (mut file, mut journal) = (sound.file.clone(), sound.journal.clone());
    for step in data.chunks_exact(5) {
        let damaged = if step[0] & OF_JOURNAL == 0 { &mut file } else { &mut journal };
        damage(damaged, [step[0], step[1], step[2], step[3], step[4]]);
    }
    let dir = Directory::new();
    fs::write(dir.data(), &file).expect("the temporary directory can be written to");
    fs::write(dir.journal(), &journal).expect("the temporary directory can be written to");
    let verified = verify(dir.path());
    match Store::open(dir.path()) {
        Ok(store) => {
            let findings = verified.as_ref().map(ToString::to_string);
            assert!(findings.is_ok_and(|text| !text.is_empty()), "opened, though {verified:?}");
            let told = Told::by(&store);
            let older = Some(&told) == sound.before.as_ref() && looks_unfinished(&sound.file, &file);
            let truth = told == sound.told || older;
            assert!(truth, "a wrong answer: {} entries", told.recovered.entries.len());
            check_goes_on(store, &dir, told);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(verified.is_err(), "verified, but {error}");
        }
    }
}

/// A store that was opened stays sound, whatever is written to it, through several changes of the data file.
fn check_goes_on(mut store: Store, dir: &Directory, mut told: Told) {
    let term = told.recovered.hard_state.current_term.0;
    for round in 0..WRITES_AFTER {
        let last = told.recovered.last().0.0;
        let next = match round % 8 {
            3 => {
                let of = &told.recovered.entries[9];
                Write { snapshot: Some(Arc::new(snapshot(of.index.0, of.term.0))), ..nothing(round) }
            }
            6 => Write { truncate_from: Some(LogIndex(last - 9)), ..nothing(round) },
            _ => Write {
                entries: (1..9).map(|by| with_some_long(last + by, term)).collect(),
                ..nothing(round)
            },
        };
        told.apply(&next);
        write(&mut store, next);
    }
    drop(store);
    verify(dir.path()).expect("what was opened stays sound");
    let mut store = open(dir);
    assert_eq!(Told::by(&store), told);
    store.resize(2 * MAP_BYTES_MIN).expect("a small store can be given more");
    drop(store);
    verify(dir.path()).expect("what was opened stays sound");
    assert_eq!(Told::by(&open(dir)), Told { map_bytes: 2 * MAP_BYTES_MIN, ..told });
}

/// Damages a file.
fn damage(file: &mut Vec<u8>, [kind, page, high, low, value]: [u8; 5]) {
    let pages = file.len().div_ceil(PAGE_BYTES).max(1);
    let page_at = usize::from(page) % pages * PAGE_BYTES;
    let offset = usize::from(u16::from_be_bytes([high, low]));
    let at = page_at + offset % PAGE_BYTES;
    let other = offset % pages * PAGE_BYTES;
    match kind % 8 {
        // A bit, a byte, a word: most damage is small.
        0 => with(file, at, |byte| *byte ^= 1 << (value % 8)),
        1 | 2 => with(file, at, |byte| *byte = value),
        3 => {
            // The fields of a page's header and of its first nodes, where damage does more than spoil a
            // checksum.
            let at = page_at + offset % 256;
            with(file, at & !1, |byte| *byte = value);
            with(file, at | 1, |byte| *byte = 0);
        }
        // A page in place of another, as when a write went astray or was lost.
        4 => file.copy_within_bounds(page_at, other),
        5 => {
            let end = (page_at + PAGE_BYTES).min(file.len());
            file[page_at.min(end)..end].fill(value);
        }
        6 => file.truncate(at),
        _ => file.resize((file.len() + offset).min(FILE_BYTES_MAX), value),
    }
}

fn with(file: &mut [u8], at: usize, change: impl FnOnce(&mut u8)) {
    if let Some(byte) = file.get_mut(at) {
        change(byte);
    }
}

trait CopyPage {
    fn copy_within_bounds(&mut self, from: usize, to: usize);
}

impl CopyPage for Vec<u8> {
    /// Copies a page as far as both places are within the file.
    fn copy_within_bounds(&mut self, from: usize, to: usize) {
        let bytes = PAGE_BYTES.min(self.len() - from.max(to).min(self.len()));
        if bytes > 0 {
            self.copy_within(from..from + bytes, to);
        }
    }
}

/// Whether the transaction number of a meta page differs.
fn looks_unfinished(sound: &[u8], damaged: &[u8]) -> bool {
    [TRANSACTION_AT, PAGE_BYTES + TRANSACTION_AT].iter().any(|at| {
        let number = *at..at + 8;
        sound.get(number.clone()) != damaged.get(number)
    })
}

/// A store as it should be.
struct Sound {
    file: Vec<u8>,
    journal: Vec<u8>,
    told: Told,
    /// The state before the last transaction, if that transaction is in the data file.
    before: Option<Told>,
}

impl Sound {
    fn read(dir: &Directory, before: Option<Told>) -> Sound {
        let read = |path| fs::read(path).expect("the store has just been made");
        let (file, journal) = (read(dir.data()), read(dir.journal()));
        let told = Told::by(&open(dir));
        assert_ne!(before.as_ref(), Some(&told));
        Sound { file, journal, told, before }
    }
}

/// Two stores, made once, with a history of entries written, cut off, compacted and written again: in one,
/// the last transaction is in the journal, after others; in the other, it has just gone to the data file.
fn sound() -> &'static [Sound; 2] {
    static SOUND: OnceLock<[Sound; 2]> = OnceLock::new();
    SOUND.get_or_init(|| {
        let dir = Directory::new();
        let hard_state = HardState { current_term: Term(1), voted_for: None };
        Memory::new(&hard_state, &snapshot(1, 1), BLOCKS).write_to(&dir);
        let mut store = open(&dir);
        for index in 2..ENTRIES {
            write(&mut store, Write { entries: vec![with_some_long(index, 1)], ..nothing(index) });
        }
        let voted_for = Some(identity().me);
        let hard_state = HardState { current_term: Term(3), voted_for };
        write(&mut store, Write { hard_state: Some(hard_state), ..nothing(ENTRIES) });
        write(&mut store, Write { snapshot: Some(Arc::new(snapshot(20, 1))), ..nothing(ENTRIES + 1) });
        drop(store);
        // Until the journal has no room for another. Each write cuts off and appends, so that it matters
        // whether it is read.
        let used = |dir: &Directory| verify(dir.path()).expect("a sound store").journalled;
        let mut from = 90;
        while used(&dir) != BLOCKS {
            from -= 1;
            write(&mut open(&dir), rewrite(from));
        }
        let journalled = Sound::read(&dir, None);
        write(&mut open(&dir), rewrite(from - 1));
        assert_eq!(used(&dir), 0, "the last one goes to the data file, with all of them");
        let checkpointed = Sound::read(&dir, Some(journalled.told.clone()));
        assert_eq!(journalled.journal.len(), BLOCKS * BLOCK_BYTES);
        [journalled, checkpointed]
    })
}

/// Ten entries from there on, replacing all that follow.
fn rewrite(from: u64) -> Write {
    let entries = (from..from + 10).map(|index| with_some_long(index, 3)).collect();
    Write { truncate_from: Some(LogIndex(from)), entries, ..nothing(1) }
}

/// A few are so long that LMDB gives them pages of their own.
fn with_some_long(index: u64, term: u64) -> Entry {
    entry(index, term, if index.is_multiple_of(40) { 3000 } else { 8 }, index)
}

fn open(dir: &Directory) -> Store {
    Store::open(dir.path()).expect("a sound store can be opened")
}

fn write(store: &mut Store, write: Write) {
    store.write(&[write]).expect("a small store has room");
}
