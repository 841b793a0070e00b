//! The lives of a node's store, each ended by anything that can end a process, a system or a disk: what was
//! acknowledged is there in the next life, and what was not is there as a whole or not at all.
//!
//! The disk is as bad as a disk may be. After a power cut, each sector that was written and not synced may or
//! may not be there, and so it is after a failed sync; in that case the system shows what the disk does not
//! have, and may forget it at any time. A process may be killed in the middle of a write. At the end of a
//! run, the disk may also do what no disk may: lose a write that it has synced, or let a bit rot.

use std::ops::Range;
use std::sync::Arc;

use raft_core::{HardState, LogIndex, Snapshot, Term, Write};
use ticketd::identity::Standing;
use ticketd::storage::{Recorder, SECTOR_BYTES, Step, Value};

use super::super::bytes::Bytes;
use super::super::memory::{
    BLOCK_BYTES, Memory, Records, Told, entry, identity, nothing, settings, snapshot,
};

/// The longest journal, in blocks.
const BLOCKS_MAX: u8 = 6;
/// The longest log before it is compacted.
const LOG_MAX: usize = 48;
/// Where a sector holds the number of its part of the transaction.
const PART_AT: usize = 5;
/// The most events, so that a run ends soon.
const EVENTS_MAX: usize = 400;

/// Treats `data` as a sequence of events.
pub(super) fn check(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut world = World::new(usize::from(1 + bytes.below(BLOCKS_MAX)));
    let rot = [bytes.byte(), bytes.byte(), bytes.byte()];
    for _ in 0..EVENTS_MAX {
        if bytes.is_empty() {
            break;
        }
        world.event(&mut bytes);
    }
    world.open();
    world.rot(rot);
}

struct World {
    disk: Disk,
    /// The recorder of the current life.
    recorder: Option<Recorder>,
    /// What the store must hold.
    told: Told,
    /// What it may hold instead, until it is opened again: the state with the unacknowledged transaction.
    perhaps: Option<Change>,
    /// The state before the last transaction.
    before: Option<Told>,
    /// The records of the data file before its last change.
    before_checkpoint: Option<Records>,
    writes: u64,
}

/// A transaction: the state after it, and the records of the data file before it, if it changes them.
struct Change {
    after: Told,
    before_checkpoint: Option<Records>,
}

impl World {
    fn new(blocks: usize) -> World {
        let hard_state = HardState { current_term: Term(1), voted_for: None };
        let memory = Memory::new(&hard_state, &snapshot(1, 1), blocks);
        let contents = memory.open().expect("a new store is sound");
        World {
            told: Told::by_contents(&contents),
            disk: Disk::new(memory),
            recorder: Some(contents.recorder()),
            perhaps: None,
            before: None,
            before_checkpoint: None,
            writes: 0,
        }
    }

    fn event(&mut self, bytes: &mut Bytes<'_>) {
        if let Some(recorder) = self.recorder.take() {
            return self.transaction(recorder, bytes);
        }
        match bytes.below(8) {
            0 => self.disk.cut_power(bytes),
            1 => self.disk.forget(usize::from(bytes.byte())),
            2 => self.disk.write_out(bytes),
            // The next life ends before it has really begun.
            3 => self.disk.settle_data(),
            4 => {
                self.disk.settle_data();
                let last = self.last_in_journal();
                self.disk.begin_to_settle(last);
            }
            5 => {
                self.disk.settle_data();
                let last = self.last_in_journal();
                self.disk.begin_to_settle(last);
                self.disk.fail_sync(bytes);
            }
            _ => self.open(),
        }
    }

    /// Where in the journal the last transaction is: right before the place of the next one, with as many
    /// sectors as the last of them says.
    fn last_in_journal(&self) -> Range<usize> {
        let shown = &self.disk.shown;
        let contents = shown.open().expect("a store that was not damaged");
        let end = match contents.recorder().write(&[nothing(1)]) {
            Step::Append { offset, bytes: _ } => usize::try_from(offset).expect("64-bit machines only"),
            Step::Checkpoint(_) => shown.journal.len(),
        };
        let Some(last_sector) = end.checked_sub(SECTOR_BYTES) else { return 0..0 };
        let part = shown.journal[last_sector + PART_AT..].first_chunk().expect("a sector is longer");
        last_sector - usize::from(u16::from_be_bytes(*part)) * SECTOR_BYTES..end
    }

