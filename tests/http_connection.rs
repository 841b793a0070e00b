//! A connection over time: bounds, deadlines, and its end.

use std::num::NonZeroU64;

use raft_core::Micros;
use ticketd::http::{Config, Connection, Handler, HttpDate, Page, Reply, Request, Tally, Turn};

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
const REST_US: u64 = 1_000_000;

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
fn a_quiet_connection_gives_its_memory_back_and_later_closes_without_a_word() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    assert_eq!(client.poll(), Some(ONE));
    client.answer(ID);
    client.now = 5;
    client.read_all();
    assert_eq!(client.deadline(), Some(5 + REST_US));
    client.expire();
    assert_eq!(client.deadline(), Some(5 + IDLE_US));
    client.expire();
    assert_eq!(client.read_all(), "");
    assert!(client.shuts_down());
    assert_eq!(client.deadline(), Some(5 + IDLE_US + DRAIN_US));
    client.expire();
    assert!(client.is_finished());
    assert_eq!(client.deadline(), None);
}

#[test]
fn giving_memory_back_ends_no_connection_even_if_it_is_overdue() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    client.poll();
    client.answer(ID);
    client.read_all();
    client.now = 2 * IDLE_US;
    client.with(|connection, turn| connection.rest(turn.now));
    assert_eq!(client.deadline(), Some(IDLE_US), "there is nothing left to be given back");
    client.send(PLAIN);
    assert_eq!(client.poll(), Some(ONE));
    client.answer(ID);
    assert_eq!(status(&client.read_all()), "200");
}

#[test]
fn a_connection_that_never_says_anything_is_closed() {
    let mut client = Client::new(Config::default());
    assert_eq!(client.deadline(), Some(IDLE_US));
    client.expire();
    assert!(client.shuts_down());
}

#[test]
fn a_deadline_that_has_not_come_changes_nothing() {
    let mut client = Client::new(Config::default());
    client.now = IDLE_US - 1;
    client.with(Connection::on_deadline);
    assert!(client.wants_input() && !client.shuts_down() && !client.is_finished());
}

#[test]
fn a_head_that_trickles_in_is_given_up_at_a_moment_that_trickling_does_not_move() {
    let mut client = Client::new(Config::default());
    client.now = 1000;
    client.send(b"P");
    for byte in b"OST / HTTP/1.1" {
        client.now += 1;
        client.send(&[*byte]);
        assert_eq!(client.deadline(), Some(1000 + HEAD_US));
    }
    client.expire();
    let answer = client.read_all();
    assert_eq!(status(&answer), "408");
    assert!(answer.contains("Connection: close\r\n"));
    assert!(client.shuts_down());
}

#[test]
fn a_body_that_trickles_in_is_given_up_at_a_moment_that_trickling_does_not_move() {
    let mut client = Client::new(Config::default());
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..100 {
        client.now += 1000;
        client.send(b"1\r\nx\r\n");
        assert_eq!(client.deadline(), Some(BODY_US));
    }
    client.expire();
    assert_eq!(client.poll(), None);
    assert_eq!(status(&client.read_all()), "408");
}

#[test]
fn the_time_for_a_body_begins_with_the_end_of_the_head() {
    let mut client = Client::new(Config::default());
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\n");
    client.now = 5000;
    client.send(b"Content-Length: 5\r\n\r\n");
    assert_eq!(client.deadline(), Some(5000 + BODY_US));
}

#[test]
fn the_error_about_a_head_request_that_came_too_slowly_has_no_content() {
    let mut client = Client::new(Config::default());
    client.send(b"HEAD / HTTP/1.1\r\n");
    client.expire();
    let answer = client.read_all();
    assert_eq!(status(&answer), "408");
    assert!(answer.ends_with("\r\n\r\n"));
}

#[test]
fn empty_lines_do_not_keep_a_connection_open() {
    let mut client = Client::new(Config::default());
    for _ in 0..4 {
        client.now += 1;
        client.send(b"\r\n");
    }
    assert_eq!(client.deadline(), Some(4 + IDLE_US));
    client.expire();
    assert!(client.shuts_down());
    let mut client = Client::new(Config::default());
    client.send(b"\r\n\r\n\r\n\r\n");
    client.send(b"\r\n");
    assert_eq!(status(&client.read_all()), "400");
}

#[test]
fn while_the_server_is_asked_no_deadline_runs_against_the_client() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    assert_eq!(client.poll(), Some(ONE));
    assert_eq!(client.deadline(), None);
    client.now = 10 * IDLE_US;
    client.with(Connection::on_deadline);
    client.answer(ID);
    assert_eq!(status(&client.read_all()), "200");
    assert!(client.wants_input());
}

