//! Stores on file systems that are full or read-only, and in files that may not grow.

// The file systems are mounted with Linux's commands.
#![cfg(target_os = "linux")]

mod harness;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::cluster;
use harness::command::{self, Ended};
use harness::directory::{Directory, as_argument, contents};
use harness::node::Node;
use harness::wait;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

/// Room for a store and some more of what a node writes.
const DISK_BYTES: u64 = 3 << 20;

/// Many times as many as fit into a journal.
const TAKEN_MAX: u32 = 20_000;

/// Less than the size of a journal.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Ports that need not be known.
const ANY_PORTS: [&str; 4] = ["--raft_port", "0", "--http_port", "0"];

/// A mounted file system, unmounted when this is dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts a small file system. `None` if this user may not mount one.
    fn small(at: &Path) -> Option<Mount> {
        let size = format!("size={DISK_BYTES}");
        Mount::new(at, &["-t", "tmpfs", "-o", &size, "none"])
    }

    /// Mounts a read-only view of a directory. `None` if this user may not mount one.
    fn read_only(from: &Path, at: &Path) -> Option<Mount> {
        let mount = Mount::new(at, &["--bind", &as_argument(from)])?;
        assert!(run_mount(&["-o", "remount,bind,ro", &as_argument(at)]));
        Some(mount)
    }

    fn new(at: &Path, args: &[&str]) -> Option<Mount> {
        fs::create_dir(at).expect("the test's own directory can be written to");
        if !run_mount(&[args, &[&as_argument(at)]].concat()) {
            harness::skipped("this user may not mount anything");
            return None;
        }
        Some(Mount(at.to_owned()))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("the test's own file system");
        let full = (0..).find_map(|_| filler.write_all(&[7; 4096]).err()).expect("it is small");
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// Leaves this much of it free.
    fn fill_but(&self, bytes: u64) {
        self.fill();
        let filler = File::options().write(true).open(self.filler()).expect("the test's own file system");
        let length = filler.metadata().expect("the file is open").len();
        filler.set_len(length - bytes).expect("a file can be made shorter");
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).expect("the test's own file system");
    }
}

fn run_mount(args: &[&str]) -> bool {
    Command::new("mount").args(args).output().is_ok_and(|output| output.status.success())
}

impl Drop for Mount {
    fn drop(&mut self) {
        // At once, even if it is still in use.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn take(node: &Node) -> u64 {
    wait::until("an ID", || cluster::take(&node.client_address))
}

/// A node that has every ID in its log, at `directory/1`.
fn start(directory: &Directory) -> Node {
    let node = Node::start(directory, 1, &["--window", "0"]);
    take(&node);
    node
}

/// A node whose store has a small disk to itself: the directory, the disk and the node. `None` if this user
/// may not mount one.
fn on_a_small_disk() -> Option<(Directory, Mount, Node)> {
    let directory = Directory::new();
    let disk = Mount::small(&directory.path().join("1"))?;
    let node = start(&directory);
    Some((directory, disk, node))
}

/// Takes IDs until the node hands out no more; returns the last.
fn take_all(node: &Node) -> u64 {
    let mut last = 0;
    for _ in 0..TAKEN_MAX {
        match cluster::take(&node.client_address) {
            Some(id) => last = id,
            None if node.log().contains("takes no further part") => return last,
            None => (),
        }
    }
    panic!("the disk was full, and {last} was handed out");
}

/// What a node writes to its journal has room there; what names the process has none.
#[test]
fn a_sound_store_on_a_full_disk_is_verified_and_serves() {
    let Some((_directory, disk, mut node)) = on_a_small_disk() else { return };
    node.stop();
    disk.fill();
    node.command(&["verify"]).succeeded();
    node.restart();
    let last = take(&node);
    wait::until_true("it says so", || node.log().contains("No space left"));
    for command in [&["verify"][..], &["drop", "--force"], &ANY_PORTS] {
        node.command(command).refused(&["in use by another process"]);
    }
    node.command(&["status"]).refused(&["in use by a process that its lock does not name", "GET /status"]);
    disk.make_room();
    wait::until_true("it is found once there is room", || {
        // The node checks after it has written.
        take(&node);
        node.command(&["status"]).status.success()
    });
    node.stop();
    node.restart();
    assert!(take(&node) > last);
    assert!(node.command(&["status"]).succeeded().contains(&node.pid().to_string()));
}

#[test]
fn a_node_that_cannot_write_what_it_must_not_forget_takes_no_part_until_there_is_room() {
    let Some((_directory, disk, mut node)) = on_a_small_disk() else { return };
    disk.fill();
    let last = take_all(&node);
    let takes_no_part = |node: &mut Node| {
        wait::until_true("it says so", || node.log().contains("takes no further part"));
        assert_eq!(cluster::take(&node.client_address), None);
        let errors: Vec<_> =
            node.log().lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        for word in ["No space left", "see to the disk", &node.path()] {
            assert!(errors[0].contains(word), "{word} is missing: {errors:#?}");
        }
        node.signal(Signal::TERM);
        assert_eq!(node.await_end().code(), Some(1));
        node.command(&["verify"]).succeeded();
    };
    takes_no_part(&mut node);
    // The journal has no room for its vote, and the data file none for what is in the journal.
    node.restart();
    takes_no_part(&mut node);
    node.command(&[&["--db_size", "20"], &ANY_PORTS[..]].concat())
        .refused(&["No space left", "see to the disk"]);
    disk.make_room();
    node.restart();
    assert!(take(&node) > last);
}

/// LMDB writes several pages at once, and gives the same error as for a broken disk if only some had room.
#[test]
fn a_disk_that_has_room_for_a_part_of_a_write_is_reported_as_perhaps_full() {
    for pages in 1..=4 {
        let Some((_directory, disk, node)) = on_a_small_disk() else { return };
        disk.fill_but(pages * 4096);
        take_all(&node);
        let log = node.log();
        assert!(
            log.contains("No space left") || log.contains("see whether its file system is full"),
            "{log}"
        );
    }
}

/// As under systemd's `LimitFSIZE`. The log, which is a file here, has room below the limit.
#[test]
fn a_node_that_meets_the_limit_on_the_size_of_files_lives_and_says_so() {
    let directory = Directory::new();
    let mut node = start(&directory);
    let last = take(&node);
    let limit = Rlimit { current: Some(FILE_BYTES_MAX), ..getrlimit(Resource::Fsize) };
    let pid = Pid::from_raw(node.pid().cast_signed());
    prlimit(pid, Resource::Fsize, limit).expect("the limits of a child can be lowered");
    let last = take_all(&node).max(last);
    assert!(node.log().contains("File too large (os error 27): raise the limit"), "{}", node.log());
    wait::until_true("it says so again", || node.log().contains("node 1 takes no part: "));
    assert!(!node.log().contains("knows no leader"), "its own disk is to blame: {}", node.log());
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(1));
    node.restart();
    assert!(take(&node) > last);
}