    /// A process opens the store, as the program's next process would.
    fn open(&mut self) {
        self.disk.settle_data();
        let contents = self.disk.shown.open().expect("a store that was not damaged");
        let last = self.last_in_journal();
        self.disk.begin_to_settle(last);
        self.disk.sync();
        let found = Told::by_contents(&contents);
        match self.perhaps.take() {
            // The transaction changes nothing, so whether it is there does not show, nor what would be there
            // without it.
            Some(change) if change.after == self.told => {
                assert_eq!(found, self.told);
                if change.before_checkpoint.is_some() {
                    self.before_checkpoint = None;
                }
            }
            Some(change) if change.after == found => self.made(change),
            Some(_) | None => assert_eq!(found, self.told),
        }
        self.recorder = Some(contents.recorder());
    }

    /// From now on the store must hold this change.
    fn made(&mut self, Change { after, before_checkpoint }: Change) {
        self.before = Some(std::mem::replace(&mut self.told, after));
        if before_checkpoint.is_some() {
            self.before_checkpoint = before_checkpoint;
        }
    }

    fn transaction(&mut self, mut recorder: Recorder, bytes: &mut Bytes<'_>) {
        let mut after = self.told.clone();
        let record;
        let writes;
        let step = match bytes.below(12) {
            0 => {
                after.settings = settings();
                after.settings.push(("window".to_owned(), bytes.byte().to_string()));
                record = after.settings.clone();
                recorder.put(Value::Settings(&record))
            }
            1 => {
                after.identity.standing = Standing::Joining;
                if bytes.flag() {
                    after.identity = identity();
                }
                recorder.put(Value::Identity(&after.identity))
            }
            _ => {
                writes = self.some_writes(&mut after, bytes);
                recorder.write(&writes)
            }
        };
        let is_checkpoint = matches!(step, Step::Checkpoint(_));
        let before_checkpoint = is_checkpoint.then(|| self.disk.shown.records.clone());
        let lives_on = match step {
            Step::Append { offset, bytes: sectors } => {
                let offset = usize::try_from(offset).expect("64-bit machines only");
                self.disk.append(offset, sectors, bytes)
            }
            Step::Checkpoint(_) => self.disk.checkpoint(step, bytes),
        };
        let change = Change { after, before_checkpoint };
        if !lives_on {
            self.perhaps = Some(change);
            return;
        }
        self.made(change);
        let contents = self.disk.shown.open().expect("a store that was not damaged");
        assert_eq!(Told::by_contents(&contents), self.told, "after a step");
        self.recorder = Some(if bytes.flag() { contents.recorder() } else { recorder });
    }

    /// One to three writes of one transaction, and their effect on the state.
    fn some_writes(&mut self, told: &mut Told, bytes: &mut Bytes<'_>) -> Vec<Write> {
        let mut writes = Vec::new();
        for _ in 0..1 + bytes.below(8).saturating_sub(5) {
            self.writes += 1;
            let write = if told.recovered.entries.len() > LOG_MAX {
                let to =
                    Arc::new(snapshot(told.recovered.last().0.0, told.recovered.hard_state.current_term.0));
                Write { snapshot: Some(to), ..nothing(self.writes) }
            } else {
                some_write(told, self.writes, bytes)
            };
            told.apply(&write);
            writes.push(write);
        }
        writes
    }

