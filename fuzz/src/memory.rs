//! A store in memory: the records of its data file and the bytes of its journal, which may be as short as one
//! block.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use lmdb::{Cursor, Environment, EnvironmentFlags, Transaction, WriteFlags};
use raft_core::{
    Entry, HardState, Incarnation, LogIndex, Member, Membership, NodeId, Payload, Peer, Recovered, Snapshot,
    Suffrage, Term, Write, WriteId,
};
use ticketd::identity::{ClusterId, Identity, Standing};
use ticketd::storage::{
    Collector, Contents, Journal, MAP_BYTES_MIN, NewStore, Setting, Step, Store, StoreError, Value,
};

use super::directory::Directory;

/// The size of a block of the journal, in bytes: every transaction begins with a new one.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// The key of the record that names the last transaction in the data file.
pub(crate) const CHECKPOINT: &[u8] = &[8];

/// The records of a data file, by key, with their checksums.
pub(crate) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a process leaves to the next one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Memory {
    pub(crate) records: Records,
    pub(crate) journal: Vec<u8>,
}

impl Memory {
    /// A new store, with a journal of this many blocks.
    pub(crate) fn new(hard_state: &HardState, snapshot: &Snapshot, blocks: usize) -> Memory {
        let (identity, settings) = (identity(), settings());
        let bytes = u64::try_from(blocks * BLOCK_BYTES).expect("64-bit machines only");
        let new = NewStore {
            identity: &identity,
            settings: &settings,
            map_bytes: MAP_BYTES_MIN,
            hard_state: *hard_state,
            snapshot: Some(snapshot),
        };
        let record = |value: &Value<'_>| {
            let mut record = Vec::new();
            value.encode(&mut record);
            (value.key().to_bytes().as_ref().to_vec(), record)
        };
        let records = new.records(bytes).iter().map(record).collect();
        Memory { records, journal: Journal::blank(identity.me.incarnation, bytes) }
    }

    /// Opens the store and returns its contents.
    pub(crate) fn open(&self) -> Result<Contents, StoreError> {
        let mut collector = Collector::new(Path::new("memory"));
        self.records.iter().try_for_each(|(key, record)| collector.add(key, record))?;
        collector.finish(&self.journal)
    }

    /// Carries out all of a step.
    pub(crate) fn carry_out(&mut self, step: Step<'_>) {
        match step {
            Step::Append { offset, bytes } => {
                let offset = usize::try_from(offset).expect("64-bit machines only");
                self.journal[offset..][..bytes.len()].copy_from_slice(bytes);
            }
            Step::Checkpoint(pending) => {
                for (key, record) in pending.iter() {
                    let key = key.as_ref().to_vec();
                    match record {
                        Some(record) => drop(self.records.insert(key, record.to_vec())),
                        None => drop(self.records.remove(&key)),
                    }
                }
            }
        }
    }

    /// Writes the store to files.
    pub(crate) fn write_to(&self, dir: &Directory) {
        let env = environment(dir);
        let db = env.open_db(None).expect("every environment has this one");
        let mut txn = env.begin_rw_txn().expect("nobody else writes");
        for (key, record) in &self.records {
            txn.put(db, key, record, WriteFlags::empty()).expect("there is room, and keys are short");
        }
        txn.commit().expect("the temporary directory can be written to");
        fs::write(dir.journal(), &self.journal).expect("the temporary directory can be written to");
    }
}

/// The records of a store in a directory.
pub(crate) fn records_of(dir: &Directory) -> Records {
    let env = environment(dir);
    let db = env.open_db(None).expect("every environment has this one");
    let txn = env.begin_ro_txn().expect("the store has just been made");
    let mut cursor = txn.open_ro_cursor(db).expect("the store has just been made");
    let record = |item: Result<(&[u8], &[u8]), lmdb::Error>| {
        let (key, record) = item.expect("the store has just been made");
        (key.to_vec(), record.to_vec())
    };
    cursor.iter().map(record).collect()
}

fn environment(dir: &Directory) -> Environment {
    let flags = EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_LOCK | EnvironmentFlags::NO_SYNC;
    let size = usize::try_from(MAP_BYTES_MIN).expect("16 MiB are addressable");
    let opened = Environment::new().set_flags(flags).set_map_size(size).open(&dir.data());
    opened.expect("the temporary directory can hold a store")
}

/// Everything that a store says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    pub(crate) identity: Identity,
    pub(crate) settings: Vec<Setting>,
    pub(crate) map_bytes: u64,
    pub(crate) recovered: Recovered,
}

impl Told {
    pub(crate) fn by(store: &Store) -> Told {
        Told {
            identity: *store.identity(),
            settings: store.settings().to_vec(),
            map_bytes: store.map_bytes(),
            recovered: store.recovered(),
        }
    }

    pub(crate) fn by_contents(contents: &Contents) -> Told {
        Told {
            identity: contents.identity,
            settings: contents.settings.clone(),
            map_bytes: contents.map_bytes,
            recovered: contents.recovered.clone(),
        }
    }

    /// Applies a write. Its parts apply in the order of its fields.
    pub(crate) fn apply(&mut self, write: &Write) {
        let Recovered { hard_state, snapshot, entries } = &mut self.recovered;
        *hard_state = write.hard_state.unwrap_or(*hard_state);
        if let Some(new) = &write.snapshot {
            entries.retain(|entry| entry.index > new.last_included_index);
            *snapshot = Some(Arc::clone(new));
        }
        if let Some(from) = write.truncate_from {
            entries.retain(|entry| entry.index < from);
        }
        entries.extend(write.entries.iter().cloned());
    }
}

/// A write that changes nothing.
pub(crate) fn nothing(id: u64) -> Write {
    Write { id: WriteId(id), hard_state: None, snapshot: None, truncate_from: None, entries: Vec::new() }
}

/// An entry with a command of this many bytes, which begins with a mark.
pub(crate) fn entry(index: u64, term: u64, command_bytes: usize, mark: u64) -> Entry {
    let mut command = vec![7; command_bytes];
    command.iter_mut().zip(mark.to_be_bytes()).for_each(|(at, byte)| *at = byte);
    Entry { index: LogIndex(index), term: Term(term), payload: Payload::Command(command.into()) }
}

pub(crate) fn snapshot(index: u64, term: u64) -> Snapshot {
    Snapshot {
        last_included_index: LogIndex(index),
        last_included_term: Term(term),
        membership: sole_member(identity().me),
        state: index.to_be_bytes().into(),
    }
}

/// The membership of a cluster of this node alone.
fn sole_member(me: Peer) -> Arc<Membership> {
    let member = Member {
        incarnation: me.incarnation,
        suffrage: Suffrage::Voter,
        peer_address: "127.0.0.1:9001".to_owned(),
        client_address: "127.0.0.1:8001".to_owned(),
    };
    Membership { members: [(me.id, member)].into() }.into()
}

pub(crate) fn identity() -> Identity {
    let me = Peer { id: NodeId::new(1).expect("1 is not 0"), incarnation: Incarnation(0xabcd) };
    Identity { me, standing: Standing::Member { cluster: ClusterId(77), joined_at: LogIndex(1) } }
}

pub(crate) fn settings() -> Vec<Setting> {
    vec![("host".to_owned(), "127.0.0.1".to_owned())]
}
