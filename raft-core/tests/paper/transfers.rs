//! Handing leadership over (dissertation §3.10), and what makes a leader do so by itself.

use raft_core::{
    AppendEntriesResponse, AppendOutcome, CampaignReason, Input, LogIndex, Message, Micros, NotAppended,
    Output, Peer, PreVote, PreVoteResponse, ProposalOutcome, Role, Term, TimeoutNow,
};

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::{
    ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, config, heartbeat, id, membership, peer, recovered,
};

fn aborted(cluster: &mut Cluster, at: u64) -> usize {
    cluster.events(at).iter().filter(|e| matches!(e, Output::TransferAborted)).count()
}

fn refused(cluster: &mut Cluster, at: u64) -> bool {
    cluster.events(at);
    let foreseen = !cluster.nodes[&at].raft.accepts_proposals();
    cluster.propose(at, "x");
    let refused = |e: &Output| {
        matches!(
            e,
            Output::ProposalDone { outcome: ProposalOutcome::NotAppended(NotAppended::NotLeader), .. }
        )
    };
    let refused = cluster.events(at).iter().any(refused);
    assert_eq!(refused, foreseen);
    refused
}

fn told_to_campaign(cluster: &Cluster) -> Vec<u64> {
    let told = cluster.network.iter().filter(|e| matches!(e.message, Message::TimeoutNow(_)));
    told.map(|e| e.to.id.get()).collect()
}

/// §3.10, and §4.2.3: voters do not protect the leader against its own wish.
#[test]
fn a_target_that_is_up_to_date_leads_at_once_although_the_others_hear_the_leader() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.transfer(1, Some(3));
    cluster.settle();
    assert_eq!(cluster.role(3), Role::Leader);
    assert_eq!(cluster.role(1), Role::Follower);
}

/// Node 1 has told node 2 to campaign. Its disk has shown that it answers, and stalls now that it is to write
/// the vote.
fn told_just_before_its_disk_stalls() -> Cluster {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(2);
    cluster.transfer(1, Some(2));
    cluster.settle();
    cluster.sync_one(2);
    cluster.settle();
    assert_eq!((cluster.role(2), cluster.nodes[&2].raft.current_term()), (Role::Candidate, Term(3)));
    cluster
}

/// The order to campaign may go to a node whose disk hangs, and which the leader needs for a majority.
#[test]
fn a_target_whose_disk_hangs_goes_on_following() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.crash(3);
    cluster.stalled.insert(2);
    cluster.transfer(1, Some(2));
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    assert_eq!(aborted(&mut cluster, 1), 1);
    let barrier = cluster.barrier(1);
    cluster.settle();
    assert!(cluster.events(1).contains(&Output::BarrierPassed(barrier)));
    assert_eq!((cluster.role(1), cluster.nodes[&2].raft.leader()), (Role::Leader, Some(id(1))));

    // Nobody waits for that transfer any more when its disk answers.
    cluster.stalled.clear();
    cluster.sync(2);
    cluster.settle();
    assert_eq!((cluster.role(1), cluster.role(2)), (Role::Leader, Role::Follower));
    cluster.transfer(1, Some(2));
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
}

#[test]
fn a_target_whose_disk_takes_half_an_election_timeout_gives_the_transfer_up_as_its_leader_may_have() {
    let limit_us = ELECTION_TIMEOUT_US / 2;
    for (us, role) in [(limit_us - 1, Role::Candidate), (limit_us, Role::Follower)] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        let target = cluster.node(2);
        target.receive(peer(1), Message::TimeoutNow(TimeoutNow { term: Term(2) }));
        target.receive(peer(3), granted(3));
        target.pass(us);
        target.sync_one();
        assert_eq!(cluster.role(2), role, "after {us} us");
    }
}

/// A pre-vote for this term.
fn granted(next_term: u64) -> Message {
    let (term, next_term) = (Term(next_term - 1), Term(next_term));
    Message::PreVoteResponse(PreVoteResponse { term, next_term, vote_granted: true })
}

/// What a target asks whose log ends at this index, in term 2.
fn pre_vote(next_term: u64, last_log_index: u64) -> Message {
    Message::PreVote(PreVote {
        next_term: Term(next_term),
        last_log_index: LogIndex(last_log_index),
        last_log_term: Term(2),
        reason: CampaignReason::LeadershipTransfer,
    })
}

