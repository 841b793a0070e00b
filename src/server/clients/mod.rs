//! The clients: HTTP connections, their requests to the node, and its answers.
//!
//! A turn reads a bounded number of the clients that have sent something and hands their requests to the
//! node. After the node has produced all its output, each connection is written to once, however many answers
//! it got. How clients come in is in `accepting`.

mod accepting;
mod handle;
mod memory_use;
mod occupancy;
pub(crate) mod pages;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use mio::event::Event;
use raft_core::{Membership, Micros};
use slab::Slab;

use crate::http::{self, Page, Reply, Request, Serves};
use crate::node::{Answer, Input, RequestId};
use crate::server::context::Context;
use crate::server::limits::{
    CLIENT_INPUT_BYTES_PER_TURN_MAX, CLIENT_OUTPUT_BYTES_PER_TURN_MAX, CLIENT_READS_PER_TURN_MAX,
    PAGES_PER_TURN_MAX, READ_BYTES_MAX, SCARCE_HEAD_BYTES_MAX,
};
use crate::server::metrics::Gauges;
use crate::server::narration::log_limit::LogLimit;
use crate::server::shutdown::Grace;
use crate::server::sockets::descriptors::Allotment;
use crate::server::sockets::ports::Ports;
use crate::server::sockets::readiness::Readiness;
use crate::server::sockets::stream::Stream;
use crate::server::sockets::sweep::Sweep;
use crate::server::sockets::{Next, ReadOutcome, write};
use handle::ClientHandle;
use memory_use::MemoryUse;
use occupancy::{Occupancy, Place};
use pages::{Content, View};

/// All connections on the client ports.
#[derive(Debug)]
pub(crate) struct Clients {
    /// `None` once no more clients are accepted.
    ports: Option<Ports<Serves>>,
    /// How idle clients are treated while the server stops; `None` until then.
    grace: Option<Grace>,
    clients: Slab<Client>,
    occupancy: Occupancy,
    last_generation: u32,
    /// The clients that may have something to read, each once.
    ready: VecDeque<usize>,
    /// Which client waits for which page. A connection waits for at most one.
    pages: VecDeque<(ClientHandle, Page)>,
    /// The clients that may need a write, each once.
    touched: VecDeque<usize>,
    /// One buffer for all connections; a connection keeps only what it cannot use yet.
    buffer: Box<[u8]>,
    memory_use: MemoryUse,
    sweep: Sweep,
    /// Bound the lines that say that there is no place: all of one kind say the same, so one at a time is
    /// enough.
    refusals: LogLimit,
    page_refusals: LogLimit,
    exhaustions: LogLimit,
}

#[derive(Debug)]
struct Client {
    stream: Stream,
    http: http::Connection,
    /// What the listener it came from serves.
    serves: Serves,
    place: Place,
    /// Tells this connection from earlier ones with the same key.
    generation: u32,
    readiness: Readiness,
    /// The kernel's send buffer is full; an event follows when it has room again.
    blocked: bool,
    /// How many of its bytes are counted in `memory_use`.
    counted_bytes: usize,
    /// In `ready`.
    queued: bool,
    /// In `touched`.
    touched: bool,
    /// The connection is gone, whatever it still waits for.
    broken: bool,
    /// Its deadline has passed. That takes effect only after one more read and one more write: if the process
    /// stood still for a while, what the client did in time shows only then.
    overdue: bool,
    /// The server is stopping and has written something to this client, which gets time to read it and to
    /// close the connection itself. If the server closed the socket and it had unread input, the connection
    /// would be reset, and the reset could overtake what was written.
    lingers: bool,
}

impl Clients {
    pub(crate) fn new(ports: Ports<Serves>, allotment: &Allotment) -> Clients {
        Clients {
            ports: Some(ports),
            grace: None,
            clients: Slab::new(),
            occupancy: Occupancy::new(allotment),
            last_generation: 0,
            ready: VecDeque::new(),
            pages: VecDeque::new(),
            touched: VecDeque::new(),
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            memory_use: MemoryUse::default(),
            sweep: Sweep::default(),
            refusals: LogLimit::of(1),
            page_refusals: LogLimit::of(1),
            exhaustions: LogLimit::default(),
        }
    }

    /// There may be a connection to accept at this port.
    pub(crate) fn on_port_event(&mut self, port_index: usize) {
        if let Some(ports) = &mut self.ports {
            ports.on_event(port_index);
        }
    }

