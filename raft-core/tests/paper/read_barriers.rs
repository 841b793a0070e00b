//! ReadIndex (dissertation §6.4).

use raft_core::{BarrierId, Message, Output, ROUNDS_UNANSWERED_MAX, Role};

use crate::harness::cluster::Cluster;
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US};

fn passed(cluster: &mut Cluster, at: u64) -> Vec<BarrierId> {
    let passed = |e: &Output| if let Output::BarrierPassed(barrier) = e { Some(*barrier) } else { None };
    cluster.events(at).iter().filter_map(passed).collect()
}

/// 1 leads, and its no-op is durable with itself alone.
fn led_by_1_before_its_first_commit() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.stalled.extend([2, 3]);
    cluster.campaign(1);
    cluster.settle();
    cluster.sync(2);
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Leader);
    cluster
}

#[test]
fn a_barrier_passes_when_a_majority_has_answered_its_round() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4, 5]);
    let barrier = cluster.barrier(1);
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    assert_eq!(passed(&mut cluster, 1), []);
    cluster.deliver(1, 3);
    cluster.deliver(3, 1);
    assert_eq!(passed(&mut cluster, 1), [barrier]);
}

#[test]
fn the_barrier_of_a_single_voter_passes_at_once() {
    let mut cluster = Cluster::led_by_1(&[1]);
    let barrier = cluster.barrier(1);
    assert_eq!(passed(&mut cluster, 1), [barrier]);
}

#[test]
fn an_answer_to_a_round_from_before_the_barrier_does_not_count() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let first = cluster.barrier(1);
    cluster.deliver(1, 2);
    cluster.deliver(1, 3);
    // The answers to the first round are on their way when the second begins.
    let second = cluster.barrier(1);
    cluster.deliver(2, 1);
    cluster.deliver(3, 1);
    assert_eq!(passed(&mut cluster, 1), [first]);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [second]);
}

#[test]
fn a_later_round_lets_every_earlier_barrier_pass() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.barrier(1);
    cluster.barrier(1);
    cluster.network.clear();
    let last = cluster.barrier(1);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [last]);
}

/// §6.4, step 1: a new leader does not know what is committed before an entry of its own term is.
#[test]
fn no_barrier_passes_before_an_entry_of_the_leaders_own_term_is_committed() {
    let mut cluster = led_by_1_before_its_first_commit();
    let barrier = cluster.barrier(1);
    cluster.settle();
    assert_eq!(
        passed(&mut cluster, 1),
        [],
        "every heartbeat is answered, but the no-op is durable here alone"
    );
    cluster.sync(2);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [barrier]);
}

/// A driver that reads nothing of the state need not know what is committed. Barriers pass in their order
/// nevertheless.
#[test]
fn a_barrier_that_confirms_the_leadership_alone_waits_for_no_commit() {
    let mut cluster = led_by_1_before_its_first_commit();
    let alone = cluster.barrier_before_commit(1);
    assert_eq!(passed(&mut cluster, 1), [], "nobody has answered");
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [alone]);
    cluster.barrier(1);
    let behind = cluster.barrier_before_commit(1);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), []);
    cluster.sync(2);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [behind]);
}

#[test]
fn a_lost_round_is_repeated_with_the_next_heartbeat() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let barrier = cluster.barrier(1);
    cluster.network.clear();
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert_eq!(passed(&mut cluster, 1), [barrier]);
}

#[test]
fn a_partitioned_leader_lets_nothing_pass_and_forgets_it_when_it_steps_down() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(1);
    cluster.barrier(1);
    cluster.pass(ELECTION_TIMEOUT_US + 2 * HEARTBEAT_INTERVAL_US);
    assert_ne!(cluster.role(1), Role::Leader);
    cluster.cut.clear();
    cluster.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!(passed(&mut cluster, 1), []);
}

#[test]
fn the_answer_of_a_learner_does_not_count() {
    let mut cluster = Cluster::led_by_1(&[1, 2]);
    cluster.add(1, 3);
    cluster.cut_both(1, 2);
    let heartbeats = |cluster: &mut Cluster| {
        cluster.barrier(1);
        cluster.settle();
    };
    heartbeats(&mut cluster);
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert_eq!(passed(&mut cluster, 1), []);
}

