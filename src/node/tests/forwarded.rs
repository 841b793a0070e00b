//! A node that asks the leader on behalf of its clients, and a node that is asked.

use std::sync::Arc;

use raft_core::{AppendEntries, Entry, Heartbeat, Payload, Round};

use super::*;

const REQUEST_TIMEOUT_US: u64 = 400_000;
/// For how long a first message to the leader may go unanswered: a quarter of a request's time, if that is
/// less than an election timeout.
const TIMEOUT_US: u64 = 100_000;

/// A node that forwards, and has followed node 2 since time 0.
fn follower() -> Node {
    let config = NodeConfig { request_timeout_us: REQUEST_TIMEOUT_US, forward: true, ..config(1) };
    let mut node = Node::new(config, Micros(0), recovered(3, 1)).unwrap();
    hear_leader(&mut node, 0);
    assert_eq!(node.status().leader, Some(peer(2).id));
    node
}

fn hear_leader(node: &mut Node, now: u64) {
    let heartbeat = Heartbeat {
        term: Term(1),
        leader_commit: LogIndex(1),
        round: Round(0),
        election_timeout_us: ELECTION_TIMEOUT_US,
        is_stuck: false,
    };
    let message = Message::Heartbeat(heartbeat).into();
    node.step(Micros(now), Input::Message { from: peer(2), message });
    while node.poll_output().is_some() {}
}

fn take(node: &mut Node, now: u64, request: u64, n: u64) {
    node.step(Micros(now), Input::TakeIds { request: RequestId(request), count: count(n) });
}

/// What the node asks its leader for when it is woken.
fn asked(node: &mut Node, now: u64) -> Option<(SequenceNumber, u64)> {
    node.step(Micros(now), Input::Wake);
    let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    outputs.into_iter().find_map(|output| {
        if let Output::Send { to, message: PeerMessage::Forward(Forward::TakeIds { sequence, count, .. }) } =
            output
        {
            assert_eq!(to, peer(2));
            Some((sequence, count.get()))
        } else {
            None
        }
    })
}

/// The leader's answer that this many IDs were taken.
fn granted(first: u64, n: u64) -> ForwardOutcome {
    ForwardOutcome::Ids { first, count: count(n) }
}

fn taken(node: &mut Node, now: u64, sequence: SequenceNumber, outcome: ForwardOutcome) -> Vec<(u64, Answer)> {
    let message = Forward::TakeIdsResponse { sequence, outcome };
    node.step(Micros(now), Input::Message { from: peer(2), message: message.into() });
    let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    let answer = |output| {
        let Output::Answer { request, answer } = output else { panic!("no answer to a client: {output:?}") };
        (request.0, answer)
    };
    outputs.into_iter().map(answer).collect()
}

#[test]
fn whatever_the_leader_says_is_said_to_those_whom_it_was_asked_for_and_to_nobody_later() {
    let (one, two) = (count(1), count(2));
    let ids = |first, count| Answer::Ids { first, count };
    for (outcome, answers) in [
        (granted(50, 3), [ids(50, one), ids(51, two)]),
        (ForwardOutcome::TimedOut, [Answer::TimedOut; 2]),
        (ForwardOutcome::Overloaded, [Answer::Overloaded; 2]),
    ] {
        let mut node = follower();
        take(&mut node, 10, 1, 1);
        take(&mut node, 10, 2, 2);
        let (sequence, wanted) = asked(&mut node, 10).unwrap();
        assert_eq!(wanted, 3);
        take(&mut node, 20, 3, 4);
        assert_eq!(asked(&mut node, 20), None, "quick answers are awaited");
        let answers: Vec<_> = (1..).zip(answers).collect();
        assert_eq!(taken(&mut node, 30, sequence, outcome), answers);
        assert_eq!(asked(&mut node, 30).map(|(_, wanted)| wanted), Some(4), "the third is asked for now");
        assert_eq!(taken(&mut node, 30, sequence, outcome), [], "an answer counts once");
    }
}

