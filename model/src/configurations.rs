//! The small clusters that are explored, one for each part of the protocol.

use std::iter;
use std::sync::Arc;

use raft_core::{
    Entry, HardState, LogIndex, Member, Membership, Payload, Peer, Recovered, Role, Snapshot, Suffrage, Term,
};

use crate::action::Action;
use crate::bounds::{Bounds, Change, DiskSpeed};
use crate::history::History;
use crate::network::IN_FLIGHT_MAX;
use crate::node::{Node, peer};
use crate::state::State;
use crate::world::{Reach, World};

/// A cluster, its initial state, and what may happen to it.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// The voters are nodes 1 to this.
    pub voters: u64,
    /// How many more nodes wait to be added.
    pub joining: u64,
    /// How it begins.
    pub beginning: Beginning,
    /// What may happen: little enough that an exploration ends.
    pub bounds: Bounds,
    /// Larger bounds: an exploration within them goes as deep as time and memory allow.
    pub deeper: Bounds,
}

/// The initial state of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beginning {
    /// No node has led yet. The nodes are interchangeable, so only node 1 may time out first.
    Unled,
    /// Node 1 leads, and every node knows.
    Led,
    /// Node 1 leads and has committed a command with every voter but the last.
    Lagging,
    /// No node leads, and each node's log continues with one entry for each of these terms. The latest of
    /// them is the current term of every node.
    Diverged(&'static [&'static [u64]]),
}

impl Configuration {
    /// The same configuration with its larger bounds.
    #[must_use]
    pub fn deep(self) -> Configuration {
        Configuration { bounds: self.deeper, ..self }
    }

    /// The cluster, and the initial state of the exploration.
    pub(crate) fn first(&self) -> (World, State) {
        let membership = membership(self.voters);
        let logs = match self.beginning {
            Beginning::Diverged(logs) => logs,
            Beginning::Unled | Beginning::Led | Beginning::Lagging => &[],
        };
        let term = Term(logs.iter().flat_map(|terms| terms.iter()).copied().max().unwrap_or(1));
        let logs = logs.iter().copied().chain(iter::repeat(&[][..]));
        let voters = (1..=self.voters)
            .zip(logs)
            .map(|(number, terms)| Node::new(peer(number), recovered(&membership, term, terms)));
        let joining = (self.voters + 1..=self.voters + self.joining)
            .map(|number| Node::new(peer(number), Recovered::default()));
        let history = History::new(LogIndex(1), membership.clone());
        let (mut world, state) = World::new(voters.chain(joining).collect(), history, DiskSpeed::Prompt);
        let state = match self.beginning {
            Beginning::Unled | Beginning::Diverged(_) => state,
            Beginning::Led => led(&mut world, state).fresh(),
            Beginning::Lagging => {
                let state = led(&mut world, state);
                let state = prepared(&mut world, state, &Action::Propose(0));
                let last = peer(self.voters);
                let state = settled(&mut world, state, |to| to != last);
                // The others are told of the commit as well.
                let state = prepared(&mut world, state, &Action::Timeout(0));
                settled(&mut world, state, |to| to != last).silent().fresh()
            }
        };
        let mut world = world.with_disk(self.bounds.disk);
        if self.has_twins() {
            let last = world.last_place();
            world = world.with_twins(&state, [last - 1, last]);
        }
        (world, state)
    }

    /// Whether the last two nodes are indistinguishable: they begin alike, and nothing that may happen names
    /// one of them or lets the core choose between them. A leader that hands over chooses the smaller id. Of
    /// two nodes that ask each other for pre-votes, the one with the larger id yields.
    fn has_twins(&self) -> bool {
        let begin_alike = matches!(self.beginning, Beginning::Unled | Beginning::Led);
        let Bounds { timeouts, changes, transfers, refusals, write_failures, .. } = self.bounds;
        // While nobody has led, the first to ask is node 1.
        let one_of_them_asks = timeouts <= if self.beginning == Beginning::Unled { 2 } else { 1 };
        let names_none = changes.is_empty() && (transfers, refusals, write_failures) == (0, 0, 0);
        self.voters == 3 && self.joining == 0 && begin_alike && one_of_them_asks && names_none
    }

    /// What may happen next.
    pub(crate) fn actions(&self, world: &World, state: &State, actions: &mut Vec<Action>) {
        actions.clear();
        world.actions(state, &self.bounds, actions);
        if self.beginning == Beginning::Unled && state.is_untouched() {
            actions.retain(|action| *action == Action::Timeout(0));
        }
    }
}

/// All configurations.
#[must_use]
pub fn configurations() -> Vec<Configuration> {
    let leading = [elections(), lone(), divergence(), figure_8()];
    let writing = [replication(), barriers(), persistence(), overwriting(), failures()];
    let changing = [membership_changes(), removals(), departures(), quorums(), snapshots(), transfers()];
    leading.into_iter().chain(writing).chain(changing).collect()
}

