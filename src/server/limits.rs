//! The bounds of every queue, table and wait in the server, in one place, and what happens at each.

use std::time::Duration;

/// The least time between two counts of the open descriptors, if the kernel does not tell their number.
pub(super) const DESCRIPTORS_COUNT_INTERVAL_US: u64 = 10_000_000;

/// How many clients beyond the maximum may be in the course of being refused at once: each is told so and
/// gets time to read it. A client beyond this number is closed without a chance to read the refusal.
pub(super) const REFUSED_CLIENTS_MAX: usize = 64;

/// How many connections there may be at a listener that serves only pages. They have places of their own, so
/// that the node can be monitored even when clients have taken all of theirs.
pub(super) const PAGE_CONNECTIONS_MAX: usize = 64;

/// How many accepted connections there may be on the peer port: one per member, operators, and strangers.
/// When all places are taken, the oldest stranger or refused connection makes room, or else the oldest
/// operator that waits for nothing, or else the oldest welcomed peer that is no known member; if there is
/// none of these, the new connection is closed.
pub(super) const PEER_CONNECTIONS_MAX: usize = 256;

/// The least that [`PEER_CONNECTIONS_MAX`] is reduced to if the limit of open files is low.
pub(super) const PEER_CONNECTIONS_MIN: usize = 16;

/// With how many links a peer that says Hello and is no known member is not dialled any more: one for each
/// member, and as many for others.
pub(super) const LINKS_MAX: usize = 2 * crate::codec::MEMBERS_MAX;

/// With a lower limit of open files no node starts: it leaves room for the peers of a cluster of nine, and
/// for a few clients.
pub(super) const DESCRIPTORS_MIN: u64 = 64;

/// How many descriptors a node has open before it has peers and clients, if they cannot be counted.
pub(super) const DESCRIPTORS_OTHER: usize = 24;

/// How many descriptors are kept for everything but clients, pages, peers and links, if the limit of open
/// files is high enough.
pub(super) const DESCRIPTORS_SPARE_MAX: usize = 64;

/// How many descriptors at least are kept beyond those that are open for good, for what is open for a moment.
pub(super) const DESCRIPTORS_SPARE_MIN: usize = 8;

/// How many events one turn takes in. More wait for the next turn, which follows at once.
pub(super) const EVENTS_PER_TURN_MAX: usize = 1_024;

/// How many connections one table accepts in one turn, over all its ports. The others wait in the kernel's
/// queue.
pub(super) const ACCEPTS_PER_TURN_MAX: usize = 64;

/// How long nothing is accepted after an accept has failed (out of descriptors or memory): long enough not to
/// spin, short enough not to be noticed.
pub(super) const ACCEPT_PAUSE_US: u64 = 100_000;

/// How much is read from one connection in one system call, into a shared buffer.
pub(super) const READ_BYTES_MAX: usize = 64 * 1024;

/// How much memory all client connections together may hold before it is scarce; see `MemoryUse`.
pub(super) const CLIENTS_MEMORY_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How much is read from a client at once while all together hold [`CLIENTS_MEMORY_BYTES_MAX`]. An ordinary
/// request is a quarter of that.
pub(super) const SCARCE_READ_BYTES_MAX: usize = 1024;

/// How much is held then of a head that is not complete; a head with this much and more to come is refused.
pub(super) const SCARCE_HEAD_BYTES_MAX: usize = 3 * SCARCE_READ_BYTES_MAX;

/// How many clients are read in one turn; the others wait for the next. An ordinary request takes some
/// microseconds, so peers and timers wait for a few milliseconds.
pub(super) const CLIENT_READS_PER_TURN_MAX: usize = 256;

/// How many bytes of clients a turn reads, and how many it parses that it had to hold back before, each up to
/// the end of the read or of the client that exceeds it; the other clients wait for the next turn. What takes
/// longest to parse, such as a field with a long list, takes some ten milliseconds for this many bytes. It is
/// far more than [`CLIENT_READS_PER_TURN_MAX`] ordinary requests.
pub(super) const CLIENT_INPUT_BYTES_PER_TURN_MAX: u64 = 1024 * 1024;