#[test]
fn a_request_whose_time_is_over_gets_none_of_the_range_that_comes_for_it() {
    let mut node = follower();
    take(&mut node, 0, 1, 1);
    take(&mut node, 1, 2, 1);
    let (sequence, _) = asked(&mut node, 10).unwrap();
    let answers = taken(&mut node, REQUEST_TIMEOUT_US, sequence, granted(50, 2));
    assert_eq!(answers, [(1, Answer::TimedOut), (2, Answer::Ids { first: 50, count: count(1) })]);
}

/// A follower whose leader took 8 ms to answer, at time 0.
fn follower_of_a_slow_leader() -> Node {
    let mut node = follower();
    take(&mut node, 0, 1, 1);
    let (sequence, _) = asked(&mut node, 0).unwrap();
    assert_eq!(taken(&mut node, 8_000, sequence, granted(5, 1)).len(), 1);
    node
}

/// Sends a message for one request each, for 1, 10 and 100 IDs, a millisecond apart. Returns their numbers.
fn asked_thrice(node: &mut Node) -> [SequenceNumber; 3] {
    [(9_000, 11, 1), (10_000, 12, 10), (11_000, 13, 100)].map(|(now, request, n)| {
        take(node, now, request, n);
        let (sequence, wanted) = asked(node, now).unwrap();
        assert_eq!(wanted, n, "each message is for those who came after the last");
        sequence
    })
}

#[test]
fn where_answers_take_long_messages_overlap_and_each_serves_those_who_came_after_the_last() {
    let mut node = follower_of_a_slow_leader();
    let sequences = asked_thrice(&mut node);
    for (sequence, (first, request, n)) in
        sequences.into_iter().zip([(50, 11, 1), (70, 12, 10), (90, 13, 100)])
    {
        let answers = taken(&mut node, 17_000, sequence, granted(first, n));
        assert_eq!(answers, [(request, ids(first, n).unwrap())]);
    }
    assert_eq!(asked(&mut node, 17_000), None);
}

/// A leader that has no room refuses at once, while older messages still wait there.
#[test]
fn an_answer_that_comes_before_those_to_earlier_messages_waits_for_them() {
    for (early, told) in [
        (granted(70, 10), ids(70, 10).unwrap()),
        (ForwardOutcome::Overloaded, Answer::Overloaded),
        (ForwardOutcome::TimedOut, Answer::TimedOut),
    ] {
        let mut node = follower_of_a_slow_leader();
        let [first, second, third] = asked_thrice(&mut node);
        assert_eq!(taken(&mut node, 17_000, second, early), []);
        assert_eq!(taken(&mut node, 17_000, first, granted(50, 1)), [(11, ids(50, 1).unwrap()), (12, told)]);
        assert_eq!(taken(&mut node, 17_000, third, granted(90, 100)), [(13, ids(90, 100).unwrap())]);
        assert_eq!(asked(&mut node, 17_000), None);
    }
}

#[test]
fn if_an_answer_is_lost_all_are_asked_for_again_in_one_message() {
    let mut node = follower_of_a_slow_leader();
    let [first, second, third] = asked_thrice(&mut node);
    assert_eq!(taken(&mut node, 17_000, second, granted(70, 10)), []);
    let given_up_at = 9_000 + TIMEOUT_US;
    let (sequence, wanted) = asked(&mut node, given_up_at).unwrap();
    assert_eq!(wanted, 111);
    for late in [first, third] {
        assert_eq!(taken(&mut node, given_up_at, late, granted(50, 1)), []);
    }
    let answers = taken(&mut node, given_up_at, sequence, granted(900, 111));
    let told = [(11, 900, 1), (12, 901, 10), (13, 911, 100)];
    assert_eq!(answers, told.map(|(request, first, n)| (request, ids(first, n).unwrap())));
}

