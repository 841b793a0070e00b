//! What arrives on a peer connection, and what follows from it.

use std::fmt;

use raft_core::Micros;

use super::{BeginOperation, Party, PeerConnections, acceptor, caller};
use crate::node::Input;
use crate::peer::{Frame, FrameError, Hello, PROTOCOL_VERSION, Refuse};
use crate::server::context::Context;
use crate::server::counters::Counters;
use crate::server::limits::{PEER_READS_PER_TURN_MAX, REFUSED_US_MAX};
use crate::server::narration::{self, reminder::Notice};
use crate::server::peers::copies::{Replaced, Sign};
use crate::server::peers::links::Links;
use crate::server::sockets::{Next, ReadOutcome};

impl PeerConnections {
    /// Reads everything that has arrived, up to a bound.
    pub(super) fn read(
        &mut self,
        ctx: &mut Context,
        links: &mut Links,
        begin: BeginOperation<'_>,
        key: usize,
    ) -> Next {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut next = Next::GoOn;
        for reads in 1.. {
            let connection = &mut self.connections[key];
            if next == Next::Close || !connection.channel.is_readable() {
                break;
            }
            if reads > PEER_READS_PER_TURN_MAX {
                self.queue(key);
                break;
            }
            match connection.channel.read(&mut buffer, &mut ctx.counters) {
                ReadOutcome::Bytes(n) => {
                    // What an answer promises counts from the arrival of its message at the earliest, and the
                    // process may have been stopped since the turn began.
                    ctx.tick();
                    next = self.on_bytes(ctx, links, begin, key, &buffer[..n]);
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
        begin: BeginOperation<'_>,
        key: usize,
        bytes: &[u8],
    ) -> Next {
        let mut input = bytes;
        loop {
            let connection = &mut self.connections[key];
            match connection.channel.next_frame(&mut input, ctx.now()) {
                Ok(None) => return Next::GoOn,
                Ok(Some(frame)) => match self.on_frame(ctx, links, begin, key, frame) {
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
        begin: BeginOperation<'_>,
        key: usize,
        frame: Frame,
    ) -> Next {
        let connection = &mut self.connections[key];
        match (&mut connection.party, frame) {
            // It was refused: whatever else it sends is ignored.
            (Party::Refused { .. }, _) => Next::GoOn,
            (Party::Peer { heard_at, .. }, Frame::Ping) => {
                *heard_at = ctx.now();
                // If there is no room, the peer hears enough.
                if connection.channel.has_room() {
                    connection.channel.queue(&Frame::Ping);
                }
                Next::GoOn
            }
            (Party::Peer { hello, heard_at, .. }, Frame::Message(message)) => {
                *heard_at = ctx.now();
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
            ) if connection.channel.is_flushed() => {
                ctx.counters.operations += 1;
                let response = begin(ctx, links, connection.id, request);
                let awaits = response.is_none();
                connection.party = Party::Operator { awaits, idle_since: ctx.now() };
                if let Some(response) = response {
                    connection.channel.queue(&Frame::AdminResponse(response));
                }
                Next::GoOn
            }
            // This includes a request from an operator that has not taken its last answer: so a turn makes at
            // most one answer per connection, however many requests arrive at once.
            (
                Party::Stranger { .. } | Party::Peer { .. } | Party::Operator { .. },
                Frame::Hello(_)
                | Frame::Welcome(_)
                | Frame::Refuse(_)
                | Frame::Ping
                | Frame::Message(_)
                | Frame::AdminRequest(_)
                | Frame::AdminResponse(_),
            ) => {
                self.complain(ctx, key, Counters::UNEXPECTED, &"an unexpected frame");
                Next::Close
            }
        }
    }

    fn on_hello(&mut self, ctx: &mut Context, links: &mut Links, key: usize, hello: Hello) {
        let from = hello.from;
        match acceptor(ctx).judge(&hello, caller(ctx, &hello)) {
            Ok(welcome) => {
                log::debug!("node {from} at {} is welcome", hello.peer_address);
                ctx.counters.handshakes_accepted += 1;
                let replaced = self.replace_former(ctx.now(), &hello);
                links.on_hello(ctx, from, &hello.peer_address);
                let connection = &mut self.connections[key];
                connection.channel.accept_large_frames();
                connection.party = Party::Peer { hello: Box::new(hello), replaced, heard_at: ctx.now() };
                connection.channel.queue(&Frame::Welcome(welcome));
            }
            Err(refuse) => {
                log::debug!("node {from} at {} is refused: {refuse:?}", hello.peer_address);
                ctx.counters.handshakes_refused += 1;
                self.refuse(ctx.now(), key, refuse);
            }
        }
    }

    /// Closes this member's earlier connection, if any, and notes if that shows two copies of its store.
    fn replace_former(&mut self, now: Micros, hello: &Hello) -> Replaced {
        let former = self.connections.iter().find(|(_, connection)| connection.is_of(hello.from));
        let Some(key) = former.map(|(key, _)| key) else { return Replaced::default() };
        let former = self.connections.remove(key).party;
        let Party::Peer { hello: former, mut replaced, .. } = former else { return Replaced::default() };
        let sign = replaced.replace(&former.peer_address, &hello.peer_address);
        if sign == Sign::OfTwo {
            let addresses = [&hello.peer_address, &former.peer_address];
            self.rivals.see(now, narration::rivals_line(hello.from.id, addresses));
        }
        replaced
    }

    /// Warns of two processes that run with copies of one store, as long as they displace each other.
    pub(crate) fn warn_of_rivals(&mut self, now: Micros) {
        match self.rivals.notice(now) {
            None => {}
            Some(Notice::Lasts(_, left_out)) => log::warn!("{}{left_out}", self.rivals.line()),
            Some(Notice::Over(_)) => log::info!(
                "no node connects from two addresses in turn any more: one of the processes has stopped, or \
                 takes no further part"
            ),
        }
    }

    fn refuse(&mut self, now: Micros, key: usize, refuse: Refuse) {
        let connection = &mut self.connections[key];
        connection.channel.queue(&Frame::Refuse(refuse));
        connection.party = Party::Refused { until: now.plus(REFUSED_US_MAX) };
    }

    fn on_bad_frame(&mut self, ctx: &mut Context, key: usize, error: FrameError) -> Next {
        match (&self.connections[key].party, error) {
            (Party::Refused { .. }, _) => Next::GoOn,
            (Party::Stranger { .. } | Party::Operator { .. }, FrameError::Version { .. }) => {
                self.complain(ctx, key, error.label(), &error);
                self.refuse(ctx.now(), key, Refuse::Version { ours: PROTOCOL_VERSION });
                Next::GoOn
            }
            (
                Party::Stranger { .. } | Party::Peer { .. } | Party::Operator { .. },
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

    pub(super) fn complain(
        &mut self,
        ctx: &mut Context,
        key: usize,
        label: &'static str,
        what: &dyn fmt::Display,
    ) {
        ctx.counters.count_bad_frame(label);
        if let Some(left_out) = self.complaints.admit(ctx.now()) {
            let remote = self.connections[key].channel.remote();
            let remote = remote.map_or("an unknown address".to_owned(), |address| address.to_string());
            log::warn!("a connection from {remote} on the peer port was closed: {what}{left_out}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use mio::{Events, Poll, Waker};
    use raft_core::{LogIndex, Message, PreVoteResponse, Term};

    use super::*;
    use crate::identity::ClusterId;
    use crate::node::PeerMessage;
    use crate::node::testing::peer;
    use crate::peer::{AdminRequest, AdminResponse, encode};
    use crate::server::limits::{MEMBER_SILENCE_US_MAX, SWEEP_INTERVAL_US};
    use crate::server::peers::connections::PeerConnectionId;
    use crate::server::peers::links::resolver::look_up;
    use crate::server::sockets::ports::Ports;
    use crate::server::sockets::stream::Stream;
    use crate::server::testing::context;
    use crate::server::token::Source;

    /// In a correct server, nothing that a test waits for takes this long, on any machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A node, and others, from node 2 on, which are connected to it and were welcomed.
    struct Bench {
        poll: Poll,
        ctx: Context,
        links: Links,
        connections: PeerConnections,
        other_ends: Vec<UnixStream>,
    }

    impl Bench {
        /// Only node 2 is connected.
        fn new() -> Bench {
            let poll = Poll::new().unwrap();
            let ctx = context(&poll);
            let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token()).unwrap());
            let links = Links::new(waker, look_up);
            let connections = PeerConnections::new(Ports::new(Vec::new(), "peers"), 16);
            let mut bench = Bench { poll, ctx, links, connections, other_ends: Vec::new() };
            bench.connect();
            bench
        }

        /// The next node connects and is welcomed.
        fn connect(&mut self) {
            let (stream, other_end) = UnixStream::pair().unwrap();
            stream.set_nonblocking(true).unwrap();
            self.connections.admit(&mut self.ctx, Stream::Unix(mio::net::UnixStream::from_std(stream)));
            let key = self.other_ends.len();
            self.other_ends.push(other_end);
            let from = peer(2 + u64::try_from(key).unwrap());
            let hello = Hello {
                cluster: ClusterId(77),
                from,
                to: peer(1),
                // It may be a member that this node has not heard of.
                commit_index: LogIndex(9),
                peer_address: "other.test:9000".to_owned(),
                client_address: "other.test:8000".to_owned(),
            };
            self.receive_from(key, &encoded(&Frame::Hello(hello)));
            assert!(self.connections.is_connected(from));
        }

        /// These bytes arrive from node 2.
        fn receive(&mut self, bytes: &[u8]) {
            self.receive_from(0, bytes);
        }

        fn receive_from(&mut self, key: usize, bytes: &[u8]) {
            let next =
                self.connections.on_bytes(&mut self.ctx, &mut self.links, &mut no_operation, key, bytes);
            self.connections.flush_or_close(&mut self.ctx, key, next);
        }

        /// Node 3 sends a message, and turns pass until it has been read.
        fn read_from_node_3(&mut self) {
            self.other_ends[1].write_all(&message()).unwrap();
            let (received, began) = (self.ctx.counters.messages_received, Instant::now());
            while self.ctx.counters.messages_received == received {
                assert!(began.elapsed() < PATIENCE, "it is not read");
                let mut events = Events::with_capacity(4);
                self.poll.poll(&mut events, Some(Duration::from_millis(10))).unwrap();
                for event in &events {
                    if let Some(Source::PeerConnection(key)) = Source::of(event.token()) {
                        self.connections.on_event(key, event);
                    }
                }
                self.connections.serve(&mut self.ctx, &mut self.links, &mut no_operation);
            }
        }

        fn pass(&mut self, us: u64) {
            self.ctx.clock.now = self.ctx.now().plus(us);
            self.connections.on_time(&mut self.ctx);
        }
    }

    /// Nobody here is an operator.
    fn no_operation(
        _: &mut Context,
        _: &Links,
        _: PeerConnectionId,
        request: AdminRequest,
    ) -> Option<AdminResponse> {
        panic!("an operator requests {request:?}")
    }

    fn encoded(frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(frame, &mut bytes);
        bytes
    }

    fn message() -> Vec<u8> {
        let answer = PreVoteResponse { term: Term(1), next_term: Term(1), vote_granted: false };
        encoded(&Frame::Message(PeerMessage::Raft(Message::PreVoteResponse(answer))))
    }

    #[test]
    fn a_frame_that_grew_in_transit_does_not_swallow_what_follows_for_ever() {
        let mut bench = Bench::new();
        let mut grown = message();
        grown[1] ^= 1;
        bench.receive(&grown);
        for _ in 0..9 {
            bench.pass(MEMBER_SILENCE_US_MAX / 10);
            bench.receive(&message());
            assert!(bench.connections.is_connected(peer(2)));
        }
        bench.pass(MEMBER_SILENCE_US_MAX / 10 + SWEEP_INTERVAL_US);
        assert!(!bench.connections.is_connected(peer(2)));
        assert_eq!(bench.ctx.counters.bad_frames.get("incomplete"), Some(&1));
    }

    #[test]
    fn a_member_whose_frames_are_completed_in_time_is_kept_even_if_none_ends_where_a_read_does() {
        let mut bench = Bench::new();
        let bytes = message().repeat(20);
        for part in bytes.chunks(message().len() + 1) {
            bench.receive(part);
            bench.pass(MEMBER_SILENCE_US_MAX - 1);
            bench.pass(0);
            assert!(bench.connections.is_connected(peer(2)));
        }
    }

    #[test]
    fn a_member_is_kept_as_long_as_it_says_anything() {
        for words in [message(), encoded(&Frame::Ping)] {
            let mut bench = Bench::new();
            for _ in 0..3 {
                bench.receive(&words);
                bench.pass(MEMBER_SILENCE_US_MAX - 1);
                assert!(bench.connections.is_connected(peer(2)));
            }
            bench.pass(1 + SWEEP_INTERVAL_US);
            assert!(!bench.connections.is_connected(peer(2)));
            assert!(bench.ctx.counters.bad_frames.is_empty());
        }
    }

    #[test]
    fn room_is_made_by_those_who_are_no_members_and_never_by_a_member() {
        let mut bench = Bench::new();
        (0..2).for_each(|_| bench.connect());
        for unknown in [peer(3), peer(4)] {
            assert!(bench.connections.is_connected(unknown));
            assert!(bench.connections.make_room(&bench.ctx.membership));
            assert!(!bench.connections.is_connected(unknown));
        }
        assert!(!bench.connections.make_room(&bench.ctx.membership));
        assert!(bench.connections.is_connected(peer(2)));
    }

    /// It can tell that from nothing else if something between the two acknowledges what it does not deliver.
    #[test]
    fn a_member_that_pings_is_answered() {
        let mut bench = Bench::new();
        let other_end = &mut bench.other_ends[0];
        other_end.set_nonblocking(true).unwrap();
        other_end.read_to_end(&mut Vec::new()).unwrap_err();
        bench.receive(&encoded(&Frame::Ping));
        bench.receive(&message());
        let mut answers = Vec::new();
        bench.other_ends[0].read_to_end(&mut answers).unwrap_err();
        assert_eq!(answers, encoded(&Frame::Ping));
    }

    /// What the member has said meanwhile has not been read.
    #[test]
    fn a_member_is_not_silent_while_this_process_does_not_run() {
        let mut bench = Bench::new();
        bench.receive(&message());
        bench.ctx.silence_from = bench.ctx.now().plus(10 * MEMBER_SILENCE_US_MAX);
        bench.pass(10 * MEMBER_SILENCE_US_MAX);
        assert!(bench.connections.is_connected(peer(2)));
        bench.pass(MEMBER_SILENCE_US_MAX);
        assert!(!bench.connections.is_connected(peer(2)));
    }
    /// In the middle of a turn, too: the clock shows it with the next message that is read, and those of the
    /// other members may not even have been noticed yet.
    #[test]
    fn no_member_is_silent_while_this_process_is_stopped_in_the_middle_of_a_turn() {
        let mut bench = Bench::new();
        bench.connect();
        bench.ctx.clock.go_on(2 * MEMBER_SILENCE_US_MAX);
        bench.read_from_node_3();
        bench.pass(0);
        assert!(bench.connections.is_connected(peer(2)));
        bench.pass(MEMBER_SILENCE_US_MAX + SWEEP_INTERVAL_US);
        assert!(!bench.connections.is_connected(peer(2)));
    }
}
