//! The requests of one connection that wait for their answers, in the order in which they came (RFC 9112 §9.3.2).

use std::collections::VecDeque;
use std::num::NonZeroU64;

use super::refusal::{Allow, Refusal};
use super::request::{Manner, Persistence};

/// What only the server can answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// A client wants so many consecutive IDs.
    TakeIds {
        /// How many.
        count: NonZeroU64,
    },
    /// A client wants to see a page. It is the oldest request without an answer, and no other is handed out
    /// until it has one, so it can be answered on the spot.
    Page(Page),
}

/// A page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    /// `/healthz`: whether the process is alive.
    Health,
    /// `/readyz`: whether this node can serve now.
    Ready {
        /// `/readyz?leader`: whether it leads.
        leader: bool,
    },
    /// `/status`: what `ticketd status --json` prints.
    Status,
    /// `/metrics`: what Prometheus reads.
    Metrics,
}

/// A request that has been read to its end, or an interim answer that is due in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pending {
    /// The server answers.
    Ids { count: NonZeroU64, query_bytes: Option<usize>, manner: Manner },
    /// The server answers.
    Page { page: Page, manner: Manner },
    /// The connection answers.
    Own { answer: OwnAnswer, manner: Manner },
    /// The connection sends `100 Continue`.
    Continue,
}

/// An answer that needs no server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OwnAnswer {
    Refused(Refusal),
    Options(Allow),
}

/// The queue of them.
#[derive(Clone, Default, Debug)]
pub(super) struct Pipeline {
    queue: VecDeque<Pending>,
    /// How many at the front have been offered to the server.
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

    /// The bytes of the queries that are kept for redirects.
    pub(super) fn query_bytes(&self) -> usize {
        self.queries.bytes.len() - self.queries.start
    }

    pub(super) fn push(&mut self, pending: Pending) {
        self.queue.push_back(pending);
    }

    /// Keeps a query for a request that is about to be pushed. Its length goes into [`Pending::Ids`].
    pub(super) fn keep_query(&mut self, query: Option<&[u8]>) -> Option<usize> {
        query.map(|query| {
            self.queries.push(query);
            query.len()
        })
    }

    /// The next request that the server must answer.
    pub(super) fn poll(&mut self) -> Option<Request> {
        if let (Some(Pending::Page { .. }), 1..) = (self.queue.front(), self.offered) {
            return None;
        }
        while let Some(pending) = self.queue.get(self.offered) {
            match *pending {
                Pending::Ids { count, .. } => {
                    self.offered += 1;
                    return Some(Request::TakeIds { count });
                }
                Pending::Page { page, .. } => {
                    if self.offered > 0 {
                        return None;
                    }
                    self.offered = 1;
                    return Some(Request::Page(page));
                }
                Pending::Own { .. } | Pending::Continue => self.offered += 1,
            }
        }
        None
    }

    /// How many requests the server has been given and has not answered.
    pub(super) fn unanswered(&self) -> usize {
        let offered = self.queue.iter().take(self.offered);
        offered.filter(|pending| matches!(pending, Pending::Ids { .. } | Pending::Page { .. })).count()
    }

    /// Whether the oldest request waits for the server, which has been given it.
    pub(super) fn awaits_server(&self) -> bool {
        self.offered > 0 && matches!(self.queue.front(), Some(Pending::Ids { .. } | Pending::Page { .. }))
    }

    /// Whether a `100 Continue` waits for its turn.
    pub(super) fn awaits_continue(&self) -> bool {
        self.queue.back() == Some(&Pending::Continue)
    }

    /// Takes the oldest, if the connection itself answers it.
    pub(super) fn pop_own(&mut self) -> Option<Pending> {
        match self.queue.front() {
            Some(Pending::Own { .. } | Pending::Continue) => self.pop(),
            Some(Pending::Ids { .. } | Pending::Page { .. }) | None => None,
        }
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> Option<Pending> {
        self.offered = self.offered.saturating_sub(1);
        self.queue.pop_front()
    }

    /// The oldest query kept, which has this length.
    pub(super) fn query(&self, bytes: usize) -> &[u8] {
        &self.queries.bytes[self.queries.start..self.queries.start + bytes]
    }

    /// Forgets the oldest query kept, which has this length.
    pub(super) fn drop_query(&mut self, bytes: usize) {
        self.queries.start += bytes;
    }

    /// Whether it holds memory that could be given back.
    pub(super) fn holds_memory(&self) -> bool {
        self.queue.capacity() > 0 || self.queries.bytes.capacity() > 0
    }
}

impl Pending {
    /// Whether the connection goes on after the answer.
    pub(super) const fn persistence(&self) -> Persistence {
        match self {
            Pending::Ids { manner, .. } | Pending::Page { manner, .. } | Pending::Own { manner, .. } => {
                manner.persistence
            }
            Pending::Continue => Persistence::Keep,
        }
    }
}

/// Queries one after the other, so that keeping one allocates nothing in the steady state.
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
