//! `ticketd transfer`: hands leadership to another member.

use std::time::Duration;

use raft_core::NodeId;

use super::admin::client::{AskProblem, ask, transferred};
use super::admin::contacts::Contacts;
use super::output::say;
use super::patience::Patience;
use super::{Failure, WHO_IS_UP};
use crate::cli::Flags;
use crate::peer::{AdminRequest, RefusedReason};

/// How long the cluster is asked: several elections.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the leader to hand over to the member that `--id` names, or to the most up-to-date one.
///
/// # Errors
/// [`Failure`] if no member took over, or another one than the member that was named.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let contacts = Contacts::of(flags.path())?;
    if contacts.addresses().is_empty() {
        return Err(Failure::runtime(
            "the cluster has no other member that could lead: add one with 'ticketd join'".to_owned(),
        ));
    }
    let (cluster, _) = contacts.identity()?;
    let request = AdminRequest::Transfer { cluster, to: flags.id };
    let error = match ask(contacts.addresses(), &request, transferred, &Patience::lasting(PATIENCE)) {
        Ok(leader) => return say(&judge(flags.id, leader)?),
        Err(error) => error,
    };
    Err(Failure::runtime(match error.problem {
        AskProblem::Refused(
            RefusedReason::NoSuchMember
            | RefusedReason::NotAVoter
            | RefusedReason::TransferFailed
            | RefusedReason::NoOtherVoter,
        ) => {
            format!("{error}: {WHO_IS_UP}")
        }
        AskProblem::GaveUp { .. } => format!("{error}; {WHO_IS_UP}"),
        AskProblem::Refused(
            RefusedReason::IdTaken
            | RefusedReason::LastVoter
            | RefusedReason::TooManyMembers
            | RefusedReason::NoQuorumLeft
            | RefusedReason::OtherCluster,
        )
        | AskProblem::Interrupted
        | AskProblem::Incompatible { .. } => error.to_string(),
    }))
}

/// What to say if `leader` leads now. The operator asked for `to`, or for whichever.
fn judge(to: Option<NodeId>, leader: NodeId) -> Result<String, Failure> {
    match to {
        Some(to) if to != leader => Err(Failure::runtime(format!(
            "node {leader} leads, not node {to}: it was elected first; run the command again"
        ))),
        Some(_) | None => Ok(format!("node {leader} leads")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_succeeds_only_where_the_node_that_was_named_leads() {
        let id = |id| NodeId::new(id).unwrap();
        assert_eq!(judge(None, id(2)).unwrap(), "node 2 leads");
        assert_eq!(judge(Some(id(2)), id(2)).unwrap(), "node 2 leads");
        let error = judge(Some(id(3)), id(2)).unwrap_err().to_string();
        assert!(error.contains("node 2 leads, not node 3"), "{error}");
    }
}
