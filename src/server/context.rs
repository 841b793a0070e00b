//! What every part of the loop works with: the node, the time of this turn, and what this node is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mio::Registry;
use raft_core::{LogIndex, Membership, Micros, NodeId, Peer, Role, Suffrage};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::counters::Counters;
use super::handshake::{Acceptor, Caller};
use crate::http::{self, Serves};
use crate::identity::ClusterId;
use crate::node::{Input, Node};
use crate::peer::Hello;

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
    /// This node was asked to stop, or is no longer a member.
    pub(super) stopping: bool,
    /// The membership in force, as the node last reported it.
    pub(super) membership: Arc<Membership>,
    pub(super) role: Role,
    pub(super) leader: Option<NodeId>,
    /// The node has been given something since it was last told that this is all.
    stepped: bool,
}

/// What this node is, once and for all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Me {
    pub(super) peer: Peer,
    pub(super) cluster: ClusterId,
    pub(super) joined_at: LogIndex,
    /// `host:port` where the others reach it.
    pub(super) peer_address: String,
    /// `host:port` where clients reach it.
    pub(super) client_address: String,
}

impl Context {
    /// Before the first turn.
    pub(super) fn new(registry: Registry, node: Node, me: Me, http: http::Config) -> Context {
        let status = node.status();
        Context {
            clock: Clock::start(),
            registry,
            me,
            http: HttpConfigs::new(http),
            counters: Counters::default(),
            tally: http::Tally::default(),
            stopping: false,
            membership: node.membership().clone(),
            role: status.role,
            leader: status.leader,
            stepped: false,
            node,
        }
    }

    /// The latest reading of the clock; it is read several times in a turn.
    pub(super) fn now(&self) -> Micros {
        self.clock.now
    }

    /// Gives the node something.
    pub(super) fn step(&mut self, input: Input) {
        self.stepped = true;
        self.node.step(self.clock.now, input);
    }

    /// Tells the node that this is all in this turn.
    pub(super) fn wake(&mut self) {
        self.node.step(self.clock.now, Input::Wake);
        self.stepped = false;
    }

    /// Whether the node waits to be told that this is all.
    pub(super) fn has_work(&self) -> bool {
        self.stepped
    }

    /// What HTTP connections are told with every call.
    pub(super) fn http_turn(&self, serves: Serves) -> http::Turn<'_> {
        http::Turn {
            config: self.http.of(serves),
            now: self.clock.now,
            date: &self.clock.date,
            tally: &self.tally,
        }
    }

    /// As whom this node judges a Hello.
    pub(super) fn acceptor(&self) -> Acceptor {
        let commit_index = self.node.commit_index();
        Acceptor { cluster: self.me.cluster, me: self.me.peer, commit_index }
    }

    /// What this node knows of whoever said this.
    pub(super) fn caller(&self, hello: &Hello) -> Caller {
        if self.node.knows_removed(hello.from, hello.commit_index) {
            Caller::Removed
        } else {
            Caller::Possible
        }
    }

    /// Whether this node leads.
    pub(super) fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// Whether somebody else could lead in this node's place.
    pub(super) fn others_vote(&self) -> bool {
        self.membership
            .members
            .iter()
            .any(|(id, member)| *id != self.me.peer.id && member.suffrage == Suffrage::Voter)
    }
}

/// What HTTP connections are told, by what is served where they come from.
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

/// The time, read a few times a turn: reading it for each request would cost more than the request. It goes on
/// while the machine is suspended, which a lease must not outlive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Since the machine was started, in microseconds.
    started_at_us: u64,
    started_us: u64,
    now: Micros,
    date: http::HttpDate,
    date_read_at: Micros,
}

/// How old a date in an answer may be.
const DATE_US_MAX: u64 = 500_000;

impl Clock {
    fn start() -> Clock {
        Clock {
            started_at_us: since_boot_us(),
            started_us: wall_clock_us(),
            now: Micros(0),
            date: read_date(),
            date_read_at: Micros(0),
        }
    }

    /// Reads the time.
    pub(super) fn tick(&mut self) {
        self.now = Micros(since_boot_us().saturating_sub(self.started_at_us));
        if self.now.since(self.date_read_at) >= DATE_US_MAX {
            self.date = read_date();
            self.date_read_at = self.now;
        }
    }

    /// When the server began, in microseconds since 1970.
    pub(super) fn started_us(&self) -> u64 {
        self.started_us
    }

    /// Seconds since the server began.
    pub(super) fn uptime_seconds(&self) -> u64 {
        self.now.0 / 1_000_000
    }
}

/// CLOCK_BOOTTIME: monotonic, and unlike CLOCK_MONOTONIC it does not stop with the machine.
fn since_boot_us() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    let micros = tv_sec.saturating_mul(1_000_000).saturating_add(tv_nsec / 1_000);
    u64::try_from(micros).expect("a machine was started before it runs")
}

fn read_date() -> http::HttpDate {
    http::HttpDate::from_unix(wall_clock_us() / 1_000_000)
}

/// The wall clock appears in the `Date` of answers and in the metrics, and nowhere else.
fn wall_clock_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
