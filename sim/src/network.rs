//! Connections and the bytes on them: every message travels as the bytes of the real peer protocol.
//!
//! Two nodes have two connections. Each sends on the one that it has dialled, and responds on the other, as
//! long as each is open. In ordered weather a connection behaves like TCP: what arrives, arrives in order. In
//! other weather it also loses, repeats and reorders whole frames, which is worse than any real network, and
//! which the core claims to withstand.

use raft_core::{LogIndex, Micros, Peer};
use ticketd::node::{Input, PeerMessage};
use ticketd::peer::{self, Decoder, Frame, Hello, Refuse, Welcome};

use crate::host::{Standing, slot_of};
use crate::schedule::{ConnId, Direction, Event, Life, PacketId, Slot};
use crate::world::{CLUSTER, World};
use crate::{Narration, violated};

/// How long a dial or a handshake may take, in election timeouts.
const DIAL_PATIENCE: u64 = 1;
/// The longest time between two dials, in microseconds.
const REDIAL_US: u64 = 50_000;

/// The state that a process keeps about its link to another node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The node that it is meant to reach.
    pub(crate) peer: Peer,
    pub(crate) state: LinkState,
    /// The link was up before it broke: if the next dial is refused, the process there is gone.
    pub(crate) broke: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LinkState {
    Down,
    Dialling(ConnId),
    Up(ConnId),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) dialler: Life,
    pub(crate) from: Peer,
    pub(crate) acceptor: Life,
    /// The acceptor has taken the Hello.
    accepted: bool,
    pub(crate) closed: bool,
    /// Something that was sent on it was damaged on the way.
    damaged: bool,
    inbound: Decoder,
    answers: Decoder,
    /// When the last bytes arrive, in each direction.
    last: [Micros; 2],
}

/// Bytes on their way.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    bytes: Vec<Vec<u8>>,
    free: Vec<PacketId>,
}

impl Packets {
    /// Returns an empty packet, to be filled.
    fn add(&mut self) -> PacketId {
        self.free.pop().unwrap_or_else(|| {
            let id = PacketId(u32::try_from(self.bytes.len()).expect("few packets travel at once"));
            self.bytes.push(Vec::with_capacity(256));
            id
        })
    }

    fn of(&mut self, id: PacketId) -> &mut Vec<u8> {
        &mut self.bytes[usize::try_from(id.0).expect("32 bits fit a usize")]
    }

    fn take(&mut self, id: PacketId) -> Vec<u8> {
        std::mem::take(self.of(id))
    }

    fn give_back(&mut self, id: PacketId, mut bytes: Vec<u8>) {
        bytes.clear();
        *self.of(id) = bytes;
        self.free.push(id);
    }
}

impl World {
    /// Whether bytes from one host reach another.
    pub(crate) fn reaches(&self, from: Slot, to: Slot) -> bool {
        self.blocked[from.at()] & (1 << to.0) == 0
    }

    fn conn(&mut self, id: ConnId) -> &mut Conn {
        &mut self.conns[id.at()]
    }

    /// Sends a frame on a connection.
    pub(crate) fn send_frame(&mut self, id: ConnId, direction: Direction, frame: &Frame) {
        let conn = self.conn(id);
        let (from, to) = match direction {
            Direction::Forward => (conn.dialler.slot, conn.acceptor.slot),
            Direction::Back => (conn.acceptor.slot, conn.dialler.slot),
        };
        if conn.closed || !self.reaches(from, to) || self.net_rng.ppm(self.weather.loss_ppm) {
            return;
        }
        let packet = self.packets.add();
        peer::encode(frame, self.packets.of(packet));
        if self.net_rng.ppm(self.weather.corrupt_ppm) {
            self.flip_a_bit(packet);
            self.conn(id).damaged = true;
        }
        if self.net_rng.ppm(self.weather.duplicate_ppm) {
            let copy = self.packets.add();
            let bytes = self.packets.of(packet).clone();
            self.packets.of(copy).extend_from_slice(&bytes);
            self.plan_arrival(id, direction, copy);
        }
        self.plan_arrival(id, direction, packet);
    }

    fn flip_a_bit(&mut self, packet: PacketId) {
        let bits = u64::try_from(self.packets.of(packet).len() * 8).expect("packets are short");
        let bit = usize::try_from(self.net_rng.below(bits)).expect("packets are short");
        self.packets.of(packet)[bit / 8] ^= 1 << (bit % 8);
    }

    fn plan_arrival(&mut self, conn: ConnId, direction: Direction, packet: PacketId) {
        let mut at = self.now.plus(self.delay());
        if self.weather.ordered {
            let last = &mut self.conn(conn).last[usize::from(direction == Direction::Back)];
            at = at.max(last.plus(1));
            *last = at;
        }
        self.schedule.plan(at, Event::Deliver { conn, direction, packet });
    }

