//! What a leader leaves to its successor.

use super::*;

/// Of three nodes: the leader, the node that is to lead next, and operation 7, which asks for that.
fn leader_and_heir(bench: &mut Bench) -> (usize, usize, Input) {
    let leader = bench.leader();
    let heir = (leader + 1) % 3;
    let to = Some(peer_at(heir).id);
    (leader, heir, Input::TransferLeadership { operation: OperationId(7), to })
}

/// A hand-over by a leader with a full window: the bench after it, the former leader, its successor, and what
/// was left to that one.
fn handed_over(window: u64) -> (Bench, usize, usize, Option<Bequest>) {
    let mut bench = Bench::new(3, window, 1);
    let (leader, heir, hand_over) = leader_and_heir(&mut bench);
    bench.nodes[leader].step(bench.now, hand_over);
    let mut bequest = None;
    let mut mail = VecDeque::new();
    while let Some(output) = bench.nodes[leader].poll_output() {
        if let Output::Send { message: PeerMessage::Bequest(left), .. } = output {
            assert_eq!(bequest.replace(left), None);
        }
        bench.carry_out(leader, output, &mut mail);
    }
    for (to, input) in mail {
        bench.give(to, input);
    }
    (bench, leader, heir, bequest)
}

fn ids(bench: &Bench, request: u64) -> u64 {
    match bench.answer(request) {
        Some(Answer::Ids { first, .. }) => first,
        other => panic!("request {request}: {other:?}"),
    }
}

/// Until its first entry is committed, a new leader has no window of its own.
#[test]
fn a_successor_serves_from_what_it_was_left_before_its_first_entry_is_committed() {
    let mut bench = Bench::new(3, 1_000, 1);
    let (leader, heir, hand_over) = leader_and_heir(&mut bench);
    bench.take(leader, 1, 1);
    assert_eq!(ids(&bench, 1), 1);
    bench.nodes[leader].step(bench.now, hand_over);
    // Votes are written; after that, no write is.
    let mut writes = 0;
    bench.settle_without(|output| {
        let Output::Write(write) = output else { return false };
        writes += 1;
        !write.entries.is_empty()
    });
    assert!(writes > 3, "votes of all, and the first entry of the new leader");
    assert!(bench.nodes[heir].leadership.is_some());
    bench.stalled = vec![true; 3];
    bench.take(heir, 2, 3);
    // 1,000 were reserved, one was taken, and of the remaining 999 the upper 499 were left to the heir.
    assert_eq!(ids(&bench, 2), 502);
}

#[test]
fn ids_before_and_after_a_hand_over_are_in_order_and_the_window_goes_on_behind() {
    let (mut bench, leader, heir, bequest) = handed_over(1_000);
    let Bequest { first, count, .. } = bequest.unwrap();
    assert_eq!((first, count.get()), (501, 500));
    assert!(bench.nodes[leader].leadership.is_none());
    bench.take(heir, 1, 500);
    bench.take(heir, 2, 500);
    assert_eq!((ids(&bench, 1), ids(&bench, 2)), (501, 1_001));
}

#[test]
fn without_a_window_nothing_is_left() {
    let (mut bench, _, heir, bequest) = handed_over(0);
    assert_eq!(bequest, None);
    bench.take(heir, 1, 1);
    assert_eq!(ids(&bench, 1), 1);
}

/// A leader whose hand-over failed goes on below what it left, and what it then reserves lies above that.
#[test]
fn a_leader_that_goes_on_hands_out_nothing_of_what_it_left() {
    let mut bench = Bench::new(3, 1_000, 1);
    let (leader, heir, hand_over) = leader_and_heir(&mut bench);
    bench.cut_off[heir] = true;
    bench.give(leader, hand_over);
    bench.take(leader, 1, 500);
    assert_eq!(ids(&bench, 1), 1);
    bench.pass(SECOND_US);
    assert_eq!(bench.operations, [(OperationId(7), OperationOutcome::TransferFailed)]);
    bench.take(leader, 2, 1);
    assert_eq!(ids(&bench, 2), 1_001);
}

