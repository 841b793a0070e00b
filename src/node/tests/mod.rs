//! A node that is a cluster by itself, and clusters whose messages the test carries by hand. Clusters under
//! faults are simulated elsewhere.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use raft_core::{
    ChangeRefused, Config, Incarnation, LogIndex, Member, MembershipChange, Micros, NodeId, Peer, Recovered,
    Snapshot, Suffrage, Term, WriteId,
};

use super::testing::{peer, recovered};
use super::*;

mod forwarded;
mod operations;
mod reports;
mod succession;

const SECOND_US: u64 = 1_000_000;
const ELECTION_TIMEOUT_US: u64 = 300_000;
/// How many inputs it may take until all nodes are at rest. More would mean that they never are.
const INPUTS_MAX: usize = 10_000;

/// The node at this place on a bench.
fn peer_at(at: usize) -> Peer {
    peer(u64::try_from(at).unwrap() + 1)
}

fn count(count: u64) -> NonZeroU64 {
    NonZeroU64::new(count).unwrap()
}

/// Nodes whose disks are instant unless stalled, and whose messages arrive at once unless cut off.
struct Bench {
    now: Micros,
    nodes: Vec<Node>,
    /// The disks of these nodes do not finish any write.
    stalled: Vec<bool>,
    /// These nodes neither send nor receive.
    cut_off: Vec<bool>,
    answers: Vec<(RequestId, Answer)>,
    operations: Vec<(OperationId, OperationOutcome)>,
    removed: Vec<usize>,
    /// Which node was told that which peer was removed.
    peers_removed: Vec<(usize, Peer)>,
}

/// A node with small windows, which redirects clients to the leader.
fn config(id: u64) -> NodeConfig {
    NodeConfig {
        raft: Config {
            me: peer(id),
            election_timeout_us: ELECTION_TIMEOUT_US,
            heartbeat_interval_us: 50_000,
            lease: None,
            seed: id,
        },
        window: 1_000,
        request_timeout_us: 5 * SECOND_US,
        forward: false,
    }
}

impl Bench {
    fn new(voters: u64, window: u64, first_id: u64) -> Bench {
        Bench::of(first_id, (1..=voters).map(|id| NodeConfig { window, ..config(id) }).collect())
    }

    /// Three nodes, each of which forwards to the leader.
    fn forwarding() -> Bench {
        Bench::of(1, [1, 2, 3].map(|id| NodeConfig { window: 1_000_000, forward: true, ..config(id) }).into())
    }

    /// Nodes of these configurations, all voters.
    fn of(first_id: u64, configs: Vec<NodeConfig>) -> Bench {
        let voters = configs.len() as u64;
        let nodes: Vec<Node> = configs
            .into_iter()
            .map(|config| Node::new(config, Micros(0), recovered(voters, first_id)).unwrap())
            .collect();
        let len = nodes.len();
        Bench {
            now: Micros(0),
            nodes,
            stalled: vec![false; len],
            cut_off: vec![false; len],
            answers: Vec::new(),
            operations: Vec::new(),
            removed: Vec::new(),
            peers_removed: Vec::new(),
        }
    }

    fn give(&mut self, at: usize, input: Input) {
        self.nodes[at].step(self.now, input);
        self.nodes[at].step(self.now, Input::Wake);
        self.settle();
    }

    /// Carries out outputs until there are none.
    fn settle(&mut self) {
        self.settle_without(|_| false);
    }

    /// Carries out outputs until there are none, except for those that are lost.
    fn settle_without(&mut self, mut is_lost: impl FnMut(&Output) -> bool) {
        let mut mail = VecDeque::new();
        for _ in 0..INPUTS_MAX {
            for at in 0..self.nodes.len() {
                while let Some(output) = self.nodes[at].poll_output() {
                    if !is_lost(&output) {
                        self.carry_out(at, output, &mut mail);
                    }
                }
            }
            let Some((to, input)) = mail.pop_front() else { return };
            self.nodes[to].step(self.now, input);
            self.nodes[to].step(self.now, Input::Wake);
        }
        panic!("after {INPUTS_MAX} inputs the nodes still answer each other: {mail:?}");
    }

