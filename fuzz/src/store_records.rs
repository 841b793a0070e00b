//! Records that a disk does not damage in this way, because their checksums are right: a store with any of them gives
//! an error, or is what it would be if it had been written like that.
//!
//! The checksum of a record keeps almost all damage from the code behind it, and from a fuzzer as well. So here the
//! records are changed and get checksums that match.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::OnceLock;

use lmdb::{Cursor, Environment, EnvironmentFlags, Transaction, WriteFlags};
use raft_core::{
    Config, Entry, HardState, Incarnation, LogIndex, Micros, NodeId, Payload, Peer, Snapshot, Term, Write,
    WriteId,
};
use ticketd::identity::{ClusterId, Identity, Standing};
use ticketd::node::{Node, NodeConfig, initial_state};
use ticketd::storage::{MAP_BYTES_MIN, Store, verify};

use super::directory::Directory;
use super::store::sole_member;

const CHECKSUM_BYTES: usize = 4;
/// The key of the size of the map, which a new store rounds.
const MAP_SIZE: &[u8] = &[3];

/// Takes `data` for what happens to the records of a store, in steps of five bytes.
pub fn check(data: &[u8]) {
    let mut records = sound().clone();
    for step in data.chunks_exact(5) {
        change(&mut records, [step[0], step[1], step[2], step[3], step[4]]);
    }
    let dir = Directory::new();
    fill(&dir, &records);
    let verified = verify(dir.path());
    match Store::open(dir.path()) {
        Ok(store) => {
            assert!(verified.is_ok(), "opened, though {verified:?}");
            check_rewritten(&store, &records);
            check_start(&store);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(verified.is_err(), "verified, but {error}");
        }
    }
}

/// By key; without checksums.
type Records = BTreeMap<Vec<u8>, Body>;

#[derive(Clone, Debug)]
struct Body {
    bytes: Vec<u8>,
    /// Whether its checksum will be right.
    sound: bool,
}

/// What is wrong with the records from now on.
fn change(records: &mut Records, [kind, which, at, value, other]: [u8; 5]) {
    let keys: Vec<Vec<u8>> = records.keys().cloned().collect();
    let Some(key) = keys.get(usize::from(which) % keys.len().max(1)) else { return };
    let Some(body) = records.get_mut(key) else { return };
    let at = usize::from(at) % body.bytes.len().max(1);
    match kind % 9 {
        0 => body.bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
        1 => body.bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = byte.wrapping_add(value)),
        2 => body.bytes.insert(at, value),
        3 => body.bytes.truncate(body.bytes.len() - usize::from(value) % (body.bytes.len() + 1)),
        4 => body.sound = false,
        5 => drop(records.remove(key)),
        // A record under the key of another, or of none.
        6 => {
            let body = body.clone();
            records.insert(keys[usize::from(other) % keys.len()].clone(), body);
        }
        7 => {
            let body = body.clone();
            records.insert(vec![value; 1 + usize::from(other) % 12], body);
        }
        _ => {
            let (mut key, body) = (key.clone(), body.clone());
            let last = key.len() - 1;
            key[last] = value;
            records.insert(key, body);
        }
    }
}

/// What was read and is written to a new store makes the same records: no two ways to write one thing, and nothing in
/// a record that is not read.
fn check_rewritten(store: &Store, records: &Records) {
    let dir = Directory::new();
    let recovered = store.recovered();
    let initial = recovered.snapshot.as_deref().map(|s| (recovered.hard_state, s.clone()));
    let made = Store::create(dir.path(), MAP_BYTES_MIN, store.identity(), store.settings(), initial);
    let mut copy = made.expect("what was read from a store can be written to one");
    let hard_state = Some(recovered.hard_state);
    let log =
        Write { hard_state, snapshot: None, truncate_from: None, entries: recovered.entries, id: WriteId(1) };
    copy.write(&[log]).expect("a small store has room");
    drop(copy);
    let bytes = |records: &Records| -> Vec<(Vec<u8>, Vec<u8>)> {
        let kept = records.iter().filter(|(key, _)| *key != MAP_SIZE);
        kept.map(|(key, body)| (key.clone(), body.bytes.clone())).collect()
    };
    assert_eq!(bytes(&dump(&dir)), bytes(records));
}

