//! Nodes that cannot hear one another while clients reach them all.

mod harness;

use std::fs;
use std::thread;
use std::time::Duration;

use harness::cluster::{AwaitLeader, Cluster, STEADY};
use harness::load::Load;
use harness::network::{Cut, Network};
use harness::random::Random;
use harness::wait;

/// Enough answers to be sure that all clients have found the leader.
const SOME: u64 = 200;

/// A cluster on a network that can be cut; `None`, with a message, if the machine cannot have one.
fn networked(size: u64, flags: &[&str]) -> Option<(Network, Cluster)> {
    let Some(network) = Network::new() else {
        harness::skipped("this machine has no address 127.0.0.2");
        return None;
    };
    Some((network.clone(), Cluster::on(network, size, flags)))
}

fn cut_the_leader_off(flags: &[&str], leader: AwaitLeader, cut: Cut, times: u32) {
    let Some((network, cluster)) = networked(3, flags) else { return };
    let load = Load::on(cluster.client_addresses());
    for _ in 0..times {
        load.await_more(SOME);
        let leader = leader(&cluster);
        network.isolate(leader, cluster.others(leader), cut);
        // Clients reach the old leader as well as the new one.
        cluster.await_leader("another leads", |id| id != leader);
        load.await_more(SOME);
        network.heal();
        load.await_more(SOME);
    }
    load.finish().check();
    cluster.leader();
}

#[test]
fn a_leader_whose_links_break_hands_out_nothing_once_another_leads() {
    cut_the_leader_off(&[], Cluster::leader, Cut::Broken, 4);
}

#[test]
fn with_forward_a_leader_whose_links_break_hands_out_nothing_once_another_leads() {
    cut_the_leader_off(&["--forward"], Cluster::leader, Cut::Broken, 3);
}

#[test]
fn a_leader_whose_links_fall_silent_hands_out_nothing_once_another_leads() {
    cut_the_leader_off(&[], Cluster::leader, Cut::Silent, 3);
}

#[test]
fn with_forward_a_leader_whose_links_fall_silent_hands_out_nothing_once_another_leads() {
    cut_the_leader_off(&["--forward", "--window", "50"], Cluster::leader, Cut::Silent, 3);
}

#[test]
fn with_a_lease_a_leader_whose_links_break_hands_out_nothing_once_another_leads() {
    cut_the_leader_off(&["--lease"], Cluster::lease_holder, Cut::Broken, 3);
}

#[test]
fn with_a_lease_a_leader_whose_links_fall_silent_hands_out_nothing_once_another_leads() {
    cut_the_leader_off(&["--lease"], Cluster::lease_holder, Cut::Silent, 3);
}

/// Cuts the connections between the leader and the others in one direction; `from_and_to` turns the leader
/// and one of the others into the sender that is not heard and the receiver that does not hear it.
fn cut_the_leader_off_one_way(from_and_to: impl Fn(u64, u64) -> (u64, u64)) {
    let Some((network, cluster)) = networked(3, &[]) else { return };
    let load = Load::on(cluster.client_addresses());
    for cut in [Cut::Broken, Cut::Silent] {
        load.await_more(SOME);
        let leader = cluster.leader();
        for other in cluster.others(leader) {
            let (from, to) = from_and_to(leader, other);
            network.cut(from, to, cut);
        }
        cluster.await_leader("another leads", |id| id != leader);
        load.await_more(SOME);
        network.heal();
    }
    load.await_more(SOME);
    load.finish().check();
}

#[test]
fn a_leader_that_hears_nobody_is_replaced() {
    cut_the_leader_off_one_way(|leader, other| (other, leader));
}

#[test]
fn a_leader_that_nobody_hears_is_replaced() {
    cut_the_leader_off_one_way(|leader, other| (leader, other));
}

