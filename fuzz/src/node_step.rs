//! The steps of a node. Whatever hostile members, clients and operators say and ask, in whatever order, the
//! node answers each request once and never as if there were more IDs than there are; time alone brings every
//! answer; and it stops only if safety is already broken.
//!
//! The other members lie, or oblige: they answer what the node has said as it would like. So it leads,
//! commits, hands over and takes over, and hears anything in between. Uniqueness of IDs cannot be required of
//! it here, since a majority of liars can make it believe anything: `make sim` checks that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;

use raft_core::{
    AppendEntriesResponse, AppendOutcome, Config, HeartbeatResponse, InstallSnapshotResponse, Lease,
    LogIndex, Message, Micros, NodeId, Payload, Peer, PreVoteResponse, Recovered, RequestVoteResponse,
    Snapshot, Term, TimeoutNow,
};
use ticketd::node::{
    Answer, Bequest, Forward, ForwardOutcome, Input, Node, NodeConfig, OperationId, Output, PeerMessage,
    RequestId, SequenceNumber, initial_state,
};

use super::bytes::Bytes;
use super::core_step::disk::Disk;
use super::core_step::{change, first_store, hostile, peer};

/// In microseconds; a single step passes up to 2,540.
const ELECTION_TIMEOUT_US: u64 = 1_000;
const HEARTBEAT_INTERVAL_US: u64 = 200;
const REQUEST_TIMEOUT_US: u64 = 5_000;
/// How many of the node's last messages may still be answered.
const SAID_MAX: usize = 16;
/// The exclusive end of the IDs: the last ID is one below it.
const END: u64 = u64::MAX;
/// How often a node may be woken, with nothing else happening, before its last request is answered.
const WAKES_MAX: usize = 10_000;

/// Treats `data` as a sequence of events.
pub fn check(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut driver = Driver::new(bytes.byte());
    while !bytes.is_empty() {
        driver.event(&mut bytes);
    }
    // The node may still find that safety is broken: then it stops here as well.
    driver.see_out();
}

/// What a node's driver knows, and what the environment remembers.
struct Driver {
    plan: u8,
    node: Node,
    disk: Disk,
    now: Micros,
    /// What the node has sent to others, oldest first.
    said: VecDeque<(Peer, Message)>,
    /// What it has asked leaders for.
    asked: VecDeque<(Peer, SequenceNumber, NonZeroU64)>,
    /// How many IDs each unanswered request wants.
    waiting: BTreeMap<RequestId, NonZeroU64>,
    operations: BTreeSet<OperationId>,
    /// The last number given to a request or an operation.
    last_number: u64,
    has_failed: bool,
}

impl Driver {
    fn new(plan: u8) -> Driver {
        let mut recovered = first_store();
        recovered.snapshot = recovered.snapshot.map(|snapshot| {
            // At the upper end of the range, few IDs are left.
            let first_id = NonZeroU64::new(if plan & 1 == 1 { END - 9 } else { 1 }).expect("neither is 0");
            Arc::new(Snapshot { state: initial_state(first_id), ..Snapshot::clone(&snapshot) })
        });
        let disk = Disk::new(recovered);
        Driver {
            plan,
            node: start(plan, Micros(0), &disk.durable),
            disk,
            now: Micros(0),
            said: VecDeque::new(),
            asked: VecDeque::new(),
            waiting: BTreeMap::new(),
            operations: BTreeSet::new(),
            last_number: 0,
            has_failed: false,
        }
    }

