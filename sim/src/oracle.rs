//! The properties that must hold at every step, whatever happens (Raft Figure 3).
//!
//! The oracle sees all nodes at once, which no node can: which node led in which term, every entry that was
//! ever written, and the one sequence of committed entries, to which it applies a state machine of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use raft_core::{Entry, LogIndex, Membership, NodeId, Payload, Peer, Raft, Role, Snapshot, Term};
use ticketd::node::Bequest;

use crate::schedule::Epoch;
use crate::violated;

/// The truth about one cluster.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// The leader of each term, and the life of its process.
    leaders: BTreeMap<Term, (Peer, Epoch)>,
    /// The first entry that was written at each index, by offset from `first`.
    written: Vec<Option<Written>>,
    /// Entries of other terms at the same indexes.
    written_too: HashMap<(LogIndex, Term), Written>,
    /// Index of the first entry of `committed`.
    first: LogIndex,
    committed: Vec<Committed>,
    /// The integers that each reservation passed over, ascending.
    pub(crate) reserved: Vec<Reserved>,
    /// What leaders left to the nodes that they told to take over.
    bequests: Vec<Left>,
    initial: u64,
    initial_membership: Arc<Membership>,
}

#[derive(Clone, Debug)]
struct Written {
    term: Term,
    previous: Term,
    payload: Payload,
}

#[derive(Clone, Debug)]
struct Committed {
    entry: Entry,
    /// The term of the node that first considered it committed: a leader had committed it in this term or
    /// before.
    by: Term,
    /// The smallest integer that is not reserved, after this entry.
    next: u64,
    membership: Arc<Membership>,
}

/// The integers from `start` up to but excluding `end`: they belong to the leader of `term`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reserved {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) term: Term,
}

/// The integers from `start` up to but excluding `end`: the leader of `term` left them to this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Left {
    start: u64,
    end: u64,
    term: Term,
    to: Peer,
}

impl Oracle {
    /// The oracle of a cluster that begins with this snapshot on every disk.
    pub(crate) fn new(initial: &Snapshot) -> Oracle {
        Oracle {
            leaders: BTreeMap::new(),
            written: Vec::new(),
            written_too: HashMap::new(),
            first: initial.last_included_index.next(),
            committed: Vec::new(),
            reserved: Vec::new(),
            bequests: Vec::new(),
            initial: decode_state(&initial.state),
            initial_membership: Arc::clone(&initial.membership),
        }
    }

    /// The highest index that any node considers committed.
    pub(crate) fn commit_index(&self) -> LogIndex {
        self.committed.last().map_or(LogIndex(self.first.0 - 1), |c| c.entry.index)
    }

    /// The membership after all committed entries.
    pub(crate) fn membership(&self) -> &Arc<Membership> {
        self.committed.last().map_or(&self.initial_membership, |c| &c.membership)
    }

    /// The smallest integer that is not reserved, after all committed entries.
    pub(crate) fn next(&self) -> u64 {
        self.committed.last().map_or(self.initial, |c| c.next)
    }

    /// The leader of this term.
    pub(crate) fn leader_of(&self, term: Term) -> Option<(Peer, Epoch)> {
        self.leaders.get(&term).copied()
    }

    /// Whether this node has led in a later term than this one.
    pub(crate) fn has_led_after(&self, term: Term, node: NodeId) -> bool {
        self.leaders.range(term.next()..).any(|(_, (leader, _))| leader.id == node)
    }

    /// A leader leaves some of its integers to another node: they must be its own.
    pub(crate) fn on_bequest(&mut self, from: (Peer, Epoch), to: Peer, bequest: Bequest) {
        let (start, end) = (bequest.first, bequest.first + bequest.count.get());
        for part in self.parts(start, end) {
            if self.leader_of(bequest.term) != Some(from)
                || !self.terms_of_holder(part, from).contains(&bequest.term)
            {
                violated!("{from:?} leaves {bequest:?} to {to}, and does not have it");
            }
        }
        let left = Left { start, end, term: bequest.term, to };
        if !self.bequests.contains(&left) {
            self.bequests.push(left);
        }
    }

    /// How often any leader has left integers to another node.
    pub(crate) fn bequests(&self) -> u64 {
        u64::try_from(self.bequests.len()).expect("a length fits 64 bits")
    }

