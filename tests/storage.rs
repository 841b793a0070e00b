//! The store as seen from outside, with real processes that are really killed.

#![allow(clippy::unwrap_used, reason = "everything here is a test or helps one")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use raft_core::{
    Entry, HardState, Incarnation, LogIndex, Member, Membership, NodeId, Payload, Peer, Snapshot, Suffrage,
    Term, Write, WriteId,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use ticketd::identity::{ClusterId, Identity, Standing};
use ticketd::storage::{
    Completion, Listening, MAP_BYTES_MAX, MAP_BYTES_MIN, NewStore, Running, StorageThread, Store, StoreError,
    destroy, running, verify,
};

/// The environment variable with the store's path for a child process.
const CHILD_PATH: &str = "TICKETD_TEST_STORE";

/// The limit for anything that a child process is to do. Only a failure takes this long.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn what_was_reported_durable_is_there_after_the_process_was_killed() {
    let dir = TestDir::new();
    drop(new_store(dir.path()));
    let mut reported = 1;
    for round in 1..=5 {
        let mut child = ChildProcess::start("child_writes_until_it_is_killed", dir.path());
        for _ in 0..40 * round {
            reported = child.next_number("durable");
        }
        child.kill();
        // What it still reported before it died.
        reported = greatest_number(&child.rest(), "durable").map_or(reported, |last| last.max(reported));

        let recovered = Store::open(dir.path()).unwrap().recovered();
        let snapshot = recovered.snapshot.unwrap();
        let last = recovered.entries.last().map_or(snapshot.last_included_index, |entry| entry.index);
        assert!(last.0 >= reported, "entry {reported} was reported durable, the log ends at {last}");
        assert_eq!(*snapshot, snapshot_at(snapshot.last_included_index.0));
        for (i, entry) in recovered.entries.iter().enumerate() {
            assert_eq!(*entry, entry_at(snapshot.last_included_index.0 + 1 + i as u64));
        }
    }
}

#[test]
#[ignore = "run by a test, as a child process"]
fn child_writes_until_it_is_killed() {
    let store = Store::open(&child_path()).unwrap();
    let recovered = store.recovered();
    let base = recovered.snapshot.unwrap().last_included_index.0;
    let mut next = recovered.entries.last().map_or(base, |entry| entry.index.0) + 1;
    let (woken, wakes) = channel();
    let thread = StorageThread::spawn(store, move || woken.send(()).unwrap()).unwrap();
    // A write's id is the index of its last entry, counted from where the log ended at the start of the run.
    let offset = next - 1;
    let mut id = 0;
    loop {
        for _ in 0..20 {
            id += 1;
            let compact = id % 50 == 0;
            let snapshot = compact.then(|| Arc::new(snapshot_at(next - 10)));
            thread.submit([Write { snapshot, ..append(id, next..=next) }]);
            next += 1;
        }
        wakes.recv().unwrap();
        while let Some(completion) = thread.poll() {
            let Completion::Durable { through } = completion else { panic!("{completion:?}") };
            println!("durable {}", through.0 + offset);
        }
    }
}

#[test]
fn a_write_that_the_system_refuses_is_the_last_and_what_was_before_it_is_there() {
    a_write_is_refused("child_writes_beyond_the_limit_in_its_journal");
    a_write_is_refused("child_writes_beyond_the_limit_in_its_data_file");
}

fn a_write_is_refused(child: &str) {
    let dir = TestDir::new();
    drop(new_store(dir.path()));
    let child = ChildProcess::start(child, dir.path());
    let lines = child.rest();
    child.wait();
    let durable = greatest_number(&lines, "durable").unwrap();
    assert!(lines.iter().any(|line| line.starts_with("failed") && line.contains("restart this node")));
    let recovered = Store::open(dir.path()).unwrap().recovered();
    assert_eq!(recovered.entries.last().unwrap().index, LogIndex(durable));
    // A refused write may have left a torn page or torn sectors after the last good one; they do no harm.
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[append(1, durable + 1..=durable + 500)]).unwrap();
    drop(store);
    verify(dir.path()).unwrap();
}

#[test]
#[ignore = "run by a test, as a child process"]
fn child_writes_beyond_the_limit_in_its_journal() {
    write_until_refused(70_000, 1);
}

#[test]
#[ignore = "run by a test, as a child process"]
fn child_writes_beyond_the_limit_in_its_data_file() {
    let journal_bytes = fs::metadata(child_path().join("data.journal")).unwrap().len();
    write_until_refused(journal_bytes + 70_000, 500);
}

