//! A leader that commits nothing, although others could without it: a disk that hangs and a link that is cut
//! (not in the paper, whose leader hears everybody or nobody).

use raft_core::{
    Heartbeat, Incarnation, LogIndex, Message, Micros, Output, Peer, PreVote, ProposalOutcome, Role, Round,
    Term,
};

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, config, membership, peer, recovered};

/// The leader does not hear those that others can reach, and leads on as if they were dead.
#[test]
fn voters_that_can_commit_without_a_leader_that_cannot_depose_it() {
    for (voters, cut, hung) in [(&[1, 2, 3][..], &[3][..], 1), (&[1, 2, 3, 4, 5], &[4, 5], 2)] {
        for leased in [false, true] {
            let mut cluster =
                if leased { Cluster::leased_to_1(voters, 0) } else { Cluster::led_by_1(voters) };
            for other in cut {
                cluster.cut_both(1, *other);
            }
            cluster.pass(4 * ELECTION_TIMEOUT_US);
            assert_eq!(cluster.role(1), Role::Leader, "all that is proposed is committed");
            cluster.stalled.insert(hung);
            cluster.propose(1, "durable with a minority");
            cluster.pass(10 * ELECTION_TIMEOUT_US);
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
        let store = recovered(membership(&[1, 2, 3, 4, 5], &[]), &[2, 2, 2]);
        let node = Node::new(config(peer(1)), Micros(0), store);
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
            let step = us.min(HEARTBEAT_INTERVAL_US);
            self.node.pass(step);
            self.hears_leader();
            us -= step;
        }
    }

    /// Whether it asks for pre-votes itself when this node asks it for one.
    fn asks_when_asked_by(&mut self, from: Peer) -> bool {
        self.node.take_sent();
        let request = PreVote { next_term: Term(4), last_log_index: LogIndex(2), last_log_term: Term(2) };
        self.node.receive(from, Message::PreVote(request));
        self.node.take_sent().iter().any(|(_, message)| matches!(message, Message::PreVote(_)))
    }
}

#[test]
fn a_follower_of_a_stuck_leader_campaigns_if_it_and_those_who_hear_none_are_a_majority() {
    let mut doubter = Doubter::new();
    doubter.pass(PATIENCE * ELECTION_TIMEOUT_US);
    assert!(!doubter.asks_when_asked_by(peer(4)), "two of five");
    let earlier_life = Peer { incarnation: Incarnation(0), ..peer(5) };
    assert!(!doubter.asks_when_asked_by(earlier_life));
    assert!(!doubter.asks_when_asked_by(peer(6)), "it is no member");
    doubter.pass(2 * ELECTION_TIMEOUT_US);
    assert!(doubter.asks_when_asked_by(peer(5)), "three of five");
}

#[test]
fn a_leader_that_has_committed_nothing_for_a_moment_is_not_stuck() {
    let mut doubter = Doubter::new();
    doubter.pass(PATIENCE * ELECTION_TIMEOUT_US - 1);
    assert!(!doubter.asks_when_asked_by(peer(4)) && !doubter.asks_when_asked_by(peer(5)));
    // What they asked before does not count either.
    doubter.pass(1);
    assert!(!doubter.asks_when_asked_by(peer(4)));
    assert!(doubter.asks_when_asked_by(peer(5)));
}

#[test]
fn a_leader_that_commits_something_now_and_then_is_not_stuck_although_more_waits() {
    let mut doubter = Doubter::new();
    doubter.pass((PATIENCE - 1) * ELECTION_TIMEOUT_US);
    doubter.commit_index = LogIndex(3);
    doubter.pass((PATIENCE - 1) * ELECTION_TIMEOUT_US);
    assert!(!doubter.asks_when_asked_by(peer(4)) && !doubter.asks_when_asked_by(peer(5)));
}