    /// How often the leader of this term has left integers to another node.
    pub(crate) fn bequests_in(&self, term: Term) -> usize {
        self.bequests.iter().filter(|left| left.term == term).count()
    }

    /// The terms in which this process led and owned these integers, which are of one reservation: it
    /// reserved them, or they were left to it.
    pub(crate) fn terms_of_holder(&self, part: Reserved, holder: (Peer, Epoch)) -> Vec<Term> {
        let covers = |left: &&Left| left.start <= part.start && part.end <= left.end && left.to == holder.0;
        let inherited = self.bequests.iter().filter(covers).map(|left| left.term.next());
        let leads = |term: &Term| self.leader_of(*term) == Some(holder);
        inherited.chain([part.term]).filter(leads).collect()
    }

    /// Splits these integers into parts, each of one reservation.
    pub(crate) fn parts(&self, mut start: u64, end: u64) -> Vec<Reserved> {
        let mut at = self.reserved.partition_point(|r| r.end <= start);
        let mut parts = Vec::new();
        while start < end {
            match self.reserved.get(at) {
                Some(r) if r.start <= start => {
                    let part = Reserved { start, end: r.end.min(end), term: r.term };
                    start = part.end;
                    parts.push(part);
                }
                Some(_) | None => violated!("ID {start} was handed out and never reserved"),
            }
            at += 1;
        }
        parts
    }

    /// Election safety (Raft §5.2) and, if the node still leads, leader completeness (§5.4).
    pub(crate) fn on_leader(&mut self, raft: &Raft, epoch: Epoch, term: Term) {
        let me = raft.me();
        if let Some((other, life)) = self.leaders.insert(term, (me, epoch)) {
            violated!("two leaders in term {term}: {other} in life {life:?}, then {me} in life {epoch:?}");
        }
        if raft.role() != Role::Leader || raft.current_term() != term {
            return;
        }
        let base = raft.snapshot().map_or(LogIndex(0), |s| s.last_included_index);
        let later = self.committed.iter().rev().take_while(|c| c.entry.index > base);
        // A leader that is elected late need not have what a leader of a later term has committed.
        for Committed { entry, .. } in later.filter(|c| c.by < term) {
            if raft.entry(entry.index).map(|e| e.term) != Some(entry.term) {
                violated!("{me} leads term {term} without entry {} of term {}", entry.index, entry.term);
            }
        }
        if base > self.commit_index() {
            violated!("{me} leads term {term} from a snapshot at {base}, beyond what is committed");
        }
    }

    /// Log matching (Raft §5.3): an index and a term identify one entry, and the one before it.
    pub(crate) fn on_written(&mut self, previous: Term, entry: &Entry) {
        let Some(offset) = entry.index.0.checked_sub(self.first.0) else {
            violated!("entry {} is written below the initial snapshot", entry.index);
        };
        let offset = usize::try_from(offset).expect("logs in a simulation are short");
        if offset >= self.written.len() {
            self.written.resize(offset + 1, None);
        }
        let new = || Written { term: entry.term, previous, payload: entry.payload.clone() };
        let first = self.written[offset].get_or_insert_with(new);
        let known = if first.term == entry.term {
            first
        } else {
            self.written_too.entry((entry.index, entry.term)).or_insert_with(new)
        };
        if known.previous != previous || known.payload != entry.payload {
            violated!(
                "two entries {} of term {}: {known:?}, then {entry:?} after term {previous}",
                entry.index,
                entry.term
            );
        }
    }

    /// A node considers everything up to `commit_index` committed; everything up to `seen` was checked
    /// before. State machine safety (Raft §5.4.3): no node ever considers another entry committed at the same
    /// index.
    pub(crate) fn on_commit(&mut self, raft: &Raft, seen: LogIndex, commit_index: LogIndex) {
        let me = raft.me();
        let base = raft.snapshot().map_or(LogIndex(0), |s| s.last_included_index);
        if base > seen
            && let Some(snapshot) = raft.snapshot()
        {
            self.commit_chain(me, raft.current_term(), (base, snapshot.last_included_term));
        }
        for index in (seen.max(base).0 + 1)..=commit_index.0 {
            let index = LogIndex(index);
            let Some(entry) = raft.entry(index) else {
                violated!("{me} takes {index} for committed and does not have it");
            };
            self.commit(me, raft.current_term(), entry);
        }
        if base > seen
            && let Some(snapshot) = raft.snapshot()
        {
            self.on_snapshot(me, snapshot);
        }
    }

