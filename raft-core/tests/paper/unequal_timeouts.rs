//! Nodes whose election timeouts differ (dissertation §4.2.3, §6.4.1): a follower protects its leader for no
//! longer than the leader itself goes on without being heard.

use raft_core::{
    CampaignReason, Heartbeat, Input, LogIndex, Message, PreVote, RequestVote, Role, Round, Term,
};

use crate::harness::cluster::Cluster;
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, id, peer};

/// How much longer the election timeout of a patient node is.
const PATIENCE: u64 = 20;

/// Node 3 hears node 2, which leads in term 3 with this election timeout.
fn node_3_hears_2_lead_in_term_3(cluster: &mut Cluster, election_timeout_us: u64) {
    let heartbeat = Heartbeat {
        term: Term(3),
        leader_commit: LogIndex(0),
        round: Round(0),
        election_timeout_us,
        is_stuck: false,
    };
    cluster.step(3, Input::Message { from: peer(2), message: Message::Heartbeat(heartbeat) });
}

/// Node 1 leads, with the usual election timeout. That of node 3 is this long. Both have heard each other.
fn led_by_1(mut cluster: Cluster, election_timeout_us: u64) -> Cluster {
    cluster.node(3).config.election_timeout_us = election_timeout_us;
    cluster.crash(3);
    cluster.restart(3);
    // A node with leases that starts is bound for one election timeout of its own.
    cluster.pass(election_timeout_us + 2 * HEARTBEAT_INTERVAL_US);
    cluster.wake(1);
    cluster.settle();
    assert_eq!(cluster.leader(), Some(id(1)));
    cluster
}

/// Node 2 asks node 3 for a pre-vote.
fn grants_pre_vote(cluster: &mut Cluster) -> bool {
    grants_pre_vote_in(cluster, 3)
}

fn grants_pre_vote_in(cluster: &mut Cluster, next_term: u64) -> bool {
    let (next_term, last_log_index) = (Term(next_term), LogIndex(9));
    let request =
        PreVote { next_term, last_log_index, last_log_term: Term(2), reason: CampaignReason::LeaderLost };
    cluster.node(3).take_sent();
    cluster.node(3).receive(peer(2), Message::PreVote(request));
    let granted = |message| matches!(message, Message::PreVoteResponse(m) if m.vote_granted);
    cluster.node(3).take_sent().into_iter().any(|(_, message)| granted(message))
}

/// Node 2 asks node 3 for a vote.
fn enters_next_term(cluster: &mut Cluster) -> bool {
    let raft = &cluster.nodes[&2].raft;
    let (term, last_log_index) = (raft.current_term().next(), raft.last_log_index());
    let reason = CampaignReason::LeaderLost;
    let request = RequestVote { term, last_log_index, last_log_term: Term(2), reason };
    cluster.node(3).receive(peer(2), Message::RequestVote(request));
    cluster.nodes[&3].raft.current_term() == term
}

#[test]
fn a_follower_with_a_longer_election_timeout_than_its_leader_holds_no_election_up() {
    let mut cluster = led_by_1(Cluster::led_by_1(&[1, 2, 3]), PATIENCE * ELECTION_TIMEOUT_US);
    cluster.isolate(1);
    cluster.pass(4 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.role(2), Role::Leader);
}

#[test]
fn a_follower_protects_its_leader_for_the_shorter_of_the_two_election_timeouts() {
    for (own_us, protection_us) in [
        (PATIENCE * ELECTION_TIMEOUT_US, ELECTION_TIMEOUT_US),
        (ELECTION_TIMEOUT_US - 1, ELECTION_TIMEOUT_US - 1),
    ] {
        let mut cluster = led_by_1(Cluster::led_by_1(&[1, 2, 3]), own_us);
        cluster.node(3).pass(protection_us - 1);
        assert!(!grants_pre_vote(&mut cluster) && !enters_next_term(&mut cluster), "{own_us}");
        cluster.node(3).pass(1);
        assert!(grants_pre_vote(&mut cluster) && enters_next_term(&mut cluster), "{own_us}");
    }
}

/// It does not campaign any sooner: the network between it and its leader may be why it is patient.
#[test]
fn a_patient_follower_of_an_impatient_leader_campaigns_no_sooner() {
    let cluster = led_by_1(Cluster::led_by_1(&[1, 2, 3]), PATIENCE * ELECTION_TIMEOUT_US);
    let left_us = cluster.nodes[&3].raft.deadline().map(|at| at.since(cluster.nodes[&3].now));
    assert!(left_us > Some((PATIENCE - 1) * ELECTION_TIMEOUT_US), "{left_us:?}");
}

/// What comes between two heartbeats says nothing of the leader's election timeout.
#[test]
fn entries_between_heartbeats_do_not_make_a_follower_protect_its_leader_for_longer() {
    let mut cluster = led_by_1(Cluster::led_by_1(&[1, 2, 3]), PATIENCE * ELECTION_TIMEOUT_US);
    cluster.propose(1, "x");
    cluster.settle();
    cluster.node(3).pass(ELECTION_TIMEOUT_US);
    assert!(grants_pre_vote(&mut cluster));
}

