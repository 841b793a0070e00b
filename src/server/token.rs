//! Which source an event is from, packed into the number that the poll carries.

use mio::Token;

/// A source of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// There may be a connection to accept at a port for peers, by its index among them.
    PeerPort(usize),
    /// There may be a connection to accept at a port for clients, by its index among them.
    ClientPort(usize),
    /// Another thread has something for the loop.
    Waker,
    /// A request to stop.
    Stop,
    /// A link that this node dialled, by its key.
    Link(usize),
    /// A connection accepted on the peer port, by its key.
    PeerConnection(usize),
    /// A client, by its key.
    Client(usize),
}

const KIND_BITS: u32 = 3;

impl Source {
    /// The number for the poll. A key beyond 2^61 would be confused with a smaller one; no table grows that
    /// large.
    pub(super) fn token(self) -> Token {
        let (kind, key) = match self {
            Source::PeerPort(port_index) => (0, port_index),
            Source::ClientPort(port_index) => (1, port_index),
            Source::Waker => (2, 0),
            Source::Stop => (3, 0),
            Source::Link(key) => (4, key),
            Source::PeerConnection(key) => (5, key),
            Source::Client(key) => (6, key),
        };
        Token(key << KIND_BITS | kind)
    }

    /// The source that the number stands for; `None` if [`Source::token`] makes no such number.
    pub(super) fn of(token: Token) -> Option<Source> {
        let key = token.0 >> KIND_BITS;
        match token.0 & ((1 << KIND_BITS) - 1) {
            0 => Some(Source::PeerPort(key)),
            1 => Some(Source::ClientPort(key)),
            2 => Some(Source::Waker),
            3 => Some(Source::Stop),
            4 => Some(Source::Link(key)),
            5 => Some(Source::PeerConnection(key)),
            6 => Some(Source::Client(key)),
            7.. => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_comes_back_from_its_token() {
        let keys = [0, 1, 7, 8, usize::MAX >> KIND_BITS];
        let keyed = keys.into_iter().flat_map(|k| {
            let ports = [Source::PeerPort(k), Source::ClientPort(k)];
            ports.into_iter().chain([Source::Link(k), Source::PeerConnection(k), Source::Client(k)])
        });
        let single = [Source::Waker, Source::Stop];
        for source in single.into_iter().chain(keyed) {
            assert_eq!(Source::of(source.token()), Some(source));
        }
        assert_eq!(Source::of(Token(7)), None);
    }
}