#[test]
fn a_follower_that_lost_the_leader_alone_does_not_depose_it() {
    let Some((network, mut cluster)) = networked(3, &STEADY) else { return };
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let term = cluster.node(leader).status().map(|status| status.term);
    for cut in [Cut::Broken, Cut::Silent] {
        network.cut(leader, follower, cut);
        network.cut(follower, leader, cut);
        cluster
            .node(follower)
            .await_status("it has lost its leader", |status| status.role == "pre-candidate");
        load.await_more(SOME);
        network.heal();
        cluster.node(follower).await_status("it follows again", |status| status.leader == Some(leader));
    }
    assert_eq!(cluster.node(leader).status().map(|status| status.term), term, "nobody but it has led");
    load.finish().check();
}

#[test]
fn two_of_five_that_are_cut_off_with_the_leader_serve_nobody() {
    let Some((network, cluster)) = networked(5, &[]) else { return };
    let load = Load::on(cluster.client_addresses());
    for cut in [Cut::Broken, Cut::Silent] {
        load.await_more(SOME);
        let leader = cluster.leader();
        let companion = cluster.follower();
        let others = || (1..=5).filter(|id| *id != leader && *id != companion);
        for other in others() {
            for inside in [leader, companion] {
                network.cut(inside, other, cut);
                network.cut(other, inside, cut);
            }
        }
        cluster.await_leader("the majority has a leader", |id| id != leader && id != companion);
        load.await_more(SOME);
        network.heal();
        load.await_more(SOME);
    }
    load.finish().check();
}

#[test]
fn while_links_come_and_go_at_random_no_id_repeats_or_comes_late() {
    for (seed, flags) in [(1, &[][..]), (2, &["--forward", "--window", "20"])] {
        eprintln!("seed {seed}");
        let Some((network, cluster)) = networked(3, flags) else { return };
        let mut random = Random::new(seed);
        let load = Load::on(cluster.client_addresses());
        for step in 0..40 {
            let from = 1 + random.below(3);
            let to = 1 + (from + random.below(2)) % 3;
            let cut = if random.below(2) == 0 { Cut::Broken } else { Cut::Silent };
            network.cut(from, to, cut);
            if step % 4 == 3 {
                network.heal();
            }
            thread::sleep(Duration::from_millis(random.below(300)));
        }
        network.heal();
        load.await_more(SOME);
        load.finish().check();
        cluster.leader();
    }
}

