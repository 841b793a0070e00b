//! The links: one to each other member, dialled by this node, on which it sends.
//!
//! What the others dial to this node, it receives on: see `peer_connections`. How a link comes up is in
//! `dial`.

use std::net::SocketAddr;
use std::sync::Arc;

use mio::Waker;
use mio::event::Event;
use mio::net::TcpStream;
use raft_core::{LogIndex, Micros, NodeId, Peer};
use slab::Slab;

use super::attempt::Attempt;
use super::backoff::Backoff;
use super::context::Context;
use super::limits::{LAST_WORDS_US_MAX, LINK_OUTPUT_BYTES_MAX, LINK_SETTLED_US};
use super::narrate::{self, LogLimit};
use super::peer_connections::PeerConnections;
use super::resolver::{LookUp, Resolver};
use super::sockets::{ReadOutcome, SendQueue, read};
use crate::peer::{self, Decoder, Frame, Refuse};

/// All links of this node.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) links: Slab<Link>,
    pub(super) resolver: Resolver,
    /// Somebody who must know said that this node is no longer a member.
    pub(super) removed_by: Option<(NodeId, LogIndex)>,
}

/// A link to one life of one member, or of one that is about to be, or was.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    /// Where the membership says that it listens; for one that is no member, where it said so first.
    pub(super) recorded_address: String,
    /// Where it said last that it listens, unless the membership has been told since. If that is not the
    /// recorded address, it has moved.
    pub(super) announced_address: Option<String>,
    /// Which of the two the next attempt tries, where there are two.
    pub(super) tries_announced: bool,
    /// A Hello has cut an attempt short, and no attempt has come to its own end since.
    pub(super) was_cut_short: bool,
    /// The address that was dialled last.
    pub(super) dialled: String,
    /// Where the last Welcome came from.
    pub(super) reached: Option<Reached>,
    pub(super) state: LinkState,
    pub(super) backoff: Backoff,
    /// When it broke, if it has not been up since.
    pub(super) broke_at: Option<Micros>,
    /// That it cannot be reached has been logged, and it has not been up since.
    pub(super) missed: bool,
    /// The refusal that has been logged.
    pub(super) refusal: Option<Refuse>,
    pub(super) last_heard: Option<Micros>,
    /// When this link was made: nobody was there to be heard before.
    made_at: Micros,
    /// That it says nothing has been logged, and it has said nothing since.
    is_silent: bool,
    pub(super) output: SendQueue,
    pub(super) flaps: LogLimit,
}

/// Where a peer was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reached {
    /// What was dialled, as `HOST:PORT`.
    pub(super) name: String,
    /// The address behind it that gave a Welcome.
    pub(super) address: SocketAddr,
}

/// How far a link has come.
#[derive(Debug)]
pub(super) enum LinkState {
    /// Waits before it dials.
    Waiting {
        /// When it dials.
        until: Micros,
    },
    /// Waits for the addresses behind a name.
    Resolving { attempt: Attempt },
    /// Waits for the connection.
    Connecting { stream: TcpStream, until: Micros, attempt: Attempt },
    /// Has said Hello.
    Greeting { stream: TcpStream, decoder: Box<Decoder>, until: Micros, attempt: Attempt },
    /// Was welcomed.
    Up {
        stream: TcpStream,
        /// When it was.
        since: Micros,
    },
}

/// What an operator is shown of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LinkStatus {
    pub(super) is_up: bool,
    pub(super) last_heard: Option<Micros>,
    /// For how long it has said nothing, also where it was never heard.
    pub(super) silence_us: u64,
}

impl Links {
    /// Without any link.
    pub(super) fn new(waker: Arc<Waker>, look_up: LookUp) -> Links {
        Links { links: Slab::new(), resolver: Resolver::new(waker, look_up), removed_by: None }
    }

