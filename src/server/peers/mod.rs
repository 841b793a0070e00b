//! The other members. This node dials each of them, and sends only on the link that it has dialled; what the
//! others send arrives on the connections that they have dialled.

mod attempt;
mod backoff;
pub(crate) mod connections;
mod copies;
mod dial;
#[cfg(test)]
mod dial_tests;
pub(crate) mod handshake;
#[cfg(test)]
mod hello_tests;
pub(crate) mod links;
pub(crate) mod resolver;
