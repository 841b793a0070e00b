//! Log replication (Raft §5.3, §5.4.2, §8; dissertation §10.2).

use raft_core::{
    APPEND_BYTES_MAX, APPENDS_IN_FLIGHT_MAX, AppendEntriesResponse, AppendOutcome, ENTRIES_PER_APPEND_MAX,
    LogIndex, Message, NotAppended, Output, Payload, ProposalOutcome, Role, Term, UNCOMMITTED_ENTRIES_MAX,
};

use crate::harness::cluster::{Cluster, Envelope};
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, append, heartbeat, id, peer};

fn appends(envelopes: &[Envelope]) -> usize {
    envelopes.iter().filter(|e| matches!(e.message, Message::AppendEntries(_))).count()
}

/// §8: "Raft handles this by having each leader commit a blank no-op entry into the log at the start of its
/// term".
#[test]
fn a_new_leader_appends_a_no_op_and_commits_with_it_what_came_before() {
    let mut cluster = Cluster::with_logs(&[(1, &[1, 1]), (2, &[1, 1]), (3, &[])]);
    cluster.elect(1);
    let noop = cluster.nodes[&1].raft.entry(LogIndex(4)).map(|e| (e.term, e.payload.clone()));
    assert_eq!(noop, Some((Term(2), Payload::Noop)));
    assert_eq!(cluster.commit(1), LogIndex(4));
    cluster.pass(HEARTBEAT_INTERVAL_US);
    for number in 1..=3 {
        assert_eq!(cluster.terms(number), [1, 1, 2]);
        assert_eq!(cluster.commit(number), LogIndex(4));
    }
}

/// §5.3: an entry is committed once a majority has it, and applied in the order of the log by everybody.
#[test]
fn a_proposal_is_committed_by_a_majority_and_applied_by_everybody_in_order() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(3);
    let proposals = [cluster.propose(1, "a"), cluster.propose(1, "b")];
    cluster.settle();
    let done: Vec<_> = cluster
        .events(1)
        .into_iter()
        .filter_map(|e| {
            if let Output::ProposalDone { proposal, outcome } = e { Some((proposal, outcome)) } else { None }
        })
        .collect();
    let committed = |at: u64| ProposalOutcome::Committed(LogIndex(at));
    assert_eq!(done, [(proposals[0], committed(3)), (proposals[1], committed(4))]);
    cluster.cut.clear();
    cluster.pass(5 * HEARTBEAT_INTERVAL_US);
    let applied = |n: u64| cluster.nodes[&n].applied.clone();
    assert_eq!(applied(1), applied(2));
    assert_eq!(applied(1), applied(3));
}

/// Of itself, it knows what is durable here; others know nothing about anybody.
#[test]
fn a_leader_tells_up_to_where_each_member_has_its_log() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(3);
    let before = cluster.nodes[&1].raft.last_log_index();
    cluster.stalled.insert(1);
    cluster.propose(1, "a");
    cluster.settle();
    let match_index = |cluster: &Cluster, at: u64, of: u64| cluster.nodes[&at].raft.match_index(id(of));
    let told: Vec<_> = [1, 2, 3, 4].map(|of| match_index(&cluster, 1, of)).into();
    assert_eq!(told, [Some(before), Some(before.next()), Some(before), None]);
    cluster.sync(1);
    assert_eq!(match_index(&cluster, 1, 1), Some(before.next()));
    assert_eq!([1, 2].map(|of| match_index(&cluster, 2, of)), [None, None]);
}

/// §5.3, Figure 2: the consistency check.
#[test]
fn an_append_after_an_entry_that_is_not_there_is_rejected_and_changes_nothing() {
    for prev in [(4, 2), (3, 1), (3, 3)] {
        let mut cluster = Cluster::with_logs(&[(1, &[2, 2]), (2, &[]), (3, &[])]);
        cluster.node(1).receive(peer(2), append(3, prev, &[(prev.0 + 1, 3)], 9));
        cluster.node(1).sync();
        let sent = cluster.node(1).take_sent();
        let rejected = |message: &Message| {
            let Message::AppendEntriesResponse(response) = message else { return false };
            matches!(response.outcome, AppendOutcome::Rejected { .. })
        };
        assert!(sent.iter().any(|(_, m)| rejected(m)), "{prev:?}: {sent:?}");
        assert_eq!(cluster.terms(1), [2, 2]);
        assert_eq!(cluster.commit(1), LogIndex(1));
    }
}

