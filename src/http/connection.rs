//! One connection: what has been read of it, what waits for an answer, what waits to be sent.

use raft_core::Micros;

use super::body::Body;
use super::config::{Config, REMEMBERED_BYTES_MAX, REST_US, Turn};
use super::head::{HeadScanner, Progress, RequestLine};
use super::pipeline::{OwnAnswer, Pending, Pipeline, Request};
use super::refusal::Refusal;
use super::request::{self, Fatal, Head, Manner, Persistence, Wish};
use super::response::{Reply, Writer, write_continue};

/// One client's connection. The module's documentation says in which order to call what.
#[derive(Clone, Debug)]
pub struct Connection {
    reading: Reading,
    ending: Ending,
    input_ended: bool,
    held: Held,
    pipeline: Pipeline,
    remembered: Option<Box<Remembered>>,
    output: Vec<u8>,
    /// How many bytes of the output must be sent by the deadline that `send_since` sets.
    due_bytes: usize,
    /// When the client began to owe us the reading of what is due.
    send_since: Micros,
    /// When the client began to owe us what `reading` waits for; or when this connection began to drain.
    read_since: Micros,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// A request head.
    Head(HeadScanner),
    /// A request body, after which the request counts.
    Body { body: Body, then: Pending },
    /// Nothing: the last request has been read.
    Over,
}

/// How far the end of the connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    NotYet,
    /// Our side is shut. What the client still sends is thrown away, so that it can read our last answer.
    Draining {
        discarded_bytes: usize,
    },
    Finished,
}

/// Bytes that have been received and not yet understood: part of a head, or what the bounds hold back.
#[derive(Clone, Default, Debug)]
struct Held {
    bytes: Vec<u8>,
    start: usize,
}

/// A plain request for one ID, byte for byte. Programs send the same request again and again, and a head is
/// understood by its bytes alone: one that begins with these bytes, which are a whole head, means the same.
#[derive(Clone, Debug)]
struct Remembered {
    head: Vec<u8>,
    pending: Pending,
}

impl Connection {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn new(now: Micros) -> Connection {
        Connection {
            reading: Reading::Head(HeadScanner::default()),
            ending: Ending::NotYet,
            input_ended: false,
            held: Held::default(),
            pipeline: Pipeline::default(),
            remembered: None,
            output: Vec::new(),
            due_bytes: 0,
            send_since: now,
            read_since: now,
        }
    }

    /// A connection that is one too many: it says 503 and closes.
    #[must_use]
    pub fn refused(turn: Turn<'_>) -> Connection {
        let mut connection = Connection::new(turn.now);
        connection.refuse(turn, Fatal { refusal: Refusal::Overloaded, manner: Manner::closing() });
        connection
    }

    /// Takes in what has been read from the client.
    ///
    /// # Panics
    /// Where [`Connection::wants_input`] is false: what is held would have no bound.
    pub fn receive(&mut self, turn: Turn<'_>, bytes: &[u8]) {
        assert!(self.wants_input(turn.config), "bytes were read for a connection that wants none");
        if let Ending::Draining { discarded_bytes } = self.ending {
            let discarded_bytes = discarded_bytes.saturating_add(bytes.len());
            let finished = discarded_bytes > turn.config.drain_bytes_max;
            self.ending = if finished { Ending::Finished } else { Ending::Draining { discarded_bytes } };
        } else if self.held.is_empty() {
            let understood = self.understand(turn, bytes);
            self.held.append(&bytes[understood..]);
        } else {
            self.held.append(bytes);
            self.understand_held(turn);
        }
    }

    /// The client will send no more.
    pub fn end_of_input(&mut self, turn: Turn<'_>) {
        self.input_ended = true;
        if let Ending::Draining { .. } = self.ending {
            self.ending = Ending::Finished;
        }
        self.conclude_input(turn);
    }

    /// The next request that only the server can answer. To be asked until there is none, after
    /// [`Connection::receive`], [`Connection::answer`] and [`Connection::sent`].
    pub fn poll_request(&mut self, config: &Config) -> Option<Request> {
        // A page may be large, and the server answers it on the spot: not while much waits to be sent.
        if self.output.len() >= config.output_bytes_max { None } else { self.pipeline.poll() }
    }

