//! The settings of nodes, and what a restart changes in them.

use raft_core::Peer;
use ticketd::settings::{Settings, Switch};

use crate::plan::Plan;
use crate::rng::Rng;
use crate::schedule::{Epoch, Slot};
use crate::world::World;

/// The longest election timeout that a node is started with, in halves of the plan's.
const LONGEST_TIMEOUT_HALVES: u64 = 4;

impl Plan {
    /// The longest election timeout of any node, in microseconds.
    pub(crate) fn longest_election_timeout_us(&self) -> u64 {
        let halves = if self.settings_vary { LONGEST_TIMEOUT_HALVES } else { 2 };
        self.election_timeout_us * halves / 2
    }

    /// The settings of this life of a node. `epoch` distinguishes its lives.
    fn settings(&self, peer: Peer, epoch: Epoch) -> Settings {
        let settings = Settings {
            window: self.window,
            election_timeout_ms: self.election_timeout_us / 1_000,
            heartbeat_interval_ms: self.heartbeat_interval_us / 1_000,
            request_timeout_ms: self.request_timeout_us / 1_000,
            forward: switch(self.forward),
            lease: switch(self.keeps_leases(peer)),
            clock_error_ppm: self.lease.map_or(0, |leases| leases.clock_error_ppm),
            ..Settings::default()
        };
        if !self.settings_vary {
            return settings;
        }
        let mut rng = Rng::new(self.seed ^ peer.id.get() ^ u64::from(epoch.0).rotate_left(32), 8);
        // No timeout is shorter than the plan's, which fits the plan's disks, and no window is larger than
        // the plan's, which bounds gaps.
        let halves = rng.pick(&[2, 2, 3, LONGEST_TIMEOUT_HALVES]).unwrap_or(2);
        let window = rng.pick(&[self.window, self.window, self.window / 2, 0]).unwrap_or(self.window);
        let changes_lease = self.lease.is_some() && rng.percent(30);
        Settings {
            window,
            election_timeout_ms: settings.election_timeout_ms * halves / 2,
            heartbeat_interval_ms: settings.heartbeat_interval_ms / rng.between(1, 2),
            forward: switch(self.forward && rng.percent(70)),
            lease: switch((settings.lease == Switch::On) != changes_lease),
            ..settings
        }
    }
}

impl World {
    /// Settles with which settings a process is to be started, unless it has to wait first. It is bound by
    /// what it promised under the settings in its store, so it waits that out before the store gets others.
    /// Returns whether it waits.
    pub(crate) fn sits_out_promises(&mut self, slot: Slot) -> bool {
        let host = &mut self.hosts[slot.at()];
        let settings = self.plan.settings(host.peer, host.epoch);
        let outlive_ms = host.settings.as_ref().map_or(0, |stored| stored.promises_outlive_ms(&settings));
        let local = host.clock.local(self.now);
        let until = *host.bound_until.get_or_insert(local.plus(outlive_ms * 1_000));
        if local < until {
            let at = host.clock.when(until);
            self.start_at(slot, at);
            return true;
        }
        host.bound_until = None;
        host.settings = Some(settings);
        false
    }
}

fn switch(on: bool) -> Switch {
    if on { Switch::On } else { Switch::Off }
}