/// A range of another size was taken for others: sequence numbers of two processes may be the same.
#[test]
fn a_range_of_another_size_than_was_asked_for_is_not_handed_out() {
    let mut node = follower();
    take(&mut node, 0, 1, 2);
    let (sequence, _) = asked(&mut node, 0).unwrap();
    for n in [1, 3] {
        assert_eq!(taken(&mut node, 10, sequence, granted(50, n)), []);
    }
    assert_eq!(taken(&mut node, 10, sequence, granted(60, 2)), [(1, ids(60, 2).unwrap())]);
}

#[test]
fn what_overlaps_is_given_up_together() {
    for (outcome, told, left) in [
        (ForwardOutcome::NotLeader, vec![], 111),
        (ForwardOutcome::Exhausted, vec![(11, Answer::Exhausted)], 110),
    ] {
        let mut node = follower_of_a_slow_leader();
        let [first, second, _] = asked_thrice(&mut node);
        assert_eq!(taken(&mut node, 17_000, first, outcome), told);
        assert_eq!(taken(&mut node, 17_000, second, granted(50, 10)), []);
        let later = 17_000 + config(1).raft.heartbeat_interval_us;
        assert_eq!(asked(&mut node, later).map(|(_, wanted)| wanted), Some(left));
    }
    let mut node = follower_of_a_slow_leader();
    asked_thrice(&mut node);
    assert_eq!(asked(&mut node, 9_000 + TIMEOUT_US).map(|(_, wanted)| wanted), Some(111));
}

#[test]
fn what_a_broken_connection_to_the_leader_may_have_lost_is_asked_for_at_once() {
    let mut node = follower();
    take(&mut node, 0, 1, 1);
    let (lost, _) = asked(&mut node, 0).unwrap();
    node.step(Micros(1), Input::ConnectionBroken(peer(3)));
    assert_eq!(asked(&mut node, 1), None, "it was sent to another node");
    node.step(Micros(1), Input::ConnectionBroken(peer(2)));
    let (sequence, wanted) = asked(&mut node, 1).unwrap();
    assert!(sequence != lost && wanted == 1);
}

/// What comes for the message that was given up is a gap: its requests have been asked for again.
#[test]
fn a_late_answer_to_a_message_that_was_given_up_hands_out_nothing() {
    let mut node = follower();
    take(&mut node, 0, 1, 1);
    let (given_up, _) = asked(&mut node, 0).unwrap();
    assert_eq!(asked(&mut node, TIMEOUT_US - 1), None);
    let (sequence, wanted) = asked(&mut node, TIMEOUT_US).unwrap();
    assert!(sequence != given_up && wanted == 1);
    assert_eq!(taken(&mut node, TIMEOUT_US, given_up, granted(7, 1)), []);
    let answer = Answer::Ids { first: 50, count: count(1) };
    assert_eq!(taken(&mut node, TIMEOUT_US, sequence, granted(50, 1)), [(1, answer)]);
}

/// It leads until its removal is committed. Which node leads is known without the membership in force.
#[test]
fn a_leader_that_is_being_removed_is_still_asked() {
    let mut node = follower();
    let mut members = recovered(3, 1).snapshot.unwrap().membership.as_ref().clone();
    members.members.remove(&peer(2).id);
    let removal =
        Entry { index: LogIndex(2), term: Term(1), payload: Payload::Membership(Arc::new(members)) };
    let append = AppendEntries {
        term: Term(1),
        prev_log_index: LogIndex(1),
        prev_log_term: Term(1),
        entries: vec![removal],
        leader_commit: LogIndex(1),
    };
    node.step(Micros(5), Input::Message { from: peer(2), message: Message::AppendEntries(append).into() });
    assert!(!node.membership().contains(peer(2)));
    take(&mut node, 10, 1, 3);
    assert_eq!(asked(&mut node, 10).map(|(_, wanted)| wanted), Some(3));
}

