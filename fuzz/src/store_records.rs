//! Records that no disk damage produces, because their checksums are right: a store with any of them gives an
//! error, or is the same as a store that was written that way.
//!
//! The checksum of a record keeps almost all damage from the code behind it, and a fuzzer as well. So here
//! the records are changed and then given checksums that match.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::OnceLock;

use raft_core::{
    Config, Entry, HardState, Incarnation, LogIndex, Micros, Payload, Recovered, Snapshot, Term, Write,
};
use ticketd::node::{Answer, Input, Node, NodeConfig, Output, RequestId, initial_state, next_unreserved};
use ticketd::storage::{Journal, MAP_BYTES_MIN, NewStore, Store, verify};

use super::core_step::disk::Disk;
use super::directory::Directory;
use super::memory::{self, BLOCK_BYTES, CHECKPOINT, Memory, identity, nothing, records_of, snapshot};

const CHECKSUM_BYTES: usize = 4;
/// How often a started node is woken: enough for several elections.
const WAKES: u64 = 20;
/// The key of the identity.
const IDENTITY: &[u8] = &[1];
/// Where the identity record holds the incarnation: after the version, the kind and the node's id.
const INCARNATION_AT: usize = 1 + 1 + 8;
/// The key of the map size, which a new store rounds.
const MAP_SIZE: &[u8] = &[3];

/// Treats `data` as modifications of a store's records, in steps of five bytes.
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

/// The records by key, without checksums.
type Records = BTreeMap<Vec<u8>, Body>;

#[derive(Clone, Debug)]
struct Body {
    bytes: Vec<u8>,
    /// Whether the checksum is to be right.
    sound: bool,
}

/// Modifies the records.
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
        // A record under the key of another record, or under an unused key.
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

/// What was read and written to a new store makes the same records: there is only one way to write a thing,
/// and nothing in a record goes unread.
fn check_rewritten(store: &Store, records: &Records) {
    let dir = Directory::new();
    let recovered = store.recovered();
    let new = NewStore {
        identity: store.identity(),
        settings: store.settings(),
        map_bytes: MAP_BYTES_MIN,
        hard_state: recovered.hard_state,
        snapshot: recovered.snapshot.as_deref(),
    };
    let made = Store::create(dir.path(), &new);
    let mut copy = made.expect("what was read from a store can be written to one");
    let hard_state = Some(recovered.hard_state);
    let log = Write { hard_state, entries: recovered.entries, ..nothing(1) };
    copy.write(&[log]).expect("a small store has room");
    // This brings everything in the journal to the data file.
    copy.resize(2 * MAP_BYTES_MIN).expect("a small store can be given more");
    drop(copy);
    // Excluded because they are specific to a store: its size, and how far its journal has got.
    let bytes = |records: &Records| -> Vec<(Vec<u8>, Vec<u8>)> {
        let kept = records.iter().filter(|(key, _)| ![MAP_SIZE, CHECKPOINT].contains(&&key[..]));
        kept.map(|(key, body)| (key.clone(), body.bytes.clone())).collect()
    };
    assert_eq!(bytes(&bodies(records_of(&dir))), bytes(records));
}

