//! What every part of the loop works with: the node, the time of this turn, and this node's identity.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use mio::Registry;
use raft_core::{LogIndex, Member, Membership, Micros, NodeId, Peer, Role};

use super::clock::Clock;
use super::counters::Counters;
use super::limits::PAUSE_US_MIN;
use super::sockets::open_descriptors::OpenDescriptors;
use crate::http::{self, Serves};
use crate::identity::ClusterId;
use crate::node::{Input, Node};
use crate::storage::{Restart, StoreError};

/// What all parts of the loop share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) clock: Clock,
    pub(super) registry: Registry,
    pub(super) node: Node,
    pub(super) me: Me,
    pub(super) http: HttpConfigs,
    pub(super) counters: Counters,
    pub(super) tally: http::Tally,
    pub(super) descriptors: OpenDescriptors,
    pub(super) log_lines_left_out: Arc<AtomicU64>,
    /// This node was asked to stop, or is no longer a member.
    pub(super) stopping: bool,
    /// Why this node takes no further part.
    pub(super) failure: Option<StoreError>,
    /// The membership in force, as the node last reported it.
    pub(super) membership: Arc<Membership>,
    pub(super) role: Role,
    pub(super) leader: Option<NodeId>,
    /// The silence of a member or of the disk counts from here at the earliest: the moment when this node
    /// began to lead, or when its process went on after a pause.
    pub(super) silence_from: Micros,
    /// The node has received input since its last [`Input::Wake`].
    stepped: bool,
}

/// What this node is; it never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Me {
    pub(super) peer: Peer,
    pub(super) cluster: ClusterId,
    pub(super) joined_at: LogIndex,
    /// `host:port` where other nodes reach it.
    pub(super) peer_address: String,
    /// `host:port` where clients reach it.
    pub(super) client_address: String,
    /// Its settings in force, by the names of their flags.
    pub(super) settings: Vec<(String, String)>,
}

impl Context {
    pub(super) fn new(
        registry: Registry,
        node: Node,
        me: Me,
        http: http::Config,
        log_lines_left_out: Arc<AtomicU64>,
    ) -> Context {
        let status = node.status();
        Context {
            clock: Clock::start(),
            registry,
            me,
            http: HttpConfigs::new(http),
            counters: Counters::default(),
            tally: http::Tally::default(),
            descriptors: OpenDescriptors::default(),
            log_lines_left_out,
            stopping: false,
            failure: None,
            membership: node.membership().clone(),
            role: status.role,
            leader: status.leader,
            silence_from: Micros(0),
            stepped: false,
            node,
        }
    }

    /// The latest reading of the clock, which is read several times per turn.
    pub(super) fn now(&self) -> Micros {
        self.clock.now
    }

    /// Reads the clock in the middle of a turn. Hardly any time has passed since it was last read, unless
    /// this process was stopped: what the members have said meanwhile has not been read yet.
    pub(super) fn tick(&mut self) {
        let before = self.now();
        self.clock.tick();
        if self.now().since(before) >= PAUSE_US_MIN {
            self.silence_from = self.now();
        }
    }

    /// The leader, if this node knows where it is. A node that has heard a leader and has not received the
    /// membership yet does not.
    pub(super) fn leader_member(&self) -> Option<&Member> {
        self.membership.members.get(&self.leader?)
    }

    /// How long the oldest write has waited for the disk, in microseconds; `None` if no write waits.
    pub(super) fn disk_wait_us(&self) -> Option<u64> {
        self.node.raft().oldest_write_issued_at().map(|at| self.now().since(at))
    }

    pub(super) fn step(&mut self, input: Input) {
        self.stepped = true;
        self.node.step(self.clock.now, input);
    }

    /// Tells the node that it has all the input of this turn.
    pub(super) fn wake(&mut self) {
        self.node.step(self.clock.now, Input::Wake);
        self.stepped = false;
    }

    /// Whether the node has input and has not been told yet that it is complete.
    pub(super) fn has_work(&self) -> bool {
        self.stepped
    }

    /// The arguments that every call of an HTTP connection takes.
    pub(super) fn http_turn(&self, serves: Serves) -> http::Turn<'_> {
        http::Turn {
            config: self.http.of(serves),
            now: self.clock.now,
            date: &self.clock.date,
            tally: &self.tally,
        }
    }

    /// Something is wrong with the store. Returns false if that is no news: the first failure counts, unless
    /// a later one is worse. An operator who moves the store out of the way, as the first demands, must not
    /// be told to move it back.
    pub(super) fn note_failure(&mut self, error: &StoreError) -> bool {
        let is_worse = error.restart() == Restart::CannotHelp && !self.is_store_unusable();
        let is_news = self.failure.is_none() || is_worse;
        if is_news {
            self.failure = Some(error.clone());
        }
        is_news
    }

    /// Whether this node takes no further part, and no restart helps: its store lacks what the node
    /// acknowledged. Another process may have the true store, and displaces this one's connections at the
    /// members, as this one displaces those of the other.
    pub(super) fn is_store_unusable(&self) -> bool {
        self.failure.as_ref().is_some_and(|error| error.restart() == Restart::CannotHelp)
    }

    pub(super) fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// Whether another member could lead in this node's place.
    pub(super) fn others_vote(&self) -> bool {
        self.membership.has_voter_besides(self.me.peer.id)
    }
}

/// The configuration of HTTP connections, by what their listener serves.
#[derive(Clone, Debug)]
pub(super) struct HttpConfigs {
    everything: http::Config,
    ids_only: http::Config,
    pages_only: http::Config,
}

impl HttpConfigs {
    fn new(config: http::Config) -> HttpConfigs {
        HttpConfigs {
            ids_only: http::Config { serves: Serves::IdsOnly, ..config.clone() },
            pages_only: http::Config { serves: Serves::PagesOnly, ..config.clone() },
            everything: http::Config { serves: Serves::Everything, ..config },
        }
    }

    pub(super) fn of(&self, serves: Serves) -> &http::Config {
        match serves {
            Serves::Everything => &self.everything,
            Serves::IdsOnly => &self.ids_only,
            Serves::PagesOnly => &self.pages_only,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::context;
    use crate::storage::Loss;

    #[test]
    fn the_first_failure_counts_unless_a_later_one_is_worse() {
        let lacking = StoreError::EntriesLost { acknowledged: LogIndex(9), last: LogIndex(8) };
        let gone = StoreError::Lost { path: "store".into(), how: Loss::Gone };
        let replaced = StoreError::Lost { path: "store".into(), how: Loss::Replaced };
        for (first, second, is_news, is_store_unusable) in
            [(&lacking, &gone, false, true), (&gone, &lacking, true, true), (&gone, &replaced, false, false)]
        {
            let mut ctx = context(&mio::Poll::new().unwrap());
            assert!(ctx.note_failure(first), "{first}");
            assert_eq!(ctx.note_failure(second), is_news, "{second} after {first}");
            assert_eq!(ctx.failure.as_ref(), Some(if is_news { second } else { first }));
            assert_eq!(ctx.is_store_unusable(), is_store_unusable, "{first}, then {second}");
        }
    }
}