    /// One event.
    fn event(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(24) {
            0..=3 => {
                let from = hostile::sender(bytes, peer(1));
                let message = speak_our_language(hostile::message(bytes));
                self.step(Input::Message { from, message: message.into() })
            }
            4..=8 => self.oblige(bytes.byte()),
            9 => self.oblige_forward(bytes),
            10 => {
                let from = hostile::sender(bytes, peer(1));
                self.step(Input::Message { from, message: forward(bytes).into() })
            }
            11 => {
                let from = hostile::sender(bytes, peer(1));
                self.step(Input::Message { from, message: bequest(bytes).into() })
            }
            12 => self.step(Input::PeerUnreachable(peer(1 + u64::from(bytes.below(4))))),
            13 => {
                self.now = self.now.plus(u64::from(bytes.byte()) * 10);
                self.step(Input::Wake)
            }
            14 => self.wake(),
            15 => self.step(Input::ConnectionBroken(peer(1 + u64::from(bytes.below(4))))),
            16 | 17 => self.sync(),
            18..=20 => self.take_ids(count(bytes)),
            21 => {
                let operation = self.next_operation();
                self.step(Input::ChangeMembership { operation, change: change(bytes) })
            }
            22 => {
                let (operation, to) = (self.next_operation(), NodeId::new(u64::from(bytes.below(5))));
                self.step(Input::TransferLeadership { operation, to })
            }
            _ => self.disturb(bytes),
        }
    }

    /// A disk that fails, a crash, or a leader that tells the node to take over.
    fn disturb(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(8) {
            0 => {
                self.has_failed = true;
                self.step(Input::WriteFailed)
            }
            1 | 2 => {
                self.crash();
            }
            _ => {
                let Some(leader) = self.node.status().leader.filter(|leader| *leader != peer(1).id) else {
                    return;
                };
                let (from, term) = (peer(leader.get()), self.node.status().term);
                let mut bequest = Bequest { term, ..bequest(bytes) };
                if bytes.flag() {
                    bequest.last_log_index = self.node.status().last_log_index;
                }
                self.step(Input::Message { from, message: bequest.into() });
                self.step(Input::Message { from, message: Message::TimeoutNow(TimeoutNow { term }).into() })
            }
        }
    }

    fn take_ids(&mut self, count: NonZeroU64) {
        self.last_number += 1;
        let request = RequestId(self.last_number);
        self.waiting.insert(request, count);
        self.step(Input::TakeIds { request, count })
    }

    fn next_operation(&mut self) -> OperationId {
        self.last_number += 1;
        let operation = OperationId(self.last_number);
        self.operations.insert(operation);
        operation
    }

    /// A member answers one of the last messages as the node would like.
    fn oblige(&mut self, choice: u8) {
        if self.said.is_empty() {
            return;
        }
        let at = usize::from(choice) % self.said.len();
        let (from, message) = self.said[at].clone();
        if let Some(message) = answer_to(message) {
            self.step(Input::Message { from, message: message.into() });
        }
    }

    /// A leader answers a forwarded request, as the node would like or not.
    fn oblige_forward(&mut self, bytes: &mut Bytes<'_>) {
        let Some((from, sequence, count)) = self.asked.pop_front() else { return };
        self.step(Input::Message {
            from,
            message: Forward::TakeIdsResponse { sequence, outcome: outcome(bytes, count) }.into(),
        })
    }

    fn wake(&mut self) {
        self.now = self.now.max(self.node.deadline().unwrap_or(self.now));
        self.step(Input::Wake)
    }

    fn sync(&mut self) {
        if self.has_failed {
            return;
        }
        if let Some(through) = self.disk.sync() {
            self.step(Input::WritesDurable { through });
        }
    }

    /// Starts again from what is durable. No request waits for an answer any more.
    fn crash(&mut self) {
        self.disk = Disk::new(std::mem::take(&mut self.disk.durable));
        self.node = start(self.plan, self.now, &self.disk.durable);
        self.has_failed = false;
        self.waiting.clear();
        self.operations.clear();
        self.asked.clear();
    }

    /// Nothing more happens, and no disk finishes: every request for IDs is answered.
    fn see_out(&mut self) {
        for _ in 0..WAKES_MAX {
            if self.waiting.is_empty() {
                return;
            }
            self.now = self.now.plus(1);
            self.wake();
        }
        panic!("{} requests are never answered", self.waiting.len());
    }

