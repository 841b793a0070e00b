//! Whole servers in this process, on loopback: the event loop with real sockets, disks and Raft.
//!
//! Nothing here is decided by time: whatever is waited for is waited for until a deadline that a sound server
//! never comes near.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how one says that something is wrong")]

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
use ticketd::peer::{AdminRequest, AdminResponse, Decoder, Frame, Hello, Refuse, RefusedReason, encode};
use ticketd::server::{ClientListener, ClientSocket, Exit, Server, ServerConfig, ServerError};
use ticketd::storage::Store;

const CLUSTER: ClusterId = ClusterId(0xC0FFEE);
const MAP_BYTES: u64 = 64 << 20;
/// Nothing that a test waits for takes this long in a sound server, on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn id(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn peer(id_number: u64) -> Peer {
    Peer { id: id(id_number), incarnation: Incarnation(u128::from(id_number) << 64 | 7) }
}

/// A directory that goes when the test does.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ticketd-loopback-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn store(&self, id: u64) -> PathBuf {
        self.0.join(format!("store{id}"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Ports that are bound, and where they are.
struct Ports {
    peer_listener: TcpListener,
    http_listener: TcpListener,
    peer_address: String,
    client_address: String,
}

impl Ports {
    fn bind() -> Ports {
        Ports::bind_as("127.0.0.1")
    }

    /// On loopback, to be reached by this name.
    fn bind_as(host: &str) -> Ports {
        let peer_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let http_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = |listener: &TcpListener| format!("{host}:{}", listener.local_addr().unwrap().port());
        let peer_address = address(&peer_listener);
        let client_address = address(&http_listener);
        Ports { peer_listener, http_listener, peer_address, client_address }
    }
}

struct Running {
    id: u64,
    peer_address: String,
    client_address: String,
    stop: UnixStream,
    thread: JoinHandle<Result<Exit, ServerError>>,
}

impl Running {
    fn spawn(id: u64, store: Store, ports: Ports) -> Running {
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
            client_connections_max: None,
            stop: stop_read,
        };
        let server = Server::new(config, store).unwrap();
        let thread = thread::spawn(move || server.run());
        let Ports { peer_address, client_address, .. } = ports;
        Running { id, peer_address, client_address, stop, thread }
    }

    /// The first node of a new cluster.
    fn start(directory: &Directory) -> Running {
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
        let initial = Some((hard_state, snapshot));
        let store = Store::create(&directory.store(1), MAP_BYTES, &identity, &[], initial).unwrap();
        Running::spawn(1, store, ports)
    }

    /// Another node, which joins by way of any member.
    fn join(directory: &Directory, id: u64, by: &str) -> Running {
        // A name has to be looked up, and may stand for several addresses of which one works.
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
        let store = Store::create(&directory.store(id), MAP_BYTES, &identity, &[], None).unwrap();
        Running::spawn(id, store, ports)
    }

    /// A node that ran before, on other ports.
    fn restart(directory: &Directory, id: u64) -> Running {
        Running::spawn(id, Store::open(&directory.store(id)).unwrap(), Ports::bind())
    }

    fn ask_to_stop(&mut self) {
        self.stop.write_all(b"x").unwrap();
    }

    fn exit(self) -> Exit {
        self.thread.join().unwrap().unwrap()
    }

    fn stop(mut self) -> Exit {
        self.ask_to_stop();
        self.exit()
    }

    fn status(&self) -> String {
        match ask_once(&self.peer_address, &AdminRequest::Status) {
            Ok(AdminResponse::Status(json)) => json,
            other => panic!("{other:?}"),
        }
    }
}

fn cluster_of_three(directory: &Directory) -> Vec<Running> {
    let first = Running::start(directory);
    let second = Running::join(directory, 2, &first.peer_address);
    // By way of a node that may not lead, and may not even know who does.
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

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until there is an answer that does not pass, following redirects.
fn ask(address: &str, request: &AdminRequest) -> AdminResponse {
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

fn ask_once(address: &str, request: &AdminRequest) -> io::Result<AdminResponse> {
    match exchange(address, &Frame::AdminRequest(request.clone()))? {
        Some(Frame::AdminResponse(response)) => Ok(response),
        other => panic!("{other:?}"),
    }
}

/// Sends one frame and awaits one, or the end.
fn exchange(address: &str, frame: &Frame) -> io::Result<Option<Frame>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    encode(frame, &mut bytes);
    stream.write_all(&bytes)?;
    let mut decoder = Decoder::new();
    decoder.accept_large();
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

/// A client with one connection.
struct Client {
    stream: TcpStream,
    leftover: Vec<u8>,
}

#[derive(Debug)]
struct Response {
    head: String,
    body: String,
}

impl Response {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Client {
    fn connect(address: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client { stream, leftover: Vec::new() })
    }

    fn send(&mut self, request_line: &str, times: usize) -> io::Result<()> {
        let request = format!("{request_line} HTTP/1.1\r\nHost: ticketd\r\nContent-Length: 0\r\n\r\n");
        self.stream.write_all(request.repeat(times).as_bytes())
    }

    fn receive(&mut self) -> io::Result<Response> {
        loop {
            if let Some(response) = self.take_response() {
                return Ok(response);
            }
            let mut buffer = [0; 4096];
            let n = self.stream.read(&mut buffer)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.leftover.extend_from_slice(&buffer[..n]);
        }
    }

    fn take_response(&mut self) -> Option<Response> {
        let text = String::from_utf8(self.leftover.clone()).unwrap();
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let response = Response { head: head.to_owned(), body: String::new() };
        let len: usize = response.field("content-length")?.parse().unwrap();
        let body = rest.get(..len)?.to_owned();
        self.leftover.drain(..head.len() + 4 + len);
        Some(Response { body, ..response })
    }
}

/// Takes an ID by way of any of the nodes, as a client does that follows redirects and tries again.
fn take_id(addresses: &[&str]) -> u64 {
    let mut target = addresses[0].to_owned();
    let deadline = Instant::now() + PATIENCE;
    for attempt in 0.. {
        assert!(Instant::now() < deadline, "no ID from any of {addresses:?}");
        let answer = Client::connect(&target).and_then(|mut client| {
            client.send("POST /", 1)?;
            client.receive()
        });
        match answer {
            Ok(response) if response.status() == 200 => return response.body.parse().unwrap(),
            Ok(response) if response.status() == 301 => {
                let location = response.field("location").unwrap();
                target = location.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
            }
            Ok(response) if response.status() == 503 => thread::sleep(Duration::from_millis(5)),
            Ok(response) => panic!("{response:?}"),
            Err(_) => {
                target = addresses[attempt % addresses.len()].to_owned();
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    unreachable!("attempts do not run out before the deadline")
}

fn get(address: &str, path: &str) -> Response {
    let mut client = Client::connect(address).unwrap();
    client.send(&format!("GET {path}"), 1).unwrap();
    client.receive().unwrap()
}

fn leader_position(nodes: &[Running]) -> usize {
    let mut found = None;
    wait_until("one leads", || {
        found = nodes.iter().position(|node| node.status().contains(r#""role":"leader""#));
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn three_nodes_hand_out_increasing_ids_through_any_of_them() {
    let directory = Directory::new();
    let nodes = cluster_of_three(&directory);
    let mut last = 0;
    for round in 0..30 {
        let taken = take_id(&[&nodes[round % 3].client_address]);
        assert!(taken > last, "{taken} after {last}");
        last = taken;
    }
    for node in nodes {
        assert_eq!(node.stop(), Exit::Stopped);
    }
}

#[test]
fn pipelined_requests_are_all_answered_in_order_on_one_connection() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    take_id(&[&node.client_address]);
    let mut client = Client::connect(&node.client_address).unwrap();
    // More than one connection may have unanswered at a time.
    let times = 1_000;
    client.send("POST /", times).unwrap();
    let ids: Vec<u64> = (0..times).map(|_| client.receive().unwrap().body.parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert_eq!(node.stop(), Exit::Stopped);
}

#[test]
fn a_leader_that_is_asked_to_stop_hands_over_and_the_ids_go_on() {
    let directory = Directory::new();
    let mut nodes = cluster_of_three(&directory);
    let before = take_id(&[&nodes[0].client_address]);
    let leader = nodes.remove(leader_position(&nodes));
    assert_eq!(leader.stop(), Exit::Stopped);
    let addresses: Vec<&str> = nodes.iter().map(|node| node.client_address.as_str()).collect();
    let after = take_id(&addresses);
    assert!(after > before, "{after} after {before}");
    for node in nodes {
        assert_eq!(node.stop(), Exit::Stopped);
    }
}

#[test]
fn leadership_goes_to_whom_an_operator_names() {
    let directory = Directory::new();
    let nodes = cluster_of_three(&directory);
    let next = &nodes[(leader_position(&nodes) + 1) % 3];
    // Asked of one that does not lead: the request follows the redirect.
    let transferred = ask(&next.peer_address, &AdminRequest::Transfer { to: Some(id(next.id)) });
    assert_eq!(transferred, AdminResponse::Transferred);
    wait_until("it leads", || next.status().contains(r#""role":"leader""#));
    let stranger = AdminRequest::Transfer { to: Some(id(9)) };
    assert_eq!(ask(&nodes[0].peer_address, &stranger), AdminResponse::Refused(RefusedReason::NoSuchMember));
    for node in nodes {
        assert_eq!(node.stop(), Exit::Stopped);
    }
}

#[test]
fn an_id_belongs_to_the_life_that_took_it() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    let join = |incarnation| AdminRequest::Join {
        peer: Peer { id: id(2), incarnation: Incarnation(incarnation) },
        peer_address: "127.0.0.1:1".to_owned(),
        client_address: "127.0.0.1:2".to_owned(),
    };
    let AdminResponse::Joined { cluster, joined_at } = ask(&node.peer_address, &join(1)) else {
        panic!("it was not let in");
    };
    assert_eq!(cluster, CLUSTER);
    // Asked again, because the answer was lost, say.
    let again = ask(&node.peer_address, &join(1));
    assert!(matches!(again, AdminResponse::Joined { joined_at: at, .. } if at >= joined_at), "{again:?}");
    assert_eq!(ask(&node.peer_address, &join(2)), AdminResponse::Refused(RefusedReason::IdTaken));
    assert_eq!(node.stop(), Exit::Stopped);
}

#[test]
fn a_second_request_to_stop_waits_for_nobody() {
    let directory = Directory::new();
    let mut nodes = cluster_of_three(&directory);
    let mut leader = nodes.remove(leader_position(&nodes));
    leader.stop.write_all(b"xx").unwrap();
    assert_eq!(leader.exit(), Exit::Interrupted);
    for node in nodes {
        assert_eq!(node.stop(), Exit::Stopped);
    }
}

#[test]
fn a_node_that_comes_back_elsewhere_is_found_and_recorded_there() {
    let directory = Directory::new();
    let mut nodes = cluster_of_three(&directory);
    let last = nodes.pop().unwrap();
    let (id, former) = (last.id, last.peer_address.clone());
    assert_eq!(last.stop(), Exit::Stopped);
    let moved = Running::restart(&directory, id);
    assert_ne!(moved.peer_address, former);
    nodes.push(moved);
    let (peer_address, client_address) = (&nodes[2].peer_address, &nodes[2].client_address);
    for node in &nodes {
        wait_until("the new address is recorded, and the links are up", || {
            let recorded = format!(
                r#""peer_address":"{peer_address}","client_address":"{client_address}","match_index""#
            );
            let status = node.status();
            status.contains(&recorded) && status.matches(r#""link":"up""#).count() == 2
        });
    }
    for node in nodes {
        assert_eq!(node.stop(), Exit::Stopped);
    }
}

#[test]
fn a_removed_node_learns_it_and_ends_and_its_former_life_is_refused() {
    let directory = Directory::new();
    let mut nodes = cluster_of_three(&directory);
    let leader = leader_position(&nodes);
    let removed = nodes.remove(if leader == 2 { 1 } else { 2 });
    let request = AdminRequest::Remove { id: id(removed.id), incarnation: None };
    let response = ask(&nodes[0].peer_address, &request);
    assert!(matches!(response, AdminResponse::Removed { .. }), "{response:?}");
    let gone = peer(removed.id);
    assert_eq!(removed.exit(), Exit::Removed);

    let again = ask(&nodes[0].peer_address, &AdminRequest::Remove { id: gone.id, incarnation: None });
    assert_eq!(again, AdminResponse::Refused(RefusedReason::NoSuchMember));
    let hello = Hello {
        cluster: CLUSTER,
        from: gone,
        to: peer(nodes[0].id),
        commit_index: LogIndex(1),
        peer_address: "127.0.0.1:1".to_owned(),
        client_address: "127.0.0.1:2".to_owned(),
    };
    wait_until("every member refuses it", || {
        let answer = exchange(&nodes[0].peer_address, &Frame::Hello(hello.clone())).unwrap();
        matches!(answer, Some(Frame::Refuse(Refuse::Removed { .. })))
    });
    for node in nodes {
        assert_eq!(node.stop(), Exit::Stopped);
    }
}

#[test]
fn a_leader_that_is_to_be_removed_hands_over_and_goes() {
    let directory = Directory::new();
    let mut nodes = cluster_of_three(&directory);
    let leader = nodes.remove(leader_position(&nodes));
    let request = AdminRequest::Remove { id: id(leader.id), incarnation: Some(peer(leader.id).incarnation) };
    let response = ask(&nodes[0].peer_address, &request);
    assert!(matches!(response, AdminResponse::Removed { .. }), "{response:?}");
    assert_eq!(leader.exit(), Exit::Removed);
    take_id(&[&nodes[0].client_address, &nodes[1].client_address]);
    for node in nodes {
        assert_eq!(node.stop(), Exit::Stopped);
    }
}

#[test]
fn strangers_on_the_peer_port_are_closed_and_counted_and_change_nothing() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    take_id(&[&node.client_address]);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0; 4096]] {
        let mut stream = TcpStream::connect(&node.peer_address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The other side may close before it has read all of it.
        let _ = stream.write_all(garbage);
        let ended = stream.read(&mut [0; 64]);
        assert!(!matches!(ended, Ok(1..)), "garbage was answered: {ended:?}");
        assert!(!matches!(&ended, Err(e) if e.kind() == io::ErrorKind::WouldBlock), "garbage was not closed");
    }
    let page = get(&node.client_address, "/metrics");
    let bad: u64 = page
        .body
        .lines()
        .filter(|line| line.starts_with("ticketd_bad_frames_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(bad, 3, "{}", page.body);
    take_id(&[&node.client_address]);
    assert_eq!(node.stop(), Exit::Stopped);
}

#[test]
fn more_silent_strangers_than_there_are_places_keep_nobody_out() {
    let directory = Directory::new();
    let mut nodes = cluster_of_three(&directory);
    // One more than the bound on connections to the peer port.
    let strangers: Vec<TcpStream> =
        (0..257).map(|_| TcpStream::connect(&nodes[0].peer_address).unwrap()).collect();
    // An operator gets in, and so does a node that restarts.
    assert!(nodes[0].status().contains(r#""id":1"#));
    let last = nodes.pop().unwrap();
    let id = last.id;
    assert_eq!(last.stop(), Exit::Stopped);
    nodes.push(Running::restart(&directory, id));
    wait_until("its links are up", || nodes[2].status().matches(r#""link":"up""#).count() == 2);
    drop(strangers);
    for node in nodes {
        assert_eq!(node.stop(), Exit::Stopped);
    }
}

#[test]
fn a_stranger_that_never_says_who_it_is_is_closed() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    let mut silent = TcpStream::connect(&node.peer_address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    // The first bytes of a frame that never becomes whole.
    silent.write_all(&[0, 0, 0]).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(node.stop(), Exit::Stopped);
}

#[test]
fn an_operator_that_asks_on_and_does_not_read_is_closed() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    let mut greedy = TcpStream::connect(&node.peer_address).unwrap();
    greedy.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut request = Vec::new();
    encode(&Frame::AdminRequest(AdminRequest::Status), &mut request);
    let requests = request.repeat(10_000);
    wait_until("writing fails", || greedy.write_all(&requests).is_err());
    assert!(node.status().contains(r#""id":1"#));
    assert_eq!(node.stop(), Exit::Stopped);
}

#[test]
fn a_caller_from_another_cluster_is_told_so() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    let hello = Hello {
        cluster: ClusterId(1),
        from: peer(9),
        to: peer(1),
        commit_index: LogIndex(1),
        peer_address: "127.0.0.1:1".to_owned(),
        client_address: "127.0.0.1:2".to_owned(),
    };
    let answer = exchange(&node.peer_address, &Frame::Hello(hello)).unwrap();
    assert_eq!(answer, Some(Frame::Refuse(Refuse::WrongCluster)));
    assert_eq!(node.stop(), Exit::Stopped);
}

#[test]
fn what_was_handed_out_before_a_restart_is_never_handed_out_again() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    let before: Vec<u64> = (0..20).map(|_| take_id(&[&node.client_address])).collect();
    assert_eq!(node.stop(), Exit::Stopped);
    let node = Running::restart(&directory, 1);
    let after = take_id(&[&node.client_address]);
    assert!(before.iter().all(|earlier| *earlier < after), "{after} after {before:?}");
    assert_eq!(node.stop(), Exit::Stopped);
}
