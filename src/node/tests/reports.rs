//! What a node reports about itself and about others, and what it refuses to take in.

use raft_core::{AppendEntries, Heartbeat, InstallSnapshot, Round};

use super::*;

fn entry(index: u64, payload: Payload) -> Entry {
    Entry { index: LogIndex(index), term: Term(1), payload }
}

#[test]
fn a_node_counts_the_leaders_that_it_has_seen_and_what_it_asked_of_them() {
    let mut bench = Bench::forwarding();
    let first = bench.leader();
    let others = [(first + 1) % 3, (first + 2) % 3];
    for (request, at) in (0..).zip([others[0], others[1], others[0], first]) {
        bench.take(at, request, 1);
        assert!(matches!(bench.answer(request), Some(Answer::Ids { .. })));
    }
    let counts = |bench: &Bench, at: usize| *bench.nodes[at].counts();
    let forwards = |bench: &Bench, at| (counts(bench, at).forwards_sent, counts(bench, at).forwards_taken);
    assert_eq!(forwards(&bench, first), (0, 3));
    assert_eq!(forwards(&bench, others[0]), (2, 0));
    assert_eq!(forwards(&bench, others[1]), (1, 0));
    let waits: Vec<u64> = (0..3).map(|at| counts(&bench, at).waits.count()).collect();
    assert_eq!((waits[first], waits[others[0]], waits[others[1]]), (1, 2, 1), "a node's clients are its own");
    assert_eq!(counts(&bench, first).barriers.sum(), 4, "each request was confirmed by a barrier");
    assert_eq!((counts(&bench, first).reservations, counts(&bench, others[0]).reservations), (1, 0));

    let seen = |bench: &Bench| [0, 1, 2].map(|at| counts(bench, at).leader_changes);
    assert_eq!(seen(&bench), [1, 1, 1]);
    bench.give(first, Input::TransferLeadership { operation: OperationId(1), to: None });
    assert_ne!(bench.leader(), first);
    assert_eq!(seen(&bench), [2, 2, 2]);
    let reservations: u64 = (0..3).map(|at| counts(&bench, at).reservations).sum();
    assert_eq!(reservations, 2, "a window for each leader");
}

/// This is the case of a leader that pauses and comes back.
#[test]
fn a_node_that_is_elected_again_is_another_leader_and_one_that_is_heard_again_is_not() {
    let mut bench = Bench::new(3, 0, 1);
    let first = bench.leader();
    let [behind, other] = [(first + 1) % 3, (first + 2) % 3];
    bench.cut_off[behind] = true;
    bench.pass(SECOND_US);
    bench.cut_off[behind] = false;
    let seen = |bench: &Bench| [first, behind, other].map(|at| bench.nodes[at].counts().leader_changes);
    bench.pass(SECOND_US);
    assert_eq!(seen(&bench), [1, 1, 1], "it was away, and has heard its leader again");

    bench.cut_off[behind] = true;
    bench.take(first, 1, 1);
    assert_eq!(bench.answer(1), ids(1, 1));
    bench.cut_off[first] = true;
    bench.pass(SECOND_US);
    (bench.cut_off[first], bench.cut_off[behind], bench.cut_off[other]) = (false, false, true);
    assert_eq!(bench.leader(), first, "the other one's log is behind");
    assert_eq!(seen(&bench), [2, 2, 1]);
}

#[test]
fn a_request_that_waits_is_counted_with_how_long_it_has_waited() {
    let mut bench = Bench::new(1, 0, 1);
    let leader = bench.leader();
    bench.stalled[leader] = true;
    bench.take(leader, 1, 1);
    bench.pass(SECOND_US);
    assert_eq!(bench.nodes[leader].counts().waits.count(), 0);
    bench.pass(4 * SECOND_US);
    assert_eq!(bench.answer(1), Some(Answer::TimedOut));
    let waits = bench.nodes[leader].counts().waits;
    assert_eq!((waits.count(), waits.sum()), (1, 5 * SECOND_US));
}

