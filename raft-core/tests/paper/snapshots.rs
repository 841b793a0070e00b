//! Snapshots and compaction (Raft §7, Figure 13).

use raft_core::{InstallSnapshot, InstallSnapshotResponse, LogIndex, Message, Output, Role, Snapshot, Term};

use crate::harness::cluster::Cluster;
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, membership, peer};

fn snapshot(index: u64, term: u64) -> Message {
    let snapshot = Snapshot {
        last_included_index: LogIndex(index),
        last_included_term: Term(term),
        membership: membership(&[1, 2, 3], &[]).into(),
        state: [0; 16].into(),
    };
    Message::InstallSnapshot(InstallSnapshot { term: Term(5), snapshot: snapshot.into() })
}

fn acknowledged(cluster: &mut Cluster, at: u64) -> Option<LogIndex> {
    cluster.node(at).take_sent().into_iter().find_map(|(_, message)| {
        if let Message::InstallSnapshotResponse(InstallSnapshotResponse { match_index, .. }) = message {
            Some(match_index)
        } else {
            None
        }
    })
}

fn restored(cluster: &mut Cluster, at: u64) -> bool {
    cluster.events(at).iter().any(|e| matches!(e, Output::Restored(_)))
}

#[test]
fn a_follower_that_lacks_what_was_compacted_receives_the_snapshot_and_then_the_rest() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(3);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
        cluster.settle();
    }
    cluster.compact(1);
    cluster.propose(1, "after the snapshot");
    cluster.settle();
    cluster.cut.clear();
    cluster.pass(4 * HEARTBEAT_INTERVAL_US);
    assert!(restored(&mut cluster, 3));
    assert_eq!(cluster.terms(3), [2]);
    assert_eq!(cluster.nodes[&3].machine, cluster.nodes[&1].machine);
    cluster.crash(3);
    cluster.restart(3);
    let raft = &cluster.nodes[&3].raft;
    assert_eq!(raft.last_applied(), LogIndex(5), "the snapshot is on its disk");
    let terms = [4, 5, 6, 7].map(|index| raft.term_at(LogIndex(index)));
    assert_eq!(terms, [None, Some(Term(2)), Some(Term(2)), None]);
}

/// Figure 13, step 6: "if existing log entry has same index and term as snapshot's last included entry,
/// retain log entries following it".
#[test]
fn a_snapshot_of_what_the_log_has_keeps_what_follows() {
    let mut cluster = Cluster::with_logs(&[(1, &[2, 2, 2]), (2, &[]), (3, &[])]);
    cluster.node(1).receive(peer(2), snapshot(3, 2));
    cluster.node(1).sync();
    assert_eq!(acknowledged(&mut cluster, 1), Some(LogIndex(3)));
    assert_eq!(cluster.terms(1), [2, 2, 2]);
    assert_eq!(cluster.commit(1), LogIndex(3));
    assert!(!restored(&mut cluster, 1));
}

/// Figure 13, step 7: "discard the entire log".
#[test]
fn a_snapshot_of_another_term_or_beyond_the_log_replaces_it_on_the_disk_as_well() {
    for (index, term) in [(3, 3), (9, 2)] {
        let mut cluster = Cluster::with_logs(&[(1, &[2, 2, 2]), (2, &[]), (3, &[])]);
        cluster.node(1).receive(peer(2), snapshot(index, term));
        assert!(!restored(&mut cluster, 1), "it is not durable yet");
        assert_eq!(acknowledged(&mut cluster, 1), None);
        cluster.node(1).sync();
        assert!(restored(&mut cluster, 1));
        assert_eq!(acknowledged(&mut cluster, 1), Some(LogIndex(index)));
        cluster.crash(1);
        cluster.restart(1);
        assert_eq!(cluster.nodes[&1].raft.last_log_index(), LogIndex(index));
        assert_eq!(cluster.terms(1), [] as [u64; 0]);
    }
}

#[test]
fn an_older_snapshot_changes_nothing_and_is_acknowledged_with_what_is_committed() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.propose(1, "a");
    cluster.settle();
    cluster.pass(HEARTBEAT_INTERVAL_US);
    cluster.elect_transfers(&[2, 1, 2]);
    assert_eq!(cluster.nodes[&3].raft.current_term(), Term(5));
    let commit_index = cluster.commit(3);
    cluster.node(3).take_sent();
    cluster.node(3).receive(peer(2), snapshot(2, 2));
    cluster.node(3).sync();
    assert_eq!(acknowledged(&mut cluster, 3), Some(commit_index));
    assert!(!restored(&mut cluster, 3));
}

#[test]
fn two_snapshots_before_the_first_is_durable_restore_the_later_one() {
    let mut cluster = Cluster::with_logs(&[(1, &[]), (2, &[]), (3, &[])]);
    cluster.node(1).receive(peer(2), snapshot(7, 2));
    cluster.node(1).receive(peer(2), snapshot(9, 3));
    cluster.node(1).sync_one();
    assert!(!restored(&mut cluster, 1), "the first is durable, but it was replaced in memory");
    cluster.node(1).sync_one();
    assert!(restored(&mut cluster, 1));
    assert_eq!(cluster.nodes[&1].raft.last_applied(), LogIndex(9));
}

#[test]
fn appends_that_overlap_with_a_snapshot_are_taken_from_where_it_ends() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
    }
    let late = cluster.take(1, 2);
    cluster.settle();
    cluster.compact(1);
    cluster.pass(4 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.nodes[&2].raft.last_log_index(), LogIndex(5));
    cluster.compact(2);
    cluster.settle();
    for envelope in late {
        cluster.arrive(envelope);
    }
    cluster.settle();
    assert_eq!(cluster.nodes[&2].raft.last_log_index(), LogIndex(5));
    assert_eq!(cluster.role(1), Role::Leader);
}

#[test]
fn a_lost_snapshot_or_acknowledgement_is_sent_again() {
    for (from, to) in [(1, 3), (3, 1)] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        cluster.isolate(3);
        cluster.propose(1, "a");
        cluster.settle();
        cluster.compact(1);
        cluster.cut.clear();
        cluster.cut.insert((from, to));
        cluster.pass(ELECTION_TIMEOUT_US / 2);
        cluster.cut.clear();
        cluster.pass(ELECTION_TIMEOUT_US);
        let leader = cluster.leader().expect("one leads").get();
        assert_eq!(cluster.commit(3), cluster.commit(leader), "{from} to {to}");
    }
}

#[test]
fn compaction_keeps_the_membership_and_the_term_of_what_it_replaces() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.remove(1, 3);
    cluster.settle();
    cluster.propose(1, "a");
    cluster.settle();
    cluster.compact(1);
    cluster.settle();
    cluster.crash(1);
    cluster.restart(1);
    let raft = &cluster.nodes[&1].raft;
    assert_eq!(**raft.committed_membership(), membership(&[1, 2], &[]));
    let snapshot = raft.snapshot().map(|s| (s.last_included_index, s.last_included_term));
    assert_eq!(snapshot, Some((LogIndex(4), Term(2))));
}

#[test]
fn what_is_compacted_already_is_not_written_again() {
    let mut cluster = Cluster::led_by_1(&[1]);
    cluster.compact(1);
    assert!(cluster.sync(1));
    cluster.compact(1);
    assert!(!cluster.sync(1));
}

#[test]
#[should_panic(expected = "compaction through 3, applied is 2")]
fn what_is_not_applied_cannot_be_compacted() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(1);
    cluster.propose(1, "a");
    let (through, state) = (LogIndex(3), [0; 16].into());
    cluster.step(1, raft_core::Input::Compact { through, state });
}
