//! The events to come, in the order in which they will happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use raft_core::Micros;

/// A place where a node may run: a computer with a disk and an address. The node with id `n` lives on host `n
/// - 1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Slot(pub(crate) u8);

impl Slot {
    pub(crate) fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// Counts the lives of the processes on a host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Epoch(pub(crate) u32);

/// One life of a process: its host, and which of the lives there it is. Events meant for an earlier life are
/// dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Life {
    pub(crate) slot: Slot,
    pub(crate) epoch: Epoch,
}

/// A connection, by its index in the table of all connections ever made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ConnId(pub(crate) u32);

impl ConnId {
    pub(crate) fn at(self) -> usize {
        usize::try_from(self.0).expect("32 bits fit a usize")
    }
}

/// Bytes on their way, by their index in the table of packets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PacketId(pub(crate) u32);

/// The direction in which bytes travel on a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Direction {
    /// From the dialler.
    Forward,
    /// To the dialler.
    Back,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    /// Bytes arrive.
    Deliver { conn: ConnId, direction: Direction, packet: PacketId },
    /// The dialler learns that a connection is gone.
    Broken { conn: ConnId },
    /// A process dials a host.
    Dial { from: Life, to: Slot },
    /// A dial is refused: the process there is gone.
    Refused { from: Life, to: Slot },
    /// A handshake has taken too long.
    HandshakeOver { conn: ConnId },
    /// A node's deadline is reached, or a turn that was put off ends.
    Turn { life: Life },
    /// A transaction is durable.
    Synced { life: Life },
    /// A process continues after a pause.
    Resume { life: Life },
    /// A process is started.
    Start { slot: Slot },
    /// A client sends its next request.
    Request { client: u16, generation: u32 },
    /// Operators look at what is to be done.
    Operate,
    /// Something goes wrong.
    Fault,
    /// Something that went wrong is repaired.
    Repair { repair: Repair },
    /// From now on one node reaches all others, and some of these do not reach each other.
    Star,
    /// From now on nothing goes wrong.
    FaultsStop,
    /// By now, everything must be well.
    CheckRecovery,
}

/// What is repaired after a while.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Repair {
    Network,
    Weather,
    Disk(Slot),
}

/// The queue. Events of the same time happen in the order in which they were scheduled.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    queue: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    planned: u64,
}

impl Schedule {
    pub(crate) fn plan(&mut self, at: Micros, event: Event) {
        self.planned += 1;
        self.queue.push(Reverse((at, self.planned, event)));
    }

    /// Nothing that is on its way arrives.
    pub(crate) fn lose_what_is_on_its_way(&mut self) {
        self.queue.retain(|Reverse((_, _, event))| !matches!(event, Event::Deliver { .. }));
    }

    pub(crate) fn next(&mut self) -> Option<(Micros, Event)> {
        self.queue.pop().map(|Reverse((at, _, event))| (at, event))
    }
}
