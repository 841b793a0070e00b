//! One attempt to reach a peer: which addresses are left to try, and what the ones tried so far show about
//! the peer's process.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use raft_core::Micros;

use crate::server::limits::{ABSENCE_US_MIN, RESOLVE_US_MAX};

/// What the addresses tried so far show about the process at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PeerProcess {
    /// The process is gone: its address refuses connections (ECONNREFUSED), so nobody listens there.
    Gone,
    /// They show nothing.
    Unknown,
}

/// The addresses of one attempt. Each is tried once, one after the other.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Where the peer last sent a Welcome, if that was under the name being tried.
    reached: Option<SocketAddr>,
    /// The addresses tried so far. The last one is still being tried, or has failed.
    tried: Vec<SocketAddr>,
    rest: VecDeque<SocketAddr>,
    /// How long this attempt waits for the addresses of its name; `None` if the name is not being resolved.
    resolving_until: Option<Micros>,
    /// Every address tried so far has refused the connection.
    all_refused: bool,
    /// When the process counts as gone: set once `reached` has refused and as long as no other address has
    /// accepted a connection.
    absent_from: Option<Micros>,
}

impl Attempt {
    /// An attempt to reach the peer at these addresses.
    pub(crate) fn at(addresses: &[SocketAddr]) -> Attempt {
        Attempt {
            reached: None,
            tried: Vec::new(),
            rest: addresses.iter().copied().collect(),
            resolving_until: None,
            all_refused: true,
            absent_from: None,
        }
    }

    /// An attempt to reach the peer by a name that has these addresses. Under this name the peer was last
    /// reached at `reached`.
    pub(crate) fn by_resolved_name(reached: Option<SocketAddr>, addresses: &[SocketAddr]) -> Attempt {
        let mut attempt = Attempt { reached, ..Attempt::at(&[]) };
        attempt.on_resolved(addresses);
        attempt
    }

    /// An attempt to reach the peer by a name that is still being resolved. Under this name the peer was last
    /// reached at `reached`. That address is tried first, so that a slow or dead name server delays nothing
    /// while the peer is where it was. If the peer has moved, no harm is done: the handshake shows who is
    /// there instead.
    pub(crate) fn by_name(reached: Option<SocketAddr>, now: Micros) -> Attempt {
        let resolving_until = Some(now.plus(RESOLVE_US_MAX));
        Attempt { reached, resolving_until, ..Attempt::at(reached.as_slice()) }
    }

    pub(crate) fn next(&mut self) -> Option<SocketAddr> {
        let next = self.rest.pop_front()?;
        self.tried.push(next);
        Some(next)
    }

    pub(crate) fn current(&self) -> Option<SocketAddr> {
        self.tried.last().copied()
    }

    /// The name has these addresses. The one that worked last comes first: another one might never answer,
    /// and would cost seconds in every attempt.
    pub(crate) fn on_resolved(&mut self, addresses: &[SocketAddr]) {
        self.resolving_until = None;
        let (mut first, others): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses
            .iter()
            .filter(|address| !self.tried.contains(address))
            .partition(|address| Some(**address) == self.reached);
        first.extend(others);
        self.rest = first.into();
    }

    /// The name has no addresses, or this attempt no longer waits for them.
    pub(crate) fn on_unresolved(&mut self) {
        self.resolving_until = None;
    }

    /// Until when this attempt waits for the addresses of its name; `None` if it does not wait.
    pub(crate) fn resolving_until(&self) -> Option<Micros> {
        self.resolving_until
    }

    /// The connection to the address being tried failed with this error.
    pub(crate) fn on_connect_failed(&mut self, error: &io::Error, now: Micros) {
        if error.kind() != io::ErrorKind::ConnectionRefused {
            self.all_refused = false;
        } else if self.reached.is_some() && self.current() == self.reached {
            self.absent_from = Some(now.plus(ABSENCE_US_MIN));
        }
    }

    /// The address being tried accepted the connection: somebody listens there, possibly the peer.
    pub(crate) fn on_connected(&mut self) {
        self.all_refused = false;
        self.absent_from = None;
    }

    /// When [`Attempt::take_absence`] may return true.
    pub(crate) fn absent_from(&self) -> Option<Micros> {
        self.absent_from
    }

    /// Whether the process now counts as gone although the attempt goes on. Returns true only once.
    pub(crate) fn take_absence(&mut self, now: Micros) -> bool {
        self.absent_from.take_if(|from| *from <= now).is_some()
    }