    /// How many requests the server has been handed and has not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.pipeline.unanswered()
    }

    /// Answers the oldest request that the server has been handed and has not answered.
    ///
    /// # Panics
    /// Where there is none, or where the reply does not fit it.
    pub fn answer(&mut self, turn: Turn<'_>, reply: Reply<'_>) {
        assert!(self.pipeline.awaits_server(), "{reply:?} answers no request");
        let pending = self.pipeline.pop().expect("it was there a line ago");
        let persistence = self.persistence_of(&pending);
        match pending {
            Pending::Ids { count, query_bytes, manner } => {
                let query = query_bytes.map(|bytes| self.pipeline.query(bytes));
                let manner = Manner { persistence, ..manner };
                let writer = Writer { turn, manner, out: &mut self.output };
                match reply {
                    Reply::Ids { first, count: given } => {
                        assert_eq!(given, count, "as many IDs as were asked for");
                        writer.ids(first, given);
                    }
                    Reply::Redirect { authority } => writer.redirect(authority, query),
                    Reply::LeaderUnavailable => writer.leader_unavailable(),
                    Reply::TimedOut => writer.refusal(Refusal::TimedOut),
                    Reply::Overloaded => writer.refusal(Refusal::Overloaded),
                    Reply::Exhausted => writer.refusal(Refusal::Exhausted),
                    Reply::Page { .. } => panic!("a page answers no request for IDs"),
                }
                self.pipeline.drop_query(query_bytes.unwrap_or(0));
            }
            Pending::Page { manner, .. } => {
                let Reply::Page { ok, content_type, body } = reply else {
                    panic!("{reply:?} answers no request for a page");
                };
                let manner = Manner { persistence, ..manner };
                Writer { turn, manner, out: &mut self.output }.page(ok, content_type, body);
            }
            Pending::Own { .. } | Pending::Continue => {
                unreachable!("awaits_server says that the oldest is the server's")
            }
        }
        self.answer_own(turn);
        self.resume(turn);
    }

    /// What is to be sent to the client.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many bytes of the output have been sent.
    ///
    /// # Panics
    /// Where there are not as many.
    pub fn sent(&mut self, turn: Turn<'_>, bytes: usize) {
        assert!(bytes <= self.output.len(), "{bytes} sent of {}", self.output.len());
        if bytes == self.output.len() {
            self.output.clear();
            self.due_bytes = 0;
        } else {
            self.output.drain(..bytes);
            self.due_bytes = self.due_bytes.saturating_sub(bytes);
            self.note_due(turn.now);
        }
        if self.is_between_requests() {
            self.read_since = turn.now;
        }
        self.resume(turn);
    }

    /// Whether the client is to be read. False while what it has sent before is too much, and once nothing that
    /// it could send matters.
    #[must_use]
    pub fn wants_input(&self, config: &Config) -> bool {
        match (self.ending, &self.reading) {
            _ if self.input_ended => false,
            (Ending::Finished, _) => false,
            (Ending::Draining { .. }, _) => true,
            (Ending::NotYet, Reading::Head(scanner)) => {
                scanner.begun() || (self.held.is_empty() && !self.is_full(config))
            }
            (Ending::NotYet, Reading::Body { .. }) => true,
            (Ending::NotYet, Reading::Over) => false,
        }
    }

    /// When [`Connection::on_deadline`] is to be called. Every other call may change it.
    #[must_use]
    pub fn deadline(&self, config: &Config) -> Option<Micros> {
        if self.is_finished() {
            return None;
        }
        let deadlines = [
            self.read_deadline(config),
            self.send_deadline(config),
            self.drain_deadline(config),
            self.rest_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Acts on the deadlines that have passed. Harmless where none has.
    pub fn on_deadline(&mut self, turn: Turn<'_>) {
        let passed = |deadline: Option<Micros>| deadline.is_some_and(|deadline| deadline <= turn.now);
        if passed(self.drain_deadline(turn.config)) || passed(self.send_deadline(turn.config)) {
            self.ending = Ending::Finished;
            return;
        }
        if passed(self.read_deadline(turn.config)) {
            match &self.reading {
                // RFC 9112 §9.5: a quiet connection may be closed at any time, without a word.
                Reading::Head(scanner) if !scanner.begun() => self.reading = Reading::Over,
                Reading::Head(_) | Reading::Body { .. } => {
                    self.refuse_what_is_read(turn, Refusal::RequestTimeout)
                }
                Reading::Over => {}
            }
        }
        if passed(self.rest_deadline()) {
            self.held.bytes = Vec::new();
            self.pipeline = Pipeline::default();
            self.output = Vec::new();
            self.remembered = None;
        }
    }

    /// Whether the write side of the socket is to be shut now: true once, when the last answer has been sent.
    /// Reading goes on from there for a while, since to close a socket that has unread bytes resets the
    /// connection, and the reset can overtake the answer (RFC 9112 §9.6).
    pub fn poll_shutdown_write(&mut self, now: Micros) -> bool {
        let due = self.ending == Ending::NotYet && !self.input_ended && self.is_all_said();
        if due {
            self.ending = Ending::Draining { discarded_bytes: 0 };
            self.read_since = now;
        }
        due
    }

    /// Whether the socket is to be closed now.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.ending == Ending::Finished || (self.input_ended && self.is_all_said())
    }

    /// The server is being stopped: requests that have been read are answered, then the connection closes.
    pub fn wind_down(&mut self, turn: Turn<'_>) {
        match &self.reading {
            Reading::Head(scanner) if !scanner.begun() => {
                self.held.clear();
                self.reading = Reading::Over;
            }
            Reading::Head(_) | Reading::Body { .. } => self.refuse_what_is_read(turn, Refusal::Stopping),
            Reading::Over => {}
        }
    }
}

