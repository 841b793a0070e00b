//! Runs bytes through a connection, cut in every way that matters, and summarises the output.

use std::fmt::Write as _;
use std::num::NonZeroU64;

use raft_core::Micros;
use ticketd::http::{Config, Connection, HttpDate, Page, Reply, Request, Tally, Turn};

/// What answers behind the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Server {
    Leads,
    Follows,
    KnowsNoLeader,
    TimesOut,
    IsOverloaded,
    IsExhausted,
}

/// When the server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answers {
    AtOnce,
    /// When there is no more input, or the connection takes no more.
    Late,
}

/// Everything that a connection did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Transcript {
    pub(crate) output: Vec<u8>,
    pub(crate) requests: Vec<Request>,
    pub(crate) closed: bool,
}

/// Feeds `pieces` to a connection whose client reads everything at once.
pub(crate) fn run(config: &Config, server: Server, answers: Answers, pieces: &[&[u8]]) -> Transcript {
    let date = HttpDate::from_unix(784_111_777);
    let tally = Tally::default();
    let turn = Turn { config, now: Micros(1), date: &date, tally: &tally };
    let mut connection = Connection::new(Micros(0));
    let mut run = Run {
        turn,
        server,
        next_id: 1,
        transcript: Transcript { output: Vec::new(), requests: Vec::new(), closed: false },
    };
    let mut waiting = Vec::new();
    for piece in pieces {
        while !run.transcript.closed && !connection.wants_input(config) {
            let before = waiting.len();
            run.collect(&mut connection, &mut waiting);
            let stuck = before == 0 && waiting.is_empty() && connection.output().is_empty();
            run.answer(&mut connection, &mut waiting);
            run.flush(&mut connection);
            assert!(!stuck || run.transcript.closed, "a connection wants no input and gives nothing to do");
        }
        if run.transcript.closed {
            break;
        }
        connection.receive(turn, piece);
        run.collect(&mut connection, &mut waiting);
        if answers == Answers::AtOnce {
            run.answer(&mut connection, &mut waiting);
        }
        run.flush(&mut connection);
    }
    loop {
        run.collect(&mut connection, &mut waiting);
        if waiting.is_empty() && connection.output().is_empty() {
            break;
        }
        run.answer(&mut connection, &mut waiting);
        run.flush(&mut connection);
    }
    assert_eq!(connection.unanswered(), 0);
    run.transcript
}

struct Run<'a> {
    turn: Turn<'a>,
    server: Server,
    next_id: u64,
    transcript: Transcript,
}

impl Run<'_> {
    fn collect(&mut self, connection: &mut Connection, waiting: &mut Vec<Request>) {
        while let Some(request) = connection.poll_request(self.turn.config) {
            self.transcript.requests.push(request);
            waiting.push(request);
        }
    }

    fn answer(&mut self, connection: &mut Connection, waiting: &mut Vec<Request>) {
        while !waiting.is_empty() {
            let reply = match (waiting.remove(0), self.server) {
                (Request::Page(page), _) => page_reply(page),
                (Request::TakeIds { count }, Server::Leads) => {
                    let first = self.next_id;
                    self.next_id += count.get();
                    Reply::Ids { first, count }
                }
                (Request::TakeIds { .. }, Server::Follows) => Reply::Redirect { authority: "leader:8001" },
                (Request::TakeIds { .. }, Server::KnowsNoLeader) => Reply::LeaderUnavailable,
                (Request::TakeIds { .. }, Server::TimesOut) => Reply::TimedOut,
                (Request::TakeIds { .. }, Server::IsOverloaded) => Reply::Overloaded,
                (Request::TakeIds { .. }, Server::IsExhausted) => Reply::Exhausted,
            };
            connection.answer(self.turn, reply);
            connection.resume(self.turn);
            self.collect(connection, waiting);
        }
    }

    fn flush(&mut self, connection: &mut Connection) {
        while !connection.output().is_empty() {
            let bytes = connection.output().len();
            self.transcript.output.extend_from_slice(connection.output());
            connection.sent(self.turn, bytes);
            connection.resume(self.turn);
        }
        if connection.poll_shutdown_write(self.turn.now) {
            self.transcript.closed = true;
        }
    }
}

fn page_reply(page: Page) -> Reply<'static> {
    let body: &[u8] = match page {
        Page::Health => b"health",
        Page::Ready { leader: false } => b"ready",
        Page::Ready { leader: true } => b"leads",
        Page::Status => b"{}",
        Page::Metrics => b"metrics",
    };
    Reply::Page { ok: page != Page::Metrics, content_type: "text/plain", body }
}

