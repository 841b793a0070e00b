//! Whole servers in this process, on loopback: the event loop with real sockets, disks and Raft.
//!
//! No result depends on time: every wait has a deadline that a sound server never comes near.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how one says that something is wrong")]

mod in_process;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread::{self};
use std::time::{Duration, Instant};

use in_process::{
    CLUSTER, Directory, PATIENCE, Running, ask, cluster_of_three, exchange, id, peer, wait_until,
};
use raft_core::{Incarnation, LogIndex, Peer};
use ticketd::identity::ClusterId;
use ticketd::peer::{AdminRequest, AdminResponse, Frame, Hello, Refuse, RefusedReason, encode};
use ticketd::server::Exit;

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

/// Takes an ID through any of the nodes, as a client does that follows redirects and tries again.
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
    // More unanswered requests than one connection may have at a time.
    let times = 1_000;
    client.send("POST /", times).unwrap();
    let ids: Vec<u64> = (0..times).map(|_| client.receive().unwrap().body.parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert_eq!(node.stop(), Exit::Stopped);
}

#[test]
fn a_leader_that_is_asked_to_stop_is_followed_and_the_ids_go_on() {
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
    // Sent to a node that does not lead: the request follows the redirect.
    let transferred =
        ask(&next.peer_address, &AdminRequest::Transfer { cluster: CLUSTER, to: Some(id(next.id)) });
    assert_eq!(transferred, AdminResponse::Transferred { leader: id(next.id) });
    wait_until("it leads", || next.status().contains(r#""role":"leader""#));
    let stranger = AdminRequest::Transfer { cluster: CLUSTER, to: Some(id(9)) };
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
    // Sent again, as if the answer had been lost.
    let again = ask(&node.peer_address, &join(1));
    assert!(matches!(again, AdminResponse::Joined { joined_at: at, .. } if at >= joined_at), "{again:?}");
    assert_eq!(ask(&node.peer_address, &join(2)), AdminResponse::Refused(RefusedReason::IdTaken));
    assert_eq!(node.stop(), Exit::Stopped);
}

#[test]
fn a_member_that_was_never_heard_is_silent_since_it_joined() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    let join = AdminRequest::Join {
        peer: peer(2),
        peer_address: "127.0.0.1:1".to_owned(),
        client_address: "127.0.0.1:2".to_owned(),
    };
    let joined = ask(&node.peer_address, &join);
    assert!(matches!(joined, AdminResponse::Joined { .. }), "{joined:?}");
    let silence = || {
        let page = get(&node.client_address, "/metrics").body;
        let name = r#"ticketd_member_silence_seconds{member="2"} "#;
        page.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok())
    };
    let before = silence().expect("whoever alerts on silence needs a number");
    wait_until("its silence grows", || silence().is_some_and(|now| now > before));
    let status = node.status();
    assert!(status.contains(r#""link":"down","last_heard_ms":null"#), "{status}");
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

/// It listens at the address of a former member of the other cluster, or the operator has named the wrong
/// node.
#[test]
fn what_is_asked_of_another_cluster_is_refused_and_nothing_is_done() {
    let directory = Directory::new();
    let nodes = cluster_of_three(&directory);
    let other = ClusterId(CLUSTER.0 + 1);
    let refused = AdminResponse::Refused(RefusedReason::OtherCluster);
    for node in &nodes {
        let remove = AdminRequest::Remove { cluster: other, id: id(3), incarnation: None };
        assert_eq!(ask(&node.peer_address, &remove), refused);
        let transfer = AdminRequest::Transfer { cluster: other, to: None };
        assert_eq!(ask(&node.peer_address, &transfer), refused);
    }
    let removal = AdminRequest::Remove { cluster: CLUSTER, id: id(3), incarnation: None };
    let response = ask(&nodes[0].peer_address, &removal);
    assert!(matches!(response, AdminResponse::Removed { .. }), "it was a member still: {response:?}");
}

#[test]
fn a_removed_node_learns_it_and_ends_and_its_former_life_is_refused() {
    let directory = Directory::new();
    let mut nodes = cluster_of_three(&directory);
    let leader = leader_position(&nodes);
    let removed = nodes.remove(if leader == 2 { 1 } else { 2 });
    let request = AdminRequest::Remove { cluster: CLUSTER, id: id(removed.id), incarnation: None };
    let response = ask(&nodes[0].peer_address, &request);
    assert!(matches!(response, AdminResponse::Removed { .. }), "{response:?}");
    let gone = peer(removed.id);
    assert_eq!(removed.exit(), Exit::Removed);

    let again = ask(
        &nodes[0].peer_address,
        &AdminRequest::Remove { cluster: CLUSTER, id: gone.id, incarnation: None },
    );
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
fn a_leader_that_is_removed_goes_and_the_ids_go_on() {
    let directory = Directory::new();
    let mut nodes = cluster_of_three(&directory);
    let leader = nodes.remove(leader_position(&nodes));
    let request = AdminRequest::Remove {
        cluster: CLUSTER,
        id: id(leader.id),
        incarnation: Some(peer(leader.id).incarnation),
    };
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
    // An operator's command gets through, and so does a node that restarts.
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
    // The first bytes of a frame that is never completed.
    silent.write_all(&[0, 0, 0]).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(node.stop(), Exit::Stopped);
}

/// An operator's status request, repeated.
fn status_requests(times: usize) -> Vec<u8> {
    let mut request = Vec::new();
    encode(&Frame::AdminRequest(AdminRequest::Status), &mut request);
    request.repeat(times)
}

#[test]
fn an_operator_that_asks_on_and_does_not_read_is_closed() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    let mut greedy = TcpStream::connect(&node.peer_address).unwrap();
    greedy.set_write_timeout(Some(PATIENCE)).unwrap();
    let requests = status_requests(10_000);
    wait_until("it is closed", || {
        // That a write takes too long would show that nobody closes it.
        let written = greedy.write_all(&requests);
        written.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
    });
    assert!(node.status().contains(r#""id":1"#));
    assert_eq!(node.stop(), Exit::Stopped);
}

#[test]
fn one_that_asks_again_before_it_has_its_answer_gets_that_answer_and_is_closed() {
    let directory = Directory::new();
    let node = Running::start(&directory);
    let mut hasty = TcpStream::connect(&node.peer_address).unwrap();
    hasty.set_read_timeout(Some(PATIENCE)).unwrap();
    // So few bytes arrive together.
    hasty.write_all(&status_requests(3)).unwrap();
    let mut answers = Vec::new();
    hasty.read_to_end(&mut answers).unwrap();
    assert_eq!(String::from_utf8_lossy(&answers).matches("uptime_seconds").count(), 1);
    let page = get(&node.client_address, "/metrics").body;
    assert!(page.contains("\nticketd_operations_total 1\n"), "{page}");
    assert!(page.contains("ticketd_bad_frames_total{kind=\"unexpected\"} 1\n"), "{page}");
    assert!(node.status().contains(r#""id":1"#), "others are served");
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
