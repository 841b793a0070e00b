//! The links: one to each other member, dialled by this node, on which it sends, and receives the responses.
//!
//! What the others have to say arrives on the connections that they dial: see `connections`. How a link comes
//! up is in `dial`, where to in `whereabouts`, and what the log says of it in `link_log`.

mod attempt;
mod backoff;
mod dial;
mod link_log;
mod reach;
mod receiving;
pub(crate) mod resolver;
mod silence;
mod whereabouts;

use std::net::SocketAddr;
use std::sync::Arc;

use mio::Waker;
use mio::event::Event;
use mio::net::TcpStream;
use raft_core::{LogIndex, Micros, NodeId, Peer};
use slab::Slab;

use attempt::Attempt;
use backoff::Backoff;
use link_log::LinkLog;
use resolver::{LookUp, Resolver};
use whereabouts::Whereabouts;

use super::channel::Channel;
use crate::peer::Frame;
use crate::server::context::Context;
use crate::server::limits::{LINK_ANSWER_US_MAX, LINKS_MAX, PING_US, READ_BYTES_MAX};

/// All links of this node.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) links: Slab<Link>,
    pub(crate) resolver: Resolver,
    buffer: Box<[u8]>,
    /// A node that refused this one as removed, and the commit index from which it knows.
    pub(crate) removed_by: Option<(NodeId, LogIndex)>,
}

/// A link to one incarnation of a member, or of a node that is joining or has left.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Peer,
    pub(crate) whereabouts: Whereabouts,
    /// A Hello has cut an attempt short, and no attempt has run to its end since.
    pub(crate) was_cut_short: bool,
    /// When the last attempt began.
    pub(crate) dialled_at: Micros,
    /// Where the last Welcome came from.
    pub(crate) reached: Option<Reached>,
    pub(crate) state: LinkState,
    pub(crate) backoff: Backoff,
    /// When it broke, if it has not been up since.
    pub(crate) broke_at: Option<Micros>,
    pub(crate) last_heard: Option<Micros>,
    /// When the peer last asked something on this link, if it is still up. It does if it cannot dial.
    pub(super) asked_at: Option<Micros>,
    /// When this link was made; the peer's silence counts from then if it was never heard.
    made_at: Micros,
    /// Since when the peer has been connected to this node without being reached by it.
    unreached_since: Option<Micros>,
    /// When it was pinged last.
    pinged_at: Micros,
    pub(crate) log: LinkLog,
}

/// Where a peer was reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reached {
    /// The dialled address, as `HOST:PORT`.
    pub(crate) name: String,
    /// The socket address behind it that sent a Welcome.
    pub(crate) address: SocketAddr,
}

/// The state of a link.
#[derive(Debug)]
pub(crate) enum LinkState {
    /// Waits before it dials.
    Waiting {
        /// When it dials.
        until: Micros,
    },
    /// Waits for the addresses of a name.
    Resolving { attempt: Attempt },
    /// Waits for the connection.
    Connecting { stream: TcpStream, until: Micros, attempt: Attempt },
    /// Has sent a Hello.
    Greeting { channel: Box<Channel>, until: Micros, attempt: Attempt },
    /// Was welcomed.
    Up {
        channel: Box<Channel>,
        /// When it was welcomed.
        since: Micros,
        /// When the last frame came back on it.
        answered_at: Micros,
    },
}

/// What is reported about a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkStatus {
    pub(crate) is_up: bool,
    pub(crate) last_heard: Option<Micros>,
    /// How long the peer has been silent, even if it was never heard.
    pub(crate) silence_us: u64,
}

impl Links {
    pub(crate) fn new(waker: Arc<Waker>, look_up: LookUp) -> Links {
        Links {
            links: Slab::new(),
            resolver: Resolver::new(waker, look_up),
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            removed_by: None,
        }
    }

    /// Keeps one link to each other member, and to every peer that is connected to this node. A joining node
    /// knows no members at first, and a node that was away for long knows outdated ones, but both must answer
    /// their leader.
    pub(crate) fn reconcile(&mut self, ctx: &Context, is_connected: impl Fn(Peer) -> bool) {
        if ctx.is_store_unusable() {
            self.links.retain(|_, _| false);
            return;
        }
        let membership = &ctx.membership;
        self.links.retain(|_, link| membership.contains(link.peer) || is_connected(link.peer));
        for (peer, member) in membership.peers() {
            match self.key_of(peer) {
                Some(key) => self.links[key].relocate(&member.peer_address, ctx.now()),
                None if peer == ctx.me.peer => {}
                None => self.add(ctx, peer, &member.peer_address),
            }
        }
    }

