//! One connection: what has been read from it, what waits for an answer, what waits to be sent.

mod answering;
mod deadlines;
mod input_buffer;
mod reading;

use raft_core::Micros;

use self::input_buffer::InputBuffer;
use self::reading::CachedHead;
use super::body::Body;
use super::config::{Config, Turn};
use super::head::HeadScanner;
use super::pipeline::{Pipeline, Unanswered};
use super::refusal::Refusal;
use super::request::Request;
use super::response::Reply;

/// One client's connection. The module's documentation says in which order to call its methods.
#[derive(Clone, Debug)]
pub struct Connection {
    admission: Admission,
    reading: Reading,
    ending: Ending,
    stop: Stop,
    input_ended: bool,
    input: InputBuffer,
    pipeline: Pipeline,
    remembered: Option<Box<CachedHead>>,
    output: Vec<u8>,
    /// How many bytes of the output must be sent by the deadline that `send_since` determines.
    due_bytes: usize,
    /// Since when the client has owed us the reading of those bytes.
    send_since: Micros,
    /// Since when the client has owed us what `reading` waits for, or since when this connection has been
    /// draining.
    read_since: Micros,
}

/// Whether the server has room for this connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Admission {
    Admitted,
    /// The first request is refused, whatever it asks for.
    TurnedAway,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// A request head.
    Head(HeadScanner),
    /// A request body. Once it is complete, `then` is queued.
    Body { body: Body, then: Unanswered },
    /// Nothing: the last request has been read.
    Over,
}

/// How far the connection has come in ending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    NotYet,
    /// Our side is shut. Whatever the client still sends is discarded, so that it can read our last answer.
    Draining {
        discarded_bytes: usize,
    },
    Finished,
}

/// How far the server has come in stopping, as far as this connection has been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    NotYet,
    /// The connection closes with the answer after which no request waits.
    WhenAnswered,
    /// Nothing more is read.
    Now,
}

impl Connection {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn new(now: Micros) -> Connection {
        Connection {
            admission: Admission::Admitted,
            reading: Reading::Head(HeadScanner::default()),
            ending: Ending::NotYet,
            stop: Stop::NotYet,
            input_ended: false,
            input: InputBuffer::default(),
            pipeline: Pipeline::default(),
            remembered: None,
            output: Vec::new(),
            due_bytes: 0,
            send_since: now,
            read_since: now,
        }
    }

    /// A connection beyond the maximum: its first request is answered 503, and then it closes.
    ///
    /// Nothing is sent before that request: a client must not take for a response what arrives while none of
    /// its requests is outstanding (RFC 9112 §9.2), and only the request tells whether the response may have
    /// content.
    #[must_use]
    pub fn refused(now: Micros) -> Connection {
        Connection { admission: Admission::TurnedAway, ..Connection::new(now) }
    }

    /// Answers 503 now, whatever has been read: the connection cannot be kept until the request is complete.
    pub fn refuse_at_once(&mut self, turn: Turn<'_>) {
        self.refuse_what_is_read(turn, Refusal::TooManyConnections);
    }

    /// Refuses the request whose head is being read if more than this of it is held: there is no room for the
    /// rest.
    pub fn refuse_long_head(&mut self, turn: Turn<'_>, bytes_max: usize) {
        let is_begun = matches!(&self.reading, Reading::Head(scanner) if scanner.begun());
        if is_begun && self.input.as_bytes().len() > bytes_max {
            self.refuse_what_is_read(turn, Refusal::Overloaded);
        }
    }

    /// Takes in what has been read from the client.
    ///
    /// # Panics
    /// If [`Connection::wants_input`] is false: there would be no bound on what is held.
    pub fn receive(&mut self, turn: Turn<'_>, bytes: &[u8]) {
        assert!(self.wants_input(turn.config), "bytes were read for a connection that wants none");
        if let Ending::Draining { discarded_bytes } = self.ending {
            let discarded_bytes = discarded_bytes.saturating_add(bytes.len());
            let finished = discarded_bytes > turn.config.drain_bytes_max;
            self.ending = if finished { Ending::Finished } else { Ending::Draining { discarded_bytes } };
            return;
        }
        if self.input.is_empty() {
            let understood = self.understand(turn, bytes);
            self.input.append(&bytes[understood..]);
        } else {
            self.input.append(bytes);
            self.understand_held(turn);
        }
        self.answer_own(turn);
    }

    /// The client will not send any more.
    pub fn end_of_input(&mut self, turn: Turn<'_>) {
        self.input_ended = true;
        if let Ending::Draining { .. } = self.ending {
            self.ending = Ending::Finished;
        }
        self.conclude_input(turn);
    }

    /// Continues with the requests that the limits held back. Must be called after [`Connection::answer`],
    /// [`Connection::shed`] and [`Connection::sent`], once for any number of such calls. If requests are
    /// still held back afterwards, there is output, or the server owes an answer.
    ///
    /// This is a separate call so that the caller can bound the work of a turn: a client can send thousands
    /// of requests at once that do not need the server. One call answers at most [`Config::pipeline_max`] of
    /// them. Returns how many bytes it has parsed, for the same purpose.
    pub fn resume(&mut self, turn: Turn<'_>) -> usize {
        let held_before = self.input.as_bytes().len();
        if self.awaits_head() && !self.input.is_empty() {
            self.understand_held(turn);
        }
        self.answer_own(turn);
        held_before - self.input.as_bytes().len()
    }