#[test]
fn a_node_compacts_as_often_as_it_is_told_to() {
    let mut bench = Bench::new(1, 0, 1);
    let node = bench.nodes.remove(0).compacting_every(count(3));
    bench.nodes.push(node);
    let leader = bench.leader();
    for request in 0..20 {
        bench.take(leader, request, 1);
        let raft = bench.nodes[leader].raft();
        let base = raft.snapshot().unwrap().last_included_index;
        assert!(raft.last_applied().0 - base.0 < 3, "applied {}, base {base}", raft.last_applied());
    }
}

#[test]
fn a_removal_is_told_to_whoever_is_removed_and_to_the_others() {
    let mut bench = Bench::new(3, 1_000, 1);
    let leader = bench.leader();
    let (gone, stays) = ((leader + 1) % 3, (leader + 2) % 3);
    let gone_peer = peer_at(gone);
    let change = MembershipChange::Remove { id: gone_peer.id, incarnation: Some(gone_peer.incarnation) };
    bench.give(leader, Input::ChangeMembership { operation: OperationId(1), change });
    bench.pass(SECOND_US);
    let mut told = bench.peers_removed.clone();
    told.sort_unstable();
    let mut wanted = [(leader, gone_peer), (stays, gone_peer)];
    wanted.sort_unstable();
    assert_eq!(told, wanted, "once each, and of nobody else");

    // A peer that knows more than this node may have joined again since.
    let node = &bench.nodes[leader];
    let commit_index = node.commit_index();
    assert_eq!(commit_index, node.status().commit_index);
    assert!(node.knows_removed(gone_peer, LogIndex(1)));
    assert!(node.knows_removed(gone_peer, commit_index));
    assert!(!node.knows_removed(gone_peer, commit_index.next()));
    assert!(!node.knows_removed(peer_at(stays), LogIndex(1)));
}

#[test]
fn a_node_that_hears_of_its_own_removal_says_so_and_of_nobody_else_s() {
    let mut membership = (*recovered(2, 1).snapshot.unwrap().membership).clone();
    membership.members.remove(&peer(2).id);
    let mut node = Node::new(config(2), Micros(0), recovered(2, 1)).unwrap();
    let append = AppendEntries {
        term: Term(1),
        prev_log_index: LogIndex(1),
        prev_log_term: Term(1),
        entries: vec![entry(2, Payload::Membership(Arc::new(membership)))],
        leader_commit: LogIndex(2),
    };
    node.step(Micros(1), Input::Message { from: peer(1), message: Message::AppendEntries(append).into() });
    node.step(Micros(2), Input::WritesDurable { through: WriteId(1) });
    let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    assert!(outputs.contains(&Output::Removed { at: LogIndex(2) }), "{outputs:?}");
    assert!(!outputs.iter().any(|output| matches!(output, Output::PeerRemoved(_))), "{outputs:?}");
}

#[test]
fn commands_and_states_of_another_make_are_kept_out_of_the_log() {
    let alien: Arc<[u8]> = Arc::from(&b"not ours"[..]);
    let mut store = recovered(3, 1);
    store.entries.push(entry(2, Payload::Command(Arc::clone(&alien))));
    assert!(Node::new(config(1), Micros(0), store).is_err());

    let snapshot = Snapshot { state: Arc::clone(&alien), ..(*recovered(3, 1).snapshot.unwrap()).clone() };
    let append = AppendEntries {
        term: Term(1),
        prev_log_index: LogIndex(1),
        prev_log_term: Term(1),
        entries: vec![entry(2, Payload::Noop), entry(3, Payload::Command(alien))],
        leader_commit: LogIndex(1),
    };
    let install = InstallSnapshot { term: Term(1), snapshot: Arc::new(snapshot) };
    for (message, reason) in [
        (Message::AppendEntries(append), DropReason::MalformedEntries),
        (Message::InstallSnapshot(install), DropReason::MalformedSnapshot),
    ] {
        let mut node = Node::new(config(1), Micros(0), recovered(3, 1)).unwrap();
        node.step(Micros(1), Input::Message { from: peer(2), message: message.into() });
        assert_eq!(node.poll_output(), Some(Output::Dropped { from: peer(2), reason }));
        assert_eq!((node.poll_output(), node.status().last_log_index), (None, LogIndex(1)));
    }
}

