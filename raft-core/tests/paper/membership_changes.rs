//! Membership (dissertation §4).

use std::sync::Arc;

use raft_core::{
    APPEND_BYTES_MAX, AppendEntries, AppendEntriesResponse, AppendOutcome, ChangeRefused, Entry, Incarnation,
    LogIndex, MembershipChange, Message, Micros, NotAppended, NotYet, Output, Payload, Peer, ProposalId,
    ProposalOutcome, Role, Suffrage, Term,
};

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::{
    ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US, add, config, id, membership, peer, recovered,
};

fn outcome(cluster: &mut Cluster, at: u64, wanted: ProposalId) -> Option<ProposalOutcome> {
    cluster.events(at).iter().find_map(|event| {
        if let Output::ProposalDone { proposal, outcome } = event
            && *proposal == wanted
        {
            Some(*outcome)
        } else {
            None
        }
    })
}

/// Nodes 1 and 2, of which 2 was added to a cluster of 1 and promoted, and now leads.
fn pair_led_by_the_newcomer() -> Cluster {
    let mut cluster = Cluster::led_by_1(&[1]);
    cluster.add(1, 2);
    cluster.settle();
    cluster.pass(2 * HEARTBEAT_INTERVAL_US);
    assert!(cluster.nodes[&1].raft.membership().is_voter(id(2)), "caught up and promoted");
    cluster.transfer(1, Some(2));
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
    cluster
}

/// §4.2.2: the entry that removes it may be nowhere but in its own log, and then nobody else can win. After a
/// restart its commit index stands at its snapshot, where it was no member yet: that must not keep it from
/// it.
#[test]
fn a_leader_that_alone_holds_its_own_removal_campaigns_after_a_restart_and_completes_it() {
    let mut cluster = pair_led_by_the_newcomer();
    cluster.cut_both(1, 2);
    cluster.remove(2, 2);
    cluster.settle();
    cluster.crash(2);
    cluster.restart(2);
    cluster.cut.clear();
    cluster.pass(10 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.role(1), Role::Leader);
    assert!(!cluster.nodes[&1].raft.committed_membership().contains(peer(2)), "the removal is committed");
}

/// The change holds from when it is in the log: where nobody could commit it, nothing else ever would be.
#[test]
fn a_voter_is_not_removed_where_those_left_that_live_are_no_majority_of_them() {
    for (voters, dead, asked_of) in [(&[1, 2, 3][..], &[3][..], 2), (&[1, 2, 3, 4, 5], &[4, 5], 3)] {
        let mut cluster = Cluster::led_by_1(voters);
        for number in dead {
            cluster.crash(*number);
        }
        cluster.pass(2 * ELECTION_TIMEOUT_US);
        for living in [asked_of, 1] {
            let proposal = cluster.remove(1, living);
            let refused = ProposalOutcome::NotAppended(NotAppended::Refused(ChangeRefused::NoQuorumLeft));
            assert_eq!(outcome(&mut cluster, 1, proposal), Some(refused), "{living} of {voters:?}");
        }
        // Whoever is dead can go, and then the other can.
        for gone in dead.iter().chain([&asked_of]) {
            let proposal = cluster.remove(1, *gone);
            cluster.settle();
            let done = outcome(&mut cluster, 1, proposal);
            assert!(matches!(done, Some(ProposalOutcome::Committed(_))), "{gone} of {voters:?}: {done:?}");
        }
    }
}

/// A new leader takes everybody for alive until they have had the time to answer.
#[test]
fn a_new_leader_removes_nobody_whom_the_others_may_need_before_it_knows_who_lives() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.crash(3);
    cluster.transfer(1, Some(2));
    cluster.settle();
    assert_eq!(cluster.role(2), Role::Leader);
    let proposal = cluster.remove(2, 1);
    let refused = ProposalOutcome::NotAppended(NotAppended::NotYet(NotYet::VotersLag));
    assert_eq!(outcome(&mut cluster, 2, proposal), Some(refused));
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    let proposal = cluster.remove(2, 1);
    let refused = ProposalOutcome::NotAppended(NotAppended::Refused(ChangeRefused::NoQuorumLeft));
    assert_eq!(outcome(&mut cluster, 2, proposal), Some(refused));
}

