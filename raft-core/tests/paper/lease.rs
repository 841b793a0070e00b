//! Leases (dissertation §6.4.1): what a leader may rely on, and what binds those who promised.

use raft_core::{
    BarrierId, CampaignReason, Config, Incarnation, Input, LogIndex, Message, Output, Peer, PreVote,
    Recovered, RequestVote, Role, Term,
};

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, add, config, heartbeat_response, id, peer};

fn passed(cluster: &mut Cluster, at: u64) -> Vec<BarrierId> {
    let passed = |e: &Output| if let Output::BarrierPassed(barrier) = e { Some(*barrier) } else { None };
    cluster.events(at).iter().filter_map(passed).collect()
}

/// Whether a barrier that begins now at node 1 passes without a message.
fn serves_from_lease(cluster: &mut Cluster) -> bool {
    cluster.network.clear();
    cluster.events(1);
    let barrier = cluster.barrier(1);
    let at_once = passed(cluster, 1) == [barrier];
    assert_eq!(at_once, cluster.network.is_empty(), "either it passes or it begins a round");
    at_once
}

/// Another node asks for a vote in the term after its own.
fn request_vote(cluster: &mut Cluster, from: u64, to: u64, reason: CampaignReason) {
    let raft = &cluster.nodes[&from].raft;
    let (term, last_log_index) = (raft.current_term().next(), raft.last_log_index());
    let request = RequestVote { term, last_log_index, last_log_term: Term(2), reason };
    cluster.step(to, Input::Message { from: peer(from), message: Message::RequestVote(request) });
}

#[test]
fn a_barrier_passes_without_a_round_while_a_majority_has_promised_its_support() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    assert!(serves_from_lease(&mut cluster));
}

#[test]
fn a_new_leader_holds_no_lease_before_a_round_of_its_own_was_answered() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    cluster.transfer(1, Some(2));
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
    let barrier = cluster.barrier(2);
    assert_eq!(passed(&mut cluster, 2), []);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 2), [barrier]);
}

/// The time counts from when the round was sent, and is shortened by what the clocks may differ.
#[test]
fn a_lease_lasts_from_the_sending_of_its_round_for_what_was_promised_less_the_error_of_the_clocks() {
    for (clock_error_ppm, lasts_us) in [(0, ELECTION_TIMEOUT_US - 2), (1_000, 199_598)] {
        let mut cluster = Cluster::leased_to_1(&[1, 2, 3], clock_error_ppm);
        cluster.wake(1);
        let sent_at = cluster.nodes[&1].now;
        // The answers take a while.
        cluster.node(1).pass(HEARTBEAT_INTERVAL_US / 2);
        cluster.settle();
        cluster.node(1).now = sent_at.plus(lasts_us - 1);
        assert!(serves_from_lease(&mut cluster), "{clock_error_ppm}");
        cluster.node(1).now = sent_at.plus(lasts_us);
        assert!(!serves_from_lease(&mut cluster), "{clock_error_ppm}");
    }
}

/// One that says that it does is at fault.
#[test]
fn no_voter_supports_a_leader_for_longer_than_it_was_asked_to() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    cluster.wake(1);
    let sent_at = cluster.nodes[&1].now;
    let mut rounds = cluster.network.drain(..).filter_map(|sent| {
        if let Message::Heartbeat(heartbeat) = sent.message {
            Some((heartbeat.term, heartbeat.round))
        } else {
            None
        }
    });
    let (term, round) = rounds.next_back().unwrap();
    drop(rounds);
    let message = heartbeat_response(term.0, round.0, Some(u64::MAX));
    cluster.step(1, Input::Message { from: peer(2), message });
    cluster.node(1).now = sent_at.plus(ELECTION_TIMEOUT_US - 3);
    assert!(serves_from_lease(&mut cluster));
    cluster.node(1).now = sent_at.plus(ELECTION_TIMEOUT_US - 2);
    assert!(!serves_from_lease(&mut cluster));
}