#[test]
fn a_client_that_waits_for_100_is_not_hurried_before_it_is_sent() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    assert_eq!((client.poll(), client.poll()), (Some(ONE), None));
    assert_eq!(client.deadline(), None);
    client.now = 2 * BODY_US;
    client.answer(ID);
    assert!(client.read_all().ends_with("7HTTP/1.1 100 Continue\r\n\r\n"));
    assert_eq!(client.deadline(), Some(3 * BODY_US));
    client.send(b"x");
    assert_eq!(client.poll(), Some(ONE));
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let mut client = Client::new(Config::default());
    client.send(HEALTH);
    assert_eq!(client.poll(), Some(Request::Page(Page::Health)));
    client.now = 100;
    client.answer(PAGE);
    assert_eq!(client.deadline(), Some(100 + SEND_US));
    client.expire();
    assert!(client.is_finished());
}

#[test]
fn a_client_that_reads_a_byte_now_and_then_is_cut_off() {
    let mut client = Client::new(Config::default());
    client.send(HEALTH);
    client.poll();
    client.answer(PAGE);
    for _ in 0..10 {
        client.now += SEND_US / 20;
        client.read(1);
        assert_eq!(client.deadline(), Some(SEND_US));
    }
    client.expire();
    assert!(client.is_finished());
}

#[test]
fn a_client_that_reads_what_is_due_is_given_time_for_the_rest() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    client.send(PLAIN);
    client.poll();
    client.poll();
    client.answer(ID);
    let first = client.connection.output().len();
    client.now = 50;
    client.answer(ID);
    assert_eq!(client.deadline(), Some(SEND_US));
    client.now = 100;
    client.read(first);
    assert_eq!(client.deadline(), Some(100 + SEND_US));
    client.read_all();
    assert_eq!(client.deadline(), Some(100 + REST_US));
}

#[test]
fn a_client_that_read_everything_is_given_time_for_the_next_answer() {
    let mut client = Client::new(Config::default());
    for round in [0, 100] {
        client.now = round;
        client.send(HEALTH);
        client.poll();
        client.answer(PAGE);
        assert_eq!(client.deadline(), Some(round + SEND_US));
        client.now += 10;
        client.read_all();
    }
}

#[test]
fn beyond_the_pipeline_bound_nothing_is_read_until_answers_leave() {
    let mut client = Client::new(Config { pipeline_max: 4, ..Config::default() });
    client.send(&PLAIN.repeat(9));
    let mut asked = 0;
    while client.poll().is_some() {
        asked += 1;
    }
    assert_eq!((asked, client.connection.unanswered()), (4, 4));
    assert!(!client.wants_input());
    client.answer(ID);
    assert!(!client.wants_input(), "what is held back comes first");
    let mut answered = 1;
    while client.connection.unanswered() > 0 {
        client.answer(ID);
        answered += 1;
        while client.poll().is_some() {
            asked += 1;
        }
        assert!(client.connection.unanswered() <= 4);
    }
    assert_eq!((asked, answered), (9, 9));
    assert!(client.wants_input());
    assert_eq!(client.read_all().matches("HTTP/1.1 200 OK").count(), 9);
}

#[test]
fn while_much_waits_to_be_sent_nothing_is_read_and_no_page_is_asked_for() {
    let mut client = Client::new(Config { output_bytes_max: 500, ..Config::default() });
    client.send(&HEALTH.repeat(20));
    let mut shown = 0;
    while client.poll().is_some() {
        client.answer(PAGE);
        shown += 1;
    }
    assert!(shown < 5, "{shown}");
    assert!(client.connection.output().len() < 1000 && !client.wants_input());
    while !client.connection.output().is_empty() {
        client.read_all();
        while client.poll().is_some() {
            client.answer(PAGE);
            shown += 1;
        }
    }
    assert_eq!(shown, 20);
    assert!(client.wants_input());
}

