//! When a node campaigns: what the deadlines are (Raft §5.2, §9.3), and that of several which lose a leader
//! together one goes first. And when a leader that has nothing to do sends its heartbeats.

use std::collections::BTreeSet;

use raft_core::{Config, HEARTBEATS_BEFORE_REST, Micros, Raft, Role};

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, config, membership, peer, recovered};

/// Of two that notice together, the second waits for the first this long.
const STAGGER_US: u64 = HEARTBEAT_INTERVAL_US / 4;

/// How long this node still waits, by its own clock.
fn patience(cluster: &Cluster, number: u64) -> u64 {
    let node = &cluster.nodes[&number];
    node.raft.deadline().expect("a node that votes has a deadline").since(node.now)
}

/// A leader that lives is heard within two heartbeats; where none does, the cluster waits for this node.
#[test]
fn a_node_that_was_just_started_waits_for_two_heartbeats_and_a_random_time_of_an_election_timeout() {
    let now = Micros(7_000_000);
    let patience = |seed| {
        let config = Config { seed, ..config(peer(2)) };
        let raft = Raft::new(config, now, recovered(membership(&[1, 2, 3], &[]), &[]));
        raft.deadline().expect("a follower has one").since(now)
    };
    let seen: BTreeSet<u64> = (0..200).map(patience).collect();
    let (first, last) = (*seen.first().expect("200 seeds"), *seen.last().expect("200 seeds"));
    let shortest = 2 * HEARTBEAT_INTERVAL_US;
    assert!((shortest..shortest + ELECTION_TIMEOUT_US / 10).contains(&first), "{first}");
    let longest = shortest + ELECTION_TIMEOUT_US;
    assert!((longest - ELECTION_TIMEOUT_US / 10..longest).contains(&last), "{last}");
    assert!(seen.len() > 150, "{} times of 200 seeds", seen.len());
}

#[test]
fn a_voter_that_is_alone_waits_for_nobody_and_one_that_is_not_or_a_learner_does() {
    let deadline = |voters: &[u64], learners: &[u64]| {
        let recovered = recovered(membership(voters, learners), &[]);
        Raft::new(config(peer(1)), Micros(5), recovered).deadline()
    };
    assert_eq!(deadline(&[1], &[2]), Some(Micros(5)));
    assert!(deadline(&[1, 2], &[]) > Some(Micros(5)));
    assert!(deadline(&[2], &[1]) > Some(Micros(5)));
}

#[test]
fn when_a_leader_is_gone_its_voters_take_turns_in_the_order_of_their_ids() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4, 5]);
    cluster.elect_transfers(&[3]);
    for (rank, number) in (0..).zip([1, 2, 4, 5]) {
        cluster.unreachable(number, 3);
        assert_eq!(patience(&cluster, number), rank * STAGGER_US, "{number}");
    }
}

#[test]
fn one_that_lost_a_follower_or_a_stranger_waits_as_before() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    for (at, gone) in [(1, 2), (2, 3), (2, 9)] {
        let before = cluster.nodes[&at].raft.deadline();
        cluster.unreachable(at, gone);
        assert_eq!(cluster.nodes[&at].raft.deadline(), before, "{at} lost {gone}");
    }
    assert_eq!(cluster.role(1), Role::Leader);
}

/// Whoever noticed first asks again when each of the others has had its turn, for an election timeout: by
/// then either they have noticed as well, or it was this node that lost the others.
#[test]
fn who_lost_a_leader_first_asks_again_soon_and_after_an_election_timeout_as_rarely_as_ever() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4]);
    cluster.isolate(2);
    cluster.unreachable(2, 1);
    let mut passed = 0;
    while passed < ELECTION_TIMEOUT_US {
        cluster.wake(2);
        assert_eq!(cluster.role(2), Role::PreCandidate);
        assert_eq!(patience(&cluster, 2), 4 * STAGGER_US, "after {passed}");
        passed += 4 * STAGGER_US;
    }
    assert_eq!(passed, ELECTION_TIMEOUT_US);
    cluster.wake(2);
    assert_eq!(cluster.role(2), Role::PreCandidate);
    let patience = patience(&cluster, 2);
    assert!((ELECTION_TIMEOUT_US..2 * ELECTION_TIMEOUT_US).contains(&patience), "{patience}");
}