/// The leader goes on leading: it may be the only one that reaches a majority.
#[test]
fn a_target_that_no_majority_would_vote_for_does_not_depose_its_leader() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4, 5]);
    cluster.cut.extend([3, 4, 5].map(|number| (number, 2)));
    cluster.transfer(1, Some(2));
    cluster.pass(5 * ELECTION_TIMEOUT_US);
    assert_eq!((cluster.role(1), cluster.nodes[&1].raft.current_term()), (Role::Leader, Term(2)));
    assert_eq!(aborted(&mut cluster, 1), 1);
}

/// Its followers acknowledge what it sends, so it commits; but they do not reach each other.
#[test]
fn a_leader_whose_disk_hangs_and_whose_followers_do_not_reach_each_other_leads_on() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.cut_both(2, 3);
    cluster.stalled.insert(1);
    cluster.propose(1, "durable with the others");
    for _ in 0..20 {
        cluster.pass(ELECTION_TIMEOUT_US);
        assert_eq!((cluster.role(1), cluster.commit(1)), (Role::Leader, LogIndex(3)));
    }
    cluster.cut.clear();
    cluster.pass(3 * ELECTION_TIMEOUT_US);
    assert!(cluster.leader().is_some_and(|leader| leader.get() != 1), "{:?}", cluster.leader());
}

/// Node 3 of five, which follows node 1 in term 2.
fn target_of_five() -> Node {
    let store = recovered(membership(&[1, 2, 3, 4, 5], &[]), &[2]);
    let mut target = Node::new(config(peer(3)), Micros(0), store);
    target.receive(peer(1), heartbeat(2, 1));
    target.sync();
    target
}

const TIMEOUT_NOW: Message = Message::TimeoutNow(TimeoutNow { term: Term(2) });

#[test]
fn what_a_target_was_granted_counts_although_the_leader_repeats_its_wish() {
    let mut target = target_of_five();
    target.receive(peer(1), TIMEOUT_NOW);
    target.receive(peer(2), granted(3));
    target.receive(peer(1), TIMEOUT_NOW);
    target.receive(peer(4), granted(3));
    target.sync();
    assert_eq!(target.raft.role(), Role::Candidate);
}

/// Who granted something then may not grant it now.
#[test]
fn what_a_target_was_granted_does_not_count_for_a_later_transfer() {
    let mut target = target_of_five();
    target.receive(peer(1), TIMEOUT_NOW);
    target.receive(peer(2), granted(3));
    target.pass(ELECTION_TIMEOUT_US / 2);
    target.receive(peer(1), TIMEOUT_NOW);
    target.receive(peer(4), granted(3));
    target.sync();
    assert_eq!(target.raft.role(), Role::Follower);
    target.receive(peer(5), granted(3));
    assert_eq!(target.raft.role(), Role::Candidate);
}

/// The leader's disk has failed, and it does not know whose log is longest.
#[test]
fn a_voter_that_is_ahead_of_the_target_takes_over_in_its_place() {
    let store = recovered(membership(&[1, 2, 3], &[]), &[2, 2]);
    let mut ahead = Node::new(config(peer(3)), Micros(0), store);
    ahead.receive(peer(1), heartbeat(2, 1));
    ahead.take_sent();
    let reason = CampaignReason::LeadershipTransfer;
    let mut asks_when_asked = |next_term| {
        ahead.receive(peer(2), pre_vote(next_term, 2));
        let asked = |(to, message): &(Peer, Message)| {
            let Message::PreVote(m) = message else { return None };
            Some((to.id.get(), m.next_term, m.reason))
        };
        ahead.take_sent().iter().filter_map(asked).collect::<Vec<_>>()
    };
    assert_eq!(asks_when_asked(4), [], "that is the wish of a leader of term 3");
    assert_eq!(asks_when_asked(3), [(1, Term(3), reason), (2, Term(3), reason)]);
    ahead.receive(peer(2), granted(3));
    ahead.sync();
    assert_eq!(ahead.raft.role(), Role::Candidate);
}