    /// One link to each member but this node, and to whoever else is connected to this node and was welcome:
    /// one that joins knows no members at first, and one that was away for long not the present ones, but
    /// both have to answer their leader.
    pub(super) fn reconcile(&mut self, ctx: &Context, peer_connections: &PeerConnections) {
        let membership = &ctx.membership;
        self.links.retain(|_, link| membership.contains(link.peer) || peer_connections.has_member(link.peer));
        for (id, member) in &membership.members {
            let peer = Peer { id: *id, incarnation: member.incarnation };
            match self.key_of(peer) {
                Some(key) => self.links[key].relocate(&member.peer_address, ctx.now()),
                None if peer == ctx.me.peer => {}
                None => self.add(ctx, peer, &member.peer_address),
            }
        }
    }

    /// Queues a message. Without a link that is up and has room, it is lost, as Raft allows.
    pub(super) fn send(&mut self, ctx: &mut Context, to: Peer, message: &Frame) {
        let link = self.links.iter_mut().map(|(_, link)| link).find(|link| link.peer == to);
        let open = link.filter(|link| link.is_up() && link.output.len() < LINK_OUTPUT_BYTES_MAX);
        let Some(link) = open else {
            ctx.counters.messages_dropped += 1;
            log::trace!("dropped for want of a link: a message to node {to}: {message:?}");
            return;
        };
        log::trace!("to node {to}: {message:?}");
        ctx.counters.messages_sent += 1;
        peer::encode(message, link.output.tail());
    }

    /// Sends what is queued.
    pub(super) fn flush(&mut self, ctx: &mut Context) {
        for key in 0..self.links.capacity() {
            if self.links.get(key).is_some_and(|link| !link.output.is_empty()) {
                self.flush_one(ctx, key);
            }
        }
    }

    /// A socket has something to say.
    pub(super) fn on_event(&mut self, ctx: &mut Context, key: usize, event: &Event) {
        let Some(link) = self.links.get(key) else { return };
        match link.state {
            LinkState::Waiting { .. } | LinkState::Resolving { .. } => {}
            LinkState::Connecting { .. } => self.on_connect_event(ctx, key),
            LinkState::Greeting { .. } => {
                self.read_greeting(ctx, key);
                self.flush_one(ctx, key);
                // The end may have come along with the welcome, and then no other event comes.
                self.watch(ctx, key);
            }
            LinkState::Up { .. } => {
                if event.is_writable() {
                    self.flush_one(ctx, key);
                }
                self.watch(ctx, key);
            }
        }
    }

    /// This peer connected to this node, was welcome, and says that it listens here. So it lives: there is no
    /// more reason to wait, nor to go on with an attempt that may have begun while it was away, and that may
    /// wait for seconds before it sends anything again.
    ///
    /// But a Hello may come at any time, and when two nodes dial each other at once, each cuts the other's
    /// attempt short, which leads to a new Hello. So an attempt that follows one that was cut short is left
    /// alone until it ends by itself, with a Welcome or without. Of any two attempts in a row, at least one
    /// then has all the time that it needs, however many Hellos come, and however long a round trip takes.
    ///
    /// A link that is up is dropped only for an address that is news. Otherwise two nodes that reach each
    /// other at their recorded addresses, but not at those that they announce, would say Hello to each other
    /// in turn for ever, and each would break its link to the other.
    pub(super) fn on_hello(&mut self, ctx: &mut Context, peer: Peer, peer_address: &str) {
        let Some(key) = self.key_of(peer) else {
            self.add(ctx, peer, peer_address);
            return;
        };
        let link = &mut self.links[key];
        link.last_heard = Some(ctx.now());
        let is_news = link.announced_address.as_deref() != Some(peer_address);
        link.announced_address = Some(peer_address.to_owned());
        link.tries_announced = true;
        match link.state {
            LinkState::Waiting { .. } => link.dial_at(ctx.now()),
            LinkState::Resolving { .. } | LinkState::Connecting { .. } | LinkState::Greeting { .. } => {
                link.backoff.reset();
                if !link.was_cut_short {
                    log::debug!("node {peer} says Hello: dialling it anew");
                    link.was_cut_short = true;
                    link.dial_at(ctx.now());
                }
            }
            LinkState::Up { since, .. } => {
                let is_settled = ctx.now().since(since) >= LINK_SETTLED_US;
                if is_news && is_settled && link.dialled != peer_address {
                    self.on_broken(ctx, key, &format_args!("it listens at {peer_address} now"));
                }
            }
        }
    }

