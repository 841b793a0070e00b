//! How a link comes up, and what happens when it breaks: find the address, connect, send a Hello, get a
//! Welcome.
//!
//! A link that breaks is dialled again at once. If the connection is then refused, the process at the other
//! end is most likely gone, and the node is told so: that makes failover fast.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;
use mio::net::TcpStream;
use socket2::SockRef;

use super::attempt::{Attempt, PeerProcess};
use super::resolver::Resolved;
use super::{Link, LinkState, Links, Reached, answer_deadline};
use crate::node::Input;
use crate::peer::{Frame, Hello, PROTOCOL_VERSION, Refuse};
use crate::server::context::Context;
use crate::server::counters::Counters;
use crate::server::limits::{CONNECT_US_MAX, HANDSHAKE_US_MAX, LINK_SETTLED_US, LINK_SILENCE_US_MAX};
use crate::server::peers::channel::{Channel, INCOMPLETE};
use crate::server::peers::handshake::is_removed;
use crate::server::sockets::readiness::Readiness;
use crate::server::sockets::stream::Stream;
use crate::server::token::Source;

impl Links {
    /// Handles every link whose time has come.
    pub(crate) fn on_time(&mut self, ctx: &mut Context) {
        for key in 0..self.links.capacity() {
            let Some(link) = self.links.get_mut(key) else { continue };
            if link.attempt().is_some_and(|attempt| attempt.take_absence(ctx.now())) && link.may_be_gone() {
                ctx.step(Input::PeerUnreachable(link.peer));
            }
            match &link.state {
                LinkState::Waiting { until } if *until <= ctx.now() => self.dial(ctx, key),
                LinkState::Resolving { attempt }
                    if attempt.resolving_until().is_none_or(|until| until <= ctx.now()) =>
                {
                    self.on_unresolved(ctx, key, &timed_out("resolving its name"));
                }
                LinkState::Connecting { until, .. } if *until <= ctx.now() => {
                    self.on_connect_failed(ctx, key, &timed_out("connecting"));
                }
                LinkState::Greeting { until, .. } if *until <= ctx.now() => {
                    self.on_greeting_failed(ctx, key, &timed_out("the handshake"));
                }
                LinkState::Up { channel, .. }
                    if channel.frame_deadline(ctx.silence_from).is_some_and(|until| until <= ctx.now()) =>
                {
                    ctx.counters.count_bad_frame(Counters::INCOMPLETE);
                    self.on_broken(ctx, key, &INCOMPLETE);
                }
                LinkState::Up { answered_at, .. }
                    if answer_deadline(*answered_at, ctx.silence_from) <= ctx.now() =>
                {
                    self.on_broken(ctx, key, &"the other side does not answer");
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
    pub(crate) fn on_resolved(&mut self, ctx: &mut Context) {
        while let Some(Resolved { name, addresses }) = self.resolver.poll() {
            for key in 0..self.links.capacity() {
                if !self.links.get(key).is_some_and(|link| link.awaits(&name)) {
                    continue;
                }
                match &addresses {
                    Ok(addresses) => self.on_addresses(ctx, key, &name, addresses),
                    Err(error) => self.on_unresolved(ctx, key, error),
                }
            }
        }
    }

    /// The socket of a link in `Connecting` has an event.
    pub(crate) fn on_connect_event(&mut self, ctx: &mut Context, key: usize) {
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

    /// A link that was up has broken.
    pub(crate) fn on_broken(&mut self, ctx: &mut Context, key: usize, reason: &dyn Display) {
        let now = ctx.now();
        let link = &mut self.links[key];
        ctx.counters.links_broken += 1;
        if !ctx.membership.contains(link.peer) {
            log::debug!("the link to node {}, which is no member, broke: {reason}", link.peer);
            link.log.on_left();
        } else {
            let line = format!("the link to node {} broke: {reason}", link.peer);
            log_line(link.log.on_broken(now, line));
        }
        link.broke_at = Some(now);
        link.asked_at = None;
        // A link that breaks as soon as it is up, again and again, is not dialled in a tight loop.
        if matches!(link.state, LinkState::Up { since, .. } if now.since(since) >= LINK_SETTLED_US) {
            link.backoff.reset();
        }
        link.state = LinkState::Waiting { until: now.plus(link.backoff.next_delay_us()) };
        ctx.step(Input::ConnectionBroken(link.peer));
    }

    /// The handshake failed: tries the next address.
    pub(crate) fn on_greeting_failed(&mut self, ctx: &mut Context, key: usize, reason: &dyn Display) {
        let link = &mut self.links[key];
        let LinkState::Greeting { attempt, .. } = link.take_state(ctx.now()) else { return };
        self.try_next_address(ctx, key, attempt, reason);
    }

    /// An attempt has failed; the next one follows after a wait.
    fn on_dial_failed(
        &mut self,
        ctx: &mut Context,
        key: usize,
        reason: &dyn Display,
        peer_process: PeerProcess,
    ) {
        let link = &mut self.links[key];
        ctx.counters.dials_failed += 1;
        if link.whereabouts.is_dialled_as_claimed() {
            link.log.note_failure(reason.to_string());
        }
        let (peer, dialled) = (link.peer, link.whereabouts.dialled());
        // A node that joins receives former members first, and some have left since.
        let is_joining = !ctx.node.membership().contains(ctx.me.peer);
        if link.log.says_down() || is_joining {
            log::debug!("node {peer} at {dialled}: {reason}");
        } else {
            let line = format!("node {peer} at {dialled} cannot be reached, trying again: {reason}");
            log_line(link.log.on_broken(ctx.now(), line));
        }
        if peer_process == PeerProcess::Gone && link.may_be_gone() {
            ctx.step(Input::PeerUnreachable(peer));
        }
        self.retry_later(ctx, key);
    }

    /// Waits before the next attempt, which tries the peer's other address, if there is one.
    ///
    /// The wait counts from the beginning of this attempt. If nothing answered it, waiting once more would
    /// only put off the moment when the end of a partition is noticed.
    fn retry_later(&mut self, ctx: &Context, key: usize) {
        let link = &mut self.links[key];
        link.was_cut_short = false;
        let until = link.dialled_at.plus(link.backoff.next_delay_us()).max(ctx.now());
        link.state = LinkState::Waiting { until };
        link.whereabouts.dial_the_other();
    }

    fn dial(&mut self, ctx: &mut Context, key: usize) {
        let link = &self.links[key];
        let address = link.whereabouts.to_dial().to_owned();
        log::debug!("dialling node {} at {address}", link.peer);
        let attempt = match address.parse::<SocketAddr>() {
            Ok(address) => Attempt::at(&[address]),
            Err(_) => {
                self.resolver.ask(&address);
                Attempt::by_name(link.reached_as(&address), ctx.now())
            }
        };
        self.begin(ctx, key, &address, attempt);
    }

    /// Begins an attempt to reach the peer at this `HOST:PORT`.
    fn begin(&mut self, ctx: &mut Context, key: usize, address: &str, attempt: Attempt) {
        ctx.counters.dials += 1;
        let link = &mut self.links[key];
        link.whereabouts.dial(address);
        link.dialled_at = ctx.now();
        self.try_next_address(ctx, key, attempt, &"it has no address");
    }

    /// A name that this link asked for has these addresses.
    fn on_addresses(&mut self, ctx: &mut Context, key: usize, name: &str, addresses: &[SocketAddr]) {
        let link = &mut self.links[key];
        match link.take_state(ctx.now()) {
            // No attempt waited this long for the addresses, but they are as good as any: if the name servers
            // are slow, no answer ever comes in time.
            LinkState::Waiting { .. } => {
                let attempt = Attempt::by_resolved_name(link.reached_as(name), addresses);
                self.begin(ctx, key, name, attempt);
            }
            LinkState::Resolving { mut attempt } => {
                attempt.on_resolved(addresses);
                self.try_next_address(ctx, key, attempt, &"it has no other address");
            }
            LinkState::Connecting { stream, until, mut attempt } => {
                attempt.on_resolved(addresses);
                if attempt.current().is_some_and(|address| addresses.contains(&address)) {
                    link.state = LinkState::Connecting { stream, until, attempt };
                } else {
                    // The peer has left the address where it was last reached, which might not answer for a
                    // long time.
                    self.try_next_address(ctx, key, attempt, &"it has no other address");
                }
            }
            LinkState::Greeting { channel, until, mut attempt } => {
                attempt.on_resolved(addresses);
                link.state = LinkState::Greeting { channel, until, attempt };
            }
            up @ LinkState::Up { .. } => link.state = up,
        }
    }

    /// The name that this link asked for has no addresses, or they are no longer waited for.
    fn on_unresolved(&mut self, ctx: &mut Context, key: usize, reason: &dyn Display) {
        let link = &mut self.links[key];
        if let Some(attempt) = link.attempt() {
            attempt.on_unresolved();
        }
        match link.take_state(ctx.now()) {
            LinkState::Resolving { attempt } => self.try_next_address(ctx, key, attempt, reason),
            other @ (LinkState::Waiting { .. }
            | LinkState::Connecting { .. }
            | LinkState::Greeting { .. }
            | LinkState::Up { .. }) => link.state = other,
        }
    }

    /// Tries the next address of an attempt. `reason` is why the last one failed.
    fn try_next_address(
        &mut self,
        ctx: &mut Context,
        key: usize,
        mut attempt: Attempt,
        reason: &dyn Display,
    ) {
        let mut failure = None;
        while let Some(address) = attempt.next() {
            match begin_connect(ctx, key, address) {
                Ok(stream) => {
                    let until = ctx.now().plus(CONNECT_US_MAX);
                    self.links[key].state = LinkState::Connecting { stream, until, attempt };
                    return;
                }
                Err(error) => {
                    attempt.on_connect_failed(&error, ctx.now());
                    failure = Some(error);
                }
            }
        }
        if attempt.resolving_until().is_some() {
            self.links[key].state = LinkState::Resolving { attempt };
            return;
        }
        let reason = failure.as_ref().map_or(reason, |error| error);
        self.on_dial_failed(ctx, key, reason, attempt.peer_process());
    }

    /// Connecting to an address has failed: tries the next.
    fn on_connect_failed(&mut self, ctx: &mut Context, key: usize, error: &io::Error) {
        let link = &mut self.links[key];
        let LinkState::Connecting { mut attempt, .. } = link.take_state(ctx.now()) else {
            return;
        };
        attempt.on_connect_failed(error, ctx.now());
        self.try_next_address(ctx, key, attempt, error);
    }

    /// The connection is established: sends the Hello.
    fn greet(&mut self, ctx: &mut Context, key: usize) {
        let link = &mut self.links[key];
        let until = ctx.now().plus(HANDSHAKE_US_MAX);
        let LinkState::Connecting { stream, mut attempt, .. } = link.take_state(ctx.now()) else {
            return;
        };
        attempt.on_connected();
        configure(&stream);
        let hello = Hello {
            cluster: ctx.me.cluster,
            from: ctx.me.peer,
            to: link.peer,
            // This node joined by a committed entry, even if it has since forgotten how much is committed: no
            // node that knows less than that may conclude that this one was removed.
            commit_index: ctx.node.commit_index().max(ctx.me.joined_at),
            peer_address: ctx.me.peer_address.clone(),
            client_address: ctx.me.client_address.clone(),
        };
        let mut channel = Box::new(Channel::new(Stream::Tcp(stream)));
        channel.queue(&Frame::Hello(hello));
        link.state = LinkState::Greeting { channel, until, attempt };
        self.flush_one(ctx, key);
    }

    /// The other side has accepted the Hello.
    pub(super) fn on_welcome(&mut self, ctx: &Context, key: usize) {
        let link = &mut self.links[key];
        let LinkState::Greeting { mut channel, attempt, .. } = link.take_state(ctx.now()) else {
            return;
        };
        channel.accept_large_frames();
        if let Some(address) = attempt.current() {
            link.reached = Some(Reached { name: link.whereabouts.dialled().to_owned(), address });
        }
        link.state = LinkState::Up { channel, since: ctx.now(), answered_at: ctx.now() };
        link.was_cut_short = false;
        link.broke_at = None;
        let line = format!("the link to node {} at {} is up", link.peer, link.whereabouts.dialled());
        log_line(link.log.on_up(ctx.now(), line));
    }

    /// The other side has refused the Hello.
    pub(super) fn on_refuse(&mut self, ctx: &mut Context, key: usize, refuse: Refuse) {
        let link = &mut self.links[key];
        let (id, address) = (link.peer.id, link.whereabouts.dialled().to_owned());
        let reason = match refuse {
            Refuse::Removed { commit_index } => {
                if is_removed(commit_index, ctx.node.commit_index(), ctx.me.joined_at) {
                    self.removed_by = Some((id, commit_index));
                } else {
                    // That passes and is no cause for a warning.
                    log::debug!("node {id} at {address} does not know this node yet");
                }
                return self.retry_later(ctx, key);
            }
            Refuse::Version { ours } => {
                format!("it speaks version {ours} of the peer protocol, this node version {PROTOCOL_VERSION}")
            }
            Refuse::WrongCluster => "it belongs to another cluster".to_owned(),
            Refuse::NotMe { me } if me == link.peer => {
                "its store lacks what this member has acknowledged, as an earlier copy does, or is damaged"
                    .to_owned()
            }
            Refuse::NotMe { me } if me.id == id => format!(
                "it is another node {id}: either it is a member by now, and this node has not heard of that, \
                 or its store is not the one that is a member"
            ),
            Refuse::NotMe { me } => format!("node {me} listens there"),
        };
        // A node that has just joined receives former members first. Some have been replaced since, and
        // others listen where they did. Once it knows better, its links follow at the end of the turn.
        let may_be_former =
            ctx.node.commit_index() < ctx.me.joined_at || !ctx.node.membership().contains(link.peer);
        let is_expected = may_be_former && matches!(refuse, Refuse::NotMe { .. });
        // As long as no leader is known, nobody tells this node that a member was replaced while it was away.
        let is_successor = matches!(refuse, Refuse::NotMe { me } if me.id == id && me != link.peer);
        let may_be_replaced = ctx.leader.is_none() && is_successor;
        let level = if may_be_replaced { Level::Info } else { Level::Warn };
        if !is_expected && let Some(left_out) = link.log.on_refused(ctx.now(), refuse, level) {
            log::log!(level, "node {id} at {address} refuses this node, trying again: {reason}{left_out}");
        }
        self.on_greeting_failed(ctx, key, &reason);
    }
}

impl Link {
    /// The attempt in progress, if there is one.
    fn attempt(&mut self) -> Option<&mut Attempt> {
        match &mut self.state {
            LinkState::Resolving { attempt }
            | LinkState::Connecting { attempt, .. }
            | LinkState::Greeting { attempt, .. } => Some(attempt),
            LinkState::Waiting { .. } | LinkState::Up { .. } => None,
        }
    }

    /// Whether this link can use the addresses of this name.
    fn awaits(&self, name: &str) -> bool {
        match &self.state {
            LinkState::Waiting { .. } => self.whereabouts.includes(name),
            LinkState::Resolving { .. } | LinkState::Connecting { .. } | LinkState::Greeting { .. } => {
                self.whereabouts.dialled() == name
            }
            LinkState::Up { .. } => false,
        }
    }

    /// Where the peer was last reached, if that was under this name.
    fn reached_as(&self, name: &str) -> Option<SocketAddr> {
        self.reached.as_ref().filter(|reached| reached.name == name).map(|reached| reached.address)
    }
}

fn log_line(line: Option<String>) {
    if let Some(line) = line {
        log::info!("{line}");
    }
}

/// Starts to connect; an event will report the result.
fn begin_connect(ctx: &Context, key: usize, address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    ctx.registry.register(&mut stream, Source::Link(key).token(), Readiness::interest())?;
    Ok(stream)
}

/// Sends without delay, and makes the kernel notice a machine that has vanished: something is sent on every
/// link that is up, if only a ping.
fn configure(stream: &TcpStream) {
    let outcome = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let outcome = outcome.and_then(|()| {
        let silence = Duration::from_micros(LINK_SILENCE_US_MAX);
        SockRef::from(stream).set_tcp_user_timeout(Some(silence))
    });
    if let Err(error) = outcome {
        // The connection works without these options, only less well.
        log::debug!("an option of a connection to a peer could not be set: {error}");
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}