/// Figure 2, step 3: "if an existing entry conflicts with a new one, delete the existing entry and all that
/// follow".
#[test]
fn a_conflicting_entry_is_deleted_with_all_that_follow_it() {
    let mut cluster = Cluster::with_logs(&[(1, &[2, 2, 2]), (2, &[]), (3, &[])]);
    cluster.node(1).receive(peer(2), append(3, (2, 2), &[(3, 3)], 0));
    cluster.node(1).sync();
    assert_eq!(cluster.terms(1), [2, 3]);
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.terms(1), [2, 3], "on the disk as well");
}

/// Figure 2, step 4: only "new entries not already in the log" are appended.
#[test]
fn a_delayed_append_that_is_shorter_than_the_log_takes_nothing_away() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    // Nothing is committed meanwhile: what is committed would be protected in another way.
    cluster.stalled.insert(1);
    cluster.isolate(3);
    cluster.propose(1, "a");
    let delayed = cluster.take(1, 2);
    cluster.propose(1, "b");
    cluster.pass(4 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.terms(2), [2, 2, 2]);
    assert_eq!(cluster.commit(2), LogIndex(2));
    for envelope in delayed {
        cluster.arrive(envelope);
    }
    assert_eq!(cluster.terms(2), [2, 2, 2]);
    assert!(!cluster.nodes[&2].disk.has_pending(), "nothing is written for it either");
}

/// What is committed agrees with every leader (§5.4.3), so an append is compared from there on.
#[test]
fn an_append_that_begins_before_what_is_committed_is_taken_from_there_on() {
    let (sent, has) = ([(2, 2), (3, 3), (4, 4)], [2, 3, 4]);
    for (entries, terms, match_index) in [(1, 2, 3), (2, 2, 3), (3, 3, 4)] {
        let (entries, terms) = (&sent[..entries], &has[..terms]);
        let mut cluster = Cluster::with_logs(&[(1, &[2, 3]), (2, &[]), (3, &[])]);
        cluster.node(1).receive(peer(2), heartbeat(4, 3));
        assert_eq!(cluster.commit(1), LogIndex(3));
        cluster.node(1).receive(peer(2), append(4, (1, 1), entries, 3));
        cluster.node(1).sync();
        assert_eq!(cluster.terms(1), terms, "{entries:?}");
        let outcome = AppendOutcome::Matched { match_index: LogIndex(match_index) };
        let answer = AppendEntriesResponse { term: Term(4), outcome };
        let answer = (peer(2), Message::AppendEntriesResponse(answer));
        assert!(cluster.node(1).take_sent().contains(&answer), "{entries:?}");
    }
}

/// Figure 2, step 5: "set commitIndex = min(leaderCommit, index of last new entry)".
#[test]
fn an_append_commits_no_more_than_what_it_has_compared() {
    let mut cluster = Cluster::with_logs(&[(1, &[2, 2, 2]), (2, &[]), (3, &[])]);
    cluster.node(1).receive(peer(2), append(3, (2, 2), &[], 4));
    assert_eq!(cluster.commit(1), LogIndex(2), "entries 3 and 4 may be others than the leader's");
}

/// The heartbeat is a message of its own here: it must not commit what was not compared either.
#[test]
fn a_heartbeat_names_no_commit_index_beyond_what_the_follower_has_matched() {
    let mut cluster = Cluster::with_logs(&[(1, &[2, 3]), (2, &[2, 3]), (3, &[2, 2, 2])]);
    cluster.elect(1);
    let mut diverged = Cluster::with_logs(&[(1, &[2, 3]), (2, &[2, 3]), (3, &[2, 2, 2])]);
    diverged.cut.insert((3, 1));
    diverged.campaign(1);
    diverged.settle();
    diverged.pass(HEARTBEAT_INTERVAL_US);
    assert_eq!(diverged.role(1), Role::Leader);
    assert_eq!(diverged.commit(1), LogIndex(4));
    assert_eq!(diverged.commit(3), LogIndex(1));
}