/// Reading.
impl Connection {
    /// Understands as much as there is and as the bounds allow; says how many bytes that is.
    fn understand(&mut self, turn: Turn<'_>, bytes: &[u8]) -> usize {
        let mut understood = 0;
        while understood < bytes.len() {
            let rest = &bytes[understood..];
            let step = match &self.reading {
                Reading::Head(scanner) if !scanner.begun() && self.is_full(turn.config) => None,
                Reading::Head(scanner) => self.understand_head(turn, *scanner, rest),
                Reading::Body { body, then } => Some(self.understand_body(turn, *body, *then, rest)),
                Reading::Over => Some(rest.len()),
            };
            match step {
                Some(bytes) => understood += bytes,
                None => break,
            }
        }
        understood
    }

    /// Takes one head off the front of `rest`; `None` where it is not complete.
    fn understand_head(&mut self, turn: Turn<'_>, mut scanner: HeadScanner, rest: &[u8]) -> Option<usize> {
        if !scanner.begun() {
            if let Some(remembered) = &self.remembered
                && rest.starts_with(&remembered.head)
            {
                let (bytes, pending) = (remembered.head.len(), remembered.pending);
                self.request_read(turn, pending);
                return Some(bytes);
            }
            self.read_since = turn.now;
        }
        let progress = scanner.advance(turn.config, rest);
        self.reading = Reading::Head(scanner);
        match progress {
            Progress::Partial => None,
            Progress::EmptyLine => Some(2),
            Progress::Complete { line, bytes } => {
                self.head_read(turn, line, &rest[..bytes]);
                Some(bytes)
            }
            Progress::Refused(refusal) => {
                self.refuse(turn, Fatal::in_head(refusal, rest));
                Some(rest.len())
            }
        }
    }

