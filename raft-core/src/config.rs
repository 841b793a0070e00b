//! What a node is told once, and the bounds of the core's queues, each with its reason.

use crate::lease::Lease;
use crate::types::Peer;

/// How a node behaves. Times only govern liveness, but where leases are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Who this node is.
    pub me: Peer,
    /// A follower that hears nothing for one to two of these campaigns; a leader that hears no quorum for
    /// one of these steps down. In microseconds.
    pub election_timeout_us: u64,
    /// How often a leader that has nothing to say asserts itself. In microseconds; well below the election
    /// timeout.
    pub heartbeat_interval_us: u64,
    /// Whether leases are promised and relied upon, and how exact the clocks are. Only the order in which
    /// barriers pass in different terms then rests on them. `None`: every barrier takes a round.
    ///
    /// Whoever makes a node from a store whose last driver kept leases must either keep them again, with the
    /// same election timeout, or wait for that timeout first: what was promised before a restart is not on
    /// the disk.
    pub lease: Option<Lease>,
    /// Seed of all randomness (election timeouts only).
    pub seed: u64,
}

/// How many entries one `AppendEntries` carries at most, however small they are: a follower that catches up
/// does so in steps, and its loop turns between them.
pub const ENTRIES_PER_APPEND_MAX: usize = 512;

/// About how many bytes of entries one `AppendEntries` carries at most (a single larger entry still travels).
/// A batch then passes a 1 Gbit/s link within a millisecond, and a frame of the peer protocol has a bound.
pub const APPEND_BYTES_MAX: usize = 64 * 1024;

/// How many appends may be on their way to one follower, unanswered. Bounds what a slow follower costs the
/// leader's links; enough to hide the latency of its disk.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// How many entries may wait to be committed before proposals are refused. A leader that is cut off keeps
/// accepting until it steps down; this bounds what it takes along.
pub const UNCOMMITTED_ENTRIES_MAX: u64 = 16_384;

/// How many rounds a leader that keeps a lease remembers the beginning of. An answer to an older one extends
/// nothing: where answers take longer than so many rounds, no lease is held.
pub(crate) const LEASE_ROUNDS_MAX: usize = 64;

/// How many read barriers may wait for a round. Drivers coalesce requests into far fewer.
pub const BARRIERS_MAX: usize = 1_024;