    fn carry_out(&mut self, at: usize, output: Output, mail: &mut VecDeque<(usize, Input)>) {
        match output {
            Output::Write(write) => {
                if !self.stalled[at] {
                    mail.push_back((at, Input::WritesDurable { through: write.id }));
                }
            }
            Output::Send { to, message } => {
                if let Some((target, from)) = self.route(at, to) {
                    mail.push_back((target, Input::Message { from, message }));
                }
            }
            Output::Answer { request, answer } => self.answers.push((request, answer)),
            Output::OperationDone { operation, outcome } => self.operations.push((operation, outcome)),
            Output::Removed { .. } => self.removed.push(at),
            Output::PeerRemoved(gone) => self.peers_removed.push((at, gone)),
            Output::RoleChanged { .. } | Output::MembershipChanged(_) => {}
            Output::SafetyLost(evidence) => panic!("{evidence}"),
            Output::EntriesLost { last, .. } => panic!("what followed entry {last} is lost"),
            Output::Dropped { reason, .. } => panic!("dropped: {reason:?}"),
        }
    }

    /// Where a message goes and where it comes from; `None` if it is lost.
    fn route(&self, at: usize, to: Peer) -> Option<(usize, Peer)> {
        let target = usize::try_from(to.id.get() - 1).unwrap();
        let from = peer_at(at);
        (!self.cut_off[at] && !self.cut_off[target]).then_some((target, from))
    }

    /// Lets time pass. No node is woken before it has asked to be.
    fn pass(&mut self, us: u64) {
        let until = self.now.plus(us);
        while self.now < until {
            self.now = self.now.plus(5_000);
            let due = |node: &Node| node.deadline().is_some_and(|at| at <= self.now);
            let due: Vec<usize> = (0..self.nodes.len()).filter(|at| due(&self.nodes[*at])).collect();
            for at in &due {
                self.nodes[*at].step(self.now, Input::Wake);
            }
            self.settle();
            for at in due {
                let next = self.nodes[at].deadline();
                assert!(next.is_none_or(|next| next > self.now), "a driver would spin: {next:?}");
            }
        }
    }

    /// Lets time pass, as little of two seconds as it takes until this holds.
    fn pass_until(&mut self, what: &str, holds: impl Fn(&Bench) -> bool) {
        let end = self.now.plus(2 * SECOND_US);
        while !holds(self) {
            assert!(self.now < end, "after two seconds still not: {what}");
            self.pass(5_000);
        }
    }

    fn leader(&mut self) -> usize {
        self.pass(2 * SECOND_US);
        let leads = |at: &usize| self.nodes[*at].leadership.is_some() && !self.cut_off[*at];
        (0..self.nodes.len()).find(leads).expect("somebody leads after two seconds")
    }

    fn take(&mut self, at: usize, request: u64, n: u64) {
        self.give(at, Input::TakeIds { request: RequestId(request), count: count(n) });
    }

    fn answer(&self, request: u64) -> Option<Answer> {
        self.answers.iter().find(|(r, _)| *r == RequestId(request)).map(|(_, answer)| *answer)
    }
}

fn ids(first: u64, n: u64) -> Option<Answer> {
    Some(Answer::Ids { first, count: count(n) })
}

#[test]
fn a_node_alone_hands_out_ids_from_the_first_one_on_in_order() {
    let mut bench = Bench::new(1, 1_000_000, 42);
    let leader = bench.leader();
    for request in 0..5_000 {
        bench.take(leader, request, 1);
        assert_eq!(bench.answer(request), ids(42 + request, 1));
    }
    bench.take(leader, 9_999, 100);
    assert_eq!(bench.answer(9_999), ids(5_042, 100));
}

#[test]
fn with_window_0_every_id_is_durable_first_and_none_is_skipped() {
    let mut bench = Bench::new(1, 0, 1);
    let leader = bench.leader();
    bench.take(leader, 1, 1);
    bench.take(leader, 2, 10);
    bench.take(leader, 3, 1);
    assert_eq!([bench.answer(1), bench.answer(2), bench.answer(3)], [ids(1, 1), ids(2, 10), ids(12, 1)]);
    assert_eq!(bench.nodes[leader].status().next_unreserved, 13);
    bench.stalled[leader] = true;
    bench.take(leader, 4, 1);
    assert_eq!(bench.answer(4), None);
}

#[test]
fn with_a_window_a_stalled_disk_delays_no_answer() {
    let mut bench = Bench::new(1, 1_000_000, 1);
    let leader = bench.leader();
    bench.stalled[leader] = true;
    bench.take(leader, 1, 1);
    assert_eq!(bench.answer(1), ids(1, 1));
}