/// A hung disk does not keep its node from answering heartbeats, but nothing would be committed any more if
/// it were needed.
#[test]
fn a_voter_is_not_removed_while_a_disk_hangs_that_would_be_needed_without_it() {
    // A leader whose own disk hangs has handed over by then.
    for (hung, leader) in [(1, 2), (2, 1)] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        cluster.stalled.insert(hung);
        cluster.propose(1, "not durable with one");
        cluster.pass(2 * ELECTION_TIMEOUT_US);
        assert_eq!(cluster.role(leader), Role::Leader);
        let proposal = cluster.remove(leader, 3);
        cluster.settle();
        let refused = ProposalOutcome::NotAppended(NotAppended::NotYet(NotYet::VotersLag));
        assert_eq!(outcome(&mut cluster, leader, proposal), Some(refused), "{hung} hangs");
    }
}

/// Without the third, the disk that hangs is needed for every commit already, so that none shows that it
/// hangs.
#[test]
fn a_voter_that_is_dead_is_not_removed_while_a_disk_hangs_that_keeps_everything_from_being_committed() {
    for hung in [1, 2] {
        let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
        cluster.crash(3);
        cluster.pass(2 * ELECTION_TIMEOUT_US);
        cluster.stalled.insert(hung);
        cluster.propose(1, "not durable with two");
        cluster.pass(3 * ELECTION_TIMEOUT_US);
        assert_eq!(cluster.role(1), Role::Leader, "{hung} hangs");
        let proposal = cluster.remove(1, 3);
        let refused = ProposalOutcome::NotAppended(NotAppended::NotYet(NotYet::VotersLag));
        assert_eq!(outcome(&mut cluster, 1, proposal), Some(refused), "{hung} hangs");
        // The third comes back, and can still be of use.
        cluster.restart(3);
        cluster.pass(4 * ELECTION_TIMEOUT_US);
        assert!(
            cluster.leader().is_some_and(|leader| cluster.commit(leader.get()) > LogIndex(2)),
            "{hung} hangs"
        );
    }
}

/// With two of four dead, nothing is committed, and it is a removal that mends it.
#[test]
fn entries_that_wait_for_a_dead_voter_do_not_keep_it_from_being_removed() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3, 4]);
    cluster.crash(4);
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    cluster.crash(3);
    cluster.propose(1, "with two of four");
    cluster.pass(ELECTION_TIMEOUT_US / 2);
    assert_eq!(cluster.role(1), Role::Leader, "it has heard of 3 a moment ago");
    let proposal = cluster.remove(1, 4);
    cluster.settle();
    let done = outcome(&mut cluster, 1, proposal);
    assert!(matches!(done, Some(ProposalOutcome::Committed(_))), "{done:?}");
}

/// §4.2.1: a new server is a learner until it has caught up, and the leader then makes it a voter.
#[test]
fn a_learner_is_promoted_once_it_has_all_that_is_committed_and_not_before() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(4);
    let proposal = cluster.add(1, 4);
    cluster.settle();
    assert_eq!(outcome(&mut cluster, 1, proposal), Some(ProposalOutcome::Committed(LogIndex(3))));
    cluster.pass(4 * ELECTION_TIMEOUT_US);
    assert!(!cluster.nodes[&1].raft.membership().is_voter(id(4)), "it has heard nothing");
    cluster.cut.clear();
    cluster.pass(4 * HEARTBEAT_INTERVAL_US);
    assert!(cluster.nodes[&1].raft.committed_membership().is_voter(id(4)));
    assert_eq!(cluster.terms(4), cluster.terms(1));
}

