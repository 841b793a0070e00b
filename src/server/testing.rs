//! Shared by the tests of the loop's parts: a node without a disk, a clock that the test sets, and real
//! sockets on loopback.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Waker};
use raft_core::{Config, LogIndex, Micros, Peer};

use super::context::{Context, Me};
use super::peers::links::{Link, LinkState, Links};
use super::token::Source;
use crate::http;
use crate::identity::ClusterId;
use crate::node::testing::{peer, recovered};
use crate::node::{Node, NodeConfig};
use crate::peer::{Decoder, Frame, Refuse, Welcome, encode};

/// In a correct server, nothing that a test waits for takes this long, on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The node at the other end of a [`Bench`]'s link.
pub(super) const OTHER: u64 = 2;

/// Node 1, one of two voters, which follows nobody yet.
pub(super) fn context(poll: &Poll) -> Context {
    let raft = Config {
        me: peer(1),
        election_timeout_us: 300_000,
        heartbeat_interval_us: 50_000,
        lease: None,
        seed: 1,
    };
    let config = NodeConfig { raft, window: 1_000, request_timeout_us: 5_000_000, forward: false };
    let me = Me {
        peer: peer(1),
        cluster: ClusterId(77),
        joined_at: LogIndex(1),
        peer_address: "node1.test:9000".to_owned(),
        client_address: "node1.test:8000".to_owned(),
        settings: Vec::new(),
    };
    let node = Node::new(config, Micros(0), recovered(2, 1)).unwrap();
    Context::new(poll.registry().try_clone().unwrap(), node, me, http::Config::default(), Arc::default())
}

/// A node's links, of which there is one.
pub(super) struct Bench {
    poll: Poll,
    began: Instant,
    pub(super) ctx: Context,
    pub(super) links: Links,
}

impl Bench {
    /// The node has a link to the other node, recorded at this address. Names have only the addresses
    /// that the test provides.
    pub(super) fn with_link_to(address: &str) -> Bench {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token()).unwrap());
        let never = |_: &str| -> io::Result<Vec<SocketAddr>> {
            loop {
                thread::park();
            }
        };
        let mut ctx = context(&poll);
        let mut links = Links::new(waker, never);
        // Far from 0, where differences of times would saturate.
        ctx.clock.now = Micros(1_000_000_000);
        links.on_hello(&mut ctx, peer(OTHER), address);
        Bench { poll, began: Instant::now(), ctx, links }
    }

    pub(super) fn link(&self) -> &Link {
        &self.links.links[0]
    }

    /// Time passes, and everything that is due is done.
    pub(super) fn pass(&mut self, us: u64) {
        self.ctx.clock.now = self.ctx.now().plus(us);
        self.links.on_time(&mut self.ctx);
    }

    /// The other node says Hello.
    pub(super) fn hello_from(&mut self, address: &str) {
        self.links.on_hello(&mut self.ctx, peer(OTHER), address);
        self.links.on_time(&mut self.ctx);
    }

    pub(super) fn resolve(&mut self, name: &str, addresses: &[SocketAddr]) {
        self.links.resolver.give(name, Ok(addresses.to_vec()));
        self.links.on_resolved(&mut self.ctx);
    }

    pub(super) fn fail_to_resolve(&mut self, name: &str) {
        self.links.resolver.give(name, Err(io::Error::other("the name servers are down")));
        self.links.on_resolved(&mut self.ctx);
    }

    /// Processes socket events, while no time passes, until the link is in the wanted state.
    #[track_caller]
    pub(super) fn run_until(&mut self, what: &str, is_so: impl Fn(&Link) -> bool) {
        while !is_so(self.link()) {
            assert!(self.began.elapsed() < PATIENCE, "never came: {what}; {:?}", self.link());
            self.turn();
        }
    }

    /// The other node, at this port, accepts the connection that is being made and sends a Welcome.
    #[track_caller]
    pub(super) fn be_welcomed_at(&mut self, port: &Port) -> TcpStream {
        let stream = self.be_answered_at(port, &Frame::Welcome(Welcome { commit_index: LogIndex(1) }));
        self.run_until("it is up", Link::is_up);
        stream
    }

    /// A different node is at this port.
    #[track_caller]
    pub(super) fn be_refused_at(&mut self, port: &Port) {
        self.be_refused_by(peer(9), port);
    }

    /// This node is at this port.
    #[track_caller]
    pub(super) fn be_refused_by(&mut self, me: Peer, port: &Port) {
        self.be_answered_at(port, &Frame::Refuse(Refuse::NotMe { me }));
        self.run_until("it is refused", |link| !is_greeting(link));
    }

    fn be_answered_at(&mut self, port: &Port, answer: &Frame) -> TcpStream {
        self.run_until("it says Hello", is_greeting);
        let mut stream = port.accept();
        assert!(matches!(receive(&mut stream), Frame::Hello(_)));
        send(&mut stream, answer);
        stream
    }

    /// One turn: processes the socket events.
    #[track_caller]
    pub(super) fn turn(&mut self) {
        assert!(self.began.elapsed() < PATIENCE, "never came: {:?}", self.link());
        let mut events = Events::with_capacity(16);
        self.poll.poll(&mut events, Some(Duration::from_millis(10))).unwrap();
        for event in &events {
            if let Some(Source::Link(key)) = Source::of(event.token()) {
                self.links.on_event(&mut self.ctx, key, event);
            }
        }
        self.links.serve(&mut self.ctx);
    }

    /// The link, which is up, breaks after it has been up for a while, and is dialled again.
    #[track_caller]
    pub(super) fn break_off(&mut self, other_end: TcpStream) {
        self.pass(super::limits::LINK_SETTLED_US);
        drop(other_end);
        self.run_until("it breaks", |link| !link.is_up());
        // That it broke is told as well.
        self.ctx.wake();
        self.pass(0);
    }

    /// Whether the node has been told, since the last call, that the other node is gone.
    pub(super) fn take_report(&mut self) -> bool {
        let told = self.ctx.has_work();
        self.ctx.wake();
        told
    }

    /// The address to which the link is connecting.
    pub(super) fn connects_to(&self) -> Option<SocketAddr> {
        match &self.link().state {
            LinkState::Connecting { attempt, .. } | LinkState::Greeting { attempt, .. } => attempt.current(),
            LinkState::Waiting { .. } | LinkState::Resolving { .. } | LinkState::Up { .. } => None,
        }
    }
}

pub(super) fn is_waiting(link: &Link) -> bool {
    matches!(link.state, LinkState::Waiting { .. })
}

pub(super) fn is_resolving(link: &Link) -> bool {
    matches!(link.state, LinkState::Resolving { .. })
}

pub(super) fn is_greeting(link: &Link) -> bool {
    matches!(link.state, LinkState::Greeting { .. })
}

/// A port on loopback. The kernel completes connections; the test decides when to accept them.
pub(super) struct Port(TcpListener);

impl Port {
    pub(super) fn open() -> Port {
        Port(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// From now on, connections to this address are refused.
    pub(super) fn close(self) -> SocketAddr {
        self.address()
    }

    pub(super) fn accept(&self) -> TcpStream {
        let stream = self.0.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

pub(super) fn send(stream: &mut TcpStream, frame: &Frame) {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes);
    stream.write_all(&bytes).unwrap();
}

pub(super) fn receive(stream: &mut TcpStream) -> Frame {
    let mut decoder = Decoder::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        if let Some(frame) = decoder.next_frame(&mut &byte[..]).unwrap() {
            return frame;
        }
    }
}
