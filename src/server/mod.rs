//! Floor 4: the event loop, the only place where sockets, timers and the node meet. It owns the poll.
//!
//! It may use everything below: the node, and of the ways out of the process `http`, `peer` and `storage`.
//! How the log gets out is not its concern. It must never know about the command line, how a store is
//! created, or what happens to a store whose node was removed from its cluster.
//!
//! One turn: wait for events; read from peers; handle deadlines; learn which writes have become durable; take
//! a bounded number of clients' requests; tell the node that it has all the input of this turn; carry out its
//! output; write to peers, then to clients. So a flood of clients cannot delay an election, and one round of
//! Raft serves all requests of a turn.

mod clients;
mod clock;
mod closing;
mod config;
mod context;
mod counters;
mod limits;
mod metrics;
mod narration;
mod operations;
mod outputs;
mod peers;
mod shutdown;
mod sockets;
mod status;
mod stop_requests;
#[cfg(test)]
mod testing;
mod token;
mod upkeep;

pub use config::{ClientListener, ClientSocket, ServerConfig, ServerError};
pub use shutdown::Exit;
pub use sockets::descriptors::require_descriptors;
pub use stop_requests::{EXIT_STATUS_INTERRUPTED, StopRequests, has_lost_its_reader, hold_stop_signals};

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Waker};
use raft_core::{Micros, Term, Write};

use crate::codec::is_address;
use crate::identity::Standing;
use crate::node::{Input, Node};
use crate::storage::{Completion, Listening, Restart, StorageThread, Store, StoreError};
use clients::Clients;
use clients::pages::View;
use context::{Context, Me};
use limits::{EVENTS_PER_TURN_MAX, ROLE_LINES_AT_ONCE_MAX, UPKEEP_INTERVAL_US, UPKEEP_LEEWAY_US};
use narration::log_limit::LogLimit;
use narration::state_log::StateLog;
use operations::Operations;
use peers::connections::PeerConnections;
use peers::links::Links;
use peers::links::resolver::look_up;
use shutdown::{HandOver, Shutdown};
use sockets::descriptors::{Allotment, allot_descriptors};
use sockets::listeners;
use stop_requests::{PolledStopRequests, SecondSignal};
use token::Source;
use upkeep::Watch;

/// A listening node with its store and its identity in the cluster.
#[derive(Debug)]
pub struct Server {
    poll: Poll,
    stop: PolledStopRequests,
    second_signal: SecondSignal,
    storage: StorageThread,
    ctx: Context,
    clients: Clients,
    links: Links,
    peer_connections: PeerConnections,
    allotment: Allotment,
    operations: Operations,
    shutdown: Shutdown,
    /// Whether this node has known a leader, itself or another, since it was started.
    has_followed: bool,
    /// The last term in which this node led.
    led_in: Term,
    watch: Watch,
    upkeep_at: Micros,
    /// Another thread, or the disk's queue, has something for the loop.
    woken: bool,
    /// The writes of this turn.
    writes: Vec<Write>,
    /// The lines that say which role this node has.
    roles: StateLog,
    dropped: LogLimit,
}

impl Server {
    /// Makes the node from its store, and listens: once this returns, connections are not refused, though
    /// none is answered before [`Server::run`].
    ///
    /// # Errors
    /// The store cannot be used here, or the operating system refuses a descriptor or a thread.
    pub fn new(config: ServerConfig, mut store: Store) -> Result<Server, ServerError> {
        let me = checked_identity(&config, &store)?;
        let node = Node::new(config.node, Micros(0), store.recovered())
            .map_err(|error| ServerError::State { path: store.path().to_owned(), error })?;
        let poll = Poll::new().map_err(ServerError::io("making a poll"))?;
        let registry = poll.registry().try_clone().map_err(ServerError::io("sharing the poll"))?;
        let waker =
            Waker::new(&registry, Source::Waker.token()).map_err(ServerError::io("making a waker"))?;
        let waker = Arc::new(waker);
        let listening = listeners::addresses(&config)?;
        let further = listeners::further_addresses(&config)?;
        let (stop, second_signal) =
            config.stop.register(&registry).map_err(ServerError::io("watching for signals"))?;
        let peer_ports = listeners::open_for_peers(&registry, config.peer_listeners)?;
        let client_ports = listeners::open_for_clients(&registry, config.client_listeners)?;
        let links = Links::new(Arc::clone(&waker), look_up);
        let allotment = allot_descriptors(config.client_connections_max)?;
        store.publish(&listening).map_err(ServerError::Store)?;
        let storage = StorageThread::spawn(store, move || {
            if let Err(error) = waker.wake() {
                log::error!("the storage thread could not wake the loop: {error}");
            }
        })
        .map_err(ServerError::io("starting the storage thread"))?;
        let Listening { peer_address, client_address, incarnation: _ } = listening;
        log::info!("listening peers={peer_address} clients={client_address} id={}", me.peer.id);
        for line in further {
            log::info!("{line}");
        }
        let ctx = Context::new(registry, node, me, config.http, config.log_lines_left_out);
        let mut server = Server {
            poll,
            stop,
            second_signal,
            storage,
            ctx,
            clients: Clients::new(client_ports, &allotment),
            links,
            peer_connections: PeerConnections::new(peer_ports, allotment.peers),
            allotment,
            operations: Operations::default(),
            shutdown: Shutdown::Serving,
            has_followed: false,
            led_in: Term(0),
            watch: Watch::default(),
            upkeep_at: Micros(0),
            woken: false,
            writes: Vec::new(),
            roles: StateLog::limited_by(LogLimit::of(ROLE_LINES_AT_ONCE_MAX)),
            dropped: LogLimit::default(),
        };
        server.reconcile_links();
        server.warn_of_many_members(0);
        Ok(server)
    }

