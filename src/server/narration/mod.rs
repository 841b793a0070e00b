//! What the log says about the cluster, in words for operators: one line per change. Pure: others write the
//! lines.

pub(crate) mod log_limit;
pub(crate) mod reminder;
pub(crate) mod state_log;

use raft_core::{Member, Membership, NodeId, Peer, Role, Suffrage, Term};

use crate::server::shutdown::Shutdown;
use crate::storage::StoreError;

/// A change of role, term or leader, as seen by `me`.
pub(crate) fn role_line(me: NodeId, role: Role, term: Term, leader: Option<NodeId>) -> String {
    match (role, leader) {
        (Role::Leader, _) => format!("node {me} leads in term {term}"),
        (Role::Candidate, _) => format!("node {me} stands for election in term {term}"),
        (Role::PreCandidate, _) => {
            format!("node {me} hears no leader in term {term} and asks whether it could win an election")
        }
        (Role::Follower, Some(leader)) => format!("node {me} follows node {leader} in term {term}"),
        (Role::Follower, None) => format!("node {me} waits for a leader in term {term}"),
    }
}

/// Why a node no longer leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StepDown {
    /// A write has failed.
    WriteFailed,
    /// It was removed from the cluster.
    Removed,
    /// A later term has begun.
    LaterTerm,
    /// Check-quorum.
    NoMajority,
}

/// This node has ceased to lead.
pub(crate) fn step_down_line(me: NodeId, why: StepDown, term: Term) -> String {
    let why = match why {
        StepDown::WriteFailed => "its disk has failed",
        StepDown::Removed => "it is no longer a member",
        StepDown::LaterTerm => "an election has begun",
        StepDown::NoMajority => "it has not heard a majority for an election timeout",
    };
    format!("node {me} no longer leads, because {why}, and waits for a leader in term {term}")
}

/// This node was asked to stop, if by a signal then by one of this name; and what follows.
pub(crate) fn stop_line(signal: Option<&str>, shutdown: Shutdown) -> String {
    let asked = signal.map_or_else(|| "asked to stop".to_owned(), |name| format!("asked to stop by {name}"));
    match shutdown {
        Shutdown::Serving | Shutdown::Draining { .. } => asked,
        Shutdown::HandingOver { .. } => format!("{asked}: handing over first"),
        Shutdown::Ended(_) => format!("{asked} again: not waiting for anything"),
    }
}

/// No leader has been known for this many microseconds. `missing` are the voters that this node, if it is a
/// voter, does not hear, or, if it is a learner, cannot reach.
pub(crate) fn leaderless_line(me: NodeId, us: u64, membership: &Membership, missing: &[NodeId]) -> String {
    let (majority, names) = (majority(membership), names(missing));
    let missing = match (membership.is_voter(me), missing.is_empty()) {
        (true, true) => ", and all are heard".to_owned(),
        (true, false) => format!(", and {names} cannot be heard"),
        (false, true) => String::new(),
        (false, false) => format!(", and {names} cannot be reached"),
    };
    format!(
        "node {me} has known no leader for {} and answers clients 503; it takes {majority}{missing}",
        seconds(us)
    )
}

/// The leader has committed nothing for this many microseconds, although there is something to commit.
/// `behind` are the other voters that are not known to have written all of it.
pub(crate) fn uncommitted_line(us: u64, membership: &Membership, behind: &[NodeId]) -> String {
    let (majority, names) = (majority(membership), names(behind));
    let behind = match behind.len() {
        0 => String::new(),
        1 => format!(", and {names} has not written what it was sent"),
        _ => format!(", and {names} have not written what they were sent"),
    };
    format!(
        "nothing has been committed for {}, and requests may wait for it; it takes {majority}{behind}",
        seconds(us)
    )
}

fn majority(membership: &Membership) -> String {
    format!("{} of {} voters", membership.quorum(), membership.voters().count())
}

fn names(ids: &[NodeId]) -> String {
    ids.iter().map(|id| format!("node {id}")).collect::<Vec<_>>().join(" and ")
}

/// The oldest write has waited for this many microseconds.
pub(crate) fn disk_line(us: u64) -> String {
    format!("a write has waited for the disk for {}", seconds(us))
}

/// A stopping node has been waiting for its disk, which had this many writes to take when the wait began.
pub(crate) fn closing_line(writes: u64) -> String {
    let what = match writes {
        0 => "the disk to close the store".to_owned(),
        1 => "the disk to take 1 write".to_owned(),
        2.. => format!("the disk to take {writes} writes"),
    };
    format!("waiting for {what}; a second SIGTERM or SIGINT ends this node at once")
}

/// A write has failed with this error, or what was written is lost.
pub(crate) fn failed_line(me: NodeId, error: &StoreError) -> String {
    format!("node {me} takes no part: {error}")
}

