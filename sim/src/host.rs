//! A host: its disk, its clock, and the process that may run on it.

use raft_core::{LogIndex, Micros, NodeId, Peer};
use ticketd::identity::{self, Identity};
use ticketd::node::{Node, Output};
use ticketd::settings::Settings;
use ticketd::storage::Recorder;

use crate::disk::{Disk, Storage};
use crate::network::Link;
use crate::schedule::{Epoch, Event, Slot};
use crate::world::CLUSTER;

/// A host and all that it keeps while processes come and go.
#[derive(Debug)]
pub(crate) struct Host {
    /// Who lives here: the node's id, and the incarnation of the store.
    pub(crate) peer: Peer,
    pub(crate) standing: Standing,
    pub(crate) disk: Disk,
    /// How the node was last started, as its store has it; `None` before the first start.
    pub(crate) settings: Option<Settings>,
    /// Until then, by the host's clock, a node that is to be started sits out what it promised.
    pub(crate) bound_until: Option<Micros>,
    pub(crate) health: Health,
    /// Stores that were here before: what their owners promised, they had.
    pub(crate) former: Vec<(Peer, Disk)>,
    pub(crate) clock: Clock,
    /// The current life, or the next one.
    pub(crate) epoch: Epoch,
    pub(crate) process: Option<Process>,
    /// What arrived while the process was paused.
    pub(crate) backlog: Vec<Event>,
    pub(crate) paused: bool,
    /// A process is to be started already.
    pub(crate) starting: bool,
    /// It stays broken in times of peace.
    pub(crate) ailing: bool,
}

/// How a host's store stands to the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// There is no store.
    Empty,
    /// Its operator has asked that it be added.
    Joining,
    /// It was added at this index.
    Member { joined_at: LogIndex },
}

/// What a disk does with writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    Sound,
    /// Takes this many times as long, at least.
    Slow {
        at_least_us: u64,
    },
    /// Refuses them, with or without having carried them out.
    Failing,
    /// Has no room for them.
    Full,
}

impl Standing {
    pub(crate) fn is_member(self) -> bool {
        match self {
            Standing::Member { .. } => true,
            Standing::Empty | Standing::Joining => false,
        }
    }
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) node: Node,
    pub(crate) storage: Storage,
    /// To each host, at its place.
    pub(crate) links: Vec<Option<Link>>,
    /// When the next turn is planned.
    pub(crate) turn_at: Option<Micros>,
    /// Inputs were given and the turn has not ended yet.
    pub(crate) put_off: bool,
    /// What the node wanted done when the process was paused.
    pub(crate) held: Vec<Output>,
    /// The commit index when it was last looked at.
    pub(crate) commit_seen: LogIndex,
    /// It dies after carrying out this many outputs of a turn.
    pub(crate) dies_after: Option<u8>,
    /// It dies when its next checkpoint should be durable, which is torn.
    pub(crate) tears_next: bool,
    /// It is paused before it carries out the outputs of its next turn, for this long.
    pub(crate) pauses_for_us: Option<u64>,
    pub(crate) removed: bool,
}

impl Host {
    /// Who its store must say it is.
    pub(crate) fn identity(&self) -> Identity {
        let standing = match self.standing {
            Standing::Empty | Standing::Joining => identity::Standing::Joining,
            Standing::Member { joined_at } => identity::Standing::Member { cluster: CLUSTER, joined_at },
        };
        Identity { me: self.peer, standing }
    }

    /// Clients get nothing from it any more, for good.
    pub(crate) fn is_lost(&self) -> bool {
        self.ailing && (self.paused || self.process.is_none())
    }
}

impl Process {
    pub(crate) fn new(node: Node, recorder: Recorder, hosts: usize) -> Process {
        Process {
            commit_seen: node.commit_index(),
            node,
            storage: Storage::new(recorder),
            links: (0..hosts).map(|_| None).collect(),
            turn_at: None,
            put_off: false,
            held: Vec::new(),
            dies_after: None,
            tears_next: false,
            pauses_for_us: None,
            removed: false,
        }
    }
}

/// A monotonic clock that need not run at the rate of the simulation's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// At this moment of the simulation ...
    at: Micros,
    /// ... it showed this.
    shown: Micros,
    /// How far it goes in 1024 microseconds.
    rate: u64,
}

impl Clock {
    pub(crate) fn new(shown: u64) -> Clock {
        Clock { at: Micros(0), shown: Micros(shown), rate: 1024 }
    }

    /// What it shows.
    pub(crate) fn local(&self, now: Micros) -> Micros {
        self.shown.plus((now.since(self.at) * self.rate) >> 10)
    }

    /// When it will show `local`, at the earliest.
    pub(crate) fn when(&self, local: Micros) -> Micros {
        self.at.plus((local.since(self.shown) << 10).div_ceil(self.rate))
    }

    pub(crate) fn set_rate(&mut self, now: Micros, rate: u64) {
        *self = Clock { at: now, shown: self.local(now), rate };
    }

    pub(crate) fn jump_ahead(&mut self, now: Micros, us: u64) {
        *self = Clock { at: now, shown: self.local(now).plus(us), rate: self.rate };
    }

    /// No monotonic clock should do this; a node that sees it must not care.
    pub(crate) fn jump_back(&mut self, now: Micros, us: u64) {
        *self = Clock { at: now, shown: Micros(self.local(now).0.saturating_sub(us)), rate: self.rate };
    }
}

/// The node id of the node on this host.
pub(crate) fn node_id(slot: Slot) -> NodeId {
    NodeId::new(u64::from(slot.0) + 1).expect("one more than a number is not 0")
}

/// The host that the node with this id lives on.
pub(crate) fn slot_of(id: NodeId) -> Slot {
    Slot(u8::try_from(id.get() - 1).expect("there are a handful of hosts"))
}