    /// Serves until it is asked to stop or removed from the cluster, then closes the store.
    ///
    /// # Errors
    /// The poll fails, or a write failed, either before or while the store is being closed.
    pub fn run(mut self) -> Result<Exit, ServerError> {
        self.second_signal.disarm();
        let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
        let exit = loop {
            self.turn(&mut events)?;
            if let Some(exit) = self.shutdown.exit() {
                break exit;
            }
        };
        self.second_signal.arm(&self.stop);
        // A client or peer that connects while the store is being closed is refused, not kept waiting.
        let Server { storage, clients, peer_connections, links, ctx, .. } = self;
        drop((clients, peer_connections, links));
        let failure = ctx.failure.map(ServerError::Store);
        match exit {
            Exit::Stopped => {
                let closed = closing::close(storage).map_err(ServerError::Store);
                failure.map_or(closed, Err)?;
            }
            Exit::Removed | Exit::RemovedBefore => {
                closing::close(storage).map_err(|error| failure.unwrap_or(ServerError::Store(error)))?;
            }
            // The disk may block the storage thread, which is not waited for.
            Exit::Interrupted => std::mem::forget(storage),
        }
        Ok(exit)
    }

    fn turn(&mut self, events: &mut Events) -> Result<(), ServerError> {
        let timeout = self.timeout();
        match self.poll.poll(events, Some(timeout)) {
            Ok(()) => {}
            // A signal came. It has been written to `stop` as a byte, and the events of this poll will come
            // again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            Err(source) => return Err(ServerError::Io { doing: "waiting for events", source }),
        }
        self.ctx.clock.tick();
        self.note_pause(timeout);
        self.ctx.counters.turns += 1;
        self.on_events(events);
        let operations = &mut self.operations;
        self.peer_connections.serve(
            &mut self.ctx,
            &mut self.links,
            &mut |ctx, links, connection, request| operations.begin(ctx, links, connection, request),
        );
        self.links.serve(&mut self.ctx);
        self.on_time();
        self.on_woken();
        self.ctx.stopping = self.shutdown != Shutdown::Serving;
        let view =
            View { links: &self.links, peer_connections: &self.peer_connections, storage: &self.storage };
        self.clients.serve(&mut self.ctx, view);
        // A turn may have taken a while: that must not make any answer later than promised.
        self.ctx.tick();
        self.ctx.wake();
        self.carry_out();
        self.links.flush(&mut self.ctx);
        self.peer_connections.flush(&mut self.ctx);
        self.clients.flush(&mut self.ctx);
        self.note_removal();
        self.advance_shutdown();
        Ok(())
    }

    /// How long the loop may sleep.
    fn timeout(&mut self) -> Duration {
        let now = self.ctx.now();
        if self.woken
            || self.ctx.has_work()
            || self.links.has_work()
            || self.peer_connections.has_work(now)
            || self.clients.has_work(now)
        {
            return Duration::ZERO;
        }
        // Sending what this turn had to say may have taken a while: that must not put off what is due.
        self.ctx.tick();
        let deadlines = [
            self.ctx.node.deadline(),
            self.links.deadline(self.ctx.silence_from),
            self.peer_connections.deadline(),
            self.clients.deadline(),
            self.shutdown.deadline(),
        ];
        let next = deadlines.into_iter().flatten().fold(self.upkeep_at, Micros::min);
        Duration::from_micros(next.since(self.ctx.now()))
    }

