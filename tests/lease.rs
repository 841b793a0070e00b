//! Leases (`--lease`): a leader that holds one answers without asking other nodes, and no ID repeats or comes
//! late, whatever becomes of the leader.

mod harness;

use harness::cluster::{AwaitLeader, Cluster, take};
use harness::http;
use harness::load::Load;
use harness::wait;

/// Long enough for a busy machine to answer a heartbeat; a node that starts waits this long.
const LEASE: [&str; 3] = ["--lease", "--election_timeout", "1500"];

/// Enough answers to be sure that every client has had some.
const SOME: u64 = 200;

/// How many messages this node has sent to the others since it was started.
fn messages_sent(address: &str) -> u64 {
    http::metric(address, "ticketd_peer_sent_frames_total").expect("a node that is awake answers")
}

#[test]
fn a_leader_with_a_lease_answers_without_asking_and_one_without_asks_for_each_request() {
    let requests = 2_000;
    let mut sent = Vec::new();
    let kinds: [(_, AwaitLeader); 2] = [(&LEASE[..], Cluster::lease_holder), (&LEASE[1..], Cluster::leader)];
    for (flags, leader) in kinds {
        let mut cluster = Cluster::with_flags(3, flags);
        let leader = leader(&cluster);
        let address = cluster.node(leader).client_address.clone();
        let mut client =
            http::Client::connect(&address, wait::DEADLINE).expect("a node that is awake accepts");
        let before = messages_sent(&address);
        for _ in 0..requests {
            let response = client.ask("POST", "/").expect("a node that is awake answers");
            assert_eq!(response.status, 200, "{response:?}");
        }
        sent.push(messages_sent(&address) - before);
    }
    // Both counts include heartbeats: some seventeen a second, to two members. One of these must answer each
    // request; the other is not asked for more rounds than it keeps up with.
    assert!(sent[0] < requests, "{sent:?}");
    assert!(sent[1] >= requests, "{sent:?}");
}

#[test]
fn leaders_with_leases_die_stop_and_hand_over_and_no_id_repeats_or_comes_late() {
    let mut cluster = Cluster::with_flags(3, &LEASE);
    let load = Load::on(cluster.client_addresses());
    for round in 0..3 {
        load.await_more(SOME);
        let leader = cluster.lease_holder();
        match round {
            0 => cluster.node(leader).kill(),
            1 => cluster.node(leader).stop(),
            _ => {
                cluster.node(leader).command(&["transfer"]).succeeded();
            }
        }
        load.await_more(SOME);
        if round < 2 {
            cluster.node(leader).restart();
        }
    }
    load.await_more(SOME);
    load.finish().check();
}

#[test]
fn leases_are_switched_off_one_node_after_the_other_while_all_goes_on() {
    let mut cluster = Cluster::with_flags(3, &LEASE);
    cluster.lease_holder();
    for id in 1..=3 {
        cluster.node(id).stop();
        cluster.node(id).restart_with(&["--lease=off"]);
        let log = cluster.node(id).log();
        assert!(log.contains("may have promised its support"), "{log}");
        cluster.leader();
    }
    let leader = cluster.leader();
    assert!(!cluster.node(leader).status().expect("it is awake").holds_lease);
    let address = cluster.node(leader).client_address.clone();
    assert!(take(&address).is_some());
}