    /// Every address has failed: what that shows about the process.
    ///
    /// A peer whose name cannot be resolved counts as gone if the address where it was last reached refuses,
    /// as if that were its only known address. It might run elsewhere, unknown to this node. But then this
    /// node cannot answer it either; the report only makes this node ask the others for a pre-vote; and they
    /// deny it as long as they hear the leader. Reporting nothing, on the other hand, would cost an election
    /// timeout each time a leader ends while no names can be resolved.
    pub(crate) fn peer_process(&self) -> PeerProcess {
        let each_refused = self.all_refused && !self.tried.is_empty();
        if each_refused || self.absent_from.is_some() { PeerProcess::Gone } else { PeerProcess::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SocketAddr = address(1);
    const B: SocketAddr = address(2);
    const C: SocketAddr = address(3);
    const NOW: Micros = Micros(1_000_000);

    const fn address(port: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
    }

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    fn unreachable() -> io::Error {
        io::ErrorKind::HostUnreachable.into()
    }

    /// What an attempt shows whose addresses have failed with these errors.
    fn peer_process(mut attempt: Attempt, errors: &[io::Error]) -> PeerProcess {
        for error in errors {
            assert!(attempt.next().is_some());
            attempt.on_connect_failed(error, NOW);
        }
        assert_eq!(attempt.next(), None);
        attempt.peer_process()
    }

    #[test]
    fn a_peer_counts_as_gone_where_each_of_its_addresses_refused() {
        assert_eq!(peer_process(Attempt::at(&[A, B]), &[refused(), refused()]), PeerProcess::Gone);
        assert_eq!(peer_process(Attempt::at(&[A, B]), &[refused(), unreachable()]), PeerProcess::Unknown);
        assert_eq!(peer_process(Attempt::at(&[A, B]), &[unreachable(), refused()]), PeerProcess::Unknown);
        assert_eq!(peer_process(Attempt::by_name(None, NOW), &[]), PeerProcess::Unknown, "nothing was tried");
    }

    #[test]
    fn where_the_name_is_not_resolved_the_address_that_worked_last_decides() {
        assert_eq!(peer_process(Attempt::by_name(Some(A), NOW), &[refused()]), PeerProcess::Gone);
        assert_eq!(peer_process(Attempt::by_name(Some(A), NOW), &[unreachable()]), PeerProcess::Unknown);
    }

    #[test]
    fn an_address_that_never_worked_and_does_not_answer_does_not_speak_for_the_peer() {
        let mut attempt = Attempt::by_name(Some(B), NOW);
        assert_eq!(attempt.next(), Some(B));
        attempt.on_resolved(&[A, B]);
        attempt.on_connect_failed(&refused(), NOW);
        assert_eq!(attempt.next(), Some(A));
        assert!(!attempt.take_absence(NOW), "it has a moment to show that it lives");
        assert!(attempt.take_absence(NOW.plus(ABSENCE_US_MIN)));
        attempt.on_connect_failed(&unreachable(), NOW);
        assert_eq!(attempt.peer_process(), PeerProcess::Unknown, "it has been said");
    }

    #[test]
    fn a_peer_that_listens_elsewhere_is_not_gone() {
        let mut attempt = Attempt::by_name(Some(B), NOW);
        attempt.next();
        attempt.on_resolved(&[B, C]);
        attempt.on_connect_failed(&refused(), NOW);
        assert_eq!(attempt.next(), Some(C));
        attempt.on_connected();
        assert!(!attempt.take_absence(NOW.plus(10 * ABSENCE_US_MIN)));
        assert_eq!(attempt.peer_process(), PeerProcess::Unknown);
    }

    #[test]
    fn the_address_that_worked_last_is_tried_first() {
        let mut attempt = Attempt::by_resolved_name(Some(B), &[A, B, C]);
        let order: Vec<SocketAddr> = std::iter::from_fn(|| attempt.next()).collect();
        assert_eq!(order, [B, A, C]);
        let mut attempt = Attempt::by_resolved_name(Some(B), &[A, C]);
        let order: Vec<SocketAddr> = std::iter::from_fn(|| attempt.next()).collect();
        assert_eq!(order, [A, C], "the peer has left it");
    }

    #[test]
    fn no_address_is_tried_twice_in_one_attempt() {
        let mut attempt = Attempt::by_name(Some(B), NOW);
        assert_eq!(attempt.next(), Some(B));
        attempt.on_resolved(&[A, B, C]);
        let rest: Vec<SocketAddr> = std::iter::from_fn(|| attempt.next()).collect();
        assert_eq!(rest, [A, C]);
    }
}
