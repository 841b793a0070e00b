//! Everything at once, at random: nodes die, are paused, stop, come back and hand over while clients take
//! IDs.
//!
//! Each storm prints its seed. Processes are less deterministic than a simulation, so the same seed makes the
//! same storm, but may not give the same result. `TICKETD_STORM_SEED` and `TICKETD_STORM_STEPS` set the seed
//! and the length.

mod harness;

use std::env;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use harness::cluster::Cluster;
use harness::load::Load;
use harness::node::Node;
use harness::random::Random;

/// Enough answers to be sure that all clients have found the leader.
const SOME: u64 = 200;

/// How many events there are in one storm.
const STEPS: u64 = 25;

/// Around the election timeout: some pauses end before the others have noticed, and some after.
const PAUSE_MS_MAX: u64 = 450;

struct Storm {
    random: Random,
    cluster: Cluster,
    size: u64,
}

impl Storm {
    fn rage(flags: &[&str], size: u64, seed: u64) {
        let seed = number("TICKETD_STORM_SEED").unwrap_or(seed);
        let steps = number("TICKETD_STORM_STEPS").unwrap_or(STEPS);
        eprintln!("TICKETD_STORM_SEED={seed} TICKETD_STORM_STEPS={steps}");
        let cluster = Cluster::with_flags(size, flags);
        let mut storm = Storm { random: Random::new(seed), cluster, size };
        let load = Load::on(storm.cluster.client_addresses());
        for _ in 0..steps {
            storm.step();
            if storm.random.below(4) == 0 && storm.has_quorum() {
                load.await_more(SOME);
            }
            thread::sleep(Duration::from_millis(storm.random.below(PAUSE_MS_MAX)));
        }
        storm.calm();
        load.await_more(SOME);
        load.finish().check();
        storm.cluster.await_voters(&(1..=size).collect::<Vec<_>>());
    }

    fn step(&mut self) {
        let id = 1 + self.random.below(self.size);
        let action = self.random.below(100);
        let has_quorum = self.has_quorum();
        let node = self.cluster.node(id);
        match action {
            0..25 if node.is_awake() => node.kill(),
            0..25 => revive(node),
            25..55 if node.is_awake() => node.pause(),
            25..55 => revive(node),
            55..70 if node.is_awake() => node.stop(),
            55..70 => revive(node),
            70..85 if node.is_awake() && has_quorum => {
                // It may be refused: no node leads yet, or no other is up to date.
                let _ = node.command(&["transfer"]);
            }
            70..85 => revive(node),
            85..95 => self.calm(),
            _ => {
                self.cluster
                    .nodes()
                    .filter(|node| node.is_running())
                    .for_each(|node| node.signal(Signal::KILL));
                self.cluster.nodes().filter(|node| node.is_running()).for_each(Node::kill);
                self.calm();
            }
        }
    }

    /// Waits until all nodes are up and awake.
    fn calm(&mut self) {
        self.cluster.nodes().for_each(revive);
    }

    fn has_quorum(&self) -> bool {
        self.cluster.awake().count() as u64 > self.size / 2
    }
}

fn revive(node: &mut Node) {
    if !node.is_running() {
        node.restart();
    } else if !node.is_awake() {
        node.resume();
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn three_nodes_weather_a_storm() {
    Storm::rage(&[], 3, 1);
}

#[test]
fn three_nodes_without_a_window_weather_a_storm() {
    Storm::rage(&["--window", "0"], 3, 2);
}

#[test]
fn three_nodes_that_forward_weather_a_storm() {
    Storm::rage(&["--forward", "--window", "50"], 3, 3);
}

#[test]
fn five_nodes_weather_a_storm() {
    Storm::rage(&["--window", "1000"], 5, 4);
}
