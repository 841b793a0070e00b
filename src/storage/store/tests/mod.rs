//! What a store holds after it was created, written, opened again or destroyed.

use std::sync::Arc;

use raft_core::{Entry, HardState, Incarnation, LogIndex, NodeId, Peer, Term};

use super::*;
use crate::storage::testing::{TestDir, append, blank, create, entry, member, nothing, settings, snapshot};
use crate::storage::{Interrupted, destroy, running, verify};

mod damaged;
mod failed;
mod lost;
mod sizes;

fn new_store(dir: &TestDir) -> Store {
    create(dir.path(), &settings())
}

fn peer(id: u64) -> Peer {
    Peer { id: NodeId::new(id).unwrap(), incarnation: Incarnation(7) }
}

fn reopened(dir: &TestDir) -> Recovered {
    Store::open(dir.path()).unwrap().recovered()
}

fn journal(dir: &TestDir) -> Vec<u8> {
    std::fs::read(dir.path().join(JOURNAL_FILE)).unwrap()
}

fn set_journal(dir: &TestDir, bytes: &[u8]) {
    std::fs::write(dir.path().join(JOURNAL_FILE), bytes).unwrap();
}

/// The last step of a process that destroys a store, between two steps of one that makes another there.
#[test]
fn a_directory_that_is_removed_before_it_is_locked_is_made_again() {
    let dir = TestDir::new();
    let path = dir.path().join("store");
    let made = std::cell::Cell::new(0);
    let make = |path: &Path| {
        made.set(made.get() + 1);
        if made.get() > 1 { files::make_directory(path) } else { Ok(0) }
    };
    let (new_directories, _lock) = make_and_lock(&path, make).unwrap();
    assert_eq!((new_directories, made.get()), (1, 2));
    let other = dir.path().join("other");
    let error = make_and_lock(&other, |_| Ok(())).unwrap_err();
    assert_eq!(error, StoreError::NotFound { path: other });
}

#[test]
fn a_new_store_holds_what_it_was_made_with_before_and_after_reopening() {
    let dir = TestDir::new();
    for store in [|dir: &TestDir| new_store(dir), |dir: &TestDir| Store::open(dir.path()).unwrap()] {
        let store = store(&dir);
        assert_eq!(*store.identity(), member());
        assert_eq!(store.settings(), settings());
        assert_eq!(store.map_bytes(), MAP_BYTES_MIN);
        assert_eq!(store.recovered().hard_state.current_term, Term(1));
        assert_eq!(store.recovered().snapshot.as_deref(), Some(&snapshot(1, 1)));
        assert_eq!(store.recovered().entries, []);
    }
}

