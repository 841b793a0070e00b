//! What will happen, in the order in which it will.

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

/// One life of a process on a host: what was meant for an earlier one goes nowhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Epoch(pub(crate) u32);

/// A connection, by its place in the table of all that there ever were.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ConnId(pub(crate) u32);

/// Bytes on their way, by their place in the table of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PacketId(pub(crate) u32);

/// Which way bytes travel on a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Direction {
    /// From the one who dialled.
    Forward,
    /// To the one who dialled.
    Back,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    /// Bytes arrive.
    Deliver { conn: ConnId, direction: Direction, packet: PacketId },
    /// The dialler learns that a connection is gone.
    Broken { conn: ConnId },
    /// A process dials a host.
    Dial { from: Slot, epoch: Epoch, to: Slot },
    /// A dial is answered by nobody: the process there is gone.
    Refused { from: Slot, epoch: Epoch, to: Slot },
    /// A handshake has taken too long.
    HandshakeOver { conn: ConnId },
    /// A node's deadline has come, or the end of a turn that was put off.
    Turn { slot: Slot, epoch: Epoch },
    /// A transaction is durable.
    Synced { slot: Slot, epoch: Epoch },
    /// A process goes on after a pause.
    Resume { slot: Slot, epoch: Epoch },
    /// A process is started.
    Start { slot: Slot },
    /// A client sends its next request.
    Request { client: u16, generation: u32 },
    /// Operators look at what is to be done.
    Operate,
    /// Something goes wrong.
    Fault,
    /// Something that went wrong is put right.
    Repair { repair: Repair },
    /// From now on nothing goes wrong.
    Peace,
    /// Everything must be well by now.
    Judgement,
}

/// What is put right after a while.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Repair {
    Network,
    Weather,
    Disk(Slot),
}

/// The queue. What is due at the same moment happens in the order in which it was planned.
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

    pub(crate) fn next(&mut self) -> Option<(Micros, Event)> {
        self.queue.pop().map(|Reverse((at, _, event))| (at, event))
    }
}