    /// The next request that only the server can answer. Must be called until it returns `None`, after
    /// [`Connection::receive`], [`Connection::answer`] and [`Connection::resume`].
    pub fn poll_request(&mut self, config: &Config) -> Option<Request> {
        // A page may be large and is answered at once, so none is returned while much output waits.
        if self.output.len() >= config.output_bytes_max { None } else { self.pipeline.poll() }
    }

    /// Whether a request that has been read waits for its answer.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.pipeline.is_empty()
    }

    /// How many requests the server has been given and has not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.pipeline.unanswered()
    }

    /// The server has no room for the last request for IDs that it was given, and will not answer it. The
    /// client is told so once the requests before it have been answered.
    ///
    /// # Panics
    /// If the last request given to the server was not one for IDs.
    pub fn shed(&mut self, turn: Turn<'_>) {
        self.pipeline.shed();
        self.answer_own(turn);
    }

    /// Answers the oldest request that the server has been given and has not answered.
    ///
    /// # Panics
    /// If there is none, or if the reply does not fit the request.
    pub fn answer(&mut self, turn: Turn<'_>, reply: Reply<'_>) {
        let Some((asked, form)) = self.pipeline.pop_for_server() else {
            panic!("{reply:?} answers no request");
        };
        self.write_reply(turn, asked, form, reply);
        self.answer_own(turn);
    }

    /// What must be sent to the client.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// This many bytes of the output have been sent.
    ///
    /// # Panics
    /// If the output is shorter than that.
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
    }

    /// Whether input should be read from the client. False while too much of its earlier input is unfinished,
    /// and once nothing that it sends can matter.
    #[must_use]
    pub fn wants_input(&self, config: &Config) -> bool {
        if self.input_ended {
            return false;
        }
        match (self.ending, &self.reading) {
            (Ending::Finished, _) => false,
            (Ending::Draining { .. }, _) => true,
            (Ending::NotYet, _) if self.stop == Stop::Now => false,
            (Ending::NotYet, Reading::Head(scanner)) => {
                scanner.begun() || (self.input.is_empty() && !self.is_full(config))
            }
            (Ending::NotYet, Reading::Body { .. }) => true,
            (Ending::NotYet, Reading::Over) => false,
        }
    }

    /// The memory that the connection holds beyond its own size, except a remembered head, which is short.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity() + self.pipeline.memory_bytes()
    }

    /// When [`Connection::on_deadline`] must be called. Every other call may change it.
    #[must_use]
    pub fn deadline(&self, config: &Config) -> Option<Micros> {
        if self.is_finished() {
            return None;
        }
        let deadlines = [
            self.read_deadline(config),
            self.send_deadline(config),
            self.drain_deadline(config),
            self.release_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Acts on the deadlines that have passed, if any.
    pub fn on_deadline(&mut self, turn: Turn<'_>) {
        let passed = |deadline: Option<Micros>| deadline.is_some_and(|deadline| deadline <= turn.now);
        if passed(self.drain_deadline(turn.config)) || passed(self.send_deadline(turn.config)) {
            self.ending = Ending::Finished;
            return;
        }
        if passed(self.read_deadline(turn.config)) {
            match &self.reading {
                // RFC 9112 §9.5: a quiet connection may be closed at any time, without an answer.
                Reading::Head(scanner) if !scanner.begun() => self.reading = Reading::Over,
                Reading::Head(_) | Reading::Body { .. } => {
                    self.refuse_what_is_read(turn, Refusal::RequestTimeout)
                }
                Reading::Over => {}
            }
        }
        self.release_idle_buffers(turn.now);
    }

    /// Frees the buffers if the connection has been quiet for a while. The client does not notice, so this
    /// part of [`Connection::on_deadline`] may be done without first reading what has arrived.
    pub fn release_idle_buffers(&mut self, now: Micros) {
        if self.release_deadline().is_some_and(|deadline| deadline <= now) {
            self.input = InputBuffer::default();
            self.pipeline = Pipeline::default();
            self.output = Vec::new();
            self.remembered = None;
        }
    }

    /// Whether to shut the write side of the socket now. True once: when the last answer has been sent.
    /// Reading goes on for a while after that, because closing a socket with unread input resets the
    /// connection, and the reset can overtake the answer (RFC 9112 §9.6).
    pub fn poll_shutdown_write(&mut self, now: Micros) -> bool {
        let due = self.ending == Ending::NotYet && !self.input_ended && self.is_all_said();
        if due {
            self.ending = Ending::Draining { discarded_bytes: 0 };
            self.read_since = now;
        }
        due
    }

    /// Whether to close the socket now.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.ending == Ending::Finished || (self.input_ended && self.is_all_said())
    }

    /// The server is about to stop: the answer after which no request waits is the last, and says that the
    /// connection closes. A client that has no request waiting is not affected yet: a request in transit is
    /// still answered.
    pub fn close_when_answered(&mut self) {
        if self.stop == Stop::NotYet {
            self.stop = Stop::WhenAnswered;
        }
    }

    /// The server stops: nothing more is read. Requests that have been read are answered, an incomplete one
    /// is refused, and then the connection closes.
    pub fn wind_down(&mut self, turn: Turn<'_>) {
        self.stop = Stop::Now;
        self.conclude_input(turn);
    }
}