#[test]
fn a_heartbeat_that_was_delayed_takes_no_commit_back() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.pass(HEARTBEAT_INTERVAL_US);
    cluster.node(2).receive(peer(1), heartbeat(2, 0));
    assert_eq!(cluster.commit(2), LogIndex(2));
}

/// §5.3, Figure 3, Leader Append-Only: "a leader never overwrites or deletes entries in its log; it only
/// appends new entries"; and §5.4.2: entries keep their terms when a later leader replicates them.
#[test]
fn a_leader_only_appends_and_keeps_the_terms_of_what_it_has_from_others() {
    let mut cluster = Cluster::with_logs(&[(1, &[2, 3, 5]), (2, &[2, 4, 4, 4]), (3, &[2])]);
    let mut before = cluster.terms(1);
    cluster.campaign(1);
    for _ in 0..200 {
        cluster.sync_all();
        if !cluster.deliver_next() {
            cluster.propose(1, "x");
        }
        let now = cluster.terms(1);
        assert!(now.starts_with(&before), "{before:?} became {now:?}");
        before = now;
    }
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Leader);
    assert_eq!(before[..4], [2, 3, 5, 6], "and a no-op");
    for follower in [2, 3] {
        assert_eq!(cluster.terms(follower), cluster.terms(1));
    }
}

/// §5.5: "Raft RPCs are idempotent".
#[test]
fn every_message_that_arrives_twice_does_what_it_does_once() {
    let run = |copies: usize| {
        let mut cluster =
            Cluster::with_logs(&[(1, &[2, 3]), (2, &[2, 3]), (3, &[2, 2, 2]), (4, &[]), (5, &[])]);
        cluster.campaign(1);
        for command in ["", "a", "b", "c"] {
            if !command.is_empty() {
                cluster.propose(1, command);
            }
            loop {
                let synced = cluster.sync_all();
                let Some(envelope) = cluster.network.pop_front() else {
                    if synced { continue } else { break }
                };
                (0..copies).for_each(|_| cluster.arrive(envelope.clone()));
            }
        }
        let outcome = |n: u64| (cluster.terms(n), cluster.nodes[&n].raft.hard_state());
        let applied = cluster.nodes[&1].raft.last_applied();
        assert_eq!(applied, cluster.nodes[&1].raft.last_log_index(), "{copies} copies");
        (1..=5).map(outcome).collect::<Vec<_>>()
    };
    assert_eq!(run(2), run(1));
}

/// §5.4.2 and Figure 8: "only log entries from the leader's current term are committed by counting replicas".
#[test]
fn an_entry_of_an_old_term_is_not_committed_by_counting() {
    // Figure 8 (c): 1 leads term 4 and has its entry of term 2 on a majority; 5 has one of term 3.
    let mut cluster = Cluster::with_logs(&[(1, &[2]), (2, &[2]), (3, &[2]), (4, &[]), (5, &[3])]);
    cluster.stalled.insert(1);
    cluster.isolate(5);
    cluster.isolate(4);
    cluster.campaign(1);
    cluster.settle();
    cluster.sync(1);
    // Elected, and the no-op of its term reaches nobody.
    while cluster.role(1) != Role::Leader {
        assert!(cluster.deliver_next(), "elected");
        cluster.sync(2);
        cluster.sync(3);
    }
    cluster.network.clear();
    for number in [2, 3] {
        let outcome = AppendOutcome::Matched { match_index: LogIndex(2) };
        let term = cluster.nodes[&1].raft.current_term();
        let answer = raft_core::AppendEntriesResponse { term, outcome };
        cluster.node(1).receive(peer(number), Message::AppendEntriesResponse(answer));
    }
    assert_eq!(cluster.commit(1), LogIndex(1), "index 2 is on a majority, but of an old term");
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    cluster.sync(1);
    assert_eq!(cluster.commit(1), LogIndex(3), "with an entry of its own term it is");
}