#[test]
fn a_leader_that_is_cut_off_answers_nothing_and_gives_up_at_the_time_out() {
    let mut bench = Bench::new(3, 1_000_000, 1);
    let leader = bench.leader();
    bench.take(leader, 1, 1);
    assert_eq!(bench.answer(1), ids(1, 1));
    bench.cut_off[leader] = true;
    bench.take(leader, 2, 1);
    assert_eq!(bench.answer(2), None);
    bench.pass(SECOND_US);
    assert_eq!(bench.answer(2), Some(Answer::NotLeader { leader: None }));
}

#[test]
fn the_next_leader_hands_out_only_larger_ids() {
    let mut bench = Bench::new(3, 1_000_000, 1);
    let first = bench.leader();
    bench.take(first, 1, 1);
    bench.cut_off[first] = true;
    let second = bench.leader();
    bench.take(second, 2, 1);
    let Some(Answer::Ids { first: id, .. }) = bench.answer(2) else { panic!("{:?}", bench.answers) };
    assert_eq!(bench.answer(1), ids(1, 1));
    assert!(id > 1_000, "{id} lies in the window of the first leader");
    bench.cut_off[first] = false;
    bench.pass(SECOND_US);
    bench.take(first, 3, 1);
    let leader = Some(peer_at(second).id);
    assert_eq!(bench.answer(3), Some(Answer::NotLeader { leader }));
}

/// A window belongs to the term in which it was reserved, not to the node.
#[test]
fn a_leader_that_is_elected_again_has_dropped_the_window_of_its_last_term() {
    let mut bench = Bench::new(3, 1_000, 1);
    let first = bench.leader();
    bench.take(first, 1, 1);
    bench.give(first, Input::TransferLeadership { operation: OperationId(1), to: None });
    let second = bench.leader();
    bench.take(second, 2, 1);
    let to = Some(peer_at(first).id);
    bench.give(second, Input::TransferLeadership { operation: OperationId(2), to });
    assert_eq!(bench.leader(), first);
    bench.take(first, 3, 1);
    let given: Vec<u64> = (1..=3)
        .map(|request| match bench.answer(request) {
            Some(Answer::Ids { first, .. }) => first,
            other => panic!("request {request}: {other:?}"),
        })
        .collect();
    assert!(given[0] < given[1] && given[1] < given[2], "{given:?}");
}

/// The entry of a reservation may outlive its leader. Then its range is skipped.
#[test]
fn a_window_that_is_committed_after_its_leader_is_gone_belongs_to_nobody() {
    let mut bench = Bench::new(3, 0, 1);
    let first = bench.leader();
    bench.take(first, 1, 1);
    let followers: Vec<usize> = (0..3).filter(|at| *at != first).collect();
    // The followers have the entry but do not acknowledge it.
    followers.iter().for_each(|at| bench.stalled[*at] = true);
    bench.take(first, 2, 100);
    bench.cut_off[first] = true;
    followers.iter().for_each(|at| bench.stalled[*at] = false);
    let second = bench.leader();
    bench.take(second, 3, 1);
    assert_eq!((bench.answer(1), bench.answer(3)), (ids(1, 1), ids(102, 1)));
    let unknown = matches!(bench.answer(2), None | Some(Answer::NotLeader { .. }));
    assert!(unknown, "{:?}", bench.answer(2));
}

#[test]
fn a_request_that_waits_longer_than_its_time_out_gets_no_ids() {
    let mut bench = Bench::new(1, 0, 1);
    let leader = bench.leader();
    bench.stalled[leader] = true;
    bench.take(leader, 1, 1);
    bench.pass(4 * SECOND_US);
    assert_eq!(bench.answer(1), None);
    bench.pass(2 * SECOND_US);
    assert_eq!(bench.answer(1), Some(Answer::TimedOut));
}

#[test]
fn at_the_end_of_the_integers_requests_are_refused_and_nothing_wraps() {
    let mut bench = Bench::new(1, 1_000_000, u64::MAX - 3);
    let leader = bench.leader();
    bench.take(leader, 1, 5);
    bench.take(leader, 2, 2);
    bench.take(leader, 3, 1);
    bench.take(leader, 4, 1);
    assert_eq!(bench.answer(1), Some(Answer::Exhausted));
    assert_eq!([bench.answer(2), bench.answer(3)], [ids(u64::MAX - 3, 2), ids(u64::MAX - 1, 1)]);
    assert_eq!(bench.answer(4), Some(Answer::Exhausted));
}

