//! The bounds of every queue, table and wait in the server, in one place, and what happens at each.

use std::time::Duration;

/// How many clients may be connected at once where the operator does not say. One costs some hundred bytes
/// when idle, so this many some megabytes; and each that reads nothing may hold as much as the bounds of HTTP
/// permit.
pub(super) const CLIENT_CONNECTIONS_DEFAULT_MAX: usize = 16_384;

/// How often the descriptors that are open are counted at most, if the kernel does not say how many there
/// are.
pub(super) const DESCRIPTORS_COUNT_INTERVAL_US: u64 = 10_000_000;

/// How many clients that are one too many may be on their way out at once: each is told so, and given the
/// time to read it. What comes on top is closed without a chance to read it.
pub(super) const REFUSED_CLIENTS_MAX: usize = 64;

/// How many connections there may be at a listener for pages alone. They have places of their own: whoever
/// watches the node must be able to do so when clients have taken all of theirs.
pub(super) const PAGE_CONNECTIONS_MAX: usize = 64;

/// How many accepted connections there may be on the peer port: each member once, operators, and strangers.
/// Where all are taken, the oldest that has not said who it is makes room, or else the oldest operator that
/// asks for nothing; where none is such, the newcomer is closed.
pub(super) const PEER_CONNECTIONS_MAX: usize = 256;

/// File descriptors that clients never get: peers, links, the store, the loop itself, and some to spare, so
/// that no flood of clients keeps an election from taking place.
pub(super) const DESCRIPTORS_RESERVED: usize =
    PEER_CONNECTIONS_MAX + crate::codec::MEMBERS_MAX + REFUSED_CLIENTS_MAX + PAGE_CONNECTIONS_MAX + 64;

/// How many events one turn takes in. More wait for the next turn, which comes at once.
pub(super) const EVENTS_PER_TURN_MAX: usize = 1_024;

/// How many connections are accepted by one table in one turn, on whichever port. What is left waits in the
/// kernel's queue.
pub(super) const ACCEPTS_PER_TURN_MAX: usize = 64;

/// How long nothing is accepted after accepting failed (out of descriptors or memory): long enough not to
/// spin, short enough not to be noticed.
pub(super) const ACCEPT_PAUSE_US: u64 = 100_000;

/// How much is read from one connection in one system call, into a buffer that all share.
pub(super) const READ_BYTES_MAX: usize = 64 * 1024;

/// How much memory the clients' connections may hold, all together, before clients that do not read are not
/// read either; see [`Holdings`](super::holdings::Holdings).
pub(super) const CLIENTS_MEMORY_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How much is read from a client at once while all together hold [`CLIENTS_MEMORY_BYTES_MAX`]. An ordinary
/// request has a quarter of that.
pub(super) const SCARCE_READ_BYTES_MAX: usize = 1024;

/// How many clients are read in one turn; the others wait for the next. At some microseconds for an ordinary
/// request, peers and timers wait for a few milliseconds; where each of them sends as much as one read takes,
/// for some ten.
pub(super) const CLIENT_READS_PER_TURN_MAX: usize = 256;

/// After how many bytes, written to clients or made ready for the next turn, a turn leaves the other clients
/// to the next. If all are the shortest answers there are, that is some twenty milliseconds of work. Yet it
/// is enough to give each of [`CLIENT_CONNECTIONS_DEFAULT_MAX`] clients an ordinary answer in one turn.
pub(super) const CLIENT_OUTPUT_BYTES_PER_TURN_MAX: u64 = 8 * 1024 * 1024;

/// How many pages are made in one turn; the others wait for the next.
pub(super) const PAGES_PER_TURN_MAX: usize = 4;

/// How often one peer is read in one turn, [`READ_BYTES_MAX`] at most each time.
pub(super) const PEER_READS_PER_TURN_MAX: usize = 4;

/// How many addresses of one member are remembered that were replaced while it was connected; the oldest is
/// forgotten. As many copies of one store as this are told from a node that moves.
pub(super) const REPLACED_ADDRESSES_MAX: usize = 8;

/// How many bytes may wait on one link. A message that finds this much waiting is dropped, which Raft takes
/// as any other loss. Room for all the appends that may be in flight to a follower at their usual size.
pub(super) const LINK_OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A buffer that has grown beyond this is given back to the allocator once it is empty.
pub(super) const BUFFER_KEPT_BYTES_MAX: usize = 64 * 1024;

/// How long a connection may take to be set up.
pub(super) const CONNECT_US_MAX: u64 = 2_000_000;

/// How long one attempt to dial waits for the addresses behind a name. An answer that comes later is used all
/// the same; until then, the address that worked last is dialled again and again.
pub(super) const RESOLVE_US_MAX: u64 = 1_000_000;