/// It has given the transfer up, or never begun it.
#[test]
fn a_leader_grants_a_pre_vote_only_to_the_node_that_it_hands_over_to() {
    for (target, vote_granted) in [(None, false), (Some(3), false), (Some(2), true)] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        if target.is_some() {
            cluster.transfer(1, target);
        }
        cluster.node(1).take_sent();
        cluster.node(1).receive(peer(2), pre_vote(3, 2));
        let answer = PreVoteResponse { term: Term(2), next_term: Term(3), vote_granted };
        let sent = cluster.node(1).take_sent();
        assert!(sent.contains(&(peer(2), Message::PreVoteResponse(answer))), "{target:?}: {sent:?}");
    }
}

/// The others may commit without it; once its disk has that, its vote counts for as much as theirs.
#[test]
fn a_leader_grants_a_pre_vote_only_while_its_own_disk_has_all_that_is_committed() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.propose(1, "durable with the others");
    cluster.settle();
    assert_eq!(cluster.commit(1), LogIndex(3));
    cluster.cut_both(2, 3);
    cluster.transfer(1, Some(2));
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Leader);
    cluster.stalled.remove(&1);
    cluster.node(1).sync();
    cluster.node(1).take_sent();
    cluster.node(1).receive(peer(2), pre_vote(3, 3));
    let sent = cluster.node(1).take_sent();
    assert!(sent.contains(&(peer(2), granted(3))), "{sent:?}");
}

/// The leader's process may be gone by then: it asked for this campaign, and its voters know of no other.
#[test]
fn a_target_whose_leader_is_gone_before_its_disk_answers_campaigns_all_the_same() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(3);
    cluster.transfer(1, Some(3));
    cluster.settle();
    cluster.crash(1);
    cluster.step(3, Input::PeerUnreachable(peer(1)));
    assert_eq!((cluster.role(3), cluster.nodes[&3].raft.leader()), (Role::Follower, None));
    cluster.stalled.clear();
    cluster.sync(3);
    cluster.settle();
    assert_eq!(cluster.role(3), Role::Leader);
}

/// It has lost the leader for a moment, and asks whether it could win. The leader's wish makes that needless.
#[test]
fn a_target_that_asks_for_pre_votes_stops_asking_and_campaigns() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(2);
    cluster.wake(2);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::PreCandidate);
    cluster.cut.clear();
    cluster.transfer(1, Some(2));
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
}

#[test]
fn a_leader_rules_on_while_the_vote_of_its_successor_is_being_written() {
    let mut cluster = told_just_before_its_disk_stalls();
    cluster.events(1);
    cluster.barrier(1);
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    assert!(cluster.events(1).iter().any(|e| matches!(e, Output::BarrierPassed(_))));
    assert_eq!((cluster.role(1), cluster.nodes[&3].raft.current_term()), (Role::Leader, Term(2)));
    cluster.stalled.clear();
    cluster.sync(2);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
}

/// Not even by way of a third node, which asks for a pre-vote because it has lost the leader for a while.
#[test]
fn a_successor_whose_vote_is_being_written_tells_nobody_of_its_term() {
    let mut cluster = told_just_before_its_disk_stalls();
    cluster.cut_both(1, 3);
    cluster.wake(3);
    cluster.settle();
    assert_eq!((cluster.role(3), cluster.nodes[&3].raft.current_term()), (Role::PreCandidate, Term(2)));
    cluster.cut.clear();
    cluster.wake(1);
    cluster.settle();
    assert_eq!((cluster.role(1), cluster.nodes[&3].raft.leader()), (Role::Leader, Some(id(1))));
}

/// Its request for votes comes when the leader has given it up and committed more: it deposes the leader and
/// cannot win. One of those who can does so at once.
#[test]
fn a_successor_that_is_late_costs_no_election_timeout() {
    let mut cluster = told_just_before_its_disk_stalls();
    cluster.pass(ELECTION_TIMEOUT_US + HEARTBEAT_INTERVAL_US);
    cluster.propose(1, "not with 2 yet");
    cluster.settle();
    assert_eq!((cluster.role(1), cluster.commit(1)), (Role::Leader, LogIndex(3)));
    cluster.stalled.clear();
    cluster.sync(2);
    cluster.settle();
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert!(cluster.leader().is_some_and(|leader| leader.get() != 2), "{:?}", cluster.leader());
}