/// Only voters' answers let a barrier pass; but everybody must hear of the leader, and of what is committed.
#[test]
fn the_round_of_a_barrier_goes_to_the_voters_and_a_heartbeat_to_every_member() {
    let mut cluster = Cluster::led_by_1(&[1, 2]);
    cluster.isolate(3);
    cluster.add(1, 3);
    cluster.settle();
    let receivers = |cluster: &mut Cluster| {
        let sent = cluster.network.drain(..).filter(|e| matches!(e.message, Message::Heartbeat(_)));
        sent.map(|e| e.to.id.get()).collect::<Vec<u64>>()
    };
    cluster.barrier(1);
    assert_eq!(receivers(&mut cluster), [2]);
    cluster.wake(1);
    assert_eq!(receivers(&mut cluster), [2, 3]);
}

#[test]
fn heartbeats_are_answered_while_the_disk_stalls() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.extend([1, 2, 3]);
    cluster.propose(1, "durable nowhere");
    let barrier = cluster.barrier(1);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [barrier]);
}

#[test]
fn more_barriers_than_the_bound_are_forgotten() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(1);
    let barriers: Vec<BarrierId> = (0..=raft_core::BARRIERS_MAX).map(|_| cluster.barrier(1)).collect();
    cluster.network.clear();
    cluster.cut.clear();
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert_eq!(passed(&mut cluster, 1).last(), barriers.iter().rev().nth(1));
    let sent = cluster.network.iter().filter(|e| matches!(e.message, Message::Heartbeat(_))).count();
    assert_eq!(sent, 0);
}

/// What waits in a link that is too narrow for all rounds delays everything that is sent on it later.
#[test]
fn a_voter_that_does_not_keep_up_with_the_rounds_is_asked_no_more_than_it_can_answer() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    let mut on_their_way = Vec::new();
    let mut ask = |cluster: &mut Cluster| {
        for _ in 0..1_000 {
            cluster.barrier(1);
            cluster.deliver(1, 2);
            cluster.deliver(2, 1);
            on_their_way.extend(cluster.take(1, 3));
        }
        std::mem::take(&mut on_their_way)
    };
    let mut asked = ask(&mut cluster);
    assert_eq!(asked.len(), ROUNDS_UNANSWERED_MAX);
    for answered in [10, 1] {
        for envelope in asked.drain(..answered) {
            cluster.arrive(envelope);
        }
        cluster.deliver(3, 1);
        let more = ask(&mut cluster);
        assert_eq!(more.len(), answered, "as many as it has answered");
        asked.extend(more);
    }
    // What was lost is not waited for: an answer to the latest round answers for all.
    let Some(latest) = asked.pop() else { panic!("it was asked") };
    cluster.arrive(latest);
    cluster.deliver(3, 1);
    assert_eq!(ask(&mut cluster).len(), ROUNDS_UNANSWERED_MAX);
}

/// Where nodes are far apart, the next heartbeat is on its way before the last one is answered. Under load
/// each is of another round, so no answer is ever to the latest.
#[test]
fn rounds_that_were_lost_are_not_waited_for_even_if_no_answer_is_to_the_latest_round() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    // Returns what is on its way to 3.
    let ask = |cluster: &mut Cluster| {
        cluster.barrier(1);
        cluster.deliver(1, 2);
        cluster.deliver(2, 1);
        cluster.take(1, 3)
    };
    let lost: Vec<_> = (0..2 * ROUNDS_UNANSWERED_MAX).flat_map(|_| ask(&mut cluster)).collect();
    assert_eq!(lost.len(), ROUNDS_UNANSWERED_MAX);
    let mut heartbeats = Vec::new();
    for _ in 0..2 {
        cluster.wake(1);
        heartbeats.push(cluster.take(1, 3));
        assert_eq!(ask(&mut cluster).len(), 0, "it lags");
    }
    for envelope in heartbeats.remove(0) {
        cluster.arrive(envelope);
    }
    assert_eq!(cluster.deliver(3, 1), 1);
    assert_eq!(ask(&mut cluster).len(), 1);
}