#[test]
fn the_log_is_compacted_however_many_entries_there_are() {
    let mut bench = Bench::new(1, 0, 1);
    let leader = bench.leader();
    for request in 0..3 * COMPACTION_INTERVAL {
        bench.take(leader, request, 1);
    }
    let raft = bench.nodes[leader].raft();
    let base = raft.snapshot().unwrap().last_included_index;
    assert!(raft.last_log_index().0 - base.0 <= COMPACTION_INTERVAL);
    // No sooner than after enough further entries: a snapshot is written in full, however little has changed.
    bench.take(leader, 0, 1);
    assert_eq!(bench.nodes[leader].raft().snapshot().unwrap().last_included_index, base);
}

#[test]
fn a_leader_that_is_to_be_removed_hands_over_and_the_next_leader_removes_it() {
    let mut bench = Bench::new(3, 1_000, 1);
    let first = bench.leader();
    let change = MembershipChange::Remove { id: peer_at(first).id, incarnation: None };
    bench.give(first, Input::ChangeMembership { operation: OperationId(1), change: change.clone() });
    assert_eq!(bench.operations, [(OperationId(1), OperationOutcome::HandingOver)]);
    let second = bench.leader();
    assert_ne!(first, second);
    bench.give(second, Input::ChangeMembership { operation: OperationId(2), change });
    let done = bench.operations.last().copied();
    assert!(matches!(done, Some((OperationId(2), OperationOutcome::Done { .. }))), "{done:?}");
    assert_eq!(bench.nodes[second].membership().members.len(), 2);
    let left = peer_at(first);
    assert!(bench.nodes[second].knows_removed(left, LogIndex(1)));
}

#[test]
fn the_last_voter_cannot_be_removed() {
    let mut bench = Bench::new(1, 1_000, 1);
    let leader = bench.leader();
    let change = MembershipChange::Remove { id: peer(1).id, incarnation: None };
    bench.give(leader, Input::ChangeMembership { operation: OperationId(1), change });
    let refused = OperationOutcome::Refused(ChangeRefused::LastVoter);
    assert_eq!(bench.operations, [(OperationId(1), refused)]);
}

#[test]
fn a_transfer_is_done_when_another_leads_and_no_request_is_lost_in_it() {
    let mut bench = Bench::new(3, 1_000_000, 1);
    let first = bench.leader();
    let count = NonZeroU64::MIN;
    let before = Input::TakeIds { request: RequestId(1), count };
    bench.nodes[first].step(bench.now, before);
    let transfer = Input::TransferLeadership { operation: OperationId(1), to: None };
    bench.nodes[first].step(bench.now, transfer);
    bench.take(first, 2, 1);
    let second = bench.leader();
    assert_ne!(first, second);
    let leader = peer_at(second).id;
    assert_eq!(bench.operations, [(OperationId(1), OperationOutcome::Transferred { leader })]);
    for request in [1, 2] {
        let answer = bench.answer(request);
        let is_told = matches!(answer, Some(Answer::Ids { .. }))
            || answer == Some(Answer::NotLeader { leader: Some(leader) });
        assert!(is_told, "{request}: {answer:?}");
    }
    bench.take(second, 3, 1);
    assert!(matches!(bench.answer(3), Some(Answer::Ids { .. })));
}

#[test]
fn a_failed_write_mutes_the_leader_and_another_takes_over() {
    let mut bench = Bench::new(3, 1_000_000, 1);
    let first = bench.leader();
    bench.give(first, Input::WriteFailed);
    let second = bench.leader();
    assert_ne!(first, second);
    assert!(bench.nodes[first].status().is_muted);
    bench.take(first, 1, 1);
    let leader = Some(peer_at(second).id);
    assert_eq!(bench.answer(1), Some(Answer::NotLeader { leader }));
}

#[test]
#[should_panic(expected = "reported durable")]
fn a_write_id_that_was_never_given_out_is_a_driver_s_mistake() {
    let mut bench = Bench::new(1, 1_000, 1);
    bench.leader();
    bench.nodes[0].step(Micros(0), Input::WritesDurable { through: WriteId(u64::MAX) });
}