#[test]
fn the_promise_of_a_minority_is_no_lease() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3, 4, 5], 0);
    cluster.pass(ELECTION_TIMEOUT_US / 2);
    for silent in [3, 4, 5] {
        cluster.cut_both(1, silent);
    }
    cluster.node(1).pass(ELECTION_TIMEOUT_US / 2);
    cluster.wake(1);
    cluster.settle();
    cluster.node(1).pass(ELECTION_TIMEOUT_US / 2);
    assert_eq!(cluster.role(1), Role::Leader);
    assert!(!serves_from_lease(&mut cluster));
}

#[test]
fn voters_that_keep_no_leases_promise_nothing() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    for number in [2, 3] {
        cluster.node(number).config.lease = None;
        cluster.crash(number);
        cluster.restart(number);
    }
    cluster.node(1).pass(ELECTION_TIMEOUT_US / 2);
    cluster.pass(ELECTION_TIMEOUT_US);
    assert_eq!(cluster.role(1), Role::Leader, "it is heard and leads on");
    assert!(!serves_from_lease(&mut cluster));
}

/// Nothing is known to be committed before that (§6.4, step 1).
#[test]
fn no_lease_is_held_before_an_entry_of_the_leaders_own_term_is_committed() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    cluster.transfer(1, Some(2));
    cluster.settle();
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    cluster.transfer(2, Some(1));
    // Votes are written, and after that nothing.
    while cluster.role(1) != Role::Leader {
        assert!(cluster.sync_all() | cluster.deliver_next());
    }
    cluster.stalled.extend([1, 2, 3]);
    cluster.settle();
    cluster.wake(1);
    cluster.settle();
    assert!(!cluster.nodes[&1].raft.holds_lease());
    assert!(!serves_from_lease(&mut cluster));
    // The promises are there: only the commit was missing.
    cluster.network.clear();
    cluster.stalled.clear();
    for number in [1, 2, 3] {
        cluster.sync(number);
    }
    cluster.settle();
    assert!(cluster.nodes[&1].raft.holds_lease());
    assert!(serves_from_lease(&mut cluster));
}

#[test]
fn who_has_promised_its_support_votes_for_nobody_else_before_its_time_is_over() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    cluster.isolate(1);
    cluster.node(3).pass(ELECTION_TIMEOUT_US - 1);
    // The process that it follows is gone, as far as anybody can tell; the promise binds all the same.
    cluster.unreachable(3, 1);
    request_vote(&mut cluster, 2, 3, CampaignReason::LeaderLost);
    assert_eq!(cluster.nodes[&3].raft.current_term(), Term(2));
    cluster.node(3).pass(1);
    request_vote(&mut cluster, 2, 3, CampaignReason::LeaderLost);
    assert_eq!(cluster.nodes[&3].raft.current_term(), Term(3));
    assert_eq!(cluster.nodes[&3].raft.hard_state().voted_for, Some(peer(2)));
}

#[test]
fn who_has_promised_its_support_grants_no_pre_vote_and_campaigns_as_soon_as_its_time_is_over() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    cluster.down.insert(1);
    let promised_until = cluster.nodes[&2].now.plus(ELECTION_TIMEOUT_US);
    cluster.unreachable(2, 1);
    cluster.unreachable(3, 1);
    assert_eq!(cluster.nodes[&2].raft.deadline(), Some(promised_until));
    let last_log_index = cluster.nodes[&2].raft.last_log_index();
    let pre_vote = PreVote {
        next_term: Term(3),
        last_log_index,
        last_log_term: Term(2),
        reason: CampaignReason::LeaderLost,
    };
    cluster.step(3, Input::Message { from: peer(2), message: Message::PreVote(pre_vote) });
    let answer = cluster.network.pop_back().map(|e| e.message);
    assert!(matches!(answer, Some(Message::PreVoteResponse(m)) if !m.vote_granted), "{answer:?}");
    cluster.pass(ELECTION_TIMEOUT_US);
    assert_eq!(cluster.leader(), Some(id(2)));
}