    fn step(&mut self, input: Input) {
        let (node, now) = (&mut self.node, self.now);
        node.step(now, input);
        while let Some(output) = self.node.poll_output() {
            self.carry_out(output);
        }
        let status = self.node.status();
        assert!(status.applied_index <= status.commit_index, "what is not committed is applied");
        assert!(status.commit_index <= status.last_log_index, "what is committed is not in the log");
        assert_eq!(status.is_muted, self.has_failed, "it does not know of its disk");
        let deadline = self.node.deadline();
        assert!(deadline.is_some() || self.waiting.is_empty(), "who waits is never looked at again");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Write(write) => self.disk.submit(write),
            Output::Send { to, message: PeerMessage::Raft(message) } => {
                if self.said.len() == SAID_MAX {
                    self.said.pop_front();
                }
                self.said.push_back((to, message));
            }
            Output::Send { to, message: PeerMessage::Forward(Forward::TakeIds { sequence, count, .. }) } => {
                assert!(self.is_wanted(count), "{count} IDs are asked for, which nobody wants");
                self.asked.push_back((to, sequence, count));
            }
            Output::Send {
                message: PeerMessage::Forward(Forward::TakeIdsResponse { outcome, .. }), ..
            } => {
                let first = if let ForwardOutcome::Ids { first, .. } = outcome { first } else { 1 };
                assert!((1..END).contains(&first), "ID {first} is given to another node");
            }
            Output::Send { message: PeerMessage::Bequest(Bequest { first, count, .. }), .. } => {
                check_range(first, count);
            }
            Output::Answer { request, answer } => {
                let wanted = self.waiting.remove(&request).expect("each request is answered once");
                if let Answer::Ids { first, count } = answer {
                    assert_eq!(count, wanted, "another number of IDs than was asked for");
                    check_range(first, count);
                }
            }
            Output::OperationDone { operation, .. } => {
                assert!(self.operations.remove(&operation), "an operation is done twice");
            }
            // To the node, it is the same as a disk that has failed.
            Output::EntriesLost { .. } | Output::SafetyLost(_) => self.has_failed = true,
            Output::RoleChanged { .. }
            | Output::MembershipChanged(_)
            | Output::Removed { .. }
            | Output::PeerRemoved(_)
            | Output::Dropped { .. } => {}
        }
    }

    /// Whether some number of the oldest requests, or of the latest, together want exactly this many IDs;
    /// 2^64-1 stands for more.
    fn is_wanted(&self, count: NonZeroU64) -> bool {
        fn is_sum<'a>(mut counts: impl Iterator<Item = &'a NonZeroU64>, count: NonZeroU64) -> bool {
            let mut wanted: u64 = 0;
            counts.any(|more| {
                wanted = wanted.saturating_add(more.get());
                wanted == count.get()
            })
        }
        is_sum(self.waiting.values(), count) || is_sum(self.waiting.values().rev(), count)
    }
}

fn check_range(first: u64, count: NonZeroU64) {
    let end = first.checked_add(count.get());
    assert!(first > 0 && end.is_some(), "{count} IDs from {first} on");
}

fn start(plan: u8, now: Micros, durable: &Recovered) -> Node {
    let raft = Config {
        me: peer(1),
        election_timeout_us: ELECTION_TIMEOUT_US,
        heartbeat_interval_us: HEARTBEAT_INTERVAL_US,
        lease: (plan & 2 == 2).then_some(Lease { clock_error_ppm: 1_000 }),
        seed: u64::from(plan),
    };
    let window = [0, 3, 1_000, u64::MAX][usize::from(plan >> 3 & 3)];
    let config = NodeConfig { raft, window, request_timeout_us: REQUEST_TIMEOUT_US, forward: plan & 4 == 4 };
    let node = Node::new(config, now, durable.clone()).expect("what is none of ours never enters the store");
    let compacting = node.compacting_every(NonZeroU64::new(4).expect("four"));
    if plan & 32 == 32 { compacting.thrifty_from(0) } else { compacting }
}