#[test]
fn where_nodes_forward_each_answers_and_all_ids_ascend() {
    let mut bench = Bench::forwarding();
    bench.leader();
    for request in 0..300 {
        bench.take(usize::try_from(request % 3).unwrap(), request, 1 + request % 2);
    }
    let mut last = 0;
    for request in 0..300 {
        let Some(Answer::Ids { first, count }) = bench.answer(request) else {
            panic!("request {request}: {:?}", bench.answer(request))
        };
        assert!(first > last, "{first} after {last}");
        last = first + count.get() - 1;
    }
}

#[test]
fn a_request_that_was_forwarded_to_a_lost_leader_is_answered_by_the_next() {
    let mut bench = Bench::forwarding();
    let first = bench.leader();
    let follower = (first + 1) % 3;
    bench.take(first, 1, 1);
    bench.cut_off[first] = true;
    bench.take(follower, 2, 1);
    bench.take(follower, 3, 1);
    assert_eq!(bench.answer(2), None);
    bench.leader();
    bench.pass(SECOND_US);
    let (Some(Answer::Ids { first: two, .. }), Some(Answer::Ids { first: three, .. })) =
        (bench.answer(2), bench.answer(3))
    else {
        panic!("{:?}", bench.answers)
    };
    assert!(1_000 < two && two < three, "{two} and {three} lie above the window of the lost leader");
}

#[test]
fn where_nodes_forward_and_nobody_can_lead_requests_are_refused_in_time() {
    let mut bench = Bench::forwarding();
    let first = bench.leader();
    let (left, other) = ((first + 1) % 3, (first + 2) % 3);
    bench.cut_off[first] = true;
    bench.cut_off[other] = true;
    bench.take(left, 1, 1);
    bench.pass(2 * SECOND_US);
    assert_eq!(bench.answer(1), Some(Answer::NotLeader { leader: None }));
    bench.take(left, 2, 1);
    assert_eq!(bench.answer(2), Some(Answer::NotLeader { leader: None }));
}

/// Until a snapshot is durable, it is in the log but not applied: the log's base is ahead of what is applied.
#[test]
fn a_snapshot_that_is_not_durable_yet_is_ahead_of_what_is_applied_and_does_no_harm() {
    let leader = recovered(1, 42);
    let mut node = Node::new(config(2), Micros(0), Recovered::default()).unwrap();
    let snapshot = leader.snapshot.unwrap();
    let message = Message::InstallSnapshot(raft_core::InstallSnapshot { term: Term(1), snapshot });
    node.step(Micros(1), Input::Message { from: peer(1), message: message.into() });
    assert_eq!((node.status().applied_index, node.status().next_unreserved), (LogIndex(0), 1));
    assert_eq!(node.status().next_unreserved_in_log, 42);
    node.step(Micros(2), Input::WritesDurable { through: WriteId(1) });
    assert_eq!((node.status().applied_index, node.status().next_unreserved), (LogIndex(1), 42));
}

/// Three nodes of which none leads yet, as in the moment after a leader has gone.
#[test]
fn between_two_leaders_a_request_waits_for_the_next_one_s_name() {
    let mut bench = Bench::new(3, 1_000_000, 1);
    let first = bench.leader();
    let left = (first + 1) % 3;
    bench.cut_off[first] = true;
    bench.give(left, Input::PeerUnreachable(peer_at(first)));
    bench.take(left, 1, 1);
    assert_eq!(bench.answer(1), None);
    bench.pass(2 * SECOND_US);
    assert!(matches!(bench.answer(1), Some(Answer::NotLeader { leader: Some(_) } | Answer::Ids { .. })));
}

#[test]
fn between_two_leaders_a_request_waits_for_an_election_timeout_and_no_longer() {
    let mut bench = Bench::new(3, 1_000_000, 1);
    let first = bench.leader();
    let (left, other) = ((first + 1) % 3, (first + 2) % 3);
    bench.cut_off[first] = true;
    bench.cut_off[other] = true;
    bench.give(left, Input::PeerUnreachable(peer_at(first)));
    bench.take(left, 1, 1);
    bench.pass(ELECTION_TIMEOUT_US - 5_000);
    assert_eq!(bench.answer(1), None);
    bench.pass(10_000);
    assert_eq!(bench.answer(1), Some(Answer::NotLeader { leader: None }));
    bench.take(left, 2, 1);
    assert_eq!(bench.answer(2), Some(Answer::NotLeader { leader: None }), "nobody has led for long");
}