/// A later term that a candidate brought about elsewhere frees nobody of a promise made in an earlier one.
#[test]
fn a_promise_binds_in_later_terms_too() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    cluster.step(3, Input::Message { from: peer(2), message: heartbeat_response(3, 1, None) });
    assert_eq!(cluster.nodes[&3].raft.current_term(), Term(3));
    let request = RequestVote {
        term: Term(3),
        last_log_index: LogIndex(9),
        last_log_term: Term(2),
        reason: CampaignReason::LeaderLost,
    };
    cluster.step(3, Input::Message { from: peer(2), message: Message::RequestVote(request) });
    assert_eq!(cluster.nodes[&3].raft.hard_state().voted_for, None);
    cluster.node(3).pass(ELECTION_TIMEOUT_US);
    cluster.step(3, Input::Message { from: peer(2), message: Message::RequestVote(request) });
    assert_eq!(cluster.nodes[&3].raft.hard_state().voted_for, Some(peer(2)));
}

/// The next life of an id has promised nothing, and may keep no leases.
#[test]
fn what_a_removed_member_promised_does_not_count_for_the_next_life_of_its_id() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    // 2 hears nothing for most of an election timeout, 3 does.
    cluster.cut.insert((1, 2));
    for _ in 0..4 {
        cluster.pass(HEARTBEAT_INTERVAL_US);
    }
    cluster.cut.clear();
    cluster.network.clear();
    cluster.remove(1, 3);
    cluster.settle();
    let second = Peer { id: id(3), incarnation: Incarnation(2) };
    let (now, config) = (cluster.nodes[&1].now, Config { lease: None, ..config(second) });
    cluster.nodes.insert(3, Node::new(config, now, Recovered::default()));
    cluster.change(1, add(second));
    cluster.settle();
    assert!(cluster.nodes[&1].raft.membership().is_voter(id(3)));
    // 2's time is over, that of 3's former life is not.
    cluster.node(1).pass(HEARTBEAT_INTERVAL_US);
    assert!(!serves_from_lease(&mut cluster));
}

/// What it promised before is not on its disk.
#[test]
fn who_starts_again_is_bound_for_as_long_as_it_may_have_promised() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    cluster.isolate(1);
    cluster.crash(3);
    cluster.restart(3);
    request_vote(&mut cluster, 2, 3, CampaignReason::LeaderLost);
    assert_eq!(cluster.nodes[&3].raft.current_term(), Term(2));
    assert!(cluster.nodes[&3].raft.deadline() >= Some(cluster.nodes[&3].now.plus(ELECTION_TIMEOUT_US)));
    cluster.node(3).pass(ELECTION_TIMEOUT_US);
    request_vote(&mut cluster, 2, 3, CampaignReason::LeaderLost);
    assert_eq!(cluster.nodes[&3].raft.current_term(), Term(3));
}

/// The successor does not wait for promises that were made to the leader who wishes to be succeeded.
#[test]
fn a_transfer_ends_the_lease_before_anybody_is_told_to_campaign_and_frees_the_voters() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    cluster.transfer(1, Some(2));
    let orders: Vec<_> = cluster.network.drain(..).collect();
    assert!(!cluster.nodes[&1].raft.holds_lease());
    assert!(!serves_from_lease(&mut cluster));
    orders.into_iter().for_each(|order| cluster.arrive(order));
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader, "at once, while both voters are bound");
}

/// The order to campaign may still be on its way when the transfer is given up.
#[test]
fn after_a_transfer_that_failed_there_is_no_lease_in_that_term_any_more() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    cluster.cut_both(1, 2);
    cluster.transfer(1, Some(2));
    for _ in 0..2 * ELECTION_TIMEOUT_US / HEARTBEAT_INTERVAL_US {
        cluster.pass(HEARTBEAT_INTERVAL_US);
    }
    assert!(cluster.events(1).contains(&Output::TransferAborted));
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Leader);
    assert!(!serves_from_lease(&mut cluster));
    let barrier = cluster.barrier(1);
    cluster.settle();
    assert_eq!(passed(&mut cluster, 1).last(), Some(&barrier), "it goes on with rounds");
}
