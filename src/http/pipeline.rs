//! The requests of one connection that wait for their answers, in the order of their arrival (RFC 9112
//! §9.3.2).

use std::collections::VecDeque;
use std::num::NonZeroU64;

use super::refusal::{Allow, Refusal};
use super::request::{Page, Request, ResponseForm};

/// A request that has been read completely and has no answer yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unanswered {
    /// What it asks for, and who answers it.
    pub(super) by: AnsweredBy,
    /// How to answer it.
    pub(super) form: ResponseForm,
}

/// What a request asks for, by who answers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AnsweredBy {
    /// The server answers it.
    Server(ForServer),
    /// The connection answers it by itself.
    Connection(OwnAnswer),
    /// The server has no room for it: it is refused when its turn comes. `query_bytes` is the length of the
    /// query kept for it, if there is one.
    Shed { query_bytes: Option<usize> },
}

/// A request to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ForServer {
    /// This many IDs. The query of the request, if there is one, is kept in the [`Pipeline`] for a redirect.
    Ids { count: NonZeroU64, query_bytes: Option<usize> },
    /// A page.
    Page(Page),
}

/// An answer that does not need the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OwnAnswer {
    Refused(Refusal),
    Options(Allow),
}

/// What the connection can send without the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// The answer to a request.
    Answer(OwnAnswer, ResponseForm),
    /// `100 Continue`, for a request whose body is yet to come.
    Continue,
}

/// An element of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pending {
    Request(Unanswered),
    Continue,
}

/// The queue of waiting requests.
#[derive(Clone, Default, Debug)]
pub(super) struct Pipeline {
    queue: VecDeque<Pending>,
    /// How many elements at the front have been offered to the server.
    offered: usize,
    queries: Queries,
}

impl Pipeline {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The total length of the queries kept for redirects.
    pub(super) fn query_bytes(&self) -> usize {
        self.queries.bytes.len() - self.queries.start
    }

    pub(super) fn push(&mut self, request: Unanswered) {
        self.queue.push_back(Pending::Request(request));
    }

    /// The request whose body comes next waits for `100 Continue`, which is due once everything before it is
    /// answered.
    pub(super) fn push_continue(&mut self) {
        self.queue.push_back(Pending::Continue);
    }

    /// The body that `100 Continue` would ask for cannot come any more, or is not read any more.
    pub(super) fn withdraw_continue(&mut self) {
        if self.awaits_continue() {
            self.queue.pop_back();
            self.offered = self.offered.min(self.queue.len());
        }
    }

    /// Keeps a query for a request that is about to be pushed. Its length belongs in [`ForServer::Ids`].
    pub(super) fn keep_query(&mut self, query: Option<&[u8]>) -> Option<usize> {
        query.map(|query| {
            self.queries.push(query);
            query.len()
        })
    }

    /// The next request that the server must answer.
    pub(super) fn poll(&mut self) -> Option<Request> {
        if self.offered > 0 && matches!(self.front_for_server(), Some((ForServer::Page(_), _))) {
            return None;
        }
        while let Some(pending) = self.queue.get(self.offered) {
            match for_server(pending) {
                Some((ForServer::Ids { count, .. }, _)) => {
                    self.offered += 1;
                    return Some(Request::TakeIds { count });
                }
                Some((ForServer::Page(page), _)) => {
                    if self.offered > 0 {
                        return None;
                    }
                    self.offered = 1;
                    return Some(Request::Page(page));
                }
                None => self.offered += 1,
            }
        }
        None
    }

    /// The server has no room for the last request for IDs that it was given: it will not answer it.
    ///
    /// # Panics
    /// If the last request given to the server was not one for IDs.
    pub(super) fn shed(&mut self) {
        let last = self.offered.checked_sub(1).and_then(|at| self.queue.get_mut(at));
        match last {
            Some(Pending::Request(Unanswered { by, .. })) => match *by {
                AnsweredBy::Server(ForServer::Ids { query_bytes, .. }) => {
                    *by = AnsweredBy::Shed { query_bytes }
                }
                AnsweredBy::Server(ForServer::Page(_))
                | AnsweredBy::Connection(_)
                | AnsweredBy::Shed { .. } => {
                    panic!("{by:?} is not the server's to refuse")
                }
            },
            Some(Pending::Continue) | None => panic!("the server was given no request"),
        }
    }

    /// How many requests the server has been given and has not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.queue.iter().take(self.offered).filter(|pending| for_server(pending).is_some()).count()
    }

    /// Whether a `100 Continue` waits for its turn.
    pub(super) fn awaits_continue(&self) -> bool {
        self.queue.back() == Some(&Pending::Continue)
    }

    /// Removes the oldest request if it has been given to the server, which must answer it.
    pub(super) fn pop_for_server(&mut self) -> Option<(ForServer, ResponseForm)> {
        let oldest = if self.offered > 0 { self.front_for_server() } else { None };
        if oldest.is_some() {
            self.queue.pop_front();
            self.offered -= 1;
        }
        oldest
    }

    /// Removes the oldest element if the connection itself answers it.
    pub(super) fn pop_due(&mut self) -> Option<Due> {
        let due = match *self.queue.front()? {
            Pending::Request(Unanswered { by: AnsweredBy::Server(_), .. }) => return None,
            Pending::Request(Unanswered { by: AnsweredBy::Connection(answer), form }) => {
                Due::Answer(answer, form)
            }
            Pending::Request(Unanswered { by: AnsweredBy::Shed { query_bytes }, form }) => {
                self.drop_query(query_bytes.unwrap_or(0));
                Due::Answer(OwnAnswer::Refused(Refusal::Overloaded), form)
            }
            Pending::Continue => Due::Continue,
        };
        self.queue.pop_front();
        self.offered = self.offered.saturating_sub(1);
        Some(due)
    }

    /// The oldest query, which has this length.
    pub(super) fn query(&self, bytes: usize) -> &[u8] {
        &self.queries.bytes[self.queries.start..self.queries.start + bytes]
    }

    /// Drops the oldest query, which has this length.
    pub(super) fn drop_query(&mut self, bytes: usize) {
        self.queries.start += bytes;
    }

    fn front_for_server(&self) -> Option<(ForServer, ResponseForm)> {
        self.queue.front().and_then(for_server)
    }

    /// How much memory it holds that could be freed.
    pub(super) fn memory_bytes(&self) -> usize {
        self.queue.capacity() * size_of::<Pending>() + self.queries.bytes.capacity()
    }
}

fn for_server(pending: &Pending) -> Option<(ForServer, ResponseForm)> {
    match *pending {
        Pending::Request(Unanswered { by: AnsweredBy::Server(asked), form }) => Some((asked, form)),
        Pending::Request(Unanswered { by: AnsweredBy::Connection(_) | AnsweredBy::Shed { .. }, .. })
        | Pending::Continue => None,
    }
}

/// Queries, stored one after the other, so that keeping one allocates nothing in the steady state.
#[derive(Clone, Default, Debug)]
struct Queries {
    bytes: Vec<u8>,
    start: usize,
}

impl Queries {
    fn push(&mut self, query: &[u8]) {
        if self.start > self.bytes.len() / 2 || self.start == self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(query);
    }
}
