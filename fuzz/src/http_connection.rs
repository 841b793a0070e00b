//! A whole HTTP connection. Whatever the bytes, however they are split, whether they are answered at once or
//! late and read fast or slowly, the requests and answers are the same, in the same order; what is held is
//! bounded; and time alone ends every connection.

use std::num::NonZeroU64;

use raft_core::{Micros, SplitMix64};
use ticketd::http::{Config, Connection, Handler, HttpDate, Reply, Request, Serves, Tally, Turn};
use ticketd::redirect_status::RedirectStatus;

/// The first byte of `data` chooses how the server behaves; the rest is what a client sends.
pub fn check(data: &[u8]) {
    let Some((plan, input)) = data.split_first() else { return };
    let plan = Plan::of(*plan);
    let prompt = Manners { late: false, narrow: usize::MAX, end: End::Silence };
    let whole = run(&plan, &[input], prompt);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    let pieces = irregular(input);
    for (pieces, manners) in [
        (&[input][..], Manners { late: true, ..prompt }),
        (&bytes, prompt),
        (&bytes, Manners { late: true, narrow: 3, ..prompt }),
        (&pieces, Manners { narrow: 7, ..prompt }),
        (&pieces, Manners { late: true, ..prompt }),
    ] {
        let cut = run(&plan, pieces, manners);
        assert_eq!(cut, whole, "cut into {} pieces, {manners:?}", pieces.len());
    }
    for end in [End::Hangup, End::Stop] {
        let whole = run(&plan, &[input], Manners { end, ..prompt });
        let manners = Manners { narrow: 3, end, ..prompt };
        assert_eq!(run(&plan, &pieces, manners), whole, "cut into {} pieces, {manners:?}", pieces.len());
        // An answer given after the end may say that the connection closes.
        let late = run(&plan, &pieces, Manners { late: true, ..manners });
        assert!(whole.closed && late.closed, "it goes on after {end:?}");
        assert_eq!(late.requests, whole.requests, "{end:?} takes requests away");
    }
    check_last(&plan, input, &whole);
    check_bounds(&plan, input);
    check_end(&plan, input);
    check_refused(&plan, input);
}

/// A generous upper bound on the length of an answer: whatever a client sends, no more than this is written
/// for one request.
const ANSWER_BYTES_MAX: usize = 512;

/// How the server behaves.
struct Plan {
    config: Config,
    ids: Ids,
}

/// How the server answers requests for IDs.
#[derive(Clone, Copy)]
enum Ids {
    Granted,
    Redirected,
    Unavailable,
    TimedOut,
    Overloaded,
    Exhausted,
    /// It has no room for the request.
    Shed,
}

/// What comes after the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Nothing.
    Silence,
    /// The client signals that it sends no more.
    Hangup,
    /// The server is being stopped once it has answered what it could.
    Stop,
}

/// How slow the server and the client are.
#[derive(Clone, Copy, Debug)]
struct Manners {
    /// The server answers only when the connection takes no more input, or no more comes.
    late: bool,
    /// How many bytes the client reads at once.
    narrow: usize,
    end: End,
}

/// What a connection did.
#[derive(PartialEq, Eq, Debug)]
struct Transcript {
    output: String,
    requests: Vec<Request>,
    closed: bool,
}

impl Plan {
    fn of(plan: u8) -> Plan {
        let ids = match plan & 0b1011 {
            0 | 8 => Ids::Granted,
            1 => Ids::Redirected,
            2 => Ids::Unavailable,
            3 => Ids::TimedOut,
            9 => Ids::Overloaded,
            10 => Ids::Shed,
            _ => Ids::Exhausted,
        };
        let serves = match plan >> 4 & 3 {
            1 => Serves::IdsOnly,
            2 => Serves::PagesOnly,
            _ => Serves::Everything,
        };
        let redirect_status = match plan >> 6 {
            2 => RedirectStatus::TemporaryRedirect,
            3 => RedirectStatus::PermanentRedirect,
            _ => RedirectStatus::MovedPermanently,
        };
        let config = if plan & 4 == 0 {
            Config::default()
        } else {
            // All bounds are small.
            Config {
                target_bytes_max: 32,
                fields_bytes_max: 128,
                body_bytes_max: 16,
                pipeline_max: 2,
                output_bytes_max: 256,
                drain_bytes_max: 64,
                ..Config::default()
            }
        };
        Plan { config: Config { serves, redirect_status, ..config }, ids }
    }

    fn reply(&self, request: Request, next_id: &mut u64) -> Reply<'static> {
        match (request, self.ids) {
            (Request::Page(_), _) => Reply::Page { ok: true, content_type: "text/plain", body: b"page" },
            (Request::TakeIds { count }, Ids::Granted) => {
                Reply::Ids { first: advance(next_id, count), count }
            }
            (Request::TakeIds { .. }, Ids::Redirected) => Reply::Redirect { authority: "leader:8001" },
            (Request::TakeIds { .. }, Ids::Unavailable) => Reply::LeaderUnavailable,
            (Request::TakeIds { .. }, Ids::TimedOut) => Reply::TimedOut,
            (Request::TakeIds { .. }, Ids::Overloaded) => Reply::Overloaded,
            (Request::TakeIds { .. }, Ids::Exhausted) => Reply::Exhausted,
            (Request::TakeIds { .. }, Ids::Shed) => panic!("what was shed is not answered"),
        }
    }
}