    /// A snapshot must agree with the committed entries.
    pub(crate) fn on_snapshot(&self, holder: Peer, snapshot: &Snapshot) {
        let index = snapshot.last_included_index;
        let Some(offset) = index.0.checked_sub(self.first.0) else { return };
        let Some(known) = usize::try_from(offset).ok().and_then(|offset| self.committed.get(offset)) else {
            violated!("{holder} has a snapshot at {index}, which nobody has committed");
        };
        if snapshot.last_included_term != known.entry.term {
            violated!(
                "{holder} has a snapshot of entry {index} of term {}, committed was one of term {}",
                snapshot.last_included_term,
                known.entry.term
            );
        }
        let next = decode_state(&snapshot.state);
        if next != known.next || snapshot.membership != known.membership {
            violated!("{holder} has another state at {index}: next is {next}, should be {}", known.next);
        }
    }

    /// The state machine of a node that has applied everything up to `applied` must be at `next`.
    pub(crate) fn on_state(&self, holder: Peer, applied: LogIndex, next: u64) {
        let Some(offset) = applied.0.checked_sub(self.first.0) else { return };
        let known = usize::try_from(offset).ok().and_then(|offset| self.committed.get(offset));
        if known.map(|k| k.next) != Some(next) {
            violated!(
                "{holder} has applied {applied} and stands at {next}, should be at {:?}",
                known.map(|k| k.next)
            );
        }
    }

    /// A node has compacted what it committed before it was checked: the written entries, followed back from
    /// this index and term, tell what that was.
    fn commit_chain(&mut self, holder: Peer, by: Term, (mut index, mut term): (LogIndex, Term)) {
        let mut chain = Vec::new();
        while index > self.commit_index() {
            let Some(written) = self.written_at(index, term) else {
                violated!("{holder} has compacted entry {index} of term {term}, which nobody has on disk");
            };
            chain.push(Entry { index, term, payload: written.payload.clone() });
            term = written.previous;
            index = LogIndex(index.0 - 1);
        }
        for entry in chain.iter().rev() {
            self.commit(holder, by, entry);
        }
    }

    fn written_at(&self, index: LogIndex, term: Term) -> Option<&Written> {
        let offset = usize::try_from(index.0.checked_sub(self.first.0)?).ok()?;
        let first = self.written.get(offset)?.as_ref()?;
        if first.term == term { Some(first) } else { self.written_too.get(&(index, term)) }
    }

    fn commit(&mut self, holder: Peer, by: Term, entry: &Entry) {
        let Some(offset) = entry.index.0.checked_sub(self.first.0) else { return };
        let offset = usize::try_from(offset).expect("logs in a simulation are short");
        if let Some(known) = self.committed.get(offset) {
            if known.entry != *entry {
                violated!("{holder} takes {entry:?} for committed, which was {:?}", known.entry);
            }
            return;
        }
        if offset != self.committed.len() {
            violated!("{holder} takes {} for committed, before {}", entry.index, self.commit_index().next());
        }
        let mut next = self.next();
        let mut membership = Arc::clone(self.membership());
        match &entry.payload {
            Payload::Noop => {}
            Payload::Membership(new) => membership = Arc::clone(new),
            Payload::Command(command) => {
                let start = next;
                next = start.saturating_add(decode_reserve(command));
                self.reserved.push(Reserved { start, end: next, term: entry.term });
            }
        }
        self.committed.push(Committed { entry: entry.clone(), by, next, membership });
    }
}

/// The state, decoded independently of the code under test: a 1, then the smallest integer that is not
/// reserved.
fn decode_state(state: &[u8]) -> u64 {
    decode_number(state)
}

/// The command, decoded likewise: a 1, then how many integers.
fn decode_reserve(command: &[u8]) -> u64 {
    decode_number(command)
}

fn decode_number(bytes: &[u8]) -> u64 {
    match bytes.split_first().map(|(kind, rest)| (kind, <[u8; 8]>::try_from(rest))) {
        Some((1, Ok(number))) => u64::from_be_bytes(number),
        Some(_) | None => violated!("{bytes:?} is not what was agreed on"),
    }
}
