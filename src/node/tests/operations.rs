//! What operators ask for, and what they are told.

use super::*;
use crate::codec::MEMBERS_MAX;

fn member(id: u64, suffrage: Suffrage) -> (NodeId, Member) {
    let member = Member {
        incarnation: peer(id).incarnation,
        suffrage,
        peer_address: format!("127.0.0.1:{}", 10_000 + id),
        client_address: format!("127.0.0.1:{}", 20_000 + id),
    };
    (peer(id).id, member)
}

/// The leader of a cluster with this many members. It is the only voter and never hears from the learners.
fn leader_of(members: usize) -> Node {
    let mut store = recovered(1, 1);
    let learners = (2..=u64::try_from(members).unwrap()).map(|id| member(id, Suffrage::Learner));
    let mut membership = (*store.snapshot.as_ref().unwrap().membership).clone();
    membership.members.extend(learners);
    let snapshot = (*store.snapshot.unwrap()).clone();
    store.snapshot = Some(Arc::new(Snapshot { membership: Arc::new(membership), ..snapshot }));
    let mut node = Node::new(config(1), Micros(0), store).unwrap();
    node.step(Micros(0), Input::Wake);
    assert_eq!(outcomes(&mut node), []);
    assert_eq!(node.status().role, Role::Leader);
    node
}

/// Makes every write durable, and returns what operators are told.
fn outcomes(node: &mut Node) -> Vec<OperationOutcome> {
    let mut outcomes = Vec::new();
    for _ in 0..INPUTS_MAX {
        let Some(output) = node.poll_output() else { return outcomes };
        if let Output::Write(write) = output {
            node.step(Micros(0), Input::WritesDurable { through: write.id });
        } else if let Output::OperationDone { outcome, .. } = output {
            outcomes.push(outcome);
        }
    }
    panic!("after {INPUTS_MAX} outputs there are more: {outcomes:?}");
}

fn change(node: &mut Node, change: MembershipChange) -> Vec<OperationOutcome> {
    node.step(Micros(0), Input::ChangeMembership { operation: OperationId(1), change });
    node.step(Micros(0), Input::Wake);
    outcomes(node)
}

fn add(id: u64) -> MembershipChange {
    let (_, Member { peer_address, client_address, .. }) = member(id, Suffrage::Learner);
    MembershipChange::Add { peer: peer(id), peer_address, client_address }
}

#[test]
fn a_cluster_takes_members_up_to_its_bound_and_no_more_before_one_has_left() {
    let mut node = leader_of(MEMBERS_MAX - 1);
    let done = |outcomes: &[OperationOutcome]| matches!(outcomes, [OperationOutcome::Done { .. }]);
    assert!(done(&change(&mut node, add(100))));
    assert_eq!(node.membership().members.len(), MEMBERS_MAX);
    assert_eq!(change(&mut node, add(101)), [OperationOutcome::TooManyMembers]);
    assert!(done(&change(&mut node, add(100))), "one that is a member already adds none");
    assert!(done(&change(&mut node, MembershipChange::Remove { id: peer(100).id, incarnation: None })));
    assert!(done(&change(&mut node, add(101))));
}

/// An earlier leader may have appended the join while there was room. Where a later one has no room left,
/// that entry is void: whoever is refused leaves no member behind.
#[test]
fn who_is_refused_as_one_too_many_is_not_taken_in_by_an_earlier_leader_after_all() {
    let mut bench = Bench::new(3, 1_000, 1);
    // The others are learners that never answer.
    bench.cut_off.resize(200, true);
    let first = bench.leader();
    let join = |bench: &mut Bench, at: usize, id: u64| {
        let change = add(id);
        bench.give(at, Input::ChangeMembership { operation: OperationId(id), change });
        bench.operations.pop()
    };
    for id in 4..u64::try_from(MEMBERS_MAX).unwrap() {
        let joined = join(&mut bench, first, id);
        assert!(matches!(joined, Some((_, OperationOutcome::Done { .. }))), "{joined:?}");
    }
    bench.cut_off[first] = true;
    assert_eq!(join(&mut bench, first, 100), None);
    assert_eq!(bench.nodes[first].membership().members.len(), MEMBERS_MAX);

    let second = bench.leader();
    assert_eq!(bench.operations.pop(), Some((OperationId(100), OperationOutcome::Unknown)));
    let joined = join(&mut bench, second, 101);
    assert!(matches!(joined, Some((_, OperationOutcome::Done { .. }))), "{joined:?}");
    let refused = Some((OperationId(100), OperationOutcome::TooManyMembers));
    assert_eq!(join(&mut bench, second, 100), refused);

    (bench.cut_off[first], bench.cut_off[second]) = (false, true);
    bench.leader();
    assert!(!bench.nodes[first].membership().members.contains_key(&peer(100).id));
}