/// How many bytes a turn writes to clients, or leaves ready for the next turn, before the remaining clients
/// wait for the next turn. If all answers are the shortest there are, that is some twenty milliseconds of
/// work. Yet it is enough to give an ordinary answer to as many clients as there may be by default in one
/// turn.
pub(super) const CLIENT_OUTPUT_BYTES_PER_TURN_MAX: u64 = 8 * 1024 * 1024;

/// How many pages are made in one turn; the others wait for the next.
pub(super) const PAGES_PER_TURN_MAX: usize = 4;

/// How often one peer is read in one turn, at most [`READ_BYTES_MAX`] each time.
pub(super) const PEER_READS_PER_TURN_MAX: usize = 4;

/// How many replaced addresses of one connected member are remembered; the oldest is forgotten. Up to this
/// many copies of one store can be told from a node that moves.
pub(super) const REPLACED_ADDRESSES_MAX: usize = 8;

/// Two processes that displace each other dial again within [`REDIAL_DELAY_US_MAX`]. If none has displaced
/// the other for this long, one of them has ended.
pub(super) const RIVALRY_US_MAX: u64 = 10_000_000;

/// How many bytes may wait on one connection to a peer. Beyond that, a message is dropped, which Raft handles
/// like any other loss. This is room for all the appends of usual size that may be in flight to a follower.
pub(super) const CHANNEL_OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A buffer that has grown beyond this is shrunk once it is empty.
pub(super) const BUFFER_KEPT_BYTES_MAX: usize = 64 * 1024;

/// How long it may take to establish a connection.
pub(super) const CONNECT_US_MAX: u64 = 2_000_000;

/// How long one attempt to dial waits for the addresses of a name. A later answer is still used; until it
/// comes, the address that worked last is dialled again and again.
pub(super) const RESOLVE_US_MAX: u64 = 1_000_000;

/// How many names are looked up at once: two per member, because a member that moves has two addresses. Each
/// lookup occupies a thread for as long as the name servers take. A lookup beyond this fails, and the peer is
/// dialled again later.
pub(super) const NAMES_BEING_RESOLVED_MAX: usize = 2 * crate::codec::MEMBERS_MAX;

/// How many addresses of one name are tried; the others are ignored. They are tried one after the other, each
/// for at most [`CONNECT_US_MAX`].
pub(super) const ADDRESSES_PER_NAME_MAX: usize = 8;

/// How long the other addresses of a peer have to accept a connection after the address where it was last
/// reached has refused, before the peer counts as gone: some round trips, and less than an election timeout.
pub(super) const ABSENCE_US_MIN: u64 = 50_000;

/// How long after a link broke a message of that peer may still be read that it sent before it ended. If one
/// is heard later, it has not ended.
pub(super) const LAST_WORDS_US_MAX: u64 = 50_000;

/// How long either side waits for the other's part of the handshake. This ends half-open connections and
/// those whose bytes trickle in.
pub(super) const HANDSHAKE_US_MAX: u64 = 3_000_000;

/// How long the rest of a response may take to arrive on a link once it has begun. If the length of a frame
/// was changed in transit, the frames behind it are taken for part of it, and until it is complete, which may
/// be never, the sender is not heard. On accepted connections [`MEMBER_SILENCE_US_MAX`] ends that.
pub(super) const RESPONSE_US_MAX: u64 = 5_000_000;

/// How long after one ping the next is sent on a link, give or take [`UPKEEP_INTERVAL_US`].
pub(super) const PING_US: u64 = 1_000_000;

/// How long nothing may come back on a link, not even the answer to a ping. Then it is dead, even if its
/// bytes are acknowledged: that may be a proxy, which has lost its own connection to the peer. What the peer
/// answers may have taken [`MEMBER_SILENCE_US_MAX`] to arrive, and the answer takes some time as well.
pub(super) const LINK_ANSWER_US_MAX: u64 = MEMBER_SILENCE_US_MAX + PING_US;

/// How long a member may say nothing on the connection that it has dialled, not even a ping. Then it is gone,
/// or hangs, or what it says does not arrive. What it says counts once a frame is complete: this is enough
/// for a usual append, which has 14 KB at most, at 24 kbit/s.
pub(super) const MEMBER_SILENCE_US_MAX: u64 = 5_000_000;

/// How long a refused connection is kept so that the refusal can be read.
pub(super) const REFUSED_US_MAX: u64 = 1_000_000;

