//! Whole servers in this process, on loopback: the event loop with real sockets, disks and Raft. Shared by
//! the tests that use the library; those that run the program itself have `tests/harness`.
//!
//! No result depends on time: every wait has a deadline that a sound server never comes near.

#![allow(dead_code, unreachable_pub)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raft_core::{
    HardState, Incarnation, LogIndex, Member, Membership, NodeId, Peer, Snapshot, Suffrage, Term,
};
use ticketd::http;
use ticketd::identity::{ClusterId, Identity, Standing};
use ticketd::node::{NodeConfig, initial_state};
use ticketd::peer::{AdminRequest, AdminResponse, Decoder, Frame, encode};
use ticketd::server::{ClientListener, ClientSocket, Exit, Server, ServerConfig, ServerError, StopRequests};
use ticketd::storage::{NewStore, Store};

pub const CLUSTER: ClusterId = ClusterId(0xC0FFEE);
pub const MAP_BYTES: u64 = 64 << 20;
/// Nothing that a test waits for takes a sound server this long, on any machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn id(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

pub fn peer(id_number: u64) -> Peer {
    Peer { id: id(id_number), incarnation: Incarnation(u128::from(id_number) << 64 | 7) }
}

/// A directory that is removed with the test.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Directory {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ticketd-loopback-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    pub fn store(&self, id: u64) -> PathBuf {
        self.0.join(format!("store{id}"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bound ports and their addresses.
pub struct Ports {
    pub peer_listener: TcpListener,
    pub http_listener: TcpListener,
    pub peer_address: String,
    pub client_address: String,
}

impl Ports {
    pub fn bind() -> Ports {
        Ports::bind_as("127.0.0.1")
    }

    /// Binds ports on loopback, to be reached by this name.
    pub fn bind_as(host: &str) -> Ports {
        let peer_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let http_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = |listener: &TcpListener| format!("{host}:{}", listener.local_addr().unwrap().port());
        let peer_address = address(&peer_listener);
        let client_address = address(&http_listener);
        Ports { peer_listener, http_listener, peer_address, client_address }
    }
}

pub struct Running {
    pub id: u64,
    pub peer_address: String,
    pub client_address: String,
    pub stop: UnixStream,
    pub thread: JoinHandle<Result<Exit, ServerError>>,
}

impl Running {
    pub fn spawn(id: u64, store: Store, ports: Ports) -> Running {
        let _ = env_logger::builder().is_test(true).try_init();
        let (stop_read, stop) = UnixStream::pair().unwrap();
        let raft = raft_core::Config {
            me: peer(id),
            election_timeout_us: 1_000_000,
            heartbeat_interval_us: 100_000,
            lease: None,
            seed: id,
        };
        let config = ServerConfig {
            node: NodeConfig { raft, window: 10_000, request_timeout_us: 5_000_000, forward: false },
            peer_address: ports.peer_address.clone(),
            client_address: ports.client_address.clone(),
            peer_listeners: vec![ports.peer_listener],
            client_listeners: vec![ClientListener {
                socket: ClientSocket::Tcp(ports.http_listener),
                serves: http::Serves::Everything,
            }],
            http: http::Config::default(),
            settings: Vec::new(),
            client_connections_max: None,
            log_lines_left_out: Arc::default(),
            stop: StopRequests::on(stop_read).unwrap(),
        };
        let server = Server::new(config, store).unwrap();
        let thread = thread::spawn(move || server.run());
        let Ports { peer_address, client_address, .. } = ports;
        Running { id, peer_address, client_address, stop, thread }
    }

    /// Starts the first node of a new cluster.
    pub fn start(directory: &Directory) -> Running {
        let ports = Ports::bind();
        let mut membership = Membership::default();
        let member = Member {
            incarnation: peer(1).incarnation,
            suffrage: Suffrage::Voter,
            peer_address: ports.peer_address.clone(),
            client_address: ports.client_address.clone(),
        };
        membership.members.insert(id(1), member);
        let snapshot = Snapshot {
            last_included_index: LogIndex(1),
            last_included_term: Term(1),
            membership: Arc::new(membership),
            state: initial_state(NonZeroU64::MIN),
        };
        let hard_state = HardState { current_term: Term(1), voted_for: None };
        let standing = Standing::Member { cluster: CLUSTER, joined_at: LogIndex(1) };
        let identity = Identity { me: peer(1), standing };
        let new = NewStore {
            identity: &identity,
            settings: &[],
            map_bytes: MAP_BYTES,
            hard_state,
            snapshot: Some(&snapshot),
        };
        let store = Store::create(&directory.store(1), &new).unwrap();
        Running::spawn(1, store, ports)
    }

    /// Starts another node, which joins through a member.
    pub fn join(directory: &Directory, id: u64, by: &str) -> Running {
        // A name has to be resolved, and may stand for several addresses of which only one works.
        let ports = Ports::bind_as("localhost");
        let request = AdminRequest::Join {
            peer: peer(id),
            peer_address: ports.peer_address.clone(),
            client_address: ports.client_address.clone(),
        };
        let AdminResponse::Joined { cluster, joined_at } = ask(by, &request) else {
            panic!("node {id} was not let in");
        };
        let identity = Identity { me: peer(id), standing: Standing::Member { cluster, joined_at } };
        let new = NewStore {
            identity: &identity,
            settings: &[],
            map_bytes: MAP_BYTES,
            hard_state: HardState::default(),
            snapshot: None,
        };
        let store = Store::create(&directory.store(id), &new).unwrap();
        Running::spawn(id, store, ports)
    }

    /// Restarts a node on other ports.
    pub fn restart(directory: &Directory, id: u64) -> Running {
        Running::spawn(id, Store::open(&directory.store(id)).unwrap(), Ports::bind())
    }

    pub fn ask_to_stop(&mut self) {
        self.stop.write_all(b"x").unwrap();
    }

    pub fn exit(self) -> Exit {
        wait_until("the node ends", || self.thread.is_finished());
        self.thread.join().unwrap().unwrap()
    }

    pub fn stop(mut self) -> Exit {
        self.ask_to_stop();
        self.exit()
    }

    pub fn status(&self) -> String {
        match ask_once(&self.peer_address, &AdminRequest::Status) {
            Ok(AdminResponse::Status(json)) => json,
            other => panic!("{other:?}"),
        }
    }
}

pub fn cluster_of_three(directory: &Directory) -> Vec<Running> {
    let first = Running::start(directory);
    let second = Running::join(directory, 2, &first.peer_address);
    // Through a node that may not lead, and may not even know which node does.
    let third = Running::join(directory, 3, &second.peer_address);
    let nodes = vec![first, second, third];
    for node in &nodes {
        wait_until("all vote and have their links", || {
            let status = node.status();
            status.matches(r#""suffrage":"voter""#).count() == 3
                && status.matches(r#""link":"up""#).count() == 2
        });
    }
    nodes
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until there is a final answer, following redirects.
pub fn ask(address: &str, request: &AdminRequest) -> AdminResponse {
    let mut address = address.to_owned();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "in vain: {request:?}");
        match ask_once(&address, request) {
            Ok(AdminResponse::Redirect { peer_address, .. }) => address = peer_address,
            Ok(AdminResponse::Retry(_)) => thread::sleep(Duration::from_millis(10)),
            Ok(response) => return response,
            Err(error) => panic!("{address}: {error}"),
        }
    }
}

pub fn ask_once(address: &str, request: &AdminRequest) -> io::Result<AdminResponse> {
    match exchange(address, &Frame::AdminRequest(request.clone()))? {
        Some(Frame::AdminResponse(response)) => Ok(response),
        other => panic!("{other:?}"),
    }
}

/// Sends one frame and waits for one, or for the end.
pub fn exchange(address: &str, frame: &Frame) -> io::Result<Option<Frame>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    encode(frame, &mut bytes);
    stream.write_all(&bytes)?;
    let mut decoder = Decoder::new();
    decoder.accept_large_frames();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(None);
        }
        let mut input = &buffer[..n];
        if let Some(frame) = decoder.next_frame(&mut input).unwrap() {
            return Ok(Some(frame));
        }
    }
}
