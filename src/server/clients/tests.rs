//! What a turn does for the clients, and what it leaves for the next.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use mio::{Poll, Waker};
use raft_core::{Incarnation, LogIndex, Member, NodeId, Suffrage};

use super::*;
use crate::http::Handler;
use crate::identity::{ClusterId, Identity, Standing};
use crate::node::testing::{peer, recovered};
use crate::server::peers::connections::PeerConnections;
use crate::server::peers::links::Links;
use crate::server::peers::links::resolver::look_up;
use crate::server::sockets::descriptors::allot_descriptors;
use crate::server::testing::context;
use crate::server::token::Source;
use crate::storage::{MAP_BYTES_MIN, NewStore, StorageThread, Store, TestDir};

/// This many send more than a turn takes in, although each is read once and in full.
const MANY: usize = 64;

/// The clients of a node, at Unix-domain sockets: what one side has written is there for the other at once.
struct Bench {
    clients: Clients,
    ctx: Context,
    /// The other ends.
    ends: Vec<UnixStream>,
    links: Links,
    peer_connections: PeerConnections,
    storage: StorageThread,
    _poll: Poll,
    _dir: TestDir,
}

impl Bench {
    /// This many clients are connected.
    fn with_clients(count: usize) -> Bench {
        let poll = Poll::new().unwrap();
        let ctx = context(&poll);
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token()).unwrap());
        let dir = TestDir::new();
        let mut bench = Bench {
            clients: Clients::new(Ports::new(Vec::new(), "clients"), &allot_descriptors(None).unwrap()),
            ctx,
            ends: Vec::new(),
            links: Links::new(waker, look_up),
            peer_connections: PeerConnections::new(Ports::new(Vec::new(), "peers"), 1),
            storage: StorageThread::spawn(store(&dir), || {}).unwrap(),
            _poll: poll,
            _dir: dir,
        };
        for _ in 0..count {
            let (end, accepted) = UnixStream::pair().unwrap();
            accepted.set_nonblocking(true).unwrap();
            let accepted = Stream::Unix(mio::net::UnixStream::from_std(accepted));
            bench.clients.admit(&mut bench.ctx, accepted, Serves::Everything, Place::Client);
            bench.ends.push(end);
        }
        assert_eq!(bench.clients.clients.len(), count);
        bench
    }

    /// Every client sends this, and the node has been told that there is something to read.
    fn all_send(&mut self, bytes: &[u8]) {
        for (key, end) in self.ends.iter_mut().enumerate() {
            end.write_all(bytes).unwrap();
            self.clients.clients[key].readiness.assume_readable();
            self.clients.queue(key);
        }
    }

    fn serve(&mut self) {
        let view =
            View { links: &self.links, peer_connections: &self.peer_connections, storage: &self.storage };
        self.clients.serve(&mut self.ctx, view);
    }

    /// How many bytes one turn reads.
    fn read_bytes(&mut self) -> u64 {
        let before = self.ctx.counters.client_bytes_received;
        self.serve();
        self.ctx.counters.client_bytes_received - before
    }

    /// How many requests have been answered, by whom and with which code.
    fn answered(&self, handler: Handler, code: &str) -> u64 {
        self.ctx.tally.by_code(handler).get(code).copied().unwrap_or(0)
    }
}

fn store(dir: &TestDir) -> Store {
    let recovered = recovered(2, 1);
    let standing = Standing::Member { cluster: ClusterId(77), joined_at: LogIndex(1) };
    let new = NewStore {
        identity: &Identity { me: peer(1), standing },
        settings: &[],
        map_bytes: MAP_BYTES_MIN,
        hard_state: recovered.hard_state,
        snapshot: recovered.snapshot.as_deref(),
    };
    Store::create(dir.path(), &new).unwrap()
}

