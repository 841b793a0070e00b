//! From answers to bytes. Answers leave in the order of the requests (RFC 9112 §9.3.2).

use raft_core::Micros;

use super::{Connection, Reading, Stop};
use crate::http::config::Turn;
use crate::http::pipeline::{Due, ForServer, OwnAnswer};
use crate::http::refusal::Refusal;
use crate::http::request::{Persistence, ResponseForm};
use crate::http::response::{Reply, Writer, write_continue};
use crate::http::status::{Handler, Status};

impl Connection {
    /// Writes the server's reply to a request.
    pub(super) fn write_reply(
        &mut self,
        turn: Turn<'_>,
        asked: ForServer,
        form: ResponseForm,
        reply: Reply<'_>,
    ) {
        self.stop_reading_if_idle();
        let form = self.answer_form(form);
        let handler = match asked {
            ForServer::Ids { .. } => Handler::Ids,
            ForServer::Page(_) => Handler::Pages,
        };
        let writer = Writer { turn, form, handler, out: &mut self.output };
        match (asked, reply) {
            (ForServer::Ids { count, .. }, Reply::Ids { first, count: given }) => {
                assert_eq!(given, count, "as many IDs as were asked for");
                writer.ids(first, given);
            }
            (ForServer::Ids { query_bytes, .. }, Reply::Redirect { authority }) => {
                writer.redirect(authority, query_bytes.map(|bytes| self.pipeline.query(bytes)));
            }
            (ForServer::Ids { .. }, Reply::LeaderUnavailable) => writer.leader_unavailable(),
            (ForServer::Ids { .. }, Reply::TimedOut) => writer.refusal(Refusal::TimedOut),
            (ForServer::Ids { .. }, Reply::Overloaded) => writer.refusal(Refusal::Overloaded),
            (ForServer::Ids { .. }, Reply::Exhausted) => writer.refusal(Refusal::Exhausted),
            (ForServer::Page(_), Reply::Page { ok, content_type, body }) => {
                let status = if ok { Status::Ok } else { Status::ServiceUnavailable };
                writer.page(status, content_type, body);
            }
            (ForServer::Ids { .. }, Reply::Page { .. })
            | (
                ForServer::Page(_),
                Reply::Ids { .. }
                | Reply::Redirect { .. }
                | Reply::LeaderUnavailable
                | Reply::TimedOut
                | Reply::Overloaded
                | Reply::Exhausted,
            ) => panic!("{reply:?} is no answer to {asked:?}"),
        }
        if let ForServer::Ids { query_bytes: Some(bytes), .. } = asked {
            self.pipeline.drop_query(bytes);
        }
    }

    /// Answers every request that the connection can answer by itself and that waits for no earlier one.
    pub(super) fn answer_own(&mut self, turn: Turn<'_>) {
        while let Some(due) = self.pipeline.pop_due() {
            match due {
                Due::Answer(answer, form) => {
                    self.stop_reading_if_idle();
                    let form = self.answer_form(form);
                    let handler = Handler::Protocol;
                    let writer = Writer { turn, form, handler, out: &mut self.output };
                    match answer {
                        OwnAnswer::Refused(refusal) => writer.refusal(refusal),
                        OwnAnswer::Options(allow) => writer.options(allow),
                    }
                }
                Due::Continue => {
                    write_continue(&mut self.output);
                    self.read_since = turn.now;
                }
            }
        }
        self.note_due(turn.now);
    }

    /// Starts the time that the client has to read the waiting output, unless it is running. Output added
    /// meanwhile is due later.
    pub(super) fn note_due(&mut self, now: Micros) {
        if self.due_bytes == 0 && !self.output.is_empty() {
            self.due_bytes = self.output.len();
            self.send_since = now;
        }
    }

    /// Whether everything that there will ever be to say has been sent.
    pub(super) fn is_all_said(&self) -> bool {
        matches!(self.reading, Reading::Over) && self.pipeline.is_empty() && self.output.is_empty()
    }

    /// A connection that is to stop reads no further once nothing that was asked on it is left.
    fn stop_reading_if_idle(&mut self) {
        let none_waits = self.awaits_head() && self.input.is_empty() && self.pipeline.is_empty();
        if self.stop == Stop::WhenAnswered && none_waits {
            self.reading = Reading::Over;
        }
    }

    /// The form of the answer to the request that has just left the queue: `close` if it is already known
    /// that no other request follows.
    fn answer_form(&self, form: ResponseForm) -> ResponseForm {
        match self.reading {
            Reading::Over if self.pipeline.is_empty() => {
                ResponseForm { persistence: Persistence::Close, ..form }
            }
            Reading::Over | Reading::Head(_) | Reading::Body { .. } => form,
        }
    }
}