    /// A socket may have become readable or writable.
    pub(crate) fn on_event(&mut self, key: usize, event: &Event) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.broken |= event.is_error();
        if client.readiness.on_event(event) {
            self.queue(key);
        }
        if event.is_writable() && std::mem::take(&mut self.clients[key].blocked) {
            self.touch(key);
        }
    }

    /// Whether there is work left for the next turn.
    pub(crate) fn has_work(&self, now: Micros) -> bool {
        let accepts = self.ports.as_ref().is_some_and(|ports| ports.is_ready(now));
        accepts || !self.ready.is_empty() || !self.pages.is_empty() || !self.touched.is_empty()
    }

    /// When [`Clients::on_time`] or accepting has something to do.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        let ports = self.ports.as_ref().and_then(Ports::deadline);
        [self.sweep.deadline(), ports].into_iter().flatten().min()
    }

    /// How many clients are, or may be, still owed something.
    pub(crate) fn owed_count(&self) -> usize {
        let owed = |client: &Client| {
            self.grace == Some(Grace::OneMoreRequest)
                || client.lingers
                || client.queued
                || client.touched
                || client.http.unanswered() > 0
                || !client.http.output().is_empty()
        };
        self.clients.iter().filter(|(_, client)| owed(client)).count()
    }

    /// The server is stopping. Accepts the connections that are already waiting and no more, and reads from
    /// every client once more, both when the grace begins and when it is over, because a request may have
    /// arrived already. Calling it again with the same grace has no effect.
    pub(crate) fn wind_down(&mut self, ctx: &mut Context, grace: Grace) {
        if self.grace == Some(grace) {
            return;
        }
        self.accept_last(ctx);
        self.ports = None;
        self.grace = Some(grace);
        for key in 0..self.clients.capacity() {
            if let Some(client) = self.clients.get_mut(key) {
                client.readiness.assume_readable();
                self.queue(key);
            }
        }
    }

    /// Accepts waiting connections, and reads from a bounded number of the clients that have sent something.
    pub(crate) fn serve(&mut self, ctx: &mut Context, view: View<'_>) {
        self.accept(ctx);
        let received_before = ctx.counters.client_bytes_received;
        for _ in 0..self.ready.len().min(CLIENT_READS_PER_TURN_MAX) {
            if ctx.counters.client_bytes_received - received_before >= CLIENT_INPUT_BYTES_PER_TURN_MAX {
                break;
            }
            let Some(key) = self.ready.pop_front() else { break };
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.queued = false;
            if self.grace.is_some() {
                client.http.close_when_answered();
            }
            match self.read(ctx, key) {
                Next::GoOn => {
                    self.take_requests(ctx, key);
                    if self.grace == Some(Grace::Over) {
                        let client = &mut self.clients[key];
                        client.http.wind_down(ctx.http_turn(client.serves));
                    }
                    self.touch(key);
                }
                Next::Close => self.remove(key),
            }
        }
        self.answer_pages(ctx, view);
    }

    /// A page may take a millisecond to make, and a client may ask for many at once: beyond the bound, pages
    /// wait for the next turn. A client that has asked and is gone costs nobody else
    /// a place.
    fn answer_pages(&mut self, ctx: &mut Context, view: View<'_>) {
        let mut made = 0;
        while made < PAGES_PER_TURN_MAX {
            let Some((handle, page)) = self.pages.pop_front() else { break };
            let gauges = Gauges {
                clients: self.clients.len(),
                clients_max: self.occupancy.clients_max,
                peer_connections: view.peer_connections.count(),
            };
            let Some(client) = self.find(handle) else { continue };
            made += 1;
            let Content { ok, content_type, body } = pages::content(ctx, view, gauges, page);
            let turn = ctx.http_turn(client.serves);
            client.http.answer(turn, Reply::Page { ok, content_type, body: body.as_bytes() });
            self.take_requests(ctx, handle.key);
            self.touch(handle.key);
        }
    }

    /// Finds the clients whose deadline has passed, and has each read and written once more before the
    /// deadline takes effect.
    pub(crate) fn on_time(&mut self, ctx: &Context) {
        for key in self.sweep.part(ctx.now(), self.clients.capacity()) {
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.http.release_idle_buffers(ctx.now());
            self.memory_use.note(&mut client.counted_bytes, client.http.memory_bytes());
            let deadline = client.http.deadline(ctx.http.of(client.serves));
            if deadline.is_some_and(|deadline| deadline <= ctx.now()) {
                client.overdue = true;
                client.readiness.assume_readable();
                client.blocked = false;
                self.queue(key);
            } else {
                self.sweep.note(deadline);
            }
        }
    }

    /// The node has answered. If the client has disconnected meanwhile, the answer is dropped.
    pub(crate) fn on_answer(&mut self, ctx: &mut Context, request: RequestId, answer: Answer) {
        ctx.counters.count_answer(answer);
        if answer == Answer::Exhausted
            && let Some(left_out) = self.exhaustions.admit(ctx.now())
        {
            log::error!("a client asks for more IDs than are left: the last of all is 2^64-2{left_out}");
        }
        let handle = ClientHandle::of(request);
        let Some(client) = self.find(handle) else { return };
        client.http.answer(ctx.http_turn(client.serves), reply(&ctx.membership, answer));
        self.touch(handle.key);
    }

    /// Writes to the touched clients, and goes on with the requests that waited for that, as far as the
    /// bounds for one turn permit; drops those that are finished. Clients touched meanwhile wait for the next
    /// turn.
    pub(crate) fn flush(&mut self, ctx: &mut Context) {
        let sent_before = ctx.counters.client_bytes_sent;
        let (mut left_bytes, mut parsed_bytes) = (0, 0);
        for _ in 0..self.touched.len() {
            let sent_bytes = ctx.counters.client_bytes_sent - sent_before;
            if sent_bytes + left_bytes >= CLIENT_OUTPUT_BYTES_PER_TURN_MAX {
                break;
            }
            let Some(key) = self.touched.pop_front() else { break };
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.touched = false;
            if self.write_out(ctx, key) == Next::Close {
                self.remove(key);
                continue;
            }
            if parsed_bytes >= CLIENT_INPUT_BYTES_PER_TURN_MAX {
                self.touch(key);
                continue;
            }
            parsed_bytes += self.resume(ctx, key);
            match self.conclude(ctx, key) {
                // What the kernel does not take now waits for an event.
                Next::GoOn if self.clients[key].blocked => {}
                Next::GoOn => left_bytes += self.clients[key].http.output().len() as u64,
                Next::Close => self.remove(key),
            }
        }
    }

    /// `None` if that connection is gone.
    fn find(&mut self, handle: ClientHandle) -> Option<&mut Client> {
        self.clients.get_mut(handle.key).filter(|client| client.generation == handle.generation)
    }

    fn remove(&mut self, key: usize) {
        let mut client = self.clients.remove(key);
        self.memory_use.note(&mut client.counted_bytes, 0);
        self.occupancy.give_back(client.place);
    }

    fn queue(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if !client.queued {
            client.queued = true;
            self.ready.push_back(key);
        }
    }

    fn touch(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if !client.touched {
            client.touched = true;
            self.touched.push_back(key);
        }
    }

    /// Whether there may be something to read, and room for it. If there is no room because output is
    /// blocked, the check is repeated after the event that says that output is possible; if there is none
    /// because requests wait, after their answers.
    fn is_to_be_read(&self, ctx: &Context, key: usize) -> bool {
        let client = &self.clients[key];
        let has_place = !(self.memory_use.is_scarce() && (client.blocked || client.http.has_waiting()));
        has_place && client.readiness.is_readable() && client.http.wants_input(ctx.http.of(client.serves))
    }

    /// Reads once, if there may be something to read, and room for it.
    fn read(&mut self, ctx: &mut Context, key: usize) -> Next {
        if self.clients[key].broken {
            return Next::Close;
        }
        if !self.is_to_be_read(ctx, key) {
            return Next::GoOn;
        }
        let client = &mut self.clients[key];
        // What has arrived by the end of the grace is answered, and nothing is read after it.
        let is_last = self.grace == Some(Grace::Over);
        let bytes_max = if is_last { READ_BYTES_MAX } else { self.memory_use.read_bytes_max() };
        let buffer = &mut self.buffer[..bytes_max];
        match client.readiness.read(&mut client.stream, buffer) {
            ReadOutcome::Bytes(n) => {
                ctx.counters.client_bytes_received += n as u64;
                client.http.receive(ctx.http_turn(client.serves), &self.buffer[..n]);
                if self.memory_use.is_scarce() {
                    client.http.refuse_long_head(ctx.http_turn(client.serves), SCARCE_HEAD_BYTES_MAX);
                }
                Next::GoOn
            }
            ReadOutcome::NotNow => Next::GoOn,
            ReadOutcome::End => {
                client.http.end_of_input(ctx.http_turn(client.serves));
                Next::GoOn
            }
            ReadOutcome::Broken(_) => Next::Close,
        }
    }

    /// Hands requests for IDs to the node, and queues requests for pages: one page per connection at a time.
    fn take_requests(&mut self, ctx: &mut Context, key: usize) {
        let client = &mut self.clients[key];
        if self.memory_use.is_scarce() && !client.http.output().is_empty() {
            // Answers may be large, pages above all. This is repeated once the output has been written.
            return;
        }
        let handle = ClientHandle { key, generation: client.generation };
        while let Some(request) = client.http.poll_request(ctx.http.of(client.serves)) {
            match request {
                Request::TakeIds { count } => {
                    ctx.counters.requests += 1;
                    if ctx.node.has_room() {
                        ctx.step(Input::TakeIds { request: handle.request_id(), count });
                    } else {
                        // If the node refused it, the refusal would overtake answers to older requests of
                        // this connection.
                        ctx.counters.answers.overloaded += 1;
                        client.http.shed(ctx.http_turn(client.serves));
                    }
                }
                Request::Page(page) => self.pages.push_back((handle, page)),
            }
        }
    }

    /// Goes on with the requests that one client's connection held back: answers that were written make room
    /// for them. Those that it answers by itself are written in the next turn, because there may be
    /// thousands. Returns how many bytes were parsed.
    fn resume(&mut self, ctx: &mut Context, key: usize) -> u64 {
        let client = &mut self.clients[key];
        let parsed_bytes = client.http.resume(ctx.http_turn(client.serves));
        self.take_requests(ctx, key);
        parsed_bytes as u64
    }

    /// Ends one client's connection if it is time, or else sees to it that it is looked at again.
    fn conclude(&mut self, ctx: &mut Context, key: usize) -> Next {
        let client = &mut self.clients[key];
        // While the client is queued, its last read is still to come.
        if client.overdue && !client.queued {
            client.overdue = false;
            client.http.on_deadline(ctx.http_turn(client.serves));
        }
        if client.http.poll_shutdown_write(ctx.now()) && client.stream.shutdown_write().is_err() {
            return Next::Close;
        }
        if client.http.is_finished() {
            return Next::Close;
        }
        self.note_what_is_left(ctx, key);
        Next::GoOn
    }

    /// Writes as much as the kernel accepts.
    fn write_out(&mut self, ctx: &mut Context, key: usize) -> Next {
        let client = &mut self.clients[key];
        while !client.blocked && !client.http.output().is_empty() {
            match write(&mut client.stream, client.http.output()) {
                Ok(Some(n)) => {
                    client.lingers |= self.grace.is_some();
                    ctx.counters.client_bytes_sent += n as u64;
                    client.http.sent(ctx.http_turn(client.serves), n);
                }
                Ok(None) => client.blocked = true,
                Err(_) => return Next::Close,
            }
        }
        Next::GoOn
    }

    /// Makes sure that the connection's memory is counted and that its deadline, output and input are looked
    /// at again.
    fn note_what_is_left(&mut self, ctx: &Context, key: usize) {
        let client = &mut self.clients[key];
        self.memory_use.note(&mut client.counted_bytes, client.http.memory_bytes());
        self.sweep.note(client.http.deadline(ctx.http.of(client.serves)));
        if !client.blocked && !client.http.output().is_empty() {
            self.touch(key);
        }
        if self.is_to_be_read(ctx, key) {
            self.queue(key);
        }
    }
}

fn reply(membership: &Membership, answer: Answer) -> Reply<'_> {
    match answer {
        Answer::Ids { first, count } => Reply::Ids { first, count },
        Answer::NotLeader { leader } => match leader.and_then(|leader| membership.members.get(&leader)) {
            Some(leader) => Reply::Redirect { authority: &leader.client_address },
            None => Reply::LeaderUnavailable,
        },
        Answer::TimedOut => Reply::TimedOut,
        Answer::Overloaded => Reply::Overloaded,
        Answer::Exhausted => Reply::Exhausted,
    }
}