/// Node 1 leads and has sent this many heartbeats since there was anything to do; all were answered.
fn idle_for(cluster: &mut Cluster, heartbeats: u32) {
    for _ in 0..heartbeats {
        cluster.wake(1);
        cluster.settle();
    }
}

#[test]
fn a_leader_that_has_nothing_to_do_for_a_while_sends_half_as_many_heartbeats() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.barrier(1);
    idle_for(&mut cluster, HEARTBEATS_BEFORE_REST - 1);
    assert_eq!(patience(&cluster, 1), HEARTBEAT_INTERVAL_US);
    idle_for(&mut cluster, 1);
    assert_eq!(patience(&cluster, 1), 2 * HEARTBEAT_INTERVAL_US);
    idle_for(&mut cluster, HEARTBEATS_BEFORE_REST);
    assert_eq!(patience(&cluster, 1), 2 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.role(1), Role::Leader);
}

#[test]
fn a_leader_at_rest_that_is_given_something_to_do_sends_the_next_heartbeat_no_later_than_usual() {
    let work: [fn(&mut Cluster); 4] = [
        |cluster| {
            cluster.barrier(1);
        },
        |cluster| {
            cluster.propose(1, "x");
        },
        |cluster| {
            cluster.add(1, 4);
        },
        |cluster| cluster.transfer(1, Some(2)),
    ];
    for begin in work {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        idle_for(&mut cluster, HEARTBEATS_BEFORE_REST + 1);
        begin(&mut cluster);
        assert_eq!(patience(&cluster, 1), HEARTBEAT_INTERVAL_US);
        idle_for(&mut cluster, 1);
        if cluster.role(1) == Role::Leader {
            assert_eq!(patience(&cluster, 1), HEARTBEAT_INTERVAL_US);
        }
    }
}

#[test]
fn work_puts_no_heartbeat_off() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    idle_for(&mut cluster, 1);
    cluster.node(1).pass(HEARTBEAT_INTERVAL_US - 1);
    cluster.barrier(1);
    assert_eq!(patience(&cluster, 1), 1);
}

/// A follower that misses one heartbeat of a leader at rest must still not campaign.
#[test]
fn two_heartbeats_of_a_leader_at_rest_fit_into_an_election_timeout_but_none_comes_earlier_than_configured() {
    let at_rest = |heartbeat_interval_us| {
        let config = Config { heartbeat_interval_us, ..config(peer(1)) };
        let mut leader = Node::new(config, Micros(0), recovered(membership(&[1], &[]), &[]));
        leader.wake();
        leader.sync();
        for _ in 0..=HEARTBEATS_BEFORE_REST {
            leader.wake();
        }
        assert_eq!(leader.raft.role(), Role::Leader);
        leader.raft.deadline().expect("a leader has one").since(leader.now)
    };
    assert_eq!(at_rest(ELECTION_TIMEOUT_US / 10), ELECTION_TIMEOUT_US / 5);
    assert_eq!(at_rest(ELECTION_TIMEOUT_US / 4), ELECTION_TIMEOUT_US / 5 * 2);
    assert_eq!(at_rest(ELECTION_TIMEOUT_US / 2 - 1), ELECTION_TIMEOUT_US / 2 - 1);
}

/// A lease counts from the heartbeats, and should not lapse because nobody used it.
#[test]
fn a_leader_that_keeps_a_lease_does_not_rest() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    idle_for(&mut cluster, HEARTBEATS_BEFORE_REST + 1);
    assert_eq!(patience(&cluster, 1), HEARTBEAT_INTERVAL_US);
}