    fn head_read(&mut self, turn: Turn<'_>, line: RequestLine, bytes: &[u8]) {
        let Head { wish, manner, body, awaits_continue } = match request::parse(turn, line, bytes) {
            Ok(head) => head,
            Err(fatal) => return self.refuse(turn, fatal),
        };
        let pending = match wish {
            Wish::TakeIds { count, query } => {
                Pending::Ids { count, query_bytes: self.pipeline.keep_query(query), manner }
            }
            Wish::Page(page) => Pending::Page { page, manner },
            Wish::Options(allow) => Pending::Own { answer: OwnAnswer::Options(allow), manner },
            Wish::Refused(refusal) => Pending::Own { answer: OwnAnswer::Refused(refusal), manner },
        };
        if awaits_continue {
            self.pipeline.push(Pending::Continue);
            self.answer_own(turn);
        }
        match body {
            Some(body) => {
                self.read_since = turn.now;
                self.reading = Reading::Body { body, then: pending };
            }
            None => {
                self.remember(bytes, pending);
                self.request_read(turn, pending);
            }
        }
    }

    fn understand_body(&mut self, turn: Turn<'_>, mut body: Body, then: Pending, rest: &[u8]) -> usize {
        match body.advance(turn.config.body_bytes_max, rest) {
            Ok(Some(bytes)) => {
                self.request_read(turn, then);
                bytes
            }
            Ok(None) => {
                self.reading = Reading::Body { body, then };
                rest.len()
            }
            Err(refusal) => {
                self.refuse_what_is_read(turn, refusal);
                rest.len()
            }
        }
    }

    /// A request has been read to its end.
    fn request_read(&mut self, turn: Turn<'_>, pending: Pending) {
        self.reading = match pending.persistence() {
            // RFC 9112 §9.6: nothing after it is a request.
            Persistence::Close => Reading::Over,
            Persistence::Keep | Persistence::KeepAndSaySo => Reading::Head(HeadScanner::default()),
        };
        self.pipeline.push(pending);
        self.answer_own(turn);
    }

    /// Remembers a request if it is the plain one: what it means then depends on nothing but its head.
    fn remember(&mut self, head: &[u8], pending: Pending) {
        if let Pending::Ids { query_bytes: None, .. } = pending
            && head.len() <= REMEMBERED_BYTES_MAX
            && pending.persistence() != Persistence::Close
        {
            let remembered =
                self.remembered.get_or_insert_with(|| Box::new(Remembered { head: Vec::new(), pending }));
            remembered.head.clear();
            remembered.head.extend_from_slice(head);
            remembered.pending = pending;
        }
    }

    /// Understands what the bounds held back, once there is room for a good deal of it.
    fn resume(&mut self, turn: Turn<'_>) {
        let is_held_back = matches!(&self.reading, Reading::Head(scanner) if !scanner.begun());
        if is_held_back && !self.held.is_empty() && self.pipeline.len() <= turn.config.pipeline_max / 2 {
            self.understand_held(turn);
        }
    }

    fn understand_held(&mut self, turn: Turn<'_>) {
        let mut held = std::mem::take(&mut self.held);
        let understood = self.understand(turn, &held.bytes[held.start..]);
        held.consume(understood);
        self.held = held;
        self.conclude_input(turn);
    }

    /// Draws the conclusion from the end of the input, once all before it has been understood.
    fn conclude_input(&mut self, turn: Turn<'_>) {
        if !self.input_ended {
            return;
        }
        match &self.reading {
            Reading::Head(scanner) if !scanner.begun() => {
                if self.held.is_empty() {
                    self.reading = Reading::Over;
                }
            }
            Reading::Head(_) | Reading::Body { .. } => {
                self.refuse_what_is_read(turn, Refusal::Malformed("The request ends before it is complete"));
            }
            Reading::Over => {}
        }
    }

    /// Whether no further request is to be begun.
    fn is_full(&self, config: &Config) -> bool {
        self.pipeline.len() >= config.pipeline_max
            || self.pipeline.query_bytes() >= config.target_bytes_max
            || self.output.len() >= config.output_bytes_max
    }

    fn is_between_requests(&self) -> bool {
        matches!(&self.reading, Reading::Head(scanner) if !scanner.begun())
            && self.pipeline.is_empty()
            && self.output.is_empty()
            && self.held.is_empty()
    }
}

