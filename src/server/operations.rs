//! Operations: what operators request on the peer port, and what the server requests of its own node.

use std::collections::BTreeMap;
use std::fmt;

use raft_core::{ChangeRefused, LogIndex, Membership, MembershipChange, Micros, NodeId};

use super::context::{Context, Me};
use super::narration::log_limit::LogLimit;
use super::peers::connections::{Announcement, PeerConnectionId};
use super::peers::links::Links;
use super::status;
use crate::node::{Input, OperationId, OperationOutcome};
use crate::peer::{AdminRequest, AdminResponse, RefusedReason, RetryReason};

/// The operations that the node has not finished. The node bounds how many wait and ends the others at once.
#[derive(Debug, Default)]
pub(super) struct Operations {
    last: u64,
    pending: BTreeMap<OperationId, Purpose>,
    /// Bounds the lines that say what operators request: a supervisor repeats a command that fails.
    requests: LogLimit,
    /// What was requested last, until it can be carried out: the command repeats it every moment.
    unmet: Option<String>,
    /// Bounds the lines that say why nothing came of it.
    refusals: LogLimit,
}

/// What an operation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// An operator waits for it.
    Operator { connection: PeerConnectionId, asked: Asked },
    /// A member's new address is being recorded.
    Relocation,
    /// Another node is to lead, because this one stops.
    HandOver,
}

/// What an operator requested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Join(NodeId),
    Remove(NodeId),
    Transfer(Option<NodeId>),
}

/// What the server must do when an operation has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Concluded {
    /// Answer an operator.
    Answer(PeerConnectionId, AdminResponse),
    /// The hand-over before a stop has ended.
    HandOver(OperationOutcome),
    /// Nothing: nobody waits for it.
    Nothing,
}

impl Operations {
    /// Begins an operator's operation. Returns the answer if it is known at once; otherwise the answer comes
    /// from [`Operations::conclude`].
    pub(super) fn begin(
        &mut self,
        ctx: &mut Context,
        links: &Links,
        connection: PeerConnectionId,
        request: AdminRequest,
    ) -> Option<AdminResponse> {
        if let AdminRequest::Remove { cluster, .. } | AdminRequest::Transfer { cluster, .. } = &request
            && *cluster != ctx.me.cluster
        {
            return Some(AdminResponse::Refused(RefusedReason::OtherCluster));
        }
        if ctx.leads() {
            self.narrate(ctx.now(), &request);
        }
        let (asked, change) = match request {
            AdminRequest::Status => {
                log::debug!("an operator asks for the status");
                return Some(AdminResponse::Status(status::json(ctx, links)));
            }
            AdminRequest::Transfer { cluster: _, to } => {
                let operation = self.add(Purpose::Operator { connection, asked: Asked::Transfer(to) });
                let to = to.or_else(|| preferred_target(ctx, links));
                ctx.step(Input::TransferLeadership { operation, to });
                return None;
            }
            AdminRequest::Join { peer, peer_address, client_address } => {
                (Asked::Join(peer.id), MembershipChange::Add { peer, peer_address, client_address })
            }
            AdminRequest::Remove { cluster: _, id, incarnation } => {
                (Asked::Remove(id), MembershipChange::Remove { id, incarnation })
            }
        };
        let operation = self.add(Purpose::Operator { connection, asked });
        ctx.step(Input::ChangeMembership { operation, change });
        None
    }

    /// Asks the node to hand over leadership because this node stops, unless a hand-over is in progress.
    pub(super) fn hand_over(&mut self, ctx: &mut Context, links: &Links) {
        if self.pending.values().any(|purpose| *purpose == Purpose::HandOver) {
            return;
        }
        let operation = self.add(Purpose::HandOver);
        ctx.step(Input::TransferLeadership { operation, to: preferred_target(ctx, links) });
    }

