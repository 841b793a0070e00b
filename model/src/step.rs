//! What one node does with one input. It depends only on the node and the input, so each such step is taken
//! once, however many states contain it; [`Step`] holds what the rest of the cluster must know of it.

use std::sync::Arc;

use raft_core::{
    Audience, BarrierId, Confirmation, Input, Membership, MembershipChange, Micros, Output, Peer, ProposalId,
    Role,
};

use crate::bounds::{Change, DiskSpeed};
use crate::durable;
use crate::history::check_membership;
use crate::interned::{EnvelopeNo, HistoryNo};
use crate::network::Envelope;
use crate::node::{Node, peer};
use crate::violation::Violation;

/// What happens to a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Cause {
    /// This message arrives.
    Message(EnvelopeNo),
    Timeout,
    Silence,
    Refused(Peer),
    Sync,
    FailWrite,
    Crash,
    /// The command with this number.
    Propose(u8),
    /// The barrier with this number, and its kind.
    Barrier(u8, Confirmation),
    /// The change with this number.
    Change(u8, Change),
    Transfer,
    /// Compacts everything applied, in this history.
    Compact(HistoryNo),
}

/// A step that was taken, and found valid as far as the node alone can tell.
pub(crate) struct Step {
    pub(crate) after: Node,
    /// One for each input: the cause, and then what becomes durable in the same step.
    pub(crate) stages: Vec<Stage>,
    /// What was sent, in order.
    pub(crate) sent: Vec<Envelope>,
}

/// The node after one input.
pub(crate) struct Stage {
    pub(crate) node: Node,
    /// The membership before the input.
    pub(crate) before: Arc<Membership>,
    /// The outputs, except the writes.
    pub(crate) outputs: Vec<Output>,
}

/// Takes a step. `input` is the input that `cause` stands for, if the node alone cannot tell.
pub(crate) fn take(
    node: &Node,
    cause: Cause,
    input: Option<Input>,
    speed: DiskSpeed,
) -> Result<Step, Violation> {
    let mut node = node.clone();
    let input = match cause {
        Cause::Crash => {
            let after = Node::new(node.raft.me(), node.disk.durable().clone());
            return Ok(Step { after, stages: Vec::new(), sent: Vec::new() });
        }
        Cause::Timeout => {
            node.now = node.at_deadline();
            Some(Input::Wake)
        }
        Cause::Silence => {
            let deadline = node.raft.deadline().unwrap_or_default();
            node.now = node.now.max(Micros(deadline.0.saturating_sub(1)));
            Some(Input::Wake)
        }
        Cause::Sync => node.disk.sync()?.map(|through| Input::WritesDurable { through }),
        Cause::FailWrite => Some(Input::WriteFailed),
        Cause::Refused(peer) => Some(Input::PeerUnreachable(peer)),
        Cause::Propose(number) => {
            let proposal = ProposalId(u64::from(number));
            Some(Input::Propose { proposal, command: command_of(proposal).into() })
        }
        Cause::Barrier(number, confirms) => Some(Input::ReadBarrier {
            barrier: BarrierId(u64::from(number)),
            audience: Audience::QuickestMajority,
            confirms,
        }),
        Cause::Change(number, change) => {
            let proposal = ProposalId(u64::from(number) << CHANGES_FROM_BIT);
            Some(Input::ChangeMembership { proposal, change: change_of(change) })
        }
        Cause::Transfer => Some(Input::TransferLeadership { to: None }),
        Cause::Message(_) | Cause::Compact(_) => input,
    };
    let mut step = run(node, input, speed)?;
    if cause == Cause::FailWrite {
        step.after.disk.crash();
    }
    check_membership(&step.after.raft)?;
    Ok(step)
}

/// Steps a node, and steps it again for what is durable at once; checks everything that depends on the node
/// alone.
fn run(mut node: Node, mut input: Option<Input>, speed: DiskSpeed) -> Result<Step, Violation> {
    let (mut stages, mut sent) = (Vec::new(), Vec::new());
    while let Some(next) = input.take() {
        let before = Arc::clone(node.raft.membership());
        let mut outputs = node.step(next)?;
        if node.raft.role() == Role::Leader {
            durable::check_leader(&node)?;
        }
        for output in &mut outputs {
            match output {
                Output::Write(write) => node.disk.submit(write.clone()),
                Output::Send { to, message } => {
                    durable::check(&node, *to, message)?;
                    sent.push(Envelope { from: node.raft.me(), to: *to, message: message.clone() });
                }
                Output::Committed(_)
                | Output::Restored(_)
                | Output::BarrierPassed(_)
                | Output::ProposalDone { .. }
                | Output::RoleChanged { .. }
                | Output::TransferAborted
                | Output::MembershipChanged(_)
                | Output::EntriesLost { .. }
                | Output::SafetyLost(_)
                | Output::Dropped { .. } => {}
            }
        }
        outputs.retain(|output| !matches!(output, Output::Write(_)));
        stages.push(Stage { node: node.clone(), before, outputs });
        if speed == DiskSpeed::Prompt {
            while let Some(through) = node.disk.sync()? {
                input = Some(Input::WritesDurable { through });
            }
        }
    }
    Ok(Step { after: node, stages, sent })
}

/// The command of a proposal: its number.
/// The numbers of changes of membership begin with this bit, those of commands are lower.
const CHANGES_FROM_BIT: u32 = 8;

/// Whether this is the number of a change of membership.
pub(crate) fn is_change(proposal: ProposalId) -> bool {
    proposal.0 >> CHANGES_FROM_BIT != 0
}

pub(crate) fn command_of(proposal: ProposalId) -> Vec<u8> {
    proposal.0.to_be_bytes()[7..].to_vec()
}

fn change_of(change: Change) -> MembershipChange {
    match change {
        Change::Add(number) => MembershipChange::Add {
            peer: peer(number),
            peer_address: String::new(),
            client_address: String::new(),
        },
        Change::Remove(number) => MembershipChange::Remove { id: peer(number).id, incarnation: None },
    }
}
