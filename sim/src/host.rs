//! A host: its disk, its clock, and the process that may run on it.

use std::mem;

use raft_core::{LogIndex, Micros, NodeId, Peer, Role};
use ticketd::identity::{self, Identity};
use ticketd::node::{Node, Output};
use ticketd::settings::Settings;
use ticketd::storage::Recorder;

use crate::disk::{Disk, Storage};
use crate::network::Link;
use crate::schedule::{ConnId, Epoch, Event, Slot};
use crate::world::CLUSTER;

/// A host and everything that it keeps while processes come and go.
#[derive(Debug)]
pub(crate) struct Host {
    /// The node that lives here: its id, and the incarnation of the store.
    pub(crate) peer: Peer,
    pub(crate) standing: Standing,
    pub(crate) disk: Disk,
    /// The settings of the last start, as in the store; `None` before the first start.
    pub(crate) settings: Option<Settings>,
    /// A node that is to be started waits until then, by the host's clock, because of a promise.
    pub(crate) bound_until: Option<Micros>,
    pub(crate) health: Health,
    /// Stores that were here before: what their owners promised was true.
    pub(crate) former: Vec<(Peer, Disk)>,
    pub(crate) clock: Clock,
    /// The current life, or the next one.
    pub(crate) epoch: Epoch,
    pub(crate) run: Run,
    /// It stays broken after the faults have stopped.
    pub(crate) has_lasting_fault: bool,
}

/// Whether a process runs on a host.
#[derive(Debug)]
pub(crate) enum Run {
    Down,
    /// None runs, and one is about to be started.
    Starting,
    Up(Process),
    /// One is there and does nothing.
    Paused(Process, Pause),
}

/// What waits until a process goes on.
#[derive(Debug)]
pub(crate) struct Pause {
    /// The outputs that it has not carried out.
    pub(crate) held: Vec<Output>,
    /// What has arrived since.
    pub(crate) backlog: Vec<Event>,
}

/// The relation of a host's store to the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// There is no store.
    Empty,
    /// Its operator has asked the cluster to add it.
    Joining,
    /// It was added at this index.
    Member { joined_at: LogIndex },
}

/// What a disk does with writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    Sound,
    /// Each takes at least this long.
    Slow {
        at_least_us: u64,
    },
    /// It refuses them, with or without having carried them out.
    Failing,
    /// It has no room for them.
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
    /// The link to each host, by the host's number.
    pub(crate) links: Vec<Option<Link>>,
    /// The last connection that it has accepted from each host, by the host's number.
    pub(crate) callers: Vec<Option<ConnId>>,
    /// When the next turn is planned.
    pub(crate) turn_at: Option<Micros>,
    /// Inputs were given and the turn has not ended yet.
    pub(crate) put_off: bool,
    /// The commit index when it was last checked.
    pub(crate) commit_seen: LogIndex,
    /// It dies after carrying out this many outputs of a turn.
    pub(crate) dies_after: Option<u8>,
    /// It dies when its next checkpoint should become durable; that checkpoint is torn.
    pub(crate) tears_next: bool,
    /// It is paused for this long before it carries out the outputs of its next turn.
    pub(crate) pause_us: Option<u64>,
    pub(crate) removed: bool,
}

impl Host {
    /// The identity that its store must have.
    pub(crate) fn identity(&self) -> Identity {
        let standing = match self.standing {
            Standing::Empty | Standing::Joining => identity::Standing::Joining,
            Standing::Member { joined_at } => identity::Standing::Member { cluster: CLUSTER, joined_at },
        };
        Identity { me: self.peer, standing }
    }

    /// The process of this life, if it runs.
    pub(crate) fn process(&mut self, epoch: Epoch) -> Option<&mut Process> {
        self.process_and_disk(epoch).map(|(process, _)| process)
    }

    /// The process of this life, if it runs, and the disk that it writes to.
    pub(crate) fn process_and_disk(&mut self, epoch: Epoch) -> Option<(&mut Process, &mut Disk)> {
        let process = self.run.process_mut().filter(|_| self.epoch == epoch)?;
        Some((process, &mut self.disk))
    }