/// A node that may not reserve ahead does not inherit either: each batch is committed before it is answered.
#[test]
fn an_heir_takes_no_more_than_its_own_window_may_hold() {
    for (window, inherited) in [(0, None), (7, Some(counter::IdRange { first: 901, end: 908 }))] {
        let mut bench = Bench::new(3, 1_000, 1);
        let (leader, heir, _) = leader_and_heir(&mut bench);
        bench.nodes[heir].config.window = window;
        let raft = bench.nodes[leader].raft();
        let (term, last_log_index) = (raft.current_term(), raft.last_log_index().previous().unwrap());
        let bequest = Bequest { term, last_log_index, first: 901, count: count(100) };
        let from = peer_at(leader);
        bench.nodes[heir].step(bench.now, Input::Message { from, message: bequest.into() });
        assert_eq!(bench.nodes[heir].inherit(term.next()), inherited);
    }
}

/// A leader's log ends with an entry of its term. A log that ends with another entry is not the leader's,
/// however long it is.
#[test]
fn what_was_left_with_another_log_is_not_used() {
    let mut bench = Bench::new(3, 1_000, 1);
    let (leader, heir, _) = leader_and_heir(&mut bench);
    let raft = bench.nodes[leader].raft();
    let (term, last_log_index) = (raft.current_term().next(), raft.last_log_index().previous().unwrap());
    let other = peer_at((leader + 2) % 3);
    let heartbeat = raft_core::Heartbeat {
        term,
        leader_commit: LogIndex(0),
        round: raft_core::Round(1),
        election_timeout_us: 300_000,
        is_stuck: false,
    };
    bench.nodes[heir]
        .step(bench.now, Input::Message { from: other, message: Message::Heartbeat(heartbeat).into() });
    assert_eq!(bench.nodes[heir].raft().leader(), Some(other.id));
    let bequest = Bequest { term, last_log_index, first: 901, count: count(100) };
    bench.nodes[heir].step(bench.now, Input::Message { from: other, message: bequest.into() });
    assert_eq!(bench.nodes[heir].inherit(term.next()), None);
}

/// A bequest for a later term, with another entry after it, or of a range that was never reserved is void; so
/// is one from any node but the leader.
#[test]
fn what_was_left_is_used_only_where_nothing_can_have_come_between() {
    let unused = |change: fn(&mut Bequest), from: usize| {
        let mut bench = Bench::new(3, 1_000, 1);
        let (leader, heir, _) = leader_and_heir(&mut bench);
        let from = peer_at((leader + from) % 3);
        let raft = bench.nodes[leader].raft();
        let mut bequest = Bequest {
            term: raft.current_term(),
            last_log_index: raft.last_log_index(),
            first: 901,
            count: count(100),
        };
        change(&mut bequest);
        bench.nodes[heir].step(bench.now, Input::Message { from, message: bequest.into() });
        let next_term = bench.nodes[heir].raft().current_term().next();
        bench.nodes[heir].inherit(next_term)
    };
    let nothing: fn(&mut Bequest) = |_| {};
    // The leader's log ends where the heir's ends before the entry by which the heir begins to lead.
    let fits: fn(&mut Bequest) = |b| b.last_log_index.0 -= 1;
    assert_eq!(unused(fits, 0), Some(counter::IdRange { first: 901, end: 1_001 }));
    assert_eq!(unused(nothing, 0), None, "an entry is missing");
    assert_eq!(unused(|b| b.last_log_index.0 -= 2, 0), None, "an entry came after");
    assert_eq!(unused(fits, 1), None, "from one that follows");
    for change in [
        (|b| (b.last_log_index.0, b.term.0) = (b.last_log_index.0 - 1, b.term.0 - 1)) as fn(&mut Bequest),
        |b| (b.last_log_index.0, b.term.0) = (b.last_log_index.0 - 1, b.term.0 + 1),
        |b| b.last_log_index.0 = u64::MAX,
        |b| (b.last_log_index.0, b.count) = (b.last_log_index.0 - 1, count(101)),
        |b| (b.last_log_index.0, b.first) = (b.last_log_index.0 - 1, u64::MAX),
    ] {
        assert_eq!(unused(change, 0), None);
    }
}