    /// Does what no disk may do, and some disks do. It must always be detected, unless it only takes back the
    /// last transaction as if that had not been finished.
    fn rot(&self, [kind, at, which]: [u8; 3]) {
        let Disk { durable, lost, .. } = &self.disk;
        let mut rotten = durable.clone();
        match kind % 4 {
            0 => {
                let at = (usize::from(at) * SECTOR_BYTES + 2 * usize::from(which)) % rotten.journal.len();
                rotten.journal[at] ^= 1 << (kind / 4 % 8);
                rotten.open().expect_err("a sector that has rotted");
            }
            // Some sectors of the last write to a block are missing.
            1 => {
                let at = usize::from(at) * BLOCK_BYTES % rotten.journal.len();
                let block = at..at + BLOCK_BYTES;
                mix(&mut rotten.journal[block.clone()], &lost[block], which);
                self.check_taken_back(&rotten);
            }
            // The last change of the data file is missing.
            2 => {
                let Some(before) = &self.before_checkpoint else { return };
                rotten.records.clone_from(before);
                self.check_taken_back(&rotten);
            }
            _ => {
                assert_eq!(rotten.open().map(|contents| Told::by_contents(&contents)), Ok(self.told.clone()))
            }
        }
    }

    fn check_taken_back(&self, rotten: &Memory) {
        let Ok(contents) = rotten.open() else { return };
        let found = Told::by_contents(&contents);
        assert!(found == self.told || Some(&found) == self.before.as_ref(), "a wrong answer: {found:?}");
    }
}

fn some_write(told: &Told, id: u64, bytes: &mut Bytes<'_>) -> Write {
    let HardState { current_term, voted_for } = told.recovered.hard_state;
    let (base, last) = (told.recovered.base().0.0, told.recovered.last().0.0);
    let kind = bytes.below(8);
    match kind {
        0 => {
            let current_term = Term(current_term.0 + 1);
            Write { hard_state: Some(HardState { current_term, voted_for: None }), ..nothing(id) }
        }
        1 => {
            let voted_for = Some(voted_for.unwrap_or(identity().me));
            Write { hard_state: Some(HardState { current_term, voted_for }), ..nothing(id) }
        }
        // A snapshot of an entry that is there, the last or an earlier one, or of one that is not there yet.
        2 => {
            let to = base + u64::from(bytes.byte()) % (last - base + 2);
            let term = told.recovered.entries.iter().find(|entry| entry.index.0 == to);
            let of_snapshot = |snapshot: &Arc<Snapshot>| snapshot.last_included_term;
            let of_base = told.recovered.snapshot.as_ref().filter(|_| to == base).map(of_snapshot);
            let term = term.map(|entry| entry.term).or(of_base).unwrap_or(current_term);
            Write { snapshot: Some(Arc::new(snapshot(to, term.0))), ..nothing(id) }
        }
        3 => {
            let from = (base + 1).max((last + 1).saturating_sub(u64::from(bytes.below(8))));
            let entries = vec![entry(from, current_term.0, 20, id)];
            Write { truncate_from: Some(LogIndex(from)), entries, ..nothing(id) }
        }
        4 => nothing(id),
        // A few small entries; or large ones, which take several blocks or more than the journal has.
        _ => {
            let (many, length) = if kind == 7 { (6, 4096) } else { (3, 20) };
            let count = 1 + u64::from(bytes.below(many));
            let entries = (last + 1..=last + count).map(|index| entry(index, current_term.0, length, id));
            Write { entries: entries.collect(), ..nothing(id) }
        }
    }
}

/// A disk, and the system's cache in front of it.
struct Disk {
    /// What survives a power cut.
    durable: Memory,
    /// What a reader sees.
    shown: Memory,
    /// Which blocks of the journal a sync brings to the disk. After a failed sync, the others may differ from
    /// what the disk has.
    dirty: Vec<bool>,
    /// The journal without the last write to each block.
    lost: Vec<u8>,
}

impl Disk {
    fn new(memory: Memory) -> Disk {
        let blocks = memory.journal.len() / BLOCK_BYTES;
        let lost = memory.journal.clone();
        Disk { durable: memory.clone(), shown: memory, dirty: vec![false; blocks], lost }
    }