#[test]
fn a_turn_reads_of_all_clients_what_the_bound_permits_and_the_next_turns_read_the_rest() {
    const EACH_BYTES: usize = 32 * 1024;
    let mut bench = Bench::with_clients(MANY);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n".to_owned();
    let part = head.clone() + &"x".repeat(EACH_BYTES - head.len());
    bench.all_send(part.as_bytes());
    let mut left_bytes = (MANY * EACH_BYTES) as u64;
    assert!(left_bytes >= CLIENT_INPUT_BYTES_PER_TURN_MAX * 3 / 2, "a turn would read all of it");
    while left_bytes > 0 {
        let read_bytes = bench.read_bytes();
        let due_bytes = left_bytes.min(CLIENT_INPUT_BYTES_PER_TURN_MAX);
        assert!(read_bytes >= due_bytes, "{read_bytes} of {left_bytes}");
        assert!(read_bytes < due_bytes + READ_BYTES_MAX as u64, "{read_bytes} of {left_bytes}");
        left_bytes -= read_bytes;
    }
    assert!(bench.clients.ready.is_empty());
}

#[test]
fn a_turn_parses_of_what_was_held_back_what_the_bound_permits_and_the_next_turns_parse_the_rest() {
    let mut bench = Bench::with_clients(MANY);
    // The first requests fill the pipeline. Those behind them are held until the first are answered.
    let pipeline_max = http::Config::default().pipeline_max;
    let first = "GET /none HTTP/1.1\r\nHost: a\r\n\r\n".repeat(pipeline_max);
    let long = format!("GET /none HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(400));
    let held = long.repeat(pipeline_max);
    let held_bytes = held.len() as u64;
    assert!(first.len() + held.len() <= READ_BYTES_MAX, "it is read at once");
    assert!(MANY as u64 * held_bytes >= 2 * CLIENT_INPUT_BYTES_PER_TURN_MAX, "a turn would parse all of it");
    bench.all_send((first + &held).as_bytes());
    while !bench.clients.ready.is_empty() {
        bench.serve();
    }
    let each = pipeline_max as u64;
    let answered = |bench: &Bench| bench.answered(Handler::Protocol, "404");
    assert_eq!(answered(&bench), MANY as u64 * each);

    let per_turn = CLIENT_INPUT_BYTES_PER_TURN_MAX.div_ceil(held_bytes);
    let mut left = MANY as u64;
    while left > 0 {
        let before = answered(&bench);
        bench.clients.flush(&mut bench.ctx);
        assert_eq!(answered(&bench) - before, left.min(per_turn) * each, "{left} clients are left");
        left -= left.min(per_turn);
    }
}

#[test]
fn a_page_for_a_client_that_is_gone_takes_no_place_of_a_page_for_another() {
    let mut bench = Bench::with_clients(3 * PAGES_PER_TURN_MAX);
    bench.all_send(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n");
    let per_turn = PAGES_PER_TURN_MAX as u64;
    bench.serve();
    assert_eq!(bench.answered(Handler::Pages, "200"), per_turn);
    let next = PAGES_PER_TURN_MAX..2 * PAGES_PER_TURN_MAX;
    assert!(bench.clients.pages.iter().take(next.len()).map(|(handle, _)| handle.key).eq(next.clone()));
    for key in next {
        bench.clients.clients[key].broken = true;
        bench.clients.queue(key);
    }
    bench.serve();
    assert_eq!(bench.answered(Handler::Pages, "200"), 2 * per_turn);
    assert!(bench.clients.pages.is_empty());
}

#[test]
fn a_client_is_redirected_to_where_the_leader_answers_clients() {
    let id = NodeId::new(2).unwrap();
    let mut membership = Membership::default();
    let member = Member {
        incarnation: Incarnation(2),
        suffrage: Suffrage::Voter,
        peer_address: "h2:9000".to_owned(),
        client_address: "h2:8000".to_owned(),
    };
    membership.members.insert(id, member);
    let to = |leader| reply(&membership, Answer::NotLeader { leader });
    assert!(matches!(to(Some(id)), Reply::Redirect { authority: "h2:8000" }));
    assert!(matches!(to(None), Reply::LeaderUnavailable));
    assert!(matches!(to(NodeId::new(9)), Reply::LeaderUnavailable), "where is node 9?");
}
