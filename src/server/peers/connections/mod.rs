//! The connections accepted on the peer port: other members, whose messages are answered where they arrive,
//! and operators.
//!
//! A new connection is a stranger until it says who it is. A stranger has little time to do so, and makes
//! room for others. Each peer has one welcomed connection: the newest, because a peer opens another only when
//! it has lost the last.

mod receiving;

use std::collections::VecDeque;

use mio::event::Event;
use raft_core::{Membership, Micros, Peer};
use slab::Slab;

use super::channel::{Channel, INCOMPLETE};
use super::copies::{Replaced, Rivals};
use super::handshake::{Acceptor, Caller, StoreUse};
use super::links::Links;
use crate::peer::{AdminRequest, AdminResponse, Frame, Hello};
use crate::server::context::Context;
use crate::server::counters::Counters;
use crate::server::limits::{
    ACCEPTS_PER_TURN_MAX, ADMIN_IDLE_US_MAX, HANDSHAKE_US_MAX, MEMBER_SILENCE_US_MAX, READ_BYTES_MAX,
};
use crate::server::narration::log_limit::LogLimit;
use crate::server::sockets::Next;
use crate::server::sockets::ports::Ports;
use crate::server::sockets::readiness::Readiness;
use crate::server::sockets::stream::Stream;
use crate::server::sockets::sweep::Sweep;
use crate::server::token::Source;

/// All connections on the peer port.
#[derive(Debug)]
pub(crate) struct PeerConnections {
    ports: Ports<()>,
    connections: Slab<Connection>,
    connections_max: usize,
    /// The connections that may have something to read, each once. A key may also be there from a connection
    /// that was closed since.
    ready: VecDeque<usize>,
    buffer: Box<[u8]>,
    sweep: Sweep,
    last: PeerConnectionId,
    complaints: LogLimit,
    rivals: Rivals,
}

/// Names one connection for good: keys are reused, these are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PeerConnectionId(u64);

/// Begins what an operator requests on this connection. Returns the answer if it is known at once; otherwise
/// it is given to [`PeerConnections::answer`] later.
pub(crate) type BeginOperation<'a> =
    &'a mut dyn FnMut(&mut Context, &Links, PeerConnectionId, AdminRequest) -> Option<AdminResponse>;

/// What a connected peer said about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcement<'a> {
    pub(crate) peer: Peer,
    pub(crate) peer_address: &'a str,
    pub(crate) client_address: &'a str,
}

#[derive(Debug)]
struct Connection {
    id: PeerConnectionId,
    channel: Channel,
    party: Party,
    /// In `ready`.
    queued: bool,
}

#[derive(Debug)]
enum Party {
    /// Has not said who it is.
    Stranger { until: Micros },
    /// Was welcomed; what it sends counts as the peer's.
    Peer {
        hello: Box<Hello>,
        replaced: Replaced,
        /// When its last frame came.
        heard_at: Micros,
    },
    /// Requests operations. While it waits for one, it has no deadline.
    Operator { awaits: bool, idle_since: Micros },
    /// Was refused, and gets time to read the reason.
    Refused { until: Micros },
}

impl PeerConnections {
    pub(crate) fn new(ports: Ports<()>, connections_max: usize) -> PeerConnections {
        PeerConnections {
            ports,
            connections: Slab::new(),
            connections_max,
            ready: VecDeque::new(),
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            sweep: Sweep::default(),
            last: PeerConnectionId(0),
            complaints: LogLimit::default(),
            rivals: Rivals::default(),
        }
    }

    /// There may be a connection to accept at this port.
    pub(crate) fn on_port_event(&mut self, port_index: usize) {
        self.ports.on_event(port_index);
    }