    /// How long bytes are on their way.
    fn delay(&mut self) -> u64 {
        let us = self.weather.latency.drawn(&mut self.net_rng);
        if self.net_rng.ppm(self.weather.straggle_ppm) { us.saturating_mul(100) } else { us }
    }

    /// A process begins to keep a link to a node, and dials at once.
    pub(crate) fn link_to(&mut self, from: Slot, peer: Peer) {
        let to = slot_of(peer.id);
        let Some(process) = self.hosts[from.at()].run.process_mut() else { return };
        let link = &mut process.links[to.at()];
        if link.is_some_and(|link| link.peer == peer) {
            return;
        }
        let old = link.replace(Link { peer, state: LinkState::Down, broke: false });
        if let Some(old) = old {
            self.hang_up(old);
        }
        let from = self.life(from);
        self.schedule.plan(self.now, Event::Dial { from, to });
    }

    /// A process drops a link.
    pub(crate) fn unlink(&mut self, from: Slot, peer: Peer) {
        let to = slot_of(peer.id);
        let Some(process) = self.hosts[from.at()].run.process_mut() else { return };
        if let Some(link) = process.links[to.at()].take_if(|link| link.peer == peer) {
            self.hang_up(link);
        }
    }

    fn hang_up(&mut self, link: Link) {
        match link.state {
            LinkState::Down => {}
            LinkState::Dialling(conn) | LinkState::Up(conn) => self.conn(conn).closed = true,
        }
    }

    /// Whether a process has accepted a connection from a later life of this node. A connection from an
    /// earlier life may be left over: the disappearance of a host is not reported.
    pub(crate) fn is_connected_in_a_later_life(&self, at: Slot, peer: Peer) -> bool {
        let acceptor = self.life(at);
        let is_later_life = |from: Peer| from.id == peer.id && from.incarnation > peer.incarnation;
        self.conns.iter().any(|conn| {
            conn.acceptor == acceptor && conn.accepted && !conn.closed && is_later_life(conn.from)
        })
    }

    /// Closes the connections that a process accepted from a node that is no longer a member.
    pub(crate) fn close_from(&mut self, at: Slot, peer: Peer) {
        let acceptor = self.life(at);
        self.break_conns(|conn| conn.acceptor == acceptor && conn.from == peer);
    }

    /// A damaged length makes an acceptor wait for bytes that never come: this breaks such connections.
    pub(crate) fn break_damaged(&mut self) {
        self.break_conns(|conn| conn.damaged);
    }

    /// Ends every open connection of this kind, oldest first.
    pub(crate) fn break_conns(&mut self, is_of_kind: impl Fn(&Conn) -> bool) {
        for (at, number) in (0..self.conns.len()).zip(0..) {
            let conn = &self.conns[at];
            if !conn.closed && is_of_kind(conn) {
                self.break_conn(ConnId(number));
            }
        }
    }

    /// Ends a connection; the dialler is told, or finds out by itself in the end.
    pub(crate) fn break_conn(&mut self, id: ConnId) {
        let conn = self.conn(id);
        conn.closed = true;
        let (from, to) = (conn.acceptor.slot, conn.dialler.slot);
        let after = if self.reaches(from, to) {
            self.delay().min(self.plan.election_timeout_us)
        } else {
            // Keep-alive notices it.
            self.plan.election_timeout_us * 4
        };
        self.schedule.plan(self.now.plus(after), Event::Broken { conn: id });
    }

    pub(crate) fn on_broken(&mut self, id: ConnId) {
        let conn = self.conn(id);
        conn.closed = true;
        let (from, to) = (conn.dialler, conn.acceptor.slot);
        if self.defer(from, Event::Broken { conn: id }) {
            return;
        }
        let Some(process) = self.process(from) else { return };
        let Some(link) = &mut process.links[to.at()] else { return };
        match link.state {
            LinkState::Up(current) if current == id => {
                link.broke = true;
                link.state = LinkState::Down;
                let peer = link.peer;
                self.schedule.plan(self.now, Event::Dial { from, to });
                self.give(from.slot, Input::ConnectionBroken(peer));
            }
            LinkState::Dialling(current) if current == id => {
                link.state = LinkState::Down;
                self.redial(from, to);
            }
            LinkState::Down | LinkState::Up(_) | LinkState::Dialling(_) => {}
        }
    }

    fn redial(&mut self, from: Life, to: Slot) {
        let at = self.now.plus(self.net_rng.between(REDIAL_US / 10, REDIAL_US));
        self.schedule.plan(at, Event::Dial { from, to });
    }

