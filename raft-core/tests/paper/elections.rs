//! Terms and elections (Raft §5.1, §5.2, §5.4.1; dissertation §3.10, §4.2.3, §6.2, §9.6).

use raft_core::{
    CampaignReason, Config, LogIndex, Message, Micros, PreVote, PreVoteResponse, Raft, RequestVote,
    RequestVoteResponse, Role, Term,
};

use crate::harness::cluster::Cluster;
use crate::harness::{
    ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, config, heartbeat, heartbeat_response, id, membership, peer,
    recovered,
};

fn request_vote(term: u64, last_log_index: u64, last_log_term: u64) -> Message {
    Message::RequestVote(RequestVote {
        term: Term(term),
        last_log_index: LogIndex(last_log_index),
        last_log_term: Term(last_log_term),
        reason: CampaignReason::LeaderLost,
    })
}

/// What node `at` answers to a request for its vote from `from`, once durable.
fn vote(cluster: &mut Cluster, at: u64, from: u64, request: Message) -> Option<bool> {
    cluster.node(at).take_sent();
    cluster.node(at).receive(peer(from), request);
    cluster.node(at).sync();
    let granted = |message| {
        if let Message::RequestVoteResponse(m) = message { Some(m.vote_granted) } else { None }
    };
    cluster.node(at).take_sent().into_iter().find_map(|(_, message)| granted(message))
}

fn pre_vote(cluster: &mut Cluster, at: u64, from: u64, next_term: u64, last: (u64, u64)) -> Option<bool> {
    let m = PreVote {
        next_term: Term(next_term),
        last_log_index: LogIndex(last.0),
        last_log_term: Term(last.1),
        reason: CampaignReason::LeaderLost,
    };
    cluster.node(at).take_sent();
    cluster.node(at).receive(peer(from), Message::PreVote(m));
    let granted =
        |message| if let Message::PreVoteResponse(m) = message { Some(m.vote_granted) } else { None };
    cluster.node(at).take_sent().into_iter().find_map(|(_, message)| granted(message))
}

/// §5.1: "if one server's current term is smaller than the other's, then it updates".
#[test]
fn a_later_term_in_any_message_makes_a_leader_a_follower_of_that_term() {
    for message in [
        heartbeat(9, 0),
        Message::RequestVoteResponse(RequestVoteResponse { term: Term(9), vote_granted: false }),
    ] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        cluster.node(1).receive(peer(2), message);
        assert_eq!(cluster.role(1), Role::Follower);
        assert_eq!(cluster.nodes[&1].raft.current_term(), Term(9));
        assert_eq!(cluster.nodes[&1].raft.hard_state().voted_for, None, "a vote is for one term");
    }
}

/// §5.1: "if a server receives a request with a stale term number, it rejects the request", and says its own.
#[test]
fn a_request_of_an_earlier_term_is_answered_with_the_later_one_and_changes_nothing() {
    for request in [heartbeat(1, 0), request_vote(1, 9, 1)] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        let before = cluster.nodes[&2].raft.deadline();
        cluster.node(2).receive(peer(3), request);
        let answers = cluster.node(2).take_sent();
        let [(to, answer)] = &answers[..] else { panic!("one answer, not {answers:?}") };
        let term = if let Message::HeartbeatResponse(m) = answer {
            Some(m.term)
        } else if let Message::RequestVoteResponse(m) = answer {
            Some(m.term).filter(|_| !m.vote_granted)
        } else {
            None
        };
        assert_eq!((*to, term), (peer(3), Some(Term(2))));
        assert_eq!(cluster.nodes[&2].raft.leader(), Some(id(1)));
        assert_eq!(cluster.nodes[&2].raft.deadline(), before, "it does not put off an election");
    }
}

/// §5.2: "a server begins as a follower"; a node that starts anew knows neither leader nor votes.
#[test]
fn a_node_begins_as_a_follower_of_nobody() {
    let raft = Raft::new(config(peer(1)), Micros(0), recovered(membership(&[1, 2, 3], &[]), &[2, 3]));
    assert_eq!((raft.role(), raft.leader(), raft.current_term()), (Role::Follower, None, Term(3)));
    assert_eq!(raft.commit_index(), LogIndex(1), "what is committed is learnt anew");
}

