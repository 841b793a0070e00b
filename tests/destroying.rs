//! What is checked, said and held before a store is destroyed.

mod harness;

use std::fs;
use std::io::{self, Read, Write};
use std::process::Stdio;

use rustix::process::Signal;

use harness::cluster::{self, Cluster};
use harness::command;
use harness::directory::{Directory, contents};
use harness::node::Node;
use harness::wait;

#[test]
fn what_only_a_store_knows_is_said_before_it_is_dropped_and_it_stays_if_that_cannot_be_said() {
    let directory = Directory::new();
    let node = cluster::stopped(&directory);
    let store = contents(node.store());
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    // As with `ticketd drop | true`.
    let (reader, unread) = io::pipe().unwrap();
    drop(reader);
    for stdout in [Stdio::from(unread), Stdio::from(full)] {
        let ended = command::ticketd(&["drop", "--path", &node.path()]).stdout(stdout).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        for words in ["cannot write to standard output", "nothing has changed", "run the command again"] {
            assert!(said.contains(words), "'{words}' is missing: {said}");
        }
        assert_eq!(contents(node.store()), store);
    }
    let said = node.command(&["drop"]).succeeded();
    let place = |words| said.find(words).unwrap_or_else(|| panic!("no '{words}': {said}"));
    assert!(place("--first_id") < place("is destroyed"), "{said}");
}

/// Another process must not hand out more IDs in between, which nobody would be told of.
#[test]
fn a_store_is_held_from_when_its_last_words_are_said_until_it_is_destroyed() {
    let directory = Directory::new();
    let node = cluster::stopped(&directory);
    let (mut reader, mut writer) = io::pipe().unwrap();
    // As if whoever reads it had stopped reading.
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[0; 512]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut drop_command = command::ticketd(&["drop", "--path", &node.path()]);
    let mut dropping = drop_command.stdout(writer).spawn().unwrap();
    // It holds a copy of the writer, and the pipe would never end.
    drop(drop_command);
    let pid = format!("in use by process {}", dropping.id());
    wait::until_true("drop holds the store", || node.command(&["verify"]).stderr.contains(&pid));
    node.command(&["--raft_port", "0", "--http_port", "0"]).refused(&[&pid]);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(said.contains("--first_id") && said.contains("is destroyed"), "{said}");
    assert!(dropping.wait().unwrap().success());
    assert!(!node.store().join("data.mdb").exists());
}

#[test]
fn a_store_that_cannot_be_read_for_a_reason_outside_of_it_is_not_destroyed_for_another() {
    let directory = Directory::new();
    let node = cluster::stopped(&directory);
    let findings = node.findings();
    // Too little to map the store.
    let path = node.path();
    let args = ["start", "--id", "1", "--force", "--raft_port", "0", "--http_port", "0", "--path", &path];
    let output = command::ticketd_by(&["prlimit", "--as=209715200"], &args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing has changed") && said.contains("drop --force"), "{said}");
    assert_eq!(node.findings(), findings);
}

/// No node can have it any more, but who its node was, and may still be to the others, can be read.
#[test]
fn a_store_that_is_an_earlier_copy_is_destroyed_by_force_once_it_is_said_whom_the_others_may_count() {
    let mut cluster = Cluster::with_flags(3, &["--window", "0", "--election_timeout", "10000"]);
    let (leader, rolled_back) = (cluster.leader(), cluster.follower());
    cluster.roll_back(rolled_back);
    let node = cluster.node(rolled_back);
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(3));
    cluster.forget(rolled_back);
    let anew = Node::start(&cluster.directory, rolled_back, &["--force"]);
    let log = anew.log();
    let place = |words: &str| log.find(words).unwrap_or_else(|| panic!("no '{words}': {log}"));
    let notice = format!("--force destroys a store: node {rolled_back} may still be a member of its cluster");
    assert!(place(&notice) < place("destroyed the store that was at"), "{log}");
    let (_, incarnation) = log.split_once(" with incarnation ").expect("a node is more than its number");
    let incarnation: String = incarnation.chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(incarnation.len(), 32, "{log}");
    let status = cluster.node(leader).command(&["status", "--json"]).succeeded();
    assert!(status.contains(&incarnation), "{incarnation} is of no member: {status}");
}