#[test]
fn a_transfer_to_a_voter_takes_place_and_one_to_a_learner_or_a_stranger_is_refused() {
    let mut node = leader_of(2);
    let stranger = OperationOutcome::Refused(ChangeRefused::NoSuchMember);
    for (id, refused) in [(2, OperationOutcome::NotAVoter), (9, stranger)] {
        let to = Some(peer(id).id);
        node.step(Micros(0), Input::TransferLeadership { operation: OperationId(1), to });
        node.step(Micros(0), Input::Wake);
        assert_eq!(outcomes(&mut node), [refused], "{id}");
    }
    node.step(Micros(0), Input::TransferLeadership { operation: OperationId(1), to: None });
    node.step(Micros(0), Input::Wake);
    assert_eq!(outcomes(&mut node), [OperationOutcome::NoOtherVoter], "a learner cannot lead");

    let mut bench = Bench::new(3, 1_000, 1);
    let leader = bench.leader();
    let target = (leader + 1) % 3;
    bench.give(leader, transfer(1, Some(target)));
    bench.pass(SECOND_US);
    let transferred = (OperationId(1), OperationOutcome::Transferred { leader: peer_at(target).id });
    assert_eq!(bench.operations, [transferred]);
    assert_eq!(bench.nodes[leader].status().leader, Some(peer_at(target).id));
    bench.give(target, transfer(2, Some(target)));
    let done = bench.operations.last();
    assert!(matches!(done, Some((OperationId(2), OperationOutcome::Done { .. }))), "it leads: {done:?}");
}

/// How a transfer of three nodes begins: who leads, the target, and the third. The target is cut off.
fn transfer_to_who_is_cut_off(bench: &mut Bench) -> (usize, usize, usize) {
    let leader = bench.leader();
    let (target, other) = ((leader + 1) % 3, (leader + 2) % 3);
    bench.cut_off[target] = true;
    bench.give(leader, transfer(1, Some(target)));
    assert_eq!(bench.operations, []);
    (leader, target, other)
}

fn transfer(operation: u64, to: Option<usize>) -> Input {
    Input::TransferLeadership { operation: OperationId(operation), to: to.map(|at| peer_at(at).id) }
}

/// Whoever asks must not wait where nothing can come of it.
#[test]
fn who_does_not_lead_says_so_however_many_operations_are_under_way() {
    let mut bench = Bench::new(3, 1_000, 1);
    let (leader, target, _) = transfer_to_who_is_cut_off(&mut bench);
    for operation in 2..100 {
        bench.give(leader, transfer(operation, Some(target)));
    }
    assert_eq!(bench.operations.last(), Some(&(OperationId(99), OperationOutcome::Busy)));
    bench.cut_off[leader] = true;
    bench.pass_until("it no longer leads", |bench| bench.nodes[leader].leadership.is_none());
    let change = MembershipChange::Remove { id: peer_at(target).id, incarnation: None };
    bench.give(leader, Input::ChangeMembership { operation: OperationId(100), change });
    let told = bench.operations.last();
    assert_eq!(told, Some(&(OperationId(100), OperationOutcome::NotLeader { leader: None })));
}

