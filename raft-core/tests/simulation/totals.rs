//! What happened, over a run or several.

/// How often something happened.
#[derive(Clone, Copy, Default, Debug)]
#[allow(dead_code, reason = "printed")]
pub(crate) struct Totals {
    pub(crate) events: u64,
    pub(crate) committed: u64,
    pub(crate) elections: u64,
    pub(crate) barriers: u64,
    pub(crate) crashes: u64,
    pub(crate) snapshots: u64,
    pub(crate) memberships: u64,
    pub(crate) transfers: u64,
    /// Partial partitions that the cluster recovered in, and in how many election timeouts the slowest did.
    pub(crate) stars: u64,
    pub(crate) slowest_star: u64,
    /// Lasting faults of a minority that the others did without.
    pub(crate) lasting: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Totals) {
        self.events += other.events;
        self.committed += other.committed;
        self.elections += other.elections;
        self.barriers += other.barriers;
        self.crashes += other.crashes;
        self.snapshots += other.snapshots;
        self.memberships += other.memberships;
        self.transfers += other.transfers;
        self.stars += other.stars;
        self.slowest_star = self.slowest_star.max(other.slowest_star);
        self.lasting += other.lasting;
    }
}