/// §5.3: "the protocol can be optimized to reduce the number of rejected AppendEntries RPCs".
#[test]
fn a_diverged_follower_is_found_out_in_one_rejection_for_each_term_and_not_for_each_entry() {
    let long: Vec<u64> = std::iter::repeat_n(2, 300).collect();
    let other: Vec<u64> = std::iter::repeat_n(3, 300).collect();
    let mut cluster = Cluster::with_logs(&[(1, &other), (2, &[]), (3, &long)]);
    cluster.campaign(1);
    let mut rejections = 0;
    let rejected = |e: &Envelope| {
        let Message::AppendEntriesResponse(m) = &e.message else { return false };
        matches!(m.outcome, AppendOutcome::Rejected { .. })
    };
    for _ in 0..200 {
        cluster.sync_all();
        rejections += usize::from(cluster.network.front().is_some_and(rejected));
        cluster.deliver_next();
    }
    assert_eq!(cluster.terms(3), cluster.terms(1));
    assert!((1..=4).contains(&rejections), "{rejections} rejections");
}

/// Dissertation §10.2.1: the leader pipelines, and sends the next entries before the last ones are
/// acknowledged.
#[test]
fn entries_follow_each_other_without_waiting_for_answers_up_to_the_bound() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    for number in 0..APPENDS_IN_FLIGHT_MAX + 10 {
        cluster.propose(1, &number.to_string());
    }
    let on_way = cluster.take(1, 2);
    assert_eq!(appends(&on_way), APPENDS_IN_FLIGHT_MAX);
    cluster.take(1, 3);
    cluster.pass(10 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.terms(2), cluster.terms(1), "what was lost is found out and sent again");
}

#[test]
fn an_append_carries_no_more_than_its_bounds_however_far_a_follower_lags() {
    for command in ["", "x".repeat(1000).as_str(), "x".repeat(APPEND_BYTES_MAX + 1).as_str()] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        cluster.isolate(3);
        // Twice as many as one append carries, or a little more.
        let fit = (APPEND_BYTES_MAX / command.len().max(1)).clamp(2, ENTRIES_PER_APPEND_MAX);
        for _ in 0..2 * fit {
            cluster.propose(1, command);
            cluster.settle();
        }
        cluster.cut.clear();
        cluster.pass(0);
        let mut seen = 0;
        for _ in 0..3 {
            for number in [1, 3] {
                cluster.wake(number);
            }
            for envelope in cluster.take(1, 3) {
                if let Message::AppendEntries(m) = &envelope.message {
                    seen += m.entries.len();
                    let bytes: usize = m.entries.iter().map(|_| command.len()).sum();
                    assert!(m.entries.len() <= ENTRIES_PER_APPEND_MAX);
                    assert!(bytes <= APPEND_BYTES_MAX || m.entries.len() == 1, "{bytes} bytes");
                }
                cluster.arrive(envelope);
            }
            cluster.sync(3);
            cluster.deliver(3, 1);
        }
        assert!(seen > 0);
    }
}

/// Messages are lost in both directions; whatever is lost, the next heartbeat finds it out.
#[test]
fn whatever_single_message_is_lost_the_follower_catches_up() {
    for lost in 0..12 {
        let mut cluster = Cluster::with_logs(&[(1, &[2, 3]), (2, &[2, 3]), (3, &[2, 2])]);
        cluster.campaign(1);
        for step in 0.. {
            let synced = cluster.sync_all();
            if step == lost {
                cluster.network.pop_front();
            } else if !cluster.deliver_next() && !synced {
                break;
            }
        }
        cluster.pass(10 * ELECTION_TIMEOUT_US);
        let leader = cluster.leader().expect("one leads").get();
        for number in 1..=3 {
            assert_eq!(cluster.terms(number), cluster.terms(leader), "message {lost} lost");
            assert_eq!(cluster.commit(number), cluster.commit(leader), "message {lost} lost");
        }
    }
}

