//! A leader that commits nothing, or applies nothing, although others could without it: a disk that hangs and
//! a link that is cut (not in the paper, whose leader hears everybody or nobody).

use raft_core::{
    CampaignReason, Config, Heartbeat, Lease, LogIndex, Membership, Message, Micros, NotAppended, Output,
    Peer, PreVote, PreVoteResponse, ProposalId, ProposalOutcome, RequestVote, Role, Round, Term, TimeoutNow,
};

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::{
    ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, append, config, id, membership, peer, recovered,
};

fn is_commit_of(event: &Output, proposal: ProposalId) -> bool {
    let Output::ProposalDone { proposal: done, outcome } = event else { return false };
    *done == proposal && matches!(outcome, ProposalOutcome::Committed(_))
}

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
        // These need the leader's vote, and have it.
        (&[1, 2, 3, 4], &[4], &[], 2),
        (&[1, 2, 3, 4, 5], &[4], &[5], 2),
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
            let is_committed = cluster.events(leader).iter().any(|event| is_commit_of(event, proposal));
            assert!(is_committed, "{voters:?}, leased: {leased}");
        }
    }
}

/// The others commit what it proposes, and it answers nobody, because its own disk takes nothing. The voter
/// that it hands over to each time is the one that cannot win.
#[test]
fn a_leader_whose_disk_hangs_is_deposed_if_the_voter_that_it_hands_over_to_reaches_nobody_else() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4, 5]);
    for other in [3, 4, 5] {
        cluster.cut_both(2, other);
    }
    cluster.stalled.insert(1);
    cluster.propose(1, "durable with a majority, and not here");
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.commit(1), LogIndex(3));
    assert_eq!(cluster.role(1), Role::Leader, "2 cannot take over");
    cluster.pass(6 * ELECTION_TIMEOUT_US);
    let leader = cluster.leader().expect("three of five can do without it").get();
    assert!(leader > 2, "{leader} leads");
    let proposal = cluster.propose(leader, "durable with a majority, and here");
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert!(cluster.events(leader).iter().any(|event| is_commit_of(event, proposal)));
}

/// The voter that it hands over to tries its disk first, and that takes longer than the leader waits.
#[test]
fn a_leader_whose_disk_hangs_is_deposed_by_voters_whose_disks_are_slow() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.stalled.extend([1, 2, 3]);
    let leads = |cluster: &Cluster| cluster.leader().filter(|leader| *leader != id(1));
    let replaced = (0..20).any(|round| {
        cluster.propose(1, &format!("{round}"));
        cluster.pass(2 * ELECTION_TIMEOUT_US);
        cluster.sync(2);
        cluster.sync(3);
        cluster.settle();
        leads(&cluster).is_some()
    });
    assert!(replaced, "{:?}", cluster.story);
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

/// A follower to which the leader can send nothing new, because its answers are lost, cannot tell by itself
/// that anything waits to be committed.
#[test]
fn a_follower_whose_answers_are_lost_does_not_protect_a_stuck_leader() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(2);
    cluster.propose(1, "while 2 is away");
    cluster.settle();
    cluster.cut.clear();
    cluster.cut.insert((2, 1));
    cluster.stalled.insert(1);
    cluster.propose(1, "durable with a minority");
    cluster.pass(12 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.leader(), Some(id(3)));
    let proposal = cluster.propose(3, "durable with a majority");
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert!(cluster.events(3).iter().any(|event| is_commit_of(event, proposal)));
}

/// For how long a leader has committed nothing, in election timeouts, when it says so.
const PATIENCE: u64 = 3;

/// What the heartbeats of node 1 say that are sent next.
fn says_that_it_is_stuck(cluster: &mut Cluster) -> bool {
    cluster.network.clear();
    cluster.barrier(1);
    let sent = cluster.network.drain(..).find_map(|envelope| {
        let Message::Heartbeat(m) = envelope.message else { return None };
        Some(m.is_stuck)
    });
    sent.expect("a barrier begins a round")
}

#[test]
fn a_leader_that_has_committed_nothing_for_some_election_timeouts_says_so_until_it_commits() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4]);
    assert!(!says_that_it_is_stuck(&mut cluster));
    cluster.crash(4);
    cluster.stalled.insert(1);
    cluster.propose(1, "durable with two of four");
    cluster.pass(PATIENCE * ELECTION_TIMEOUT_US);
    assert!(!says_that_it_is_stuck(&mut cluster));
    cluster.pass(HEARTBEAT_INTERVAL_US);
    assert!(says_that_it_is_stuck(&mut cluster));
    cluster.stalled.clear();
    cluster.sync(1);
    assert!(!says_that_it_is_stuck(&mut cluster));
    cluster.pass(10 * ELECTION_TIMEOUT_US);
    assert!(!says_that_it_is_stuck(&mut cluster), "there is nothing to commit");
}