#[test]
fn one_that_says_it_does_not_lead_is_asked_again_after_a_heartbeat_interval() {
    let mut node = follower();
    take(&mut node, 0, 1, 1);
    let (sequence, _) = asked(&mut node, 0).unwrap();
    assert_eq!(taken(&mut node, 10, sequence, ForwardOutcome::NotLeader), []);
    assert_eq!(node.deadline(), Some(Micros(50_010)));
    assert_eq!(asked(&mut node, 50_009), None);
    assert_eq!(asked(&mut node, 50_010).map(|(_, wanted)| wanted), Some(1));
}

#[test]
fn one_that_is_asked_and_does_not_lead_says_so_at_once_and_asks_nobody_else() {
    let mut node = follower();
    let message = Forward::TakeIds { sequence: SequenceNumber(7), count: count(5), still_awaited: 0 };
    node.step(Micros(10), Input::Message { from: peer(3), message: message.into() });
    let message =
        Forward::TakeIdsResponse { sequence: SequenceNumber(7), outcome: ForwardOutcome::NotLeader };
    let said: Vec<Output> = std::iter::from_fn(|| node.poll_output())
        .filter(|output| matches!(output, Output::Send { message: PeerMessage::Forward(_), .. }))
        .collect();
    assert_eq!(said, [Output::Send { to: peer(3), message: message.into() }]);
    assert_eq!(asked(&mut node, 10), None);
}

#[test]
fn a_range_that_ends_beyond_the_last_integer_is_handed_out_up_to_there() {
    let mut node = follower();
    for request in 1..=3 {
        take(&mut node, 10, request, 2);
    }
    let (sequence, _) = asked(&mut node, 10).unwrap();
    let answers = taken(&mut node, 20, sequence, granted(u64::MAX - 3, 6));
    let first = Answer::Ids { first: u64::MAX - 3, count: count(2) };
    assert_eq!(answers, [(1, first), (2, Answer::Exhausted), (3, Answer::Exhausted)]);
}

