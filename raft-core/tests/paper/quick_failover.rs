//! What voters do when the leader's process is gone, as their drivers tell them one after the other.

use raft_core::{Incarnation, Input, Message, Output, Peer, Role, Term};

use crate::harness::cluster::Cluster;
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, id, peer};

/// A leader whose process is gone is replaced in milliseconds: its voters campaign one after the other.
#[test]
fn voters_whose_leaders_process_is_gone_replace_it_within_a_heartbeat_interval() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4, 5]);
    cluster.crash(1);
    for at in 2..=5 {
        cluster.unreachable(at, 1);
    }
    let deadlines: Vec<u64> = (2..=5)
        .map(|n| cluster.nodes[&n].raft.deadline().expect("followers have one").since(cluster.nodes[&n].now))
        .collect();
    let stagger = HEARTBEAT_INTERVAL_US / 4;
    assert_eq!(deadlines, [0, stagger, 2 * stagger, 3 * stagger]);
    cluster.pass(1);
    assert_eq!(cluster.leader(), Some(id(2)));
    assert_eq!(cluster.nodes[&5].raft.current_term(), Term(3), "the first won, and nobody else campaigned");
}

/// A process that ran with the same id before may have ended long ago; somebody may learn of that only now.
#[test]
fn the_end_of_a_former_life_of_a_member_says_nothing_about_its_present_one() {
    let former = |number| Peer { incarnation: Incarnation(0), ..peer(number) };
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let deadline = cluster.nodes[&2].raft.deadline();
    cluster.step(2, Input::PeerUnreachable(former(1)));
    assert_eq!((cluster.nodes[&2].raft.leader(), cluster.nodes[&2].raft.deadline()), (Some(id(1)), deadline));

    // What tells the leader that node 2 is gone makes node 3 the better one to hand over to.
    cluster.step(1, Input::PeerUnreachable(former(2)));
    cluster.transfer(1, None);
    assert_eq!(cluster.nodes[&1].raft.transfer_target(), Some(id(2)));
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.unreachable(1, 2);
    cluster.transfer(1, None);
    assert_eq!(cluster.nodes[&1].raft.transfer_target(), Some(id(3)));
}

/// The first to notice asks the second while that one still hears the leader. Nobody's time passes: the
/// second grants as soon as it has noticed too, and its own turn, which comes later, is not waited for.
#[test]
fn a_voter_grants_the_pre_vote_that_it_refused_a_moment_before_it_lost_the_leader_itself() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.down.insert(1);
    cluster.unreachable(2, 1);
    cluster.wake(2);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::PreCandidate, "3 still hears the leader and refuses");
    cluster.unreachable(3, 1);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
}

/// The way takes longer than one of them is ahead of the other, so that their pre-votes cross.
#[test]
fn of_voters_whose_pre_votes_cross_one_leads_without_another_election() {
    for voters in [&[1, 2, 3][..], &[1, 2, 3, 4, 5]] {
        let mut cluster = Cluster::led_by_1(voters);
        cluster.down.insert(1);
        for number in &voters[1..] {
            cluster.unreachable(*number, 1);
        }
        for number in &voters[1..] {
            cluster.wake(*number);
        }
        cluster.settle();
        assert_eq!((cluster.role(2), cluster.nodes[&2].raft.current_term()), (Role::Leader, Term(3)));
    }
}

/// It listens for a while before it draws a conclusion from the silence, but this is no silence.
#[test]
fn a_voter_that_was_paused_asks_at_once_where_it_learns_that_the_leaders_process_is_gone() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.node(2).pass(3 * ELECTION_TIMEOUT_US);
    cluster.node(2).wake_now();
    cluster.unreachable(2, 1);
    cluster.wake(2);
    assert_eq!(cluster.role(2), Role::PreCandidate);
}

/// A leader that is heard again has not been lost: what was refused for its sake stays refused.
#[test]
fn a_refused_pre_vote_is_forgotten_when_the_leader_is_heard_again() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.unreachable(2, 1);
    cluster.cut.insert((1, 2));
    cluster.wake(2);
    cluster.settle();
    cluster.wake(1);
    cluster.settle();
    cluster.down.insert(1);
    cluster.unreachable(3, 1);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::PreCandidate);
}

/// A leader that stops hands over to somebody; it should not wait for one whose process is known to be gone.
#[test]
fn a_hand_over_chooses_no_voter_that_is_gone_and_ends_at_once_where_all_are() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.down.insert(2);
    cluster.unreachable(1, 2);
    cluster.transfer(1, None);
    cluster.settle();
    assert_eq!(cluster.role(3), Role::Leader);

    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    for gone in [2, 3] {
        cluster.down.insert(gone);
        cluster.unreachable(1, gone);
    }
    cluster.events(1);
    cluster.transfer(1, None);
    assert_eq!(cluster.events(1), [Output::TransferAborted]);
}

#[test]
fn a_voter_that_alone_lost_the_connection_to_its_leader_is_refused_and_follows_again() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.unreachable(2, 1);
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.role(1), Role::Leader);
    assert_eq!(cluster.nodes[&2].raft.leader(), Some(id(1)));
    assert_eq!(cluster.nodes[&2].raft.current_term(), Term(2));
}

/// Quick failover is for the moment in which the others find out as well; without a majority it would
/// otherwise ask many times a heartbeat for as long as the others are down.
#[test]
fn a_voter_left_alone_asks_quickly_for_an_election_timeout_and_then_patiently() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let asked_within = |cluster: &mut Cluster, us: u64| {
        let end = cluster.nodes[&2].now.plus(us);
        let mut asked = 0;
        while cluster.nodes[&2].raft.deadline().is_some_and(|at| at < end) {
            cluster.wake(2);
            asked += cluster.take(2, 3).iter().filter(|e| matches!(e.message, Message::PreVote(_))).count();
        }
        asked
    };
    cluster.unreachable(2, 1);
    let at_first = asked_within(&mut cluster, ELECTION_TIMEOUT_US);
    assert!(at_first >= 5, "{at_first} times in the first election timeout");
    let later = asked_within(&mut cluster, 20 * ELECTION_TIMEOUT_US);
    assert!((10..=21).contains(&later), "{later} times in the next twenty");
}
