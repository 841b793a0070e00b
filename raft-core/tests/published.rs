//! Defects that other implementations of Raft had, and that this one must not have: those for which a script
//! (`published/*.script`) has no words. `docs/published-defects.rst` lists all of them.

mod harness;

use std::collections::VecDeque;

use raft_core::{
    AppendEntries, CampaignReason, Heartbeat, Incarnation, Input, LogIndex, Message, Micros, NotAppended,
    Output, Peer, PreVote, ProposalOutcome, Recovered, RequestVote, Role, Round, Term,
    UNCOMMITTED_ENTRIES_MAX,
};

use harness::cluster::Cluster;
use harness::node::Node;
use harness::{
    ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, append, config, heartbeat_response, id, membership, peer,
    recovered,
};

/// <https://github.com/atomix/copycat/issues/265>: an append without entries agreed with the log of a former
/// leader, and committed what followed there and was another's. Here an append commits no more than it
/// compared.
#[test]
fn a_commit_index_in_an_append_without_entries_is_stuck_beyond_what_was_compared() {
    let mut node = Node::new(config(peer(1)), Micros(0), recovered(membership(&[1, 2, 3], &[]), &[2, 2, 2]));
    node.receive(peer(2), append(5, (2, 2), &[], 4));
    node.sync();
    assert_eq!(node.raft.commit_index(), LogIndex(2));
    assert_eq!(node.applied.last().map(|entry| entry.index), Some(LogIndex(2)));
}

/// <https://github.com/etcd-io/etcd/issues/16220>: a heartbeat named a commit index beyond the log of a
/// follower that had come back with less, and the follower crashed, as often as it was started. Here a leader
/// names only what this life of the follower has matched. A follower that lacks some of that has lost it from
/// its disk: it says so, and takes no further part.
#[test]
fn a_heartbeat_beyond_the_log_of_a_follower_shows_that_entries_are_lost() {
    let mut node = Node::new(config(peer(1)), Micros(0), recovered(membership(&[1, 2, 3], &[]), &[2]));
    let heartbeat = Heartbeat {
        term: Term(5),
        leader_commit: LogIndex(3730),
        round: Round(0),
        election_timeout_us: u64::MAX,
        is_stuck: false,
    };
    node.receive(peer(2), Message::Heartbeat(heartbeat));
    let lost = Output::EntriesLost { acknowledged: LogIndex(3730), last: LogIndex(2) };
    assert!(node.take_events().contains(&lost));
    assert!(node.raft.is_muted());
    // The vote of this term may be lost as well.
    let (term, end) = (Term(5), (LogIndex(9), Term(5)));
    let reason = CampaignReason::LeadershipTransfer;
    let request = RequestVote { term, last_log_index: end.0, last_log_term: end.1, reason };
    node.receive(peer(3), Message::RequestVote(request));
    node.sync();
    assert!(node.take_sent().is_empty());
}

/// As above, with an earlier copy that is no shorter: instead of what was acknowledged it has entries of a
/// past leader, which a heartbeat cannot show.
#[test]
fn an_append_to_a_log_that_has_another_entry_in_place_of_an_acknowledged_one_shows_that_it_is_lost() {
    let mut node = Node::new(config(peer(1)), Micros(0), recovered(membership(&[1, 2, 3], &[]), &[2, 2]));
    let (term, leader_commit) = (Term(5), LogIndex(3));
    let heartbeat =
        Heartbeat { term, leader_commit, round: Round(0), election_timeout_us: u64::MAX, is_stuck: false };
    node.receive(peer(2), Message::Heartbeat(heartbeat));
    let append = AppendEntries {
        term,
        prev_log_index: leader_commit,
        prev_log_term: Term(4),
        entries: Vec::new(),
        leader_commit,
    };
    node.receive(peer(2), Message::AppendEntries(append));
    assert!(
        node.take_events().contains(&Output::EntriesLost { acknowledged: leader_commit, last: LogIndex(3) })
    );
    assert!(node.raft.is_muted());
}

/// <https://github.com/etcd-io/etcd/pull/2544>: the window of appends on their way was full, every
/// acknowledgement was lost, and no error told the leader of it: it never sent anything again. Here what goes
/// unanswered for two heartbeats is taken for lost.
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

/// <https://github.com/RedisLabs/redisraft/issues/125>: a learner became a voter when it had reached the end
/// of the log, and under a steady load there was always something that it had not. Here it is enough that it
/// has what was committed when the current round of catching up began.
#[test]
fn a_learner_that_is_always_a_moment_behind_under_load_is_promoted() {
    // Whatever 3 acknowledges arrives when as many later entries are committed already: one, and more than
    // fit a heartbeat interval.
    for behind in [1, 30] {
        let mut cluster = Cluster::led_by_1(&[1, 2]);
        cluster.add(1, 3);
        let mut late = VecDeque::from(vec![Vec::new(); behind]);
        for _ in 0..200 {
            cluster.node(1).pass(HEARTBEAT_INTERVAL_US / 20);
            cluster.propose(1, "x");
            cluster.deliver(1, 2);
            cluster.sync(2);
            cluster.sync(1);
            cluster.deliver(2, 1);
            cluster.deliver(1, 3);
            cluster.sync(3);
            late.push_back(cluster.take(3, 1));
            for envelope in late.pop_front().into_iter().flatten() {
                cluster.arrive(envelope);
            }
            cluster.step(1, Input::Wake);
        }
        assert!(cluster.nodes[&1].raft.membership().is_voter(id(3)), "{behind}: {:?}", cluster.story);
    }
}

