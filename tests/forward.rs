//! Nodes that ask the leader on their clients' behalf (`--forward`): every node answers, in one common order,
//! whichever node leads, and whichever dies.

mod harness;

use std::collections::BTreeSet;

use harness::cluster::Cluster;
use harness::http;
use harness::load::Load;
use harness::wait;

/// Enough answers to be sure that every client has had some.
const SOME: u64 = 200;

#[track_caller]
fn status_of(address: &str, target: &str) -> u16 {
    http::ask(address, "POST", target).expect("a node that is awake answers").status
}

#[test]
fn every_node_answers_itself_and_no_id_repeats_or_comes_late() {
    let cluster = Cluster::with_flags(3, &["--forward"]);
    cluster.leader();
    for address in cluster.client_addresses() {
        wait::until_true("a node answers itself", || status_of(&address, "/") == 200);
    }
    let mut last = 0;
    for round in 0..30 {
        for address in cluster.client_addresses() {
            let response = http::ask(&address, "POST", "/?n=3").expect("a node that is awake answers");
            let ids = response.ids().unwrap_or_else(|| panic!("round {round}: {response:?}"));
            assert_eq!(ids.end() - ids.start(), 2, "{response:?}");
            assert!(*ids.start() > last, "round {round}: {ids:?} after {last}");
            last = *ids.end();
        }
    }
    let load = Load::on(cluster.client_addresses());
    load.await_more(5 * SOME);
    load.finish().check();
}

#[test]
fn a_client_is_answered_or_told_to_come_back_across_a_change_of_leader_and_never_sent_elsewhere() {
    let mut cluster = Cluster::with_flags(3, &["--forward"]);
    let leader = cluster.leader();
    let follower = cluster.follower();
    let address = cluster.node(follower).client_address.clone();
    cluster.node(leader).kill();
    let mut seen = BTreeSet::new();
    wait::until_true("the next leader's IDs", || {
        let status = status_of(&address, "/");
        seen.insert(status);
        status == 200
    });
    seen.remove(&200);
    seen.remove(&503);
    assert!(seen.is_empty(), "it was answered {seen:?}");
}

#[test]
fn without_a_majority_it_says_503_and_is_not_ready() {
    let mut cluster = Cluster::with_flags(3, &["--forward"]);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    for id in 1..=3 {
        if id != follower {
            cluster.node(id).kill();
        }
    }
    assert_ne!(leader, follower);
    let address = cluster.node(follower).client_address.clone();
    let told = wait::until("it is told that nobody leads", || {
        let response = http::ask(&address, "POST", "/").expect("a node that is awake answers");
        (response.reason == "Leader unavailable").then_some(response)
    });
    assert_eq!((told.status, told.field("retry-after")), (503, Some("1")));
    let ready = http::ask(&address, "GET", "/readyz").expect("a node that is awake answers");
    assert_eq!(ready.status, 503, "{ready:?}");
    let alive = http::ask(&address, "GET", "/healthz").expect("a node that is awake answers");
    assert_eq!(alive.status, 200, "{alive:?}");
}

#[test]
fn a_restart_remembers_to_forward_until_it_is_told_otherwise() {
    let mut cluster = Cluster::with_flags(3, &["--forward"]);
    cluster.leader();
    let id = cluster.follower();
    cluster.node(id).stop();
    cluster.node(id).restart();
    let address = cluster.node(id).client_address.clone();
    wait::until_true("it forwards again", || status_of(&address, "/") == 200);
    cluster.node(id).stop();
    cluster.node(id).restart_with(&["--forward=off"]);
    let address = cluster.node(id).client_address.clone();
    wait::until_true("it redirects", || status_of(&address, "/") == 301);
}