/// Three voters that begin like this.
fn three(name: &'static str, about: &'static str, beginning: Beginning) -> Configuration {
    let (bounds, deeper) = (Bounds::NOTHING, Bounds::NOTHING);
    Configuration { name, about, voters: 3, joining: 0, beginning, bounds, deeper }
}

fn elections() -> Configuration {
    let bounds = Bounds {
        terms: 2,
        timeouts: 2,
        silences: 1,
        crashes: 1,
        duplicates: 1,
        in_flight: 4,
        ..Bounds::NOTHING
    };
    let deeper = Bounds { timeouts: 3, in_flight: 5, ..bounds };
    let about = "who leads, with a crash and messages twice";
    Configuration { bounds, deeper, ..three("elections", about, Beginning::Unled) }
}

fn lone() -> Configuration {
    let bounds = Bounds {
        terms: 2,
        timeouts: 2,
        proposals: 1,
        barriers: 1,
        changes: &[Change::Add(2)],
        crashes: 1,
        in_flight: 3,
        disk: DiskSpeed::Any,
        ..Bounds::NOTHING
    };
    let deeper =
        Bounds { terms: 3, timeouts: 3, heartbeats: 2, proposals: 2, crashes: 2, in_flight: 5, ..bounds };
    let about = "a voter that is alone, with a slow disk, and a node that joins it";
    Configuration { voters: 1, joining: 1, bounds, deeper, ..three("lone", about, Beginning::Unled) }
}

fn divergence() -> Configuration {
    let bounds = Bounds { terms: 2, timeouts: 2, ..Bounds::NOTHING };
    let deeper = Bounds { terms: 3, timeouts: 3, crashes: 1, ..bounds };
    let about = "logs that conflict, and two elections";
    let beginning = Beginning::Diverged(&[&[2], &[], &[3]]);
    Configuration { bounds, deeper, ..three("divergence", about, beginning) }
}

fn figure_8() -> Configuration {
    let bounds =
        Bounds { terms: 2, timeouts: 2, crashes: 1, in_flight: 3, disk: DiskSpeed::Any, ..Bounds::NOTHING };
    let deeper = Bounds { timeouts: 3, crashes: 2, in_flight: 4, ..bounds };
    let about = "the same with slow disks and a crash, as in Figure 8 of the paper";
    let beginning = Beginning::Diverged(&[&[2], &[], &[3]]);
    Configuration { bounds, deeper, ..three("figure-8", about, beginning) }
}

fn replication() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 1,
        heartbeats: 1,
        silences: 1,
        proposals: 1,
        crashes: 1,
        duplicates: 1,
        in_flight: 4,
        ..Bounds::NOTHING
    };
    let deeper = Bounds { proposals: 2, in_flight: 6, ..bounds };
    let about = "commands and two leaders, with a crash and messages twice";
    Configuration { bounds, deeper, ..three("replication", about, Beginning::Led) }
}

fn membership_changes() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 1,
        heartbeats: 1,
        silences: 1,
        in_flight: 4,
        changes: &[Change::Add(3), Change::Remove(2)],
        ..Bounds::NOTHING
    };
    let deeper = Bounds { proposals: 1, in_flight: 6, ..bounds };
    let about = "a node is added, and one removed";
    Configuration { voters: 2, joining: 1, bounds, deeper, ..three("membership", about, Beginning::Led) }
}

fn removals() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 1,
        heartbeats: 1,
        silences: 1,
        crashes: 1,
        in_flight: 3,
        changes: &[Change::Remove(1), Change::Remove(3)],
        ..Bounds::NOTHING
    };
    let deeper = Bounds { proposals: 1, in_flight: 6, ..bounds };
    let about = "members are removed, the leader among them";
    Configuration { bounds, deeper, ..three("removals", about, Beginning::Led) }
}

/// From three voters to two to one: if the leader removes itself last, the other node is a majority alone.
/// There is room for a barrier that finds out which node is quick, and for a thrifty one after it.
fn departures() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 1,
        silences: 1,
        barriers: 2,
        changes: &[Change::Remove(3), Change::Remove(1)],
        in_flight: 3,
        ..Bounds::NOTHING
    };
    let deeper = Bounds { heartbeats: 1, proposals: 1, crashes: 1, in_flight: 5, ..bounds };
    let about = "read barriers, some of them thrifty, while members are removed and another leads";
    Configuration { bounds, deeper, ..three("departures", about, Beginning::Led) }
}

/// From four voters to three: the one step that makes the majority smaller while others remain, so that half
/// of the four are enough.
fn quorums() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 1,
        silences: 1,
        barriers: 1,
        changes: &[Change::Remove(4), Change::Remove(1)],
        in_flight: 3,
        ..Bounds::NOTHING
    };
    let deeper = Bounds { heartbeats: 1, silences: 2, barriers: 2, in_flight: 5, ..bounds };
    let about = "read barriers while the majority of four becomes that of three";
    Configuration { voters: 4, bounds, deeper, ..three("quorums", about, Beginning::Led) }
}

