//! A leader that commits nothing, although others could without it: a disk that hangs and a link that is cut
//! (not in the paper, whose leader hears everybody or nobody).

use raft_core::{
    CampaignReason, Config, Heartbeat, Lease, LogIndex, Membership, Message, Micros, Output, Peer, PreVote,
    PreVoteResponse, ProposalOutcome, RequestVote, Role, Round, Term,
};

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::{
    ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, append, config, id, membership, peer, recovered,
};

/// The leader does not hear those that others can reach, and leads on as if they were dead. Those that can do
/// without it may be some that hear it and some that do not.
#[test]
fn voters_that_can_commit_without_a_leader_that_cannot_depose_it() {
    for (voters, cut, dead, hung) in [
        (&[1, 2, 3][..], &[3][..], &[][..], 1),
        (&[1, 2, 3, 4], &[4], &[], 1),
        (&[1, 2, 3, 4, 5], &[4], &[5], 1),
        (&[1, 2, 3, 4, 5], &[4, 5], &[], 2),
        (&[1, 2, 3, 4, 5, 6], &[5, 6], &[], 1),
    ] {
        for leased in [false, true] {
            let mut cluster =
                if leased { Cluster::leased_to_1(voters, 0) } else { Cluster::led_by_1(voters) };
            for other in cut {
                cluster.cut_both(1, *other);
            }
            for other in dead {
                cluster.crash(*other);
            }
            cluster.pass(4 * ELECTION_TIMEOUT_US);
            assert_eq!(cluster.role(1), Role::Leader, "all that is proposed is committed");
            cluster.stalled.insert(hung);
            cluster.propose(1, "durable with a minority");
            cluster.pass(12 * ELECTION_TIMEOUT_US);
            assert_eq!(cluster.role(1), Role::Follower, "{voters:?}, leased: {leased}");
            let leader = cluster.leader().expect("a majority can do without it").get();
            let proposal = cluster.propose(leader, "durable with a majority");
            cluster.pass(HEARTBEAT_INTERVAL_US);
            let committed = |event: &Output| {
                let Output::ProposalDone { proposal: done, outcome } = event else { return false };
                *done == proposal && matches!(outcome, ProposalOutcome::Committed(_))
            };
            assert!(cluster.events(leader).iter().any(committed), "{voters:?}, leased: {leased}");
        }
    }
}

/// Nobody else can do better: it confirms its leadership, and who follows it names it to clients.
#[test]
fn a_stuck_leader_that_no_majority_can_replace_leads_on() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.crash(3);
    cluster.stalled.insert(1);
    cluster.propose(1, "durable with one of two");
    for _ in 0..100 {
        cluster.pass(ELECTION_TIMEOUT_US / 5);
        assert_eq!((cluster.role(1), cluster.nodes[&2].raft.leader()), (Role::Leader, Some(id(1))));
    }
    cluster.stalled.clear();
    let proposal = cluster.propose(1, "durable with two");
    cluster.settle();
    let done =
        |event: &Output| matches!(event, Output::ProposalDone { proposal: done, .. } if *done == proposal);
    assert!(cluster.events(1).iter().any(done));
}

/// As long as it commits, nobody who asks moves a follower.
#[test]
fn a_leader_that_commits_is_not_deposed_by_a_voter_that_does_not_hear_it() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.cut_both(1, 3);
    for number in 0..40 {
        cluster.propose(1, &format!("{number}"));
        cluster.pass(ELECTION_TIMEOUT_US / 4);
    }
    assert_eq!(cluster.role(1), Role::Leader);
}

/// For how long the follower has heard of no commit, in election timeouts, when it counts its leader as
/// stuck.
const PATIENCE: u64 = 3;

/// Node 1 of five, which follows node 2 in term 3. It has entries that are not committed.
struct Doubter {
    node: Node,
    commit_index: LogIndex,
}

impl Doubter {
    fn new() -> Doubter {
        Doubter::of(membership(&[1, 2, 3, 4, 5], &[]), config(peer(1)))
    }

    fn of(members: Membership, config: Config) -> Doubter {
        let store = recovered(members, &[2, 2, 2]);
        let node = Node::new(config, Micros(0), store);
        let mut doubter = Doubter { node, commit_index: LogIndex(2) };
        doubter.hears_leader();
        doubter.node.sync();
        doubter
    }

    fn hears_leader(&mut self) {
        let (term, leader_commit) = (Term(3), self.commit_index);
        let heartbeat =
            Heartbeat { term, leader_commit, round: Round(0), election_timeout_us: ELECTION_TIMEOUT_US };
        self.node.receive(peer(2), Message::Heartbeat(heartbeat));
    }

