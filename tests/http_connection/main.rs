//! A connection over time: bounds, deadlines, and its end.

use std::num::NonZeroU64;

use raft_core::Micros;
use ticketd::http::{Config, Connection, Handler, HttpDate, Page, Reply, Request, Tally, Turn};

mod bounds;
mod deadlines;
mod ending;

const PLAIN: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";
const NOWHERE: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
const ONE: Request = Request::TakeIds { count: NonZeroU64::MIN };
const ID: Reply<'_> = Reply::Ids { first: 7, count: NonZeroU64::MIN };
const PAGE: Reply<'_> = Reply::Page { ok: true, content_type: "text/plain", body: b"ok" };

const IDLE_US: u64 = 75_000_000;
const HEAD_US: u64 = 10_000_000;
const BODY_US: u64 = 20_000_000;
const SEND_US: u64 = 20_000_000;
const DRAIN_US: u64 = 2_000_000;
const BUFFERS_IDLE_US: u64 = 1_000_000;

/// A connection, a clock and a client.
struct Client {
    config: Config,
    tally: Tally,
    now: u64,
    connection: Connection,
}

impl Client {
    fn new(config: Config) -> Client {
        Client { config, tally: Tally::default(), now: 0, connection: Connection::new(Micros(0)) }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Connection, Turn<'_>) -> T) -> T {
        let date = HttpDate::from_unix(0);
        act(
            &mut self.connection,
            Turn { config: &self.config, now: Micros(self.now), date: &date, tally: &self.tally },
        )
    }

    fn send(&mut self, bytes: &[u8]) {
        self.with(|connection, turn| connection.receive(turn, bytes));
    }

    fn answer(&mut self, reply: Reply<'_>) {
        self.with(|connection, turn| {
            connection.answer(turn, reply);
            connection.resume(turn);
        });
    }

    fn poll(&mut self) -> Option<Request> {
        self.connection.poll_request(&self.config)
    }

    fn wants_input(&self) -> bool {
        self.connection.wants_input(&self.config)
    }

    fn deadline(&self) -> Option<u64> {
        self.connection.deadline(&self.config).map(|moment| moment.0)
    }

    /// Advances the clock to the deadline and lets the connection act on it.
    fn expire(&mut self) {
        self.now = self.deadline().expect("a deadline");
        self.with(Connection::on_deadline);
    }

    fn read(&mut self, bytes: usize) -> String {
        let read =
            String::from_utf8(self.connection.output()[..bytes].to_vec()).expect("all that we send is text");
        self.with(|connection, turn| {
            connection.sent(turn, bytes);
            connection.resume(turn);
        });
        read
    }

    fn read_all(&mut self) -> String {
        self.read(self.connection.output().len())
    }

    fn shuts_down(&mut self) -> bool {
        self.connection.poll_shutdown_write(Micros(self.now))
    }

    fn is_finished(&self) -> bool {
        self.connection.is_finished()
    }
}

fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").map_or("", |rest| &rest[..3])
}

#[test]
#[should_panic(expected = "wants none")]
fn reading_for_a_connection_that_wants_no_input_is_a_fault_of_the_driver() {
    let mut client = Client::new(Config { pipeline_max: 1, ..Config::default() });
    client.send(PLAIN);
    client.send(PLAIN);
}

#[test]
#[should_panic(expected = "answers no request")]
fn answering_what_was_not_asked_is_a_fault_of_the_driver() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    client.answer(ID);
}

#[test]
#[should_panic(expected = "is no answer to")]
fn answering_a_page_with_ids_is_a_fault_of_the_driver() {
    let mut client = Client::new(Config::default());
    client.send(HEALTH);
    client.poll();
    client.answer(ID);
}

#[test]
fn each_answer_is_counted_once_by_its_status_whoever_gives_it() {
    let mut client = Client::new(Config::default());
    let refused = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(&[PLAIN, HEALTH, refused, PLAIN, b"nonsense\r\n"].concat());
    assert_eq!(client.poll(), Some(ONE));
    client.answer(ID);
    while client.poll().is_some_and(|request| request != ONE) {
        client.answer(PAGE);
    }
    client.answer(Reply::LeaderUnavailable);
    let counts = [Handler::Ids, Handler::Pages, Handler::Protocol].map(|handler| {
        let by_code = client.tally.by_code(handler);
        by_code.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    });
    assert_eq!(counts, [vec![("200", 1), ("503", 1)], vec![("200", 1)], vec![("400", 1), ("404", 1)]]);
}
