//! Ports for nodes that come back to the same address.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the system gives to outgoing connections (32768 to 60999 on Linux): while a node is
/// down, no client's connection may happen to take its port, nor connect to itself there.
const FIRST: u32 = 10_240;
const COUNT: u32 = 22_000;

/// The distance between the first ports of two test processes that are started one after the other.
const STRIDE: u32 = 997;

/// A port of the loopback interface on which nothing listens, and which this process has not been given
/// before.
///
/// # Panics
/// If there is none.
pub fn free() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = process::id().wrapping_mul(STRIDE) % COUNT;
        let port = u16::try_from(FIRST + (start + offset) % COUNT).expect("FIRST + COUNT is below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
}