#[test]
fn a_leader_that_commits_something_now_and_then_is_not_stuck_although_more_waits() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4]);
    cluster.crash(4);
    cluster.stalled.insert(1);
    for number in 0..5 {
        cluster.propose(1, &format!("{number}"));
        cluster.propose(1, "and more");
        cluster.pass((PATIENCE - 1) * ELECTION_TIMEOUT_US);
        assert!(!says_that_it_is_stuck(&mut cluster), "{number}");
        cluster.sync_one(1);
        cluster.settle();
    }
    cluster.pass((PATIENCE + 1) * ELECTION_TIMEOUT_US);
    assert!(says_that_it_is_stuck(&mut cluster), "now it is");
}

/// It was not running, and its disk has not been asked meanwhile.
#[test]
fn a_leader_that_was_paused_counts_one_election_timeout() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4]);
    cluster.crash(4);
    cluster.stalled.insert(1);
    cluster.propose(1, "durable with two of four");
    cluster.settle();
    cluster.node(1).pass(10 * ELECTION_TIMEOUT_US);
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert!(!says_that_it_is_stuck(&mut cluster));
}

/// Node 1 of five, which follows node 2 in term 3, and has one entry that is not committed.
struct Doubter {
    node: Node,
    /// What its leader says of itself.
    is_stuck: bool,
    leader_commit: LogIndex,
}

impl Doubter {
    fn new() -> Doubter {
        Doubter::of(membership(&[1, 2, 3, 4, 5], &[]), config(peer(1)))
    }

    fn of(members: Membership, config: Config) -> Doubter {
        let store = recovered(members, &[2, 2, 2]);
        let node = Node::new(config, Micros(0), store);
        let mut doubter = Doubter { node, is_stuck: false, leader_commit: LogIndex(3) };
        doubter.hears_leader();
        doubter.node.sync();
        doubter.is_stuck = true;
        doubter
    }

    fn hears_leader(&mut self) {
        let heartbeat = Heartbeat {
            term: Term(3),
            leader_commit: self.leader_commit,
            round: Round(0),
            election_timeout_us: ELECTION_TIMEOUT_US,
            is_stuck: self.is_stuck,
        };
        self.node.receive(peer(2), Message::Heartbeat(heartbeat));
    }

    /// Time passes, in which it hears its leader.
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
        let request =
            PreVote { next_term, last_log_index, last_log_term: Term(2), reason: CampaignReason::LeaderLost };
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
    doubter.pass(ELECTION_TIMEOUT_US);
    doubter.is_granted_by(peer(4));
    for _ in 0..10 {
        doubter.asked();
        doubter.pass(2 * ELECTION_TIMEOUT_US);
        assert!([4, 8].contains(&doubter.asked().len()), "four others, once or twice");
        doubter.is_granted_by(peer(5));
        assert_eq!(doubter.role(), Role::Follower);
    }
}

/// A transfer came to nothing: who grants now grants what this node asks for on its own behalf.
#[test]
fn what_it_is_granted_counts_although_its_leader_once_wished_to_hand_over() {
    let mut doubter = Doubter::new();
    doubter.node.receive(peer(2), Message::TimeoutNow(TimeoutNow { term: Term(3) }));
    doubter.node.sync();
    doubter.pass(ELECTION_TIMEOUT_US);
    doubter.is_granted_by(peer(4));
    doubter.is_granted_by(peer(5));
    assert_eq!(doubter.role(), Role::Candidate);
}

#[test]
fn a_follower_protects_its_leader_until_it_is_told_that_it_is_stuck() {
    let mut doubter = Doubter::new();
    assert!(!doubter.grants(peer(4), 4));
    doubter.hears_leader();
    assert!(doubter.grants(peer(4), 4));
}

/// Its vote might never be durable.
#[test]
fn a_follower_whose_own_disk_may_be_the_one_that_hangs_helps_nobody() {
    let mut doubter = Doubter::new();
    doubter.leader_commit = LogIndex(4);
    doubter.node.receive(peer(2), append(3, (4, 2), &[(5, 2), (6, 2)], 4));
    doubter.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!(doubter.asked(), []);
    assert!(!doubter.grants(peer(4), 6));
    doubter.node.sync();
    // Clients go on asking, so it always has something to write.
    doubter.node.receive(peer(2), append(3, (6, 2), &[(7, 2)], 4));
    assert!(doubter.grants(peer(4), 7));
    doubter.asked();
    doubter.pass(2 * ELECTION_TIMEOUT_US);
    assert!(!doubter.asked().is_empty());
}

