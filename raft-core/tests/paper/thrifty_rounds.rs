//! Rounds that ask no more voters than a majority takes (Moraru, Andersen and Kaminsky, EPaxos, SOSP 2013),
//! and what becomes of them where these do not answer.

use raft_core::{BarrierId, Message, Micros, Output, ROUNDS_UNANSWERED_MAX};

use crate::harness::HEARTBEAT_INTERVAL_US;
use crate::harness::cluster::Cluster;

/// For how long a round may go unanswered before everybody is asked.
const HEDGE_US: u64 = HEARTBEAT_INTERVAL_US / 64;

fn passed(cluster: &mut Cluster, at: u64) -> Vec<BarrierId> {
    let passed = |e: &Output| if let Output::BarrierPassed(barrier) = e { Some(*barrier) } else { None };
    cluster.events(at).iter().filter_map(passed).collect()
}

/// To whom heartbeats are on their way.
fn asked(cluster: &Cluster) -> Vec<u64> {
    let heartbeats = cluster.network.iter().filter(|e| matches!(e.message, Message::Heartbeat(_)));
    heartbeats.map(|e| e.to.id.get()).collect()
}

/// The voters, led by 1, after a round that these have answered, and the others have not answered yet.
fn answered_first_by(voters: &[u64], first: &[u64]) -> Cluster {
    let mut cluster = Cluster::led_by_1(voters);
    answer_first(&mut cluster, first);
    cluster
}

fn answer_first(cluster: &mut Cluster, first: &[u64]) {
    let barrier = cluster.thrifty_barrier(1);
    for number in first {
        cluster.deliver(1, *number);
        cluster.deliver(*number, 1);
    }
    assert_eq!(passed(cluster, 1), [barrier]);
    cluster.settle();
}

fn now(cluster: &mut Cluster) -> Micros {
    cluster.node(1).now
}

#[test]
fn a_thrifty_round_asks_whoever_answered_first_and_passes_with_that_answer() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    let barrier = cluster.thrifty_barrier(1);
    assert_eq!(asked(&cluster), [3]);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [barrier]);
}

#[test]
fn of_five_voters_two_are_asked() {
    let mut cluster = answered_first_by(&[1, 2, 3, 4, 5], &[5, 3]);
    let barrier = cluster.thrifty_barrier(1);
    assert_eq!(asked(&cluster), [3, 5]);
    cluster.deliver(1, 5);
    cluster.deliver(5, 1);
    assert_eq!(passed(&mut cluster, 1), [], "two are no majority");
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [barrier]);
}

#[test]
fn a_round_that_need_not_be_thrifty_asks_everybody() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    cluster.barrier(1);
    assert_eq!(asked(&cluster), [2, 3]);
}

#[test]
fn where_every_voter_is_needed_everybody_is_asked_and_nothing_is_waited_for() {
    let mut cluster = answered_first_by(&[1, 2], &[2]);
    let heartbeat = cluster.node(1).raft.deadline();
    cluster.thrifty_barrier(1);
    assert_eq!(asked(&cluster), [2]);
    assert_eq!(cluster.node(1).raft.deadline(), heartbeat);
}

/// The others are asked only where it takes too long: one that is slow, or cut off, costs a moment.
#[test]
fn a_round_that_is_not_answered_soon_is_asked_of_everybody() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    cluster.cut_both(1, 3);
    let first = cluster.thrifty_barrier(1);
    let hedge = now(&mut cluster).plus(HEDGE_US);
    assert_eq!(cluster.node(1).raft.deadline(), Some(hedge));
    cluster.pass(HEDGE_US / 2);
    let second = cluster.thrifty_barrier(1);
    assert_eq!(cluster.node(1).raft.deadline(), Some(hedge), "the oldest decides");
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), []);
    cluster.wake(1);
    assert_eq!(asked(&cluster), [2, 3]);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [second], "and with it the first, {first:?}");
    cluster.thrifty_barrier(1);
    assert_eq!(asked(&cluster), [2, 3], "who is quick is not known any more");
}