/// Writes this many entries at a time, while no file may grow beyond the limit: it falls into the middle of a
/// page, so that part of a write succeeds.
fn write_until_refused(limit: u64, entries: u64) {
    // Without a handler, the signal that comes with the refusal would end the process.
    const SIGXFSZ: i32 = 25;
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).unwrap();
    let store = Store::open(&child_path()).unwrap();
    setrlimit(Resource::Fsize, Rlimit { current: Some(limit), maximum: Some(limit) }).unwrap();
    let (woken, wakes) = channel();
    let thread = StorageThread::spawn(store, move || woken.send(()).unwrap()).unwrap();
    let mut failure = None;
    for id in 1.. {
        let last = 1 + id * entries;
        thread.submit([append(id, last - entries + 1..=last)]);
        wakes.recv().unwrap();
        match thread.poll().unwrap() {
            Completion::Durable { through } => println!("durable {}", 1 + through.0 * entries),
            Completion::Failed(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let failure = failure.unwrap();
    println!("failed {failure}");
    assert_eq!(thread.shutdown(), Err(failure));
}

#[test]
fn a_process_that_gets_no_more_descriptors_goes_on_writing() {
    let dir = TestDir::new();
    drop(new_store(dir.path()));
    let child = ChildProcess::start("child_writes_without_a_free_descriptor", dir.path());
    assert!(child.next_number("checkpoints") > 0);
    child.wait();
    verify(dir.path()).unwrap();
}

#[test]
#[ignore = "run by a test, as a child process"]
fn child_writes_without_a_free_descriptor() {
    let store = Store::open(&child_path()).unwrap();
    let (woken, wakes) = channel();
    let thread = StorageThread::spawn(store, move || woken.send(()).unwrap()).unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: Some(3) }).unwrap();
    fs::File::open(child_path()).unwrap_err();
    for id in 1..=600 {
        thread.submit([append(id, id + 1..=id + 1)]);
        wakes.recv().unwrap();
        assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(id) }));
    }
    println!("checkpoints {}", thread.counts().checkpoints);
    thread.shutdown().unwrap();
}

#[test]
fn a_size_that_the_system_does_not_map_is_refused_and_never_recorded() {
    let dir = TestDir::new();
    drop(new_store(dir.path()));
    let child = ChildProcess::start("child_grows_beyond_its_address_space", dir.path());
    let lines = child.rest();
    child.wait();
    assert!(lines.iter().any(|line| line.contains("refused") && line.contains("smaller --db_size")));
    assert_eq!(Store::open(dir.path()).unwrap().map_bytes(), MAP_BYTES_MIN);
}

#[test]
#[ignore = "run by a test, as a child process"]
fn child_grows_beyond_its_address_space() {
    let mut store = Store::open(&child_path()).unwrap();
    let limit = Some(64 << 30);
    setrlimit(Resource::As, Rlimit { current: limit, maximum: limit }).unwrap();
    println!("refused {}", store.resize(MAP_BYTES_MAX).unwrap_err());
}

#[test]
fn a_store_in_use_by_a_process_names_it_until_that_is_killed() {
    let dir = TestDir::new();
    drop(new_store(dir.path()));
    let mut child = ChildProcess::start("child_holds_the_store", dir.path());
    let pid = u32::try_from(child.next_number("held")).unwrap();
    let in_use = StoreError::InUse { path: dir.path().to_owned(), pid: Some(pid) };
    assert_eq!(Store::open(dir.path()).unwrap_err(), in_use);
    assert_eq!(destroy(dir.path()).unwrap_err(), in_use);
    assert_eq!(verify(dir.path()).unwrap_err(), in_use);
    assert!(in_use.to_string().contains(&format!("in use by process {pid}: stop it first")));
    assert_eq!(running(dir.path()).unwrap(), Some(Running { pid, listening: Some(listening()) }));
    child.kill();
    assert_eq!(running(dir.path()).unwrap(), None);
    Store::open(dir.path()).unwrap();
}

#[test]
#[ignore = "run by a test, as a child process"]
fn child_holds_the_store() {
    let mut store = Store::open(&child_path()).unwrap();
    store.publish(&listening()).unwrap();
    println!("held {}", std::process::id());
    // Until the parent kills it, or dies itself.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_store_is_never_made_over_another() {
    let dir = TestDir::new();
    let mut store = new_store(dir.path());
    store.write(&[append(1, 2..=5)]).unwrap();
    drop(store);
    let error = create(dir.path()).unwrap_err();
    assert_eq!(error, StoreError::Exists { path: dir.path().to_owned() });
    assert!(error.to_string().contains("ticketd drop --path") && error.to_string().contains("--force"));
    assert_eq!(Store::open(dir.path()).unwrap().recovered().entries.len(), 4);
}

#[test]
fn a_store_is_made_only_where_nothing_else_is() {
    let dir = TestDir::new();
    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    let name = "file".to_owned();
    assert_eq!(
        create(dir.path()).unwrap_err(),
        StoreError::ForeignFiles { path: dir.path().to_owned(), name }
    );
    assert_eq!(create(&file).unwrap_err(), StoreError::NotADirectory { path: file.clone() });
    let below = file.join("store");
    assert!(matches!(create(&below).unwrap_err(), StoreError::NotADirectory { .. }));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let nested = dir.path().join("a/b/c");
    drop(create(&nested).unwrap());
    Store::open(&nested).unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_said_to_be_so() {
    // No user can create directories there, not even root.
    let error = create(Path::new("/sys/ticketd")).unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("/sys/ticketd"), "{error}");
}

