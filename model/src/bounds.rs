//! How far an exploration goes: what may happen, and how often.

/// How often each thing may happen in one run. What is 0 never happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Terms after the first one of the exploration. A state with a later term is not explored.
    pub terms: u64,
    /// Election timeouts, of all nodes together.
    pub timeouts: u8,
    /// Heartbeat intervals, of all leaders together.
    pub heartbeats: u8,
    /// Followers that hear nothing for an election timeout without campaigning yet.
    pub silences: u8,
    /// Processes found to be gone by one of their followers.
    pub refusals: u8,
    /// Commands proposed.
    pub proposals: u8,
    /// Read barriers begun, of each kind.
    pub barriers: u8,
    /// Changes of membership requested, in this order; any may be skipped.
    pub changes: &'static [Change],
    /// Hand-overs requested.
    pub transfers: u8,
    /// Compactions.
    pub compactions: u8,
    /// Crashes, each followed by a restart.
    pub crashes: u8,
    /// Disks that fail.
    pub write_failures: u8,
    /// Messages delivered twice.
    pub duplicates: u8,
    /// Messages on their way at once. A state with more is not explored.
    pub in_flight: usize,
    /// When disks finish.
    pub disk: DiskSpeed,
}

/// When a write becomes durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskSpeed {
    /// In the step that causes it.
    Prompt,
    /// At any time after it, in order.
    Any,
}

/// A change of membership, naming the node by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// Adds it as a learner.
    Add(u64),
    /// Removes it.
    Remove(u64),
}

macro_rules! counters {
    ($($name:ident)*) => {
        /// What has happened so far in one run, counted against [`Bounds`].
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
        pub(crate) struct Spent {
            $(pub(crate) $name: u8,)*
        }

        impl Spent {
            /// How many counters there are.
            pub(crate) const BYTES: usize = [$(stringify!($name)),*].len();

            /// The counters in order.
            pub(crate) fn bytes(self) -> [u8; Spent::BYTES] {
                [$(self.$name),*]
            }
        }
    };
}

counters! {
    timeouts heartbeats silences refusals proposals barriers changes transfers compactions crashes
    write_failures duplicates
}

impl Bounds {
    /// Nothing happens except that messages are delivered.
    pub const NOTHING: Bounds = Bounds {
        terms: 0,
        timeouts: 0,
        heartbeats: 0,
        silences: 0,
        refusals: 0,
        proposals: 0,
        barriers: 0,
        changes: &[],
        transfers: 0,
        compactions: 0,
        crashes: 0,
        write_failures: 0,
        duplicates: 0,
        in_flight: 8,
        disk: DiskSpeed::Prompt,
    };
}
