//! HTTP/1.1 and 1.0 to the letter (RFC 9110, RFC 9112), for one connection at a time.
//!
//! Floor 3. A pure state machine: bytes in, requests out, answers in, bytes out. It uses httparse and the
//! time type of raft-core; it has no sockets, and time is only a number. It must never know who answers, what
//! a leader is, or how many connections there are.
//!
//! ```text
//! connection.receive(turn, bytes)
//! while let Some(request) = connection.poll_request(config) { ... connection.answer(turn, reply) ... }
//! write connection.output(), then connection.sent(turn, n), then connection.resume(turn)
//! poll_request again, and write again if resume has brought output
//! if connection.poll_shutdown_write(now) { shut the write side }
//! if connection.is_finished() { drop the socket }
//! sleep until connection.deadline(config), then connection.on_deadline(turn)
//! ```
//!
//! Every decision depends on the bytes alone, never on how they were cut into packets: each rule is decided
//! at one specific byte (the end of the request line, the end of the head, the first byte that breaks a
//! rule). Answers are sent in the order of the requests. A request whose apparent end cannot be trusted is
//! answered with an error, after which nothing more is read from that connection as a request.

mod accept;
mod body;
mod chunked;
mod config;
mod connection;
mod date;
mod fields;
mod grammar;
mod head;
mod pipeline;
mod refusal;
mod request;
mod response;
mod status;
mod target;

pub use config::{Config, Serves, Turn};
pub use connection::Connection;
pub use date::HttpDate;
pub use request::{Page, Request};
pub use response::Reply;
pub use status::{Handler, Tally};
