//! A node that did not run for a while, because its process or its machine stood still: its silence and that
//! of the others mean nothing at first.

use raft_core::{Role, Term};

use crate::harness::cluster::Cluster;
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US};

/// A machine that stood still for a while, and everything on it: nobody could be heard.
#[test]
fn after_a_pause_of_all_nodes_a_follower_listens_once_more_and_the_leader_leads_on() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    for node in cluster.nodes.values_mut() {
        node.pass(10 * ELECTION_TIMEOUT_US);
    }
    for first_to_wake in [2, 3, 1] {
        cluster.node(first_to_wake).wake_now();
        cluster.collect(first_to_wake);
    }
    cluster.settle();
    cluster.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!((cluster.role(1), cluster.nodes[&1].raft.current_term()), (Role::Leader, Term(2)));
}

#[test]
fn a_follower_that_is_late_listens_for_two_heartbeat_intervals() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let node = cluster.node(2);
    node.pass(10 * ELECTION_TIMEOUT_US);
    node.wake_now();
    assert_eq!(node.raft.deadline(), Some(node.now.plus(2 * HEARTBEAT_INTERVAL_US)));
}

#[test]
fn a_follower_that_is_late_again_campaigns_although_it_was_late() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.down.insert(1);
    cluster.isolate(1);
    for expected in [Role::Follower, Role::PreCandidate] {
        cluster.node(2).pass(10 * ELECTION_TIMEOUT_US);
        cluster.node(2).wake_now();
        assert_eq!(cluster.role(2), expected);
    }
}

#[test]
fn a_leader_that_is_late_asks_once_more_and_steps_down_if_nobody_answers() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(1);
    cluster.node(1).pass(10 * ELECTION_TIMEOUT_US);
    cluster.node(1).wake_now();
    assert_eq!(cluster.role(1), Role::Leader);
    cluster.wake(1);
    assert_eq!(cluster.role(1), Role::Leader, "answers may take longer than one interval");
    cluster.wake(1);
    assert_eq!(cluster.role(1), Role::Follower);
}

#[test]
fn a_leader_that_was_late_before_it_was_elected_asks_once_more_all_the_same() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.crash(1);
    cluster.node(2).pass(10 * ELECTION_TIMEOUT_US);
    cluster.node(2).wake_now();
    assert_eq!(cluster.role(2), Role::Follower, "its one excuse");
    cluster.elect(2);
    cluster.isolate(2);
    cluster.node(2).pass(10 * ELECTION_TIMEOUT_US);
    cluster.node(2).wake_now();
    assert_eq!(cluster.role(2), Role::Leader);
}

/// What was being written when everything stood still is no sign of a disk that stalls.
#[test]
fn after_a_pause_of_all_nodes_with_a_write_under_way_the_leader_leads_on() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.propose(1, "x");
    for node in cluster.nodes.values_mut() {
        node.pass(5 * ELECTION_TIMEOUT_US);
    }
    cluster.settle();
    cluster.node(1).wake_now();
    cluster.collect(1);
    cluster.stalled.clear();
    cluster.settle();
    cluster.pass(ELECTION_TIMEOUT_US);
    assert_eq!((cluster.role(1), cluster.nodes[&1].raft.current_term()), (Role::Leader, Term(2)));
}
