//! Processes that die or are paused while clients take IDs. In the end, everything that the clients saw is
//! judged: no ID twice, none out of order.

mod harness;

use std::thread;
use std::time::Duration;

use harness::cluster::{self, AwaitLeader, Cluster, STEADY};
use harness::directory::Directory;
use harness::http::Client;
use harness::load::Load;
use harness::node::Node;
use harness::wait;

/// Enough answers to be sure that all clients have found the leader.
const SOME: u64 = 200;

fn kill_leader_repeatedly(flags: &[&str], times: u32) {
    let mut cluster = Cluster::with_flags(3, flags);
    let load = Load::on(cluster.client_addresses());
    for _ in 0..times {
        load.await_more(SOME);
        let leader = cluster.leader();
        cluster.node(leader).kill();
        load.await_more(SOME);
        cluster.node(leader).restart();
    }
    load.await_more(SOME);
    load.finish().check();
}

#[test]
fn the_leader_is_killed_again_and_again_and_no_id_repeats_or_comes_late() {
    kill_leader_repeatedly(&[], 4);
}

#[test]
fn without_a_window_the_leader_is_killed_again_and_again_and_no_id_repeats_or_comes_late() {
    kill_leader_repeatedly(&["--window", "0"], 4);
}

#[test]
fn with_a_tiny_window_the_leader_is_killed_again_and_again_and_no_id_repeats_or_comes_late() {
    kill_leader_repeatedly(&["--window", "3"], 2);
}

#[test]
fn with_forward_and_without_a_window_the_leader_is_killed_again_and_again_and_no_id_repeats_or_comes_late() {
    kill_leader_repeatedly(&["--forward", "--window", "0"], 3);
}

#[test]
fn with_forward_the_leader_is_killed_again_and_again_and_no_id_repeats_or_comes_late() {
    kill_leader_repeatedly(&["--forward"], 3);
}

fn kill_all_at_once(flags: &[&str], times: u32) {
    let mut cluster = Cluster::with_flags(3, flags);
    let load = Load::on(cluster.client_addresses());
    for _ in 0..times {
        load.await_more(SOME);
        for node in cluster.nodes() {
            node.signal(rustix::process::Signal::KILL);
        }
        for node in cluster.nodes() {
            node.await_end();
        }
        for node in cluster.nodes() {
            node.respawn(&[]);
        }
        for node in cluster.nodes() {
            node.await_listening();
        }
    }
    load.await_more(SOME);
    load.finish().check();
    cluster.await_voters(&[1, 2, 3]);
}

#[test]
fn all_nodes_are_killed_at_once_and_come_back_with_nothing_but_their_paths() {
    kill_all_at_once(&[], 3);
}

#[test]
fn without_a_window_all_nodes_are_killed_at_once_and_come_back() {
    kill_all_at_once(&["--window", "0"], 2);
}

#[test]
fn a_leader_that_stands_still_for_seconds_does_not_go_on_where_it_stopped() {
    leader_stands_still(&[], Cluster::leader);
}

#[test]
fn with_forward_a_leader_that_stands_still_for_seconds_does_not_go_on_where_it_stopped() {
    leader_stands_still(&["--forward"], Cluster::leader);
}

/// Its lease has ended while it stood still, and its clock went on.
#[test]
fn with_a_lease_a_leader_that_stands_still_for_seconds_does_not_go_on_where_it_stopped() {
    leader_stands_still(&["--lease"], Cluster::lease_holder);
}

fn leader_stands_still(flags: &[&str], leader: AwaitLeader) {
    let mut cluster = Cluster::with_flags(3, flags);
    let load = Load::on(cluster.client_addresses());
    for _ in 0..2 {
        load.await_more(SOME);
        let leader = leader(&cluster);
        cluster.node(leader).pause();
        // Another node leads, while the paused one has requests in its sockets.
        load.await_more(SOME);
        cluster.leader();
        thread::sleep(Duration::from_secs(2));
        load.await_more(SOME);
        cluster.node(leader).resume();
        load.await_more(SOME);
    }
    load.finish().check();
}

#[test]
fn a_leader_that_stands_still_for_moments_loses_no_order() {
    let mut cluster = Cluster::with_flags(3, &["--window", "50"]);
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    // Around the election timeout: sometimes the paused node is deposed, and sometimes it is just in time.
    for milliseconds in [200, 300, 350, 400, 500, 700] {
        let leader = cluster.leader();
        cluster.node(leader).pause();
        thread::sleep(Duration::from_millis(milliseconds));
        cluster.node(leader).resume();
        load.await_more(SOME);
    }
    load.finish().check();
}

#[test]
fn all_nodes_stand_still_and_go_on() {
    let mut cluster = Cluster::of(3);
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    cluster.nodes().for_each(Node::pause);
    thread::sleep(Duration::from_secs(1));
    cluster.nodes().for_each(Node::resume);
    load.await_more(SOME);
    load.finish().check();
}

