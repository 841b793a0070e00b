//! Elections that are not decided at once, because requests for votes are lost, or because votes take long to
//! be written (not in the paper, where another term begins at each election timeout).

use raft_core::{Message, RequestVoteResponse, Role, Term};

use crate::harness::cluster::{Cluster, Envelope};
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, peer};

/// A vote that takes longer to write than an election timeout is still one vote in one term.
#[test]
fn a_candidate_whose_own_vote_is_not_durable_waits_for_it_and_enters_no_further_term() {
    let mut cluster = Cluster::new(&[1]);
    cluster.stalled.insert(1);
    for _ in 0..20 {
        cluster.wake(1);
    }
    assert_eq!(cluster.nodes[&1].raft.current_term(), Term(2));
    assert_eq!(
        cluster.nodes[&1].disk.pending(),
        1,
        "writes that wait for a stalled disk do not grow in number"
    );
    cluster.sync_one(1);
    assert_eq!(cluster.role(1), Role::Leader);
}

/// Whether anybody is elected while the disks of the `slow` take three election timeouts for a transaction,
/// which holds what waited when it began, and node `down` does not run.
fn elected_on_slow_disks(mut cluster: Cluster, slow: &[u64], down: Option<u64>) -> bool {
    cluster.stalled.extend(slow);
    cluster.down.extend(down);
    (0..20).any(|_| {
        let taken: Vec<(u64, usize)> =
            slow.iter().map(|number| (*number, cluster.node(*number).disk.pending())).collect();
        cluster.pass(3 * ELECTION_TIMEOUT_US);
        for (number, writes) in taken {
            for _ in 0..writes {
                cluster.sync_one(number);
            }
        }
        cluster.settle();
        cluster.leader().is_some()
    })
}

/// Whoever began another term meanwhile would only have them write another vote.
#[test]
fn voters_whose_disks_take_longer_than_their_election_timeouts_elect_somebody() {
    for slow in [&[2, 3][..], &[1, 2, 3]] {
        assert!(elected_on_slow_disks(Cluster::new(&[1, 2, 3]), slow, None), "slow: {slow:?}");
    }
}

/// Nor may those begin another term whose own votes are durable soon: they need the slow ones' votes.
#[test]
fn voters_with_quick_disks_wait_for_the_votes_of_those_with_slow_ones() {
    assert!(elected_on_slow_disks(Cluster::new(&[1, 2, 3, 4, 5]), &[4, 5], Some(1)));
    let logs: [(u64, &[u64]); 3] = [(1, &[1]), (2, &[]), (3, &[])];
    assert!(elected_on_slow_disks(Cluster::with_logs(&logs), &[1, 3], None));
}

/// Node 1 as a candidate, whose requests were lost.
fn unheard_candidate(voters: &[u64]) -> Cluster {
    let mut cluster = Cluster::new(voters);
    cluster.campaign(1);
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    assert_eq!(cluster.role(1), Role::Candidate);
    let is_request = |e: &Envelope| matches!(e.message, Message::RequestVote(_));
    let lost = std::mem::take(&mut cluster.network);
    assert_eq!(lost.iter().filter(|e| is_request(e)).count(), voters.len() - 1);
    cluster
}

/// The term of node 1, which campaigned and heard nothing, after some more time, and whether it leads then.
fn after_a_silence(cluster: &mut Cluster) -> (Term, Role) {
    cluster.pass(3 * ELECTION_TIMEOUT_US);
    (cluster.nodes[&1].raft.current_term(), cluster.role(1))
}

#[test]
fn a_candidate_that_nobody_has_answered_asks_again_in_the_same_term() {
    let mut cluster = unheard_candidate(&[1, 2]);
    let (term, role) = after_a_silence(&mut cluster);
    assert_eq!((term, role), (Term(2), Role::Leader));
}

/// Both of its deadlines have passed. The bench checks that neither is left over, or its driver would spin.
#[test]
fn a_candidate_that_is_woken_late_asks_again_at_once_and_goes_on_waiting() {
    let mut cluster = unheard_candidate(&[1, 2, 3]);
    cluster.sync(1);
    cluster.node(1).pass(10 * ELECTION_TIMEOUT_US);
    cluster.node(1).wake_now();
    let asked = |message| matches!(message, Message::RequestVote(_));
    assert!(cluster.node(1).take_sent().into_iter().any(|(_, message)| asked(message)));
    assert_eq!(cluster.role(1), Role::Candidate);
}

#[test]
fn a_candidate_that_was_refused_a_vote_tries_another_term() {
    let mut cluster = unheard_candidate(&[1, 2, 3]);
    for number in [2, 3] {
        let refusal = RequestVoteResponse { term: Term(2), vote_granted: false };
        cluster.node(1).receive(peer(number), Message::RequestVoteResponse(refusal));
    }
    let (term, role) = after_a_silence(&mut cluster);
    assert_eq!((term, role), (Term(3), Role::Leader));
}

/// Two heartbeat intervals are nothing beside an election timeout.
#[test]
fn a_lost_request_for_a_vote_is_repeated_within_two_heartbeat_intervals() {
    let mut cluster = unheard_candidate(&[1, 2, 3]);
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert_eq!((cluster.role(1), cluster.nodes[&1].raft.current_term()), (Role::Leader, Term(2)));
}

#[test]
fn a_voter_whose_disk_hangs_promises_a_candidate_that_asks_again_its_vote_once() {
    let mut cluster = unheard_candidate(&[1, 2]);
    cluster.stalled.insert(2);
    cluster.pass(4 * ELECTION_TIMEOUT_US);
    cluster.sync(2);
    let granted = |e: &&Envelope| matches!(e.message, Message::RequestVoteResponse(m) if m.vote_granted);
    assert_eq!(cluster.network.iter().filter(granted).count(), 1);
}
