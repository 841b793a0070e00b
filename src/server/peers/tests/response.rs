//! What comes back on a link, and what is sent on one where there is nothing to say.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use raft_core::{AppendEntries, Entry, HeartbeatResponse, LogIndex, Message, Payload, Round, Term};

use crate::codec::STATE_BYTES_MAX;
use crate::node::testing::peer;
use crate::peer::{Frame, Welcome, encode};
use crate::server::limits::{LINK_ANSWER_US_MAX, PING_US, RESPONSE_US_MAX};
use crate::server::peers::channel::Channel;
use crate::server::peers::links::{Link, LinkState};
use crate::server::testing::{Bench, OTHER, Port, is_greeting, receive, send};

fn response(round: u64) -> Frame {
    let response =
        HeartbeatResponse { term: Term(1), round: Round(round), awaits_disk: false, lease_us: None };
    Frame::Message(Message::HeartbeatResponse(response).into())
}

/// A link that is up, and its other end.
fn linked() -> (Bench, TcpStream) {
    let port = Port::open();
    let mut bench = Bench::with_link_to(&port.address().to_string());
    bench.pass(0);
    let other_end = bench.be_welcomed_at(&port);
    (bench, other_end)
}

#[test]
fn responses_are_received_even_those_that_come_with_the_welcome() {
    let port = Port::open();
    let mut bench = Bench::with_link_to(&port.address().to_string());
    bench.pass(0);
    bench.run_until("it says Hello", is_greeting);
    let mut other_end = port.accept();
    assert!(matches!(receive(&mut other_end), Frame::Hello(_)));
    let mut bytes = Vec::new();
    encode(&Frame::Welcome(Welcome { commit_index: LogIndex(1) }), &mut bytes);
    encode(&response(1), &mut bytes);
    encode(&response(2), &mut bytes);
    other_end.write_all(&bytes).unwrap();
    bench.run_until("it is up", Link::is_up);
    assert_eq!(bench.ctx.counters.messages_received, 2);
    assert_eq!(bench.link().last_heard, Some(bench.ctx.now()));

    bench.pass(1_000);
    send(&mut other_end, &response(3));
    while bench.ctx.counters.messages_received < 3 {
        bench.turn();
    }
    assert_eq!(bench.link().last_heard, Some(bench.ctx.now()));
}

/// Where the other side cannot dial, it has no link of its own for what it has to say.
#[test]
fn whatever_the_other_side_has_to_say_is_received_however_long() {
    let (mut bench, mut other_end) = linked();
    let command: Arc<[u8]> = Arc::from([7; STATE_BYTES_MAX]);
    let entry = Entry { index: LogIndex(2), term: Term(9), payload: Payload::Command(command) };
    let append = AppendEntries {
        term: Term(9),
        prev_log_index: LogIndex(1),
        prev_log_term: Term(1),
        entries: vec![entry; 3],
        leader_commit: LogIndex(1),
    };
    send(&mut other_end, &Frame::Message(Message::AppendEntries(append).into()));
    while bench.ctx.counters.messages_received < 1 {
        bench.turn();
    }
    assert!(bench.link().is_up());
}

#[test]
fn a_link_on_which_anything_but_a_message_or_a_ping_comes_back_is_broken() {
    let (mut bench, mut other_end) = linked();
    send(&mut other_end, &Frame::Ping);
    send(&mut other_end, &Frame::Welcome(Welcome { commit_index: LogIndex(1) }));
    bench.run_until("it breaks", |link| !link.is_up());
    assert_eq!(bench.ctx.counters.messages_received, 0);
    assert_eq!(bench.ctx.counters.bad_frames.get("unexpected"), Some(&1));
}

#[test]
fn a_link_is_pinged_from_time_to_time_whatever_else_is_said() {
    let (mut bench, mut other_end) = linked();
    for round in 0..3 {
        bench.pass(PING_US - 1);
        bench.links.ping(bench.ctx.now());
        assert!(bench.link().channel().is_some_and(Channel::is_flushed), "it was pinged just before");
        let heartbeat_response = response(round);
        bench.links.send(&mut bench.ctx, peer(OTHER), &heartbeat_response);
        bench.links.flush(&mut bench.ctx);
        assert_eq!(receive(&mut other_end), heartbeat_response);
        bench.pass(1);
        bench.links.ping(bench.ctx.now());
        bench.links.flush(&mut bench.ctx);
        assert_eq!(receive(&mut other_end), Frame::Ping);
        send(&mut other_end, &Frame::Ping);
        bench.turn();
    }
}