/// The target is never told to campaign. A later term begins, but with another leader.
#[test]
fn a_transfer_that_another_than_the_target_wins_says_who_leads() {
    let mut bench = Bench::new(5, 1_000, 1);
    let leader = bench.leader();
    let target = (leader + 1) % 5;
    bench.cut_off[target] = true;
    bench.give(leader, transfer(1, Some(target)));
    bench.cut_off[leader] = true;
    for other in (0..5).filter(|at| *at != leader) {
        bench.give(other, Input::PeerUnreachable(peer_at(leader)));
    }
    bench.pass(100_000);
    let leads = |at: &usize| *at != leader && bench.nodes[*at].status().role == Role::Leader;
    let next = (0..5).find(leads).expect("another was elected");
    assert_eq!(bench.operations, []);
    bench.cut_off[leader] = false;
    bench.pass(100_000);
    assert_ne!(next, target);
    let transferred = OperationOutcome::Transferred { leader: peer_at(next).id };
    assert_eq!(bench.operations, [(OperationId(1), transferred)]);
}

#[test]
fn a_leader_that_steps_down_during_a_transfer_waits_for_the_name_of_the_next_and_not_for_ever() {
    let mut bench = Bench::new(3, 1_000, 1);
    let (leader, ..) = transfer_to_who_is_cut_off(&mut bench);
    let until = bench.now.plus(600_000);
    bench.cut_off[leader] = true;
    bench.pass(until.since(bench.now) - 10_000);
    assert_ne!(bench.nodes[leader].status().role, Role::Leader);
    assert_eq!(bench.operations, []);
    assert!(bench.nodes[leader].deadline() <= Some(until));
    bench.pass(10_000);
    assert_eq!(bench.operations, [(OperationId(1), OperationOutcome::TransferFailed)]);
}

/// Only its log has what it appended last, so nobody else can be elected.
#[test]
fn a_transfer_whose_leader_is_elected_again_has_failed() {
    let mut bench = Bench::new(2, 0, 1);
    let leader = bench.leader();
    bench.cut_off[1 - leader] = true;
    bench.take(leader, 1, 1);
    bench.give(leader, transfer(1, Some(1 - leader)));
    bench.pass_until("it steps down", |bench| bench.nodes[leader].leadership.is_none());
    assert_eq!(bench.operations, []);
    bench.cut_off[1 - leader] = false;
    bench.give(leader, Input::PeerUnreachable(peer_at(1 - leader)));
    bench.pass_until("it is elected again", |bench| {
        let leads = bench.nodes[leader].leadership.is_some();
        assert!(leads || bench.operations.is_empty(), "{:?}", bench.operations);
        leads
    });
    assert_eq!(bench.operations, [(OperationId(1), OperationOutcome::TransferFailed)]);
}

/// A removal of the leader begins one that no operator waits for.
#[test]
fn a_transfer_that_is_asked_for_during_another_of_the_leaders_own_has_a_deadline_of_its_own() {
    let mut bench = Bench::new(5, 1_000, 1);
    let leader = bench.leader();
    bench.stalled = (0..5).map(|at| at != leader).collect();
    for _ in 0..5 {
        let id = peer_at(leader).id.get();
        bench.give(leader, Input::ChangeMembership { operation: OperationId(9), change: remove(id, None) });
        bench.pass(50_000);
    }
    assert!(bench.operations.iter().all(|done| *done == (OperationId(9), OperationOutcome::HandingOver)));
    bench.operations.clear();
    let target_id = bench.nodes[leader].raft().transfer_target();
    let target = (0..5).find(|at| Some(peer_at(*at).id) == target_id).unwrap();
    let other = (0..5).find(|at| ![leader, target].contains(at)).unwrap();
    // The one may have been told to campaign, so the other is not told as well.
    bench.give(leader, transfer(2, Some(other)));
    assert_eq!(bench.operations, [(OperationId(2), OperationOutcome::HandingOver)]);
    bench.operations.clear();
    bench.give(leader, transfer(1, Some(target)));
    bench.pass(200_000);
    assert_eq!(bench.operations, [], "that of the first has passed");
    bench.pass(150_000);
    assert_eq!(bench.operations, [(OperationId(1), OperationOutcome::TransferFailed)]);
}