    /// Notes which sockets have events.
    fn on_events(&mut self, events: &Events) {
        for event in events {
            match Source::of(event.token()) {
                Some(Source::PeerPort(port_index)) => self.peer_connections.on_port_event(port_index),
                Some(Source::ClientPort(port_index)) => self.clients.on_port_event(port_index),
                Some(Source::Waker) => self.woken = true,
                Some(Source::Stop) => self.on_stop_requests(),
                Some(Source::Link(key)) => self.links.on_event(&mut self.ctx, key, event),
                Some(Source::PeerConnection(key)) => self.peer_connections.on_event(key, event),
                Some(Source::Client(key)) => self.clients.on_event(key, event),
                None => {}
            }
        }
    }

    fn on_time(&mut self) {
        self.links.on_time(&mut self.ctx);
        self.peer_connections.on_time(&mut self.ctx);
        self.clients.on_time(&self.ctx);
        if self.upkeep_at <= self.ctx.now().plus(UPKEEP_LEEWAY_US) {
            self.upkeep_at = self.ctx.now().plus(UPKEEP_INTERVAL_US);
            self.upkeep();
        }
    }

    /// Handles what other threads have done.
    fn on_woken(&mut self) {
        if !std::mem::take(&mut self.woken) {
            return;
        }
        self.links.on_resolved(&mut self.ctx);
        while let Some(completion) = self.storage.poll() {
            match completion {
                Completion::Durable { through } => self.ctx.step(Input::WritesDurable { through }),
                Completion::Failed(error) => {
                    self.fail(&error);
                    self.ctx.step(Input::WriteFailed);
                }
            }
        }
    }

    fn fail(&mut self, error: &StoreError) {
        if !self.ctx.note_failure(error) {
            return;
        }
        let until = match error.restart() {
            Restart::MayHelp => " until it is restarted",
            Restart::CannotHelp => "",
        };
        log::error!("this node takes no further part{until}: {error}");
        // Another process may have the true store: the members look for it once they have lost this one.
        self.peer_connections.close_unwelcome(&self.ctx);
        self.reconcile_links();
    }

    /// Keeps a link to each other member and to each connected peer.
    fn reconcile_links(&mut self) {
        self.links.reconcile(&self.ctx, |peer| self.peer_connections.is_connected(peer));
    }

    /// Warns if there are more members than before and the limit of open files is too low for as many.
    fn warn_of_many_members(&self, before: usize) {
        let members = self.ctx.membership.members.len();
        if let Some(line) = self.allotment.too_many_members_line(members).filter(|_| members > before) {
            log::warn!("{line}");
        }
    }

    fn on_stop_requests(&mut self) {
        for (request, signal) in self.stop.poll() {
            let hand_over = if self.ctx.leads() && self.ctx.others_vote() {
                HandOver::Needed
            } else {
                HandOver::NotNeeded
            };
            let now = self.ctx.now();
            let timeout_us = self.ctx.node.election_timeout_us();
            let hands_over = self.shutdown.on_stop_request(request, now, hand_over, timeout_us);
            log::info!("{}", narration::stop_line(signal, self.shutdown));
            if hands_over {
                self.operations.hand_over(&mut self.ctx, &self.links);
            }
        }
    }

    /// Begins to stop if a member has said that this node was removed.
    fn note_removal(&mut self) {
        if let Some((id, index)) = self.links.removed_by.take() {
            self.on_removed(&format!("node {id}, which knows the log up to {index}, says so"));
        }
    }

    /// While this server is stopping: lets clients go, and ends when nothing is owed to any of them.
    fn advance_shutdown(&mut self) {
        if self.shutdown == Shutdown::Serving {
            return;
        }
        self.shutdown.on_time(self.ctx.now());
        if let Some(grace) = self.shutdown.grace() {
            self.clients.wind_down(&mut self.ctx, grace);
        }
        self.shutdown.on_turn(self.ctx.now(), self.clients.owed_count());
    }
}

/// Checks that the configuration and the store belong to the same node, and that the node is a member of a
/// cluster.
fn checked_identity(config: &ServerConfig, store: &Store) -> Result<Me, ServerError> {
    let identity = store.identity();
    let Standing::Member { cluster, joined_at } = identity.standing else {
        return Err(ServerError::NotAMember);
    };
    let (given, stored) = (config.node.raft.me, identity.me);
    assert_eq!(given, stored, "a server is given the configuration of another node than its store's");
    for address in [&config.peer_address, &config.client_address] {
        if !is_address(address) {
            return Err(ServerError::BadAddress { address: address.clone() });
        }
    }
    Ok(Me {
        peer: stored,
        cluster,
        joined_at,
        peer_address: config.peer_address.clone(),
        client_address: config.client_address.clone(),
        settings: config.settings.clone(),
    })
}