    /// Time passes, in which it hears its leader, and nothing is committed.
    fn pass(&mut self, mut us: u64) {
        while us > 0 {
            let step = us.min(HEARTBEAT_INTERVAL_US / 5);
            self.node.pass(step);
            self.hears_leader();
            if self.node.raft.deadline().is_some_and(|deadline| deadline <= self.node.now) {
                self.node.wake_now();
            }
            us -= step;
        }
    }

    /// Whom it has asked for a pre-vote since the last call.
    fn asked(&mut self) -> Vec<u64> {
        let sent = self.node.take_sent();
        let asked = sent.iter().filter(|(_, message)| matches!(message, Message::PreVote(_)));
        asked.map(|(to, _)| to.id.get()).collect()
    }

    /// Whether it grants this node, whose log has entries up to this one, a pre-vote.
    fn grants(&mut self, from: Peer, last_log_index: u64) -> bool {
        self.node.take_sent();
        let (next_term, last_log_index) = (Term(4), LogIndex(last_log_index));
        let request = PreVote { next_term, last_log_index, last_log_term: Term(2) };
        self.node.receive(from, Message::PreVote(request));
        let granted = |m: &Message| matches!(m, Message::PreVoteResponse(m) if m.vote_granted);
        self.node.take_sent().iter().any(|(_, message)| granted(message))
    }

    fn is_granted_by(&mut self, from: Peer) {
        let granted = PreVoteResponse { term: Term(3), next_term: Term(4), vote_granted: true };
        self.node.receive(from, Message::PreVoteResponse(granted));
    }

    fn role(&self) -> Role {
        self.node.raft.role()
    }
}

#[test]
fn a_follower_of_a_stuck_leader_asks_the_others_and_follows_until_a_majority_would_vote_for_it() {
    let mut doubter = Doubter::new();
    doubter.pass(PATIENCE * ELECTION_TIMEOUT_US);
    assert_eq!(doubter.asked(), []);
    doubter.pass(ELECTION_TIMEOUT_US);
    assert_eq!(doubter.asked(), [2, 3, 4, 5]);
    doubter.is_granted_by(peer(4));
    doubter.is_granted_by(peer(4));
    // Whatever it hears from its leader meanwhile.
    doubter.hears_leader();
    assert_eq!((doubter.role(), doubter.node.raft.leader()), (Role::Follower, Some(id(2))));
    doubter.is_granted_by(peer(5));
    assert_eq!((doubter.role(), doubter.node.raft.current_term()), (Role::Candidate, Term(4)));
}

#[test]
fn it_asks_again_after_one_to_two_election_timeouts_and_what_it_was_granted_before_does_not_count() {
    let mut doubter = Doubter::new();
    doubter.pass((PATIENCE + 1) * ELECTION_TIMEOUT_US);
    doubter.is_granted_by(peer(4));
    for _ in 0..10 {
        doubter.asked();
        doubter.pass(2 * ELECTION_TIMEOUT_US);
        assert!([4, 8].contains(&doubter.asked().len()), "four others, once or twice");
        doubter.is_granted_by(peer(5));
        assert_eq!(doubter.role(), Role::Follower);
    }
}

#[test]
fn a_leader_that_has_committed_nothing_for_a_moment_is_not_stuck() {
    let mut doubter = Doubter::new();
    doubter.pass(PATIENCE * ELECTION_TIMEOUT_US - 1);
    assert!(!doubter.grants(peer(4), 4));
    doubter.pass(1);
    assert!(doubter.grants(peer(4), 4));
}

#[test]
fn a_leader_that_commits_something_now_and_then_is_not_stuck_although_more_waits() {
    let mut doubter = Doubter::new();
    doubter.pass((PATIENCE - 1) * ELECTION_TIMEOUT_US);
    doubter.commit_index = LogIndex(3);
    doubter.pass((PATIENCE - 1) * ELECTION_TIMEOUT_US);
    assert!(!doubter.grants(peer(4), 4));
    assert_eq!(doubter.asked(), []);
}

/// What its disk does not have may wait for that disk.
#[test]
fn a_follower_whose_own_disk_keeps_the_leader_waiting_does_not_doubt_it() {
    let mut doubter = Doubter::new();
    doubter.commit_index = LogIndex(4);
    doubter.pass(HEARTBEAT_INTERVAL_US);
    doubter.node.receive(peer(2), append(3, (4, 2), &[(5, 3)], 4));
    doubter.pass(10 * ELECTION_TIMEOUT_US);
    assert!(!doubter.grants(peer(4), 5));
    assert_eq!(doubter.asked(), []);
}