/// Answers the node as a leader with this many IDs left would, until it asks for nothing more. Returns what
/// it asked for, and what its clients were told.
fn drawn_down(node: &mut Node, mut left: u64) -> (Vec<u64>, Vec<(u64, Answer)>) {
    let (mut wanted, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..INPUTS_MAX {
        let Some((sequence, n)) = asked(node, 20) else { return (wanted, answers) };
        wanted.push(n);
        let outcome = match left.checked_sub(n) {
            Some(rest) => granted(u64::MAX - std::mem::replace(&mut left, rest), n),
            None => ForwardOutcome::Exhausted,
        };
        answers.extend(taken(node, 20, sequence, outcome));
    }
    panic!("it asks on and on, the last time for {:?}", wanted.last());
}

/// As a leader would answer its own clients: a request for more than is left is refused, and leaves the rest
/// to later requests.
#[test]
fn a_request_for_more_than_is_left_takes_nothing_from_those_who_wait_with_it() {
    let mut node = follower();
    for (request, n) in [(1, 1), (2, 100), (3, 1), (4, 3), (5, 2)] {
        take(&mut node, 10, request, n);
    }
    let (wanted, answers) = drawn_down(&mut node, 4);
    assert_eq!(wanted, [107, 1, 100, 6, 1, 3, 2], "those that wait, by halves, and each alone at last");
    let ids = |first, n| Answer::Ids { first, count: count(n) };
    let told = [
        (1, ids(u64::MAX - 4, 1)),
        (2, Answer::Exhausted),
        (3, ids(u64::MAX - 3, 1)),
        (4, Answer::Exhausted),
        (5, ids(u64::MAX - 2, 2)),
    ];
    assert_eq!(answers, told);
}

#[test]
fn where_no_ids_are_left_a_few_messages_refuse_any_number_of_requests() {
    let mut node = follower();
    (1..=1_000).for_each(|request| take(&mut node, 10, request, 1));
    let (wanted, answers) = drawn_down(&mut node, 0);
    assert_eq!(wanted, [1_000, 500, 250, 125, 62, 31, 15, 7, 3, 1]);
    assert_eq!(answers, (1..=1_000).map(|request| (request, Answer::Exhausted)).collect::<Vec<_>>());
}

#[test]
fn the_last_ids_are_shared_out_to_the_last_of_them_in_the_order_of_arrival() {
    for left in 0..=40 {
        let mut node = follower();
        (1..=40).for_each(|request| take(&mut node, 10, request, 1));
        let (_, answers) = drawn_down(&mut node, left);
        let told = (1..=40).map(|request| {
            let first = u64::MAX - left + (request - 1).min(left);
            let answer = if request <= left { ids(first, 1).unwrap() } else { Answer::Exhausted };
            (request, answer)
        });
        assert_eq!(answers, told.collect::<Vec<_>>(), "{left} are left");
    }
}

#[test]
fn a_request_that_comes_in_a_shortage_waits_for_those_before_it_and_is_asked_for_then() {
    let mut node = follower();
    take(&mut node, 10, 1, 4);
    take(&mut node, 10, 2, 4);
    let (sequence, _) = asked(&mut node, 10).unwrap();
    take(&mut node, 10, 3, 9);
    assert_eq!(taken(&mut node, 10, sequence, ForwardOutcome::Exhausted), []);
    let (wanted, answers) = drawn_down(&mut node, 4);
    assert_eq!(wanted, [4, 4, 9]);
    let told = [(1, ids(u64::MAX - 4, 4).unwrap()), (2, Answer::Exhausted), (3, Answer::Exhausted)];
    assert_eq!(answers, told);
}

/// What another node is told about the messages that it sent.
fn told(node: &mut Node) -> Vec<(SequenceNumber, ForwardOutcome)> {
    let mut told = Vec::new();
    while let Some(output) = node.poll_output() {
        if let Output::Send {
            message: PeerMessage::Forward(Forward::TakeIdsResponse { sequence, outcome }),
            ..
        } = output
        {
            told.push((sequence, outcome));
        }
    }
    told
}

/// A leader that hears no other node, and whose outputs have been taken; the others may be told to send it
/// something.
fn leader_that_hears_nobody() -> (Bench, usize) {
    let mut bench = Bench::forwarding();
    let leader = bench.leader();
    bench.cut_off[leader] = true;
    (bench, leader)
}

/// Another node asks the node at this place for this many IDs, and still waits for this many messages before.
fn ask(bench: &mut Bench, at: usize, from: u64, (sequence, still_awaited): (u64, u8), n: u64) {
    let message = Forward::TakeIds { sequence: SequenceNumber(sequence), count: count(n), still_awaited };
    bench.nodes[at].step(bench.now, Input::Message { from: peer(from), message: message.into() });
    bench.nodes[at].step(bench.now, Input::Wake);
}

#[test]
fn what_a_node_asks_for_again_is_counted_once() {
    let (mut bench, leader) = leader_that_hears_nobody();
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader as u64 + 1).collect();
    for sequence in 1..=5 {
        ask(&mut bench, leader, others[0], (sequence, 0), 1_000_000 + sequence);
    }
    ask(&mut bench, leader, others[1], (9, 0), 7);
    assert_eq!(bench.nodes[leader].requests.wanted(), 1_000_005 + 7);
    assert_eq!(told(&mut bench.nodes[leader]), [], "neither has an answer yet");
}