#[test]
fn requests_that_need_no_server_are_answered_a_bounded_number_at_a_time_and_each_once() {
    let config = Config::default();
    let (most, bytes_max) = (config.pipeline_max, config.output_bytes_max);
    let mut client = Client::new(config);
    let mut expected = 2_000;
    client.send(&NOWHERE.repeat(expected));
    while expected > 0 {
        let answers = client.connection.output().to_vec();
        let count = String::from_utf8(answers).expect("text").matches("HTTP/1.1 404").count();
        assert!(count > 0, "{expected} requests are held back, and nothing says that there is work");
        assert!(count <= most && client.connection.output().len() < bytes_max, "{count} answers in one call");
        expected -= count;
        // Everything sent in one turn, in any number of pieces, counts as progress once.
        for bytes in [1, client.connection.output().len() - 1] {
            client.with(|connection, turn| connection.sent(turn, bytes));
        }
        assert_eq!(client.connection.output(), b"");
        client.with(Connection::resume);
    }
    assert!(client.wants_input() && client.connection.output().is_empty());
}

#[test]
fn answers_that_need_no_server_stand_between_those_that_come_all_at_once() {
    let mut client = Client::new(Config::default());
    let waits = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    client.send(&[PLAIN, NOWHERE, PLAIN, waits].concat());
    while client.poll().is_some() {}
    for _ in 0..3 {
        client.with(|connection, turn| connection.answer(turn, ID));
    }
    let said = client.read_all();
    let statuses: Vec<_> = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200", "100", "200"]);
}

#[test]
fn long_queries_kept_for_redirects_are_bounded() {
    let mut client = Client::new(Config::default());
    let long = format!("POST /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(7000));
    client.send(long.repeat(5).as_bytes());
    let mut asked = 0;
    while client.poll().is_some() {
        asked += 1;
    }
    assert_eq!(asked, 2);
    assert!(!client.wants_input());
    for _ in 0..5 {
        client.answer(Reply::Redirect { authority: "b" });
        while client.poll().is_some() {
            asked += 1;
        }
    }
    assert_eq!(asked, 5);
}

#[test]
fn a_page_is_asked_for_when_all_before_it_is_answered_and_nothing_after_it() {
    let mut client = Client::new(Config::default());
    client.send(&[PLAIN, HEALTH, PLAIN, PLAIN].concat());
    assert_eq!((client.poll(), client.poll()), (Some(ONE), None));
    client.answer(ID);
    assert_eq!((client.poll(), client.poll()), (Some(Request::Page(Page::Health)), None));
    client.answer(PAGE);
    assert_eq!((client.poll(), client.poll(), client.poll()), (Some(ONE), Some(ONE), None));
    assert_eq!(client.connection.unanswered(), 2);
}

#[test]
fn an_error_is_read_by_the_client_before_the_connection_closes() {
    let mut client = Client::new(Config { drain_bytes_max: 1000, ..Config::default() });
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nbody");
    assert!(!client.wants_input(), "not before the answer has left");
    assert!(!client.shuts_down());
    let answer = client.read_all();
    assert_eq!(status(&answer), "413");
    assert!(client.shuts_down() && !client.shuts_down(), "once");
    assert!(client.wants_input() && !client.is_finished());
    client.send(&[b'x'; 900]);
    assert!(client.wants_input());
    client.send(&[b'x'; 101]);
    assert!(client.is_finished() && !client.wants_input());
}

#[test]
fn a_client_that_closes_after_an_error_ends_the_wait() {
    let mut client = Client::new(Config::default());
    client.send(b"\0");
    client.read_all();
    assert!(client.shuts_down() && !client.is_finished());
    client.with(Connection::end_of_input);
    assert!(client.is_finished());
}

#[test]
fn a_client_that_only_shuts_its_side_is_answered() {
    let mut client = Client::new(Config::default());
    client.send(&PLAIN.repeat(2));
    client.with(Connection::end_of_input);
    assert_eq!((client.poll(), client.poll()), (Some(ONE), Some(ONE)));
    assert!(!client.wants_input() && !client.is_finished());
    client.answer(ID);
    client.answer(ID);
    let answers = client.read_all();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
    assert_eq!(answers.matches("Connection: close").count(), 1, "only the last says so");
    assert!(client.is_finished() && !client.shuts_down());
}

#[test]
fn requests_held_back_when_the_client_shuts_its_side_are_answered() {
    let mut client = Client::new(Config { pipeline_max: 2, ..Config::default() });
    client.send(&PLAIN.repeat(6));
    client.with(Connection::end_of_input);
    let mut answered = 0;
    loop {
        while client.poll().is_some() {}
        if client.connection.unanswered() == 0 {
            break;
        }
        client.answer(ID);
        answered += 1;
    }
    assert_eq!(answered, 6);
    client.read_all();
    assert!(client.is_finished());
}

#[test]
fn a_client_that_shuts_its_side_between_requests_ends_the_connection() {
    let mut client = Client::new(Config::default());
    client.with(Connection::end_of_input);
    assert!(client.is_finished());
}

#[test]
fn a_client_that_shuts_its_side_within_a_request_is_told() {
    for part in
        [&b"POST / HTTP/1.1\r\nHo"[..], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell", b"\r"]
    {
        let mut client = Client::new(Config::default());
        client.send(part);
        client.with(Connection::end_of_input);
        assert_eq!(client.poll(), None);
        assert_eq!(status(&client.read_all()), "400");
        assert!(client.is_finished());
    }
}

/// A connection that is one too many.
fn refused() -> Client {
    let mut client = Client::new(Config::default());
    client.connection = Connection::refused(Micros(0));
    client
}

#[test]
fn one_connection_too_many_is_told_when_it_has_asked_and_is_closed() {
    let mut client = refused();
    for part in [&b"\r\n"[..], &PLAIN[..20]] {
        client.send(part);
        assert!(client.wants_input() && client.connection.output().is_empty(), "that is no request yet");
    }
    client.send(&[&PLAIN[20..], PLAIN].concat());
    assert_eq!(client.poll(), None);
    assert!(!client.wants_input());
    let answer = client.read_all();
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), ("503", 1));
    assert!(answer.contains("Connection: close\r\n") && answer.contains("Retry-After: 1\r\n"));
    assert!(answer.ends_with("Too many connections are open already; try again\n"), "{answer}");
    assert!(client.shuts_down());
}