/// Until when a driver may sleep: a node owes nothing to anyone before that.
#[test]
fn a_node_is_woken_for_raft_for_the_oldest_request_and_for_those_that_wait_for_a_leader() {
    let node = |request_timeout_us, seed| {
        let raft = Config { seed, ..config(1).raft };
        Node::new(NodeConfig { request_timeout_us, raft, ..config(1) }, Micros(0), recovered(3, 1)).unwrap()
    };
    let take = |request| Input::TakeIds { request: RequestId(request), count: count(1) };
    // A node whose election timeout is longer than requests wait for the next leader to become known.
    let patient = |seed: &u64| node(5 * SECOND_US, *seed).deadline() > Some(Micros(300_000));
    let seed = (0..1_000).find(patient).unwrap();

    let mut waiting = node(5 * SECOND_US, seed);
    assert_eq!(waiting.deadline(), waiting.raft().deadline());
    waiting.step(Micros(0), take(1));
    assert_eq!(waiting.deadline(), Some(Micros(300_000)));

    let mut hurried = node(1_000, seed);
    hurried.step(Micros(0), take(1));
    hurried.step(Micros(10), take(2));
    assert_eq!(hurried.deadline(), Some(Micros(1_000)), "the oldest");
    hurried.step(Micros(1_000), Input::Wake);
    assert_eq!(hurried.deadline(), Some(Micros(1_010)));
}

#[test]
fn a_request_waits_no_longer_for_a_leader_because_terms_go_by_without_one() {
    let mut node = Node::new(config(1), Micros(0), recovered(3, 1)).unwrap();
    node.step(Micros(0), Input::TakeIds { request: RequestId(1), count: count(1) });
    let request = raft_core::RequestVote {
        term: Term(5),
        last_log_index: LogIndex(1),
        last_log_term: Term(1),
        reason: raft_core::CampaignReason::LeadershipTransfer,
    };
    node.step(
        Micros(90_000),
        Input::Message { from: peer(2), message: Message::RequestVote(request).into() },
    );
    let answers = |node: &mut Node| {
        let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
        outputs.into_iter().filter(|output| matches!(output, Output::Answer { .. })).collect::<Vec<_>>()
    };
    node.step(Micros(299_999), Input::Wake);
    assert_eq!(answers(&mut node), []);
    node.step(Micros(300_000), Input::Wake);
    let answer = Answer::NotLeader { leader: None };
    assert_eq!(answers(&mut node), [Output::Answer { request: RequestId(1), answer }]);
}

#[test]
fn a_request_that_waits_for_the_next_leaders_name_is_sent_there_as_soon_as_it_is_known() {
    let mut node = Node::new(config(1), Micros(0), recovered(3, 1)).unwrap();
    node.step(Micros(0), Input::TakeIds { request: RequestId(1), count: count(1) });
    let heartbeat = raft_core::Heartbeat {
        term: Term(1),
        leader_commit: LogIndex(1),
        round: raft_core::Round(0),
        election_timeout_us: 300_000,
        is_stuck: false,
    };
    node.step(Micros(10), Input::Message { from: peer(2), message: Message::Heartbeat(heartbeat).into() });
    let answer = Answer::NotLeader { leader: Some(peer(2).id) };
    let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    assert!(outputs.contains(&Output::Answer { request: RequestId(1), answer }), "{outputs:?}");
}