/// How many names are looked up at once: two for each member, since one that moves has two addresses. Each
/// takes a thread for as long as the name servers take. One more is answered by an error, and its peer is
/// dialled again later.
pub(super) const NAMES_IN_QUESTION_MAX: usize = 2 * crate::codec::MEMBERS_MAX;

/// How many addresses behind one name are tried; the others are left out. They are tried one after the other,
/// each for [`CONNECT_US_MAX`] at most.
pub(super) const ADDRESSES_PER_NAME_MAX: usize = 8;

/// How long the other addresses of a peer are given to take a connection, once the one where it was reached
/// last refuses, before the peer counts as gone: some round trips, and less than an election timeout.
pub(super) const ABSENCE_US_MIN: u64 = 50_000;

/// How long after a link broke a message of that peer may still be read that it sent before it ended. One
/// that is heard later has not ended.
pub(super) const LAST_WORDS_US_MAX: u64 = 50_000;

/// How long either side waits for the other's part of the handshake. Half-open connections and bytes that
/// trickle in end here.
pub(super) const HANDSHAKE_US_MAX: u64 = 3_000_000;

/// How long a refused connection is kept for the refusal to be read.
pub(super) const REFUSED_US_MAX: u64 = 1_000_000;

/// How long an operator's connection may be idle. Operations are awaited without limit: the node ends each.
pub(super) const ADMIN_IDLE_US_MAX: u64 = 60_000_000;

/// How long what was sent on a link may stay unacknowledged by the other kernel before the link counts as
/// broken, and how long an idle link is left unprobed. A partition that heals is then noticed within this,
/// not after TCP's own minutes.
pub(super) const LINK_SILENCE_US_MAX: u64 = 5_000_000;

/// How long a link must have been up for its end to be dialled at once, and not after a wait that grows.
pub(super) const LINK_SETTLED_US: u64 = 250_000;

/// After how many election timeouts a leader says that a member says nothing. Whoever was only slow has
/// followed another leader by then.
pub(super) const SILENCE_ELECTION_TIMEOUTS: u64 = 5;

/// How often the log says again what is wrong, as long as it is: that no leader is known, say.
pub(super) const REMINDER_INTERVAL_US: u64 = 30_000_000;

/// How much later than it wished a loop must begin its next turn for that to be worth a word: no ordinary
/// load holds it up for as long.
pub(super) const PAUSE_US_MIN: u64 = 1_000_000;

/// How long a node that has no leader waits for a member to connect before it says that none does.
pub(super) const FIRST_CALL_SECONDS_MAX: u64 = 5;

/// The least time between two searches of a table for connections whose time is up: deadlines may pass by
/// this much.
pub(super) const SWEEP_INTERVAL_US: u64 = 100_000;

/// How often at least what has no event of its own is looked after: addresses to be recorded, connections of
/// peers that are no longer members.
pub(super) const UPKEEP_INTERVAL_US: u64 = 500_000;

/// How much earlier a loop that is awake for something else looks after it. The heartbeats alone wake a node
/// more often than this, so that upkeep hardly ever wakes one.
pub(super) const UPKEEP_LEEWAY_US: u64 = UPKEEP_INTERVAL_US / 2;

/// How long a stopping node goes on answering what waits, once it no longer leads or has given up handing
/// over.
pub(super) const DRAIN_US_MAX: u64 = 2_000_000;

/// How long a stopping node waits for its disk before it says so. It goes on waiting.
pub(super) const CLOSING_PATIENCE: Duration = Duration::from_secs(1);

/// How long a stopping node waits for a client that has said nothing yet: a request that is on its way would
/// find its connection closed, and since a POST is not to be repeated, the client could not tell what became
/// of it. Longer than most round trips, and shorter than anybody waits for a node to stop.
pub(super) const GRACE_US: u64 = 200_000;

/// How many lines of one kind are logged in [`LOG_WINDOW_US`]; the others are counted.
pub(super) const LOG_LINES_PER_WINDOW_MAX: u32 = 5;

/// See [`LOG_LINES_PER_WINDOW_MAX`].
pub(super) const LOG_WINDOW_US: u64 = 10_000_000;

/// How old the date in an answer may be.
pub(super) const DATE_AGE_US_MAX: u64 = 500_000;

/// How long a link that broke waits before the second attempt to dial; the first has no wait.
pub(super) const REDIAL_DELAY_US_MIN: u64 = 10_000;

/// The longest wait. A peer that comes back is found within this; what it costs meanwhile is nothing.
pub(super) const REDIAL_DELAY_US_MAX: u64 = 1_000_000;
