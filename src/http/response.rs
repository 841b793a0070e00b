//! Writes answers. Each is appended to a buffer as a whole; its length is known before its first byte is
//! written.

use std::num::NonZeroU64;

use super::accept::Format;
use super::config::Turn;
use super::refusal::{Allow, Refusal};
use super::request::{Content, Persistence, ResponseForm};
use super::status::{Handler, Status};
use crate::redirect_status::RedirectStatus;

/// The server's answer to a [`Request`](super::Request).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply<'a> {
    /// The IDs from `first` on.
    Ids {
        /// The first ID.
        first: u64,
        /// How many: exactly as many as requested.
        count: NonZeroU64,
    },
    /// Another node leads.
    Redirect {
        /// The leader's `host:port` for clients.
        authority: &'a str,
    },
    /// No leader is known.
    LeaderUnavailable,
    /// There was no answer in time.
    TimedOut,
    /// Too many requests are waiting already.
    Overloaded,
    /// There are not enough IDs left.
    Exhausted,
    /// A page.
    Page {
        /// Whether the page reports success: the status is 200 if so, and 503 if not.
        ok: bool,
        /// Its media type.
        content_type: &'a str,
        /// Its content.
        body: &'a [u8],
    },
}

/// Appends an answer to a buffer.
pub(super) struct Writer<'a> {
    pub(super) turn: Turn<'a>,
    pub(super) form: ResponseForm,
    /// What the answer is counted as.
    pub(super) handler: Handler,
    pub(super) out: &'a mut Vec<u8>,
}

/// The interim answer that makes a client send its body (RFC 9110 §15.2.1).
pub(super) fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

impl Writer<'_> {
    pub(super) fn ids(mut self, first: u64, count: NonZeroU64) {
        let last = first.checked_add(count.get() - 1).expect("the counter hands out nothing above 2^64-1");
        let (mut first_digits, mut last_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let first = first_digits.format(first).as_bytes();
        self.start(Status::Ok);
        match (self.form.ids, count.get()) {
            (Format::Text, 1) => self.content("text/plain", &[first]),
            (Format::Json, 1) => self.content("application/json", &[b"{\"id\":", first, b"}"]),
            (Format::Text, _) => {
                self.content("text/plain", &[first, b" ", last_digits.format(last).as_bytes()]);
            }
            (Format::Json, _) => {
                let last = last_digits.format(last).as_bytes();
                self.content("application/json", &[b"{\"first\":", first, b",\"last\":", last, b"}"]);
            }
        }
    }

    /// Redirects the client to the root path of another authority, with the same query.
    pub(super) fn redirect(mut self, authority: &str, query: Option<&[u8]>) {
        self.start(match self.turn.config.redirect_status {
            RedirectStatus::MovedPermanently => Status::MovedPermanently,
            RedirectStatus::TemporaryRedirect => Status::TemporaryRedirect,
            RedirectStatus::PermanentRedirect => Status::PermanentRedirect,
        });
        self.put(&[b"Location: http://", authority.as_bytes(), b"/"]);
        if let Some(query) = query {
            self.put(&[b"?", query]);
        }
        self.put(&[b"\r\nContent-Length: 0\r\n\r\n"]);
    }

    pub(super) fn leader_unavailable(mut self) {
        self.start(Status::LeaderUnavailable);
        self.put(&[b"Retry-After: 1\r\nContent-Length: 0\r\n\r\n"]);
    }

    pub(super) fn page(mut self, status: Status, content_type: &str, body: &[u8]) {
        self.start(status);
        self.content(content_type, &[body]);
    }

    /// The methods of a resource (RFC 9110 §9.3.7).
    pub(super) fn options(mut self, allow: Allow) {
        self.start(Status::Ok);
        self.allow(allow);
        self.put(&[b"Content-Length: 0\r\n\r\n"]);
    }

    pub(super) fn refusal(mut self, refusal: Refusal) {
        let status = refusal.status();
        self.start(status);
        if let Some(allow) = refusal.allow() {
            self.allow(allow);
        }
        if refusal.is_temporary() {
            self.put(&[b"Retry-After: 1\r\n"]);
        }
        let batch_max = self.turn.config.batch_max;
        let with_bound;
        let detail = match refusal.detail() {
            Some(detail) => detail,
            None => {
                with_bound = format!("The parameter n must be given once, as a number from 1 to {batch_max}");
                &with_bound
            }
        };
        match self.form.problems {
            Format::Text => self.content("text/plain", &[detail.as_bytes(), b"\n"]),
            // RFC 9457. The type about:blank says that the title is the reason phrase.
            Format::Json => {
                self.content(
                    "application/problem+json",
                    &[
                        b"{\"type\":\"about:blank\",\"title\":\"",
                        status.reason().as_bytes(),
                        b"\",\"status\":",
                        status.code().as_bytes(),
                        b",\"detail\":\"",
                        detail.as_bytes(),
                        b"\"}",
                    ],
                );
            }
        }
    }

    /// The status line and the fields that every answer has. No answer may be cached: an ID is for one
    /// client, a leader is only temporary, and an error may be over the next moment.
    fn start(&mut self, status: Status) {
        self.turn.tally.note(self.handler, status);
        let (config, date) = (self.turn.config, self.turn.date);
        self.put(&[b"HTTP/1.1 ", status.line().as_bytes(), b"\r\nServer: ", config.server.as_bytes()]);
        self.put(&[b"\r\nDate: ", date.as_bytes(), b"\r\nCache-Control: no-store\r\n"]);
        self.put(&[match self.form.persistence {
            Persistence::Keep => b"".as_slice(),
            Persistence::KeepAndSaySo => b"Connection: keep-alive\r\n",
            Persistence::Close => b"Connection: close\r\n",
        }]);
    }

    fn allow(&mut self, allow: Allow) {
        self.put(&[b"Allow: ", allow.methods().as_bytes(), b"\r\n"]);
    }

    fn content(&mut self, content_type: &str, parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut digits = itoa::Buffer::new();
        let length = digits.format(length).as_bytes();
        self.put(&[b"Content-Type: ", content_type.as_bytes(), b"\r\nContent-Length: ", length, b"\r\n\r\n"]);
        match self.form.content {
            Content::Sent => self.put(parts),
            Content::Withheld => {}
        }
    }

    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }
}