/// §4.2.1: the last round of catching up must be a short one. Here a round is an election timeout, so a
/// learner lacks no more than what was committed since the last one began; having its own addition is not
/// enough.
#[test]
fn a_learner_that_lacks_more_than_an_election_timeouts_worth_is_not_promoted_on_the_way() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(4);
    cluster.add(1, 4);
    cluster.settle();
    for _ in 0..20 {
        cluster.propose(1, &"x".repeat(APPEND_BYTES_MAX));
        cluster.pass(ELECTION_TIMEOUT_US / 10);
    }
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    let settled = cluster.commit(1);
    cluster.cut.clear();
    let mut seen = Vec::new();
    for _ in 0..100 {
        cluster.wake(1);
        for number in [2, 3] {
            cluster.deliver(1, number);
            cluster.deliver(number, 1);
        }
        // One append for each heartbeat: what follows the first is lost.
        let mut appends = 0;
        for envelope in cluster.take(1, 4) {
            let is_heartbeat = matches!(envelope.message, Message::Heartbeat(_));
            appends += u32::from(!is_heartbeat);
            if is_heartbeat || appends == 1 {
                cluster.arrive(envelope);
            }
        }
        cluster.sync(4);
        cluster.deliver(4, 1);
        seen.extend(cluster.nodes[&1].raft.match_index(id(4)));
        if cluster.nodes[&1].raft.membership().is_voter(id(4)) {
            break;
        }
    }
    assert!(seen.iter().any(|at| (LogIndex(4)..settled).contains(at)), "on the way: {seen:?}");
    assert!(seen.last() >= Some(&settled), "promoted at {:?}, {settled} is long committed", seen.last());
}

#[test]
fn a_learner_neither_campaigns_nor_counts() {
    let mut cluster = Cluster::led_by_1(&[1, 2]);
    cluster.stalled.insert(4);
    cluster.add(1, 4);
    cluster.settle();
    cluster.sync(4);
    cluster.settle();
    let members = cluster.nodes[&4].raft.membership();
    assert!(members.contains(peer(4)) && !members.is_voter(id(4)), "it knows that it is a learner");
    cluster.cut_both(1, 2);
    // A change that waits to be committed, so that the learner is not promoted on the way.
    let (peer_address, client_address) = (String::new(), String::new());
    cluster.change(1, MembershipChange::Relocate { peer: peer(2), peer_address, client_address });
    cluster.settle();
    let before = cluster.commit(1);
    cluster.sync(4);
    cluster.deliver(4, 1);
    assert_eq!(cluster.nodes[&1].raft.match_index(id(4)), Some(LogIndex(4)));
    assert_eq!(cluster.commit(1), before, "a leader and a learner are no majority of two voters");
    for _ in 0..3 {
        cluster.wake(4);
        assert_eq!(cluster.role(4), Role::Follower);
    }
    assert_eq!(cluster.nodes[&4].raft.leader(), None);
}

/// The candidate may know of a promotion that the learner has not heard of: the learner's vote is then
/// needed.
#[test]
fn a_promoted_learner_that_has_not_heard_of_it_votes_and_is_counted() {
    let mut cluster = Cluster::led_by_1(&[1]);
    cluster.add(1, 2);
    cluster.sync(1);
    // Everything but the entry that promotes it reaches 2.
    while !cluster.nodes[&1].raft.membership().is_voter(id(2)) {
        assert!(cluster.deliver(1, 2) > 0);
        cluster.sync(2);
        cluster.deliver(2, 1);
    }
    cluster.network.clear();
    cluster.sync(1);
    assert!(!cluster.nodes[&2].raft.membership().is_voter(id(2)), "it has not heard of its promotion");
    cluster.crash(1);
    cluster.restart(1);
    cluster.pass(4 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.role(1), Role::Leader);
    assert!(cluster.nodes[&2].raft.committed_membership().is_voter(id(2)));
}