    /// Returns whether the process survives: then the sectors are durable.
    fn append(&mut self, offset: usize, sectors: &[u8], bytes: &mut Bytes<'_>) -> bool {
        let outcome = bytes.below(8);
        let written = if outcome == 4 {
            usize::from(bytes.byte()) % (sectors.len() / SECTOR_BYTES) * SECTOR_BYTES
        } else {
            sectors.len()
        };
        if outcome != 3 {
            self.write(offset, &sectors[..written]);
        }
        match outcome {
            // Killed before, during or after the write.
            3..=5 => return false,
            6 => self.fail_sync(bytes),
            7 => self.cut_power(bytes),
            _ => self.sync(),
        }
        outcome < 3
    }

    /// Returns whether the process survives: then all of the step is durable. The data file is changed as a
    /// whole or not at all.
    fn checkpoint(&mut self, step: Step<'_>, bytes: &mut Bytes<'_>) -> bool {
        let mut after = self.shown.clone();
        after.carry_out(step);
        let outcome = bytes.below(8);
        // Killed, or a failure: what is shown and what the disk has may differ until it is settled.
        let (shown, durable) = match outcome {
            4 => (false, false),
            5 => (true, false),
            6 => (false, true),
            _ => (true, true),
        };
        if shown {
            self.shown.records.clone_from(&after.records);
        }
        if durable {
            self.durable.records = after.records;
        }
        outcome < 4
    }

    fn write(&mut self, offset: usize, sectors: &[u8]) {
        let range = offset..offset + sectors.len();
        for block in range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES) {
            let block_range = block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES;
            self.lost[block_range.clone()].copy_from_slice(&self.shown.journal[block_range]);
            self.dirty[block] = true;
        }
        self.shown.journal[range].copy_from_slice(sectors);
    }

    fn sync(&mut self) {
        for block in self.take_dirty() {
            self.durable.journal[block.clone()].copy_from_slice(&self.shown.journal[block]);
        }
    }

    /// The system considers what it has written clean, and the disk has only some sectors of it.
    fn fail_sync(&mut self, bytes: &mut Bytes<'_>) {
        for block in self.take_dirty() {
            mix(&mut self.durable.journal[block.clone()], &self.shown.journal[block], bytes.byte());
        }
    }

    fn take_dirty(&mut self) -> Vec<Range<usize>> {
        let clean = vec![false; self.dirty.len()];
        let dirty = std::mem::replace(&mut self.dirty, clean);
        let blocks = dirty.into_iter().enumerate().filter(|(_, is_dirty)| *is_dirty);
        blocks.map(|(block, _)| block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES).collect()
    }

    /// The system brings some sectors to the disk on its own, which it may do at any time.
    fn write_out(&mut self, bytes: &mut Bytes<'_>) {
        let dirty = self.dirty.clone();
        self.fail_sync(bytes);
        self.dirty = dirty;
    }

    /// The system evicts a block that it considers clean.
    fn forget(&mut self, block: usize) {
        let block = block % self.dirty.len();
        if !self.dirty[block] {
            let range = block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES;
            self.shown.journal[range.clone()].copy_from_slice(&self.durable.journal[range]);
        }
    }

    fn cut_power(&mut self, bytes: &mut Bytes<'_>) {
        self.fail_sync(bytes);
        self.shown = self.durable.clone();
    }

    /// Writes the data file as it is shown.
    fn settle_data(&mut self) {
        self.durable.records.clone_from(&self.shown.records);
    }

    /// Writes the last transaction in the journal as it is shown, without syncing it yet.
    fn begin_to_settle(&mut self, last: Range<usize>) {
        self.dirty[last.start / BLOCK_BYTES..last.end / BLOCK_BYTES].fill(true);
    }
}

/// Takes the sectors whose bits are set from `others`.
fn mix(sectors: &mut [u8], others: &[u8], taken: u8) {
    let pairs = sectors.chunks_exact_mut(SECTOR_BYTES).zip(others.chunks_exact(SECTOR_BYTES));
    for (number, (sector, other)) in pairs.enumerate() {
        if taken >> (number % 8) & 1 == 1 {
            sector.copy_from_slice(other);
        }
    }
}
