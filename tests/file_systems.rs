//! Stores on file systems that are full.

// They are mounted with Linux's commands.
#![cfg(target_os = "linux")]

mod harness;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::cluster;
use harness::command;
use harness::directory::{Directory, as_argument, contents};
use harness::node::Node;
use harness::wait;
use rustix::process::Signal;

/// So much holds a store, and some more of what a node writes.
const DISK_BYTES: u64 = 3 << 20;

/// Many times as many as a journal takes.
const TAKEN_MAX: u32 = 20_000;

/// Ports that need not be known.
const ANY_PORTS: [&str; 4] = ["--raft_port", "0", "--http_port", "0"];

/// A file system that is mounted, until this is dropped.
struct Mount(PathBuf);

impl Mount {
    /// A small one of its own. `None` where nobody may mount one.
    fn small(at: &Path) -> Option<Mount> {
        let size = format!("size={DISK_BYTES}");
        Mount::new(at, &["-t", "tmpfs", "-o", &size, "none"])
    }

    fn new(at: &Path, args: &[&str]) -> Option<Mount> {
        fs::create_dir(at).expect("the test's own directory can be written to");
        if !run_mount(&[args, &[&as_argument(at)]].concat()) {
            eprintln!("skipped: this user may not mount anything");
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

    fn make_room(&self) {
        fs::remove_file(self.filler()).expect("the test's own file system");
    }
}

fn run_mount(args: &[&str]) -> bool {
    Command::new("mount").args(args).output().is_ok_and(|output| output.status.success())
}

impl Drop for Mount {
    fn drop(&mut self) {
        // At once, whoever still uses it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn take(node: &Node) -> u64 {
    wait::until("an ID", || cluster::take(&node.clients))
}

/// A node of which every ID is in its log, at `directory/1`.
fn start(directory: &Directory) -> Node {
    let node = Node::start(directory, 1, &["--window", "0"]);
    take(&node);
    node
}

/// Takes IDs until the node hands out no more; gives the last.
fn take_all(node: &Node) -> u64 {
    let mut last = 0;
    for _ in 0..TAKEN_MAX {
        match cluster::take(&node.clients) {
            Some(id) => last = id,
            None if node.log().contains("takes no further part") => return last,
            None => (),
        }
    }
    panic!("the disk was full, and {last} was handed out");
}

/// What a node writes to its journal has its place there; what says which process it is, has none.
#[test]
fn a_sound_store_on_a_full_disk_is_verified_and_serves() {
    let directory = Directory::new();
    let Some(disk) = Mount::small(&directory.path().join("1")) else { return };
    let mut node = start(&directory);
    node.stop();
    disk.fill();
    node.command(&["verify"]).succeeded();
    node.restart();
    let last = take(&node);
    assert!(node.log().contains("No space left"), "{}", node.log());
    for command in [&["verify"][..], &["drop", "--force"], &["status"], &ANY_PORTS] {
        node.command(command).refused(&["in use by another process"]);
    }
    node.stop();
    disk.make_room();
    node.restart();
    assert!(take(&node) > last);
    assert!(node.command(&["status"]).succeeded().contains(&node.pid().to_string()));
}

#[test]
fn a_node_that_can_not_write_what_it_must_not_forget_takes_no_part_until_there_is_room() {
    let directory = Directory::new();
    let Some(disk) = Mount::small(&directory.path().join("1")) else { return };
    let mut node = start(&directory);
    disk.fill();
    let last = take_all(&node);
    let takes_no_part = |node: &mut Node| {
        wait::until_true("it says so", || node.log().contains("takes no further part"));
        assert_eq!(cluster::take(&node.clients), None);
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
    // The journal has no room for its vote, and the data file none for what the journal has.
    node.restart();
    takes_no_part(&mut node);
    node.command(&[&["--db_size", "20"], &ANY_PORTS[..]].concat())
        .refused(&["No space left", "see to the disk"]);
    disk.make_room();
    node.restart();
    assert!(take(&node) > last);
}

#[test]
fn on_a_full_disk_a_store_can_be_dropped_and_none_be_made() {
    let directory = Directory::new();
    let Some(disk) = Mount::small(&directory.path().join("1")) else { return };
    let mut node = start(&directory);
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