#[test]
fn what_a_node_still_waits_for_is_kept_when_it_asks_for_more() {
    let (mut bench, leader) = leader_that_hears_nobody();
    let other = (1..=3).find(|id| *id != leader as u64 + 1).unwrap();
    // Sequence numbers begin anywhere, and may pass the last number.
    for (sequence, still_awaited, n, wanted) in [
        (u64::MAX - 1, 0, 1, 1),
        (u64::MAX, 1, 10, 11),
        (0, 2, 100, 111),
        (1, 2, 1_000, 1_110),
        (2, 200, 10_000, 11_110),
        (5, 0, 7, 7),
        // It was overtaken by the one before.
        (4, 0, 5, 12),
    ] {
        ask(&mut bench, leader, other, (sequence, still_awaited), n);
        assert_eq!(bench.nodes[leader].requests.wanted(), wanted, "after message {sequence}");
    }
}

/// Whoever reaches the port for peers can send a message.
#[test]
fn one_that_is_no_member_gets_nothing_of_a_leader() {
    let (mut bench, leader) = leader_that_hears_nobody();
    let former = Peer { incarnation: Incarnation(77), ..peer(2) };
    for from in [peer(9), former] {
        let message =
            Forward::TakeIds { sequence: SequenceNumber(1), count: NonZeroU64::MAX, still_awaited: 0 };
        bench.nodes[leader].step(bench.now, Input::Message { from, message: message.into() });
        assert_eq!(told(&mut bench.nodes[leader]), [(SequenceNumber(1), ForwardOutcome::NotLeader)]);
    }
    assert_eq!(bench.nodes[leader].requests.wanted(), 0);
}

#[test]
fn one_whose_membership_is_not_settled_yet_is_served() {
    for is_new in [true, false] {
        let (mut bench, leader) = leader_that_hears_nobody();
        let other = (1..=3).find(|id| *id != leader as u64 + 1).unwrap();
        let from = if is_new { 9 } else { other };
        let change = if is_new {
            let (peer_address, client_address) = ("h9:9000".to_owned(), "h9:8000".to_owned());
            MembershipChange::Add { peer: peer(from), peer_address, client_address }
        } else {
            MembershipChange::Remove { id: peer(from).id, incarnation: None }
        };
        bench.give(leader, Input::ChangeMembership { operation: OperationId(1), change });
        ask(&mut bench, leader, from, (1, 0), 5);
        assert_eq!(bench.nodes[leader].requests.wanted(), 5, "node {from}");
    }
}

#[test]
fn a_leader_that_is_none_any_more_turns_those_who_asked_it_away_and_keeps_its_own_clients() {
    let (mut bench, leader) = leader_that_hears_nobody();
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader as u64 + 1).collect();
    bench.take(leader, 1, 3);
    ask(&mut bench, leader, others[0], (4, 0), 500);
    ask(&mut bench, leader, others[1], (5, 0), 500);
    let term = bench.nodes[leader].raft().current_term().next();
    let heartbeat = Heartbeat {
        term,
        leader_commit: LogIndex(1),
        round: Round(0),
        election_timeout_us: ELECTION_TIMEOUT_US,
        is_stuck: false,
    };
    let message = Message::Heartbeat(heartbeat);
    bench.nodes[leader].step(bench.now, Input::Message { from: peer(others[0]), message: message.into() });
    let turned_away =
        [(SequenceNumber(4), ForwardOutcome::NotLeader), (SequenceNumber(5), ForwardOutcome::NotLeader)];
    assert_eq!(told(&mut bench.nodes[leader]), turned_away);
    assert_eq!(bench.nodes[leader].requests.wanted(), 3, "its own client's");
}

#[test]
fn one_that_the_members_refuse_lets_its_clients_ask_elsewhere_at_once() {
    let unavailable =
        |request| Output::Answer { request: RequestId(request), answer: Answer::NotLeader { leader: None } };
    let mut node = follower();
    take(&mut node, 10, 1, 1);
    assert!(asked(&mut node, 10).is_some());
    take(&mut node, 10, 2, 1);
    node.step(Micros(11), Input::StopForwarding);
    take(&mut node, 12, 3, 1);
    let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    assert_eq!(outputs, [unavailable(1), unavailable(2), unavailable(3)]);
}
