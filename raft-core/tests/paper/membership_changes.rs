//! Membership (dissertation §4).

use raft_core::Role;

use crate::harness::cluster::Cluster;
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, id, peer};

/// Nodes 1 and 2, of which 2 was added to a cluster of 1 and promoted, and now leads.
fn pair_led_by_the_newcomer() -> Cluster {
    let mut cluster = Cluster::led_by_1(&[1]);
    cluster.add(1, 2);
    cluster.settle();
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert!(cluster.nodes[&1].raft.membership().is_voter(id(2)), "caught up and promoted");
    cluster.transfer(1, Some(2));
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
    cluster
}

/// §4.2.2: the entry that removes it may be nowhere but in its own log, and then nobody else can win. After a
/// restart its commit index stands at its snapshot, where it was no member yet: that must not keep it from it.
#[test]
fn a_leader_that_alone_holds_its_own_removal_campaigns_after_a_restart_and_completes_it() {
    let mut cluster = pair_led_by_the_newcomer();
    cluster.cut_both(1, 2);
    cluster.remove(2, 2);
    cluster.settle();
    cluster.crash(2);
    cluster.restart(2);
    cluster.cut.clear();
    cluster.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.role(1), Role::Leader);
    assert!(!cluster.nodes[&1].raft.committed_membership().contains(peer(2)), "the removal is committed");
}