fn advance(next_id: &mut u64, count: NonZeroU64) -> u64 {
    let first = *next_id;
    *next_id += count.get();
    first
}

/// A connection and its environment.
struct Run<'a> {
    plan: &'a Plan,
    turn: Turn<'a>,
    connection: Connection,
    waiting: Vec<Request>,
    next_id: u64,
    requests: Vec<Request>,
    output: Vec<u8>,
    closed: bool,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, turn: Turn<'a>) -> Run<'a> {
        Run {
            plan,
            turn,
            connection: Connection::new(turn.now),
            waiting: Vec::new(),
            next_id: 1,
            requests: Vec::new(),
            output: Vec::new(),
            closed: false,
        }
    }

    fn collect(&mut self) {
        while let Some(request) = self.connection.poll_request(self.turn.config) {
            self.requests.push(request);
            match (request, self.plan.ids) {
                (Request::TakeIds { .. }, Ids::Shed) => {
                    self.connection.shed(self.turn);
                    self.connection.resume(self.turn);
                }
                (Request::TakeIds { .. } | Request::Page(_), _) => self.waiting.push(request),
            }
        }
    }

    fn answer_all(&mut self) {
        while !self.waiting.is_empty() {
            for request in std::mem::take(&mut self.waiting) {
                let reply = self.plan.reply(request, &mut self.next_id);
                self.connection.answer(self.turn, reply);
            }
            self.connection.resume(self.turn);
            self.collect();
        }
    }

    fn flush(&mut self, narrow: usize) {
        while !self.connection.output().is_empty() {
            let bytes = self.connection.output().len().min(narrow);
            self.output.extend_from_slice(&self.connection.output()[..bytes]);
            self.connection.sent(self.turn, bytes);
            self.connection.resume(self.turn);
            self.collect();
        }
        self.closed |= self.connection.poll_shutdown_write(self.turn.now);
    }

    /// Answers and reads until nothing more can be done without input.
    fn settle(&mut self, narrow: usize) {
        self.collect();
        while !self.waiting.is_empty() || !self.connection.output().is_empty() {
            self.answer_all();
            self.flush(narrow);
        }
        self.flush(narrow);
    }
}

fn run(plan: &Plan, pieces: &[&[u8]], manners: Manners) -> Transcript {
    let (date, tally) = (HttpDate::from_unix(0), Tally::default());
    let turn = Turn { config: &plan.config, now: Micros(1), date: &date, tally: &tally };
    let mut run = Run::new(plan, turn);
    for piece in pieces {
        if !run.connection.wants_input(turn.config) {
            run.settle(manners.narrow);
        }
        if run.closed {
            break;
        }
        assert!(run.connection.wants_input(turn.config), "all is answered and read, and it wants no input");
        run.connection.receive(turn, piece);
        run.collect();
        if !manners.late {
            run.settle(manners.narrow);
        }
    }
    match manners.end {
        End::Silence => {}
        End::Hangup => run.connection.end_of_input(turn),
        End::Stop => {
            run.settle(manners.narrow);
            run.connection.wind_down(turn);
        }
    }
    run.settle(manners.narrow);
    assert_eq!(run.connection.unanswered(), 0);
    let closed = run.closed || run.connection.is_finished();
    if run.connection.is_finished() {
        let (deadline, wants) =
            (run.connection.deadline(turn.config), run.connection.wants_input(turn.config));
        assert_eq!((deadline, wants), (None, false), "it is over, and waits for something");
    }
    let output = String::from_utf8(run.output).expect("all that is sent is text");
    let answers = output.matches("HTTP/1.1 ").count() - output.matches("HTTP/1.1 100 ").count();
    assert_eq!(counted(&tally), answers, "each answer is counted once: {output}");
    Transcript { output, requests: run.requests, closed }
}

fn counted(tally: &Tally) -> usize {
    let handlers = [Handler::Ids, Handler::Pages, Handler::Protocol];
    let counts = handlers.into_iter().flat_map(|handler| tally.by_code(handler).into_values());
    usize::try_from(counts.sum::<u64>()).expect("no fuzzer makes 2^32 requests up")
}