/// <https://github.com/etcd-io/raft/issues/11>: the bound on what waits to be committed was counted anew by
/// each leader, so that a series of leaders that committed nothing let the log grow without one. Here the log
/// itself is counted.
#[test]
fn a_new_leader_counts_what_its_predecessors_could_not_commit_against_the_bound() {
    let inherited = vec![1; usize::try_from(UNCOMMITTED_ENTRIES_MAX).expect("a bound in memory")];
    let mut cluster = Cluster::with_logs(&[(1, &inherited), (2, &[]), (3, &[])]);
    cluster.cut_both(1, 3);
    cluster.stalled.insert(2);
    cluster.campaign(1);
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    cluster.sync(1);
    cluster.deliver(1, 2);
    cluster.sync(2);
    cluster.deliver(2, 1);
    assert_eq!(cluster.role(1), Role::Leader);
    cluster.events(1);
    cluster.propose(1, "one too many");
    let busy = |e: &Output| {
        matches!(e, Output::ProposalDone { outcome: ProposalOutcome::NotAppended(NotAppended::Busy), .. })
    };
    assert!(cluster.events(1).iter().any(busy));
}

/// <https://github.com/etcd-io/raft/issues/197> and <https://github.com/baidu/braft/issues/292>: a voter
/// whose disk was wiped came back under its id. Its vote and its acknowledgements counted on, and it had
/// forgotten both; or the leader sent it what its former life had lacked, and it was stuck. Here a wiped
/// store is another life: it counts for nothing.
#[test]
fn a_voter_that_was_wiped_and_comes_back_under_its_id_counts_for_nothing() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let wiped = Peer { incarnation: Incarnation(2), ..peer(3) };
    cluster.nodes.insert(3, Node::new(config(wiped), Micros(0), Recovered::default()));
    cluster.cut.insert((1, 2));
    cluster.propose(1, "needs a majority");
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert_eq!(cluster.commit(1), LogIndex(2));
    for round in 0..100 {
        cluster.node(1).receive(wiped, heartbeat_response(2, round, None));
    }
    // Nor are its votes a majority's: 1 steps down, and 1 and 2 do not hear each other.
    cluster.cut.insert((2, 1));
    cluster.pass(5 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.leader(), None);
}

/// <https://github.com/databendlabs/openraft/pull/2002>: a server with an empty log was given the id of one
/// that had been removed. It replayed the log, found a membership in which that id was alone, and led a
/// cluster of its own. Here a member is an id in one life.
#[test]
fn a_newcomer_that_finds_its_id_in_an_old_membership_does_not_take_itself_for_that_member() {
    let newcomer = Peer { incarnation: Incarnation(2), ..peer(1) };
    let mut node = Node::new(config(newcomer), Micros(0), recovered(membership(&[1], &[]), &[2]));
    for _ in 0..10 {
        node.wake();
        node.sync();
    }
    assert_eq!((node.raft.role(), node.raft.current_term()), (Role::Follower, Term(2)));
    assert!(node.take_sent().is_empty());
}

/// <https://github.com/sofastack/sofa-jraft/issues/882>: a server read the end of its log, let go of its
/// lock, led on and committed an entry, and then granted its vote by what it had read. Here a message is one
/// step: what is compared is what is there when the vote is given.
#[test]
fn a_leader_that_has_just_committed_an_entry_votes_for_nobody_who_lacks_it() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let request = |term| {
        Message::RequestVote(RequestVote {
            term: Term(term),
            last_log_index: LogIndex(2),
            last_log_term: Term(2),
            reason: raft_core::CampaignReason::LeadershipTransfer,
        })
    };
    cluster.cut_both(1, 2);
    cluster.propose(1, "2 lacks it");
    cluster.settle();
    assert_eq!(cluster.commit(1), LogIndex(3));
    cluster.node(1).receive(peer(2), request(3));
    cluster.settle();
    assert_eq!(cluster.nodes[&1].raft.hard_state().voted_for, None);
    cluster.node(3).receive(peer(2), request(3));
    cluster.settle();
    assert_eq!(cluster.nodes[&3].raft.hard_state().voted_for, None);
}

/// <https://github.com/hashicorp/raft/pull/609>: whoever granted a pre-vote waited for another election
/// timeout. One that asked again and again, and could not win, kept the others from asking. Here only a vote
/// puts an election off.
#[test]
fn who_grants_pre_votes_again_and_again_asks_no_later_itself() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let node = cluster.node(2);
    node.pass(ELECTION_TIMEOUT_US);
    let deadline = node.raft.deadline();
    assert!(deadline.is_some_and(|at| at > node.now));
    let (last_log_index, last_log_term) = (LogIndex(2), Term(2));
    for _ in 0..3 {
        let pre_vote = PreVote {
            next_term: Term(3),
            last_log_index,
            last_log_term,
            reason: raft_core::CampaignReason::LeaderLost,
        };
        node.receive(peer(3), Message::PreVote(pre_vote));
        let answers = node.take_sent();
        let is_grant =
            |(_, answer): &(Peer, Message)| matches!(answer, Message::PreVoteResponse(m) if m.vote_granted);
        assert!(answers.iter().any(is_grant), "{answers:?}");
        assert_eq!(node.raft.deadline(), deadline);
    }
    cluster.wake(2);
    assert_eq!(cluster.role(2), Role::PreCandidate);
}
