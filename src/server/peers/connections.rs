//! The connections accepted on the peer port: other members, on which this node only receives, and operators.
//!
//! A new connection is a stranger until it says who it is. A stranger has little time to do so, and makes
//! room for others. Each peer has one welcomed connection: the newest, because a peer opens another only when
//! it has lost the last.

use std::collections::VecDeque;
use std::fmt;

use mio::event::Event;
use raft_core::{Micros, Peer};
use slab::Slab;

use super::copies::{Replaced, Sign};
use super::dial::configure;
use super::handshake::Caller;
use super::links::Links;
use crate::node::Input;
use crate::peer::{self, AdminResponse, Decoder, Frame, FrameError, Hello, PROTOCOL_VERSION, Refuse};
use crate::server::context::Context;
use crate::server::limits::{
    ACCEPTS_PER_TURN_MAX, ADMIN_IDLE_US_MAX, HANDSHAKE_US_MAX, PEER_READS_PER_TURN_MAX, READ_BYTES_MAX,
    REFUSED_US_MAX,
};
use crate::server::narration::log_limit::LogLimit;
use crate::server::operations::Operations;
use crate::server::sockets::ports::{Ports, Stream};
use crate::server::sockets::readiness::Readiness;
use crate::server::sockets::sweep::Sweep;
use crate::server::sockets::{Next, ReadOutcome, SendQueue};
use crate::server::token::Source;

/// All connections on the peer port.
#[derive(Debug)]
pub(crate) struct PeerConnections {
    ports: Ports<()>,
    connections: Slab<Connection>,
    connections_max: usize,
    /// The connections that may have something to read, each once.
    ready: VecDeque<usize>,
    buffer: Box<[u8]>,
    sweep: Sweep,
    last: PeerConnectionId,
    complaints: LogLimit,
    copies: LogLimit,
}

/// Names one connection for good: keys are reused, these are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PeerConnectionId(u64);

/// What a connected member said about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcement<'a> {
    pub(crate) peer: Peer,
    pub(crate) peer_address: &'a str,
    pub(crate) client_address: &'a str,
}

#[derive(Debug)]
struct Connection {
    id: PeerConnectionId,
    stream: Stream,
    decoder: Decoder,
    output: SendQueue,
    party: Party,
    readiness: Readiness,
    /// In `ready`.
    queued: bool,
}