/// One answer, parsed as a client would.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields(name);
        assert!(values.len() <= 1, "{name} is there more than once in {}", self.head);
        values.first().copied()
    }
}

/// Whether answers come with their content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Sent,
    /// They answer HEAD.
    Withheld,
}

impl Content {
    /// Of the answers to requests that all have the method of the first.
    pub(crate) fn of_answers_to(input: &[u8]) -> Content {
        if input.starts_with(b"HEAD ") { Content::Withheld } else { Content::Sent }
    }
}

/// Parses answers, checking what holds for each of them.
pub(crate) fn answers(transcript: &Transcript, content: Content) -> Vec<Answer> {
    let mut rest = std::str::from_utf8(&transcript.output).expect("all that we send is text");
    let mut answers: Vec<Answer> = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_once("\r\n\r\n").expect("a head is whole");
        let status =
            head.strip_prefix("HTTP/1.1 ").expect("we speak HTTP/1.1")[..3].parse().expect("a status");
        let mut answer = Answer { status, head: head.to_owned(), body: String::new() };
        rest = after;
        if status != 100 {
            assert_eq!(answer.field("Date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"), "RFC 9110 §6.6.1");
            assert_eq!(answer.field("Server"), Some(concat!("ticketd/", env!("CARGO_PKG_VERSION"))));
            assert_eq!(answer.field("Cache-Control"), Some("no-store"));
            assert_eq!(
                answer.field("Allow").is_some(),
                status == 405 || is_options(&answer),
                "RFC 9110 §15.5.6"
            );
            let length: usize = answer.field("Content-Length").expect("a length").parse().expect("a number");
            assert_eq!(length > 0, answer.field("Content-Type").is_some(), "a type where there is content");
            let sent = match content {
                Content::Sent => length,
                Content::Withheld => 0,
            };
            answer.body = rest[..sent].to_owned();
            rest = &rest[sent..];
        }
        answers.push(answer);
    }
    let closes = |answer: &Answer| answer.field("Connection") == Some("close");
    for (at, answer) in answers.iter().enumerate() {
        let last = at + 1 == answers.len();
        assert_eq!(
            closes(answer),
            last && transcript.closed,
            "close is said where it is meant: {answers:#?}"
        );
    }
    answers
}

fn is_options(answer: &Answer) -> bool {
    answer.status == 200 && answer.field("Content-Length") == Some("0")
}

/// One line that says what was answered, with `#` for each number in the content of a 200.
pub(crate) fn summary(transcript: &Transcript, content: Content) -> String {
    let mut summary = String::new();
    for answer in answers(transcript, content) {
        if !summary.is_empty() {
            summary.push_str(" | ");
        }
        write!(summary, "{}", answer.status).expect("a string takes all");
        if answer.status == 200 && !answer.body.is_empty() {
            write!(summary, " {}", numbers_hidden(&answer.body)).expect("a string takes all");
        }
        if let Some(option) = answer.field("Connection") {
            write!(summary, " {option}").expect("a string takes all");
        }
    }
    summary
}

fn numbers_hidden(body: &str) -> String {
    let mut hidden = String::new();
    for character in body.chars() {
        if !character.is_ascii_digit() {
            hidden.push(character);
        } else if !hidden.ends_with('#') {
            hidden.push('#');
        }
    }
    hidden
}

/// Checks that the IDs in the answers are those that were asked for, in order, none repeated and none
/// skipped.
pub(crate) fn check_ids(transcript: &Transcript) {
    let mut expected = Vec::new();
    let mut next = 1;
    for request in &transcript.requests {
        if let Request::TakeIds { count } = request {
            expected.push(next);
            if *count > NonZeroU64::MIN {
                expected.push(next + count.get() - 1);
            }
            next += count.get();
        }
    }
    let mut found: Vec<u64> = Vec::new();
    for answer in answers(transcript, Content::Sent).iter().filter(|answer| answer.status == 200) {
        let numbers = answer.body.split(|character: char| !character.is_ascii_digit());
        found.extend(
            numbers.filter(|number| !number.is_empty()).map(|number| number.parse::<u64>().expect("digits")),
        );
    }
    assert_eq!(found, expected);
}

/// Every way of cutting: whole, byte by byte, and in two at every position. Long inputs are cut in two near
/// both ends, where the rules apply, and at a sample of the positions between.
pub(crate) fn cuts(input: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut cuts = vec![vec![input], input.chunks(1).collect()];
    for at in 1..input.len() {
        if input.len() < 1500 || at < 60 || at + 60 > input.len() || at % 211 == 0 {
            cuts.push(vec![&input[..at], &input[at..]]);
        }
    }
    cuts
}