    /// Queues a message. If the link is not up or has no room, the message is lost, as Raft allows.
    pub(crate) fn send(&mut self, ctx: &mut Context, to: Peer, frame: &Frame) {
        if let Some(Link { state: LinkState::Up { channel, .. }, .. }) = self.link_mut(to)
            && channel.has_room()
        {
            log::trace!("to node {to}: {frame:?}");
            ctx.counters.messages_sent += 1;
            channel.queue(frame);
        } else {
            log::trace!("dropped, as the link is down or full: a message to node {to}: {frame:?}");
            ctx.counters.messages_dropped += 1;
        }
    }

    /// Pings every link from time to time. The other side closes a connection on which it hears nothing, and
    /// answers each ping: so this node, too, finds out that a link is dead, whoever acknowledges what it
    /// sends there. What is still to be sent needs no ping behind it.
    pub(crate) fn ping(&mut self, now: Micros) {
        for (_, link) in &mut self.links {
            if let LinkState::Up { channel, .. } = &mut link.state
                && now.since(link.pinged_at) >= PING_US
                && channel.is_flushed()
            {
                link.pinged_at = now;
                channel.queue(&Frame::Ping);
            }
        }
    }

    pub(crate) fn flush(&mut self, ctx: &mut Context) {
        for key in 0..self.links.capacity() {
            self.flush_one(ctx, key);
        }
    }

    /// A socket has an event.
    pub(crate) fn on_event(&mut self, ctx: &mut Context, key: usize, event: &Event) {
        let Some(link) = self.links.get_mut(key) else { return };
        match &mut link.state {
            LinkState::Waiting { .. } | LinkState::Resolving { .. } => {}
            LinkState::Connecting { .. } => self.on_connect_event(ctx, key),
            LinkState::Greeting { channel, .. } | LinkState::Up { channel, .. } => channel.on_event(event),
        }
    }

    /// This peer connected to this node, was welcomed, and announced this address. So it is alive: there is
    /// no reason to wait any longer, nor to continue an attempt that may have begun while the peer was away
    /// and that may not send anything again for seconds.
    ///
    /// But a Hello may come at any time, and when two nodes dial each other at once, each cuts the other's
    /// attempt short, which leads to a new Hello. So the attempt after one that was cut short is left alone
    /// until it ends by itself, with or without a Welcome. Of any two attempts in a row, at least one then
    /// has all the time it needs, however many Hellos come and however long a round trip takes.
    ///
    /// A link that is up is dropped only for an address that is new: see [`Links::follow_moves`].
    pub(crate) fn on_hello(&mut self, ctx: &mut Context, peer: Peer, peer_address: &str) {
        let Some(key) = self.key_of(peer) else {
            // It is answered on its own connection, with or without a link.
            if self.links.len() < LINKS_MAX && !ctx.is_store_unusable() {
                self.add(ctx, peer, peer_address);
            }
            return;
        };
        let link = &mut self.links[key];
        link.last_heard = Some(ctx.now());
        link.whereabouts.announce(peer_address);
        match link.state {
            LinkState::Waiting { .. } => link.dial_at(ctx.now()),
            LinkState::Resolving { .. } | LinkState::Connecting { .. } | LinkState::Greeting { .. } => {
                link.backoff.reset();
                if !link.was_cut_short {
                    log::debug!("node {peer} says Hello: dialling it again");
                    link.was_cut_short = true;
                    link.dial_at(ctx.now());
                }
            }
            LinkState::Up { .. } if link.has_moved(ctx.now()) => self.follow_move(ctx, key),
            LinkState::Up { .. } => {}
        }
    }

    pub(crate) fn on_heard(&mut self, now: Micros, peer: Peer) {
        if let Some(link) = self.link_mut(peer) {
            link.last_heard = Some(now);
        }
    }

    /// Logs which links are up or down by now, where that was left out when it was new.
    pub(crate) fn log_suppressed_changes(&mut self, now: Micros) {
        for line in self.links.iter_mut().filter_map(|(_, link)| link.log.catch_up(now)) {
            log::info!("{line}");
        }
    }

    /// The status of the link to this peer; `None` if there is no link.
    pub(crate) fn status(&self, ctx: &Context, peer: Peer) -> Option<LinkStatus> {
        let link = &self.links[self.key_of(peer)?];
        let silence_us = link.silence_us(ctx.now(), ctx.silence_from);
        Some(LinkStatus { is_up: link.is_up(), last_heard: link.last_heard, silence_us })
    }

    /// When [`Links::on_time`] has something to do. There are few links ([`LINKS_MAX`]), so all are checked.
    pub(crate) fn deadline(&self, silence_from: Micros) -> Option<Micros> {
        self.links.iter().filter_map(|(_, link)| link.deadline(silence_from)).min()
    }

