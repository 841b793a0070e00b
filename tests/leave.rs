//! A leave that could take another node for the one that is meant.

mod harness;

use std::fs;
use std::process::Command;

use harness::cluster::Cluster;
use harness::command;
use harness::node::Node;
use rustix::process::Signal;

/// The node is removed from elsewhere, its store is dropped, and a new node joins in its place, all while
/// the command waits for a leader.
#[test]
fn a_leave_that_comes_too_late_spares_the_node_that_took_the_place() {
    let mut cluster = Cluster::of(3);
    let (leaver, rest, leave) = cluster.leave_without_a_leader();
    // It does not run meanwhile, as on a busy machine.
    leave.signal(Signal::STOP);
    cluster.node(leaver).kill();
    for id in &rest {
        cluster.node(*id).restart();
    }
    cluster.leader();
    cluster.node(rest[0]).command(&["leave", "--id", &leaver.to_string()]).succeeded();
    cluster.node(leaver).command(&["drop"]).succeeded();
    let port = |address: &str| address.rsplit(':').next().expect("a port follows").to_owned();
    let (raft_port, http_port) =
        (port(&cluster.node(leaver).peer_address), port(&cluster.node(leaver).client_address));
    let member = cluster.node(rest[0]).peer_address.clone();
    cluster.forget(leaver);
    let flags = ["--raft_port", &raft_port, "--http_port", &http_port];
    let mut successor = Node::join(&cluster.directory, leaver, &[&member], &flags);
    cluster.await_voters(&[1, 2, 3]);

    leave.signal(Signal::CONT);
    leave.end().succeeded();
    // Neither its process nor its store was touched.
    successor.stop();
    successor.restart();
    successor.await_status("it is a member", |status| status.leader.is_some());
}

/// As where the node runs in a container: from here, another node answers at the address at which it listens.
#[test]
fn a_command_is_not_carried_out_by_another_node_that_answers_in_the_place_of_the_one_that_is_meant() {
    let mut cluster = Cluster::steady(3);
    let (leader, meant) = (cluster.leader(), cluster.follower());
    let (own, other) = (cluster.node(meant).peer_address.clone(), cluster.node(leader).peer_address.clone());
    let lock = cluster.node(meant).store().join("lock");
    let said = fs::read_to_string(&lock).expect("a running node has a lock file");
    let write = |content| fs::write(&lock, content).expect("the test's own directory can be written to");
    write(said.replace(&own, &other));
    for command in
        [&["status"][..], &["status", "--json"], &["transfer"], &["leave"], &["leave", "--id", "7"]]
    {
        cluster.node(meant).command(command).refused(&["another network", "give the command there"]);
    }
    write(said);
    cluster.await_voters(&[1, 2, 3]);
    assert_eq!(cluster.leader(), leader);
}

/// As in a container: the end of the node ends the command that waits for it.
#[test]
fn a_node_that_is_the_first_process_waits_for_the_command_that_destroys_its_store() {
    const ALONE: [&str; 6] = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    if !Command::new(ALONE[0]).args(&ALONE[1..]).arg("true").status().is_ok_and(|status| status.success()) {
        harness::skipped("no process may have numbers of its own here");
        return;
    }
    let mut cluster = Cluster::of(3);
    cluster.leader();
    let id = cluster.follower();
    let node = cluster.node(id);
    node.stop();
    node.respawn_by(&ALONE);
    node.await_listening();
    node.await_status("it is back", |status| status.leader.is_some());
    let parent = node.pid();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let first = children.expect("Linux tells the children").trim().to_owned();
    let there = ["nsenter", "--target", &first, "--user", "--preserve-credentials", "--pid"];
    let leave = command::ticketd_by(&there, &["leave", "--path", &node.path()]).output();
    let leave = leave.expect("nsenter is there where unshare is");
    let said = String::from_utf8_lossy(&[leave.stdout, leave.stderr].concat()).into_owned();
    assert!(leave.status.success() && said.contains("is destroyed"), "{}: {said}", leave.status);
    assert!(!node.store().exists(), "the store is still there");
    assert!(node.await_end().success());
}