    pub(crate) fn on_dial(&mut self, from: Life, to: Slot) {
        if self.defer(from, Event::Dial { from, to }) {
            return;
        }
        let now = self.now;
        let id = ConnId(u32::try_from(self.conns.len()).expect("there are few connections"));
        let acceptor = self.life(to);
        let listens = self.hosts[to.at()].run.process().is_some();
        let reaches = self.reaches(from.slot, to);
        let dialler = &self.hosts[from.slot.at()];
        let me = dialler.peer;
        let joined_at = match dialler.standing {
            Standing::Member { joined_at } => joined_at,
            Standing::Empty | Standing::Joining => LogIndex(0),
        };
        let Some(process) = self.process(from) else { return };
        // The node's joining is committed knowledge as well, whatever a restart has made it forget.
        let commit_index = process.node.commit_index().max(joined_at);
        let Some(link) = &mut process.links[to.at()] else { return };
        if link.state != LinkState::Down {
            return;
        }
        if reaches && !listens {
            let at = now.plus(self.delay().min(self.plan.election_timeout_us));
            self.schedule.plan(at, Event::Refused { from, to });
            return;
        }
        link.state = LinkState::Dialling(id);
        let meant = link.peer;
        self.conns.push(Conn {
            dialler: from,
            from: me,
            acceptor,
            accepted: false,
            closed: false,
            damaged: false,
            inbound: Decoder::new(),
            answers: Decoder::new(),
            last: [now; 2],
        });
        let hello = Hello {
            cluster: CLUSTER,
            from: me,
            to: meant,
            commit_index,
            peer_address: address(from.slot),
            client_address: address(from.slot),
        };
        self.send_frame(id, Direction::Forward, &Frame::Hello(hello));
        let patience = self.plan.election_timeout_us * DIAL_PATIENCE;
        self.schedule.plan(now.plus(patience), Event::HandshakeOver { conn: id });
    }

    pub(crate) fn on_refused(&mut self, from: Life, to: Slot) {
        if self.defer(from, Event::Refused { from, to }) {
            return;
        }
        let Some(process) = self.process(from) else { return };
        let Some(link) = &mut process.links[to.at()] else { return };
        if link.state != LinkState::Down {
            return;
        }
        let (peer, broke) = (link.peer, std::mem::take(&mut link.broke));
        self.redial(from, to);
        if broke {
            self.give(from.slot, Input::PeerUnreachable(peer));
        }
    }

    pub(crate) fn on_handshake_over(&mut self, id: ConnId) {
        let conn = self.conn(id);
        let (from, to) = (conn.dialler, conn.acceptor.slot);
        if self.defer(from, Event::HandshakeOver { conn: id }) {
            return;
        }
        let Some(process) = self.process(from) else { return };
        let Some(link) = &mut process.links[to.at()] else { return };
        if link.state == LinkState::Dialling(id) {
            link.state = LinkState::Down;
            self.conn(id).closed = true;
            self.redial(from, to);
        }
    }

    pub(crate) fn on_deliver(&mut self, id: ConnId, direction: Direction, packet: PacketId) {
        let conn = self.conn(id);
        let receiver = match direction {
            Direction::Forward => conn.acceptor,
            Direction::Back => conn.dialler,
        };
        if !conn.closed && self.defer(receiver, Event::Deliver { conn: id, direction, packet }) {
            return;
        }
        let bytes = self.packets.take(packet);
        if self.process(receiver).is_none() {
            // If the process is not there, or it is another one, its host reports that.
            match direction {
                Direction::Forward if !self.conn(id).closed => self.break_conn(id),
                Direction::Forward => {}
                Direction::Back => self.conn(id).closed = true,
            }
        } else {
            self.receive(id, direction, &bytes);
        }
        self.packets.give_back(packet, bytes);
    }

    fn receive(&mut self, id: ConnId, direction: Direction, bytes: &[u8]) {
        let mut input = bytes;
        loop {
            let conn = self.conn(id);
            if conn.closed {
                return;
            }
            let decoder = match direction {
                Direction::Forward => &mut conn.inbound,
                Direction::Back => &mut conn.answers,
            };
            match decoder.next_frame(&mut input) {
                Ok(Some(frame)) => self.on_frame(id, direction, frame),
                Ok(None) => return,
                Err(error) => {
                    if !conn.damaged {
                        violated!("a frame of ours is refused: {error}");
                    }
                    self.break_conn(id);
                    return;
                }
            }
        }
    }

    fn on_frame(&mut self, id: ConnId, direction: Direction, frame: Frame) {
        self.tell_frame(id, direction, &frame);
        match frame {
            Frame::Message(message) => match direction {
                Direction::Forward => self.on_message(id, message),
                Direction::Back => self.on_message_back(id, message),
            },
            Frame::Hello(hello) => self.on_hello(id, &hello),
            Frame::Welcome(_) => self.on_welcome(id),
            Frame::Refuse(refuse) => self.on_refuse(id, refuse),
            Frame::Ping | Frame::AdminRequest(_) | Frame::AdminResponse(_) => {
                violated!("nobody sends {frame:?} here")
            }
        }
    }

