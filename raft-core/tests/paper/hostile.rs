//! What no sound peer sends must do no harm: it is dropped and reported, or ignored.

use raft_core::{
    AppendEntriesResponse, AppendOutcome, DropReason, Evidence, Heartbeat, InstallSnapshot,
    InstallSnapshotResponse, LogIndex, Message, Micros, Output, PreVote, PreVoteResponse, Recovered,
    RequestVote, RequestVoteResponse, Role, Round, Snapshot, Term, TimeoutNow,
};

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::{
    ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, append, config, heartbeat, heartbeat_response, id,
    membership, peer,
};

fn dropped(cluster: &mut Cluster, at: u64) -> Vec<DropReason> {
    let reason = |event: &Output| {
        if let Output::Dropped { reason, .. } = event { Some(*reason) } else { None }
    };
    cluster.events(at).iter().filter_map(reason).collect()
}

fn rejected(term: u64, prev_log_index: u64, hint_index: u64) -> Message {
    Message::AppendEntriesResponse(AppendEntriesResponse {
        term: Term(term),
        outcome: AppendOutcome::Rejected {
            prev_log_index: LogIndex(prev_log_index),
            hint_index: LogIndex(hint_index),
            hint_term: Term(term),
        },
    })
}

fn matched(term: u64, match_index: u64) -> Message {
    let outcome = AppendOutcome::Matched { match_index: LogIndex(match_index) };
    Message::AppendEntriesResponse(AppendEntriesResponse { term: Term(term), outcome })
}

fn snapshot(index: u64, term: u64, voters: &[u64]) -> Message {
    let snapshot = Snapshot {
        last_included_index: LogIndex(index),
        last_included_term: Term(term),
        membership: membership(voters, &[]).into(),
        state: [0; 16].into(),
    };
    Message::InstallSnapshot(InstallSnapshot { term: Term(2), snapshot: snapshot.into() })
}

#[test]
fn an_acknowledgement_of_more_than_the_leader_has_is_dropped_and_is_stuck() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.events(1);
    let before = cluster.commit(1);
    cluster.node(1).receive(peer(2), matched(2, 1_000));
    assert_eq!(dropped(&mut cluster, 1), [DropReason::AcknowledgedTooMuch]);
    assert_eq!(cluster.commit(1), before);
}

#[test]
fn an_acknowledgement_that_finds_a_leader_restarted_with_less_accuses_nobody() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.propose(1, "lost with the leader's disk");
    cluster.deliver(1, 2);
    cluster.crash(1);
    cluster.restart(1);
    cluster.sync(2);
    cluster.events(1);
    assert!(cluster.deliver(2, 1) > 0, "the acknowledgement is on its way");
    assert_eq!(dropped(&mut cluster, 1), []);
}

#[test]
fn a_rejection_of_the_largest_index_is_ignored_in_every_state_of_replication() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    for hint in [0, 1, u64::MAX] {
        // Node 2 is replicated to; node 3, whose answers are lost, is probed.
        cluster.unreachable(1, 3);
        cluster.node(1).receive(peer(2), rejected(2, u64::MAX, hint));
        cluster.node(1).receive(peer(3), rejected(2, u64::MAX, hint));
    }
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Leader);
}

#[test]
fn a_rejection_of_what_was_matched_is_answered_at_most_once_per_heartbeat() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let match_index = cluster.commit(1).0;
    cluster.unreachable(1, 2);
    cluster.network.clear();
    for _ in 0..100 {
        cluster.node(1).receive(peer(2), rejected(2, match_index, match_index));
    }
    let sent = cluster.node(1).take_sent();
    assert!(sent.len() <= 1, "{} messages answer a follower that has lost what it acknowledged", sent.len());
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.nodes[&1].raft.match_index(peer(2).id), Some(LogIndex(match_index)));
}

#[test]
fn entries_that_do_not_follow_each_other_are_dropped_whole() {
    let malformed = [
        append(2, (2, 2), &[(4, 2)], 0),
        append(2, (2, 2), &[(3, 2), (5, 2)], 0),
        append(2, (2, 2), &[(3, 2), (3, 2)], 0),
        append(2, (2, 2), &[(3, 1)], 0),
        append(2, (2, 2), &[(3, 3)], 0),
        append(2, (2, 3), &[], 0),
        append(2, (0, 1), &[(1, 1)], 0),
        append(2, (0, 0), &[(1, 0)], 0),
        append(2, (2, 0), &[], 0),
        append(2, (u64::MAX, 2), &[(0, 2)], 0),
    ];
    for message in malformed {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        cluster.events(2);
        cluster.node(2).receive(peer(1), message.clone());
        assert_eq!(dropped(&mut cluster, 2), [DropReason::MalformedEntries], "{message:?}");
        assert_eq!(cluster.terms(2), [2]);
    }
}

#[test]
fn an_append_behind_an_impossible_beginning_does_not_make_a_new_node_condemn_its_store() {
    let mut joiner = Node::new(config(peer(3)), Micros(0), Recovered::default());
    joiner.receive(peer(1), append(2, (0, 2), &[], 0));
    let dropped = Output::Dropped { from: peer(1), reason: DropReason::MalformedEntries };
    let events = joiner.take_events();
    assert!(events.contains(&dropped), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Output::EntriesLost { .. })), "{events:?}");
}

#[test]
fn a_snapshot_without_an_index_a_term_or_a_voter_or_from_the_future_is_dropped() {
    let malformed = [
        snapshot(0, 1, &[1]),
        snapshot(9, 0, &[1]),
        snapshot(9, 1, &[]),
        snapshot(9, 3, &[1]),
        snapshot(u64::MAX, 1, &[1]),
    ];
    for message in malformed {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        cluster.events(2);
        cluster.node(2).receive(peer(1), message.clone());
        assert_eq!(dropped(&mut cluster, 2), [DropReason::MalformedSnapshot], "{message:?}");
        assert_eq!(cluster.terms(2), [2]);
    }
}

