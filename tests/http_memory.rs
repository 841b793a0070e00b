//! What a connection costs: no allocation for an ordinary request, little memory at rest, a bound under
//! attack.
//!
//! The test is alone in its process, because it counts what the whole process allocates.
#![allow(unsafe_code)]

mod counting;

use std::num::NonZeroU64;

use counting::{allocations, bytes};
use raft_core::Micros;
use ticketd::http::{Config, Connection, HttpDate, Reply, Tally, Turn};

struct Exchange<'a> {
    connection: Connection,
    turn: Turn<'a>,
}

impl Exchange<'_> {
    /// One request in, its answer out.
    fn request(&mut self, input: &[u8]) {
        self.connection.receive(self.turn, input);
        while self.connection.poll_request(self.turn.config).is_some() {}
        while self.connection.unanswered() > 0 {
            let reply = if input.starts_with(b"GET") {
                Reply::Page { ok: true, content_type: "text/plain", body: b"ok" }
            } else if input.starts_with(b"POST /?n=5") {
                Reply::Ids { first: 5, count: NonZeroU64::new(5).expect("5 is not 0") }
            } else {
                Reply::Ids { first: 1_000_000, count: NonZeroU64::MIN }
            };
            self.connection.answer(self.turn, reply);
            self.connection.resume(self.turn);
        }
        let sent = self.connection.output().len();
        self.connection.sent(self.turn, sent);
        self.connection.resume(self.turn);
    }
}

#[test]
fn requests_allocate_nothing_rest_costs_little_and_attacks_cost_no_more_than_the_bounds() {
    let config = Config::default();
    let date = HttpDate::from_unix(0);
    let tally = Tally::default();
    let turn = Turn { config: &config, now: Micros(1), date: &date, tally: &tally };
    let mut exchange = Exchange { connection: Connection::new(Micros(0)), turn };
    let before = bytes();
    let requests: [&[u8]; 6] = [
        b"POST / HTTP/1.1\r\nHost: localhost:8001\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost:8001\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost:8001\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: localhost:8001\r\nTransfer-Encoding: chunked\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
        b"POST /?n=5 HTTP/1.1\r\nHost: localhost:8001\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost:8001\r\n\r\n",
    ];
    for request in requests {
        exchange.request(request);
    }
    let used = bytes() - before + size_of::<Connection>();
    assert!(used < 1500, "a connection in use holds {used} bytes");
    let warm = allocations();
    for _ in 0..100 {
        for request in requests {
            exchange.request(request);
        }
    }
    assert_eq!(allocations(), warm, "an ordinary request allocates");

    exchange.turn.now = Micros(2_000_000);
    exchange.connection.on_deadline(exchange.turn);
    assert_eq!(bytes(), before, "a connection at rest holds memory");
    assert!(size_of::<Connection>() <= 512, "{}", size_of::<Connection>());

    // As much of everything at once as the bounds allow: half a head that nearly fills its bound, and
    // requests with long queries that wait for answers.
    let mut hostile = format!("POST /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(7900)).repeat(2);
    hostile.push_str(&"POST / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3000));
    let before = bytes();
    let mut connection = Connection::new(Micros(0));
    let mut most = 0;
    for piece in hostile.as_bytes().chunks(16 * 1024).cycle().take(100) {
        if connection.wants_input(&config) {
            connection.receive(turn, piece);
        }
        while connection.poll_request(&config).is_some() {}
        if connection.unanswered() > 0 {
            connection.answer(turn, Reply::LeaderUnavailable);
            connection.resume(turn);
        }
        let held = bytes() - before;
        let unsaid = held - connection.memory_bytes();
        assert!(unsaid <= 512, "{unsaid} bytes of {held} are more than what it remembers");
        most = most.max(held);
    }
    // Output, two of the longest queries, a head, one read, and the doubling of growing buffers.
    assert!(most < 2 * (64 + 16 + 24 + 16) * 1024, "{most} bytes");
}