#[test]
fn a_commit_ends_the_doubt() {
    let mut doubter = Doubter::new();
    doubter.pass(2 * ELECTION_TIMEOUT_US);
    doubter.is_stuck = false;
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
    doubter.hears_leader();
    assert_eq!(doubter.asked(), [], "what was asked before the leader was stuck");
    assert!(!doubter.grants(peer(4), 3));
    doubter.node.wake_now();
    assert_eq!(doubter.asked(), [2, 3, 4, 5]);
}

/// Those whom it asks may have less of the log as well, and ask in their turn, and so on.
#[test]
fn it_asks_once_however_many_ask_whose_logs_are_shorter() {
    let mut doubter = Doubter::new();
    doubter.hears_leader();
    let mut times = 0;
    for other in [3, 4, 5, 3, 4, 5] {
        assert!(!doubter.grants(peer(other), 3));
        doubter.node.wake_now();
        times += usize::from(!doubter.asked().is_empty());
    }
    assert_eq!(times, 1);
}

/// Node 2's disk hangs, and the answers of 4 are lost. Only 3 can commit, with 1 and 4, and it needs the
/// votes of both. An entry that reached one of them while its request is on its way would make it lose, for
/// good.
#[test]
fn a_stuck_leader_appends_nothing_while_another_asks_for_its_vote() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4]);
    cluster.pass(HEARTBEAT_INTERVAL_US);
    cluster.stalled.insert(2);
    cluster.cut.insert((4, 1));
    cluster.propose(1, "durable on three");
    cluster.pass(PATIENCE * ELECTION_TIMEOUT_US + HEARTBEAT_INTERVAL_US);
    assert!(says_that_it_is_stuck(&mut cluster));
    assert!(!cluster.nodes[&1].raft.accepts_proposals());
    cluster.events(1);
    let proposal = cluster.propose(1, "at the wrong moment");
    let refused = Output::ProposalDone { proposal, outcome: ProposalOutcome::NotAppended(NotAppended::Busy) };
    assert!(cluster.events(1).contains(&refused));
    cluster.pass(3 * ELECTION_TIMEOUT_US);
    assert_eq!((cluster.leader(), cluster.commit(3)), (Some(id(3)), LogIndex(4)));
}

/// Four voters, of which one is down, and another's disk hangs.
#[test]
fn a_stuck_leader_removes_who_keeps_it_from_committing() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4]);
    cluster.crash(4);
    cluster.stalled.insert(2);
    cluster.propose(1, "durable on two of four");
    cluster.pass((PATIENCE + 1) * ELECTION_TIMEOUT_US);
    assert!(says_that_it_is_stuck(&mut cluster));
    cluster.remove(1, 2);
    cluster.pass(ELECTION_TIMEOUT_US);
    assert_eq!((cluster.role(1), cluster.commit(1)), (Role::Leader, LogIndex(4)));
    assert!(cluster.nodes[&1].raft.accepts_proposals());
}

/// Two that grant each other's pre-votes while these cross would split the vote.
#[test]
fn of_two_that_ask_each_other_the_one_that_comes_first_goes_on() {
    for (last_log_index, goes_on) in [(4, true), (5, false)] {
        let mut doubter = Doubter::new();
        doubter.pass(ELECTION_TIMEOUT_US);
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
    for is_stuck in [false, true] {
        let mut doubter = Doubter::new();
        doubter.is_stuck = is_stuck;
        doubter.hears_leader();
        let request = RequestVote {
            term: Term(4),
            last_log_index: LogIndex(4),
            last_log_term: Term(2),
            reason: CampaignReason::LeaderLost,
        };
        doubter.node.receive(peer(4), Message::RequestVote(request));
        assert_eq!(doubter.node.raft.hard_state().voted_for.is_some(), is_stuck);
    }
}

/// A promise of support binds until it ends, and no other is made.
#[test]
fn a_follower_of_a_stuck_leader_promises_it_nothing_and_keeps_what_it_has_promised() {
    let lease = Some(Lease { clock_error_ppm: 0 });
    let mut doubter = Doubter::of(membership(&[1, 2, 3, 4, 5], &[]), Config { lease, ..config(peer(1)) });
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
    doubter.hears_leader();
    doubter.node.pass(10 * ELECTION_TIMEOUT_US);
    doubter.node.wake_now();
    assert_eq!(doubter.asked(), []);
    doubter.is_stuck = false;
    doubter.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!(doubter.asked(), []);
}
