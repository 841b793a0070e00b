//! Stores that are dropped, verified, in the way, or not there.

mod harness;

use std::fs;

use harness::cluster::{self, Cluster};
use harness::directory::{Directory, contents};
use harness::node::Node;
use harness::wait;

/// A stopped node that has handed out some IDs.
fn stopped(directory: &Directory) -> Node {
    let mut node = Node::start(directory, 1, &["--window", "10"]);
    for _ in 0..50 {
        wait::until("an ID", || cluster::take(&node.clients));
    }
    node.stop();
    node
}

#[test]
fn a_sound_store_is_verified_and_goes_on() {
    let directory = Directory::new();
    let mut node = stopped(&directory);
    let store = contents(node.store());
    let said = node.command(&["verify"]).succeeded();
    assert!(!said.is_empty());
    assert_eq!(contents(node.store()), store, "whoever verifies writes nothing");
    node.restart();
    assert!(wait::until("an ID", || cluster::take(&node.clients)) > 50);
}

#[test]
fn a_store_of_a_killed_node_is_sound() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--window", "0"]);
    for _ in 0..5 {
        wait::until("an ID", || cluster::take(&node.clients));
        node.kill();
        node.command(&["verify"]).succeeded();
        node.restart();
    }
}

#[test]
fn a_store_in_use_can_not_be_verified_dropped_or_served_twice() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &[]);
    let pid = node.pid().to_string();
    node.command(&["verify"]).refused(&["in use", &pid]);
    node.command(&["drop"]).refused(&["in use", &pid]);
    node.command(&["drop", "--force"]).refused(&["in use", &pid]);
    node.command(&["--raft_port", "0", "--http_port", "0"]).refused(&["in use", &pid]);
    node.command(&["start", "--id", "1", "--raft_port", "0", "--http_port", "0"]).refused(&[]);
    node.command(&["start", "--id", "1", "--force", "--raft_port", "0", "--http_port", "0"])
        .refused(&["in use"]);
    assert!(wait::until("an ID", || cluster::take(&node.clients)) > 0);
}

#[test]
fn a_dropped_store_is_gone() {
    let directory = Directory::new();
    let node = stopped(&directory);
    node.command(&["drop"]).succeeded();
    assert!(!fs::exists(node.store()).unwrap());
    node.command(&["drop"]).refused(&["no store"]);
    node.command(&["verify"]).refused(&["no store"]);
    node.command(&[]).refused(&["no store"]);
}

#[test]
fn a_drop_leaves_files_alone_that_are_not_its_own() {
    let directory = Directory::new();
    let node = stopped(&directory);
    let notes = node.store().join("notes");
    fs::write(&notes, "do not lose this").unwrap();
    node.command(&["drop"]).succeeded();
    assert_eq!(fs::read_to_string(&notes).unwrap(), "do not lose this");
}

#[test]
fn a_store_in_the_way_of_start_stays_unless_forced() {
    let directory = Directory::new();
    let mut node = stopped(&directory);
    let store = contents(node.store());
    let line = ["start", "--id", "2", "--raft_port", "0", "--http_port", "0"];
    node.command(&line).refused(&["drop", "--force"]);
    assert_eq!(contents(node.store()), store);
    drop(node);
    node = Node::start(&directory, 1, &["--force"]);
    assert_eq!(wait::until("an ID", || cluster::take(&node.clients)), 1, "another cluster begins anew");
}

#[test]
fn a_store_in_the_way_of_join_stays_unless_forced() {
    let cluster = Cluster::of(1);
    let elsewhere = Directory::new();
    let mut node = Node::start(&elsewhere, 2, &[]);
    node.stop();
    let store = node.findings();
    let one = cluster.awake().next().map(|node| node.peers.clone()).unwrap();
    let line = ["join", &one, "--id", "2", "--raft_port", "0", "--http_port", "0"];
    node.command(&line).refused(&["drop", "--force"]);
    assert_eq!(node.findings(), store);
    drop(node);
    let node = Node::join(&elsewhere, 2, &[&one], &["--force"]);
    node.await_status("both vote", |status| status.voters() == [1, 2]);
}

#[test]
fn the_store_stays_far_below_its_size_however_long_the_node_serves() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &["--window", "0", "--db_size", "16"]);
    let load = harness::load::Load::on(vec![node.clients.clone()]);
    // Each batch is an entry of the log: without compaction they would fill the store.
    node.await_status("thousands of entries", |status| status.commit_index > 10_000);
    load.await_more(100);
    load.finish().check();
    let status = node.status().unwrap();
    assert_eq!(status.role, "leader");
    let length = |file| fs::metadata(node.store().join(file)).unwrap().len();
    let lengths = ["data.mdb", "data.journal"].map(length);
    assert!(lengths.iter().sum::<u64>() <= 16 * 1024 * 1024, "{lengths:?} bytes");
}
