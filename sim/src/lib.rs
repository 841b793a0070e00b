//! Simulates whole ticketd clusters in one thread, each from one seed.
//!
//! All code that makes decisions is the code that ships: raft-core, the node, the encoding of the peer
//! protocol, the store's records, its recorder and its journal. Everything around it is simulated, and goes
//! wrong: time, networks, disks, processes, clients, operators. The same seed gives the same run, byte for
//! byte. The simulation must never change how the code that it runs behaves.

mod checks;
mod clients;
mod damage;
mod disk;
mod durable;
mod faults;
mod history;
mod host;
mod narration;
mod network;
mod operators;
mod oracle;
mod plan;
mod records;
mod recovery;
mod rng;
mod schedule;
mod sectors;
mod settings;
mod shrink;
mod star;
#[cfg(test)]
mod testing;
mod torn;
mod turns;
mod world;

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

pub use faults::{FAULTS, Fault};
pub use narration::Narration;
pub use plan::{Aftermath, Cuts, LastingFault, Latency, Limits, Plan, Weather};
pub use rng::Rng;
pub use shrink::shrink;
pub use world::Summary;

/// Ends a run because a promise or an invariant is broken.
macro_rules! violated {
    ($($what:tt)*) => {
        panic!("violated: {}", format_args!($($what)*))
    };
}
pub(crate) use violated;

thread_local! {
    /// Location and message of the last panic of this thread.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps panics off standard error, for the whole process; failing runs report where they failed.
pub fn keep_panics_quiet() {
    panic::set_hook(Box::new(|info| LAST_PANIC.with(|last| *last.borrow_mut() = info.to_string())));
}

/// Runs the cluster that a seed stands for.
///
/// # Errors
/// What was violated: a promise, an invariant, or an assertion of the code under test.
pub fn run(seed: u64, limits: &Limits, narration: Narration) -> Result<Summary, String> {
    let plan = Plan::new(seed, limits);
    if narration != Narration::Silent {
        eprintln!("{plan:?}");
    }
    let world = AssertUnwindSafe(|| world::World::new(plan, limits.clone(), narration).run());
    panic::catch_unwind(world).map_err(|_| LAST_PANIC.with(|last| last.borrow().clone()))
}
