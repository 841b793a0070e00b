//! A leave that is overtaken by what happens elsewhere.

mod harness;

use std::path::Path;

use harness::cluster::Cluster;
use harness::command;
use harness::node::Node;
use harness::wait;
use rustix::process::Signal;

/// The node is removed from elsewhere, its store is dropped, and a new node joins in its place, all while
/// the command waits for a leader.
#[test]
fn a_leave_that_comes_too_late_spares_the_node_that_took_the_place() {
    let mut cluster = Cluster::of(3);
    let leaver = cluster.follower();
    let rest: Vec<u64> = (1..=3).filter(|id| *id != leaver).collect();
    for id in &rest {
        cluster.node(*id).kill();
    }
    let node = cluster.node(leaver);
    node.await_status("it notices", |status| status.leader.is_none());
    let leave = command::Running::spawn(Path::new("."), &["leave", "--path", &node.path()]);
    wait::until_true("the command asks the node", || leave.stderr().contains("no leader is known"));
    // It does not run meanwhile, as on a busy machine.
    leave.signal(Signal::STOP);
    node.kill();
    for id in &rest {
        cluster.node(*id).restart();
    }
    cluster.leader();
    cluster.node(rest[0]).command(&["leave", "--id", &leaver.to_string()]).succeeded();
    cluster.node(leaver).command(&["drop"]).succeeded();
    let port = |address: &str| address.rsplit(':').next().expect("a port follows").to_owned();
    let (raft_port, http_port) = (port(&cluster.node(leaver).peers), port(&cluster.node(leaver).clients));
    let member = cluster.node(rest[0]).peers.clone();
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