/// §5.2: "leaders send periodic heartbeats ... to all followers in order to maintain their authority".
#[test]
fn a_leader_says_that_it_leads_at_once_and_in_every_heartbeat_interval() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    while cluster.role(1) != Role::Leader {
        cluster.sync_all();
        assert!(cluster.deliver_next(), "it was to be elected");
    }
    for follower in [2, 3] {
        let says_so = |message: &Message| matches!(message, Message::AppendEntries(m) if m.term == Term(2));
        assert!(cluster.take(1, follower).iter().any(|e| says_so(&e.message)), "to {follower}");
    }
    for _ in 0..5 {
        let before = cluster.nodes[&1].now;
        cluster.wake(1);
        assert!(cluster.nodes[&1].now.since(before) <= HEARTBEAT_INTERVAL_US);
        for follower in [2, 3] {
            let sent = cluster.take(1, follower);
            assert!(sent.iter().any(|e| matches!(e.message, Message::Heartbeat(_))), "to {follower}");
        }
        // It hears of a majority, or it would step down.
        cluster.node(1).receive(peer(2), heartbeat_response(2, 0, None));
    }
}

/// §5.2: randomized election timeouts, from a fixed interval.
#[test]
fn election_timeouts_lie_between_one_and_two_of_the_configured_and_differ() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let config = Config { seed, ..config(peer(2)) };
        let mut raft = Raft::new(config, Micros(0), recovered(membership(&[1, 2, 3], &[]), &[]));
        let now = Micros(5_000_000);
        raft.step(now, raft_core::Input::Message { from: peer(1), message: heartbeat(1, 0) });
        let timeout = raft.deadline().expect("a follower has one").since(now);
        assert!((ELECTION_TIMEOUT_US..2 * ELECTION_TIMEOUT_US).contains(&timeout), "{timeout}");
        seen.insert(timeout);
    }
    assert!(seen.len() > 150, "{} timeouts of 200 seeds", seen.len());
}

#[test]
fn a_heartbeat_puts_the_election_off_and_an_early_wake_up_changes_nothing() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.node(2).pass(ELECTION_TIMEOUT_US - 1);
    cluster.node(2).step(raft_core::Input::Wake);
    assert_eq!(cluster.role(2), Role::Follower);
    let before = cluster.nodes[&2].raft.deadline();
    cluster.node(2).receive(peer(1), heartbeat(2, 0));
    assert!(cluster.nodes[&2].raft.deadline() > before);
}

/// §5.2: "each server will vote for at most one candidate in a given term".
#[test]
fn a_voter_votes_once_a_term_and_repeats_its_vote_to_whom_it_gave_it() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(vote(&mut cluster, 1, 2, request_vote(2, 1, 1)), Some(true));
    assert_eq!(vote(&mut cluster, 1, 3, request_vote(2, 1, 1)), Some(false));
    assert_eq!(vote(&mut cluster, 1, 2, request_vote(2, 1, 1)), Some(true));
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(vote(&mut cluster, 1, 3, request_vote(2, 1, 1)), Some(false), "not after a restart either");
    assert_eq!(vote(&mut cluster, 1, 3, request_vote(3, 1, 1)), Some(true), "but in the next term");
}

/// A vote is for one life of a node: its next life, with an empty disk, is another.
#[test]
fn a_vote_for_one_incarnation_is_none_for_the_next() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(vote(&mut cluster, 1, 2, request_vote(2, 1, 1)), Some(true));
    cluster.node(1).take_sent();
    let reborn = raft_core::Peer { incarnation: raft_core::Incarnation(2), ..peer(2) };
    cluster.node(1).receive(reborn, request_vote(2, 1, 1));
    let refused = Message::RequestVoteResponse(RequestVoteResponse { term: Term(2), vote_granted: false });
    assert_eq!(cluster.node(1).take_sent(), [(reborn, refused)]);
}

/// §5.4.1: the later last term wins; of equal last terms, the longer log.
#[test]
fn a_vote_and_a_pre_vote_go_only_to_a_log_that_is_as_up_to_date() {
    // The voter's log ends at index 3 in term 2.
    let cases = [((3, 2), true), ((4, 2), true), ((2, 3), true), ((2, 2), false), ((9, 1), false)];
    for ((index, term), granted) in cases {
        let mut cluster = Cluster::with_logs(&[(1, &[1, 2]), (2, &[]), (3, &[])]);
        assert_eq!(pre_vote(&mut cluster, 1, 2, 4, (index, term)), Some(granted), "{index}@{term}");
        assert_eq!(vote(&mut cluster, 1, 2, request_vote(4, index, term)), Some(granted), "{index}@{term}");
    }
}

/// §5.2: "it receives votes from a majority of the servers in the full cluster".
#[test]
fn a_candidate_leads_with_a_majority_and_not_with_less() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.down.extend([4, 5]);
    cluster.campaign(1);
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    assert_eq!(cluster.role(1), Role::PreCandidate, "two of five would vote for it");
    cluster.deliver(1, 3);
    cluster.deliver(3, 1);
    assert_eq!(cluster.role(1), Role::Candidate);
    cluster.sync(1);
    cluster.deliver(1, 2);
    cluster.sync(2);
    cluster.deliver(2, 1);
    assert_eq!(cluster.role(1), Role::Candidate, "two of five");
    // The same vote twice is one vote.
    let again = RequestVoteResponse { term: Term(2), vote_granted: true };
    cluster.node(1).receive(peer(2), Message::RequestVoteResponse(again));
    assert_eq!(cluster.role(1), Role::Candidate);
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Leader);
}