#[test]
fn a_successor_whose_requests_for_votes_are_lost_repeats_them() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.transfer(1, Some(2));
    cluster.deliver(1, 2);
    cluster.sync(2);
    cluster.network.clear();
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert_eq!((cluster.role(2), cluster.nodes[&2].raft.current_term()), (Role::Leader, Term(3)));
}

/// It asks again and again, and each answer is lost: those whose votes it has must not wait for it for ever.
#[test]
fn a_successor_that_cannot_be_answered_is_replaced() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4, 5]);
    cluster.transfer(1, Some(2));
    cluster.deliver(1, 2);
    for voter in [3, 4, 5] {
        cluster.deliver(2, voter);
        cluster.deliver(voter, 2);
    }
    cluster.cut.extend([3, 4, 5].map(|number| (number, 2)));
    cluster.crash(1);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Candidate);
    cluster.pass(5 * ELECTION_TIMEOUT_US);
    assert!(cluster.leader().is_some_and(|leader| leader.get() > 2), "{:?}", cluster.leader());
}

/// §3.10, step 2: "the prior leader fully updates the target server's log".
#[test]
fn a_target_that_lags_is_told_to_campaign_only_once_its_log_is_complete() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.cut_both(1, 3);
    cluster.propose(1, "not with 3 yet");
    cluster.settle();
    cluster.cut.clear();
    cluster.transfer(1, Some(3));
    assert_eq!(told_to_campaign(&cluster), [] as [u64; 0]);
    cluster.pass(4 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.role(3), Role::Leader);
    assert_eq!(cluster.terms(3), [2, 2, 3]);
}

/// §3.10: "the prior leader stops accepting new client requests", and resumes after an election timeout.
#[test]
fn proposals_are_refused_during_a_transfer_and_accepted_after_it_failed() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(3);
    cluster.transfer(1, Some(3));
    assert!(refused(&mut cluster, 1));
    cluster.pass(ELECTION_TIMEOUT_US - HEARTBEAT_INTERVAL_US);
    assert!(refused(&mut cluster, 1));
    assert_eq!(aborted(&mut cluster, 1), 0);
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert_eq!(aborted(&mut cluster, 1), 1);
    assert_eq!(cluster.role(1), Role::Leader);
    assert!(!refused(&mut cluster, 1));
}

#[test]
fn a_lost_order_to_campaign_is_repeated() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.transfer(1, Some(2));
    assert_eq!(told_to_campaign(&cluster), [2]);
    cluster.network.clear();
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.role(2), Role::Leader);
}

#[test]
fn an_order_to_campaign_is_not_repeated_for_what_another_than_the_target_has() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.transfer(1, Some(2));
    cluster.network.clear();
    for (number, told) in [(3, vec![]), (2, vec![2])] {
        let outcome = AppendOutcome::Matched { match_index: LogIndex(2) };
        let answer = AppendEntriesResponse { term: Term(2), outcome };
        cluster.node(1).receive(peer(number), Message::AppendEntriesResponse(answer));
        cluster.collect(1);
        assert_eq!(told_to_campaign(&cluster), told, "{number} has all of it");
    }
}

#[test]
fn a_transfer_to_nobody_in_particular_takes_the_voter_with_most_of_the_log() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.cut_both(1, 2);
    cluster.propose(1, "only 3 has it");
    cluster.settle();
    cluster.transfer(1, None);
    assert_eq!(told_to_campaign(&cluster), [3]);
}

#[test]
fn a_transfer_to_itself_to_a_learner_to_a_stranger_or_at_a_follower_is_given_up_at_once() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.add(1, 4);
    for (at, to) in [(1, 1), (1, 4), (1, 9), (2, 3)] {
        cluster.events(at);
        cluster.transfer(at, Some(to));
        assert_eq!(aborted(&mut cluster, at), 1, "at {at} to {to}");
        assert!(at != 1 || !refused(&mut cluster, 1));
    }
}

