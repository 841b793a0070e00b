//! Helpers shared by the tests of this module.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use raft_core::{
    Entry, HardState, Incarnation, LogIndex, Member, Membership, NodeId, Payload, Peer, Snapshot, Suffrage,
    Term, Write, WriteId,
};

use super::contents::{Collector, Contents, NewStore};
use super::error::StoreError;
use super::record::KeyBytes;
use super::store::Store;
use super::{MAP_BYTES_MIN, Setting};
use crate::identity::{ClusterId, Identity, Standing};

/// A directory for one test, removed afterwards with everything in it.
pub(crate) struct TestDir(PathBuf);

impl TestDir {
    pub(crate) fn new() -> TestDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ticketd-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        TestDir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn member() -> Identity {
    Identity {
        me: Peer { id: NodeId::new(1).unwrap(), incarnation: Incarnation(0xabcd) },
        standing: Standing::Member { cluster: ClusterId(77), joined_at: LogIndex(1) },
    }
}

pub(super) fn settings() -> Vec<Setting> {
    vec![("host".into(), "127.0.0.1".into()), ("window".into(), "0".into()), (String::new(), String::new())]
}

pub(super) fn snapshot(index: u64, term: u64) -> Snapshot {
    let mut membership = Membership::default();
    let member = Member {
        incarnation: Incarnation(0xabcd),
        suffrage: Suffrage::Voter,
        peer_address: "127.0.0.1:9001".into(),
        client_address: "127.0.0.1:8001".into(),
    };
    membership.members.insert(NodeId::new(1).unwrap(), member);
    Snapshot {
        last_included_index: LogIndex(index),
        last_included_term: Term(term),
        membership: Arc::new(membership),
        state: Arc::from(&index.to_be_bytes()[..]),
    }
}

/// A new store of the smallest size, without a log.
pub(super) fn blank<'a>(identity: &'a Identity, settings: &'a [Setting]) -> NewStore<'a> {
    NewStore {
        identity,
        settings,
        map_bytes: MAP_BYTES_MIN,
        hard_state: HardState::default(),
        snapshot: None,
    }
}

/// Creates a store of the smallest size in term 1, with a snapshot of entry 1.
pub(super) fn create(path: &Path, settings: &[Setting]) -> Store {
    let hard_state = HardState { current_term: Term(1), voted_for: None };
    let (member, snapshot) = (member(), snapshot(1, 1));
    let new = NewStore { hard_state, snapshot: Some(&snapshot), ..blank(&member, settings) };
    Store::create(path, &new).unwrap()
}

/// The records of a store, as LMDB would keep them.
pub(super) type Records = BTreeMap<KeyBytes, Vec<u8>>;

/// The records of a new store in term 9, with a snapshot of entry 1 and a journal of this many bytes.
pub(super) fn new_store_records(journal_bytes: u64) -> Records {
    let (member, settings, snapshot) = (member(), settings(), snapshot(1, 1));
    let hard_state = HardState { current_term: Term(9), voted_for: None };
    let new = NewStore { hard_state, snapshot: Some(&snapshot), ..blank(&member, &settings) };
    let mut records = Records::new();
    for value in new.records(journal_bytes) {
        value.encode(records.entry(value.key().to_bytes()).or_default());
    }
    records
}

/// The contents that these records and a journal give.
pub(super) fn read_records(records: &Records, journal: &[u8]) -> Result<Contents, StoreError> {
    let mut collector = Collector::new(Path::new("store"));
    for (key, record) in records {
        collector.add(key.as_ref(), record)?;
    }
    collector.finish(journal)
}

pub(super) fn entry(index: u64, term: u64) -> Entry {
    let command = Arc::from(&index.to_le_bytes()[..]);
    Entry { index: LogIndex(index), term: Term(term), payload: Payload::Command(command) }
}

/// A write that changes nothing.
pub(super) fn nothing(id: u64) -> Write {
    Write { id: WriteId(id), hard_state: None, snapshot: None, truncate_from: None, entries: Vec::new() }
}

/// A write that appends entries of one term.
pub(super) fn append(id: u64, indexes: RangeInclusive<u64>, term: u64) -> Write {
    Write { entries: indexes.map(|index| entry(index, term)).collect(), ..nothing(id) }
}