#[test]
fn a_removal_of_the_leader_that_is_asked_for_again_and_again_does_not_keep_the_leader_from_appending() {
    let mut bench = Bench::new(3, 1_000, 1);
    let leader = bench.leader();
    bench.stalled = (0..3).map(|at| at != leader).collect();
    let id = peer_at(leader).id.get();
    let mut appends = false;
    for _ in 0..20 {
        appends |= bench.nodes[leader].raft().accepts_proposals();
        bench.give(leader, Input::ChangeMembership { operation: OperationId(9), change: remove(id, None) });
        bench.pass(30_000);
    }
    assert!(appends);
}

#[test]
fn a_second_transfer_to_another_target_is_put_off_and_leaves_the_first_alone() {
    let mut bench = Bench::new(3, 1_000, 1);
    let (leader, target, other) = transfer_to_who_is_cut_off(&mut bench);
    bench.give(leader, transfer(2, Some(other)));
    assert_eq!(bench.operations, [(OperationId(2), OperationOutcome::HandingOver)]);
    bench.cut_off[target] = false;
    bench.pass(SECOND_US);
    let transferred = OperationOutcome::Transferred { leader: peer_at(target).id };
    assert_eq!(bench.operations.last(), Some(&(OperationId(1), transferred)));
    bench.give(target, transfer(3, Some(other)));
    bench.pass(SECOND_US);
    let transferred = OperationOutcome::Transferred { leader: peer_at(other).id };
    assert_eq!(bench.operations.last(), Some(&(OperationId(3), transferred)));
}

#[test]
fn a_second_transfer_to_the_same_target_or_to_anybody_ends_with_the_first() {
    for ends in [true, false] {
        let mut bench = Bench::new(3, 1_000, 1);
        let (leader, target, _) = transfer_to_who_is_cut_off(&mut bench);
        bench.pass(100_000);
        bench.give(leader, transfer(2, Some(target)));
        bench.give(leader, transfer(3, None));
        assert_eq!(bench.operations, []);
        bench.cut_off[target] = !ends;
        bench.pass(250_000);
        let transferred = OperationOutcome::Transferred { leader: peer_at(target).id };
        let outcome = if ends { transferred } else { OperationOutcome::TransferFailed };
        assert_eq!(bench.operations, [1, 2, 3].map(|id| (OperationId(id), outcome)));
    }
}

/// The voter that is to lead does not answer. Until the leader gives up the transfer, it appends nothing.
#[test]
fn a_transfer_that_fails_says_so_and_what_had_to_wait_for_it_goes_on() {
    let mut bench = Bench::new(3, 0, 1);
    let leader = bench.leader();
    let silent = (leader + 1) % 3;
    bench.cut_off[silent] = true;
    bench.give(leader, transfer(1, Some(silent)));
    bench.give(leader, Input::ChangeMembership { operation: OperationId(2), change: add(9) });
    assert_eq!(bench.operations, [(OperationId(2), OperationOutcome::HandingOver)]);
    bench.take(leader, 1, 3);
    assert_eq!(bench.answer(1), None);
    bench.pass(SECOND_US);
    assert_eq!(bench.operations.last(), Some(&(OperationId(1), OperationOutcome::TransferFailed)));
    assert_eq!(bench.answer(1), ids(1, 3), "the reservation that was refused meanwhile was made again");
}

#[test]
fn a_follower_changes_nothing_and_names_the_leader() {
    let mut bench = Bench::new(3, 1_000, 1);
    let leader = bench.leader();
    let follower = (leader + 1) % 3;
    bench.give(follower, Input::ChangeMembership { operation: OperationId(1), change: add(9) });
    bench.give(follower, Input::TransferLeadership { operation: OperationId(2), to: None });
    let not_leader = OperationOutcome::NotLeader { leader: Some(peer_at(leader).id) };
    assert_eq!(bench.operations, [(OperationId(1), not_leader), (OperationId(2), not_leader)]);
}