/// How long an operator's connection may be idle. There is no limit on waiting for an operation: the node
/// ends every one, although a change of membership only once it is committed, or another node leads.
pub(super) const ADMIN_IDLE_US_MAX: u64 = 60_000_000;

/// How long data sent on a link may stay unacknowledged by the other kernel before the link counts as broken
/// and is dialled anew. TCP doubles the time between its attempts to resend; dialling tries every second. So
/// the sooner a link counts as broken, the sooner the end of a partition is noticed.
pub(super) const LINK_SILENCE_US_MAX: u64 = 2_000_000;

/// How long a link must have been up for it to be dialled at once when it breaks; otherwise the growing wait
/// applies.
pub(super) const LINK_SETTLED_US: u64 = 250_000;

/// After how many election timeouts of silence a leader logs that a member is silent. A member that was only
/// slow has followed another leader by then.
pub(super) const SILENCE_ELECTION_TIMEOUTS: u64 = 5;

/// How often the log repeats a problem that lasts, such as that no leader is known, and how often it has a
/// line of one kind once there were too many at once.
pub(super) const REMINDER_INTERVAL_US: u64 = 30_000_000;

/// How much later than requested a turn must begin for the delay to be logged: no ordinary load delays a turn
/// by this much.
pub(super) const PAUSE_US_MIN: u64 = 1_000_000;

/// How long members that are up may leave this node unconnected, or one of them may be connected to it
/// without being reached by it, before that is logged. Either is dialled several times meanwhile.
pub(super) const UNREACHED_US_MAX: u64 = 5_000_000;

/// How many places of a table a turn searches for connections whose time is up; the next turn goes on. That
/// is a millisecond of work.
pub(super) const SWEEP_PLACES_PER_TURN_MAX: usize = 16_384;

/// The least time between two searches of a table for connections whose time is up: a deadline may be missed
/// by this much.
pub(super) const SWEEP_INTERVAL_US: u64 = 100_000;

/// How often, at least, upkeep is done for what has no event of its own: addresses to be recorded,
/// connections of peers that are no longer members.
pub(super) const UPKEEP_INTERVAL_US: u64 = 500_000;

/// How much earlier a loop that is awake for another reason does its upkeep. Heartbeats alone wake a node
/// more often than this, so upkeep hardly ever wakes one.
pub(super) const UPKEEP_LEEWAY_US: u64 = UPKEEP_INTERVAL_US / 2;

/// How long a stopping node goes on answering waiting requests, once it no longer leads or has given up
/// handing over.
pub(super) const DRAIN_US_MAX: u64 = 2_000_000;

/// How long a stopping node waits for its disk before it logs that it waits. It goes on waiting.
pub(super) const CLOSING_PATIENCE: Duration = Duration::from_secs(1);

/// How long a stopping node waits for a client that has sent nothing yet. A request in transit would find its
/// connection closed, and because a POST must not be repeated, the client could not tell whether it took
/// effect. This is longer than most round trips, and shorter than anybody waits for a node to stop.
pub(super) const GRACE_US: u64 = 200_000;

/// How many lines of one kind are logged however fast they follow on one another. Beyond that, there is one
/// in each [`REMINDER_INTERVAL_US`], and the others are only counted: what goes on all day then takes some
/// hundred kilobytes.
pub(super) const LOG_LINES_AT_ONCE_MAX: u32 = 10;

/// The same for a problem that comes and goes. It has two lines each time: that it is there, and its end.
pub(super) const PROBLEMS_AT_ONCE_MAX: u32 = 3;

/// The same for the role of this node. An election takes up to three lines, and a restart of all nodes in
/// turn brings a few.
pub(super) const ROLE_LINES_AT_ONCE_MAX: u32 = 20;

/// How old the `Date` of an answer may be.
pub(super) const DATE_AGE_US_MAX: u64 = 500_000;

/// How long a broken link waits before the second attempt to dial; the first follows at once.
pub(super) const REDIAL_DELAY_US_MIN: u64 = 10_000;

/// The longest wait. A peer that comes back is dialled within this time; dialling this rarely costs next to
/// nothing.
pub(super) const REDIAL_DELAY_US_MAX: u64 = 1_000_000;