/// Pieces of lengths from 1 to 16, the same for the same input.
fn irregular(input: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut rest, mut rng) = (input, SplitMix64::new(crc32fast::hash(input).into()));
    while !rest.is_empty() {
        let length = 1 + usize::try_from(rng.below(16)).expect("it is small");
        let (piece, after) = rest.split_at(rest.len().min(length));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// A client that keeps sending and reads nothing cannot make us hold more than the bounds.
fn check_bounds(plan: &Plan, input: &[u8]) {
    let (date, tally) = (HttpDate::from_unix(0), Tally::default());
    let turn = Turn { config: &plan.config, now: Micros(1), date: &date, tally: &tally };
    let mut run = Run::new(plan, turn);
    let query_bytes = plan.config.target_bytes_max * plan.config.pipeline_max;
    let bound = plan.config.output_bytes_max + plan.config.pipeline_max * ANSWER_BYTES_MAX + query_bytes;
    for piece in irregular(input) {
        if !run.connection.wants_input(turn.config) {
            break;
        }
        run.connection.receive(turn, piece);
        run.collect();
        run.answer_all();
        let held = run.connection.output().len();
        assert!(held <= bound, "{held} bytes wait for a client that does not read");
    }
}

/// A connection that is to close once its client has been answered still answers all that it has read by
/// then, and continues only if there was nothing to answer, or if it waits for the rest of a request.
fn check_last(plan: &Plan, input: &[u8], whole: &Transcript) {
    let (date, tally) = (HttpDate::from_unix(0), Tally::default());
    let turn = Turn { config: &plan.config, now: Micros(1), date: &date, tally: &tally };
    for narrow in [usize::MAX, 3] {
        let mut run = Run::new(plan, turn);
        run.connection.close_when_answered();
        run.connection.receive(turn, input);
        run.settle(narrow);
        let output = String::from_utf8_lossy(&run.output).replace("Connection: close\r\n", "");
        let expected = whole.output.replace("Connection: close\r\n", "");
        let expected = expected.replace("Connection: keep-alive\r\n", "");
        assert_eq!(output.replace("Connection: keep-alive\r\n", ""), expected, "another answer");
        assert_eq!(run.requests, whole.requests, "requests were taken away");
        let closes = run.output.windows(19).any(|bytes| bytes == b"Connection: close\r\n");
        assert_eq!(run.closed, closes, "it closes if it says so");
        run.connection.wind_down(turn);
        run.settle(narrow);
        assert!(run.closed, "it goes on after the end");
    }
}

/// A connection beyond the maximum says nothing before it is asked, grants nothing, and answers once at most;
/// nothing that follows the answer is a request.
fn check_refused(plan: &Plan, input: &[u8]) {
    let (date, tally) = (HttpDate::from_unix(0), Tally::default());
    let turn = Turn { config: &plan.config, now: Micros(1), date: &date, tally: &tally };
    let said = |pieces: &[&[u8]], last: fn(&mut Connection, Turn<'_>)| {
        let mut run = Run { connection: Connection::refused(turn.now), ..Run::new(plan, turn) };
        run.settle(usize::MAX);
        assert!(!run.closed && run.output.is_empty(), "it is answered before it has asked");
        for piece in pieces {
            if run.connection.wants_input(turn.config) {
                run.connection.receive(turn, piece);
            }
        }
        last(&mut run.connection, turn);
        run.settle(usize::MAX);
        assert!(run.requests.is_empty() && !run.output.starts_with(b"HTTP/1.1 2"), "it is granted something");
        let answers = run.output.windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count();
        assert_eq!(answers, usize::from(run.closed), "one answer, and then it closes");
        (run.closed, run.output)
    };
    let wait = |_: &mut Connection, _: Turn<'_>| {};
    assert_eq!(said(&irregular(input), wait), said(&[input], wait), "the cuts matter");
    let refuse_at_once = |connection: &mut Connection, turn: Turn<'_>| {
        if connection.output().is_empty() {
            connection.refuse_at_once(turn);
        }
    };
    assert!(said(&[input], refuse_at_once).0, "it is told at once, and goes on");
}

/// How many deadlines may pass before a connection without a client is over: those for the request, for
/// giving back the buffers, for idling, for sending and for draining.
const DEADLINES_MAX: usize = 8;

/// If nothing more arrives, and nothing more is read if `reads` is false, time ends the connection.
fn check_end(plan: &Plan, input: &[u8]) {
    for reads in [true, false] {
        let (date, tally) = (HttpDate::from_unix(0), Tally::default());
        let turn = Turn { config: &plan.config, now: Micros(1), date: &date, tally: &tally };
        let mut run = Run::new(plan, turn);
        run.connection.receive(turn, input);
        run.collect();
        run.answer_all();
        let mut deadlines = 0;
        loop {
            if reads {
                run.settle(usize::MAX);
            }
            if run.connection.is_finished() {
                break;
            }
            assert!(deadlines < DEADLINES_MAX, "it goes on after {deadlines} deadlines");
            deadlines += 1;
            let now = run.connection.deadline(turn.config).expect("a connection that is not over has one");
            run.turn.now = run.turn.now.max(now);
            run.connection.on_deadline(run.turn);
            run.closed |= run.connection.poll_shutdown_write(run.turn.now);
        }
    }
}
