//! The real program on disks that fail, fill up, stall and forget, while clients take IDs. Whatever the
//! clients saw is judged in the end: no ID twice, none out of order.
//!
//! `TICKETD_CHAOS_ROUNDS` and `TICKETD_CHAOS_SEED` set how often and with which seed; `make chaos` is the
//! long form. The same seed tears the same sectors only where the processes have done the same, which they
//! need not.

// The disk is a library that is preloaded, with Linux's calls.
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

/// A cluster of three on such disks.
fn cluster(flags: &[&str]) -> Cluster {
    Disk::install();
    Cluster::with_flags(3, flags)
}

/// How often something is done: so often in `cargo test`, or as it was asked for.
fn rounds(usual: u64) -> u64 {
    number("TICKETD_CHAOS_ROUNDS").unwrap_or(usual)
}

/// The random numbers of a test, which prints where they come from.
fn random(seed: u64) -> Random {
    let seed = number("TICKETD_CHAOS_SEED").unwrap_or(0) ^ seed;
    eprintln!("seed {seed}");
    Random::new(seed)
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
