//! Whole ticketd clusters in one thread, from one seed.
//!
//! Everything that decides is what ships: raft-core, the node, the peer protocol's bytes, the store's
//! records, its recorder and its journal. Everything around it is made up here, and goes wrong: time,
//! networks, disks, processes, clients, operators. The same seed gives the same run, byte for byte. It must
//! never change how what it runs behaves.

mod clients;
mod damage;
mod disk;
mod faults;
mod history;
mod host;
mod network;
mod operators;
mod oracle;
mod peace;
mod plan;
mod promises;
mod records;
mod rng;
mod schedule;
mod sectors;
mod settings;
mod shrink;
#[cfg(test)]
mod testing;
mod torn;
mod turns;
mod world;

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

pub use faults::{FAULTS, Fault};
pub use plan::{Ailment, Limits, Peace, Plan, Weather};
pub use rng::Rng;
pub use shrink::shrink;
pub use world::Summary;

/// Ends a run: something is not as promised.
macro_rules! violated {
    ($($what:tt)*) => {
        panic!("violated: {}", format_args!($($what)*))
    };
}
pub(crate) use violated;

/// Whether a run says what happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Narration {
    /// It is silent.
    Silent,
    /// A line for each change of role, membership and fortune, on standard error.
    Told,
    /// And one for each frame that arrives.
    Frames,
}

thread_local! {
    /// Where the last panic of this thread was, and what it said.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Lets failing runs tell where they failed without a word on standard error. For the whole process.
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