    /// When this peer last asked something on the link to it; `None` if it has not since the link is up.
    pub(crate) fn asked_at(&self, peer: Peer) -> Option<Micros> {
        self.links[self.key_of(peer)?].asked_at
    }

    /// Whether the link to this peer is up.
    pub(crate) fn is_up_to(&self, peer: Peer) -> bool {
        self.key_of(peer).is_some_and(|key| self.links[key].is_up())
    }

    fn key_of(&self, peer: Peer) -> Option<usize> {
        self.links.iter().find(|(_, link)| link.peer == peer).map(|(key, _)| key)
    }

    fn link_mut(&mut self, peer: Peer) -> Option<&mut Link> {
        self.key_of(peer).map(|key| &mut self.links[key])
    }

    fn add(&mut self, ctx: &Context, peer: Peer, address: &str) {
        let seed = random_bits(ctx.me.peer) ^ random_bits(peer).rotate_left(32);
        self.links.insert(Link::new(peer, address, seed, ctx.now()));
    }

    /// Sends what is queued on one link, if it has a connection.
    pub(crate) fn flush_one(&mut self, ctx: &mut Context, key: usize) {
        let Some(channel) = self.channel_mut(key) else { return };
        if let Err(error) = channel.flush(&mut ctx.counters) {
            self.on_lost(ctx, key, &error);
        }
    }

    /// The connection of a link that has one on which frames travel.
    fn channel_mut(&mut self, key: usize) -> Option<&mut Channel> {
        self.links.get_mut(key).and_then(Link::channel_mut)
    }
}

impl Link {
    fn new(peer: Peer, address: &str, seed: u64, now: Micros) -> Link {
        Link {
            peer,
            whereabouts: Whereabouts::at(address),
            was_cut_short: false,
            dialled_at: now,
            reached: None,
            state: LinkState::Waiting { until: now },
            backoff: Backoff::new(seed),
            broke_at: None,
            last_heard: None,
            asked_at: None,
            made_at: now,
            unreached_since: None,
            pinged_at: now,
            log: LinkLog::default(),
        }
    }

    /// Whether messages can be sent on it.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Up { .. })
    }

    pub(super) fn channel(&self) -> Option<&Channel> {
        match &self.state {
            LinkState::Greeting { channel, .. } | LinkState::Up { channel, .. } => Some(channel),
            LinkState::Waiting { .. } | LinkState::Resolving { .. } | LinkState::Connecting { .. } => None,
        }
    }

    fn channel_mut(&mut self) -> Option<&mut Channel> {
        match &mut self.state {
            LinkState::Greeting { channel, .. } | LinkState::Up { channel, .. } => Some(channel),
            LinkState::Waiting { .. } | LinkState::Resolving { .. } | LinkState::Connecting { .. } => None,
        }
    }

    /// Takes the state, to make the next one of its parts. Until that is set, the link is one that is to be
    /// dialled.
    pub(crate) fn take_state(&mut self, now: Micros) -> LinkState {
        std::mem::replace(&mut self.state, LinkState::Waiting { until: now })
    }

    /// The peer can probably be reached: dials it now, and soon again if that fails.
    fn dial_at(&mut self, now: Micros) {
        self.backoff.reset();
        self.state = LinkState::Waiting { until: now };
    }

    /// The membership records this address.
    fn relocate(&mut self, address: &str, now: Micros) {
        if self.whereabouts.record(address) && matches!(self.state, LinkState::Waiting { .. }) {
            self.dial_at(now);
        }
    }

    fn deadline(&self, silence_from: Micros) -> Option<Micros> {
        match &self.state {
            LinkState::Waiting { until } | LinkState::Greeting { until, .. } => Some(*until),
            LinkState::Resolving { attempt } => {
                attempt.resolving_until().into_iter().chain(attempt.absent_from()).min()
            }
            LinkState::Connecting { until, attempt, .. } => {
                Some(attempt.absent_from().map_or(*until, |absent| absent.min(*until)))
            }
            LinkState::Up { channel, answered_at, .. } => {
                let answer = answer_deadline(*answered_at, silence_from);
                Some(channel.frame_deadline(silence_from).map_or(answer, |frame| frame.min(answer)))
            }
        }
    }
}

/// When a link on which a frame came last at this moment counts as dead. The time counts from `silence_from`
/// at the earliest: while this process did not run, it read nothing.
pub(super) fn answer_deadline(answered_at: Micros, silence_from: Micros) -> Micros {
    answered_at.max(silence_from).plus(LINK_ANSWER_US_MAX)
}

/// Some bits of the incarnation, which is random.
fn random_bits(peer: Peer) -> u64 {
    let low = peer.incarnation.0 & u128::from(u64::MAX);
    u64::try_from(low).expect("masked to 64 bits")
}