#[test]
fn on_a_full_disk_a_store_can_be_dropped_and_none_be_made() {
    let Some((directory, disk, mut node)) = on_a_small_disk() else { return };
    node.stop();
    disk.fill();
    node.command(&["drop"]).succeeded();
    assert_eq!(contents(&disk.0).into_keys().collect::<Vec<_>>(), [disk.filler()]);
    disk.make_room();

    let elsewhere = disk.0.join("below");
    disk.fill();
    let path = as_argument(&elsewhere);
    let line = [&["start", "--id", "1", "--path", &path], &ANY_PORTS[..]].concat();
    command::run(&line).refused(&["No space left", "see to the disk", &path]);
    command::run(&["verify", "--path", &path]).refused(&["no store"]);
    disk.make_room();
    drop(node);
    let mut made = Node::spawn_at(&directory, &elsewhere, 1, &["start"], &[]);
    made.await_listening();
    assert_eq!(take(&made), 1);
}

/// As when an operator looks into a store that was set aside.
#[test]
fn a_store_that_can_only_be_read_is_verified_and_neither_served_nor_dropped() {
    let directory = Directory::new();
    let mut node = start(&directory);
    let only_read = directory.path().join("read_only");
    let Some(_mount) = Mount::read_only(node.store(), &only_read) else { return };
    let path = as_argument(&only_read);
    let at_mount = |words: &[&str]| -> Ended { command::run(&[words, &["--path", &path]].concat()) };
    at_mount(&["verify"]).refused(&["in use", &node.pid().to_string()]);
    node.stop();
    let sound = node.command(&["verify"]).succeeded();
    let store = contents(node.store());
    assert_eq!(at_mount(&["verify"]).succeeded(), sound);

    let start_anew = [&["start", "--id", "1", "--force"], &ANY_PORTS[..]].concat();
    for command in [&ANY_PORTS[..], &["drop"], &["drop", "--force"], &start_anew] {
        at_mount(command).refused(&["Read-only file system", &path, "make the file system writable"]);
    }
    // If a process held the store, there would be a lock file.
    let lock = node.store().join("lock");
    fs::remove_file(&lock).expect("a stopped node's store has one");
    assert_eq!(at_mount(&["verify"]).succeeded(), sound);
    assert!(!lock.exists());
    assert_eq!(contents(node.store()), store);

    node.restart();
    fs::remove_file(&lock).expect("a node's store has one");
    at_mount(&["verify"]).refused(&["in use by another process"]);
    assert!(take(&node) > 0);
}

/// As when the store belongs to the user that the node runs as, and another user looks into it.
#[test]
fn who_may_only_read_a_store_can_verify_it_unless_it_is_in_use() {
    let directory = Directory::new();
    let mut node = start(&directory);
    let as_nobody = |words: &[&str]| {
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let output = Command::new("setpriv").args(user).args(words).output();
        output.map(|output| {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            (output.status.success(), said)
        })
    };
    let program = env!("CARGO_BIN_EXE_ticketd");
    let lock = as_argument(&node.store().join("lock"));
    let only_reads = ["test", "-x", program, "-a", "-r", &lock, "-a", "!", "-w", &lock];
    if !as_nobody(&only_reads).is_ok_and(|(only_reads, _)| only_reads) {
        harness::skipped("nobody else may, or can, read the tests' directories");
        return;
    }
    let path = node.path();
    let verify = || as_nobody(&[program, "verify", "--path", &path]).expect("it could just be run");
    let (is_sound, said) = verify();
    assert!(!is_sound && said.contains(&format!("in use by process {}", node.pid())), "{said}");
    node.stop();
    assert_eq!(verify(), (true, node.command(&["verify"]).succeeded()));
    // The lock of the directory is enough, and a file would belong to whoever verifies.
    fs::remove_file(&lock).expect("a stopped node's store has one");
    for (is_sound, said) in [verify(), (true, node.command(&["verify"]).succeeded())] {
        assert!(is_sound, "{said}");
        assert!(!node.store().join("lock").exists(), "verify has made a file");
    }
    node.restart();
    fs::remove_file(&lock).expect("a node's store has one");
    let (is_sound, said) = verify();
    assert!(!is_sound && said.contains("in use by another process"), "{said}");
}
