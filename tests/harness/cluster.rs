//! Several nodes that belong together.

use std::collections::BTreeMap;

use super::directory::Directory;
use super::http;
use super::network::Network;
use super::node::Node;
use super::status::Status;
use super::wait;

/// No machine is so busy that a leader is not heard of for so long. That a leader which died or handed over
/// is replaced in a moment does not depend on it.
pub const STEADY: [&str; 4] = ["--election_timeout", "10000", "--heartbeat_interval", "50"];

/// A cluster whose members have the ids 1, 2, 3 and so on.
#[derive(Debug)]
pub struct Cluster {
    /// Where the stores are; nodes that are started besides may have theirs there as well.
    // After the nodes: they are dropped first, and write there until then.
    nodes: BTreeMap<u64, Node>,
    /// What the nodes are started with.
    flags: Vec<String>,
    /// What lies between them, where a test wants to cut it.
    network: Option<Network>,
    /// Holds the stores and the logs.
    pub directory: Directory,
}

impl Cluster {
    /// So many nodes, all of them voters.
    #[track_caller]
    pub fn of(size: u64) -> Cluster {
        Cluster::with_flags(size, &[])
    }

    /// So many nodes, all of them voters, all started with the same flags.
    #[track_caller]
    pub fn with_flags(size: u64, flags: &[&str]) -> Cluster {
        Cluster::build(None, size, flags)
    }

    /// So many nodes, all of them voters, whose leader stays however slow the machine is.
    #[track_caller]
    pub fn steady(size: u64) -> Cluster {
        Cluster::with_flags(size, &STEADY)
    }

    /// So many nodes, all of them voters, on a network that can be cut.
    #[track_caller]
    pub fn on(network: Network, size: u64, flags: &[&str]) -> Cluster {
        Cluster::build(Some(network), size, flags)
    }

    #[track_caller]
    fn build(network: Option<Network>, size: u64, flags: &[&str]) -> Cluster {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut cluster = Cluster { nodes: BTreeMap::new(), flags, network, directory: Directory::new() };
        for id in 1..=size {
            cluster.add(id);
        }
        cluster.await_voters(&(1..=size).collect::<Vec<_>>());
        cluster
    }

    /// One more node, which joins through all members that are awake, or founds the cluster.
    #[track_caller]
    pub fn add(&mut self, id: u64) {
        let attached = self.network.as_ref().map_or_else(Vec::new, |network| network.attach(id));
        let flags: Vec<&str> = self.flags.iter().chain(&attached).map(String::as_str).collect();
        let members: Vec<&str> = self.awake().map(|node| node.peers.as_str()).collect();
        let node = if members.is_empty() {
            Node::start(&self.directory, id, &flags)
        } else {
            Node::join(&self.directory, id, &members, &flags)
        };
        self.nodes.insert(id, node);
    }

    /// A node.
    #[track_caller]
    pub fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("the cluster has a node of this id")
    }

    /// All nodes.
    pub fn nodes(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.values_mut()
    }

    /// All nodes that can answer.
    pub fn awake(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.is_awake())
    }

    /// Where clients may ask.
    pub fn clients(&self) -> Vec<String> {
        self.nodes.values().map(|node| node.clients.clone()).collect()
    }

    /// Forgets a node, and kills it where it runs.
    pub fn forget(&mut self, id: u64) {
        self.nodes.remove(&id);
    }

    /// Waits until all nodes that are awake follow the same leader, itself awake.
    #[track_caller]
    pub fn leader(&self) -> u64 {
        wait::until("all nodes follow the same leader", || {
            let statuses = self.awake().map(Node::status).collect::<Option<Vec<Status>>>()?;
            let leader = statuses.iter().find(|status| status.leads())?;
            let agreed = |status: &Status| status.leader == Some(leader.id) && status.term == leader.term;
            statuses.iter().all(agreed).then_some(leader.id)
        })
    }

    /// Waits until a node that is awake leads and is as wanted, whatever the others believe.
    #[track_caller]
    pub fn await_leader(&self, what: &str, wanted: impl Fn(u64) -> bool) -> u64 {
        wait::until(what, || {
            let mut statuses = self.awake().filter_map(Node::status);
            statuses.find(|status| status.leads() && wanted(status.id)).map(|status| status.id)
        })
    }

    /// Some node that is awake and does not lead.
    #[track_caller]
    pub fn follower(&self) -> u64 {
        let leader = self.leader();
        self.awake().map(|node| node.id).find(|id| *id != leader).expect("more than one node is awake")
    }

    /// Waits until all nodes that are awake know that these, and nobody else, are members, and that all of
    /// them vote.
    #[track_caller]
    pub fn await_voters(&self, ids: &[u64]) {
        for node in self.awake() {
            node.await_status(&format!("the members are {ids:?}, and all vote"), |status| {
                status.voters() == ids && status.members.len() == ids.len()
            });
        }
    }

    /// Takes one ID, as a client that goes from node to node, and where it is sent, until it has one.
    #[track_caller]
    pub fn take(&self) -> u64 {
        wait::until("an ID", || self.awake().find_map(|node| take(&node.clients)))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(network) = &self.network {
            network.end();
        }
    }
}

/// Takes one ID from the node at this address, or from the one that it says leads.
pub fn take(address: &str) -> Option<u64> {
    let response = http::ask(address, "POST", "/").ok()?;
    match response.redirected_to() {
        Some(leader) => http::ask(leader, "POST", "/").ok()?.ids(),
        None => response.ids(),
    }
    .map(|ids| *ids.start())
}
