//! Asynchronous persistence: "updated on stable storage before responding to RPCs" (Raft Figure 2), although
//! nothing waits for a disk. The bench itself refuses every promise that its disk does not hold yet.

use raft_core::{AppendOutcome, LogIndex, Message, Output, Role};

use crate::harness::cluster::Cluster;
use crate::harness::{ELECTION_TIMEOUT_US, heartbeat, id, peer};

fn applied(cluster: &mut Cluster, at: u64) -> Vec<u64> {
    let index = |e: &Output| if let Output::Committed(entry) = e { Some(entry.index.0) } else { None };
    cluster.events(at).iter().filter_map(index).collect()
}

fn matched(cluster: &Cluster, from: u64, to: u64) -> Vec<u64> {
    let sent = cluster.network.iter().filter(|e| (e.from.id, e.to.id) == (id(from), id(to)));
    sent.filter_map(|e| {
        let Message::AppendEntriesResponse(m) = &e.message else { return None };
        let AppendOutcome::Matched { match_index } = m.outcome else { return None };
        Some(match_index.0)
    })
    .collect()
}

/// The voters write their votes while the candidate writes its own.
#[test]
fn a_candidate_whose_log_is_durable_asks_at_once_and_leads_once_its_own_vote_is_durable() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.campaign(1);
    cluster.settle();
    assert_eq!(cluster.nodes[&3].raft.hard_state().voted_for, Some(peer(1)));
    assert_eq!(cluster.role(1), Role::Candidate, "two votes are a majority, and its own may yet be lost");
    cluster.sync(1);
    assert_eq!(cluster.role(1), Role::Leader);
}

/// It asks with its log: after a crash it could campaign in the same term once more, with less of it.
#[test]
fn a_candidate_whose_log_is_being_written_asks_once_it_is_durable() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(2);
    cluster.propose(1, "x");
    cluster.settle();
    cluster.isolate(1);
    cluster.campaign(2);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Candidate);
    assert_eq!(cluster.nodes[&3].raft.current_term().0, 2, "nobody has heard of the new term");
    cluster.sync_one(2);
    cluster.settle();
    assert_eq!(cluster.nodes[&3].raft.current_term().0, 2, "what is asked for is released with its own vote");
    cluster.sync(2);
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
}

/// A crash before its vote is durable undoes its candidacy, and it may vote for another in the same term.
#[test]
fn votes_for_a_candidacy_that_a_crash_undid_elect_nobody() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.isolate(3);
    cluster.campaign(1);
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    cluster.deliver(1, 2);
    cluster.sync(2);
    let votes = cluster.take(2, 1);
    assert!(matches!(&votes[..], [e] if matches!(e.message, Message::RequestVoteResponse(_))));
    cluster.crash(1);
    cluster.restart(1);
    votes.into_iter().for_each(|vote| cluster.arrive(vote));
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Follower);
    assert_eq!(cluster.nodes[&1].raft.hard_state().voted_for, None, "it may vote for another in that term");
}

#[test]
fn a_vote_is_sent_only_once_it_is_durable() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.stalled.insert(2);
    cluster.down.insert(3);
    cluster.nodes.remove(&3);
    cluster.campaign(1);
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Candidate);
    cluster.sync(2);
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Leader);
}

#[test]
fn a_vote_that_a_crash_undid_was_never_sent_and_may_go_to_another() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.stalled.insert(2);
    cluster.isolate(3);
    cluster.campaign(1);
    cluster.settle();
    assert_eq!(cluster.nodes[&2].raft.hard_state().voted_for.map(|p| p.id), Some(id(1)));
    cluster.crash(2);
    cluster.restart(2);
    assert_eq!(cluster.nodes[&2].raft.hard_state().voted_for, None);
    assert_eq!(cluster.role(1), Role::Candidate, "it was not counted");
    cluster.stalled.clear();
    cluster.crash(1);
    cluster.cut.clear();
    cluster.elect(3);
    assert_eq!(cluster.nodes[&2].raft.hard_state().voted_for.map(|p| p.id), Some(id(3)));
}

#[test]
fn an_append_is_acknowledged_only_once_it_is_durable() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(2);
    cluster.propose(1, "x");
    cluster.deliver(1, 2);
    assert_eq!(matched(&cluster, 2, 1), [] as [u64; 0]);
    cluster.sync(2);
    assert_eq!(matched(&cluster, 2, 1), [3]);
}

