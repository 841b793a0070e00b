//! `ticketd transfer`: hands leadership to another member.

use std::time::Duration;

use raft_core::NodeId;

use super::admin_client::{AskProblem, Patience, Settled, answered_something_else, ask, ask_leader};
use super::cluster_view::{ClusterView, Leader};
use super::contacts::Contacts;
use super::{Failure, say};
use crate::cli::Flags;
use crate::peer::{AdminRequest, RefusedReason};

/// How long the cluster is asked: several elections.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to look for the new leader after leadership has been handed over: a heartbeat or two. After that,
/// the operator can ask.
const LEADER_PATIENCE: Duration = Duration::from_secs(2);

/// Asks the leader to hand over to the member that `--id` names, or to the most up-to-date one.
///
/// # Errors
/// [`Failure`] if no member took over.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let contacts = Contacts::of(flags.path())?;
    if contacts.addresses().is_empty() {
        return Err(Failure::runtime(
            "the cluster has no other member that could lead: add one with 'ticketd join'".to_owned(),
        ));
    }
    let (cluster, _) = contacts.identity()?;
    let request = AdminRequest::Transfer { cluster, to: flags.id };
    let error = match ask(contacts.addresses(), &request, &Patience::lasting(PATIENCE)) {
        Ok(Settled::Transferred) => {
            return say(&match flags.id.or_else(|| leader(contacts.addresses())) {
                Some(id) => format!("node {id} leads"),
                None => "another node leads: 'ticketd status' shows which".to_owned(),
            });
        }
        Ok(Settled::Joined { .. } | Settled::Removed | Settled::Status(_)) => {
            return Err(answered_something_else());
        }
        Err(error) => error,
    };
    Err(Failure::runtime(match error.problem {
        AskProblem::Refused(
            RefusedReason::NoSuchMember | RefusedReason::TransferFailed | RefusedReason::NoOtherVoter,
        ) => {
            format!("{error}: 'ticketd status' shows who votes and is up")
        }
        AskProblem::Refused(
            RefusedReason::IdTaken
            | RefusedReason::LastVoter
            | RefusedReason::Removed
            | RefusedReason::TooManyMembers
            | RefusedReason::NoQuorumLeft
            | RefusedReason::OtherCluster,
        )
        | AskProblem::Interrupted
        | AskProblem::GaveUp { .. }
        | AskProblem::Incompatible { .. } => error.to_string(),
    }))
}

/// The current leader, if it can be found out soon.
fn leader(contacts: &[String]) -> Option<NodeId> {
    let Ok(Settled::Status(json)) = ask_leader(contacts, &Patience::lasting(LEADER_PATIENCE)) else {
        return None;
    };
    match ClusterView::parse(&json)?.leader {
        Leader::Itself(id) => Some(id),
        Leader::Other { .. } | Leader::Unknown => None,
    }
}
