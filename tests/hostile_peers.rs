//! Strangers on the port that is meant for the other members: the cluster continues to serve, and its memory
//! does not grow.

mod harness;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::cluster::Cluster;
use harness::load::Load;
use harness::node::Node;
use harness::random::Random;
use harness::wait;
use raft_core::{Incarnation, LogIndex, Message, NodeId, Peer, PreVote, Term};
use socket2::SockRef;
use ticketd::identity::ClusterId;
use ticketd::node::PeerMessage;
use ticketd::peer::{Decoder, Frame, Hello, Welcome, encode};

/// Enough answers to be sure that all clients have found the leader.
const SOME: u64 = 200;

/// The most that a node may grow, whatever strangers do. This is less than it would grow if it kept what they
/// send.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

/// How many lines a node may log about strangers in a test: far fewer than there are strangers.
const LINES_MAX: usize = 60;

/// Meaningless bytes, the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    Random::new(seed).bytes(length)
}

/// A frame with a correct checksum, whatever its content. See docs/ for the format.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&[kind]);
    checksum.update(payload);
    let length = u32::try_from(payload.len()).expect("the tests' frames are short");
    [&length.to_be_bytes()[..], &checksum.finalize().to_be_bytes(), &[kind], payload].concat()
}

/// Sends all bytes, or as many as are accepted.
fn send(address: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the node listens");
    let _ = stream.set_read_timeout(Some(wait::DEADLINE));
    let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
    let _ = stream.write_all(bytes);
    stream
}

/// Waits until the other side has closed the connection.
#[track_caller]
fn assert_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well; a read that times out is not.
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the connection stays open");
    }
}

/// Runs `attack` against the peer ports of a cluster under load, then checks that it did no harm.
fn withstand(attack: impl Fn(&[String])) {
    let mut cluster = Cluster::of(3);
    let load = Load::on(cluster.client_addresses());
    load.await_more(10 * SOME);
    let peers: Vec<String> = cluster.nodes().map(|node| node.peer_address.clone()).collect();
    let before: Vec<_> =
        cluster.nodes().map(|node| (node.resident_bytes(), node.log().lines().count())).collect();
    attack(&peers);
    load.await_more(SOME);
    for (node, (bytes, lines)) in cluster.nodes().zip(before) {
        let (bytes_now, log) = (node.resident_bytes(), node.log());
        assert!(bytes_now < bytes + GROWTH_BYTES_MAX, "node {}: {bytes} bytes, then {bytes_now}", node.id);
        let lines_now = log.lines().count();
        assert!(lines_now < lines + LINES_MAX, "node {}: {lines} lines, then {lines_now}\n{log}", node.id);
        assert!(!log.contains("panicked"), "{log}");
    }
    // The links between the members are still up, or come back.
    let leader = cluster.leader();
    cluster.node(leader).await_status("all links are up", |status| {
        status.members.values().all(|member| member.link != "down")
    });
    load.finish().check();
}