#[test]
fn a_request_that_cannot_be_answered_here_is_refused_at_once_but_never_before_an_older_one() {
    let mut node = Node::new(config(1), Micros(0), recovered(3, 1)).unwrap();
    let take = |request| Input::TakeIds { request: RequestId(request), count: count(1) };
    let refused = |request| {
        let answer = Answer::NotLeader { leader: None };
        Output::Answer { request: RequestId(request), answer }
    };
    node.step(Micros(0), take(1));
    // The deadline of the first request has passed, and the node has not been woken yet.
    node.step(Micros(300_000), take(2));
    assert_eq!(node.poll_output(), None);
    node.serve();
    assert_eq!((node.poll_output(), node.poll_output()), (Some(refused(1)), Some(refused(2))));
    assert_eq!(node.counts().waits.count(), 2);
    node.step(Micros(300_000), take(3));
    assert_eq!(node.poll_output(), Some(refused(3)));
    assert_eq!(node.counts().waits.count(), 2, "it has not waited");
}

#[test]
fn a_node_has_room_for_as_many_requests_as_may_wait() {
    let mut node = Node::new(config(1), Micros(0), recovered(3, 1)).unwrap();
    for request in 0..requests::WAITING_REQUESTS_MAX {
        assert!(node.has_room(), "{request} wait");
        let request = RequestId(u64::try_from(request).unwrap());
        node.step(Micros(0), Input::TakeIds { request, count: count(1) });
    }
    assert!(!node.has_room());
    node.step(Micros(0), Input::TakeIds { request: RequestId(u64::MAX), count: count(1) });
    let overloaded = Output::Answer { request: RequestId(u64::MAX), answer: Answer::Overloaded };
    assert_eq!(std::iter::from_fn(|| node.poll_output()).last(), Some(overloaded));
}

/// If the reservation cannot begin when it is due, because another node is to lead, the node is not woken for
/// it again at once.
#[test]
fn a_node_is_woken_once_for_the_next_reservation() {
    let mut bench = Bench::new(3, 0, 1);
    let leader = bench.leader();
    bench.stalled = (0..3).map(|node| node != leader).collect();
    bench.take(leader, 1, 1);
    bench.take(leader, 2, 1);
    let due = bench.now.plus(1_000);
    assert_eq!(bench.nodes[leader].deadline(), Some(due));
    bench.cut_off = vec![true; 3];
    bench.give(leader, Input::TransferLeadership { operation: OperationId(7), to: None });
    bench.nodes[leader].step(due, Input::Wake);
    let next = bench.nodes[leader].deadline();
    assert!(next.is_some_and(|next| next > due), "{next:?} after {due:?}");
}

#[test]
fn rounds_are_thrifty_from_as_many_requests_as_the_driver_says() {
    let node = Node::new(config(1), Micros(0), recovered(3, 1)).unwrap();
    let mut eager = node.clone().thrifty_from(0);
    assert_eq!(eager.thrifty.begin_round(1), raft_core::Audience::QuickestMajority);
    let mut other = node;
    assert_eq!(other.thrifty.begin_round(1), raft_core::Audience::EveryVoter);
}

/// The more requests share a round, the fewer rounds the processors have to bear.
#[test]
fn a_leader_whose_rounds_are_thrifty_and_quick_begins_one_at_a_time() {
    for (thrifty_from, rounds) in [(0, 1), (THRIFTY_REQUESTS_MIN, 2)] {
        let mut bench = Bench::new(3, 1_000, 1);
        let leader = bench.leader();
        bench.nodes[leader] = bench.nodes[leader].clone().thrifty_from(thrifty_from);
        bench.take(leader, 1, 1);
        assert!(bench.answer(1).is_some());
        bench.cut_off = vec![true; 3];
        let before = bench.nodes[leader].last_barrier;
        for request in 2..=5 {
            bench.take(leader, request, 1);
        }
        let begun = bench.nodes[leader].last_barrier.0 - before.0;
        assert_eq!(begun, rounds, "thrifty from {thrifty_from} requests on");
    }
}