/// A node can start from whatever is accepted and go on from there, or says what it does not understand.
fn check_start(store: &Store) {
    let raft = Config {
        me: store.identity().me,
        election_timeout_us: 300_000,
        heartbeat_interval_us: 50_000,
        lease: None,
        seed: 1,
    };
    let config = NodeConfig { raft, window: 0, request_timeout_us: 1_000_000, forward: false };
    match Node::new(config, Micros(0), store.recovered()) {
        Ok(node) => check_goes_on(node, store.recovered()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A node that hears from nobody campaigns, and leads if it is the only voter: then it hands out what nobody
/// can have been given. Whatever it writes fits what it has.
fn check_goes_on(mut node: Node, recovered: Recovered) {
    let next = next_unreserved(&recovered).expect("the node has understood all of it");
    let mut disk = Disk::new(recovered);
    let mut now = Micros(0);
    for wake in 0..WAKES {
        node.step(now, Input::TakeIds { request: RequestId(wake), count: NonZeroU64::MIN });
        loop {
            while let Some(output) = node.poll_output() {
                if let Output::Answer { answer: Answer::Ids { first, .. }, .. } = output {
                    assert!(first >= next, "{first} is handed out, and all below {next} may have been");
                } else if let Output::Write(write) = output {
                    disk.submit(write);
                }
            }
            let Some(through) = disk.sync() else { break };
            node.step(now, Input::WritesDurable { through });
        }
        now = now.max(node.deadline().unwrap_or(now));
        node.step(now, Input::Wake);
    }
}

/// The records of a store with an identity, settings, a vote, a snapshot and three entries, all in its data
/// file.
fn sound() -> &'static Records {
    static SOUND: OnceLock<Records> = OnceLock::new();
    SOUND.get_or_init(|| {
        let me = identity().me;
        let hard_state = HardState { current_term: Term(3), voted_for: Some(me) };
        let of_first = Snapshot { state: initial_state(NonZeroU64::MIN), ..snapshot(1, 1) };
        let members = Payload::Membership(of_first.membership.clone());
        let mut memory = Memory::new(&hard_state, &of_first, 1);
        let payloads = [Payload::Noop, members, Payload::Command(1u64.to_be_bytes().into())];
        let entry = |(index, payload)| Entry { index: LogIndex(index), term: Term(2), payload };
        let log = Write { entries: (2..).zip(payloads).map(entry).collect(), ..nothing(1) };
        let mut recorder = memory.open().expect("a new store is sound").recorder();
        memory.carry_out(recorder.write(&[log]));
        // The journal has no room for another transaction.
        memory.carry_out(recorder.write(&[nothing(2)]));
        bodies(memory.records)
    })
}

/// The records without their checksums, which are to be right.
fn bodies(records: memory::Records) -> Records {
    let body = |(key, mut bytes): (Vec<u8>, Vec<u8>)| {
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        (key, Body { bytes, sound: true })
    };
    records.into_iter().map(body).collect()
}

/// A store with these records, as if made by one checkpoint, and a journal without a transaction.
fn fill(dir: &Directory, records: &Records) {
    let mut sealed: memory::Records =
        records.iter().map(|(key, body)| (key.clone(), seal(key, body))).collect();
    if let Some(mut checkpoint) = records.get(CHECKPOINT).filter(|body| is_as_it_was(body)).cloned() {
        let inventory = inventory(&sealed).to_be_bytes();
        let at = checkpoint.bytes.len() - inventory.len();
        checkpoint.bytes[at..].copy_from_slice(&inventory);
        sealed.insert(CHECKPOINT.to_vec(), seal(CHECKPOINT, &checkpoint));
    }
    let journal = Journal::blank(incarnation(records), BLOCK_BYTES as u64);
    Memory { records: sealed, journal }.write_to(dir);
}

/// A record with its checksum.
fn seal(key: &[u8], body: &Body) -> Vec<u8> {
    let checksum = crc32fast::hash(&[key, &body.bytes].concat()) ^ u32::from(!body.sound);
    [&body.bytes[..], &checksum.to_be_bytes()].concat()
}

/// Whether the checkpoint's number over all records is still the original one, and may be recomputed.
fn is_as_it_was(checkpoint: &Body) -> bool {
    let of = |body: &Body| (body.bytes.len(), body.bytes.last_chunk::<CHECKSUM_BYTES>().copied());
    of(checkpoint) == of(&sound()[CHECKPOINT])
}

/// The number over all records except the checkpoint: a checksum over the key and the checksum of each.
fn inventory(sealed: &memory::Records) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for (key, record) in sealed.iter().filter(|(key, _)| key[..] != *CHECKPOINT) {
        hasher.update(key);
        hasher.update(&record[record.len() - CHECKSUM_BYTES..]);
    }
    hasher.finalize()
}

/// The incarnation of the node whose store it is, whatever has become of the record.
fn incarnation(records: &Records) -> Incarnation {
    let of = |body: &Body| body.bytes.get(INCARNATION_AT..)?.first_chunk().map(|of| u128::from_be_bytes(*of));
    records.get(IDENTITY).and_then(of).map_or(identity().me.incarnation, Incarnation)
}
