//! The configuration of a node, and the bounds of the core's queues, each with its reason.

use crate::types::Peer;

/// How a node behaves. Except with leases, times affect liveness only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// This node.
    pub me: Peer,
    /// A follower that hears nothing for one to two election timeouts campaigns; a leader that hears no
    /// quorum for one election timeout steps down. In microseconds. Nodes may differ, if each one's is longer
    /// than twice the heartbeat interval of any other: a leader at rest sends half as many heartbeats.
    pub election_timeout_us: u64,
    /// How often a leader sends heartbeats, and half as often at rest (see [`HEARTBEATS_BEFORE_REST`]). In
    /// microseconds; well below the election timeout.
    pub heartbeat_interval_us: u64,
    /// Whether leases are promised and relied upon, and how exact the clocks are. With leases, the order in
    /// which barriers pass in different terms depends on the clocks, and nothing else does. `None`: every
    /// barrier takes a round.
    ///
    /// A driver that starts a node from a store whose last driver kept leases must either keep them again,
    /// with the same election timeout, or wait for that timeout first: what was promised before a restart is
    /// not on the disk.
    pub lease: Option<Lease>,
    /// Seed of all randomness: when to campaign, or to ask for pre-votes.
    pub seed: u64,
}

/// The parameters of leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// By how much the rate of any node's clock may differ from true time, in millionths.
    pub clock_error_ppm: u32,
}

/// How many heartbeats without a request, an entry or a transfer make a leader send the next ones less often.
/// A second of them with common settings: a cluster that is used at all is not at rest.
pub const HEARTBEATS_BEFORE_REST: u32 = 16;

/// How many entries one `AppendEntries` carries at most, however small they are: a follower catches up in
/// steps, and its event loop turns between them.
pub const ENTRIES_PER_APPEND_MAX: usize = 512;

/// About how many bytes of entries one `AppendEntries` carries at most (a single larger entry still travels).
/// A batch then passes a 1 Gbit/s link within a millisecond, and a frame of the peer protocol has a bound.
pub const APPEND_BYTES_MAX: usize = 64 * 1024;

/// How many unanswered appends may be in flight to one follower. Bounds what a slow follower costs the
/// leader's links; enough to hide the latency of the follower's disk.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// How many rounds of barriers may go unanswered by one voter before it is asked no more of them. It still
/// gets the regular heartbeats, and is asked again once it has answered. This bounds what waits in a link
/// that is too narrow for all rounds, and with it how old the heartbeats are that arrive at its other end.
pub const ROUNDS_UNANSWERED_MAX: usize = 64;

/// How many entries may wait to be committed before proposals are refused. A leader that is cut off keeps
/// accepting proposals until it steps down; this bounds how many.
pub const UNCOMMITTED_ENTRIES_MAX: u64 = 16_384;

/// For how many rounds a leader that keeps a lease remembers when they began. An answer to an older round
/// does not extend the lease: if answers take longer than this many rounds, no lease is held.
pub(crate) const LEASE_ROUNDS_MAX: usize = 64;

/// How many read barriers may wait for a round. Drivers coalesce requests into far fewer.
pub const BARRIERS_MAX: usize = 1_024;