#[test]
fn an_answer_in_time_leaves_nothing_to_be_woken_for_but_the_next_heartbeat() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    let heartbeat = cluster.node(1).raft.deadline();
    cluster.thrifty_barrier(1);
    assert!(cluster.node(1).raft.deadline() < heartbeat);
    cluster.settle();
    assert_eq!(cluster.node(1).raft.deadline(), heartbeat);
}

#[test]
fn when_a_voter_that_was_asked_is_gone_everybody_is_asked_at_once() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    when_3_is_gone_2_is_asked_as_well(&mut cluster);
}

/// Rounds that it was not asked for are none that it left unanswered.
#[test]
fn a_voter_that_has_long_not_been_asked_is_asked_at_once_where_another_is_gone() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    for _ in 0..2 * ROUNDS_UNANSWERED_MAX {
        cluster.thrifty_barrier(1);
        assert_eq!(asked(&cluster), [3]);
        cluster.settle();
    }
    when_3_is_gone_2_is_asked_as_well(&mut cluster);
}

fn when_3_is_gone_2_is_asked_as_well(cluster: &mut Cluster) {
    passed(cluster, 1);
    let barrier = cluster.thrifty_barrier(1);
    cluster.take(1, 3);
    cluster.unreachable(1, 3);
    assert_eq!(asked(cluster), [2, 3]);
    cluster.settle();
    assert_eq!(passed(cluster, 1), [barrier]);
}

/// A lost connection that nobody waits for causes no messages.
#[test]
fn when_a_voter_is_gone_that_owes_no_answer_nobody_is_asked() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    cluster.unreachable(1, 3);
    assert_eq!(asked(&cluster), []);
    cluster.thrifty_barrier(1);
    assert_eq!(asked(&cluster), [2, 3]);
}

#[test]
fn a_heartbeat_goes_to_everybody_and_who_is_quick_is_found_out_anew_after_it() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    cluster.pass(HEARTBEAT_INTERVAL_US - 1);
    cluster.wake(1);
    assert_eq!(asked(&cluster), [2, 3]);
    cluster.settle();
    answer_first(&mut cluster, &[2]);
    cluster.thrifty_barrier(1);
    assert_eq!(asked(&cluster), [2]);
}

/// Its answer says nothing of whether another would have been quicker.
#[test]
fn who_answers_a_round_from_before_the_heartbeat_is_not_chosen_for_it() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    cluster.node(1).pass(HEARTBEAT_INTERVAL_US - 1);
    let barrier = cluster.thrifty_barrier(1);
    cluster.wake(1);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [barrier]);
    cluster.thrifty_barrier(1);
    assert_eq!(asked(&cluster), [2, 3]);
}

/// Nodes that are far apart: everybody would be asked in the end, and that only later.
#[test]
fn where_answers_take_long_everybody_is_asked() {
    for (took_us, asked_next) in [(HEDGE_US - 1, &[3][..]), (HEDGE_US, &[2, 3])] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        cluster.thrifty_barrier(1);
        cluster.node(1).pass(took_us);
        cluster.deliver(1, 3);
        cluster.deliver(3, 1);
        cluster.settle();
        cluster.thrifty_barrier(1);
        assert_eq!(asked(&cluster), asked_next, "{took_us} us");
    }
}

/// One of two voters that were enough need not be enough of four.
#[test]
fn a_change_of_membership_asks_everybody() {
    let mut cluster = answered_first_by(&[1, 2, 3], &[3]);
    cluster.isolate(4);
    cluster.add(1, 4);
    cluster.settle();
    answer_first(&mut cluster, &[3]);
    cluster.cut.clear();
    let barrier = cluster.thrifty_barrier(1);
    cluster.take(1, 3);
    cluster.remove(1, 3);
    assert_eq!(asked(&cluster), [2], "3 has gone, and 4 only learns");
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1), [barrier]);
}
