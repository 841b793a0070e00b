//! Several nodes that form a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::command;
use super::directory::{self, Directory};
use super::http;
use super::network::Network;
use super::node::Node;
use super::status::Status;
use super::wait;

/// No machine is so busy that a leader is not heard for this long. When a leader dies or hands over, it is
/// replaced quickly regardless of these timeouts.
pub const STEADY: [&str; 4] = ["--election_timeout", "10000", "--heartbeat_interval", "50"];

/// Waits for a leader: [`Cluster::leader`] or [`Cluster::lease_holder`].
pub type AwaitLeader = fn(&Cluster) -> u64;

/// A cluster whose members have the ids 1, 2, 3 and so on.
#[derive(Debug)]
pub struct Cluster {
    nodes: BTreeMap<u64, Node>,
    /// The flags that the nodes are started with.
    flags: Vec<String>,
    /// The network between them, if the test wants to cut it.
    network: Option<Network>,
    /// Holds the stores and the logs; a test may put the stores of further nodes there.
    // Declared after the nodes, which write there until they are dropped.
    pub directory: Directory,
}

impl Cluster {
    /// This many nodes, all voters.
    #[track_caller]
    pub fn of(size: u64) -> Cluster {
        Cluster::with_flags(size, &[])
    }

    /// This many nodes, all voters, all started with the same flags.
    #[track_caller]
    pub fn with_flags(size: u64, flags: &[&str]) -> Cluster {
        Cluster::build(None, size, flags)
    }

    /// This many nodes, all voters, whose leader stays however slow the machine is.
    #[track_caller]
    pub fn steady(size: u64) -> Cluster {
        Cluster::with_flags(size, &STEADY)
    }

    /// This many nodes, all voters, on a network that can be cut.
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

    /// Adds a node, which joins through all members that are awake, or founds the cluster.
    #[track_caller]
    pub fn add(&mut self, id: u64) {
        let attached = self.network.as_ref().map_or_else(Vec::new, |network| network.attach(id));
        let flags: Vec<&str> = self.flags.iter().chain(&attached).map(String::as_str).collect();
        let members: Vec<&str> = self.awake().map(|node| node.peer_address.as_str()).collect();
        let node = if members.is_empty() {
            Node::start(&self.directory, id, &flags)
        } else {
            Node::join(&self.directory, id, &members, &flags)
        };
        self.nodes.insert(id, node);
    }

    /// The node with this id.
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

    /// The addresses for clients.
    pub fn client_addresses(&self) -> Vec<String> {
        self.nodes.values().map(|node| node.client_address.clone()).collect()
    }

    /// Forgets a node, and kills it if it runs.
    pub fn forget(&mut self, id: u64) {
        self.nodes.remove(&id);
    }

    /// Waits until all nodes that are awake follow the same leader, which is awake too.
    #[track_caller]
    pub fn leader(&self) -> u64 {
        wait::until("all nodes follow the same leader", || {
            let statuses = self.awake().map(Node::status).collect::<Option<Vec<Status>>>()?;
            let leader = statuses.iter().find(|status| status.leads())?;
            let agreed = |status: &Status| status.leader == Some(leader.id) && status.term == leader.term;
            statuses.iter().all(agreed).then_some(leader.id)
        })
    }

    /// Waits until a node that is awake leads and holds a lease.
    #[track_caller]
    pub fn lease_holder(&self) -> u64 {
        wait::until("a leader holds a lease", || {
            let mut statuses = self.awake().filter_map(Node::status);
            statuses.find(|status| status.leads() && status.holds_lease).map(|status| status.id)
        })
    }

    /// Waits until a node that is awake leads and satisfies the condition, whatever the others believe.
    #[track_caller]
    pub fn await_leader(&self, what: &str, wanted: impl Fn(u64) -> bool) -> u64 {
        wait::until(what, || {
            let mut statuses = self.awake().filter_map(Node::status);
            statuses.find(|status| status.leads() && wanted(status.id)).map(|status| status.id)
        })
    }

    /// The ids of all nodes but this one.
    pub fn others(&self, id: u64) -> Vec<u64> {
        self.nodes.keys().copied().filter(|other| *other != id).collect()
    }

    /// A node that is awake and does not lead.
    #[track_caller]
    pub fn follower(&self) -> u64 {
        let leader = self.leader();
        self.awake().map(|node| node.id).find(|id| *id != leader).expect("more than one node is awake")
    }

    /// Kills all nodes but a follower, and has that one leave, which waits for a leader. Returns the
    /// follower, the others, and the command.
    #[track_caller]
    pub fn leave_without_a_leader(&mut self) -> (u64, Vec<u64>, command::Running) {
        let leaver = self.follower();
        let rest = self.others(leaver);
        for id in &rest {
            self.node(*id).kill();
        }
        let node = self.node(leaver);
        node.await_status("it notices", |status| status.leader.is_none());
        let leave = command::Running::spawn(Path::new("."), &["leave", "--path", &node.path()]);
        wait::until_true("the command asks the node", || leave.stderr().contains("no leader is known"));
        (leaver, rest, leave)
    }

    /// Replaces the store of a follower by an earlier copy, which lacks entries that the leader counts on,
    /// and waits until its node finds out. It does only as long as the leader stays.
    #[track_caller]
    pub fn roll_back(&mut self, id: u64) {
        let copy = self.directory.path().join("copy");
        let leader = self.leader();
        let node = self.node(id);
        node.stop();
        directory::copy(node.store(), &copy);
        node.restart();
        for _ in 0..20 {
            self.take();
        }
        let all = self.node(leader).await_status("it leads", |status| status.leads()).commit_index;
        let node = self.node(id);
        node.await_status("it has all", |status| status.applied_index >= all);
        node.stop();
        fs::remove_dir_all(node.store()).expect("the test's own store can be removed");
        directory::copy(&copy, node.store());
        node.restart();
        let found_out = "takes no further part: the leader counts on";
        wait::until_true("it finds out", || node.log().contains(found_out));
    }

    /// Waits until all nodes that are awake know that exactly these nodes are members, and that all of them
    /// vote.
    #[track_caller]
    pub fn await_voters(&self, ids: &[u64]) {
        for node in self.awake() {
            node.await_status(&format!("the members are {ids:?}, and all vote"), |status| {
                status.voters() == ids && status.members.len() == ids.len()
            });
        }
    }

    /// Takes one ID as a client does that tries node after node, and follows redirects, until it has one.
    #[track_caller]
    pub fn take(&self) -> u64 {
        wait::until("an ID", || self.awake().find_map(|node| take(&node.client_address)))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(network) = &self.network {
            network.end();
        }
    }
}

/// Node 1 of a cluster of its own, stopped after it has handed out an ID.
#[track_caller]
pub fn stopped(directory: &Directory) -> Node {
    let mut node = Node::start(directory, 1, &[]);
    wait::until("an ID", || take(&node.client_address));
    node.stop();
    node
}

/// Takes one ID from the node at this address, or from the node that it redirects to.
pub fn take(address: &str) -> Option<u64> {
    let response = http::ask(address, "POST", "/").ok()?;
    match response.redirected_to() {
        Some(leader) => http::ask(leader, "POST", "/").ok()?.ids(),
        None => response.ids(),
    }
    .map(|ids| *ids.start())
}