#[test]
fn a_term_that_leaves_no_room_for_the_next_is_dropped_whatever_carries_it() {
    let term = Term(u64::MAX);
    let end = (LogIndex(u64::MAX), Term(u64::MAX));
    let reason = raft_core::CampaignReason::LeadershipTransfer;
    let messages = [
        Message::PreVote(PreVote { next_term: term, last_log_index: end.0, last_log_term: end.1, reason }),
        Message::PreVoteResponse(PreVoteResponse { term, next_term: term, vote_granted: true }),
        Message::RequestVote(RequestVote { term, last_log_index: end.0, last_log_term: end.1, reason }),
        Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted: true }),
        append(u64::MAX, (1, 1), &[], 0),
        matched(u64::MAX, 1),
        Message::Heartbeat(Heartbeat {
            term,
            leader_commit: end.0,
            round: Round(u64::MAX),
            election_timeout_us: ELECTION_TIMEOUT_US,
            is_stuck: false,
        }),
        heartbeat_response(term.0, u64::MAX, Some(u64::MAX)),
        Message::InstallSnapshotResponse(InstallSnapshotResponse { term, match_index: end.0 }),
        Message::TimeoutNow(TimeoutNow { term }),
    ];
    for message in messages {
        for at in [1, 2] {
            let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
            cluster.events(at);
            cluster.node(at).receive(peer(3), message.clone());
            assert_eq!(dropped(&mut cluster, at), [DropReason::TermExhausted], "{message:?}");
            assert_eq!(cluster.nodes[&at].raft.current_term(), Term(2));
        }
    }
}

#[test]
fn the_last_term_is_entered_and_none_after_it() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.node(2).receive(peer(3), heartbeat(1 << 62, 0));
    assert_eq!(cluster.nodes[&2].raft.current_term(), Term(1 << 62));
    cluster.events(2);
    cluster.node(2).receive(peer(3), heartbeat((1 << 62) + 1, 0));
    assert_eq!(dropped(&mut cluster, 2), [DropReason::TermExhausted]);
}

#[test]
fn an_answer_to_a_round_that_never_began_lets_no_barrier_pass() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.node(1).receive(peer(2), heartbeat_response(2, 1 << 40, None));
    cluster.events(1);
    cluster.barrier(1);
    assert!(!cluster.events(1).iter().any(|e| matches!(e, Output::BarrierPassed(_))));
}

#[test]
fn messages_in_this_nodes_own_name_are_ignored() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.node(1).receive(peer(1), append(3, (2, 2), &[(3, 3)], 0));
    assert_eq!(cluster.role(1), Role::Leader);
    assert_eq!(cluster.terms(1), [2]);
}

/// Anybody who knows the id of the cluster can connect.
#[test]
fn a_stranger_that_claims_to_lead_beside_a_leader_is_not_heard() {
    let snapshot = raft_core::Snapshot {
        last_included_index: LogIndex(9),
        last_included_term: Term(2),
        membership: std::sync::Arc::new(membership(&[1, 2, 3], &[])),
        state: std::sync::Arc::from([1]),
    };
    let snapshot = Message::InstallSnapshot(InstallSnapshot { term: Term(2), snapshot: snapshot.into() });
    for message in [heartbeat(2, 2), append(2, (2, 2), &[(3, 2)], 0), snapshot] {
        for at in [1, 2] {
            let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
            cluster.events(at);
            cluster.node(at).receive(peer(9), message.clone());
            assert_eq!(dropped(&mut cluster, at), [DropReason::SecondLeader], "{message:?} at {at}");
            assert_eq!((cluster.role(1), cluster.nodes[&at].raft.leader()), (Role::Leader, Some(id(1))));
            assert_eq!(cluster.terms(at), [2]);
        }
    }
}

/// It may be the leader of a membership that this node does not have yet (dissertation §4.1).
#[test]
fn a_stranger_is_followed_where_no_leader_is_known() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.node(2).receive(peer(9), heartbeat(3, 0));
    assert_eq!(cluster.nodes[&2].raft.leader(), Some(id(9)));
}

/// Evidence that safety is already broken, so that to go on would only spread it.
#[test]
fn a_node_takes_no_further_part_once_a_leader_contradicts_what_is_committed() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.commit(2), LogIndex(2));
    let leader = peer(1);
    cluster.node(2).receive(leader, append(2, (1, 1), &[(2, 1), (3, 1)], 0));
    let evidence = Evidence::Conflict { leader, index: LogIndex(2), committed: Term(2), theirs: Term(1) };
    assert!(cluster.events(2).contains(&Output::SafetyLost(evidence)));
    assert!(cluster.nodes[&2].raft.is_muted());
    assert_eq!(cluster.terms(2), [2], "what it has stays as it is");
}

#[test]
fn a_node_takes_no_further_part_once_two_members_lead_in_one_term() {
    for at in [1, 2] {
        for message in [heartbeat(2, 0), append(2, (2, 2), &[(3, 2)], 0)] {
            let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
            cluster.events(at);
            cluster.node(at).receive(peer(3), message);
            let evidence = Evidence::TwoLeaders { term: Term(2), leader: peer(1), other: peer(3) };
            assert!(cluster.events(at).contains(&Output::SafetyLost(evidence)));
            assert!(cluster.nodes[&at].raft.is_muted());
        }
    }
}