/// The first may be one that the leader began by itself, and nearly over.
#[test]
fn a_second_transfer_has_a_deadline_of_its_own_and_the_target_that_it_names() {
    for (second, told) in [(Some(2), 2), (Some(3), 3), (None, 3)] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4, 5]);
        cluster.isolate(3);
        cluster.transfer(1, Some(3));
        cluster.pass(ELECTION_TIMEOUT_US - 2 * HEARTBEAT_INTERVAL_US);
        cluster.stalled.insert(2);
        cluster.transfer(1, second);
        assert_eq!(cluster.nodes[&1].raft.transfer_target(), Some(id(told)));
        assert_eq!(told_to_campaign(&cluster), [told]);
        cluster.events(1);
        cluster.pass(ELECTION_TIMEOUT_US - HEARTBEAT_INTERVAL_US);
        assert_eq!(aborted(&mut cluster, 1), 0, "{second:?}");
        cluster.pass(2 * HEARTBEAT_INTERVAL_US);
        assert_eq!(aborted(&mut cluster, 1), 1, "{second:?}");
        assert_eq!(cluster.nodes[&1].raft.transfer_target(), None);
    }
}

#[test]
fn a_second_transfer_to_who_cannot_lead_leaves_the_first_as_it_is() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.add(1, 4);
    cluster.isolate(3);
    cluster.transfer(1, Some(3));
    cluster.pass(ELECTION_TIMEOUT_US / 2);
    for number in [1, 4, 9] {
        cluster.transfer(1, Some(number));
    }
    assert_eq!((aborted(&mut cluster, 1), cluster.nodes[&1].raft.transfer_target()), (0, Some(id(3))));
    cluster.pass(ELECTION_TIMEOUT_US / 2 + HEARTBEAT_INTERVAL_US);
    assert_eq!(aborted(&mut cluster, 1), 1);
}

/// A voter may be heard and be unable to win, for example because its disk hangs.
#[test]
fn a_transfer_to_whoever_is_best_goes_to_each_voter_before_it_goes_to_one_again() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4]);
    cluster.stalled.extend([2, 3, 4]);
    let targets: Vec<u64> = (0..6)
        .map(|_| {
            cluster.transfer(1, None);
            let target = cluster.nodes[&1].raft.transfer_target().expect("three are heard").get();
            cluster.pass(ELECTION_TIMEOUT_US + HEARTBEAT_INTERVAL_US);
            assert_eq!(cluster.nodes[&1].raft.transfer_target(), None);
            target
        })
        .collect();
    assert_eq!(targets, [2, 3, 4, 2, 3, 4]);
}

#[test]
fn an_order_of_a_past_term_or_of_somebody_who_does_not_lead_is_ignored() {
    for (from, term) in [(1, Term(1)), (3, Term(2)), (1, Term(2))] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        cluster.node(2).receive(peer(from), Message::TimeoutNow(TimeoutNow { term }));
        cluster.collect(2);
        cluster.settle();
        // The last one is as it should be, and shows that it would come to something.
        let is_obeyed = (from, term) == (1, Term(2));
        assert_eq!(cluster.leader(), Some(id(if is_obeyed { 2 } else { 1 })), "{term} of {from}");
    }
}

#[test]
fn an_order_that_reaches_a_learner_is_ignored() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    // It acknowledges no more than it has to: so it is not promoted.
    cluster.stalled.insert(4);
    cluster.add(1, 4);
    cluster.settle();
    while cluster.nodes[&4].raft.membership().peer(id(4)).is_none() {
        assert!(cluster.sync_one(4), "it is sent the log");
        cluster.settle();
    }
    let learner = cluster.node(4);
    assert!(!learner.raft.membership().is_voter(id(4)));
    learner.take_sent();
    learner.receive(peer(1), Message::TimeoutNow(TimeoutNow { term: Term(2) }));
    while learner.sync() {}
    let asks = |(_, message): &(_, Message)| matches!(message, Message::PreVote(_) | Message::RequestVote(_));
    assert!(!learner.take_sent().iter().any(asks));
    assert_eq!((learner.raft.role(), learner.raft.current_term()), (Role::Follower, Term(2)));
}

/// A sick disk must not hold a healthy cluster.
#[test]
fn a_leader_whose_disk_stalls_for_an_election_timeout_hands_over() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.propose(1, "not durable with its leader");
    cluster.settle();
    assert_eq!(cluster.commit(1), LogIndex(3), "a majority without the leader is a majority");
    cluster.pass(ELECTION_TIMEOUT_US - HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.role(1), Role::Leader);
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.role(1), Role::Follower);
    assert!(cluster.leader().is_some());
}