/// Turns most commands that nodes do not understand into ones that they do.
fn speak_our_language(mut message: Message) -> Message {
    if let Message::AppendEntries(append) = &mut message {
        for entry in &mut append.entries {
            if let Payload::Command(command) = &mut entry.payload {
                *command = translated(command);
            }
        }
    }
    if let Message::InstallSnapshot(install) = &mut message {
        let snapshot = Snapshot::clone(&install.snapshot);
        install.snapshot = Arc::new(Snapshot { state: translated(&snapshot.state), ..snapshot });
    }
    message
}

/// Commands and states have the same form: a 1 for their kind, then a number.
fn translated(said: &Arc<[u8]>) -> Arc<[u8]> {
    let number = match said.first() {
        Some(byte @ 0..=199) => u64::from(*byte) + 1,
        Some(byte @ 200..=253) => END - u64::from(byte - 200),
        Some(254..) | None => return Arc::clone(said),
    };
    [1].into_iter().chain(number.to_be_bytes()).collect()
}

/// What a sound and willing node would answer.
fn answer_to(message: Message) -> Option<Message> {
    Some(match message {
        Message::PreVote(m) => Message::PreVoteResponse(PreVoteResponse {
            term: Term(m.next_term.0 - 1),
            next_term: m.next_term,
            vote_granted: true,
        }),
        Message::RequestVote(m) => {
            Message::RequestVoteResponse(RequestVoteResponse { term: m.term, vote_granted: true })
        }
        Message::AppendEntries(m) => {
            let match_index = m.entries.last().map_or(m.prev_log_index, |entry| entry.index);
            let outcome = AppendOutcome::Matched { match_index };
            Message::AppendEntriesResponse(AppendEntriesResponse { term: m.term, outcome })
        }
        Message::Heartbeat(m) => {
            let lease_us = Some(ELECTION_TIMEOUT_US);
            Message::HeartbeatResponse(HeartbeatResponse {
                term: m.term,
                round: m.round,
                awaits_disk: false,
                lease_us,
            })
        }
        Message::InstallSnapshot(m) => {
            let match_index = m.snapshot.last_included_index;
            Message::InstallSnapshotResponse(InstallSnapshotResponse { term: m.term, match_index })
        }
        Message::PreVoteResponse(_)
        | Message::RequestVoteResponse(_)
        | Message::AppendEntriesResponse(_)
        | Message::HeartbeatResponse(_)
        | Message::InstallSnapshotResponse(_)
        | Message::TimeoutNow(_) => return None,
    })
}

fn forward(bytes: &mut Bytes<'_>) -> Forward {
    let sequence = SequenceNumber(bytes.number());
    if bytes.flag() {
        Forward::TakeIds { sequence, count: count(bytes), still_awaited: bytes.byte() }
    } else {
        let count = count(bytes);
        Forward::TakeIdsResponse { sequence, outcome: outcome(bytes, count) }
    }
}

fn outcome(bytes: &mut Bytes<'_>, count: NonZeroU64) -> ForwardOutcome {
    match bytes.below(8) {
        0 => ForwardOutcome::NotLeader,
        1 => ForwardOutcome::TimedOut,
        2 => ForwardOutcome::Overloaded,
        3 => ForwardOutcome::Exhausted,
        // The codec lets no other first ID through.
        _ => ForwardOutcome::Ids { first: bytes.number().max(1), count },
    }
}

fn bequest(bytes: &mut Bytes<'_>) -> Bequest {
    Bequest {
        term: Term(bytes.number()),
        last_log_index: LogIndex(bytes.number()),
        // As the codec requires.
        first: bytes.number().max(1),
        count: count(bytes),
    }
}

fn count(bytes: &mut Bytes<'_>) -> NonZeroU64 {
    NonZeroU64::new(bytes.number()).unwrap_or(NonZeroU64::MIN)
}