#[test]
fn where_there_is_no_store_none_is_opened_and_nothing_is_left_behind() {
    let dir = TestDir::new();
    let missing = dir.path().join("missing");
    for path in [dir.path(), &missing] {
        let not_found = StoreError::NotFound { path: path.to_owned() };
        assert_eq!(Store::open(path).unwrap_err(), not_found);
        assert_eq!(verify(path).unwrap_err(), not_found);
        assert_eq!(destroy(path).unwrap_err(), not_found);
        assert_eq!(running(path), Ok(None));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn destroying_removes_the_stores_own_files_and_no_others() {
    let dir = TestDir::new();
    drop(new_store(dir.path()));
    fs::write(dir.path().join("notes"), "precious").unwrap();
    destroy(dir.path()).unwrap();
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["notes"]);
    fs::remove_file(dir.path().join("notes")).unwrap();

    drop(new_store(dir.path()));
    destroy(dir.path()).unwrap();
    assert!(!dir.path().exists());
    drop(new_store(dir.path()));
}

fn create(path: &Path) -> Result<Store, StoreError> {
    let me = Peer { id: NodeId::new(1).unwrap(), incarnation: Incarnation(0xabcd) };
    let standing = Standing::Member { cluster: ClusterId(77), joined_at: LogIndex(1) };
    let new = NewStore {
        identity: &Identity { me, standing },
        settings: &[],
        map_bytes: MAP_BYTES_MIN,
        hard_state: HardState { current_term: Term(1), voted_for: None },
        snapshot: Some(&snapshot_at(1)),
    };
    Store::create(path, &new)
}

fn new_store(path: &Path) -> Store {
    create(path).unwrap()
}

fn snapshot_at(index: u64) -> Snapshot {
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
        last_included_term: Term(1),
        membership: Arc::new(membership),
        state: Arc::from(&index.to_be_bytes()[..]),
    }
}

fn entry_at(index: u64) -> Entry {
    let command = Arc::from(&index.to_le_bytes()[..]);
    Entry { index: LogIndex(index), term: Term(1), payload: Payload::Command(command) }
}

fn append(id: u64, indexes: RangeInclusive<u64>) -> Write {
    Write {
        id: WriteId(id),
        hard_state: None,
        snapshot: None,
        truncate_from: None,
        entries: indexes.map(entry_at).collect(),
    }
}

fn listening() -> Listening {
    Listening {
        peer_address: "127.0.0.1:9001".into(),
        client_address: "127.0.0.1:8001".into(),
        incarnation: Incarnation(1),
    }
}

fn child_path() -> PathBuf {
    PathBuf::from(std::env::var_os(CHILD_PATH).unwrap())
}

/// This test program again, running one of its ignored tests.
struct ChildProcess {
    child: Child,
    /// What it prints. A thread reads it, since a read cannot be given a deadline.
    lines: Receiver<String>,
}

impl ChildProcess {
    fn start(test: &str, path: &Path) -> ChildProcess {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(CHILD_PATH, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map(Result::unwrap).try_for_each(|line| sender.send(line)));
        ChildProcess { child, lines }
    }

    /// The number that follows this word in one of the next lines.
    fn next_number(&self, word: &str) -> u64 {
        let found = self.printed().find_map(|line| Some(after(&line, word)?.parse().unwrap()));
        found.unwrap_or_else(|| panic!("the child ended before it said {word:?}"))
    }

    /// Its next lines, up to the last.
    fn printed(&self) -> impl Iterator<Item = String> {
        let deadline = Instant::now() + DEADLINE;
        std::iter::from_fn(move || {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => Some(line),
                Err(RecvTimeoutError::Disconnected) => None,
                Err(RecvTimeoutError::Timeout) => panic!("the child prints on after {DEADLINE:?}"),
            }
        })
    }

    /// Everything that it still prints before it ends.
    fn rest(&self) -> Vec<String> {
        self.printed().collect()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn wait(mut self) {
        self.rest();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What follows a word in a line. The test harness prints something before the first.
fn after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    Some(line.split_once(word)?.1.trim())
}

/// The greatest number that follows a word. They ascend; but of a line that was cut off when the process was
/// killed, only the beginning of a number may be left.
fn greatest_number(lines: &[String], word: &str) -> Option<u64> {
    lines.iter().filter_map(|line| after(line, word)?.parse().ok()).max()
}

/// A directory for one test, removed with everything in it.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> TestDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("storage-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        TestDir(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