fn snapshots() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 1,
        silences: 1,
        proposals: 1,
        compactions: 2,
        crashes: 1,
        in_flight: 4,
        ..Bounds::NOTHING
    };
    let deeper = Bounds { heartbeats: 1, in_flight: 5, ..bounds };
    let about = "compaction, and a node that lags behind it";
    Configuration { bounds, deeper, ..three("snapshots", about, Beginning::Lagging) }
}

fn barriers() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 1,
        silences: 1,
        proposals: 1,
        barriers: 2,
        in_flight: 4,
        ..Bounds::NOTHING
    };
    let deeper = Bounds { heartbeats: 1, crashes: 1, in_flight: 5, ..bounds };
    let about = "read barriers while leadership changes";
    Configuration { bounds, deeper, ..three("barriers", about, Beginning::Led) }
}

fn transfers() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 1,
        heartbeats: 1,
        proposals: 1,
        transfers: 1,
        refusals: 1,
        in_flight: 3,
        ..Bounds::NOTHING
    };
    let deeper = Bounds { heartbeats: 2, barriers: 1, in_flight: 5, ..bounds };
    let about = "leadership handed over, and processes that are gone";
    Configuration { bounds, deeper, ..three("transfers", about, Beginning::Led) }
}

fn persistence() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 2,
        proposals: 1,
        crashes: 1,
        in_flight: 5,
        disk: DiskSpeed::Any,
        ..Bounds::NOTHING
    };
    let deeper = Bounds { terms: 2, timeouts: 3, crashes: 2, ..bounds };
    let about = "writes that become durable late, a crash that loses them";
    Configuration { bounds, deeper, ..three("persistence", about, Beginning::Unled) }
}

fn overwriting() -> Configuration {
    let bounds = Bounds { terms: 1, timeouts: 1, crashes: 1, disk: DiskSpeed::Any, ..Bounds::NOTHING };
    let deeper = Bounds { terms: 2, timeouts: 2, crashes: 2, ..bounds };
    let about = "entries written, cut off and written again while the disk is slow";
    let beginning = Beginning::Diverged(&[&[2], &[], &[3, 3]]);
    Configuration { bounds, deeper, ..three("overwriting", about, beginning) }
}

fn failures() -> Configuration {
    let bounds = Bounds {
        terms: 1,
        timeouts: 1,
        proposals: 1,
        write_failures: 1,
        disk: DiskSpeed::Any,
        ..Bounds::NOTHING
    };
    let deeper = Bounds { terms: 2, timeouts: 2, heartbeats: 2, crashes: 1, in_flight: 5, ..bounds };
    let about = "a disk that fails";
    Configuration { bounds, deeper, ..three("failures", about, Beginning::Led) }
}

/// A member by its number. Its addresses are never used.
fn member(number: u64, suffrage: Suffrage) -> Member {
    let Peer { incarnation, .. } = peer(number);
    Member { incarnation, suffrage, peer_address: String::new(), client_address: String::new() }
}

fn membership(voters: u64) -> Membership {
    let members = (1..=voters).map(|number| (peer(number).id, member(number, Suffrage::Voter)));
    Membership { members: members.collect() }
}

/// A store that begins with a snapshot of entry 1 and continues with an entry for each of these terms.
fn recovered(membership: &Membership, current_term: Term, terms: &[u64]) -> Recovered {
    let snapshot = Snapshot {
        last_included_index: LogIndex(1),
        last_included_term: Term(1),
        membership: Arc::new(membership.clone()),
        state: Arc::from([]),
    };
    let entries = terms.iter().zip(2..).map(|(term, index)| Entry {
        index: LogIndex(index),
        term: Term(*term),
        payload: Payload::Noop,
    });
    Recovered {
        hard_state: HardState { current_term, voted_for: None },
        snapshot: Some(Arc::new(snapshot)),
        entries: entries.collect(),
    }
}

/// Node 1 wins, and every node hears of what it commits.
fn led(world: &mut World, state: State) -> State {
    let state = prepared(world, state, &Action::Timeout(0));
    let state = settled(world, state, |_| true);
    let state = prepared(world, state, &Action::Timeout(0));
    let state = settled(world, state, |_| true);
    assert_eq!(world.node(&state, 0).raft.role(), Role::Leader, "node 1 wins where nothing is lost");
    state
}

/// Delivers every message to the nodes that `to` accepts until none is left; the messages to others stay.
fn settled(world: &mut World, mut state: State, to: impl Fn(Peer) -> bool) -> State {
    loop {
        let next = (0..state.in_flight()).find(|at| world.envelope(&state, *at).is_some_and(|e| to(e.to)));
        let Some(at) = next else { return state };
        state = prepared(world, state, &Action::Deliver(at));
    }
}

fn prepared(world: &mut World, state: State, action: &Action) -> State {
    let reach = Reach { terms_until: Term(u64::MAX), in_flight: IN_FLIGHT_MAX };
    let next = world.after(&state, action, reach);
    let next = next.unwrap_or_else(|violation| panic!("before the exploration begins: {violation}"));
    next.expect("the network has room for what it takes to begin")
}