#[test]
fn a_commit_ends_the_doubt() {
    let mut doubter = Doubter::new();
    doubter.pass((PATIENCE + 2) * ELECTION_TIMEOUT_US);
    doubter.commit_index = LogIndex(4);
    doubter.hears_leader();
    for from in [3, 4, 5] {
        doubter.is_granted_by(peer(from));
    }
    doubter.asked();
    doubter.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!((doubter.role(), doubter.asked()), (Role::Follower, vec![]));
    assert!(!doubter.grants(peer(4), 4));
}

/// One that hears no leader, and cannot win because this log is ahead, need not wait for the next question.
#[test]
fn a_voter_whose_log_is_shorter_makes_it_ask_at_once() {
    let mut doubter = Doubter::new();
    assert!(!doubter.grants(peer(4), 3));
    doubter.pass(PATIENCE * ELECTION_TIMEOUT_US);
    assert_eq!(doubter.asked(), [], "what was asked before the leader was stuck");
    assert!(!doubter.grants(peer(4), 3));
    doubter.node.wake_now();
    assert_eq!(doubter.asked(), [2, 3, 4, 5]);
}

/// Two that grant each other's pre-votes while these cross would split the vote.
#[test]
fn of_two_that_ask_each_other_the_one_that_comes_first_goes_on() {
    for (last_log_index, goes_on) in [(4, true), (5, false)] {
        let mut doubter = Doubter::new();
        doubter.pass((PATIENCE + 1) * ELECTION_TIMEOUT_US);
        assert_eq!(doubter.asked(), [2, 3, 4, 5]);
        assert!(doubter.grants(peer(3), last_log_index));
        for from in [3, 4, 5] {
            doubter.is_granted_by(peer(from));
        }
        assert_eq!(doubter.role() == Role::Candidate, goes_on, "the other log ends at {last_log_index}");
    }
}

#[test]
fn a_voter_of_a_stuck_leader_votes_for_another() {
    for (patience, votes) in [(PATIENCE - 1, false), (PATIENCE, true)] {
        let mut doubter = Doubter::new();
        doubter.pass(patience * ELECTION_TIMEOUT_US);
        let request = RequestVote {
            term: Term(4),
            last_log_index: LogIndex(4),
            last_log_term: Term(2),
            reason: CampaignReason::LeaderLost,
        };
        doubter.node.receive(peer(4), Message::RequestVote(request));
        assert_eq!(doubter.node.raft.hard_state().voted_for.is_some(), votes);
    }
}

/// A promise of support binds until it ends, and no other is made.
#[test]
fn a_follower_of_a_stuck_leader_promises_it_nothing_and_keeps_what_it_has_promised() {
    let lease = Some(Lease { clock_error_ppm: 0 });
    let mut doubter = Doubter::of(membership(&[1, 2, 3, 4, 5], &[]), Config { lease, ..config(peer(1)) });
    doubter.pass(PATIENCE * ELECTION_TIMEOUT_US);
    doubter.node.take_sent();
    doubter.hears_leader();
    let promise = |(_, message): (Peer, Message)| {
        let Message::HeartbeatResponse(m) = message else { return None };
        Some(m.lease_us)
    };
    let promises: Vec<_> = doubter.node.take_sent().into_iter().filter_map(promise).collect();
    assert_eq!(promises, [None]);
    // Those that hear no leader do not keep it waiting for longer than that.
    assert!(!doubter.grants(peer(4), 3));
    for from in [3, 4, 5] {
        doubter.is_granted_by(peer(from));
    }
    assert_eq!(doubter.role(), Role::Follower);
    doubter.pass(ELECTION_TIMEOUT_US);
    assert_eq!(doubter.asked(), [2, 3, 4, 5]);
    for from in [3, 4, 5] {
        doubter.is_granted_by(peer(from));
    }
    assert_eq!(doubter.role(), Role::Candidate);
}

#[test]
fn a_learner_asks_nobody() {
    let mut doubter = Doubter::of(membership(&[2, 3, 4, 5], &[1]), config(peer(1)));
    doubter.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!(doubter.asked(), []);
    for from in [3, 4, 5] {
        doubter.is_granted_by(peer(from));
    }
    assert_eq!(doubter.role(), Role::Follower);
}

/// It was not running, and neither were the others perhaps.
#[test]
fn a_follower_that_was_paused_hears_its_leader_first() {
    let mut doubter = Doubter::new();
    doubter.pass(PATIENCE * ELECTION_TIMEOUT_US);
    doubter.node.pass(10 * ELECTION_TIMEOUT_US);
    doubter.node.wake_now();
    assert_eq!(doubter.asked(), []);
    doubter.commit_index = LogIndex(4);
    doubter.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!(doubter.asked(), []);
}