    /// Whether the node that runs here leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.run.process().is_some_and(|process| process.node.raft().role() == Role::Leader)
    }

    /// Whether clients can never again get anything from it.
    pub(crate) fn is_lost(&self) -> bool {
        self.has_lasting_fault && !matches!(self.run, Run::Up(_))
    }
}

impl Run {
    /// The process, even if it is paused.
    pub(crate) fn process(&self) -> Option<&Process> {
        match self {
            Run::Up(process) | Run::Paused(process, _) => Some(process),
            Run::Down | Run::Starting => None,
        }
    }

    /// The process, even if it is paused.
    pub(crate) fn process_mut(&mut self) -> Option<&mut Process> {
        match self {
            Run::Up(process) | Run::Paused(process, _) => Some(process),
            Run::Down | Run::Starting => None,
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        matches!(self, Run::Paused(..))
    }

    /// Pauses a process that is up, with the outputs that it has not carried out; returns whether it did.
    pub(crate) fn pause(&mut self, held: Vec<Output>) -> bool {
        let is_up = matches!(self, Run::Up(_));
        *self = match mem::replace(self, Run::Down) {
            Run::Up(process) => Run::Paused(process, Pause { held, backlog: Vec::new() }),
            run @ (Run::Down | Run::Starting | Run::Paused(..)) => run,
        };
        is_up
    }

    /// Lets a process that is paused go on; returns what waited.
    pub(crate) fn resume(&mut self) -> Option<Pause> {
        let (run, pause) = match mem::replace(self, Run::Down) {
            Run::Paused(process, pause) => (Run::Up(process), Some(pause)),
            run @ (Run::Down | Run::Starting | Run::Up(_)) => (run, None),
        };
        *self = run;
        pause
    }

    /// Ends the process, and with it what waited for it.
    pub(crate) fn end(&mut self) -> Option<Process> {
        match mem::replace(self, Run::Down) {
            Run::Up(process) | Run::Paused(process, _) => Some(process),
            run @ (Run::Down | Run::Starting) => {
                *self = run;
                None
            }
        }
    }
}

impl Process {
    pub(crate) fn new(node: Node, recorder: Recorder, hosts: usize) -> Process {
        Process {
            commit_seen: node.commit_index(),
            node,
            storage: Storage::new(recorder),
            links: vec![None; hosts],
            callers: vec![None; hosts],
            turn_at: None,
            put_off: false,
            dies_after: None,
            tears_next: false,
            pause_us: None,
            removed: false,
        }
    }
}

/// A monotonic clock that need not run at the rate of simulated time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// At this simulated time ...
    at: Micros,
    /// ... the clock showed this.
    shown: Micros,
    /// How far the clock advances in 1024 simulated microseconds.
    rate: u64,
}

impl Clock {
    pub(crate) fn new(shown: u64) -> Clock {
        Clock { at: Micros(0), shown: Micros(shown), rate: 1024 }
    }

    /// What the clock shows.
    pub(crate) fn local(&self, now: Micros) -> Micros {
        self.shown.plus((now.since(self.at) * self.rate) >> 10)
    }

    /// The earliest time at which the clock shows `local`.
    pub(crate) fn when(&self, local: Micros) -> Micros {
        self.at.plus((local.since(self.shown) << 10).div_ceil(self.rate))
    }

    pub(crate) fn set_rate(&mut self, now: Micros, rate: u64) {
        *self = Clock { at: now, shown: self.local(now), rate };
    }

    pub(crate) fn jump_ahead(&mut self, now: Micros, us: u64) {
        *self = Clock { at: now, shown: self.local(now).plus(us), rate: self.rate };
    }

    /// No monotonic clock should do this; a node must tolerate it.
    pub(crate) fn jump_back(&mut self, now: Micros, us: u64) {
        *self = Clock { at: now, shown: Micros(self.local(now).0.saturating_sub(us)), rate: self.rate };
    }
}

/// The node id of the node on this host.
pub(crate) fn node_id(slot: Slot) -> NodeId {
    NodeId::new(u64::from(slot.0) + 1).expect("one more than a number is not 0")
}

/// The host of the node with this id.
pub(crate) fn slot_of(id: NodeId) -> Slot {
    Slot(u8::try_from(id.get() - 1).expect("there are a handful of hosts"))
}