    /// A message came from this peer.
    pub(super) fn on_heard(&mut self, now: Micros, peer: Peer) {
        if let Some(link) = self.links.iter_mut().map(|(_, link)| link).find(|link| link.peer == peer) {
            link.last_heard = Some(now);
        }
    }

    /// Says which members have been silent for longer than `patience_us` to this node, which leads: their
    /// processes hang or have ended, or what they send does not arrive.
    pub(super) fn watch_silence(&mut self, ctx: &Context, patience_us: u64) {
        let silence_from = ctx.silence_from;
        for (_, link) in &mut self.links {
            let silence_us = link.silence_us(ctx.now(), silence_from);
            let is_silent = silence_us >= patience_us && ctx.membership.contains(link.peer);
            if is_silent && !link.is_silent {
                log::warn!("{}", narrate::silence_line(link.peer.id, link.is_up(), silence_us));
            } else if link.is_silent
                && !is_silent
                && link.last_heard.is_some_and(|heard| heard >= silence_from)
            {
                log::info!("node {} is heard again", link.peer);
            }
            link.is_silent = is_silent;
        }
    }

    /// What there is to say of the link to this peer; `None` where there is no link.
    pub(super) fn status(&self, ctx: &Context, peer: Peer) -> Option<LinkStatus> {
        let link = &self.links[self.key_of(peer)?];
        let silence_us = link.silence_us(ctx.now(), ctx.silence_from);
        Some(LinkStatus { is_up: link.is_up(), last_heard: link.last_heard, silence_us })
    }

    /// When [`Links::on_time`] has something to do. There are as few links as members, so they are simply
    /// looked at.
    pub(super) fn deadline(&self) -> Option<Micros> {
        self.links.iter().filter_map(|(_, link)| link.deadline()).min()
    }

    fn key_of(&self, peer: Peer) -> Option<usize> {
        self.links.iter().find(|(_, link)| link.peer == peer).map(|(key, _)| key)
    }

    fn add(&mut self, ctx: &Context, peer: Peer, address: &str) {
        let seed = random_bits(ctx.me.peer) ^ random_bits(peer).rotate_left(32);
        self.links.insert(Link::new(peer, address, seed, ctx.now()));
    }

    /// A link that is up carries nothing in this direction: there is something to read only when it ends.
    fn watch(&mut self, ctx: &mut Context, key: usize) {
        let LinkState::Up { stream, .. } = &mut self.links[key].state else { return };
        let mut buffer = [0; 64];
        match read(stream, &mut buffer) {
            ReadOutcome::NotNow => {}
            ReadOutcome::End => self.on_broken(ctx, key, &"the other side closed it"),
            ReadOutcome::Broken(error) => self.on_broken(ctx, key, &error),
            ReadOutcome::Bytes(_) => {
                ctx.counters.count_bad_frame("unexpected");
                self.on_broken(ctx, key, &"the other side spoke where it is to listen");
            }
        }
    }

    /// Sends what is queued on one link, if it has a connection.
    pub(super) fn flush_one(&mut self, ctx: &mut Context, key: usize) {
        let Some(link) = self.links.get_mut(key) else { return };
        let (LinkState::Greeting { stream, .. } | LinkState::Up { stream, .. }) = &mut link.state else {
            return;
        };
        match link.output.flush(stream) {
            Ok(sent) => ctx.counters.peer_bytes_sent += sent as u64,
            Err(error) if link.is_up() => self.on_broken(ctx, key, &error),
            Err(error) => self.on_greeting_failed(ctx, key, &error),
        }
    }
}