#[test]
fn a_member_that_hangs_is_named_by_the_leader() {
    let mut cluster = Cluster::of(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    cluster.node(follower).pause();
    let silent = format!("node {follower} is connected and has said nothing for");
    wait::until_true("the leader says so", || cluster.node(leader).log().contains(&silent));
    cluster.node(follower).resume();
    let heard = format!("node {follower} is heard again");
    wait::until_true("the leader hears it", || cluster.node(leader).log().contains(&heard));
    cluster.node(follower).kill();
    let gone = format!("node {follower} has not been heard for");
    wait::until_true("the leader says that it is gone", || cluster.node(leader).log().contains(&gone));
    cluster.node(follower).restart();
    wait::until_true("the leader hears it again", || cluster.node(leader).log().matches(&heard).count() >= 2);
}

/// Waits until the leader says that a follower is silent, and names this among the causes.
fn await_cause_of_silence(cluster: &mut Cluster, leader: u64, follower: u64, why: &str) {
    let silent = format!("node {follower} is connected and has said nothing for");
    wait::until_true("the leader names that cause too", || {
        cluster.node(leader).log().lines().any(|line| line.contains(&silent) && line.contains(why))
    });
}

#[test]
fn a_member_that_hears_the_leader_and_cannot_reach_it_is_not_just_said_to_hang() {
    let Some((network, mut cluster)) = networked(3, &[]) else { return };
    let (leader, follower) = (cluster.leader(), cluster.follower());
    network.cut(follower, leader, Cut::Silent);
    await_cause_of_silence(&mut cluster, leader, follower, "or it cannot reach this node");
}

#[test]
fn a_member_whose_disk_has_failed_is_not_just_said_to_hang() {
    let mut cluster = Cluster::of(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    fs::remove_dir_all(cluster.node(follower).store()).expect("it is there");
    await_cause_of_silence(&mut cluster, leader, follower, "its disk may have failed");
}

/// A firewall may let the connections of one direction through alone.
#[test]
fn a_member_that_cannot_dial_the_leader_follows_it_all_the_same() {
    let Some((network, mut cluster)) = networked(3, &[]) else { return };
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    let leader = cluster.leader();
    let [shut_out, other] = cluster.others(leader)[..] else { panic!("there are three nodes") };
    network.cut(shut_out, leader, Cut::Undialled);
    cluster.node(shut_out).kill();
    cluster.node(shut_out).restart();
    cluster.node(shut_out).await_status("it follows", |status| status.leader == Some(leader));
    cluster.node(other).kill();
    load.await_more(SOME);
    assert_eq!(cluster.leader(), leader);
    load.finish().check();
}

/// Its acknowledgements count, so it may be the only one that has all that is committed.
#[test]
fn a_member_that_cannot_dial_leads_if_no_other_has_all_of_the_log() {
    let Some((network, mut cluster)) = networked(3, &[]) else { return };
    let load = Load::on(cluster.client_addresses());
    let leader = cluster.leader();
    let [shut_out, other] = cluster.others(leader)[..] else { panic!("there are three nodes") };
    network.cut(shut_out, leader, Cut::Undialled);
    network.cut(shut_out, other, Cut::Undialled);
    cluster.node(shut_out).kill();
    cluster.node(shut_out).restart();
    cluster.node(shut_out).await_status("it follows", |status| status.leader == Some(leader));
    cluster.node(other).kill();
    // More than one window.
    load.await_more(10 * SOME);
    cluster.node(leader).kill();
    cluster.node(other).restart();
    cluster.await_leader("it leads", |id| id == shut_out);
    load.await_more(SOME);
    load.finish().check();
}

/// Whether what is sent is acknowledged says nothing behind a proxy.
#[test]
fn connections_that_are_dead_and_acknowledge_everything_are_replaced() {
    let Some((network, cluster)) = networked(3, &[]) else { return };
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    network.forget_flows();
    load.await_more(10 * SOME);
    cluster.leader();
    load.finish().check();
}

/// An operator who is called at night reads one log, and asks one node.
#[test]
fn a_node_that_is_left_alone_says_who_cannot_be_heard() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader();
    let others = cluster.others(leader);
    others.iter().for_each(|id| cluster.node(*id).pause());
    let alone = format!("and node {} and node {} cannot be heard", others[0], others[1]);
    wait::until_true("the leader says so", || cluster.node(leader).log().contains(&alone));
    assert!(cluster.node(leader).log().contains("because it has not heard a majority"));
    let status = cluster.node(leader).await_status("it is no leader", |status| !status.leads());
    assert!(others.iter().all(|id| status.members[id].last_heard_ms.is_some()), "{status:?}");
    others.iter().for_each(|id| cluster.node(*id).resume());
    wait::until_true("a leader is there", || {
        cluster.node(leader).log().contains("a leader is known again after")
    });
}

/// It blames no node for what it did not hear while it was paused.
#[test]
fn a_leader_that_did_not_run_says_so_and_blames_nobody() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader();
    cluster.node(leader).pause();
    cluster.await_leader("another leads", |id| id != leader);
    // Longer than any running node is held up, as far as nodes can tell.
    thread::sleep(Duration::from_millis(1_500));
    cluster.node(leader).resume();
    wait::until_true("it says so", || cluster.node(leader).log().contains("did not run for"));
    cluster.node(leader).await_status("it follows", |status| status.leader.is_some() && !status.leads());
    assert!(!cluster.node(leader).log().contains("has said nothing for"));
}