#[test]
fn a_window_does_not_grow_because_a_transfer_keeps_reservations_waiting() {
    let mut bench = Bench::new(3, 1_000_000, 1);
    let leader = bench.leader();
    let to = (0..3).find(|at| *at != leader).unwrap();
    bench.cut_off[to] = true;
    let reservations = bench.nodes[leader].counts().reservations;
    bench.give(leader, transfer(1, Some(to)));
    bench.take(leader, 1, 5_000);
    for _ in 0..30 {
        bench.give(leader, Input::Wake);
    }
    assert_eq!(bench.answer(1), None, "more than the window has");
    assert_eq!(bench.nodes[leader].counts().reservations, reservations, "none was asked for in vain");
    bench.pass(SECOND_US);
    assert!(matches!(bench.answer(1), Some(Answer::Ids { .. })), "the transfer was given up");
    let left = bench.nodes[leader].status().window.unwrap().left;
    assert!(left <= 4_000, "{left} IDs are left of a window that was doubled once");
}

/// Each proposal has a number of its own, by which it is recognised when it is done.
#[test]
fn of_two_changes_each_gets_its_own_answer() {
    let mut bench = Bench::new(3, 1_000, 1);
    let leader = bench.leader();
    let relocate = |id| MembershipChange::Relocate {
        peer: peer(id),
        peer_address: "elsewhere:9000".to_owned(),
        client_address: "elsewhere:8000".to_owned(),
    };
    bench.cut_off = (0..3).map(|at| at != leader).collect();
    bench.give(leader, Input::ChangeMembership { operation: OperationId(1), change: relocate(1) });
    bench.give(leader, Input::ChangeMembership { operation: OperationId(2), change: relocate(2) });
    assert_eq!(bench.operations, [(OperationId(2), OperationOutcome::Busy)]);
    bench.cut_off = vec![false; 3];
    bench.pass(200_000);
    let first = bench.operations.last();
    assert!(matches!(first, Some((OperationId(1), OperationOutcome::Done { .. }))), "{first:?}");
}

fn remove(id: u64, incarnation: Option<Incarnation>) -> MembershipChange {
    MembershipChange::Remove { id: peer(id).id, incarnation }
}

/// Another node may lead by now and have changed the membership.
#[test]
fn what_a_leader_says_of_its_membership_from_memory_is_said_once_a_majority_still_follows_it() {
    let refused = |reason| OperationOutcome::Refused(reason);
    let taken = MembershipChange::Add {
        peer: Peer { id: peer(3).id, incarnation: Incarnation(99) },
        peer_address: String::new(),
        client_address: String::new(),
    };
    for (change, outcome) in [
        (remove(9, None), refused(ChangeRefused::NoSuchMember)),
        (remove(3, Some(Incarnation(99))), refused(ChangeRefused::NoSuchMember)),
        (taken, refused(ChangeRefused::IdTaken)),
    ] {
        let mut bench = Bench::new(3, 1_000, 1);
        let leader = bench.leader();
        bench.give(leader, Input::ChangeMembership { operation: OperationId(1), change: change.clone() });
        assert_eq!(bench.operations, [(OperationId(1), outcome)]);
        bench.cut_off[leader] = true;
        bench.give(leader, Input::ChangeMembership { operation: OperationId(2), change });
        assert_eq!(bench.operations.len(), 1, "nobody has confirmed that it leads");
        bench.pass(2 * SECOND_US);
        let not_leader = OperationOutcome::NotLeader { leader: None };
        assert_eq!(bench.operations.get(1), Some(&(OperationId(2), not_leader)));
    }
}

/// An operator that asks again because the answer takes long must not be told that it is done.
#[test]
fn a_removal_that_is_not_committed_yet_is_under_way_and_not_done() {
    let mut bench = Bench::new(3, 1_000, 1);
    let leader = bench.leader();
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    let gone = peer_at(others[1]).id.get();
    others.iter().for_each(|other| bench.cut_off[*other] = true);
    for operation in [1, 2] {
        let change = remove(gone, Some(peer(gone).incarnation));
        bench.give(leader, Input::ChangeMembership { operation: OperationId(operation), change });
    }
    assert_eq!(bench.operations, [(OperationId(2), OperationOutcome::Busy)]);
}