#[test]
fn one_connection_too_many_is_told_in_the_form_that_its_request_calls_for() {
    let told = |request: &str| {
        let mut client = refused();
        client.send(request.as_bytes());
        client.read_all()
    };
    let head = told("HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("\r\n\r\n"), "content for HEAD: {head}");
    let json = told("POST / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
    assert!(json.contains("Content-Type: application/problem+json\r\n"), "{json}");
    // Its body need not come, and 100 is not sent for it.
    let body = told("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    assert!(body.starts_with("HTTP/1.1 503 "), "{body}");
    assert_eq!(status(&told("POST / HTTP/1.1\r\n\r\n")), "400");
}

#[test]
fn one_connection_too_many_that_asks_for_nothing_is_soon_closed() {
    let mut silent = refused();
    silent.expire();
    assert_eq!((silent.now, silent.connection.output()), (DRAIN_US, &b""[..]));
    assert!(silent.shuts_down());
    let mut slow = refused();
    slow.send(&PLAIN[..20]);
    slow.expire();
    assert_eq!((slow.now, status(&slow.read_all())), (DRAIN_US, "408"));
    assert!(slow.shuts_down());
}

#[test]
fn one_connection_too_many_that_cannot_be_kept_is_told_at_once() {
    for begun in [&b""[..], &PLAIN[..20]] {
        let mut client = refused();
        if !begun.is_empty() {
            client.send(begun);
        }
        client.with(Connection::refuse_at_once);
        assert_eq!(status(&client.read_all()), "503");
        assert!(client.shuts_down());
    }
}

#[test]
fn winding_down_answers_what_was_read_and_then_closes() {
    let mut client = Client::new(Config::default());
    client.send(&PLAIN.repeat(2));
    client.poll();
    client.with(Connection::wind_down);
    assert!(!client.wants_input() && !client.shuts_down());
    client.answer(ID);
    assert_eq!(client.poll(), Some(ONE));
    client.answer(ID);
    let answers = client.read_all();
    assert_eq!(answers.matches("Connection: close").count(), 1);
    assert!(answers.ends_with('7'));
    assert!(client.shuts_down());
}

#[test]
fn winding_down_closes_a_connection_at_rest_and_refuses_half_a_request() {
    let mut client = Client::new(Config::default());
    client.with(Connection::wind_down);
    assert!(client.connection.output().is_empty() && client.shuts_down());
    let mut client = Client::new(Config::default());
    client.send(b"POST / HT");
    client.with(Connection::wind_down);
    assert_eq!(status(&client.read_all()), "503");
    assert!(client.shuts_down());
}

#[test]
fn winding_down_loses_no_request_that_was_read() {
    let mut client = Client::new(Config { pipeline_max: 2, ..Config::default() });
    client.send(&[&PLAIN.repeat(7), &b"POST / HT"[..]].concat());
    client.with(Connection::wind_down);
    let mut answered = 0;
    while client.poll().is_some() {
        client.answer(ID);
        answered += 1;
    }
    assert_eq!(answered, 7);
    assert!(!client.wants_input());
    let said = client.read_all();
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 7);
    let last = said.rfind("HTTP/1.1 ").expect("an answer");
    assert_eq!(status(&said[last..]), "503", "of the eighth, only a part was read");
    assert_eq!((said.find("Connection: close") > Some(last), client.shuts_down()), (true, true));
}

/// A connection that is to close once its client has been answered.
fn closing() -> Client {
    let mut client = Client::new(Config { pipeline_max: 2, ..Config::default() });
    client.connection.close_when_answered();
    client
}

/// Answers everything that the server is asked for, reads all output, and returns the number of answers. The
/// last answer must say that the connection closes, and none before it may.
#[track_caller]
fn farewell(client: &mut Client) -> usize {
    let mut said = String::new();
    loop {
        while client.poll().is_some() {
            client.answer(ID);
        }
        if client.connection.output().is_empty() {
            break;
        }
        said.push_str(&client.read_all());
    }
    let last = said.rfind("HTTP/1.1 ").expect("an answer");
    assert_eq!(said.matches("Connection: close").count(), 1, "{said}");
    assert!(said[last..].contains("Connection: close"), "{said}");
    assert!(client.shuts_down());
    said.matches("HTTP/1.1 ").count()
}

#[test]
fn the_last_answer_of_a_connection_that_is_to_close_says_so_whoever_gives_it() {
    for (requests, count) in [
        (vec![PLAIN], 1),
        (vec![NOWHERE], 1),
        (vec![b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"], 1),
        (vec![NOWHERE, NOWHERE, PLAIN], 3),
        (vec![PLAIN, NOWHERE], 2),
        (vec![NOWHERE, b"\r\n"], 1),
        // More requests than may wait at once.
        (vec![PLAIN; 7], 7),
        (vec![NOWHERE; 7], 7),
        (vec![NOWHERE, PLAIN, NOWHERE, NOWHERE, PLAIN, PLAIN, NOWHERE], 7),
    ] {
        let mut client = closing();
        client.send(&requests.concat());
        assert_eq!(farewell(&mut client), count, "{requests:?}");
    }
}

#[test]
fn a_connection_that_is_to_close_waits_for_a_request_and_for_the_end_of_one_that_has_begun() {
    let mut client = closing();
    assert!(client.wants_input() && !client.shuts_down());
    client.send(&[NOWHERE, b"POST / HT"].concat());
    assert!(!client.read_all().contains("Connection: close"), "another request has begun");
    assert!(client.wants_input() && !client.shuts_down());
    client.send(b"TP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(farewell(&mut client), 1);
}

#[test]
fn a_client_that_waits_for_100_on_a_connection_that_is_to_close_is_answered() {
    let mut client = closing();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(client.read_all(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(client.wants_input() && !client.shuts_down());
    client.send(b"x");
    assert_eq!(farewell(&mut client), 1);
}

#[test]
fn a_request_that_waits_when_its_connection_is_to_close_is_the_last() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    assert_eq!(client.poll(), Some(ONE));
    client.connection.close_when_answered();
    client.answer(ID);
    assert_eq!(farewell(&mut client), 1);
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

#[test]
fn a_request_that_the_server_has_no_room_for_is_refused_in_its_turn() {
    let mut client = Client::new(Config::default());
    client.send(b"POST /?n=1&a HTTP/1.1\r\nHost: a\r\n\r\nPOST /?n=1&b HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(b"POST /?n=1&c HTTP/1.1\r\nHost: a\r\n\r\nPOST /?n=1&d HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.poll(), Some(ONE));
    for _ in 0..2 {
        assert_eq!(client.poll(), Some(ONE));
        client.with(Connection::shed);
    }
    assert_eq!(client.poll(), Some(ONE));
    assert_eq!(client.connection.unanswered(), 2, "the first and the last");
    assert_eq!(client.connection.output(), b"", "the first one's answer comes first");
    client.answer(Reply::Redirect { authority: "b:1" });
    client.answer(Reply::Redirect { authority: "b:1" });
    let said = client.read_all();
    let words = |line: &str| line.split(' ').nth(1).map(str::to_owned);
    let lines = said.lines().filter(|line| line.starts_with("HTTP/1.1 ") || line.starts_with("Location"));
    let told: Vec<_> = lines.filter_map(words).collect();
    assert_eq!(told, ["301", "http://b:1/?n=1&a", "503", "503", "301", "http://b:1/?n=1&d"], "{said}");
}
