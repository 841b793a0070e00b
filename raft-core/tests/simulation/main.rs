//! Whole clusters of raft-core under random faults, each from one seed.
//!
//! `RAFT_SEED=n` replays one seed; `RAFT_SEEDS=n` runs that many, from `RAFT_SEED_FROM` on (0 where not
//! given):
//!
//! ```text
//! RAFT_SEEDS=100000 cargo test --release -p raft-core --test simulation -- --nocapture
//! ```
//!
//! What is checked at every step is in `world.rs`, on top of what the bench checks of every node.

mod faults;
#[path = "../harness/mod.rs"]
mod harness;
mod lasting;
mod oracle;
mod star;
mod totals;
mod world;

use totals::Totals;
use world::World;

/// How many seeds the short form runs.
const SEEDS: u64 = 150;

#[test]
fn random_faults_never_break_safety_and_the_cluster_recovers_from_all_of_them() {
    if let Some(seed) = number("RAFT_SEED") {
        run(seed);
        return;
    }
    let from = number("RAFT_SEED_FROM").unwrap_or(0);
    let seeds = number("RAFT_SEEDS").unwrap_or(SEEDS);
    let mut total = Totals::default();
    for seed in from..from + seeds {
        total.add(&run(seed));
    }
    println!("{seeds} seeds: {total:?}");
    // A simulation in which nothing happens proves nothing.
    assert!(total.committed > 10 * seeds, "too little was committed: {total:?}");
    assert!(total.elections > seeds, "too few elections: {total:?}");
    assert!(total.barriers > seeds, "too few barriers passed: {total:?}");
    for (what, count) in [
        ("snapshots", total.snapshots),
        ("memberships", total.memberships),
        ("transfers", total.transfers),
        ("stars", total.stars),
        ("lasting faults", total.lasting),
    ] {
        assert!(count >= seeds / 20, "too few {what}: {total:?}");
    }
}

fn run(seed: u64) -> Totals {
    let replay = Replay { seed };
    let totals = World::new(seed).run();
    drop(replay);
    totals
}

/// Says how to replay a seed when its run ends in a panic.
struct Replay {
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.seed;
            eprintln!("to replay: RAFT_SEED={seed} cargo test -p raft-core --test simulation -- --nocapture");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}