    /// A socket has an event.
    pub(crate) fn on_event(&mut self, key: usize, event: &Event) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.channel.on_event(event);
            self.queue(key);
        }
    }

    /// Whether there is work left for the next turn.
    pub(crate) fn has_work(&self, now: Micros) -> bool {
        !self.ready.is_empty() || self.ports.is_ready(now)
    }

    /// When [`PeerConnections::on_time`] or accepting has something to do.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        [self.sweep.deadline(), self.ports.deadline()].into_iter().flatten().min()
    }

    pub(crate) fn count(&self) -> usize {
        self.connections.len()
    }

    /// What the connected peers said about themselves.
    pub(crate) fn announcements(&self) -> impl Iterator<Item = Announcement<'_>> {
        self.connections.iter().filter_map(|(_, connection)| match &connection.party {
            Party::Peer { hello, .. } => Some(Announcement {
                peer: hello.from,
                peer_address: &hello.peer_address,
                client_address: &hello.client_address,
            }),
            Party::Stranger { .. } | Party::Operator { .. } | Party::Refused { .. } => None,
        })
    }

    /// Whether this peer is connected and was welcomed.
    pub(crate) fn is_connected(&self, peer: Peer) -> bool {
        self.announcements().any(|announced| announced.peer == peer)
    }

    /// Accepts waiting connections, and reads everything that has arrived, up to a bound for each connection.
    pub(crate) fn serve(&mut self, ctx: &mut Context, links: &mut Links, begin: BeginOperation<'_>) {
        self.accept(ctx);
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(key) {
                connection.queued = false;
                let next = self.read(ctx, links, begin, key);
                self.flush_or_close(ctx, key, next);
            }
        }
    }

    /// Queues a message to this peer where its own messages come from. Returns false if the peer is not
    /// connected, or the connection has no room.
    pub(crate) fn send(&mut self, ctx: &mut Context, to: Peer, message: &Frame) -> bool {
        let mut connections = self.connections.iter_mut().map(|(_, connection)| connection);
        let connection = connections.find(|connection| connection.is_of(to));
        let Some(connection) = connection.filter(|connection| connection.channel.has_room()) else {
            return false;
        };
        log::trace!("to node {to}: {message:?}");
        ctx.counters.messages_sent += 1;
        connection.channel.queue(message);
        true
    }

    /// When this peer was last heard on the connection that it has dialled; `None` if there is none.
    pub(crate) fn heard_at(&self, peer: Peer) -> Option<Micros> {
        self.connections.iter().find_map(|(_, connection)| match &connection.party {
            Party::Peer { hello, heard_at, .. } if hello.from == peer => Some(*heard_at),
            Party::Peer { .. } | Party::Stranger { .. } | Party::Refused { .. } | Party::Operator { .. } => {
                None
            }
        })
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self, ctx: &mut Context) {
        for key in 0..self.connections.capacity() {
            if self.connections.get(key).is_some_and(|connection| !connection.channel.is_flushed()) {
                self.flush_or_close(ctx, key, Next::GoOn);
            }
        }
    }

    /// Closes connections whose time is up.
    pub(crate) fn on_time(&mut self, ctx: &mut Context) {
        for key in self.sweep.part(ctx.now(), self.connections.capacity()) {
            let Some(connection) = self.connections.get(key) else { continue };
            match connection.deadline(ctx.silence_from) {
                Some(deadline) if deadline <= ctx.now() => {
                    match &connection.party {
                        Party::Stranger { .. } => ctx.counters.handshakes_timed_out += 1,
                        Party::Peer { .. } if connection.channel.is_amid_frame() => {
                            self.complain(ctx, key, Counters::INCOMPLETE, &INCOMPLETE);
                        }
                        Party::Peer { hello, .. } => {
                            log::debug!(
                                "node {} says nothing any more: its connection is closed",
                                hello.from
                            );
                        }
                        Party::Operator { .. } | Party::Refused { .. } => {}
                    }
                    self.close(key);
                }
                deadline => self.sweep.note(deadline),
            }
        }
    }

    /// Closes the connections of peers that are no longer members, and those of all peers once this node is
    /// not the member that they called. They are told why when they connect again.
    pub(crate) fn close_unwelcome(&mut self, ctx: &Context) {
        for key in 0..self.connections.capacity() {
            let Some(connection) = self.connections.get(key) else { continue };
            if let Party::Peer { hello, .. } = &connection.party
                && (caller(ctx, hello) == Caller::Removed || ctx.is_store_unusable())
            {
                self.close(key);
            }
        }
    }

    /// Answers the operator that waits on this connection, if it is still connected.
    pub(crate) fn answer(&mut self, ctx: &mut Context, id: PeerConnectionId, response: AdminResponse) {
        let found = self.connections.iter().find(|(_, connection)| connection.id == id).map(|(key, _)| key);
        let Some(key) = found else { return };
        let connection = &mut self.connections[key];
        // It may have been refused while it waited. Then it is about to be closed, and nothing follows a
        // refusal.
        if !matches!(connection.party, Party::Operator { awaits: true, .. }) {
            return;
        }
        connection.party = Party::Operator { awaits: false, idle_since: ctx.now() };
        connection.channel.queue(&Frame::AdminResponse(response));
        self.flush_or_close(ctx, key, Next::GoOn);
    }

    fn accept(&mut self, ctx: &mut Context) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some((stream, ())) = self.ports.accept(ctx.now()) else { return };
            if self.connections.len() >= self.connections_max && !self.make_room(&ctx.membership) {
                ctx.counters.peer_connections_refused += 1;
                continue;
            }
            self.admit(ctx, stream);
        }
    }

    fn admit(&mut self, ctx: &mut Context, mut stream: Stream) {
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let interest = Readiness::interest();
        if let Err(error) = ctx.registry.register(&mut stream, Source::PeerConnection(key).token(), interest)
        {
            ctx.counters.peer_connections_refused += 1;
            log::debug!("a connection on the peer port was not registered: {error}");
            return;
        }
        stream.set_nodelay();
        ctx.counters.peer_connections_accepted += 1;
        self.last = PeerConnectionId(self.last.0 + 1);
        let until = ctx.now().plus(HANDSHAKE_US_MAX);
        entry.insert(Connection {
            id: self.last,
            channel: Channel::new(stream),
            party: Party::Stranger { until },
            queued: false,
        });
        self.sweep.note(Some(until));
    }

    /// Closes the oldest stranger or refused connection, or else the oldest operator that waits for nothing,
    /// or else the oldest peer that was welcomed and is no member as far as this node knows: a member that is
    /// known always finds a place. Returns false if there is none of these.
    fn make_room(&mut self, membership: &Membership) -> bool {
        let oldest = |may_go: &dyn Fn(&Party) -> bool| {
            let going = self.connections.iter().filter(|(_, connection)| may_go(&connection.party));
            going.min_by_key(|(_, connection)| connection.id).map(|(key, _)| key)
        };
        let stranger = oldest(&|party| matches!(party, Party::Stranger { .. } | Party::Refused { .. }));
        let idle = || oldest(&|party| matches!(party, Party::Operator { awaits: false, .. }));
        let is_unknown = |party: &Party| match party {
            Party::Peer { hello, .. } => !membership.contains(hello.from),
            Party::Stranger { .. } | Party::Operator { .. } | Party::Refused { .. } => false,
        };
        let Some(key) = stranger.or_else(idle).or_else(|| oldest(&is_unknown)) else { return false };
        self.close(key);
        true
    }

    fn queue(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if !connection.queued {
            connection.queued = true;
            self.ready.push_back(key);
        }
    }

    fn close(&mut self, key: usize) {
        self.connections.remove(key);
    }

    /// After anything was done with a connection: sends its output, and closes it if necessary.
    fn flush_or_close(&mut self, ctx: &mut Context, key: usize, next: Next) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let sent = connection.channel.flush(&mut ctx.counters);
        if next == Next::Close || sent.is_err() {
            self.close(key);
        } else {
            self.sweep.note(connection.deadline(ctx.silence_from));
        }
    }
}