    /// If this node leads and a member announces an address other than the recorded one, has the new one
    /// recorded, one member at a time. This is called again and again, so whatever fails is repeated.
    pub(super) fn record_relocations<'a>(
        &mut self,
        ctx: &mut Context,
        announcements: impl IntoIterator<Item = Announcement<'a>>,
    ) {
        if !ctx.leads() || self.pending.values().any(|purpose| *purpose == Purpose::Relocation) {
            return;
        }
        let Some(change) = next_relocation(&ctx.membership, &ctx.me, announcements) else { return };
        log::debug!("recording a new address: {change:?}");
        let operation = self.add(Purpose::Relocation);
        ctx.step(Input::ChangeMembership { operation, change });
    }

    /// The node has finished an operation.
    pub(super) fn conclude(
        &mut self,
        ctx: &Context,
        operation: OperationId,
        outcome: OperationOutcome,
    ) -> Concluded {
        match self.pending.remove(&operation) {
            Some(Purpose::Operator { connection, asked }) => {
                let response = response(&ctx.me, &ctx.membership, asked, outcome);
                self.note_response(&response);
                self.narrate_refusal(ctx.now(), asked, &response);
                Concluded::Answer(connection, response)
            }
            Some(Purpose::HandOver) => Concluded::HandOver(outcome),
            Some(Purpose::Relocation) => {
                log::debug!("recording a new address: {outcome:?}");
                Concluded::Nothing
            }
            None => Concluded::Nothing,
        }
    }

    fn add(&mut self, purpose: Purpose) -> OperationId {
        self.last += 1;
        let operation = OperationId(self.last);
        self.pending.insert(operation, purpose);
        operation
    }

    /// Requests to change the cluster are logged by the leader, which can carry them out. Other nodes may be
    /// asked again and again as long as there is no leader.
    fn narrate(&mut self, now: Micros, request: &AdminRequest) {
        let asked = match request {
            AdminRequest::Status => return,
            AdminRequest::Join { peer, peer_address, .. } => {
                format!("node {} at {peer_address} be added", peer.id)
            }
            AdminRequest::Remove { id, .. } => Asked::Remove(*id).to_string(),
            AdminRequest::Transfer { to, .. } => Asked::Transfer(*to).to_string(),
        };
        if self.note_request(&asked)
            && let Some(left_out) = self.requests.admit(now)
        {
            log::info!("an operator asks that {asked}{left_out}");
        }
    }

    /// Returns whether this request is news, and not the last one repeated because it could not be carried
    /// out yet.
    fn note_request(&mut self, asked: &str) -> bool {
        let is_new = self.unmet.as_deref() != Some(asked);
        self.unmet = Some(asked.to_owned());
        is_new
    }

    fn note_response(&mut self, response: &AdminResponse) {
        if !matches!(response, AdminResponse::Retry(_)) {
            self.unmet = None;
        }
    }

    /// An operation that succeeds shows in the log as a change. If it is refused, the log must say why.
    fn narrate_refusal(&mut self, now: Micros, asked: Asked, response: &AdminResponse) {
        let why = match (asked, response) {
            (_, AdminResponse::Refused(reason)) => reason.to_string(),
            (Asked::Transfer(Some(to)), AdminResponse::Transferred { leader }) if to != *leader => {
                format!("node {leader} was elected")
            }
            (Asked::Join(_) | Asked::Remove(_) | Asked::Transfer(_), _) => return,
        };
        if let Some(left_out) = self.refusals.admit(now) {
            log::info!("nothing came of the request that {asked}: {why}{left_out}");
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Join(id) => write!(f, "node {id} be added"),
            Asked::Remove(id) => write!(f, "node {id} be removed"),
            Asked::Transfer(Some(to)) => write!(f, "node {to} lead"),
            Asked::Transfer(None) => f.write_str("another node lead"),
        }
    }
}

/// The voter to name as the target of a transfer, if the node might otherwise choose one that cannot be
/// dialled from here, and probably not by clients either. It has as much of the log as any other. `None`
/// leaves the choice to the node.
fn preferred_target(ctx: &Context, links: &Links) -> Option<NodeId> {
    let raft = ctx.node.raft();
    if raft.transfer_target().is_some() {
        return None;
    }
    let others = ctx.membership.voters().filter(|id| *id != ctx.me.peer.id);
    let match_indices: Vec<_> = others.filter_map(|id| Some((id, raft.match_index(id)?))).collect();
    let most = match_indices.iter().map(|(_, index)| *index).max()?;
    let candidates = match_indices.iter().filter(|(_, index)| *index == most).map(|(id, _)| *id);
    let (reached, missed): (Vec<_>, Vec<_>) = candidates.partition(|id| links.reaches_and_hears(ctx, *id));
    reached.first().copied().filter(|_| !missed.is_empty())
}

