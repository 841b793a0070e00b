//! The fields of `ticketd status --json` that tests use.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a node knows about itself and its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The node's own id.
    pub id: u64,
    /// `leader`, `follower`, `candidate` or `pre-candidate`.
    pub role: String,
    /// Raft's term.
    pub term: u64,
    /// The leader that it follows, or itself.
    pub leader: Option<u64>,
    /// The highest committed index.
    pub commit_index: u64,
    /// The highest applied index.
    pub applied_index: u64,
    /// Whether it leads and may answer without a round.
    pub holds_lease: bool,
    /// The members, by id.
    pub members: BTreeMap<u64, Member>,
}

/// One member of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// `voter` or `learner`.
    pub suffrage: String,
    /// The address for the other members.
    pub peer_address: String,
    /// The address for clients.
    pub client_address: String,
    /// `self`, `up` or `down`.
    pub link: String,
    /// How long ago it was heard from, if ever.
    pub last_heard_ms: Option<u64>,
    /// Known to the leader only.
    pub match_index: Option<u64>,
}

impl Status {
    /// Parses the output of the command.
    ///
    /// # Panics
    /// If it is not JSON, or lacks a field.
    pub fn parse(json: &str) -> Status {
        let value: Value =
            serde_json::from_str(json).unwrap_or_else(|error| panic!("no JSON ({error}): {json}"));
        let members = value["members"].as_array().unwrap_or_else(|| panic!("no members: {json}"));
        Status {
            id: number(&value, "id"),
            role: text(&value, "role"),
            term: number(&value, "term"),
            leader: value["leader"].as_u64(),
            commit_index: number(&value, "commit_index"),
            applied_index: number(&value, "applied_index"),
            holds_lease: value["holds_lease"].as_bool().unwrap_or_else(|| panic!("holds_lease in {json}")),
            members: members.iter().map(|member| (number(member, "id"), Member::parse(member))).collect(),
        }
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.role == "leader"
    }

    /// The ids of the members that vote.
    pub fn voters(&self) -> Vec<u64> {
        self.members.iter().filter(|(_, member)| member.suffrage == "voter").map(|(id, _)| *id).collect()
    }
}

impl Member {
    fn parse(value: &Value) -> Member {
        Member {
            suffrage: text(value, "suffrage"),
            peer_address: text(value, "peer_address"),
            client_address: text(value, "client_address"),
            link: text(value, "link"),
            last_heard_ms: value["last_heard_ms"].as_u64(),
            match_index: value["match_index"].as_u64(),
        }
    }
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {value}"))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}")).to_owned()
}