/// §4.1: "a server accepts AppendEntries requests from a leader that is not part of the server's latest
/// configuration", and votes for a candidate that is not.
#[test]
fn a_follower_that_has_not_heard_of_a_new_member_votes_for_it_and_follows_it() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(3);
    cluster.isolate(4);
    cluster.cut.retain(|(from, to)| [*from, *to].contains(&3));
    cluster.add(1, 4);
    cluster.settle();
    assert!(cluster.nodes[&4].raft.membership().is_voter(id(4)));
    assert!(!cluster.nodes[&3].raft.membership().members.contains_key(&id(4)), "3 has not heard of it");
    // Of four voters 1 is gone, so that 4 needs the vote of 3.
    cluster.crash(1);
    cluster.cut.clear();
    cluster.elect(4);
    assert_eq!(cluster.nodes[&3].raft.hard_state().voted_for, Some(peer(4)));
    cluster.pass(ELECTION_TIMEOUT_US);
    assert_eq!(cluster.nodes[&3].raft.leader(), Some(id(4)));
    assert_eq!(cluster.terms(3), cluster.terms(4));
}

/// §4.1: one change at a time.
#[test]
fn a_second_change_is_refused_until_the_first_is_committed() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.add(1, 4);
    let second = cluster.remove(1, 3);
    let refused = ProposalOutcome::NotAppended(NotAppended::NotYet(NotYet::InProgress));
    assert_eq!(outcome(&mut cluster, 1, second), Some(refused));
    cluster.settle();
    cluster.pass(4 * HEARTBEAT_INTERVAL_US);
    let third = cluster.remove(1, 3);
    cluster.settle();
    assert!(matches!(outcome(&mut cluster, 1, third), Some(ProposalOutcome::Committed(_))));
}

/// The published correction of §4.1 (raft-dev, July 2015): not before an entry of the leader's own term is
/// committed.
#[test]
fn a_change_is_refused_until_an_entry_of_the_leaders_own_term_is_committed() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    while cluster.role(1) != Role::Leader {
        cluster.sync_all();
        assert!(cluster.deliver_next());
    }
    let early = cluster.remove(1, 3);
    let refused = ProposalOutcome::NotAppended(NotAppended::NotYet(NotYet::LeaderTooNew));
    assert_eq!(outcome(&mut cluster, 1, early), Some(refused));
    cluster.settle();
    let later = cluster.remove(1, 3);
    cluster.settle();
    assert_eq!(outcome(&mut cluster, 1, later), Some(ProposalOutcome::Committed(LogIndex(3))));
}

/// The same rule makes a refusal final: who is told that there is no such member need not fear that the entry
/// of an earlier leader adds it after all. The leader that refuses has committed in its own term without that
/// entry.
#[test]
fn what_a_leader_refuses_does_not_come_true_by_an_entry_of_an_earlier_leader() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(1);
    cluster.add(1, 4);
    assert!(cluster.nodes[&1].raft.membership().contains(peer(4)));
    cluster.elect(2);
    let removal = cluster.remove(2, 4);
    let refused = ProposalOutcome::NotAppended(NotAppended::Refused(ChangeRefused::NoSuchMember));
    assert_eq!(outcome(&mut cluster, 2, removal), Some(refused));
    cluster.crash(2);
    cluster.cut.clear();
    cluster.pass(10 * ELECTION_TIMEOUT_US);
    let leader = cluster.leader().expect("1 and 3 are a majority");
    assert_eq!(leader, id(3), "1 lacks what 2 has committed");
    assert!(!cluster.nodes[&1].raft.membership().contains(peer(4)));
}

/// §4.1: a membership holds from the moment that it is in the log, committed or not.
#[test]
fn a_removed_voter_does_not_count_for_its_own_removal() {
    let mut cluster = Cluster::led_by_1(&[1, 2]);
    cluster.isolate(2);
    cluster.remove(1, 2);
    cluster.settle();
    assert_eq!(cluster.commit(1), LogIndex(3), "1 is a majority of the remaining one");
}

#[test]
fn an_uncommitted_membership_that_is_truncated_gives_way_to_the_one_before() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.isolate(1);
    cluster.remove(1, 3);
    cluster.settle();
    assert!(!cluster.nodes[&1].raft.membership().members.contains_key(&id(3)));
    cluster.elect(2);
    cluster.cut.clear();
    cluster.pass(2 * ELECTION_TIMEOUT_US);
    assert!(cluster.nodes[&1].raft.membership().is_voter(id(3)));
}