impl Link {
    fn new(peer: Peer, address: &str, seed: u64, now: Micros) -> Link {
        Link {
            peer,
            recorded_address: address.to_owned(),
            announced_address: None,
            tries_announced: true,
            was_cut_short: false,
            dialled: address.to_owned(),
            reached: None,
            state: LinkState::Waiting { until: now },
            backoff: Backoff::new(seed),
            broke_at: None,
            missed: false,
            refusal: None,
            last_heard: None,
            made_at: now,
            is_silent: false,
            output: SendQueue::default(),
            flaps: LogLimit::default(),
        }
    }

    /// Whether messages can be sent on it.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Up { .. })
    }

    /// Whether a refused connection means that the process at the other end is gone. It does not if the peer
    /// was heard after the link had broken: then it lives, and something in between refuses. What it sent
    /// before it ended may be read somewhat later.
    pub(super) fn may_be_gone(&self) -> bool {
        let heard = self.last_heard.unwrap_or(self.made_at);
        self.broke_at.is_some_and(|broke_at| heard <= broke_at.plus(LAST_WORDS_US_MAX))
    }

    /// For how long it has said nothing to this node, counted from `silence_from` at the earliest.
    fn silence_us(&self, now: Micros, silence_from: Micros) -> u64 {
        now.since(self.last_heard.unwrap_or(self.made_at).max(silence_from))
    }

    /// Where to dial: whoever announces an address is there, whatever was recorded before. But others could
    /// speak in its name, so where that fails, the recorded one is tried in turn.
    pub(super) fn address(&self) -> &str {
        let announced = self.announced_address.as_deref().filter(|_| self.tries_announced);
        announced.unwrap_or(&self.recorded_address)
    }

    /// There is reason to believe that the peer can be reached: dials it now, and soon again if it cannot.
    fn dial_at(&mut self, now: Micros) {
        self.backoff.reset();
        self.output.clear();
        self.state = LinkState::Waiting { until: now };
    }

    /// The membership records this address.
    fn relocate(&mut self, address: &str, now: Micros) {
        if self.recorded_address == address {
            return;
        }
        // What it said before it moved there is out of date.
        let is_outdated =
            |announced: &mut String| announced == address || *announced == self.recorded_address;
        self.announced_address.take_if(is_outdated);
        address.clone_into(&mut self.recorded_address);
        if matches!(self.state, LinkState::Waiting { .. }) {
            self.dial_at(now);
        }
    }

    fn deadline(&self) -> Option<Micros> {
        match &self.state {
            LinkState::Waiting { until } | LinkState::Greeting { until, .. } => Some(*until),
            LinkState::Resolving { attempt } => {
                attempt.resolving_until().into_iter().chain(attempt.absent_from()).min()
            }
            LinkState::Connecting { until, attempt, .. } => {
                Some(attempt.absent_from().map_or(*until, |absent| absent.min(*until)))
            }
            LinkState::Up { .. } => None,
        }
    }
}

/// Some bits of an incarnation, which is random.
fn random_bits(peer: Peer) -> u64 {
    let low = peer.incarnation.0 & u128::from(u64::MAX);
    u64::try_from(low).expect("masked to 64 bits")
}

#[cfg(test)]
mod tests {
    use raft_core::{Incarnation, NodeId};

    use super::*;

    #[test]
    fn a_member_is_silent_since_it_was_heard_last_or_could_first_be_heard_by_this_leader() {
        let peer = Peer { id: NodeId::new(2).unwrap(), incarnation: Incarnation(2) };
        let joined = Micros(5_000);
        let mut link = Link::new(peer, "b:9000", 0, joined);
        assert_eq!(link.silence_us(Micros(5_100), Micros(1_000)), 100, "it joined an old leader's cluster");
        assert_eq!(link.silence_us(Micros(9_000), Micros(8_000)), 1_000, "the leader is new");
        link.last_heard = Some(Micros(8_900));
        assert_eq!(link.silence_us(Micros(9_000), Micros(8_000)), 100);
    }
}
