//! The other members. This node dials each of them and sends what it has to say on the link that it has
//! dialled, where their responses come back; what the others have to say arrives on the connections that they
//! have dialled, and is answered there. Only what this node has to say to one that it cannot dial goes on the
//! connection that the other one has dialled.

mod attempt;
mod backoff;
mod channel;
pub(crate) mod connections;
mod copies;
mod dial;
pub(crate) mod handshake;
pub(crate) mod links;
mod reach;
pub(crate) mod resolver;
#[cfg(test)]
mod tests;
