//! Defects that other implementations of Raft had, and that this one must not have: those for which a script
//! (`published/*.script`) has no words. `docs/published-defects.rst` lists all of them.

mod harness;

use raft_core::{
    AppendEntries, Heartbeat, Incarnation, Input, LogIndex, Member, MembershipChange, Message, Peer, Recovered,
    RequestVote, Role, Round, Suffrage, Term,
};

use harness::cluster::{Cluster, Envelope};
use harness::node::Node;
use harness::{HEARTBEAT_INTERVAL_US, config, id, member, membership, peer, recovered};

fn append(prev: (u64, u64), leader_commit: u64) -> Message {
    Message::AppendEntries(AppendEntries {
        term: Term(5),
        prev_log_index: LogIndex(prev.0),
        prev_log_term: Term(prev.1),
        entries: Vec::new(),
        leader_commit: LogIndex(leader_commit),
    })
}

/// <https://github.com/atomix/copycat/issues/265>: an append without entries agreed with the log of a former
/// leader, and committed what followed there and was another's. Here an append commits no more than it compared.
#[test]
fn a_commit_index_in_an_append_without_entries_commits_nothing_beyond_what_was_compared() {
    let mut node = Node::new(
        config(peer(1)),
        raft_core::Micros(0),
        recovered(membership(&[1, 2, 3], &[]), &[2, 2, 2]),
    );
    node.receive(peer(2), append((2, 2), 4));
    node.sync();
    assert_eq!(node.raft.commit_index(), LogIndex(2));
    assert_eq!(node.applied.last().map(|entry| entry.index), Some(LogIndex(2)));
}

/// <https://github.com/etcd-io/etcd/issues/16220>: a heartbeat named a commit index beyond the log of a follower
/// that had come back with less, and the follower stopped, as often as it was started. Here a leader names only
/// what this life of the follower has matched, and a follower commits only what it has.
#[test]
fn a_heartbeat_that_commits_beyond_the_log_of_a_follower_does_not_stop_it() {
    let mut node = Node::new(
        config(peer(1)),
        raft_core::Micros(0),
        recovered(membership(&[1, 2, 3], &[]), &[2]),
    );
    let heartbeat = Heartbeat { term: Term(5), leader_commit: LogIndex(3730), round: Round(0) };
    node.receive(peer(2), Message::Heartbeat(heartbeat));
    assert_eq!(node.raft.commit_index(), LogIndex(2));
}

/// <https://github.com/etcd-io/etcd/pull/2544>: the window of appends on their way was full, every acknowledgement
/// was lost, and no error told the leader of it: it never sent anything again. Here what goes unanswered for two
/// heartbeats is taken for lost.
#[test]
fn a_full_window_whose_acknowledgements_are_all_lost_empties_again() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.pass(HEARTBEAT_INTERVAL_US);
    cluster.isolate(3);
    cluster.cut.insert((2, 1));
    for _ in 0..100 {
        cluster.propose(1, "x");
    }
    cluster.settle();
    assert_eq!(cluster.commit(1), LogIndex(2));
    cluster.cut.remove(&(2, 1));
    cluster.pass(4 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.commit(1), LogIndex(102));
    assert_eq!(cluster.role(1), Role::Leader);
}

/// <https://github.com/RedisLabs/redisraft/issues/125>: a learner became a voter when it had reached the end of the
/// log, and under a steady load there was always something that it had not. Here it is enough that it has what was
/// committed a heartbeat ago.
#[test]
fn a_learner_that_is_always_a_moment_behind_under_load_is_promoted() {
    let mut cluster = Cluster::led_by_1(&[1, 2]);
    cluster.add(1, 3);
    cluster.settle();
    // Whatever 3 acknowledges arrives when the next entry is committed already.
    let mut late: Vec<Envelope> = Vec::new();
    for _ in 0..200 {
        cluster.node(1).pass(HEARTBEAT_INTERVAL_US / 20);
        cluster.propose(1, "x");
        cluster.deliver(1, 2);
        cluster.sync(2);
        cluster.sync(1);
        cluster.deliver(2, 1);
        cluster.deliver(1, 3);
        cluster.sync(3);
        for envelope in std::mem::replace(&mut late, cluster.take(3, 1)) {
            cluster.arrive(envelope);
        }
        cluster.step(1, Input::Wake);
    }
    assert!(cluster.nodes[&1].raft.membership().is_voter(id(3)), "{:?}", cluster.story);
}
