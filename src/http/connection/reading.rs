//! From bytes to queued requests. Every decision depends on the bytes alone, never on how they arrive in
//! pieces.

use super::input_buffer::InputBuffer;
use super::{Admission, Connection, Reading, Stop};
use crate::http::body::Body;
use crate::http::config::{Config, REMEMBERED_BYTES_MAX, Turn};
use crate::http::head::{HeadScanner, Progress, RequestLine};
use crate::http::pipeline::{AnsweredBy, ForServer, OwnAnswer, Unanswered};
use crate::http::refusal::Refusal;
use crate::http::request::{self, Fatal, Head, Persistence, ResponseForm, Route};

/// A plain request for IDs, byte for byte. Programs send the same request again and again, and the meaning of
/// a head depends only on its bytes: input that begins with these bytes, a complete head, means the same.
#[derive(Clone, Debug)]
pub(super) struct CachedHead {
    head: Vec<u8>,
    request: Unanswered,
}

impl Connection {
    /// Parses as much as there is and as the limits allow; returns how many bytes that is.
    pub(super) fn understand(&mut self, turn: Turn<'_>, bytes: &[u8]) -> usize {
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

    /// Parses what the limits held back, as far as they now allow.
    pub(super) fn understand_held(&mut self, turn: Turn<'_>) {
        let mut held = std::mem::take(&mut self.input);
        let understood = self.understand(turn, held.as_bytes());
        held.consume(understood);
        self.input = held;
        self.conclude_input(turn);
    }

    /// If the input has ended, draws the conclusion once everything before the end has been parsed.
    pub(super) fn conclude_input(&mut self, turn: Turn<'_>) {
        let refusal = if self.input_ended {
            Refusal::Malformed("The request ends before it is complete")
        } else if self.stop == Stop::Now {
            Refusal::Stopping
        } else {
            return;
        };
        match &self.reading {
            Reading::Head(scanner) if !scanner.begun() => {
                if self.input.is_empty() {
                    self.reading = Reading::Over;
                }
            }
            Reading::Head(_) | Reading::Body { .. } => self.refuse_what_is_read(turn, refusal),
            Reading::Over => {}
        }
    }

    /// Refuses the request that has been read in part, and ignores everything after it.
    pub(super) fn refuse_what_is_read(&mut self, turn: Turn<'_>, refusal: Refusal) {
        self.pipeline.withdraw_continue();
        let fatal = match self.reading {
            Reading::Head(_) | Reading::Over => Fatal::in_head(refusal, self.input.as_bytes()),
            Reading::Body { then: Unanswered { form, .. }, .. } => {
                Fatal { refusal, form: ResponseForm { persistence: Persistence::Close, ..form } }
            }
        };
        self.refuse(turn, fatal);
    }

    pub(super) fn refuse(&mut self, turn: Turn<'_>, Fatal { refusal, form }: Fatal) {
        // Nothing is kept any more of what the client sends.
        self.input = InputBuffer::default();
        self.reading = Reading::Over;
        self.pipeline.push(Unanswered { by: AnsweredBy::Connection(OwnAnswer::Refused(refusal)), form });
        self.answer_own(turn);
    }

    /// Whether the next byte begins a request.
    pub(super) fn awaits_head(&self) -> bool {
        matches!(&self.reading, Reading::Head(scanner) if !scanner.begun())
    }

    /// Whether the limits forbid reading another request.
    pub(super) fn is_full(&self, config: &Config) -> bool {
        self.pipeline.len() >= config.pipeline_max
            || self.pipeline.query_bytes() >= config.target_bytes_max
            || self.output.len() >= config.output_bytes_max
    }

    /// Parses one head at the front of `rest`; `None` if it is not complete.
    fn understand_head(&mut self, turn: Turn<'_>, mut scanner: HeadScanner, rest: &[u8]) -> Option<usize> {
        if !scanner.begun() {
            if let Some(remembered) = &self.remembered
                && rest.starts_with(&remembered.head)
            {
                let (bytes, request) = (remembered.head.len(), remembered.request);
                self.request_read(request);
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
        let Head { route, form, body, awaits_continue } = match request::parse(turn.config, line, bytes) {
            Ok(head) => head,
            Err(fatal) => return self.refuse(turn, fatal),
        };
        if self.admission == Admission::TurnedAway {
            let form = ResponseForm { persistence: Persistence::Close, ..form };
            return self.refuse(turn, Fatal { refusal: Refusal::TooManyConnections, form });
        }
        let by = match route {
            Route::TakeIds { count, query } => {
                AnsweredBy::Server(ForServer::Ids { count, query_bytes: self.pipeline.keep_query(query) })
            }
            Route::Page(page) => AnsweredBy::Server(ForServer::Page(page)),
            Route::Options(allow) => AnsweredBy::Connection(OwnAnswer::Options(allow)),
            Route::Refused(refusal) => AnsweredBy::Connection(OwnAnswer::Refused(refusal)),
        };
        let request = Unanswered { by, form };
        if awaits_continue {
            self.pipeline.push_continue();
        }
        match body {
            Some(body) => {
                self.read_since = turn.now;
                self.reading = Reading::Body { body, then: request };
            }
            None => {
                self.remember(bytes, request);
                self.request_read(request);
            }
        }
    }

    fn understand_body(&mut self, turn: Turn<'_>, mut body: Body, then: Unanswered, rest: &[u8]) -> usize {
        match body.advance(turn.config.body_bytes_max, rest) {
            Ok(Some(bytes)) => {
                self.request_read(then);
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

    /// A request has been read completely.
    fn request_read(&mut self, request: Unanswered) {
        self.reading = match request.form.persistence {
            // RFC 9112 §9.6: whatever follows is not a request.
            Persistence::Close => Reading::Over,
            Persistence::Keep | Persistence::KeepAndSaySo => Reading::Head(HeadScanner::default()),
        };
        self.pipeline.push(request);
    }

    /// Remembers a request if it is one for IDs and consists of nothing but its head.
    fn remember(&mut self, head: &[u8], request: Unanswered) {
        let is_plain = match request.by {
            AnsweredBy::Server(ForServer::Ids { query_bytes, .. }) => query_bytes.is_none(),
            AnsweredBy::Server(ForServer::Page(_)) | AnsweredBy::Connection(_) | AnsweredBy::Shed { .. } => {
                false
            }
        };
        if is_plain && head.len() <= REMEMBERED_BYTES_MAX && request.form.persistence != Persistence::Close {
            let remembered =
                self.remembered.get_or_insert_with(|| Box::new(CachedHead { head: Vec::new(), request }));
            remembered.head.clear();
            remembered.head.extend_from_slice(head);
            remembered.request = request;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use raft_core::Micros;

    use super::*;
    use crate::http::{HttpDate, Request, Tally};

    /// The requests that a connection returns for this input, and whether it then remembers one.
    fn read(connection: &mut Connection, input: &str) -> (Vec<Request>, bool) {
        let config = Config::default();
        let date = HttpDate::from_unix(0);
        let turn = Turn { config: &config, now: Micros(0), date: &date, tally: &Tally::default() };
        connection.receive(turn, input.as_bytes());
        let requests = std::iter::from_fn(|| connection.poll_request(&config)).collect();
        (requests, connection.remembered.is_some())
    }

    #[test]
    fn only_a_short_request_for_one_id_without_a_body_that_lets_the_connection_go_on_is_remembered() {
        let long = "x".repeat(REMEMBERED_BYTES_MAX);
        for (start, fields, remembered) in [
            ("POST / HTTP/1.1", "Accept: */*", true),
            ("POST / HTTP/1.1", "Content-Length: 0", true),
            ("POST / HTTP/1.0", "Connection: keep-alive", true),
            ("POST / HTTP/1.1", "Connection: close", false),
            ("POST / HTTP/1.1", "Content-Length: 1", false),
            ("POST / HTTP/1.1", "Transfer-Encoding: chunked", false),
            ("POST / HTTP/1.1", &format!("X: {long}"), false),
            ("POST /? HTTP/1.1", "Accept: */*", false),
            ("POST /?n=2 HTTP/1.1", "Accept: */*", false),
            ("GET /healthz HTTP/1.1", "Accept: */*", false),
            ("GET / HTTP/1.1", "Accept: */*", false),
        ] {
            let mut connection = Connection::new(Micros(0));
            let (_, found) = read(&mut connection, &format!("{start}\r\nHost: a\r\n{fields}\r\n\r\n"));
            assert_eq!(found, remembered, "{start}, {fields}");
        }
    }

    #[test]
    fn a_request_is_recognised_by_all_its_bytes_and_by_nothing_less() {
        let request = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";
        let take = |count| Request::TakeIds { count: NonZeroU64::new(count).unwrap() };
        let mut connection = Connection::new(Micros(0));
        assert_eq!(read(&mut connection, request), (vec![take(1)], true));
        // Change the remembered meaning: if the new one shows, the remembered head was really used.
        let count = NonZeroU64::new(9).unwrap();
        let remembered = connection.remembered.as_mut().unwrap();
        remembered.request.by = AnsweredBy::Server(ForServer::Ids { count, query_bytes: None });
        assert_eq!(read(&mut connection, request).0, [take(9)]);
        assert_eq!(read(&mut connection, &request[..20]).0, []);
        assert_eq!(read(&mut connection, &request[20..]).0, [take(1)]);
        assert_eq!(read(&mut connection, &request.replace("Host: a", "Host: b")).0, [take(1)]);
    }
}