/// An operator who has lost the other nodes for good must know how far IDs may have been handed out.
#[test]
fn a_node_that_does_not_know_what_is_committed_tells_what_its_whole_log_reserves() {
    let mut store = recovered(3, 5);
    let entry = |index, payload| Entry { index: LogIndex(index), term: Term(1), payload };
    store.entries = vec![
        entry(2, Payload::Noop),
        entry(3, Payload::Command(Reserve { count: count(1_000) }.encode())),
        entry(4, Payload::Command(Reserve { count: count(70) }.encode())),
    ];
    assert_eq!(next_unreserved(&store), Ok(1_075));
    let status = Node::new(config(1), Micros(0), store).unwrap().status();
    assert_eq!((status.next_unreserved, status.next_unreserved_in_log), (5, 1_075));
}

#[test]
fn a_node_tells_its_driver_how_long_it_tolerates_silence() {
    let node = Node::new(config(1), Micros(0), Recovered::default()).unwrap();
    assert_eq!(node.election_timeout_us(), ELECTION_TIMEOUT_US);
}

/// As where it has just joined: heartbeats come before the log, and with it the addresses.
#[test]
fn clients_of_a_node_that_knows_who_leads_and_not_where_wait_until_it_does() {
    let mut node = Node::new(config(1), Micros(0), Recovered::default()).unwrap();
    let heartbeat = Heartbeat {
        term: Term(1),
        leader_commit: LogIndex(0),
        round: Round(0),
        election_timeout_us: 300_000,
        is_stuck: false,
    };
    node.step(Micros(10), Input::Message { from: peer(2), message: Message::Heartbeat(heartbeat).into() });
    let leader = Some(peer(2).id);
    assert_eq!((node.status().leader, node.deadline().is_some()), (leader, true));
    let answers = |node: &mut Node| -> Vec<(RequestId, Answer)> {
        let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
        let answer = |output| {
            if let Output::Answer { request, answer } = output { Some((request, answer)) } else { None }
        };
        outputs.into_iter().filter_map(answer).collect()
    };
    node.step(Micros(20), Input::TakeIds { request: RequestId(1), count: count(1) });
    node.step(Micros(20), Input::Wake);
    assert_eq!(answers(&mut node), []);
    let snapshot = recovered(3, 1).snapshot.unwrap();
    let message = Message::InstallSnapshot(InstallSnapshot { term: Term(1), snapshot }).into();
    node.step(Micros(30), Input::Message { from: peer(2), message });
    let redirected = Answer::NotLeader { leader };
    assert_eq!(answers(&mut node), [(RequestId(1), redirected)]);
    node.step(Micros(40), Input::TakeIds { request: RequestId(2), count: count(1) });
    assert_eq!(answers(&mut node), [(RequestId(2), redirected)]);
}

/// Whoever turns the answer into a redirect must have heard of the address before.
#[test]
fn clients_are_sent_to_a_leader_after_its_address_is_reported_also_if_both_come_with_one_message() {
    let mut node = Node::new(config(1), Micros(0), Recovered::default()).unwrap();
    node.step(Micros(10), Input::TakeIds { request: RequestId(1), count: count(1) });
    let snapshot = recovered(3, 1).snapshot.unwrap();
    let message = Message::InstallSnapshot(InstallSnapshot { term: Term(1), snapshot }).into();
    node.step(Micros(20), Input::Message { from: peer(2), message });
    let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    let answer = Answer::NotLeader { leader: Some(peer(2).id) };
    let answered = Output::Answer { request: RequestId(1), answer };
    let reported = outputs.iter().position(|output| matches!(output, Output::MembershipChanged(_)));
    let answered = outputs.iter().position(|output| *output == answered);
    assert!(reported.is_some() && reported < answered, "{outputs:?}");
}
