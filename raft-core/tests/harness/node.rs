//! One node on the bench: the core, its disk, its clock, and what it has said.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::{
    Config, Durable, Entry, Input, LogIndex, Message, Micros, Output, Payload, Peer, Raft, Recovered, Role,
};

use super::disk::Disk;

/// A state machine that is as simple as it can be: a number that depends on every entry applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) digest: u64,
}

impl Machine {
    pub(crate) fn apply(&mut self, entry: &Entry) {
        let bytes: &[u8] = match &entry.payload {
            Payload::Noop => b"noop",
            Payload::Command(command) => command,
            Payload::Membership(_) => b"membership",
        };
        let words = [entry.index.0, entry.term.0].into_iter().chain(bytes.iter().map(|b| u64::from(*b)));
        for word in words {
            // FNV-1a, on words.
            self.digest = (self.digest ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The snapshot of this state after `index`.
    pub(crate) fn state(self, index: LogIndex) -> Arc<[u8]> {
        Arc::from([index.0.to_be_bytes(), self.digest.to_be_bytes()].concat())
    }

    pub(crate) fn restored(state: &[u8]) -> Machine {
        let digest = state.last_chunk::<8>().expect("the bench makes states of 16 bytes");
        Machine { digest: u64::from_be_bytes(*digest) }
    }
}

/// One node. `step` is the only way in; what comes out waits in `sent` and `events`.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) raft: Raft,
    pub(crate) disk: Disk,
    /// Its own clock.
    pub(crate) now: Micros,
    /// Messages that nobody has taken yet, oldest first.
    pub(crate) sent: VecDeque<(Peer, Message)>,
    /// Every other output but writes, oldest first.
    pub(crate) events: Vec<Output>,
    /// How many of the events the cluster's story has told.
    pub(crate) told: usize,
    pub(crate) machine: Machine,
    /// What was applied in this life, oldest first.
    pub(crate) applied: Vec<Entry>,
}

impl Node {
    pub(crate) fn new(config: Config, now: Micros, recovered: Recovered) -> Node {
        let machine =
            recovered.snapshot.as_ref().map_or_else(Machine::default, |s| Machine::restored(&s.state));
        Node {
            raft: Raft::new(config, now, recovered.clone()),
            config,
            disk: Disk::new(recovered),
            now,
            sent: VecDeque::new(),
            events: Vec::new(),
            told: 0,
            machine,
            applied: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, input: Input) {
        self.raft.step(self.now, input);
        self.check_leader();
        while let Some(output) = self.raft.poll_output() {
            self.take(output);
        }
    }

    pub(crate) fn receive(&mut self, from: Peer, message: Message) {
        self.step(Input::Message { from, message });
    }

    /// Lets time pass up to the deadline and wakes the node, which must then have another one.
    pub(crate) fn wake(&mut self) {
        let Some(deadline) = self.raft.deadline() else { return };
        self.now = self.now.max(deadline);
        self.wake_now();
    }

    /// Wakes the node where it stands. A deadline that has come must not stay: the driver would spin.
    pub(crate) fn wake_now(&mut self) {
        self.step(Input::Wake);
        let next = self.raft.deadline();
        assert!(next.is_none_or(|next| next > self.now), "woken at {:?}, deadline {next:?}", self.now);
    }

    pub(crate) fn pass(&mut self, us: u64) {
        self.now = self.now.plus(us);
    }

    /// Makes every write durable and says so; true where there was one.
    pub(crate) fn sync(&mut self) -> bool {
        let mut any = false;
        while self.sync_one() {
            any = true;
        }
        any
    }

    /// Makes the oldest write durable and says so.
    pub(crate) fn sync_one(&mut self) -> bool {
        let Some(through) = self.disk.sync_one() else { return false };
        self.step(Input::WritesDurable { through });
        true
    }

    /// Power is cut and comes back: what is not durable is gone, and so is what was not taken yet.
    pub(crate) fn crash(&mut self) {
        self.disk.crash();
        let recovered = self.disk.durable().clone();
        let disk = self.disk.clone();
        *self = Node { disk, ..Node::new(self.config, self.now, recovered) };
    }

    /// The messages that wait, which are then gone.
    pub(crate) fn take_sent(&mut self) -> Vec<(Peer, Message)> {
        self.sent.drain(..).collect()
    }

    /// The events that wait, which are then gone.
    pub(crate) fn take_events(&mut self) -> Vec<Output> {
        self.told = 0;
        std::mem::take(&mut self.events)
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Write(write) => self.disk.submit(write),
            Output::Send { to, message } => {
                kept(Durable::from(self.disk.durable()).check_message(&self.raft, to, &message));
                self.sent.push_back((to, message));
            }
            Output::Committed(ref entry) => {
                let held = self.disk.durable().holds(entry);
                assert!(held, "{} applies entry {} that is not durable", self.config.me, entry.index);
                self.machine.apply(entry);
                self.applied.push(entry.clone());
                self.events.push(output);
            }
            Output::Restored(ref snapshot) => {
                let (base, _) = self.disk.durable().base();
                let index = snapshot.last_included_index;
                assert!(base >= index, "{} restores {index}, durable is {base}", self.config.me);
                self.machine = Machine::restored(&snapshot.state);
                self.events.push(output);
            }
            Output::BarrierPassed(_)
            | Output::ProposalDone { .. }
            | Output::RoleChanged { .. }
            | Output::TransferAborted
            | Output::MembershipChanged(_)
            | Output::EntriesLost { .. }
            | Output::SafetyLost(_)
            | Output::Dropped { .. } => self.events.push(output),
        }
    }

    /// Who leads has its own vote of that term on disk.
    fn check_leader(&self) {
        if self.raft.role() == Role::Leader {
            let durable = Durable::from(self.disk.durable());
            kept(durable.check_leader(self.config.me, self.raft.current_term()));
        }
    }
}

fn kept(promise: Result<(), String>) {
    if let Err(broken) = promise {
        panic!("{broken}");
    }
}