#[derive(Debug)]
enum Party {
    /// Has not said who it is.
    Stranger { until: Micros },
    /// Was welcomed; what it sends counts as the peer's.
    Member { hello: Box<Hello>, replaced: Replaced },
    /// Requests operations. While it waits for one, it has no deadline.
    Operator { awaits: bool, idle_since: Micros },
    /// Was refused, and gets time to read the reason.
    Leaving { until: Micros },
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
            copies: LogLimit::default(),
        }
    }

    /// There may be a connection to accept at this port.
    pub(crate) fn on_port_event(&mut self, place: usize) {
        self.ports.on_event(place);
    }

    /// A socket has an event.
    pub(crate) fn on_event(&mut self, key: usize, event: &Event) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.readiness.on_event(event);
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

    /// What the connected members said about themselves.
    pub(crate) fn announcements(&self) -> impl Iterator<Item = Announcement<'_>> {
        self.connections.iter().filter_map(|(_, connection)| match &connection.party {
            Party::Member { hello, .. } => Some(Announcement {
                peer: hello.from,
                peer_address: &hello.peer_address,
                client_address: &hello.client_address,
            }),
            Party::Stranger { .. } | Party::Operator { .. } | Party::Leaving { .. } => None,
        })
    }

    /// Whether this peer is connected and was welcomed.
    pub(crate) fn has_member(&self, peer: Peer) -> bool {
        self.announcements().any(|announced| announced.peer == peer)
    }

    /// Accepts waiting connections, and reads everything that has arrived, up to a bound for each connection.
    pub(crate) fn serve(&mut self, ctx: &mut Context, links: &mut Links, operations: &mut Operations) {
        self.accept(ctx);
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(key) {
                connection.queued = false;
                let next = self.read(ctx, links, operations, key);
                self.settle(ctx, key, next);
            }
        }
    }

    /// Closes connections whose time is up.
    pub(crate) fn on_time(&mut self, ctx: &mut Context) {
        if !self.sweep.begin(ctx.now()) {
            return;
        }
        for key in 0..self.connections.capacity() {
            let Some(connection) = self.connections.get(key) else { continue };
            match connection.deadline() {
                Some(deadline) if deadline <= ctx.now() => {
                    if matches!(connection.party, Party::Stranger { .. }) {
                        ctx.counters.handshakes_timed_out += 1;
                    }
                    self.close(key);
                }
                deadline => self.sweep.note(deadline),
            }
        }
    }

    /// Closes the connections of peers that are no longer members. They are told why when they connect again.
    pub(crate) fn close_removed(&mut self, ctx: &Context) {
        for key in 0..self.connections.capacity() {
            let Some(connection) = self.connections.get(key) else { continue };
            if let Party::Member { hello, .. } = &connection.party
                && ctx.caller(hello) == Caller::Removed
            {
                self.close(key);
            }
        }
    }

    /// An operation has ended: answers the operator that requested it, if it is still connected.
    pub(crate) fn on_operation_done(
        &mut self,
        ctx: &mut Context,
        id: PeerConnectionId,
        response: AdminResponse,
    ) {
        let found = self.connections.iter().find(|(_, connection)| connection.id == id).map(|(key, _)| key);
        let Some(key) = found else { return };
        let connection = &mut self.connections[key];
        // It may have been refused while it waited. Then it is about to be closed, and nothing follows a
        // refusal.
        if !matches!(connection.party, Party::Operator { awaits: true, .. }) {
            return;
        }
        connection.party = Party::Operator { awaits: false, idle_since: ctx.now() };
        peer::encode(&Frame::AdminResponse(response), connection.output.tail());
        self.settle(ctx, key, Next::GoOn);
    }

    fn accept(&mut self, ctx: &mut Context) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some((stream, ())) = self.ports.accept(ctx.now()) else { return };
            if self.connections.len() >= self.connections_max && !self.make_room() {
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
        if let Stream::Tcp(stream) = &stream {
            configure(stream);
        }
        ctx.counters.peer_connections_accepted += 1;
        self.last = PeerConnectionId(self.last.0 + 1);
        let until = ctx.now().plus(HANDSHAKE_US_MAX);
        entry.insert(Connection {
            id: self.last,
            stream,
            decoder: Decoder::new(),
            output: SendQueue::default(),
            party: Party::Stranger { until },
            readiness: Readiness::default(),
            queued: false,
        });
        self.sweep.note(Some(until));
    }

    /// Closes the oldest stranger or refused connection, or else the oldest operator that waits for nothing.
    /// Returns false if there is neither.
    fn make_room(&mut self) -> bool {
        let oldest = |may_go: fn(&Party) -> bool| {
            let going = self.connections.iter().filter(|(_, connection)| may_go(&connection.party));
            going.min_by_key(|(_, connection)| connection.id).map(|(key, _)| key)
        };
        let stranger = oldest(|party| matches!(party, Party::Stranger { .. } | Party::Leaving { .. }));
        let idle = || oldest(|party| matches!(party, Party::Operator { awaits: false, .. }));
        let Some(key) = stranger.or_else(idle) else { return false };
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
    fn settle(&mut self, ctx: &mut Context, key: usize, next: Next) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let sent = connection.output.flush(&mut connection.stream);
        if let Ok(sent) = sent {
            ctx.counters.peer_bytes_sent += sent as u64;
        }
        if next == Next::Close || sent.is_err() {
            self.close(key);
        } else {
            self.sweep.note(connection.deadline());
        }
    }

    fn read(
        &mut self,
        ctx: &mut Context,
        links: &mut Links,
        operations: &mut Operations,
        key: usize,
    ) -> Next {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut next = Next::GoOn;
        for reads in 1.. {
            let connection = &mut self.connections[key];
            if next == Next::Close || !connection.readiness.is_readable() {
                break;
            }
            if reads > PEER_READS_PER_TURN_MAX {
                self.queue(key);
                break;
            }
            match connection.readiness.read(&mut connection.stream, &mut buffer) {
                ReadOutcome::Bytes(n) => {
                    // What an answer promises counts from the arrival of its message at the earliest, and the
                    // process may have been stopped since the turn began.
                    ctx.clock.tick();
                    ctx.counters.peer_bytes_received += n as u64;
                    next = self.on_bytes(ctx, links, operations, key, &buffer[..n]);
                }
                ReadOutcome::NotNow => {}
                ReadOutcome::End => next = Next::Close,
                ReadOutcome::Broken(error) => {
                    log::debug!("a connection on the peer port broke: {error}");
                    next = Next::Close;
                }
            }
        }
        self.buffer = buffer;
        next
    }

    fn on_bytes(
        &mut self,
        ctx: &mut Context,
        links: &mut Links,
        operations: &mut Operations,
        key: usize,
        bytes: &[u8],
    ) -> Next {
        let mut input = bytes;
        loop {
            let connection = &mut self.connections[key];
            match connection.decoder.next_frame(&mut input) {
                Ok(None) => return Next::GoOn,
                Ok(Some(frame)) => match self.on_frame(ctx, links, operations, key, frame) {
                    Next::GoOn => {}
                    Next::Close => return Next::Close,
                },
                // The error is final, and the rest of the input is discarded.
                Err(error) => return self.on_bad_frame(ctx, key, error),
            }
        }
    }

    fn on_frame(
        &mut self,
        ctx: &mut Context,
        links: &mut Links,
        operations: &mut Operations,
        key: usize,
        frame: Frame,
    ) -> Next {
        let connection = &mut self.connections[key];
        match (&connection.party, frame) {
            // It was refused: whatever else it sends is ignored.
            (Party::Leaving { .. }, _) => Next::GoOn,
            (Party::Member { hello, .. }, Frame::Message(message)) => {
                let from = hello.from;
                log::trace!("from node {from}: {message:?}");
                ctx.counters.messages_received += 1;
                links.on_heard(ctx.now(), from);
                ctx.step(Input::Message { from, message });
                Next::GoOn
            }
            (Party::Stranger { .. }, Frame::Hello(hello)) => {
                self.on_hello(ctx, links, key, hello);
                Next::GoOn
            }
            (
                Party::Stranger { .. } | Party::Operator { awaits: false, .. },
                Frame::AdminRequest(request),
            ) if connection.output.is_empty() => {
                ctx.counters.operations += 1;
                let response = operations.begin(ctx, links, connection.id, request);
                let awaits = response.is_none();
                connection.party = Party::Operator { awaits, idle_since: ctx.now() };
                if let Some(response) = response {
                    peer::encode(&Frame::AdminResponse(response), connection.output.tail());
                }
                Next::GoOn
            }
            // This includes a request from an operator that has not taken its last answer: so a turn makes at
            // most one answer per connection, however many requests arrive at once.
            (
                Party::Stranger { .. } | Party::Member { .. } | Party::Operator { .. },
                Frame::Hello(_)
                | Frame::Welcome(_)
                | Frame::Refuse(_)
                | Frame::Message(_)
                | Frame::AdminRequest(_)
                | Frame::AdminResponse(_),
            ) => {
                self.complain(ctx, key, "unexpected", &"an unexpected frame");
                Next::Close
            }
        }
    }

    fn on_hello(&mut self, ctx: &mut Context, links: &mut Links, key: usize, hello: Hello) {
        let from = hello.from;
        match ctx.acceptor().judge(&hello, ctx.caller(&hello)) {
            Ok(welcome) => {
                log::debug!("node {from} at {} is welcome", hello.peer_address);
                ctx.counters.handshakes_accepted += 1;
                let replaced = self.replace_former(ctx.now(), &hello);
                links.on_hello(ctx, from, &hello.peer_address);
                let connection = &mut self.connections[key];
                connection.decoder.accept_large();
                connection.party = Party::Member { hello: Box::new(hello), replaced };
                peer::encode(&Frame::Welcome(welcome), connection.output.tail());
            }
            Err(refuse) => {
                log::debug!("node {from} at {} is refused: {refuse:?}", hello.peer_address);
                ctx.counters.handshakes_refused += 1;
                self.refuse(ctx.now(), key, refuse);
            }
        }
    }

    /// Closes this member's earlier connection, if any, and warns if that shows two copies of its store.
    fn replace_former(&mut self, now: Micros, hello: &Hello) -> Replaced {
        let is_former =
            |party: &Party| matches!(party, Party::Member { hello: former, .. } if former.from == hello.from);
        let former = self.connections.iter().find(|(_, connection)| is_former(&connection.party));
        let Some(key) = former.map(|(key, _)| key) else { return Replaced::default() };
        let former = self.connections.remove(key).party;
        let Party::Member { hello: former, mut replaced } = former else { return Replaced::default() };
        let sign = replaced.replace(&former.peer_address, &hello.peer_address);
        if sign == Sign::OfTwo
            && let Some(left_out) = self.copies.admit(now)
        {
            log::warn!(
                "node {} connects from {} again and is still connected from {}, in turn: two processes run, \
                 one with a copy of the other's store, and IDs may repeat; stop one of them for \
                 good{left_out}",
                hello.from.id,
                hello.peer_address,
                former.peer_address,
            );
        }
        replaced
    }

    fn refuse(&mut self, now: Micros, key: usize, refuse: Refuse) {
        let connection = &mut self.connections[key];
        peer::encode(&Frame::Refuse(refuse), connection.output.tail());
        connection.party = Party::Leaving { until: now.plus(REFUSED_US_MAX) };
    }

    fn on_bad_frame(&mut self, ctx: &mut Context, key: usize, error: FrameError) -> Next {
        match (&self.connections[key].party, error) {
            (Party::Leaving { .. }, _) => Next::GoOn,
            (Party::Stranger { .. } | Party::Operator { .. }, FrameError::Version { .. }) => {
                self.complain(ctx, key, error.label(), &error);
                self.refuse(ctx.now(), key, Refuse::Version { ours: PROTOCOL_VERSION });
                Next::GoOn
            }
            (
                Party::Stranger { .. } | Party::Member { .. } | Party::Operator { .. },
                FrameError::TooLong { .. }
                | FrameError::BadChecksum
                | FrameError::UnknownType(_)
                | FrameError::Version { .. }
                | FrameError::Malformed(_),
            ) => {
                self.complain(ctx, key, error.label(), &error);
                Next::Close
            }
        }
    }

    fn complain(&mut self, ctx: &mut Context, key: usize, label: &'static str, what: &dyn fmt::Display) {
        ctx.counters.count_bad_frame(label);
        if let Some(left_out) = self.complaints.admit(ctx.now()) {
            let remote = self.connections[key].stream.remote();
            let remote = remote.map_or("an unknown address".to_owned(), |address| address.to_string());
            log::warn!("a connection from {remote} on the peer port was closed: {what}{left_out}");
        }
    }
}