/// The relocation of the first member whose recorded addresses differ from those it announces; this node
/// comes before others.
fn next_relocation<'a>(
    membership: &Membership,
    me: &Me,
    announcements: impl IntoIterator<Item = Announcement<'a>>,
) -> Option<MembershipChange> {
    let mine =
        Announcement { peer: me.peer, peer_address: &me.peer_address, client_address: &me.client_address };
    relocation(membership, mine)
        .or_else(|| announcements.into_iter().find_map(|announced| relocation(membership, announced)))
}

/// The change that records the addresses that this member announces; `None` if they are recorded, or it is no
/// member.
fn relocation(membership: &Membership, announced: Announcement<'_>) -> Option<MembershipChange> {
    let Announcement { peer, peer_address, client_address } = announced;
    let member = membership.members.get(&peer.id).filter(|_| membership.contains(peer))?;
    let is_recorded = member.peer_address == peer_address && member.client_address == client_address;
    (!is_recorded).then(|| MembershipChange::Relocate {
        peer,
        peer_address: peer_address.to_owned(),
        client_address: client_address.to_owned(),
    })
}

fn response(me: &Me, membership: &Membership, asked: Asked, outcome: OperationOutcome) -> AdminResponse {
    match outcome {
        OperationOutcome::Done { index } => done(me, asked, index),
        OperationOutcome::Transferred { leader } => AdminResponse::Transferred { leader },
        OperationOutcome::NotLeader { leader } => redirect(membership, leader),
        OperationOutcome::HandingOver => AdminResponse::Retry(RetryReason::HandingOver),
        OperationOutcome::Busy => AdminResponse::Retry(RetryReason::Busy),
        OperationOutcome::Unknown => AdminResponse::Retry(RetryReason::Unknown),
        OperationOutcome::TooManyMembers => AdminResponse::Refused(RefusedReason::TooManyMembers),
        OperationOutcome::TransferFailed => AdminResponse::Refused(RefusedReason::TransferFailed),
        OperationOutcome::NoOtherVoter => AdminResponse::Refused(RefusedReason::NoOtherVoter),
        OperationOutcome::NotAVoter => AdminResponse::Refused(RefusedReason::NotAVoter),
        OperationOutcome::Refused(refused) => match refused {
            ChangeRefused::IdTaken => AdminResponse::Refused(RefusedReason::IdTaken),
            ChangeRefused::NoSuchMember => AdminResponse::Refused(RefusedReason::NoSuchMember),
            ChangeRefused::LastVoter => AdminResponse::Refused(RefusedReason::LastVoter),
            ChangeRefused::NoQuorumLeft => AdminResponse::Refused(RefusedReason::NoQuorumLeft),
        },
    }
}

fn done(me: &Me, asked: Asked, index: LogIndex) -> AdminResponse {
    match asked {
        Asked::Join(_) => AdminResponse::Joined { cluster: me.cluster, joined_at: index },
        Asked::Remove(_) => AdminResponse::Removed { at: index },
        Asked::Transfer(_) => AdminResponse::Transferred { leader: me.peer.id },
    }
}

