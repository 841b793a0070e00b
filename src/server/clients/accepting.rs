//! How clients come in: each gets a place, or is told that there is none.

use raft_core::Micros;

use super::occupancy::{Occupancy, Place};
use super::{Client, Clients};
use crate::http::{self, Serves};
use crate::server::context::Context;
use crate::server::limits::{ACCEPTS_PER_TURN_MAX, SCARCE_READ_BYTES_MAX};
use crate::server::sockets::ports::Ports;
use crate::server::sockets::readiness::Readiness;
use crate::server::sockets::stream::Stream;
use crate::server::sockets::{ReadOutcome, write};
use crate::server::token::Source;

impl Clients {
    /// Accepts a bounded number of the connections that are waiting.
    pub(super) fn accept(&mut self, ctx: &mut Context) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            if !self.accept_one(ctx) {
                return;
            }
        }
    }

    /// Accepts every connection that is waiting by now, as far as there may be a place for it.
    pub(super) fn accept_last(&mut self, ctx: &mut Context) {
        self.ports.iter_mut().for_each(Ports::assume_all_ready);
        for _ in 0..self.occupancy.places() {
            if !self.accept_one(ctx) {
                return;
            }
        }
    }

    /// Returns false if no connection is waiting.
    fn accept_one(&mut self, ctx: &mut Context) -> bool {
        let accepted = self.ports.as_mut().and_then(|ports| ports.accept(ctx.now()));
        let Some((stream, serves)) = accepted else { return false };
        let place = self.occupancy.place_for(serves);
        if !matches!(place, Some(Place::Client | Place::Page)) {
            self.say_that_it_is_full(ctx.now(), serves);
        }
        match place {
            Some(place) => self.admit(ctx, stream, serves, place),
            None => refuse(ctx, stream, serves),
        }
        true
    }

    fn say_that_it_is_full(&mut self, now: Micros, serves: Serves) {
        let limit = match serves {
            Serves::Everything | Serves::IdsOnly => &mut self.refusals,
            Serves::PagesOnly => &mut self.page_refusals,
        };
        let Some(left_out) = limit.admit(now) else { return };
        let Occupancy { clients_max, pages_max, .. } = self.occupancy;
        match serves {
            Serves::Everything | Serves::IdsOnly => log::warn!(
                "a client was refused: {clients_max} are connected, the most that --http_connections and the \
                 limit of open files permit: raise the lower of the two, or let idle connections end \
                 sooner{left_out}"
            ),
            Serves::PagesOnly => log::warn!(
                "a connection to --metrics_port was refused: {pages_max} are open, the most there may be: \
                 close what is not needed{left_out}"
            ),
        }
    }

    pub(super) fn admit(&mut self, ctx: &mut Context, mut stream: Stream, serves: Serves, place: Place) {
        let entry = self.clients.vacant_entry();
        let key = entry.key();
        let interest = Readiness::interest();
        if let Err(error) = ctx.registry.register(&mut stream, Source::Client(key).token(), interest) {
            ctx.counters.clients_refused += 1;
            log::debug!("a client was not registered: {error}");
            return;
        }
        stream.set_nodelay();
        self.last_generation = self.last_generation.wrapping_add(1);
        let http = match place {
            Place::Client | Place::Page => {
                ctx.counters.clients_accepted += 1;
                http::Connection::new(ctx.now())
            }
            Place::Refused => {
                ctx.counters.clients_refused += 1;
                http::Connection::refused(ctx.now())
            }
        };
        self.occupancy.take(place);
        self.sweep.note(http.deadline(ctx.http.of(serves)));
        entry.insert(Client {
            stream,
            http,
            serves,
            place,
            generation: self.last_generation,
            readiness: Readiness::default(),
            blocked: false,
            counted_bytes: 0,
            queued: false,
            touched: false,
            broken: false,
            overdue: false,
            lingers: false,
        });
    }
}

/// Tells a client that there is no room, with a single write, and closes the connection. What has arrived by
/// now is read first: closing a socket that has unread bytes resets the connection.
fn refuse(ctx: &mut Context, mut stream: Stream, serves: Serves) {
    ctx.counters.clients_refused += 1;
    let mut refusal = http::Connection::refused(ctx.now());
    let turn = ctx.http_turn(serves);
    let mut buffer = [0; SCARCE_READ_BYTES_MAX];
    if let ReadOutcome::Bytes(n) = Readiness::default().read(&mut stream, &mut buffer) {
        refusal.receive(turn, &buffer[..n]);
    }
    if refusal.output().is_empty() {
        refusal.refuse_at_once(turn);
    }
    let _ = write(&mut stream, refusal.output());
}