#[test]
fn a_connection_that_is_closed_for_what_it_sent_is_named() {
    let mut cluster = Cluster::of(1);
    let node = cluster.node(1);
    let stranger = send(&node.peer_address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let address = stranger.local_addr().unwrap();
    assert_closed(stranger);
    let said = format!("a connection from {address} on the peer port was closed: an HTTP request");
    wait::until_true("the log names it", || node.log().contains(&said));
}

#[test]
fn garbage_is_dropped() {
    withstand(|peers| {
        for seed in 0..150 {
            let length = [1, 9, 100, 5_000, 300_000][usize::try_from(seed % 5).unwrap()];
            for peer in peers {
                send(peer, &noise(seed, length));
            }
        }
        for peer in peers {
            assert_closed(send(peer, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        }
    });
}

#[test]
fn frames_that_claim_to_be_huge_are_dropped_before_anything_is_kept() {
    withstand(|peers| {
        for length in [u32::MAX, 1 << 31, 1 << 30, 1 << 24, 300_000] {
            for _ in 0..20 {
                for peer in peers {
                    let mut bytes = length.to_be_bytes().to_vec();
                    bytes.extend(noise(u64::from(length), 10_000));
                    send(peer, &bytes);
                }
            }
            assert_closed(send(&peers[0], &length.to_be_bytes()));
        }
    });
}

#[test]
fn frames_that_are_sound_but_say_nothing_are_dropped() {
    withstand(|peers| {
        for kind in 0..=255 {
            let peer = &peers[usize::from(kind) % peers.len()];
            let payload = noise(u64::from(kind), 3 * usize::from(kind));
            let stream = send(peer, &frame(kind, &payload));
            stream.shutdown(Shutdown::Write).unwrap_or_default();
            assert_closed(stream);
        }
    });
}

#[test]
fn endless_streams_of_frames_are_cut_off() {
    withstand(|peers| {
        for kind in 0..12 {
            let flood = frame(kind, &noise(u64::from(kind), 3_000)).repeat(1_000);
            for peer in peers {
                assert_closed(send(peer, &flood));
            }
        }
    });
}

#[test]
fn connections_that_say_nothing_are_closed_and_do_not_keep_members_out() {
    let mut cluster = Cluster::of(3);
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    let leader = cluster.leader();
    let follower = cluster.follower();
    let peers = cluster.node(leader).peer_address.clone();
    // More than a node accepts from peers.
    let silent: Vec<TcpStream> = (0..400).map(|_| send(&peers, b"")).collect();
    let half_closed: Vec<TcpStream> = (0..50).map(|_| send(&peers, &[0, 0])).collect();
    for stream in &half_closed {
        stream.shutdown(Shutdown::Write).unwrap_or_default();
    }
    load.await_more(SOME);
    cluster.node(follower).kill();
    cluster.node(follower).restart();
    cluster.node(follower).await_status("it follows", |status| status.leader.is_some());
    for stream in silent.into_iter().chain(half_closed) {
        assert_closed(stream);
    }
    load.await_more(SOME);
    load.finish().check();
}

#[test]
fn frames_that_trickle_in_byte_by_byte_are_given_up() {
    withstand(|peers| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for (number, peer) in peers.iter().cycle().take(60).enumerate() {
                let done = &done;
                scope.spawn(move || {
                    let mut stream = send(peer, &[]);
                    // A frame of a permitted length that is never completed.
                    let bytes = [&4_000_u32.to_be_bytes()[..], &noise(number as u64, 4_000)].concat();
                    for byte in bytes {
                        if done.load(Ordering::Relaxed) || stream.write_all(&[byte]).is_err() {
                            return true;
                        }
                        thread::sleep(Duration::from_millis(50));
                    }
                    false
                });
            }
            // A connection that is watched: the node closes it long before the frame is complete (200 s).
            let mut stream = send(&peers[0], &4_000_u32.to_be_bytes());
            wait::until_true("the node gives a trickling frame up", || {
                thread::sleep(Duration::from_millis(50));
                stream.write_all(&[7]).is_err()
            });
            done.store(true, Ordering::Relaxed);
        });
    });
}

/// The `Hello` of a member that this node has not heard of yet, and that listens at this address.
fn hello(node: &Node, peer_address: &str) -> Frame {
    let status = node.command(&["status", "--json"]).succeeded();
    let status: serde_json::Value = serde_json::from_str(&status).expect("status is JSON");
    let bits = |name: &str| {
        let text = status[name].as_str().expect("a text");
        u128::from_str_radix(text, 16).expect("hexadecimal digits")
    };
    let peer = |id, incarnation| {
        let id = NodeId::new(id).expect("the ids in these tests are not 0");
        Peer { id, incarnation: Incarnation(incarnation) }
    };
    Frame::Hello(Hello {
        cluster: ClusterId(bits("cluster")),
        from: peer(9, 9),
        to: peer(node.id, bits("incarnation")),
        commit_index: LogIndex(u64::MAX),
        peer_address: peer_address.to_owned(),
        client_address: "127.0.0.1:1".to_owned(),
    })
}

/// The next frame that arrives.
fn receive(stream: &mut TcpStream) -> Frame {
    let mut decoder = Decoder::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the node answers");
        if let Some(frame) = decoder.next_frame(&mut &byte[..]).expect("a node sends sound frames") {
            return frame;
        }
    }
}