    fn on_message(&mut self, id: ConnId, message: PeerMessage) {
        let conn = self.conn(id);
        if conn.accepted {
            let (from, to) = (conn.from, conn.acceptor.slot);
            self.give(to, Input::Message { from, message });
        } else {
            // The frame overtook its Hello, or follows one that was lost: an acceptor cannot know which node
            // sent it.
            self.break_conn(id);
        }
    }

    fn on_message_back(&mut self, id: ConnId, message: PeerMessage) {
        let conn = self.conn(id);
        let (dialler, acceptor) = (conn.dialler, conn.acceptor.slot);
        let Some(process) = self.process(dialler) else { return };
        let Some(link) = process.links[acceptor.at()] else { return };
        match link.state {
            LinkState::Up(current) if current == id => {
                self.give(dialler.slot, Input::Message { from: link.peer, message });
            }
            // It overtook its Welcome, or follows one that was lost.
            LinkState::Dialling(current) if current == id => self.break_conn(id),
            LinkState::Down | LinkState::Up(_) | LinkState::Dialling(_) => {}
        }
    }

    /// Reports which frame arrives, if frames are narrated.
    fn tell_frame(&mut self, id: ConnId, direction: Direction, frame: &Frame) {
        if self.narration == Narration::Frames {
            let conn = self.conn(id);
            let (from, to) = match direction {
                Direction::Forward => (conn.dialler.slot, conn.acceptor.slot),
                Direction::Back => (conn.acceptor.slot, conn.dialler.slot),
            };
            self.narrate(to, || format!("<- h{}: {frame:?}", from.0));
        }
    }

    /// The open connection on which a process hears this node, if it has accepted one.
    pub(crate) fn heard_on(&self, at: Slot, peer: Peer) -> Option<ConnId> {
        let process = self.hosts[at.at()].run.process()?;
        let id = process.callers[slot_of(peer.id).at()]?;
        let conn = &self.conns[id.at()];
        (!conn.closed && conn.from == peer).then_some(id)
    }

    fn on_hello(&mut self, id: ConnId, hello: &Hello) {
        let conn = self.conn(id);
        let acceptor = conn.acceptor;
        let slot = acceptor.slot;
        let me = self.hosts[slot.at()].peer;
        if self.process(acceptor).is_some_and(|process| process.put_off) {
            // A node's new state must not be seen before its turn has ended.
            self.end_turn(slot);
        }
        let Some(process) = self.process(acceptor) else { return };
        let commit_index = process.node.commit_index();
        if hello.to != me {
            self.send_frame(id, Direction::Back, &Frame::Refuse(Refuse::NotMe { me }));
            return;
        }
        if process.node.knows_removed(hello.from, hello.commit_index) {
            self.send_frame(id, Direction::Back, &Frame::Refuse(Refuse::Removed { commit_index }));
            return;
        }
        let link = process.links[slot_of(hello.from.id).at()];
        let stranger = link.is_none_or(|link| link.peer != hello.from);
        let conn = self.conn(id);
        conn.accepted = true;
        conn.inbound.accept_large_frames();
        if let Some(process) = self.process(acceptor) {
            process.callers[slot_of(hello.from.id).at()] = Some(id);
        }
        self.send_frame(id, Direction::Back, &Frame::Welcome(Welcome { commit_index }));
        if stranger {
            // The node must be answered, whichever it is.
            self.link_to(slot, hello.from);
        }
    }

    fn on_welcome(&mut self, id: ConnId) {
        let conn = self.conn(id);
        conn.answers.accept_large_frames();
        let (from, to) = (conn.dialler, conn.acceptor.slot);
        let Some(process) = self.process(from) else { return };
        if let Some(link) = &mut process.links[to.at()]
            && link.state == LinkState::Dialling(id)
        {
            link.state = LinkState::Up(id);
        }
    }

    fn on_refuse(&mut self, id: ConnId, refuse: Refuse) {
        let conn = self.conn(id);
        conn.closed = true;
        let (from, to) = (conn.dialler, conn.acceptor.slot);
        let standing = self.hosts[from.slot.at()].standing;
        let Some(process) = self.process(from) else { return };
        let mine = process.node.commit_index();
        let Some(link) = &mut process.links[to.at()] else { return };
        if link.state == LinkState::Dialling(id) {
            link.state = LinkState::Down;
            self.redial(from, to);
        }
        if let (Refuse::Removed { commit_index }, Standing::Member { joined_at }) = (refuse, standing)
            && commit_index >= mine.max(joined_at)
        {
            self.on_removed(from.slot);
        }
    }
}

/// The addresses of a host, as members know them.
pub(crate) fn address(slot: Slot) -> String {
    format!("h{}:9001", slot.0)
}