fn redirect(membership: &Membership, leader: Option<NodeId>) -> AdminResponse {
    let known = leader.and_then(|leader| Some((leader, membership.members.get(&leader)?)));
    match known {
        Some((leader, member)) => {
            AdminResponse::Redirect { leader, peer_address: member.peer_address.clone() }
        }
        None => AdminResponse::Retry(RetryReason::NoLeader),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClusterId;
    use raft_core::{Incarnation, Member, Peer, Suffrage};

    fn id(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn me() -> Me {
        Me {
            peer: Peer { id: id(1), incarnation: Incarnation(1) },
            cluster: ClusterId(5),
            joined_at: LogIndex(1),
            peer_address: "h1:9000".to_owned(),
            client_address: "h1:8000".to_owned(),
            settings: Vec::new(),
        }
    }

    fn members() -> Membership {
        let mut membership = Membership::default();
        for n in 1..=2u64 {
            let member = Member {
                incarnation: Incarnation(u128::from(n)),
                suffrage: Suffrage::Voter,
                peer_address: format!("h{n}:9000"),
                client_address: format!("h{n}:8000"),
            };
            membership.members.insert(id(n), member);
        }
        membership
    }

    fn announced(incarnation: u128, peer_address: &'static str) -> Announcement<'static> {
        let peer = Peer { id: id(2), incarnation: Incarnation(incarnation) };
        Announcement { peer, peer_address, client_address: "h2:8000" }
    }

    #[test]
    fn a_request_that_is_repeated_until_it_can_be_carried_out_is_new_once() {
        let mut operations = Operations::default();
        assert!(operations.note_request("node 3 be added"));
        operations.note_response(&AdminResponse::Retry(RetryReason::Busy));
        assert!(!operations.note_request("node 3 be added"));
        assert!(operations.note_request("node 2 be removed"));
        operations.note_response(&AdminResponse::Removed { at: LogIndex(9) });
        assert!(operations.note_request("node 2 be removed"), "somebody gives the command once more");
    }

    #[test]
    fn an_operator_is_sent_to_the_leader_where_it_is_known() {
        let respond =
            |leader| response(&me(), &members(), Asked::Join(id(3)), OperationOutcome::NotLeader { leader });
        let redirected = AdminResponse::Redirect { leader: id(2), peer_address: "h2:9000".to_owned() };
        assert_eq!(respond(Some(id(2))), redirected);
        assert_eq!(respond(None), AdminResponse::Retry(RetryReason::NoLeader));
        assert_eq!(respond(Some(id(9))), AdminResponse::Retry(RetryReason::NoLeader), "where is node 9?");
    }

    #[test]
    fn what_passes_is_to_be_retried_and_what_does_not_is_refused() {
        let respond = |outcome| response(&me(), &members(), Asked::Remove(id(2)), outcome);
        for (outcome, reason) in [
            (OperationOutcome::Busy, RetryReason::Busy),
            (OperationOutcome::HandingOver, RetryReason::HandingOver),
            (OperationOutcome::Unknown, RetryReason::Unknown),
        ] {
            assert_eq!(respond(outcome), AdminResponse::Retry(reason));
        }
        for (outcome, reason) in [
            (OperationOutcome::TransferFailed, RefusedReason::TransferFailed),
            (OperationOutcome::NoOtherVoter, RefusedReason::NoOtherVoter),
            (OperationOutcome::NotAVoter, RefusedReason::NotAVoter),
            (OperationOutcome::TooManyMembers, RefusedReason::TooManyMembers),
            (OperationOutcome::Refused(ChangeRefused::IdTaken), RefusedReason::IdTaken),
            (OperationOutcome::Refused(ChangeRefused::LastVoter), RefusedReason::LastVoter),
            (OperationOutcome::Refused(ChangeRefused::NoQuorumLeft), RefusedReason::NoQuorumLeft),
            (OperationOutcome::Refused(ChangeRefused::NoSuchMember), RefusedReason::NoSuchMember),
        ] {
            assert_eq!(respond(outcome), AdminResponse::Refused(reason));
        }
    }

    #[test]
    fn each_operation_is_answered_in_its_own_words_when_done() {
        let index = LogIndex(9);
        let respond = |asked| response(&me(), &members(), asked, OperationOutcome::Done { index });
        assert_eq!(
            respond(Asked::Join(id(3))),
            AdminResponse::Joined { cluster: ClusterId(5), joined_at: index }
        );
        assert_eq!(respond(Asked::Remove(id(3))), AdminResponse::Removed { at: index });
        let leads_already = AdminResponse::Transferred { leader: id(1) };
        assert_eq!(respond(Asked::Transfer(Some(id(1)))), leads_already);
        for to in [None, Some(id(2)), Some(id(3))] {
            let outcome = OperationOutcome::Transferred { leader: id(2) };
            let transferred = AdminResponse::Transferred { leader: id(2) };
            assert_eq!(response(&me(), &members(), Asked::Transfer(to), outcome), transferred);
        }
    }

    #[test]
    fn a_member_that_says_it_is_elsewhere_is_moved_there() {
        let change = next_relocation(&members(), &me(), [announced(2, "h7:9000")]);
        let expected = MembershipChange::Relocate {
            peer: announced(2, "h7:9000").peer,
            peer_address: "h7:9000".to_owned(),
            client_address: "h2:8000".to_owned(),
        };
        assert_eq!(change, Some(expected));
    }

    #[test]
    fn nothing_is_recorded_of_members_at_home_or_of_former_lives() {
        let announcements = [announced(2, "h2:9000"), announced(99, "h7:9000")];
        assert_eq!(next_relocation(&members(), &me(), announcements), None);
    }

    #[test]
    fn a_leader_that_moved_has_itself_recorded() {
        let moved = Me { client_address: "h1:8001".to_owned(), ..me() };
        let change = next_relocation(&members(), &moved, []);
        assert!(matches!(change, Some(MembershipChange::Relocate { peer, .. }) if peer == moved.peer));
    }
}