#[test]
fn answers_of_strangers_of_learners_and_of_former_lives_count_for_nothing() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.isolate(1);
    cluster.campaign(1);
    let former = raft_core::Peer { incarnation: raft_core::Incarnation(7), ..peer(2) };
    let granted = PreVoteResponse { term: Term(1), next_term: Term(2), vote_granted: true };
    for from in [former, peer(9)] {
        cluster.node(1).receive(from, Message::PreVoteResponse(granted));
    }
    assert_eq!(cluster.role(1), Role::PreCandidate);
    cluster.node(1).receive(peer(2), Message::PreVoteResponse(granted));
    cluster.node(1).sync();
    let granted = RequestVoteResponse { term: Term(2), vote_granted: true };
    for from in [former, peer(9)] {
        cluster.node(1).receive(from, Message::RequestVoteResponse(granted));
    }
    assert_eq!(cluster.role(1), Role::Candidate);
    cluster.node(1).receive(peer(2), Message::RequestVoteResponse(granted));
    assert_eq!(cluster.role(1), Role::Leader);
}

/// §5.2: a candidate that hears of another leader of its term follows it.
#[test]
fn a_candidate_that_hears_the_leader_of_its_term_follows_it() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.campaign(1);
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Candidate);
    cluster.node(1).receive(peer(2), heartbeat(2, 0));
    assert_eq!((cluster.role(1), cluster.nodes[&1].raft.leader()), (Role::Follower, Some(id(2))));
}

/// §5.2: "if many followers become candidates at the same time, votes could be split"; another election
/// follows.
#[test]
fn a_split_vote_is_resolved_by_another_election() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    for number in [1, 2] {
        cluster.campaign(number);
    }
    // 3 would vote for either, and ends before it is asked.
    for (from, to) in [(1, 3), (2, 3), (3, 1), (3, 2)] {
        cluster.deliver(from, to);
    }
    cluster.crash(3);
    cluster.settle();
    assert_eq!([cluster.role(1), cluster.role(2)], [Role::Candidate; 2], "each has voted for itself");
    cluster.pass(20 * ELECTION_TIMEOUT_US);
    assert!(cluster.leader().is_some());
}

/// Their pre-votes cross, as where the way takes longer than one is ahead of the other. If each granted the
/// other's and campaigned, the vote would be split.
#[test]
fn of_two_that_ask_for_each_others_pre_vote_at_once_one_lets_the_other_campaign() {
    let logs: [&[(u64, &[u64])]; 2] = [&[(1, &[]), (2, &[])], &[(1, &[1]), (2, &[1])]];
    for logs in logs {
        let mut cluster = Cluster::with_logs(logs);
        cluster.campaign(1);
        cluster.campaign(2);
        cluster.settle();
        assert_eq!([cluster.role(1), cluster.role(2)], [Role::Leader, Role::Follower]);
    }
}

/// 5 is the only one that reaches a majority. The others come first and ask it again and again, but none of
/// them can win, so it must not wait until none of them asks.
#[test]
fn a_node_that_has_yielded_asks_again_however_often_others_ask_meanwhile() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    for (one, other) in [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)] {
        cluster.cut_both(one, other);
    }
    cluster.campaign(5);
    // Its requests are lost, so it is still undecided when the others ask.
    cluster.network.clear();
    cluster.pass(4 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.role(5), Role::Leader);
}

/// Dissertation §9.6: nobody enters a term for a node that could not win it.
#[test]
fn a_pre_vote_changes_neither_side_and_a_node_that_is_cut_off_stays_in_its_term() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(3);
    cluster.pass(20 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.nodes[&3].raft.current_term(), Term(2));
    assert_eq!(cluster.nodes[&3].disk.pending(), 0);
    cluster.cut.clear();
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.role(1), Role::Leader, "its return disturbs nobody");
    assert_eq!(cluster.nodes[&1].raft.current_term(), Term(2));
}

#[test]
fn a_pre_vote_is_refused_by_who_hears_a_leader_and_granted_by_who_does_not() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    assert_eq!(pre_vote(&mut cluster, 2, 3, 3, (9, 2)), Some(false));
    assert_eq!(pre_vote(&mut cluster, 1, 3, 3, (9, 2)), Some(false), "nor by the leader itself");
    cluster.node(2).pass(ELECTION_TIMEOUT_US);
    assert_eq!(pre_vote(&mut cluster, 2, 3, 3, (9, 2)), Some(true));
    assert_eq!(pre_vote(&mut cluster, 2, 3, 2, (9, 2)), Some(false), "but not for a term that it is in");
}

