//! The real program on disks that fail, fill up, stall and forget, while clients take IDs. In the end,
//! everything that the clients saw is judged: no ID twice, none out of order.
//!
//! `TICKETD_CHAOS_ROUNDS` and `TICKETD_CHAOS_SEED` set the number of rounds and the seed; `make chaos` is the
//! long form. The same seed tears the same sectors only if the processes do the same, which is not certain.

// The disk is a preloaded library that intercepts Linux's calls.
#![cfg(target_os = "linux")]

mod damage;
mod disk;
mod failure;
#[path = "../harness/mod.rs"]
mod harness;
mod power;
mod read_back;

use std::env;

use harness::cluster::Cluster;
use harness::random::Random;

use disk::Disk;

/// Enough answers to be sure that all clients have found the leader.
const SOME: u64 = 200;

/// A cluster of three nodes on such disks.
fn cluster(flags: &[&str]) -> Cluster {
    Disk::install();
    Cluster::with_flags(3, flags)
}

/// How many rounds: `usual` in `cargo test`, or as requested.
fn rounds(usual: u64) -> u64 {
    number("TICKETD_CHAOS_ROUNDS").unwrap_or(usual)
}

/// The random numbers of a test; prints their seed.
fn random(seed: u64) -> Random {
    let seed = number("TICKETD_CHAOS_SEED").unwrap_or(0) ^ seed;
    eprintln!("seed {seed}");
    Random::new(seed)
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
