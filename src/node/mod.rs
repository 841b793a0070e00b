//! Floor 2: Raft and the counter, put together. Pure: requests and messages in; answers, messages and writes
//! out. It has no clock, no sockets, no threads, and must never know how requests or messages travel.

mod io;

pub use io::*;