#[test]
fn five_nodes_lose_two_and_serve_on() {
    let mut cluster = Cluster::of(5);
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    let leader = cluster.leader();
    cluster.node(leader).kill();
    load.await_more(SOME);
    let second = cluster.leader();
    cluster.node(second).kill();
    load.await_more(SOME);
    let leader_now = cluster.leader();
    let status = cluster.node(leader_now).await_status("two links are down", |status| {
        status.members.values().filter(|member| member.link == "down").count() == 2
    });
    assert_eq!(status.voters(), [1, 2, 3, 4, 5]);
    cluster.node(leader).restart();
    cluster.node(second).restart();
    load.await_more(SOME);
    load.finish().check();
    let leader = cluster.leader();
    cluster.node(leader).await_status("all links are up", |status| {
        status.members.values().all(|member| member.link != "down")
    });
}

#[test]
fn a_follower_that_is_killed_again_and_again_disturbs_nobody() {
    let mut cluster = Cluster::steady(3);
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    let leader = cluster.leader();
    let follower = cluster.follower();
    for _ in 0..3 {
        cluster.node(follower).kill();
        load.await_more(SOME);
        cluster.node(follower).restart();
        load.await_more(SOME);
    }
    load.finish().check();
    assert_eq!(cluster.leader(), leader);
}

#[test]
fn without_a_window_a_killed_node_skips_nothing_that_it_had_not_been_asked_for() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--window", "0"]);
    let first = wait::until("an ID", || cluster::take(&node.client_address));
    assert_eq!(first, 1);
    for id in 2..5 {
        node.kill();
        node.restart();
        assert_eq!(wait::until("an ID", || cluster::take(&node.client_address)), id);
    }
}

#[test]
fn a_killed_node_skips_one_window_at_most() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--window", "1000"]);
    let mut last = wait::until("an ID", || cluster::take(&node.client_address));
    for _ in 0..3 {
        let mut client = Client::connect(&node.client_address, wait::DEADLINE).unwrap();
        for _ in 0..700 {
            last = *client.ask("POST", "/").unwrap().ids().unwrap().start();
        }
        node.kill();
        node.restart();
        let next = wait::until("an ID", || cluster::take(&node.client_address));
        assert!(next > last && next - last <= 1001, "{next} after {last}");
        last = next;
    }
}

/// The process that checks the store for it ends with it, however far they had got.
#[test]
fn a_node_that_is_killed_while_it_starts_can_be_started_again_at_once() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    for ms in 0..30 {
        node.kill();
        node.respawn(&[]);
        thread::sleep(Duration::from_millis(ms));
        node.kill();
        node.restart();
    }
}

#[test]
fn a_node_that_was_down_while_the_log_was_compacted_catches_up() {
    let mut cluster = Cluster::with_flags(3, &[&STEADY[..], &["--window", "0"]].concat());
    let behind = cluster.follower();
    cluster.node(behind).kill();
    let load = Load::on(cluster.client_addresses());
    let leader = cluster.leader();
    // Each batch is an entry of the log, and the log is compacted after some thousands.
    cluster.node(leader).await_committed(9_000);
    cluster.node(behind).restart();
    let there = cluster.node(leader).status().unwrap().commit_index;
    cluster.node(behind).await_status("it has caught up", |status| status.applied_index >= there);
    load.finish().check();
    // With what it has received it can vote and serve.
    let other = (1..=3).find(|id| *id != behind && *id != leader).unwrap();
    cluster.node(other).kill();
    let before = cluster.take();
    assert!(cluster.take() > before);
}

/// The way back from a lost majority is a new cluster that begins above everything that may have been handed
/// out.
#[test]
fn a_store_that_is_left_says_up_to_where_ids_were_reserved() {
    let mut cluster = Cluster::of(3);
    let highest = (0..SOME).map(|_| cluster.take()).max().expect("some");
    let leader = cluster.leader();
    let index = cluster.node(leader).await_status("a leader", |_| true).commit_index;
    for node in cluster.nodes() {
        node.await_status("all of the log", |status| status.applied_index >= index);
    }
    cluster.nodes().for_each(Node::kill);
    for node in cluster.nodes() {
        let said = node.command(&["verify"]).succeeded();
        let words: Vec<&str> = said.lines().last().expect("several lines").split(' ').collect();
        let ["no", "ID", "from", next, ..] = words[..] else { panic!("{said}") };
        assert!(next.parse::<u64>().expect("a number") > highest, "{highest} was handed out: {said}");
        // Started alone, the node does not know what is committed, but reports the same.
        node.restart();
        assert!(node.command(&["status"]).succeeded().contains(&format!("reserved    IDs below {next}, by")));
        node.kill();
    }
}