#[test]
fn a_leader_with_a_stalled_disk_that_nobody_can_relieve_leads_on_between_its_attempts() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.propose(1, "not durable with its leader");
    cluster.settle();
    // From now on nobody can vote.
    cluster.stalled.extend([2, 3]);
    cluster.pass(ELECTION_TIMEOUT_US + HEARTBEAT_INTERVAL_US);
    assert!(refused(&mut cluster, 1), "a hand-over is under way");
    cluster.pass(ELECTION_TIMEOUT_US);
    assert!(!refused(&mut cluster, 1), "it was given up, and the next does not follow at once");
}

/// All disks are slow for a moment: nobody is better placed to lead than whoever leads.
#[test]
fn a_leader_whose_disk_is_no_slower_than_the_others_leads_on() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.extend([1, 2, 3]);
    cluster.propose(1, "slow everywhere");
    cluster.pass(ELECTION_TIMEOUT_US + 2 * HEARTBEAT_INTERVAL_US);
    assert!(!refused(&mut cluster, 1), "no hand-over is under way");
    cluster.stalled.clear();
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Leader);
    assert_eq!(cluster.nodes[&1].raft.current_term(), Term(2));
}

/// Where all disks are slow and are not in step, the others are always ahead of it at some moment.
#[test]
fn a_leader_leads_on_where_the_others_committed_without_it_only_a_moment_ago() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.extend([1, 2, 3]);
    cluster.propose(1, "slow everywhere");
    cluster.pass(ELECTION_TIMEOUT_US);
    for number in [2, 3] {
        cluster.sync(number);
    }
    cluster.settle();
    assert_eq!(cluster.commit(1), LogIndex(3));
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert!(!refused(&mut cluster, 1), "no hand-over is under way");
}

/// It goes on confirming its leadership: the successor's election would wait for the same disk.
#[test]
fn a_leader_with_a_stalled_disk_leads_on_where_its_successor_would_need_that_disk() {
    for (voters, dead) in [(&[1, 2][..], &[][..]), (&[1, 2, 3], &[3])] {
        let mut cluster = Cluster::led_by_1(voters);
        for number in dead {
            cluster.crash(*number);
        }
        cluster.stalled.insert(1);
        cluster.propose(1, "durable with one of two");
        cluster.settle();
        cluster.pass(3 * ELECTION_TIMEOUT_US);
        let barrier = cluster.barrier(1);
        cluster.settle();
        assert!(cluster.events(1).contains(&Output::BarrierPassed(barrier)), "{voters:?} without {dead:?}");
    }
}

#[test]
fn a_leader_whose_write_fails_hands_over_and_takes_no_further_part() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let proposal = cluster.propose(1, "fails");
    cluster.settle();
    cluster.propose(1, "waits");
    cluster.events(1);
    cluster.step(1, Input::WriteFailed);
    assert!(cluster.nodes[&1].raft.is_muted());
    let unknown = |event: &Output| {
        let Output::ProposalDone { proposal: done, outcome } = event else { return false };
        *done != proposal && *outcome == ProposalOutcome::Unknown
    };
    assert!(cluster.events(1).iter().any(unknown));
    cluster.settle();
    let leader = cluster.leader().expect("another leads");
    assert!([2, 3].contains(&leader.get()));
    // It still says whom it hears, so that clients can be sent there.
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.nodes[&1].raft.leader(), Some(leader));
    cluster.pass(ELECTION_TIMEOUT_US);
    assert!(refused(&mut cluster, 1));
}

#[test]
fn a_muted_node_says_nothing_and_forgets_a_leader_that_says_nothing() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.step(2, Input::WriteFailed);
    cluster.settle();
    let request = raft_core::RequestVote {
        term: Term(9),
        last_log_index: LogIndex(99),
        last_log_term: Term(8),
        reason: CampaignReason::LeadershipTransfer,
    };
    cluster.node(2).receive(peer(3), Message::RequestVote(request));
    cluster.step(2, Input::WriteFailed);
    assert_eq!(cluster.node(2).take_sent(), []);
    assert!(!cluster.nodes[&2].disk.has_pending());
    assert_eq!(cluster.nodes[&2].raft.leader(), Some(peer(1).id));
    cluster.wake(2);
    assert_eq!(cluster.nodes[&2].raft.leader(), None);
    assert_eq!(cluster.nodes[&2].raft.deadline(), None);
}
