//! How a link comes up, and what happens when it breaks: find the address, connect, say Hello, be welcomed.
//!
//! A link that breaks is dialled again at once. Where every address then refuses, the process at the other
//! end is most likely gone, and the node is told: that is what makes failover quick.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::Interest;
use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

use super::context::Context;
use super::handshake::is_removed;
use super::limits::{CONNECT_US_MAX, HANDSHAKE_US_MAX, LINK_SETTLED_US, LINK_SILENCE_US_MAX};
use super::links::{LinkState, Links};
use super::sockets::{ReadOutcome, read};
use super::token::Source;
use crate::node::Input;
use crate::peer::{self, Decoder, Frame, Hello, PROTOCOL_VERSION, Refuse};

/// What the addresses tried so far say of the process at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Listener {
    /// None that was tried did anything but refuse the connection (ECONNREFUSED): nobody listens there.
    Absent,
    /// Nothing: one failed in another way.
    Unknown,
}

impl Links {
    /// Does what the time has come for.
    pub(super) fn on_time(&mut self, ctx: &mut Context) {
        for key in 0..self.links.capacity() {
            let Some(link) = self.links.get(key) else { continue };
            match link.state {
                LinkState::Waiting { until } if until <= ctx.now() => self.dial(ctx, key),
                LinkState::Connecting { until, .. } if until <= ctx.now() => {
                    self.on_connect_failed(ctx, key, &timed_out("connecting"));
                }
                LinkState::Greeting { until, .. } if until <= ctx.now() => {
                    self.on_dial_failed(ctx, key, &timed_out("the handshake"), Listener::Unknown);
                }
                LinkState::Waiting { .. }
                | LinkState::Resolving { .. }
                | LinkState::Connecting { .. }
                | LinkState::Greeting { .. }
                | LinkState::Up { .. } => {}
            }
        }
    }

    /// The resolver has answered.
    pub(super) fn on_resolved(&mut self, ctx: &mut Context) {
        while let Some(resolved) = self.resolver.poll() {
            let waiting = self.links.iter().find(|(_, link)| {
                matches!(link.state, LinkState::Resolving { question } if question == resolved.question)
            });
            // The link may have gone since it asked.
            let Some((key, _)) = waiting else { continue };
            match resolved.addresses {
                Ok(addresses) => self.connect(ctx, key, addresses, Listener::Absent),
                Err(error) => self.on_dial_failed(ctx, key, &error, Listener::Unknown),
            }
        }
    }

    /// The socket of a link in `Connecting` has something to say.
    pub(super) fn on_connect_event(&mut self, ctx: &mut Context, key: usize) {
        let LinkState::Connecting { stream, .. } = &self.links[key].state else { return };
        let error = match stream.take_error() {
            Ok(None) => match stream.peer_addr() {
                Ok(_) => return self.greet(ctx, key),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                Err(error) => error,
            },
            Ok(Some(error)) | Err(error) => error,
        };
        self.on_connect_failed(ctx, key, &error);
    }

    /// The socket of a link in `Greeting` has something to say.
    pub(super) fn read_greeting(&mut self, ctx: &mut Context, key: usize) {
        let mut buffer = [0; 512];
        // Each pass takes what the last left, until the answer is whole: its rest may be there without
        // another event.
        while let LinkState::Greeting { stream, decoder, .. } = &mut self.links[key].state {
            let mut input: &[u8] = match read(stream, &mut buffer) {
                ReadOutcome::Bytes(n) => &buffer[..n],
                ReadOutcome::NotNow => return,
                ReadOutcome::End => {
                    return self.on_dial_failed(ctx, key, &"closed in the handshake", Listener::Unknown);
                }
                ReadOutcome::Broken(error) => {
                    return self.on_dial_failed(ctx, key, &error, Listener::Unknown);
                }
            };
            match decoder.next_frame(&mut input) {
                Ok(None) => {}
                Ok(Some(frame)) => return self.on_greeted(ctx, key, &frame),
                Err(error) => {
                    ctx.counters.count_bad_frame(error.label());
                    return self.on_dial_failed(ctx, key, &error, Listener::Unknown);
                }
            }
        }
    }

