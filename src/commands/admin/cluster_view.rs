//! The parts of a node's status, about itself and its cluster, that commands rely on.
//!
//! Pure: JSON in, values out. Fields that newer versions add are ignored, and nothing is guessed.

use std::collections::BTreeSet;

use raft_core::{Incarnation, NodeId, Peer};
use serde_json::Value;

use crate::identity::ClusterId;

/// One node's view of its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClusterView {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The leader.
    pub(crate) leader: Leader,
    /// The ids of all members.
    pub(crate) members: BTreeSet<NodeId>,
}

/// The leader, as far as one node knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Leader {
    /// The node itself.
    Itself,
    /// Another member.
    Other {
        /// Its id.
        id: NodeId,
        /// Its address for peers and operators.
        peer_address: String,
    },
    /// The node knows no leader, or not the leader's address.
    Unknown,
}

impl ClusterView {
    /// `None` if a field is missing.
    pub(crate) fn parse(json: &str) -> Option<ClusterView> {
        let status: Value = serde_json::from_str(json).ok()?;
        let (me, cluster) = (node_id(status.get("id")?)?, cluster_id(&status)?);
        let listed = status.get("members")?.as_array()?;
        let members = listed.iter().map(|member| node_id(member.get("id")?)).collect::<Option<_>>()?;
        let leader = if status.get("role")?.as_str()? == "leader" {
            Leader::Itself
        } else {
            other_leader(me, status.get("leader")?, listed)?
        };
        Some(ClusterView { cluster, leader, members })
    }
}

/// The leader, in the status of a node that does not lead.
fn other_leader(me: NodeId, leader: &Value, listed: &[Value]) -> Option<Leader> {
    if leader.is_null() {
        return Some(Leader::Unknown);
    }
    let id = node_id(leader)?;
    let found = listed.iter().find(|member| member.get("id").and_then(node_id) == Some(id));
    match found {
        Some(member) if id != me => {
            let peer_address = member.get("peer_address")?.as_str()?.to_owned();
            Some(Leader::Other { id, peer_address })
        }
        Some(_) | None => Some(Leader::Unknown),
    }
}

/// The cluster and the node that this status comes from.
pub(crate) fn parse_identity(json: &str) -> Option<(ClusterId, Peer)> {
    let status: Value = serde_json::from_str(json).ok()?;
    let incarnation = Incarnation(hexadecimal(&status, "incarnation")?);
    Some((cluster_id(&status)?, Peer { id: node_id(status.get("id")?)?, incarnation }))
}

fn cluster_id(status: &Value) -> Option<ClusterId> {
    hexadecimal(status, "cluster").map(ClusterId)
}

fn hexadecimal(status: &Value, name: &str) -> Option<u128> {
    u128::from_str_radix(status.get(name)?.as_str()?, 16).ok()
}

fn node_id(value: &Value) -> Option<NodeId> {
    NodeId::new(value.as_u64()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(role: &str, leader: &str) -> Option<Leader> {
        let members = r#"[{"id":1,"peer_address":"h1:9000"},{"id":2,"peer_address":"h2:9000"}]"#;
        let json =
            format!(r#"{{"id":1,"cluster":"1e","role":"{role}","leader":{leader},"members":{members}}}"#);
        let view = ClusterView::parse(&json)?;
        assert_eq!(view.cluster, ClusterId(30));
        assert_eq!(view.members, BTreeSet::from([1, 2].map(|id| NodeId::new(id).unwrap())));
        Some(view.leader)
    }

    #[test]
    fn a_leader_is_the_node_itself_another_with_its_address_or_unknown() {
        let id = |id| NodeId::new(id).unwrap();
        assert_eq!(leader("leader", "1"), Some(Leader::Itself));
        let two = Leader::Other { id: id(2), peer_address: "h2:9000".to_owned() };
        assert_eq!(leader("follower", "2"), Some(two));
        // No leader; a leader that the node does not know as a member; and the node itself although it does
        // not lead.
        for unknown in ["null", "3", "1"] {
            assert_eq!(leader("follower", unknown), Some(Leader::Unknown), "{unknown}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for json in ["", "{}", r#"{"id":1,"role":"leader","leader":1}"#, r#"{"id":0,"members":[]}"#] {
            assert_eq!(ClusterView::parse(json), None, "{json}");
        }
        assert_eq!(leader("follower", "\"2\""), None);
    }

    #[test]
    fn a_node_is_known_by_its_status_and_nothing_is_guessed() {
        let json =
            r#"{"id":18446744073709551615,"incarnation":"000000000000000000000000000000ff","cluster":"1e"}"#;
        let peer = Peer { id: NodeId::new(u64::MAX).unwrap(), incarnation: Incarnation(255) };
        assert_eq!(parse_identity(json), Some((ClusterId(30), peer)));
        for json in [
            "",
            "{}",
            r#"{"id":0,"incarnation":"ff","cluster":"ff"}"#,
            r#"{"id":1,"incarnation":"x","cluster":"ff"}"#,
            r#"{"id":1,"incarnation":"ff","cluster":"x"}"#,
            r#"{"id":1,"cluster":"ff"}"#,
            r#"{"id":1,"incarnation":"ff"}"#,
        ] {
            assert_eq!(parse_identity(json), None, "{json}");
        }
    }
}