/// A node can start from whatever is accepted, or says what it does not understand.
fn check_start(store: &Store) {
    let raft = Config {
        me: store.identity().me,
        election_timeout_us: 300_000,
        heartbeat_interval_us: 50_000,
        lease: None,
        seed: 1,
    };
    let config = NodeConfig { raft, window: 0, request_timeout_us: 1_000_000, forward: false };
    if let Err(error) = Node::new(config, Micros(0), store.recovered()) {
        assert!(!error.to_string().is_empty());
    }
}

/// The records of a store with an identity, settings, a vote, a snapshot and three entries.
fn sound() -> &'static Records {
    static SOUND: OnceLock<Records> = OnceLock::new();
    SOUND.get_or_init(|| {
        let dir = Directory::new();
        let me = Peer { id: NodeId::new(1).expect("1 is not 0"), incarnation: Incarnation(0xabcd) };
        let identity =
            Identity { me, standing: Standing::Member { cluster: ClusterId(77), joined_at: LogIndex(1) } };
        let settings = [("host".to_owned(), "127.0.0.1".to_owned())];
        let hard_state = HardState { current_term: Term(3), voted_for: Some(me) };
        let initial = Some((hard_state, snapshot(me)));
        let made = Store::create(dir.path(), MAP_BYTES_MIN, &identity, &settings, initial);
        let mut store = made.expect("the temporary directory can hold a store");
        let members = Payload::Membership(snapshot(me).membership);
        let payloads = [Payload::Noop, members, Payload::Command(1u64.to_be_bytes().into())];
        let entries = (2..).zip(payloads).map(|(index, payload)| Entry {
            index: LogIndex(index),
            term: Term(2),
            payload,
        });
        let log = Write {
            hard_state: None,
            snapshot: None,
            truncate_from: None,
            entries: entries.collect(),
            id: WriteId(1),
        };
        store.write(&[log]).expect("a small store has room");
        drop(store);
        dump(&dir)
    })
}

fn snapshot(me: Peer) -> Snapshot {
    Snapshot {
        last_included_index: LogIndex(1),
        last_included_term: Term(1),
        membership: sole_member(me),
        state: initial_state(NonZeroU64::MIN),
    }
}

fn environment(dir: &Directory) -> Environment {
    let flags = EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_LOCK | EnvironmentFlags::NO_SYNC;
    let size = usize::try_from(MAP_BYTES_MIN).expect("16 MiB are addressable");
    let opened = Environment::new().set_flags(flags).set_map_size(size).open(&dir.data());
    opened.expect("the temporary directory can hold a store")
}

fn fill(dir: &Directory, records: &Records) {
    let env = environment(dir);
    let db = env.open_db(None).expect("every environment has this one");
    let mut txn = env.begin_rw_txn().expect("nobody else writes");
    for (key, body) in records {
        let checksum = crc32fast::hash(&[&key[..], &body.bytes].concat()) ^ u32::from(!body.sound);
        let value = [&body.bytes[..], &checksum.to_be_bytes()].concat();
        txn.put(db, key, &value, WriteFlags::empty()).expect("there is room, and keys are short");
    }
    txn.commit().expect("the temporary directory can be written to");
}

fn dump(dir: &Directory) -> Records {
    let env = environment(dir);
    let db = env.open_db(None).expect("every environment has this one");
    let txn = env.begin_ro_txn().expect("the store has just been made");
    let mut cursor = txn.open_ro_cursor(db).expect("the store has just been made");
    let record = |item: Result<(&[u8], &[u8]), lmdb::Error>| {
        let (key, value) = item.expect("the store has just been made");
        let bytes = value[..value.len() - CHECKSUM_BYTES].to_vec();
        (key.to_vec(), Body { bytes, sound: true })
    };
    cursor.iter().map(record).collect()
}