impl Connection {
    fn deadline(&self) -> Option<Micros> {
        match self.party {
            Party::Stranger { until } | Party::Leaving { until } => Some(until),
            Party::Member { .. } | Party::Operator { awaits: true, .. } => None,
            Party::Operator { awaits: false, idle_since } => Some(idle_since.plus(ADMIN_IDLE_US_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;
    use std::time::Duration;

    use mio::{Events, Poll, Waker};
    use raft_core::LogIndex;

    use super::*;
    use crate::peer::AdminRequest;
    use crate::server::peers::resolver::look_up;
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
        let (mut links, mut operations) = (Links::new(waker, look_up), Operations::default());
        let listener = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections =
            PeerConnections::new(Ports::new(vec![(Listener::Tcp(listener), ())], "peers"), 16);

        let mut operator = std::net::TcpStream::connect(address).unwrap();
        operator.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut bytes = Vec::new();
        let transfer = AdminRequest::Transfer { cluster: ctx.me.cluster, to: None };
        peer::encode(&Frame::AdminRequest(transfer), &mut bytes);
        bytes.extend(request_from_the_future());
        operator.write_all(&bytes).unwrap();
        connections.on_port_event(0);
        let mut events = Events::with_capacity(16);
        let id = loop {
            connections.serve(&mut ctx, &mut links, &mut operations);
            let party = connections.connections.get(0).map(|connection| (connection.id, &connection.party));
            if let Some((id, Party::Leaving { .. })) = party {
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

        connections.on_operation_done(&mut ctx, id, AdminResponse::Removed { at: LogIndex(1) });
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
        connections.on_operation_done(&mut ctx, id, AdminResponse::Removed { at: LogIndex(1) });
        let mut expected = Vec::new();
        peer::encode(&Frame::AdminResponse(AdminResponse::Removed { at: LogIndex(1) }), &mut expected);
        let mut answer = vec![0; expected.len()];
        operator.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
}