/// The leader has not heard this member, to which it has a link, for this many microseconds.
pub(crate) fn silent_line(member: NodeId, us: u64) -> String {
    format!(
        "node {member} is connected and has said nothing for {}: its process may hang, its disk may have \
         failed, or it cannot reach this node",
        seconds(us)
    )
}

/// The leader has not heard this member, to which it has no link, for this many microseconds.
pub(crate) fn unreachable_line(member: NodeId, us: u64) -> String {
    format!("node {member} has not been heard for {}, and cannot be reached", seconds(us))
}

/// No member has connected to this node, which announces this address, for this many microseconds.
pub(crate) fn unconnected_line(address: &str, us: u64) -> String {
    format!("no member has connected to this node for {}: can they reach it at {address}?", seconds(us))
}

/// This member is connected to this node, which has not reached it at this address for this many
/// microseconds, and failed with this error when it last tried.
pub(crate) fn unreached_line(member: NodeId, address: &str, us: u64, error: Option<&str>) -> String {
    let error = error.map(|error| format!(" ({error})")).unwrap_or_default();
    format!(
        "node {member} has been heard, but not reached at {address}, for {}{error}: commands, and perhaps \
         clients, that are sent there when it leads will fail; correct its --advertise or --host, or \
         whatever resolves that name or blocks its raft port",
        seconds(us)
    )
}

/// A member connects from the first of these addresses, where it was displaced before by the second.
pub(crate) fn rivals_line(id: NodeId, [newest, former]: [&String; 2]) -> String {
    format!(
        "node {id} connects from {newest} again and is still connected from {former}, in turn: two processes \
         run, one with a copy of the other's store, and IDs may repeat; stop both, \
         'ticketd leave --id {id}' at another member, and join again"
    )
}

/// A span of time, in seconds.
pub(crate) fn seconds(us: u64) -> String {
    format!("{}.{} s", us / 1_000_000, us / 100_000 % 10)
}

/// The differences between two memberships, as seen by `me`, and all members of the later one. `None` if both
/// are of a time before this node joined: it receives these first, and an operator would take them for news.
pub(crate) fn membership_line(me: Peer, before: &Membership, after: &Membership) -> Option<String> {
    match (before.contains(me), after.contains(me)) {
        (false, false) => None,
        (false, true) => Some(format!("members: {}", all_members(after))),
        (true, _) => Some(changes_line(before, after)),
    }
}

fn changes_line(before: &Membership, after: &Membership) -> String {
    let mut changes: Vec<String> = Vec::new();
    for (id, member) in &after.members {
        changes.extend(member_change(*id, before.members.get(id), member));
    }
    for id in before.members.keys().filter(|id| !after.members.contains_key(id)) {
        changes.push(format!("node {id} left"));
    }
    format!("{}; members: {}", changes.join(", "), all_members(after))
}

fn all_members(membership: &Membership) -> String {
    let names = membership.members.iter().map(|(id, member)| member_name(*id, member));
    names.collect::<Vec<_>>().join(", ")
}

fn member_change(id: NodeId, before: Option<&Member>, after: &Member) -> Option<String> {
    let Some(before) = before else {
        return Some(format!("node {id} joined at {}", after.peer_address));
    };
    if before.incarnation != after.incarnation {
        return Some(format!("node {id} joined again at {}", after.peer_address));
    }
    if before.suffrage != after.suffrage {
        return Some(match after.suffrage {
            Suffrage::Voter => format!("node {id} has caught up and votes"),
            Suffrage::Learner => format!("node {id} no longer votes"),
        });
    }
    (before != after)
        .then(|| format!("node {id} moved to {} (clients: {})", after.peer_address, after.client_address))
}