/// The next leader may have another election timeout.
#[test]
fn the_election_timeout_of_a_former_leader_says_nothing_of_the_next() {
    let mut cluster = led_by_1(Cluster::led_by_1(&[1, 2, 3]), PATIENCE * ELECTION_TIMEOUT_US);
    node_3_hears_2_lead_in_term_3(&mut cluster, 2 * ELECTION_TIMEOUT_US);
    cluster.node(3).pass(2 * ELECTION_TIMEOUT_US - 1);
    let request = RequestVote {
        term: Term(4),
        last_log_index: LogIndex(9),
        last_log_term: Term(2),
        reason: CampaignReason::LeaderLost,
    };
    cluster.step(3, Input::Message { from: peer(1), message: Message::RequestVote(request) });
    assert_eq!(cluster.nodes[&3].raft.current_term(), Term(3));
    cluster.node(3).pass(1);
    cluster.step(3, Input::Message { from: peer(1), message: Message::RequestVote(request) });
    assert_eq!(cluster.nodes[&3].raft.current_term(), Term(4));
}

/// A leader relies on what it is told, so it may be told less.
#[test]
fn a_follower_promises_its_leader_support_for_the_shorter_of_the_two_election_timeouts() {
    let patient_us = PATIENCE * ELECTION_TIMEOUT_US;
    let mut cluster = led_by_1(Cluster::leased_to_1(&[1, 2, 3], 0), patient_us);
    assert!(cluster.nodes[&1].raft.holds_lease());
    cluster.node(3).pass(ELECTION_TIMEOUT_US - 1);
    assert!(!grants_pre_vote(&mut cluster) && !enters_next_term(&mut cluster));
    cluster.node(3).pass(1);
    assert!(grants_pre_vote(&mut cluster) && enters_next_term(&mut cluster));
}

/// 2 hears nobody else: only what 3 has promised it counts.
#[test]
fn a_leader_relies_on_a_follower_with_another_election_timeout_for_no_longer_than_that_is_bound() {
    for election_timeout_us in [PATIENCE * ELECTION_TIMEOUT_US, ELECTION_TIMEOUT_US / 2] {
        let mut cluster = led_by_1(Cluster::leased_to_1(&[1, 2, 3], 0), election_timeout_us);
        cluster.isolate(2);
        cluster.pass(2 * ELECTION_TIMEOUT_US);
        cluster.wake(1);
        cluster.settle();
        assert!(cluster.nodes[&1].raft.holds_lease());
        let bound_us = ELECTION_TIMEOUT_US.min(election_timeout_us);
        for number in [1, 3] {
            cluster.node(number).pass(bound_us);
        }
        // Whatever comes tells a node what time it is.
        cluster.barrier(1);
        assert!(!cluster.nodes[&1].raft.holds_lease(), "{election_timeout_us}");
        assert!(grants_pre_vote(&mut cluster), "{election_timeout_us}");
    }
}

/// 1 is paused while another is elected, with the vote of 3. What 1 was told of the promise of 3 must have
/// ended by then, or 1 would serve from its lease beside the other.
#[test]
fn a_leader_that_was_paused_while_another_was_elected_holds_no_lease_whatever_their_election_timeouts() {
    for election_timeout_us in [PATIENCE * ELECTION_TIMEOUT_US, ELECTION_TIMEOUT_US, ELECTION_TIMEOUT_US / 2]
    {
        let mut cluster = led_by_1(Cluster::leased_to_1(&[1, 2, 3], 0), election_timeout_us);
        cluster.down.insert(1);
        cluster.pass(3 * ELECTION_TIMEOUT_US);
        assert!(cluster.leader().is_some_and(|leader| leader.get() != 1), "{election_timeout_us}");
        cluster.down.clear();
        cluster.events(1);
        cluster.barrier(1);
        assert_eq!((cluster.role(1), cluster.events(1)), (Role::Leader, vec![]), "{election_timeout_us}");
    }
}

/// A leader that is succeeded on its own wish has ended its lease. Nobody else is freed sooner by a later
/// leader, or anything would rest on who that is.
#[test]
fn a_promise_to_a_former_leader_outlives_a_shorter_one_to_the_next() {
    let mut cluster = Cluster::leased_to_1(&[1, 2, 3], 0);
    node_3_hears_2_lead_in_term_3(&mut cluster, ELECTION_TIMEOUT_US / 4);
    cluster.node(3).pass(ELECTION_TIMEOUT_US - 1);
    assert!(!grants_pre_vote_in(&mut cluster, 4));
    cluster.node(3).pass(1);
    assert!(grants_pre_vote_in(&mut cluster, 4));
}
