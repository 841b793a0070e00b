//! The other members. Each node dials every other. It sends its messages on the link that it has dialled, and
//! gets the responses there; the messages of the others arrive on the connections that they have dialled, and
//! are answered there. To a peer that it cannot dial, a node sends everything on the connection that the peer
//! has dialled.

mod channel;
pub(crate) mod connections;
mod copies;
pub(crate) mod handshake;
pub(crate) mod links;
#[cfg(test)]
mod tests;