/// §4.2.3 protects against a new term. A candidate of the leader's own term has lost, and is told so.
#[test]
fn a_candidate_of_the_leaders_own_term_is_refused_by_who_hears_the_leader() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    assert_eq!(vote(&mut cluster, 2, 3, request_vote(2, 9, 2)), Some(false));
}

/// Dissertation §4.2.3: "if a server receives a RequestVote request within the minimum election timeout of
/// hearing from a current leader, it does not update its term or grant its vote".
#[test]
fn a_disruptive_server_is_ignored_by_who_hears_a_leader() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    for at in [1, 2] {
        assert_eq!(vote(&mut cluster, at, 3, request_vote(9, 9, 9)), None);
        assert_eq!(cluster.nodes[&at].raft.current_term(), Term(2));
    }
    cluster.node(2).pass(ELECTION_TIMEOUT_US);
    assert_eq!(vote(&mut cluster, 2, 3, request_vote(9, 9, 9)), Some(true));
}

/// Dissertation §6.2: "a leader in Raft steps down if an election timeout elapses without a successful round
/// of heartbeats to a majority of its cluster".
#[test]
fn a_leader_that_hears_no_majority_steps_down_within_an_election_timeout_and_a_heartbeat() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.cut_both(1, 2);
    cluster.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.role(1), Role::Leader, "it still hears one of two others");
    cluster.cut_both(1, 3);
    cluster.pass(ELECTION_TIMEOUT_US + 2 * HEARTBEAT_INTERVAL_US);
    assert_ne!(cluster.role(1), Role::Leader);
}

#[test]
#[should_panic(expected = "a heartbeat interval of 0 us")]
fn a_configuration_without_time_between_heartbeats_is_refused() {
    let config = Config { heartbeat_interval_us: 0, ..config(peer(1)) };
    drop(Raft::new(config, Micros(0), recovered(membership(&[1], &[]), &[])));
}

/// That vote may be for the leader that is gone: then it decides nothing any more.
#[test]
fn a_voter_whose_vote_is_being_written_grants_a_pre_vote_where_the_leaders_process_is_gone() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.stalled.insert(3);
    cluster.elect(1);
    let last = (cluster.nodes[&2].raft.last_log_index().0, 2);
    cluster.unreachable(3, 1);
    cluster.wake(3);
    assert_eq!(cluster.role(3), Role::PreCandidate);
    assert_eq!(pre_vote(&mut cluster, 3, 2, 3, last), Some(true));
}

/// Its candidate may lead by now, and not have been heard yet: on a slow network, others would depose each
/// new leader.
#[test]
fn a_node_that_has_just_voted_neither_helps_another_nor_asks_itself_before_its_candidate_had_time() {
    for has_asked in [false, true] {
        let mut cluster = Cluster::with_logs(&[(1, &[1, 1]), (2, &[1, 1]), (3, &[1])]);
        let last = cluster.nodes[&2].raft.last_log_index().0;
        assert_eq!(vote(&mut cluster, 2, 3, request_vote(2, last - 1, 1)), Some(false));
        if has_asked {
            cluster.node(2).wake();
            assert_eq!(cluster.role(2), Role::PreCandidate);
        }
        assert_eq!(vote(&mut cluster, 2, 1, request_vote(2, last, 1)), Some(true));
        let voted_at = cluster.nodes[&2].now;
        for last in [(last - 1, 1), (last, 1)] {
            assert_eq!(pre_vote(&mut cluster, 2, 3, 3, last), Some(false), "{last:?}, {has_asked}");
        }
        let asks_at = cluster.nodes[&2].raft.deadline().expect("it is a voter");
        assert!(asks_at.since(voted_at) >= ELECTION_TIMEOUT_US, "{asks_at:?}, {has_asked}");
        cluster.node(2).pass(ELECTION_TIMEOUT_US);
        assert_eq!(pre_vote(&mut cluster, 2, 3, 3, (last, 1)), Some(true), "{has_asked}");
    }
}

/// Nobody else can win: whoever lacks its log is refused by it, and it waits for nothing.
#[test]
fn a_voter_that_refuses_another_for_its_log_asks_next() {
    let mut cluster = Cluster::with_logs(&[(1, &[1]), (2, &[]), (3, &[])]);
    cluster.down.insert(3);
    cluster.campaign(2);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::PreCandidate);
    cluster.pass(0);
    assert_eq!(cluster.role(1), Role::Leader);
}