/// Answering.
impl Connection {
    /// Refuses the request of which a part has been read, and with it all that follows.
    fn refuse_what_is_read(&mut self, turn: Turn<'_>, refusal: Refusal) {
        let fatal = match self.reading {
            Reading::Head(_) | Reading::Over => Fatal::in_head(refusal, self.held.as_bytes()),
            Reading::Body { then, .. } => {
                let (Pending::Ids { manner, .. }
                | Pending::Page { manner, .. }
                | Pending::Own { manner, .. }) = then
                else {
                    unreachable!("a body belongs to a request")
                };
                Fatal { refusal, manner: Manner { persistence: Persistence::Close, ..manner } }
            }
        };
        self.refuse(turn, fatal);
    }

    fn refuse(&mut self, turn: Turn<'_>, Fatal { refusal, manner }: Fatal) {
        self.held.clear();
        self.reading = Reading::Over;
        self.pipeline.push(Pending::Own { answer: OwnAnswer::Refused(refusal), manner });
        self.answer_own(turn);
    }

    /// Answers whatever needs no server and waits for nothing before it.
    fn answer_own(&mut self, turn: Turn<'_>) {
        while let Some(pending) = self.pipeline.pop_own() {
            let persistence = self.persistence_of(&pending);
            match pending {
                Pending::Own { answer, manner } => {
                    let manner = Manner { persistence, ..manner };
                    let writer = Writer { turn, manner, out: &mut self.output };
                    match answer {
                        OwnAnswer::Refused(refusal) => writer.refusal(refusal),
                        OwnAnswer::Options(allow) => writer.options(allow),
                    }
                }
                Pending::Continue => {
                    write_continue(&mut self.output);
                    self.read_since = turn.now;
                }
                Pending::Ids { .. } | Pending::Page { .. } => unreachable!("pop_own takes only our own"),
            }
        }
        self.note_due(turn.now);
    }

    /// Whether the connection goes on after the answer to a request that has just left the queue: not where it is
    /// known by now that no other request follows.
    fn persistence_of(&self, pending: &Pending) -> Persistence {
        match self.reading {
            Reading::Over if self.pipeline.is_empty() => Persistence::Close,
            Reading::Over | Reading::Head(_) | Reading::Body { .. } => pending.persistence(),
        }
    }

    /// Sets the client a time to read what waits for it, unless it has one. What is added meanwhile is due later.
    fn note_due(&mut self, now: Micros) {
        if self.due_bytes == 0 && !self.output.is_empty() {
            self.due_bytes = self.output.len();
            self.send_since = now;
        }
    }

    fn is_all_said(&self) -> bool {
        matches!(self.reading, Reading::Over) && self.pipeline.is_empty() && self.output.is_empty()
    }
}

/// Deadlines.
impl Connection {
    fn read_deadline(&self, config: &Config) -> Option<Micros> {
        match &self.reading {
            _ if self.ending != Ending::NotYet => None,
            Reading::Head(scanner) if scanner.begun() => Some(self.read_since.plus(config.head_timeout_us)),
            Reading::Head(_) => {
                self.is_between_requests().then(|| self.read_since.plus(config.idle_timeout_us))
            }
            // The client may be waiting for a 100 that itself waits for the answers before it.
            Reading::Body { .. } if self.pipeline.awaits_continue() => None,
            Reading::Body { .. } => Some(self.read_since.plus(config.body_timeout_us)),
            Reading::Over => None,
        }
    }

    fn send_deadline(&self, config: &Config) -> Option<Micros> {
        (!self.output.is_empty()).then(|| self.send_since.plus(config.send_timeout_us))
    }

    fn drain_deadline(&self, config: &Config) -> Option<Micros> {
        match self.ending {
            Ending::Draining { .. } => Some(self.read_since.plus(config.drain_timeout_us)),
            Ending::NotYet | Ending::Finished => None,
        }
    }

    fn rest_deadline(&self) -> Option<Micros> {
        let holds_memory = self.held.bytes.capacity() > 0
            || self.output.capacity() > 0
            || self.remembered.is_some()
            || self.pipeline.holds_memory();
        (holds_memory && self.is_between_requests()).then(|| self.read_since.plus(REST_US))
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }
}