/// A driver tells from this how long its disk has not answered.
#[test]
fn the_oldest_write_that_is_not_durable_yet_is_known_by_the_moment_of_its_step() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(1);
    assert_eq!(cluster.nodes[&1].raft.oldest_write_issued_at(), None);
    let issued_at = cluster.nodes[&1].now;
    cluster.propose(1, "x");
    cluster.node(1).pass(5);
    cluster.propose(1, "y");
    assert_eq!(cluster.nodes[&1].raft.oldest_write_issued_at(), Some(issued_at));
    assert!(cluster.node(1).sync_one());
    assert_eq!(cluster.nodes[&1].raft.oldest_write_issued_at(), Some(issued_at.plus(5)));
    cluster.sync(1);
    assert_eq!(cluster.nodes[&1].raft.oldest_write_issued_at(), None);
}

#[test]
fn what_is_appended_again_at_an_index_is_acknowledged_and_applied_by_its_own_write() {
    // 1 is cut off with an entry at index 3, which only 3 has as well; 2 leads the others with another one.
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4, 5]);
    cluster.stalled.insert(3);
    cluster.propose(1, "old");
    cluster.deliver(1, 3);
    assert_eq!(cluster.nodes[&3].disk.pending(), 1, "the write of the old entry");
    cluster.isolate(1);
    cluster.network.clear();
    cluster.elect(2);
    assert_eq!(cluster.terms(3), cluster.terms(2), "the old entry was replaced in memory");
    // 2 and the others have committed the new one, and 3 knows.
    cluster.node(3).receive(peer(2), heartbeat(3, 3));
    // 1 may learn that its entry was durable with 3, for its term is past. But the writes become durable one
    // by one, and to 2 none of them may stand for the last.
    while cluster.nodes[&3].disk.pending() > 1 {
        cluster.sync_one(3);
        assert!(matched(&cluster, 3, 2).iter().all(|i| *i < 3), "index 3 was written again since");
        assert_eq!(cluster.nodes[&3].raft.last_applied(), LogIndex(2));
    }
    cluster.sync_one(3);
    assert_eq!(cluster.nodes[&3].raft.last_applied(), LogIndex(3));
    assert!(matched(&cluster, 3, 2).contains(&3));
}

#[test]
fn a_leader_counts_itself_only_once_its_own_write_is_durable() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.isolate(3);
    cluster.propose(1, "x");
    cluster.settle();
    assert_eq!(cluster.nodes[&1].raft.match_index(id(2)), Some(LogIndex(3)));
    assert_eq!(cluster.commit(1), LogIndex(2));
    cluster.sync(1);
    assert_eq!(cluster.commit(1), LogIndex(3));
}

/// Dissertation §10.2.1: a leader may write to its disk in parallel with replicating.
#[test]
fn a_leader_sends_entries_and_commits_them_while_its_own_disk_writes_but_applies_them_after() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(1);
    cluster.propose(1, "x");
    cluster.settle();
    assert_eq!(cluster.commit(1), LogIndex(3));
    cluster.events(1);
    cluster.step(1, raft_core::Input::Wake);
    assert_eq!(applied(&mut cluster, 1), [] as [u64; 0]);
    cluster.sync(1);
    assert_eq!(applied(&mut cluster, 1), [3]);
}

#[test]
fn a_follower_applies_what_is_committed_only_once_it_is_durable_with_itself() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.pass(ELECTION_TIMEOUT_US / 4);
    cluster.stalled.insert(3);
    cluster.propose(1, "x");
    cluster.settle();
    cluster.propose(1, "y");
    cluster.settle();
    assert_eq!(cluster.commit(3), LogIndex(3), "the append of y has told it");
    assert_eq!(cluster.nodes[&3].raft.last_applied(), LogIndex(2));
    cluster.sync(3);
    assert_eq!(cluster.nodes[&3].raft.last_applied(), LogIndex(3));
}

#[test]
fn retransmissions_to_a_follower_whose_disk_stalls_make_neither_writes_nor_promises_grow() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.insert(3);
    cluster.propose(1, "x");
    cluster.settle();
    let pending = cluster.nodes[&3].disk.pending();
    cluster.pass(20 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.nodes[&3].disk.pending(), pending);
    cluster.node(3).sync();
    let answers = cluster.node(3).take_sent().len();
    assert!(answers <= 2, "{answers} answers were withheld");
}

#[test]
fn no_write_is_repeated_or_skipped_over_a_restart() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.propose(1, "x");
    cluster.settle();
    cluster.crash(2);
    cluster.restart(2);
    let raft = &cluster.nodes[&2].raft;
    assert_eq!((raft.current_term().0, raft.last_log_index().0), (2, 3));
    assert_eq!(raft.hard_state().voted_for.map(|p| p.id), Some(id(1)));
    cluster.pass(ELECTION_TIMEOUT_US);
    assert_eq!(cluster.nodes[&2].raft.last_applied(), LogIndex(3), "applied again from the snapshot on");
}
