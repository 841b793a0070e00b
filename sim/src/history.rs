//! What clients asked for and what they were answered.
//!
//! A request begins when a node takes it in and ends when the answer leaves the node. For its client it
//! begins earlier and ends later, so an order that holds here holds for clients.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::{Micros, Peer, Term};
use ticketd::node::{Answer, RequestId};

use crate::oracle::{Oracle, Reserved};
use crate::plan::Plan;
use crate::schedule::Life;
use crate::violated;

/// All requests and answers.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Any node answers, from ranges that the leader gave it: then the node that reserved IDs is not the one
    /// that answers.
    forwarding: bool,
    /// An ID must be larger than all that were given before it was asked for.
    ordered: bool,
    requests: Vec<Request>,
    /// The largest ID handed out.
    largest: u64,
    /// The IDs handed out, as ranges that do not touch: start and end.
    given: BTreeMap<u64, u64>,
    terms: BTreeMap<Term, OfTerm>,
    pub(crate) answered_with_ids: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) client: u16,
    /// The process that took it in ...
    pub(crate) life: Life,
    /// ... and its node.
    peer: Peer,
    /// When it was taken in; for people who read a failure.
    #[expect(dead_code, reason = "it is read where a request is printed")]
    at: Micros,
    count: u64,
    /// It must get IDs larger than this.
    floor: u64,
    /// The term of the node that took it in.
    term: Term,
    pub(crate) answered: bool,
}

/// What happened to the IDs that one leader reserved.
#[derive(Clone, Copy, Debug, Default)]
struct OfTerm {
    /// The end of the last range handed out.
    next: Option<u64>,
    given: u64,
    /// How many IDs were asked for by requests that got none.
    disappointed: u64,
}

impl History {
    pub(crate) fn new(plan: &Plan) -> History {
        History { forwarding: plan.forward, ordered: plan.orders_ids(), ..History::default() }
    }

    /// A node takes a request in.
    pub(crate) fn begin(
        &mut self,
        client: u16,
        (life, peer): (Life, Peer),
        at: Micros,
        count: u64,
        term: Term,
    ) -> RequestId {
        let id = RequestId(u64::try_from(self.requests.len()).expect("a length fits 64 bits"));
        let floor = self.largest;
        self.requests.push(Request { client, life, peer, at, count, floor, term, answered: false });
        self.of(term).disappointed += count;
        id
    }

    /// The request with this id.
    pub(crate) fn request(&self, id: RequestId) -> Request {
        usize::try_from(id.0).ok().and_then(|at| self.requests.get(at).copied()).unwrap_or_else(|| {
            violated!("an answer to request {id:?}, which nobody sent");
        })
    }

    /// An answer leaves a node. Returns the request that it ends.
    pub(crate) fn end(&mut self, id: RequestId, from: Life, answer: Answer, oracle: &Oracle) -> Request {
        let request = self.request(id);
        if request.answered || request.life != from {
            violated!("{answer:?} from {from:?} is a second answer to {request:?}");
        }
        self.requests[usize::try_from(id.0).expect("it was just found")].answered = true;
        match answer {
            Answer::Ids { first, count } => {
                if count.get() != request.count {
                    violated!("{} IDs for {request:?}", count.get());
                }
                self.on_ids(request, first, oracle);
            }
            Answer::Exhausted => {
                if u64::MAX - oracle.next() >= request.count {
                    violated!("exhausted at {}, {} were asked for", oracle.next(), request.count);
                }
            }
            Answer::NotLeader { leader } => {
                if leader == Some(request.peer.id) {
                    violated!("{request:?} is sent back to the node that it was sent to");
                }
            }
            Answer::TimedOut | Answer::Overloaded => {}
        }
        request
    }

    /// Requests that have not been answered.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|r| !r.answered)
    }

    /// Every ID that was skipped must have a reason: at most one window for each leader and each of its
    /// hand-overs, and the IDs meant for requests that never got them (README.rst, *What is not promised*).
    pub(crate) fn check_gaps(&self, oracle: &Oracle, window: u64) {
        if self.forwarding {
            // IDs meant for another node are lost with the message that asked for them.
            return;
        }
        let mut reserved: BTreeMap<Term, u64> = BTreeMap::new();
        for r in &oracle.reserved {
            *reserved.entry(r.term).or_default() += r.end - r.start;
        }
        let is_led: BTreeSet<Term> = reserved.keys().copied().collect();
        for (term, reserved) in reserved {
            let OfTerm { given, disappointed, .. } = self.terms.get(&term).copied().unwrap_or_default();
            let gap = reserved - given;
            // A request may have been taken in before its node learned that it leads: in the last term that
            // somebody led, or in one after that in which nobody was elected.
            let mut before = 0;
            for (earlier, OfTerm { disappointed, .. }) in self.terms.range(..term).rev() {
                before += disappointed;
                if is_led.contains(earlier) {
                    break;
                }
            }
            // A hand-over that fails may cost the IDs that were left to the other node and those that were
            // kept.
            let windows = u64::try_from(1 + oracle.bequests_in(term)).expect("there are few");
            let allowed = window.saturating_mul(windows).saturating_add(disappointed).saturating_add(before);
            if gap > allowed {
                violated!(
                    "term {term} reserved {reserved} and gave {given}: a gap of {gap}, {allowed} are allowed"
                );
            }
        }
    }

    fn of(&mut self, term: Term) -> &mut OfTerm {
        self.terms.entry(term).or_default()
    }

    fn on_ids(&mut self, request: Request, first: u64, oracle: &Oracle) {
        let end = first + request.count;
        if first == 0 || (self.ordered && first <= request.floor) {
            violated!("{request:?} was given {first}, after {} had been given", request.floor);
        }
        self.largest = self.largest.max(end - 1);
        self.answered_with_ids += 1;
        self.give(first, end);
        let parts = oracle.parts(first, end);
        if !self.forwarding {
            parts.into_iter().for_each(|part| self.on_part(request, part, oracle));
        }
    }

    /// IDs of one reservation: the node that hands them out must have reserved them, or they must have been
    /// left to it; and it must hand out those that it has in order.
    fn on_part(&mut self, request: Request, part: Reserved, oracle: &Oracle) {
        let holder = (request.peer, request.life.epoch);
        let Some(&term) = oracle.terms_of_holder(part, holder).first() else {
            violated!("{request:?} was given {part:?} by {holder:?}, who does not have it");
        };
        let count = part.end - part.start;
        self.of(part.term).given += count;
        let of_term = self.of(term);
        if let Some(next) = of_term.next.replace(part.end).filter(|next| *next != part.start) {
            // The IDs between were left to another node, or are the rest of what this leader kept.
            let divides = |term| oracle.bequests_in(term) > 0;
            let divided = divides(term) || term.0.checked_sub(1).is_some_and(|before| divides(Term(before)));
            if !divided || part.start < next {
                violated!("{request:?} was given {part:?} in term {term}, next was {next}");
            }
        }
        if term == request.term {
            of_term.disappointed -= count;
        }
    }

    /// No ID is handed out twice.
    fn give(&mut self, first: u64, end: u64) {
        let before = self.given.range(..=first).next_back().map(|(start, end)| (*start, *end));
        let after = self.given.range(first..).next().map(|(start, _)| *start);
        if before.is_some_and(|(_, before)| before > first) || after.is_some_and(|after| after < end) {
            violated!("IDs {first} up to {} were handed out twice", end - 1);
        }
        match before {
            Some((start, before)) if before == first => self.given.insert(start, end),
            Some(_) | None => self.given.insert(first, end),
        };
    }
}