/// §4.2.2: "a leader that is removed from the configuration steps down once the C-new entry is committed",
/// manages the cluster until then without counting itself, and another takes over.
#[test]
fn a_leader_that_removes_itself_does_not_count_itself_and_hands_over_once_it_is_committed() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.remove(1, 1);
    cluster.sync(1);
    cluster.deliver(1, 2);
    cluster.sync(2);
    cluster.deliver(2, 1);
    assert_eq!(cluster.role(1), Role::Leader, "1 and 2 are no majority of 2 and 3");
    cluster.settle();
    assert_eq!(cluster.role(1), Role::Follower);
    let leader = cluster.leader().expect("another leads without an election timeout").get();
    assert!([2, 3].contains(&leader));
    cluster.pass(20 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.leader(), Some(id(leader)), "and the removed one does not disturb it");
    assert_eq!((cluster.role(1), cluster.nodes[&1].raft.current_term()), (Role::Follower, Term(2)));
}

/// §4.2.3: a removed server hears nothing more and campaigns; that must not disturb the others.
#[test]
fn a_removed_follower_that_has_not_heard_of_it_disturbs_nobody() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.remove(1, 3);
    cluster.settle();
    assert!(cluster.nodes[&3].raft.membership().members.contains_key(&id(3)), "nobody told it");
    cluster.pass(20 * ELECTION_TIMEOUT_US);
    assert_eq!(cluster.role(3), Role::PreCandidate);
    assert_eq!(cluster.role(1), Role::Leader);
    assert_eq!(cluster.nodes[&1].raft.current_term().0, 2);
}

#[test]
fn the_last_voter_cannot_be_removed_and_a_stranger_is_no_member() {
    let mut cluster = Cluster::led_by_1(&[1]);
    cluster.add(1, 2);
    cluster.sync(1);
    for (number, why) in [(1, ChangeRefused::LastVoter), (9, ChangeRefused::NoSuchMember)] {
        let proposal = cluster.remove(1, number);
        assert_eq!(
            outcome(&mut cluster, 1, proposal),
            Some(ProposalOutcome::NotAppended(NotAppended::Refused(why)))
        );
    }
}

/// Whoever asks for the removal of one life must not remove the next, which may have joined meanwhile.
#[test]
fn a_removal_that_names_another_life_removes_nobody() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let remove = |incarnation| MembershipChange::Remove { id: id(3), incarnation: Some(incarnation) };
    let another = cluster.change(1, remove(Incarnation(9)));
    let refused = ProposalOutcome::NotAppended(NotAppended::Refused(ChangeRefused::NoSuchMember));
    assert_eq!(outcome(&mut cluster, 1, another), Some(refused));
    let this = cluster.change(1, remove(Incarnation(1)));
    cluster.settle();
    assert!(matches!(outcome(&mut cluster, 1, this), Some(ProposalOutcome::Committed(_))));
    assert!(!cluster.nodes[&1].raft.membership().contains(peer(3)));
}

#[test]
fn adding_the_same_life_again_is_done_already_and_another_life_must_wait_for_its_removal() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let again = cluster.add(1, 2);
    assert_eq!(outcome(&mut cluster, 1, again), Some(ProposalOutcome::NotAppended(NotAppended::AlreadyDone)));
    let reborn = Peer { incarnation: Incarnation(2), ..peer(2) };
    let add = add(reborn);
    let taken = cluster.change(1, add.clone());
    let refused = ProposalOutcome::NotAppended(NotAppended::Refused(ChangeRefused::IdTaken));
    assert_eq!(outcome(&mut cluster, 1, taken), Some(refused));
    cluster.remove(1, 2);
    cluster.settle();
    let joined = cluster.change(1, add);
    cluster.settle();
    assert!(matches!(outcome(&mut cluster, 1, joined), Some(ProposalOutcome::Committed(_))));
    assert!(cluster.nodes[&1].raft.membership().contains(reborn));
    // What the former life says from now on counts for nothing.
    let answer = AppendEntriesResponse {
        term: Term(2),
        outcome: AppendOutcome::Matched { match_index: cluster.nodes[&1].raft.last_log_index() },
    };
    cluster.node(1).receive(peer(2), Message::AppendEntriesResponse(answer));
    assert_eq!(cluster.nodes[&1].raft.match_index(id(2)), Some(LogIndex(0)));
}