/// Something between the two may acknowledge what it does not deliver.
#[test]
fn a_link_on_which_nothing_comes_back_is_broken_and_dialled_again() {
    for words in [response(1), Frame::Ping] {
        let (mut bench, mut other_end) = linked();
        bench.pass(LINK_ANSWER_US_MAX - 1);
        assert!(bench.link().is_up());
        send(&mut other_end, &words);
        let now = bench.ctx.now();
        bench.run_until(
            "it is read",
            |link| matches!(link.state, LinkState::Up { answered_at, .. } if answered_at == now),
        );
        let deadline = bench.links.deadline(bench.ctx.silence_from).unwrap();
        assert_eq!(deadline.since(bench.ctx.now()), LINK_ANSWER_US_MAX, "{words:?}");
        bench.pass(LINK_ANSWER_US_MAX - 1);
        assert!(bench.link().is_up(), "{words:?}");
        bench.pass(1);
        assert!(!bench.link().is_up(), "{words:?}");
        bench.pass(0);
        assert!(bench.connects_to().is_some(), "{words:?}");
    }
}

#[test]
fn a_link_is_not_dead_while_this_process_does_not_run() {
    let (mut bench, _other_end) = linked();
    bench.ctx.silence_from = bench.ctx.now().plus(10 * LINK_ANSWER_US_MAX);
    bench.pass(10 * LINK_ANSWER_US_MAX);
    assert!(bench.link().is_up());
    let deadline = bench.links.deadline(bench.ctx.silence_from).unwrap();
    assert_eq!(deadline.since(bench.ctx.now()), LINK_ANSWER_US_MAX);
}

/// Part of a response has come.
fn told_in_part() -> (Bench, TcpStream, Vec<u8>) {
    let (mut bench, mut other_end) = linked();
    let mut bytes = Vec::new();
    encode(&response(1), &mut bytes);
    let rest = bytes.split_off(7);
    other_end.write_all(&bytes).unwrap();
    bench.run_until("some of it is there", |link| link.channel().unwrap().is_amid_frame());
    (bench, other_end, rest)
}

/// The rest has not been read.
#[test]
fn a_response_is_not_late_while_this_process_does_not_run() {
    let (mut bench, mut other_end, rest) = told_in_part();
    bench.ctx.silence_from = bench.ctx.now().plus(10 * RESPONSE_US_MAX);
    let deadline = bench.links.deadline(bench.ctx.silence_from).unwrap();
    assert_eq!(deadline.since(bench.ctx.silence_from), RESPONSE_US_MAX);
    bench.pass(10 * RESPONSE_US_MAX);
    assert!(bench.link().is_up());
    other_end.write_all(&rest).unwrap();
    while bench.ctx.counters.messages_received < 1 {
        bench.turn();
    }
    assert!(bench.ctx.counters.bad_frames.is_empty());
}

#[test]
fn a_response_that_grew_in_transit_does_not_swallow_what_follows_for_ever() {
    let (mut bench, mut other_end) = linked();
    let mut grown = Vec::new();
    encode(&response(1), &mut grown);
    grown[2] ^= 1;
    other_end.write_all(&grown).unwrap();
    bench.run_until("some of it is there", |link| link.channel().unwrap().is_amid_frame());
    let deadline = bench.links.deadline(bench.ctx.silence_from).unwrap();
    assert_eq!(deadline.since(bench.ctx.now()), RESPONSE_US_MAX);
    bench.pass(RESPONSE_US_MAX - 1);
    assert!(bench.link().is_up());
    bench.pass(1);
    assert!(!bench.link().is_up());
    assert_eq!(bench.ctx.counters.bad_frames.get("incomplete"), Some(&1));
}