    /// A link that was up is so no more.
    pub(super) fn on_broken(&mut self, ctx: &mut Context, key: usize, reason: &dyn Display) {
        let now = ctx.now();
        let link = &mut self.links[key];
        ctx.counters.links_broken += 1;
        if !ctx.membership.contains(link.peer) {
            // Whoever has left closes its connections: that it left has been said.
            log::debug!("the link to node {}, which is no member, broke: {reason}", link.peer);
        } else if let Some(left_out) = link.flaps.admit(now) {
            log::info!("the link to node {} broke: {reason}{left_out}", link.peer);
        }
        link.broke = true;
        // It has been said that it is down: nothing more is said until it is up.
        link.missed = true;
        link.output.clear();
        // One that breaks as soon as it is up, time and again, is not dialled in a loop.
        if matches!(link.state, LinkState::Up { since, .. } if now.since(since) >= LINK_SETTLED_US) {
            link.backoff.reset();
        }
        link.state = LinkState::Waiting { until: now.plus(link.backoff.next_delay_us()) };
    }

    /// An attempt has failed: the next comes after a while.
    pub(super) fn on_dial_failed(
        &mut self,
        ctx: &mut Context,
        key: usize,
        reason: &dyn Display,
        listener: Listener,
    ) {
        let link = &mut self.links[key];
        ctx.counters.dials_failed += 1;
        if link.missed {
            log::debug!("node {} at {}: {reason}", link.peer, link.address());
        } else {
            link.missed = true;
            log::info!("node {} at {} cannot be reached, trying on: {reason}", link.peer, link.address());
        }
        if listener == Listener::Absent && link.broke {
            ctx.step(Input::PeerUnreachable(link.peer.id));
        }
        self.retry_later(ctx, key);
    }

    /// Waits before the next attempt, and then tries the other address, if there is one.
    fn retry_later(&mut self, ctx: &Context, key: usize) {
        let link = &mut self.links[key];
        link.output.clear();
        link.state = LinkState::Waiting { until: ctx.now().plus(link.backoff.next_delay_us()) };
        link.tries_announced = !link.tries_announced;
    }

    /// Begins an attempt.
    fn dial(&mut self, ctx: &mut Context, key: usize) {
        ctx.counters.dials += 1;
        let link = &mut self.links[key];
        log::debug!("dialling node {} at {}", link.peer, link.address());
        match link.address().parse::<SocketAddr>() {
            Ok(address) => self.connect(ctx, key, vec![address], Listener::Absent),
            Err(_) => {
                let question = self.resolver.ask(link.address());
                link.state = LinkState::Resolving { question };
            }
        }
    }

    /// Tries the addresses in turn. `listener` is what those tried before say.
    fn connect(&mut self, ctx: &mut Context, key: usize, addresses: Vec<SocketAddr>, mut listener: Listener) {
        let mut rest = addresses;
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        while !rest.is_empty() {
            match begin_connect(ctx, key, rest.remove(0)) {
                Ok(stream) => {
                    let until = ctx.now().plus(CONNECT_US_MAX);
                    self.links[key].state = LinkState::Connecting { stream, until, rest, listener };
                    return;
                }
                Err(error) => {
                    listener = still_absent(listener, &error);
                    failure = error;
                }
            }
        }
        self.on_dial_failed(ctx, key, &failure, listener);
    }

    /// One address has failed: on to the next.
    fn on_connect_failed(&mut self, ctx: &mut Context, key: usize, error: &io::Error) {
        let link = &mut self.links[key];
        let LinkState::Connecting { rest, listener, .. } = &mut link.state else { return };
        let listener = still_absent(*listener, error);
        let rest = std::mem::take(rest);
        if rest.is_empty() {
            self.on_dial_failed(ctx, key, error, listener);
        } else {
            self.connect(ctx, key, rest, listener);
        }
    }

    /// The connection stands: says Hello.
    fn greet(&mut self, ctx: &mut Context, key: usize) {
        let link = &mut self.links[key];
        let until = ctx.now().plus(HANDSHAKE_US_MAX);
        let waiting = LinkState::Waiting { until };
        let LinkState::Connecting { stream, .. } = std::mem::replace(&mut link.state, waiting) else {
            return;
        };
        configure(&stream);
        let hello = Hello {
            cluster: ctx.me.cluster,
            from: ctx.me.peer,
            to: link.peer,
            // It joined by a committed entry, even where it has forgotten since how much is committed: nobody
            // who knows less than that may think that it was removed.
            commit_index: ctx.node.commit_index().max(ctx.me.joined_at),
            peer_address: ctx.me.peer_address.clone(),
            client_address: ctx.me.client_address.clone(),
        };
        link.output.clear();
        peer::encode(&Frame::Hello(hello), link.output.tail());
        link.state = LinkState::Greeting { stream, decoder: Box::new(Decoder::new()), until };
        self.flush_one(ctx, key);
    }