impl Connection {
    /// Whether this peer dialled it and was welcomed.
    fn is_of(&self, peer: Peer) -> bool {
        matches!(&self.party, Party::Peer { hello, .. } if hello.from == peer)
    }

    /// When its time is up. A member's silence counts from `silence_from` at the earliest: while this process
    /// did not run, it read nothing.
    fn deadline(&self, silence_from: Micros) -> Option<Micros> {
        match self.party {
            Party::Stranger { until } | Party::Refused { until } => Some(until),
            Party::Peer { heard_at, .. } => Some(heard_at.max(silence_from).plus(MEMBER_SILENCE_US_MAX)),
            Party::Operator { awaits: true, .. } => None,
            Party::Operator { awaits: false, idle_since } => Some(idle_since.plus(ADMIN_IDLE_US_MAX)),
        }
    }
}

/// The identity with which this node judges a Hello.
fn acceptor(ctx: &Context) -> Acceptor {
    let store = if ctx.is_store_unusable() { StoreUse::Nobody } else { StoreUse::Member };
    Acceptor { cluster: ctx.me.cluster, me: ctx.me.peer, commit_index: ctx.node.commit_index(), store }
}

/// What this node knows about the sender of this Hello.
fn caller(ctx: &Context, hello: &Hello) -> Caller {
    if ctx.node.knows_removed(hello.from, hello.commit_index) { Caller::Removed } else { Caller::Possible }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;
    use std::time::Duration;

    use mio::{Events, Poll, Waker};
    use raft_core::LogIndex;

    use super::*;
    use crate::peer::{AdminRequest, PROTOCOL_VERSION, Refuse, encode};
    use crate::server::limits::REFUSED_US_MAX;
    use crate::server::peers::links::resolver::look_up;
    use crate::server::sockets::ports::Listener;
    use crate::server::testing::{context, receive};

    /// A request of a protocol version that does not exist.
    fn request_from_the_future() -> Vec<u8> {
        let (kind, payload) = ([0x10], [0xff, 0xff, 4]);
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&kind);
        checksum.update(&payload);
        let checksum = checksum.finalize().to_be_bytes();
        [&3_u32.to_be_bytes()[..], &checksum, &kind, &payload].concat()
    }

    #[test]
    fn an_operator_that_was_refused_is_told_nothing_of_what_it_asked_for_before_and_is_not_kept() {
        let mut poll = Poll::new().unwrap();
        let mut ctx = context(&poll);
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token()).unwrap());
        let mut links = Links::new(waker, look_up);
        let listener = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections =
            PeerConnections::new(Ports::new(vec![(Listener::Tcp(listener), ())], "peers"), 16);

        let mut operator = std::net::TcpStream::connect(address).unwrap();
        operator.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut bytes = Vec::new();
        let transfer = AdminRequest::Transfer { cluster: ctx.me.cluster, to: None };
        encode(&Frame::AdminRequest(transfer.clone()), &mut bytes);
        bytes.extend(request_from_the_future());
        operator.write_all(&bytes).unwrap();
        connections.on_port_event(0);
        let mut events = Events::with_capacity(16);
        let mut requests = Vec::new();
        let id = loop {
            connections.serve(&mut ctx, &mut links, &mut |_, _, connection, request| {
                requests.push((connection, request));
                None
            });
            let party = connections.connections.get(0).map(|connection| (connection.id, &connection.party));
            if let Some((id, Party::Refused { .. })) = party {
                break id;
            }
            poll.poll(&mut events, Some(Duration::from_secs(30))).unwrap();
            assert!(!events.is_empty(), "it was not refused");
            for event in &events {
                if let Some(Source::PeerConnection(key)) = Source::of(event.token()) {
                    connections.on_event(key, event);
                }
            }
        };
        assert_eq!(ctx.counters.operations, 1);
        assert_eq!(requests, [(id, transfer)]);

        connections.answer(&mut ctx, id, AdminResponse::Removed { at: LogIndex(1) });
        ctx.clock.now = ctx.now().plus(REFUSED_US_MAX);
        connections.on_time(&mut ctx);
        assert_eq!(connections.count(), 0);
        assert_eq!(receive(&mut operator), Frame::Refuse(Refuse::Version { ours: PROTOCOL_VERSION }));
        assert_eq!(operator.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn an_operator_that_waits_is_answered() {
        let poll = Poll::new().unwrap();
        let mut ctx = context(&poll);
        let mut connections = PeerConnections::new(Ports::new(Vec::new(), "peers"), 16);
        let (stream, mut operator) = std::os::unix::net::UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = Stream::Unix(mio::net::UnixStream::from_std(stream));
        connections.admit(&mut ctx, stream);
        let idle_since = ctx.now();
        connections.connections[0].party = Party::Operator { awaits: true, idle_since };
        let id = connections.connections[0].id;
        connections.answer(&mut ctx, id, AdminResponse::Removed { at: LogIndex(1) });
        let mut expected = Vec::new();
        encode(&Frame::AdminResponse(AdminResponse::Removed { at: LogIndex(1) }), &mut expected);
        let mut answer = vec![0; expected.len()];
        operator.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
}