/// Connects, and waits to be welcomed.
fn call(node: &Node, peer_address: &str) -> TcpStream {
    let mut bytes = Vec::new();
    encode(&hello(node, peer_address), &mut bytes);
    let mut stream = send(&node.peer_address, &bytes);
    let answer = receive(&mut stream);
    assert!(matches!(answer, Frame::Welcome(_)), "{answer:?}");
    stream
}

/// The node need not reach the member for that: nobody listens at its address.
#[test]
fn a_member_is_answered_on_the_connection_that_it_has_dialled() {
    let mut cluster = Cluster::of(1);
    let node = cluster.node(1);
    let mut stream = call(node, "127.0.0.1:2");
    for term in [7, 8] {
        stream.write_all(&pre_vote(term)).expect("the node reads");
        await_refusal(&mut stream, term);
    }
}

/// A pre-vote, which this node answers because it leads.
fn pre_vote(next_term: u64) -> Vec<u8> {
    let pre_vote = PreVote {
        next_term: Term(next_term),
        last_log_index: LogIndex(1),
        last_log_term: Term(1),
        reason: raft_core::CampaignReason::LeaderLost,
    };
    let mut bytes = Vec::new();
    encode(&Frame::Message(Message::PreVote(pre_vote).into()), &mut bytes);
    bytes
}

/// Waits for the answer to a pre-vote for this term.
fn await_refusal(stream: &mut TcpStream, term: u64) {
    let Frame::Message(PeerMessage::Raft(Message::PreVoteResponse(response))) = receive(stream) else {
        panic!("a pre-vote is answered with something else")
    };
    assert_eq!((response.next_term, response.vote_granted), (Term(term), false), "this node leads");
}

/// What it has dialled may be dead without this node's notice.
#[test]
fn a_member_that_asks_on_the_connection_that_this_node_has_dialled_is_answered_there() {
    let mut cluster = Cluster::of(1);
    let node = cluster.node(1);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let mut dialled = call(node, &listener.local_addr().expect("it is bound").to_string());
    let mut link = wait::accept(&listener);
    assert!(matches!(receive(&mut link), Frame::Hello(_)));
    let mut welcome = Vec::new();
    encode(&Frame::Welcome(Welcome { commit_index: LogIndex(0) }), &mut welcome);
    link.write_all(&welcome).expect("the node reads");
    for (term, asks_on) in [(7, &mut link), (8, &mut dialled)] {
        asks_on.write_all(&pre_vote(term)).expect("the node reads");
        await_refusal(asks_on, term);
    }
}

/// A machine that lost power leaves a connection open, and its node may come back elsewhere.
#[test]
fn a_member_is_taken_for_two_only_where_an_address_that_was_replaced_comes_back() {
    let mut cluster = Cluster::of(1);
    let node = cluster.node(1);
    let is_warned_of = || node.log().contains("IDs may repeat; stop both");
    let _first = call(node, "127.0.0.1:2");
    let moved = call(node, "127.0.0.1:3");
    assert!(!is_warned_of(), "it has moved");
    let _again = call(node, "127.0.0.1:3");
    assert_closed(moved);
    assert!(!is_warned_of(), "it has lost its connection");
    let _back = call(node, "127.0.0.1:2");
    // It has been told to dial again, and has done so.
    wait::until_true("the warning", is_warned_of);
}

/// Nothing else shows that a machine has vanished.
#[test]
fn a_member_that_says_nothing_any_more_is_let_go() {
    let mut cluster = Cluster::of(1);
    let node = cluster.node(1);
    let silent = call(node, "127.0.0.1:2");
    assert_closed(silent);
}

/// The protocol has no urgent data, but any peer can send some: what follows it must be read all the same.
#[test]
fn what_follows_urgent_data_is_read() {
    let mut cluster = Cluster::of(1);
    let node = cluster.node(1);
    let mut bytes = Vec::new();
    encode(&hello(node, "127.0.0.1:2"), &mut bytes);
    let (begin, end) = bytes.split_at(10);
    node.pause();
    let mut stream = send(&node.peer_address, begin);
    SockRef::from(&stream).send_out_of_band(b"!").unwrap();
    stream.write_all(end).unwrap();
    node.resume();
    let answer = receive(&mut stream);
    assert!(matches!(answer, Frame::Welcome(_)), "{answer:?}");
}