#[test]
fn every_part_of_a_write_is_there_after_reopening() {
    let dir = TestDir::new();
    let mut store = new_store(&dir);
    let hard_state = HardState { current_term: Term(3), voted_for: Some(peer(2)) };
    store.write(&[Write { hard_state: Some(hard_state), ..append(1, 2..=9, 3) }]).unwrap();
    store.write(&[Write { truncate_from: Some(LogIndex(7)), ..append(2, 7..=8, 3) }]).unwrap();
    store.write(&[Write { snapshot: Some(Arc::new(snapshot(4, 3))), ..nothing(3) }]).unwrap();
    drop(store);
    let recovered = reopened(&dir);
    assert_eq!(recovered.hard_state, hard_state);
    assert_eq!(recovered.snapshot.as_deref(), Some(&snapshot(4, 3)));
    assert_eq!(recovered.entries, (5..=8).map(|i| entry(i, 3)).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_beyond_the_log_replaces_all_of_it_and_the_log_goes_on_after_it() {
    let dir = TestDir::new();
    let mut store = new_store(&dir);
    store.write(&[append(1, 2..=9, 1)]).unwrap();
    store
        .write(&[
            Write {
                hard_state: Some(HardState { current_term: Term(5), voted_for: None }),
                snapshot: Some(Arc::new(snapshot(100, 4))),
                ..nothing(2)
            },
            append(3, 101..=101, 5),
        ])
        .unwrap();
    drop(store);
    let recovered = reopened(&dir);
    assert_eq!(recovered.snapshot.as_deref(), Some(&snapshot(100, 4)));
    assert_eq!(recovered.entries, [entry(101, 5)]);
}

#[test]
fn after_a_truncation_the_terms_go_on_from_the_entry_that_is_left() {
    let dir = TestDir::new();
    let mut store = new_store(&dir);
    let hard_state = Some(HardState { current_term: Term(9), voted_for: None });
    store.write(&[Write { hard_state, ..append(1, 2..=3, 2) }, append(2, 4..=5, 8)]).unwrap();
    // Term 3 is below 8, but above 2, the term of the entry before.
    store.write(&[Write { truncate_from: Some(LogIndex(4)), ..append(3, 4..=4, 3) }]).unwrap();
    // The same, down to the snapshot of term 1.
    store.write(&[Write { truncate_from: Some(LogIndex(2)), ..append(4, 2..=2, 1) }]).unwrap();
    drop(store);
    assert_eq!(reopened(&dir).entries, [entry(2, 1)]);
}

#[test]
fn a_store_that_has_joined_and_heard_nothing_has_no_snapshot() {
    let dir = TestDir::new();
    let identity = Identity { standing: crate::identity::Standing::Joining, ..member() };
    let mut store = Store::create(dir.path(), &blank(&identity, &[])).unwrap();
    assert_eq!(store.recovered(), Recovered::default());
    store.set_identity(&member()).unwrap();
    store.set_settings(&settings()).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!((*store.identity(), store.settings()), (member(), &settings()[..]));
    assert_eq!(store.recovered(), Recovered::default());
}

#[test]
fn the_membership_appended_last_counts_and_else_that_of_the_snapshot_and_else_none() {
    let (dir, unheard) = (TestDir::new(), TestDir::new());
    let store = Store::create(unheard.path(), &blank(&member(), &[])).unwrap();
    assert_eq!(store.latest_membership(), Membership::default());

    let mut store = new_store(&dir);
    let of_snapshot = Membership::clone(&snapshot(1, 1).membership);
    assert_eq!(store.latest_membership(), of_snapshot);
    let [one, other] = [8, 9].map(|id| {
        let mut membership = of_snapshot.clone();
        let member = membership.members.values().next().unwrap().clone();
        membership.members.insert(NodeId::new(id).unwrap(), member);
        membership
    });
    let change = |index, to: &Membership| Entry {
        payload: Payload::Membership(Arc::new(to.clone())),
        ..entry(index, 1)
    };
    let entries = vec![change(2, &one), change(3, &other), entry(4, 1)];
    store.write(&[Write { entries, ..nothing(1) }]).unwrap();
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().latest_membership(), other);
}

#[test]
#[should_panic(expected = "entry 4 where 2 follows")]
fn an_entry_that_leaves_a_gap_is_a_bug() {
    let dir = TestDir::new();
    let _ = new_store(&dir).write(&[append(1, 4..=4, 1)]);
}

#[test]
#[should_panic(expected = "an entry of term 2 in term 1")]
fn an_entry_of_a_term_to_come_is_a_bug() {
    let dir = TestDir::new();
    let _ = new_store(&dir).write(&[append(1, 2..=2, 2)]);
}

#[test]
#[should_panic(expected = "term 1 after term 2")]
fn a_term_that_goes_down_is_a_bug() {
    let dir = TestDir::new();
    let mut store = new_store(&dir);
    let in_term = |term| Some(HardState { current_term: Term(term), voted_for: None });
    store.write(&[Write { hard_state: in_term(2), ..nothing(1) }]).unwrap();
    let _ = store.write(&[Write { hard_state: in_term(1), ..nothing(2) }]);
}

#[test]
#[should_panic(expected = "in term 2")]
fn a_second_vote_in_one_term_is_a_bug() {
    let dir = TestDir::new();
    let mut store = new_store(&dir);
    let vote = |id| Some(HardState { current_term: Term(2), voted_for: Some(peer(id)) });
    store.write(&[Write { hard_state: vote(1), ..nothing(1) }]).unwrap();
    let _ = store.write(&[Write { hard_state: vote(2), ..nothing(2) }]);
}

#[test]
#[should_panic(expected = "a truncation from entry 1 where the log begins after 1")]
fn a_truncation_of_what_the_snapshot_stands_for_is_a_bug() {
    let dir = TestDir::new();
    let _ = new_store(&dir).write(&[Write { truncate_from: Some(LogIndex(1)), ..nothing(1) }]);
}

#[test]
fn an_interrupted_making_is_recognised_and_made_anew() {
    let dir = TestDir::new();
    // Everything but the last step; then what a crash during the first write leaves behind.
    fill(&dir.path().join(NEW_DATA_FILE), &blank(&member(), &settings())).unwrap();
    let interrupted = StoreError::Interrupted { path: dir.path().to_owned(), what: Interrupted::Making };
    assert_eq!(Store::open(dir.path()).unwrap_err(), interrupted);
    assert_eq!(verify(dir.path()).unwrap_err(), interrupted);
    std::fs::write(dir.path().join(NEW_DATA_FILE), b"").unwrap();
    assert_eq!(Store::open(dir.path()).unwrap_err(), interrupted);
    drop(new_store(&dir));
    Store::open(dir.path()).unwrap();
}

#[test]
fn an_interrupted_making_can_be_dropped() {
    let dir = TestDir::new();
    std::fs::write(dir.path().join(NEW_DATA_FILE), b"").unwrap();
    destroy(dir.path()).unwrap();
    assert!(!dir.path().exists());
}

#[test]
fn an_open_store_is_opened_made_and_destroyed_by_nobody_else() {
    let dir = TestDir::new();
    let store = new_store(&dir);
    let in_use = StoreError::InUse { path: dir.path().to_owned(), pid: Some(std::process::id()) };
    assert_eq!(Store::open(dir.path()).unwrap_err(), in_use);
    let exists = StoreError::Exists { path: dir.path().to_owned() };
    assert_eq!(Store::create(dir.path(), &blank(&member(), &settings())).unwrap_err(), exists);
    assert_eq!(verify(dir.path()).unwrap_err(), in_use);
    assert_eq!(destroy(dir.path()).unwrap_err(), in_use);
    assert_eq!(running(dir.path()).unwrap().unwrap().pid, std::process::id());
    drop(store);
    destroy(dir.path()).unwrap();
    assert!(!dir.path().exists());
}