#[test]
fn a_leader_that_can_commit_nothing_refuses_more_than_the_bound() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(1);
    let mut accepted = 0;
    for _ in 0..=UNCOMMITTED_ENTRIES_MAX {
        cluster.propose(1, "");
        let busy = |e: &Output| {
            matches!(e, Output::ProposalDone { outcome: ProposalOutcome::NotAppended(NotAppended::Busy), .. })
        };
        accepted += u64::from(!cluster.events(1).iter().any(busy));
    }
    assert_eq!(accepted, UNCOMMITTED_ENTRIES_MAX);
    assert_eq!(cluster.role(1), Role::Leader);
}

/// Dissertation §6: what becomes of it is not known, and the driver is told so.
#[test]
fn a_deposed_leader_says_of_what_was_not_committed_that_it_may_be_lost() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(1);
    let proposal = cluster.propose(1, "x");
    cluster.events(1);
    cluster.elect(2);
    cluster.cut.clear();
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    let unknown = Output::ProposalDone { proposal, outcome: ProposalOutcome::Unknown };
    assert_eq!(cluster.events(1).iter().filter(|e| **e == unknown).count(), 1);
    assert_eq!(cluster.terms(1), [2, 3], "and it was replaced");
}

#[test]
fn proposals_at_a_node_that_does_not_lead_are_refused() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let proposal = cluster.propose(2, "x");
    let refused =
        Output::ProposalDone { proposal, outcome: ProposalOutcome::NotAppended(NotAppended::NotLeader) };
    assert!(cluster.events(2).contains(&refused));
    assert_eq!(cluster.nodes[&2].raft.leader(), Some(id(1)));
}

/// Links deliver in order. If not even a heartbeat is answered that was sent later, an append is on its way
/// still, and copies of it would only make it slower.
#[test]
fn an_append_that_a_narrow_link_has_not_delivered_is_not_sent_again() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    for _ in 0..3 {
        cluster.propose(1, "x");
    }
    let mut on_their_way = Vec::new();
    for _ in 0..20 {
        on_their_way.extend(cluster.take(1, 3));
        cluster.sync_all();
        for (from, to) in [(1, 2), (2, 1)] {
            cluster.deliver(from, to);
            cluster.sync_all();
        }
        cluster.wake(1);
    }
    assert_eq!(cluster.role(1), Role::Leader);
    assert_eq!(appends(&on_their_way), 3);
    assert_ne!(cluster.terms(3), cluster.terms(1));
    for envelope in on_their_way {
        cluster.arrive(envelope);
    }
    cluster.settle();
    assert_eq!(cluster.terms(3), cluster.terms(1));
}

/// The answers to heartbeats do not wait for its disk, and say what has arrived.
#[test]
fn appends_that_wait_for_a_followers_disk_are_not_sent_again() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    cluster.stalled.insert(3);
    for _ in 0..3 {
        cluster.propose(1, "x");
    }
    let mut sent = 0;
    for _ in 0..20 {
        let to_3 = cluster.take(1, 3);
        sent += appends(&to_3);
        to_3.into_iter().for_each(|envelope| cluster.arrive(envelope));
        cluster.settle();
        cluster.wake(1);
    }
    assert_eq!((cluster.role(1), sent), (Role::Leader, 3));
    assert_eq!(cluster.nodes[&1].raft.match_index(id(3)), Some(LogIndex(2)));
    cluster.stalled.clear();
    cluster.settle();
    assert_eq!(cluster.nodes[&1].raft.match_index(id(3)), Some(LogIndex(5)));
}

/// A probe that was lost is known to be lost as soon as a later heartbeat is answered.
#[test]
fn an_append_that_was_lost_is_sent_again_when_a_later_heartbeat_is_answered() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    cluster.propose(1, "x");
    assert_eq!(appends(&cluster.take(1, 3)), 1);
    cluster.pass(4 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.terms(3), cluster.terms(1));
}
