//! A damaged store: it gives an error or the truth, never a wrong answer, and kills nobody.
//!
//! One kind of damage looks like a commit that was never finished, and gives what was true before the last one: see
//! `docs/storage-format.rst`. A meta page whose transaction number has changed may do that, and nothing else.

use std::fs;
use std::sync::{Arc, OnceLock};

use raft_core::{
    Entry, HardState, Incarnation, LogIndex, Member, Membership, NodeId, Payload, Peer, Recovered, Snapshot,
    Suffrage, Term, Write, WriteId,
};
use ticketd::identity::{ClusterId, Identity, Standing};
use ticketd::storage::{MAP_BYTES_MIN, Setting, Store, verify};

use super::directory::Directory;

/// The size of LMDB's pages on the machines in use; on others the damage only falls elsewhere.
const PAGE_BYTES: usize = 4096;
/// Where a meta page has the number of its transaction: after the page's header and what describes both trees.
const TRANSACTION_AT: usize = 16 + 24 + 2 * 48 + 8;
/// Entries that the store has had: enough for a tree of more than one page.
const ENTRIES: u64 = 120;

/// Takes `data` for what happens to the file of a store, in steps of five bytes.
pub fn check(data: &[u8]) {
    let sound = sound();
    let mut file = sound.file.clone();
    for step in data.chunks_exact(5) {
        damage(&mut file, [step[0], step[1], step[2], step[3], step[4]]);
    }
    let dir = Directory::new();
    fs::write(dir.data(), &file).expect("the temporary directory can be written to");
    let verified = verify(dir.path());
    match Store::open(dir.path()) {
        Ok(store) => {
            let findings = verified.as_ref().map(ToString::to_string);
            assert!(findings.is_ok_and(|text| !text.is_empty()), "opened, though {verified:?}");
            let found = Contents::of(&store);
            drop(store);
            let older = found == sound.before && looks_unfinished(&sound.file, &file);
            let truth = found == sound.contents || older;
            assert!(truth, "a wrong answer: {} entries", found.recovered.entries.len());
            verify(dir.path()).expect("what was opened stays sound");
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(verified.is_err(), "verified, but {error}");
        }
    }
}

/// What is wrong with the file from now on.
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
            // The fields of a page's header and of its first nodes, where damage is more than a wrong checksum.
            let at = page_at + offset % 256;
            with(file, at & !1, |byte| *byte = value);
            with(file, at | 1, |byte| *byte = 0);
        }
        // A page in the place of another, as it is where a write went astray, or was lost.
        4 => file.copy_within_bounds(page_at, other),
        5 => {
            let end = (page_at + PAGE_BYTES).min(file.len());
            file[page_at.min(end)..end].fill(value);
        }
        6 => file.truncate(at),
        _ => file.resize((file.len() + offset).min(1 << 20), value),
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
    /// Copies a page as far as both are there.
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
    contents: Contents,
    /// The contents before the last transaction.
    before: Contents,
}

/// All that a store says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Contents {
    identity: Identity,
    settings: Vec<Setting>,
    map_bytes: u64,
    recovered: Recovered,
}

impl Contents {
    fn of(store: &Store) -> Contents {
        Contents {
            identity: *store.identity(),
            settings: store.settings().to_vec(),
            map_bytes: store.map_bytes(),
            recovered: store.recovered(),
        }
    }
}

/// Made once, with a life behind it: entries written, cut off, compacted and written again.
fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let dir = Directory::new();
        let initial = Some((HardState { current_term: Term(1), voted_for: None }, snapshot(1, 1)));
        let settings = [("host".to_owned(), "127.0.0.1".to_owned())];
        let made = Store::create(dir.path(), MAP_BYTES_MIN, &identity(), &settings, initial);
        let mut store = made.expect("the temporary directory can hold a store");
        for index in 2..ENTRIES {
            write(&mut store, Write { entries: vec![entry(index, 1)], ..nothing(index) });
        }
        let voted_for = Some(identity().me);
        let hard_state = HardState { current_term: Term(3), voted_for };
        write(&mut store, Write { hard_state: Some(hard_state), ..nothing(ENTRIES) });
        write(&mut store, Write { snapshot: Some(Arc::new(snapshot(20, 1))), ..nothing(ENTRIES + 1) });
        drop(store);
        let before = Contents::of(&open(&dir));
        // The last transaction cuts off and appends, so that it matters whether it is seen.
        let mut store = open(&dir);
        let last = Write {
            truncate_from: Some(LogIndex(90)),
            entries: (90..100).map(|index| entry(index, 3)).collect(),
            ..nothing(1)
        };
        write(&mut store, last);
        drop(store);
        let file = fs::read(dir.data()).expect("the store has just been made");
        let contents = Contents::of(&open(&dir));
        assert_ne!(before, contents);
        Sound { file, contents, before }
    })
}

fn open(dir: &Directory) -> Store {
    Store::open(dir.path()).expect("a sound store can be opened")
}

fn write(store: &mut Store, write: Write) {
    store.write(&[write]).expect("a small store has room");
}

fn nothing(id: u64) -> Write {
    Write { id: WriteId(id), hard_state: None, snapshot: None, truncate_from: None, entries: Vec::new() }
}

fn entry(index: u64, term: u64) -> Entry {
    // A few are so long that LMDB gives them pages of their own.
    let command = if index.is_multiple_of(40) { vec![7; 3000] } else { index.to_be_bytes().to_vec() };
    Entry { index: LogIndex(index), term: Term(term), payload: Payload::Command(command.into()) }
}

fn snapshot(index: u64, term: u64) -> Snapshot {
    Snapshot {
        last_included_index: LogIndex(index),
        last_included_term: Term(term),
        membership: sole_member(identity().me),
        state: index.to_be_bytes().into(),
    }
}

/// The membership of a cluster that is this node alone.
pub(super) fn sole_member(me: Peer) -> Arc<Membership> {
    let member = Member {
        incarnation: me.incarnation,
        suffrage: Suffrage::Voter,
        peer_address: "127.0.0.1:9001".to_owned(),
        client_address: "127.0.0.1:8001".to_owned(),
    };
    Membership { members: [(me.id, member)].into() }.into()
}

fn identity() -> Identity {
    let me = Peer { id: NodeId::new(1).expect("1 is not 0"), incarnation: Incarnation(0xabcd) };
    Identity { me, standing: Standing::Member { cluster: ClusterId(77), joined_at: LogIndex(1) } }
}