fn add_2_elsewhere() -> MembershipChange {
    let (peer_address, client_address) = ("elsewhere:1".to_owned(), "elsewhere:2".to_owned());
    MembershipChange::Add { peer: peer(2), peer_address, client_address }
}

#[test]
fn adding_the_same_life_again_from_elsewhere_moves_it_and_leaves_its_vote_alone() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let again = cluster.change(1, add_2_elsewhere());
    cluster.settle();
    assert!(matches!(outcome(&mut cluster, 1, again), Some(ProposalOutcome::Committed(_))));
    let members = &cluster.nodes[&1].raft.membership().members;
    assert_eq!(members[&id(2)].peer_address, "elsewhere:1");
    assert_eq!(members[&id(2)].suffrage, Suffrage::Voter);
}

#[test]
fn a_member_that_moved_is_found_at_its_new_address_and_keeps_its_vote() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let relocate = |incarnation| MembershipChange::Relocate {
        peer: Peer { incarnation, ..peer(3) },
        peer_address: "elsewhere:1".to_owned(),
        client_address: "elsewhere:2".to_owned(),
    };
    let stranger = cluster.change(1, relocate(Incarnation(9)));
    let refused = ProposalOutcome::NotAppended(NotAppended::Refused(ChangeRefused::NoSuchMember));
    assert_eq!(outcome(&mut cluster, 1, stranger), Some(refused));
    cluster.change(1, relocate(Incarnation(1)));
    cluster.settle();
    let moved = cluster.nodes[&2].raft.membership().members[&id(3)].clone();
    assert_eq!((moved.peer_address.as_str(), moved.suffrage), ("elsewhere:1", Suffrage::Voter));
}

/// A join that was killed before it heard the answer is run again, and may have got other ports: whoever adds
/// it must dial it there, because it knows nobody that it could dial itself.
#[test]
fn adding_a_member_again_in_the_same_life_records_where_it_listens_now_and_keeps_its_vote() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    cluster.change(1, add_2_elsewhere());
    cluster.settle();
    let membership = cluster.nodes[&1].raft.membership();
    assert_eq!(membership.members[&id(2)].peer_address, "elsewhere:1");
    assert!(membership.is_voter(id(2)));
}

/// One append brings both: whoever is then sent to the leader is sent to where it listens now.
#[test]
fn a_leader_is_named_after_the_membership_that_has_its_address() {
    let mut node = Node::new(config(peer(2)), Micros(0), recovered(membership(&[1, 2, 3], &[]), &[]));
    let mut moved = membership(&[1, 2, 3], &[]);
    moved.members.get_mut(&id(1)).expect("a voter").client_address = "elsewhere:8000".to_owned();
    let payload = Payload::Membership(Arc::new(moved.clone()));
    let append = AppendEntries {
        term: Term(2),
        prev_log_index: LogIndex(1),
        prev_log_term: Term(1),
        entries: vec![Entry { index: LogIndex(2), term: Term(2), payload }],
        leader_commit: LogIndex(1),
    };
    node.take_events();
    node.receive(peer(1), Message::AppendEntries(append));
    let told = node.take_events();
    let role = (Role::Follower, Term(2), Some(id(1)));
    assert!(
        matches!(&told[..], [Output::MembershipChanged(m), Output::RoleChanged { role: r, term, leader }]
            if **m == moved && (*r, *term, *leader) == role),
        "{told:?}"
    );
}