    /// The other side has answered the Hello.
    fn on_greeted(&mut self, ctx: &mut Context, key: usize, answer: &Frame) {
        match answer {
            Frame::Welcome(_) => self.on_welcome(ctx, key),
            Frame::Refuse(refuse) => self.on_refuse(ctx, key, *refuse),
            Frame::Hello(_)
            | Frame::Raft(_)
            | Frame::Forward(_)
            | Frame::Bequest(_)
            | Frame::AdminRequest(_)
            | Frame::AdminResponse(_) => {
                ctx.counters.count_bad_frame("unexpected");
                self.on_dial_failed(ctx, key, &"it answered what no node answers", Listener::Unknown);
            }
        }
    }

    fn on_welcome(&mut self, ctx: &Context, key: usize) {
        let link = &mut self.links[key];
        let waiting = LinkState::Waiting { until: ctx.now() };
        let LinkState::Greeting { stream, .. } = std::mem::replace(&mut link.state, waiting) else { return };
        link.state = LinkState::Up { stream, since: ctx.now() };
        link.broke = false;
        link.missed = false;
        link.refusal = None;
        if let Some(left_out) = link.flaps.admit(ctx.now()) {
            log::info!("the link to node {} at {} is up{left_out}", link.peer, link.address());
        }
    }

    fn on_refuse(&mut self, ctx: &mut Context, key: usize, refuse: Refuse) {
        let link = &mut self.links[key];
        let (id, address) = (link.peer.id, link.address().to_owned());
        let reason = match refuse {
            Refuse::Removed { commit_index } => {
                if is_removed(commit_index, ctx.node.commit_index(), ctx.me.joined_at) {
                    self.removed_by = Some((id, commit_index));
                }
                // Else it has not heard of this node yet: that passes, and is nothing to worry anybody with.
                log::debug!("node {id} at {address} does not know this node (yet)");
                return self.retry_later(ctx, key);
            }
            Refuse::Version { ours } => {
                format!("it speaks version {ours} of the peer protocol, this node version {PROTOCOL_VERSION}")
            }
            Refuse::WrongCluster => "it belongs to another cluster".to_owned(),
            Refuse::NotMe { me } if me.id == id => "its store is not the one that is a member".to_owned(),
            Refuse::NotMe { me } => format!("node {me} listens there"),
        };
        if link.refusal != Some(refuse) {
            link.refusal = Some(refuse);
            link.missed = true;
            log::warn!("node {id} at {address} refuses this node, trying on: {reason}");
        }
        self.on_dial_failed(ctx, key, &reason, Listener::Unknown);
    }
}

/// Starts to connect; the registry will tell how it ends.
fn begin_connect(ctx: &Context, key: usize, address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    ctx.registry.register(&mut stream, Source::Link(key).token(), interest)?;
    Ok(stream)
}

/// Nothing is held back to be sent together, and a machine that has vanished is noticed: by whoever dialled,
/// and by whoever accepted.
pub(super) fn configure(stream: &TcpStream) {
    let silence = Duration::from_micros(LINK_SILENCE_US_MAX);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(silence / 2).with_interval(silence / 4);
    let outcome = stream.set_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive));
    #[cfg(target_os = "linux")]
    let outcome = outcome.and_then(|()| socket.set_tcp_user_timeout(Some(silence)));
    if let Err(error) = outcome {
        // It works without, only less well.
        log::debug!("an option of a connection to a peer could not be set: {error}");
    }
}

/// What the addresses tried before and one that has failed say together.
fn still_absent(before: Listener, error: &io::Error) -> Listener {
    let this =
        if error.kind() == io::ErrorKind::ConnectionRefused { Listener::Absent } else { Listener::Unknown };
    if before == Listener::Absent { this } else { Listener::Unknown }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_counts_as_gone_only_where_each_of_its_addresses_refused() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let unreachable = io::Error::from(io::ErrorKind::HostUnreachable);
        assert_eq!(still_absent(Listener::Absent, &refused), Listener::Absent);
        assert_eq!(still_absent(Listener::Absent, &unreachable), Listener::Unknown);
        assert_eq!(still_absent(Listener::Unknown, &refused), Listener::Unknown);
    }
}