fn member_name(id: NodeId, member: &Member) -> String {
    match member.suffrage {
        Suffrage::Voter => id.to_string(),
        Suffrage::Learner => format!("{id} (learner)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::shutdown::Exit;
    use raft_core::{Incarnation, Micros};

    fn membership(members: &[(u64, u128, Suffrage, &str)]) -> Membership {
        let mut membership = Membership::default();
        for (id, incarnation, suffrage, host) in members {
            let member = Member {
                incarnation: Incarnation(*incarnation),
                suffrage: *suffrage,
                peer_address: format!("{host}:9000"),
                client_address: format!("{host}:8000"),
            };
            membership.members.insert(NodeId::new(*id).unwrap(), member);
        }
        membership
    }

    #[test]
    fn each_change_of_membership_is_named_and_the_members_follow() {
        use Suffrage::{Learner, Voter};
        let one = [(1, 1, Voter, "a")];
        let joined = [(1, 1, Voter, "a"), (2, 2, Learner, "b")];
        let voting = [(1, 1, Voter, "a"), (2, 2, Voter, "b")];
        let moved = [(1, 1, Voter, "a"), (2, 2, Voter, "c")];
        let anew = [(1, 1, Voter, "a"), (2, 3, Learner, "c")];
        let me = Peer { id: NodeId::new(1).unwrap(), incarnation: Incarnation(1) };
        let line =
            |before: &[_], after: &[_]| membership_line(me, &membership(before), &membership(after)).unwrap();
        assert_eq!(line(&one, &joined), "node 2 joined at b:9000; members: 1, 2 (learner)");
        assert_eq!(line(&joined, &voting), "node 2 has caught up and votes; members: 1, 2");
        assert_eq!(line(&voting, &moved), "node 2 moved to c:9000 (clients: c:8000); members: 1, 2");
        assert_eq!(line(&moved, &anew), "node 2 joined again at c:9000; members: 1, 2 (learner)");
        assert_eq!(line(&voting, &one), "node 2 left; members: 1");
    }

    #[test]
    fn of_what_was_before_this_node_joined_nothing_is_told_but_what_its_removal_leaves() {
        use Suffrage::{Learner, Voter};
        let before = [(1, 1, Voter, "a"), (2, 2, Voter, "b")];
        let former = [(1, 1, Voter, "a"), (3, 3, Voter, "c")];
        let joined = [(1, 1, Voter, "a"), (4, 4, Voter, "d"), (3, 9, Learner, "c")];
        let me = Peer { id: NodeId::new(3).unwrap(), incarnation: Incarnation(9) };
        let line = |before: &[_], after: &[_]| membership_line(me, &membership(before), &membership(after));
        for (earlier, later) in [(&[][..], &before[..]), (&before, &former)] {
            assert_eq!(line(earlier, later), None);
        }
        // Not what has changed since some former membership.
        assert_eq!(line(&former, &joined).unwrap(), "members: 1, 3 (learner), 4");
        assert_eq!(line(&joined, &joined[..2]).unwrap(), "node 3 left; members: 1, 4");
    }

    #[test]
    fn who_is_silent_is_named_where_nobody_leads() {
        use Suffrage::{Learner, Voter};
        let members =
            membership(&[(1, 1, Voter, "a"), (2, 2, Voter, "b"), (3, 3, Voter, "c"), (4, 4, Learner, "d")]);
        let [me, two, three] = [1, 2, 3].map(|id| NodeId::new(id).unwrap());
        assert_eq!(
            leaderless_line(me, 2_345_678, &members, &[two, three]),
            "node 1 has known no leader for 2.3 s and answers clients 503; it takes 2 of 3 voters, and node \
             2 and node 3 cannot be heard"
        );
        assert!(leaderless_line(me, 2_345_678, &members, &[]).ends_with("and all are heard"));
        let learner = NodeId::new(4).unwrap();
        let said = |missing: &[NodeId]| leaderless_line(learner, 2_345_678, &members, missing);
        assert!(said(&[]).ends_with("; it takes 2 of 3 voters"), "{}", said(&[]));
        assert!(said(&[two]).ends_with("; it takes 2 of 3 voters, and node 2 cannot be reached"));
    }

    #[test]
    fn who_has_not_written_is_named_where_nothing_is_committed() {
        use Suffrage::Voter;
        let members = membership(&[(1, 1, Voter, "a"), (2, 2, Voter, "b"), (3, 3, Voter, "c")]);
        let [two, three] = [2, 3].map(|id| NodeId::new(id).unwrap());
        let said = |behind: &[NodeId]| uncommitted_line(2_345_678, &members, behind);
        let all =
            "nothing has been committed for 2.3 s, and requests may wait for it; it takes 2 of 3 voters";
        assert_eq!(said(&[]), all);
        assert_eq!(said(&[two]), format!("{all}, and node 2 has not written what it was sent"));
        let both = format!("{all}, and node 2 and node 3 have not written what they were sent");
        assert_eq!(said(&[two, three]), both);
    }

    #[test]
    fn a_node_that_stops_says_how_many_writes_it_waits_for_and_how_to_end_it() {
        for (writes, what) in [
            (0, "the disk to close the store"),
            (1, "the disk to take 1 write"),
            (20, "the disk to take 20 writes"),
        ] {
            let expected = format!("waiting for {what}; a second SIGTERM or SIGINT ends this node at once");
            assert_eq!(closing_line(writes), expected);
        }
    }

    #[test]
    fn who_asked_a_node_to_stop_is_named_and_what_comes_of_it() {
        let until = Micros(0);
        let said = |shutdown| stop_line(Some("SIGTERM"), shutdown);
        assert_eq!(
            stop_line(None, Shutdown::Draining { grace_until: None, until, exit: Exit::Stopped }),
            "asked to stop"
        );
        assert_eq!(
            said(Shutdown::Draining { grace_until: None, until, exit: Exit::Stopped }),
            "asked to stop by SIGTERM"
        );
        assert_eq!(said(Shutdown::HandingOver { until }), "asked to stop by SIGTERM: handing over first");
        assert_eq!(
            said(Shutdown::Ended(Exit::Interrupted)),
            "asked to stop by SIGTERM again: not waiting for anything"
        );
    }
}
