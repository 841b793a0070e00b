//! Members that leave, are removed, come back, or move.

mod harness;

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use rustix::process::geteuid;

use harness::cluster::{self, Cluster};
use harness::command::{self, Running};
use harness::directory::{self, Directory, contents};
use harness::http;
use harness::load::Load;
use harness::network::{Cut, Network};
use harness::node::Node;
use harness::wait;

/// Enough answers to be sure that all clients have found the leader.
const SOME: u64 = 200;

/// Asserts that the store is gone, and its directory too if there was nothing else in it.
#[track_caller]
fn assert_destroyed(store: &Path) {
    assert!(!store.exists(), "{} is still there", store.display());
}

#[test]
fn a_follower_leaves_and_its_store_goes_with_it() {
    let mut cluster = Cluster::of(3);
    let follower = cluster.follower();
    let node = cluster.node(follower);
    node.command(&["leave"]).succeeded();
    assert_eq!(node.await_end().code(), Some(0));
    assert_destroyed(node.store());
    let rest = cluster.others(follower);
    cluster.await_voters(&rest);
    assert!(cluster.take() > 0);
}

/// The exit status and the output of a leave by a user who may read this user's files and not change them.
fn leave_as_another(node: &Node) -> io::Result<(Option<i32>, String)> {
    let mut command = command::ticketd(&["leave", "--path", &node.path()]);
    let permit = |mode| fs::set_permissions(node.store(), Permissions::from_mode(mode));
    if geteuid().is_root() {
        // The user `nobody`, on every Linux.
        command.uid(65534).gid(65534);
    }
    permit(0o555)?;
    let output = command.output();
    permit(0o755)?;
    output.map(|said| (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned()))
}

#[test]
fn a_user_who_may_not_destroy_the_store_cannot_make_the_node_leave() {
    let mut cluster = Cluster::of(3);
    let follower = cluster.follower();
    let node = cluster.node(follower);
    match leave_as_another(node) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            harness::skipped("others may not run what this user has built");
            return;
        }
        said => {
            let (code, said) = said.unwrap();
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("cannot destroy") && said.contains("nothing has changed"), "{said}");
            assert!(said.contains("as the user that the node runs as") && !said.contains("--path"), "{said}");
        }
    }
    assert!(node.status().is_some(), "it goes on");
    cluster.await_voters(&[1, 2, 3]);
}

#[test]
fn a_leave_that_cannot_destroy_the_store_says_that_the_node_has_left() {
    let mut cluster = Cluster::of(2);
    let follower = cluster.follower();
    let node = cluster.node(follower);
    // A directory in place of a file that would be removed.
    fs::create_dir(node.store().join("lock.mdb")).unwrap();
    let said = node.command(&["leave"]).refused(&["remains"]);
    assert!(said.contains(&format!("node {follower} has left its cluster; its store at")), "{said}");
    assert!(said.contains("ticketd drop"), "{said}");
    node.await_end();
    let rest: Vec<u64> = (1..=2).filter(|id| *id != follower).collect();
    cluster.await_voters(&rest);
}

#[test]
fn a_leader_that_leaves_under_load_is_replaced_and_no_id_repeats_or_comes_late() {
    let mut cluster = Cluster::of(3);
    let load = Load::on(cluster.client_addresses());
    let mut rest = vec![1, 2, 3];
    for _ in 0..2 {
        load.await_more(SOME);
        let leader = cluster.leader();
        let node = cluster.node(leader);
        node.command(&["leave"]).succeeded();
        assert_eq!(node.await_end().code(), Some(0));
        assert_destroyed(node.store());
        rest.retain(|id| *id != leader);
        cluster.await_voters(&rest);
        load.await_more(SOME);
    }
    load.finish().check();
}

#[test]
fn a_stopped_node_that_leaves_is_removed_and_its_store_destroyed() {
    let mut cluster = Cluster::of(3);
    let follower = cluster.follower();
    let node = cluster.node(follower);
    node.stop();
    node.command(&["leave"]).succeeded();
    assert_destroyed(node.store());
    let rest = cluster.others(follower);
    cluster.await_voters(&rest);
}

/// It may have been removed before it ended, and the answer to that lost with a leader that died.
#[test]
fn a_node_that_ends_while_it_leaves_is_removed_through_the_members_that_it_knew() {
    let mut cluster = Cluster::of(3);
    let (leaver, rest, leave) = cluster.leave_without_a_leader();
    cluster.node(leaver).kill();
    for id in &rest {
        cluster.node(*id).restart();
    }
    leave.end().succeeded();
    assert_destroyed(cluster.node(leaver).store());
    cluster.await_voters(&rest);
}

#[test]
fn a_dead_member_is_removed_by_its_id() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader();
    let dead = cluster.follower();
    cluster.node(dead).kill();
    // Also through a node that does not lead.
    let asked = (1..=3).find(|id| *id != leader && *id != dead).unwrap();
    cluster.node(asked).command(&["leave", "--id", &dead.to_string()]).succeeded();
    let rest = cluster.others(dead);
    cluster.await_voters(&rest);
    assert!(
        fs::exists(cluster.node(asked).store()).unwrap(),
        "another's leave destroys nothing of this node"
    );
}

#[test]
fn a_live_member_that_is_removed_by_its_id_stops() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader();
    for id in cluster.others(leader) {
        cluster.node(leader).command(&["leave", "--id", &id.to_string()]).succeeded();
        cluster.node(id).await_end();
        let log = cluster.node(id).log();
        assert!(log.contains("if the node was removed from elsewhere, 'ticketd drop --path="), "{log}");
    }
    cluster.await_voters(&[leader]);
    assert!(cluster.take() > 0);
}

/// A client that does not finish its request holds it up for longer than it would wait for a leader.
#[test]
fn a_removed_member_that_waits_for_its_clients_does_not_say_that_it_misses_a_leader() {
    let mut cluster = Cluster::with_flags(3, &["--election_timeout", "100", "--heartbeat_interval", "20"]);
    let (leader, removed) = (cluster.leader(), cluster.follower());
    let client = TcpStream::connect(&cluster.node(removed).client_address);
    let mut client = client.expect("the node listens");
    client.set_read_timeout(Some(wait::DEADLINE)).expect("it is not 0");
    client.write_all(b"GET / HTTP/1.1\r\n").expect("the node reads it");
    cluster.node(leader).command(&["leave", "--id", &removed.to_string()]).succeeded();
    let node = cluster.node(removed);
    node.await_end();
    let log = node.log();
    let (_, after) = log.split_once("is no longer a member of the cluster").expect("it says so");
    for words in ["knows no leader", "hears no leader", "stands for election"] {
        assert!(!after.contains(words), "{log}");
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("the connection ends in order");
    assert!(answer.starts_with("HTTP/1.1 503 "), "it did not wait for this client: {answer}");
}

#[test]
fn a_member_that_does_not_exist_cannot_be_removed() {
    let mut cluster = Cluster::of(2);
    let refused = cluster.node(1).command(&["leave", "--id", "7"]).refused(&["7"]);
    assert!(refused.contains("member"), "{refused}");
    cluster.await_voters(&[1, 2]);
}

#[test]
fn the_last_member_cannot_leave_and_is_told_of_drop() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    let before = wait::until("an ID", || cluster::take(&node.client_address));
    node.command(&["leave"]).refused(&["drop"]);
    assert!(cluster::take(&node.client_address).unwrap() > before);
    node.command(&["leave", "--id", "1"]).refused(&["drop"]);
    let said = "nothing came of the request that node 1 be removed: the last voter cannot be removed";
    wait::until_true("its log has the refusal", || node.log().contains(said));
    node.stop();
    let store = node.findings();
    node.command(&["leave"]).refused(&["drop"]);
    assert_eq!(node.findings(), store);
    node.restart();
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > before);
}

/// Its store is not the one where the command is given.
#[test]
fn the_last_member_that_another_node_is_to_remove_is_not_told_to_drop_the_store_of_that_one() {
    let mut cluster = Cluster::of(2);
    cluster.node(2).stop();
    cluster.node(1).command(&["leave", "--id", "2"]).succeeded();
    let refused = cluster.node(2).command(&["leave", "--id", "1"]).refused(&["last voter", "where it runs"]);
    assert!(!refused.contains("--path"), "{refused}");
}

#[test]
fn a_member_that_was_wiped_cannot_come_back_before_it_was_removed_and_can_after() {
    let mut cluster = Cluster::of(3);
    let before = cluster.take();
    let wiped = cluster.follower();
    let leader = cluster.leader();
    let through = cluster.node(leader).peer_address.clone();
    cluster.node(wiped).kill();
    let aside = cluster.directory.path().join("aside");
    fs::rename(cluster.node(wiped).store(), &aside).unwrap();
    let id = wiped.to_string();

    let mut second = Node::spawn(&cluster.directory, wiped, &["join", &through], &[]);
    second.end().refused_in_the_end(&["belongs to another", "leave", &id]);
    let said = format!("nothing came of the request that node {id} be added: the id belongs to another node");
    wait::until_true("the leader's log has the refusal", || cluster.node(leader).log().contains(&said));
    assert_destroyed(second.store());

    cluster.node(leader).command(&["leave", "--id", &id]).succeeded();
    let third = Node::join(&cluster.directory, wiped, &[&through], &[]);
    third.await_status("all vote", |status| status.voters() == [1, 2, 3]);

    // The old incarnation is refused, and the new one continues.
    let store = contents(&aside);
    let ports = ["--raft_port", "0", "--http_port", "0"];
    let old = command::run(&[&["--path", aside.to_str().unwrap()], &ports[..]].concat());
    old.refused_for_good_in_the_end(&["removed"]);
    assert!(
        !store.is_empty() && fs::exists(&aside).unwrap(),
        "a refused store is left for its owner to judge"
    );
    third.await_status("all vote", |status| status.voters() == [1, 2, 3]);
    cluster.forget(wiped);
    assert!(cluster.take() > before);
}

#[test]
fn a_store_of_a_removed_member_cannot_serve_or_join_again() {
    let mut cluster = Cluster::of(3);
    let removed = cluster.follower();
    let leader = cluster.leader();
    cluster.node(removed).kill();
    cluster.node(leader).command(&["leave", "--id", &removed.to_string()]).succeeded();
    cluster.node(removed).respawn(&[]);
    cluster.node(removed).end().refused_for_good_in_the_end(&["removed", "drop"]);
    let through = cluster.node(leader).peer_address.clone();
    let path = cluster.node(removed).path();
    let id = removed.to_string();
    let ports = ["--raft_port", "0", "--http_port", "0"];
    let line = ["join", &through, "--id", &id, "--path", &path];
    command::run(&[&line[..], &ports].concat()).refused(&["drop"]);
    // With --force it is a new node.
    let third = Node::join(&cluster.directory, removed, &[&through], &["--force"]);
    third.await_status("all vote", |status| status.voters() == [1, 2, 3]);
}

#[test]
fn a_member_that_was_removed_while_it_was_down_does_not_disturb_the_others_when_it_comes_back() {
    let mut cluster = Cluster::steady(4);
    let removed = cluster.follower();
    let leader = cluster.leader();
    cluster.node(removed).kill();
    cluster.node(leader).command(&["leave", "--id", &removed.to_string()]).succeeded();
    let term = cluster.node(leader).status().unwrap().term;
    cluster.node(removed).respawn(&[]);
    assert_eq!(cluster.node(removed).await_end().code(), Some(3));
    assert_eq!(cluster.node(leader).status().unwrap().term, term);
}

#[test]
fn a_member_comes_back_at_other_ports_and_the_others_and_the_redirects_follow() {
    let mut cluster = Cluster::steady(3);
    let moved = cluster.follower();
    let before = (cluster.node(moved).peer_address.clone(), cluster.node(moved).client_address.clone());
    cluster.node(moved).stop();
    cluster.node(moved).restart_with(&["--raft_port", "0", "--http_port", "0"]);
    let after = (cluster.node(moved).peer_address.clone(), cluster.node(moved).client_address.clone());
    assert!(before.0 != after.0 && before.1 != after.1);
    for node in cluster.awake() {
        node.await_status("the new addresses are known", |status| {
            let member = &status.members[&moved];
            (&member.peer_address, &member.client_address) == (&after.0, &after.1)
        });
    }
    cluster.leader();
    cluster.node(moved).command(&["transfer", "--id", &moved.to_string()]).succeeded();
    assert_eq!(cluster.leader(), moved);
    let follower = cluster.follower();
    let response = http::ask(&cluster.node(follower).client_address, "POST", "/").unwrap();
    assert_eq!(response.redirected_to(), Some(after.1.as_str()));
    // And its path alone is enough to bring it back there.
    cluster.node(moved).stop();
    cluster.leader();
    cluster.node(moved).restart();
    assert_eq!(cluster.node(moved).client_address, after.1);
    assert!(cluster.take() > 0);
}

#[test]
fn a_leader_that_comes_back_elsewhere_under_load_is_known_there() {
    let mut cluster = Cluster::of(3);
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    let moved = cluster.leader();
    cluster.node(moved).kill();
    cluster.node(moved).restart_with(&["--raft_port", "0", "--http_port", "0"]);
    let after = cluster.node(moved).peer_address.clone();
    load.await_more(SOME);
    for node in cluster.awake() {
        node.await_status("the new address is known", |status| status.members[&moved].peer_address == after);
    }
    load.finish().check();
}

#[test]
fn a_node_alone_that_moves_records_its_new_address() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    let before = wait::until("an ID", || cluster::take(&node.client_address));
    node.stop();
    node.restart_with(&["--raft_port", "0", "--http_port", "0"]);
    let clients = node.client_address.clone();
    let status =
        node.await_status("it knows its new address", |status| status.members[&1].client_address == clients);
    assert_eq!(status.members[&1].peer_address, node.peer_address);
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > before);
}

#[test]
fn a_cluster_grows_under_load_to_five_and_shrinks_to_one() {
    let mut cluster = Cluster::of(1);
    let load = Load::on(cluster.client_addresses());
    for id in 2..=5 {
        load.await_more(SOME);
        cluster.add(id);
    }
    cluster.await_voters(&[1, 2, 3, 4, 5]);
    // Clients know only the first node, so that one stays.
    for id in 2..=5 {
        load.await_more(SOME);
        cluster.node(1).command(&["leave", "--id", &id.to_string()]).succeeded();
        cluster.node(id).await_end();
    }
    cluster.await_voters(&[1]);
    load.await_more(SOME);
    load.finish().check();
}

#[test]
fn a_leave_without_a_quorum_says_that_it_could_not_be_done() {
    let mut cluster = Cluster::of(3);
    cluster.node(2).kill();
    cluster.node(3).kill();
    cluster.node(1).command(&["leave"]).refused_in_the_end(&["again"]);
    assert!(
        cluster.node(1).store().join("data.mdb").exists(),
        "a member that could not leave keeps its store"
    );
    cluster.node(2).restart();
    cluster.node(3).restart();
    assert!(cluster.take() > 0);
}

#[test]
fn two_members_that_swap_their_addresses_find_the_others_again() {
    let mut cluster = Cluster::of(3);
    let before = cluster.take();
    let port = |address: &str| address.rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap();
    let ports: Vec<[String; 2]> = [2, 3]
        .map(|id| [port(&cluster.node(id).peer_address), port(&cluster.node(id).client_address)])
        .into_iter()
        .collect();
    cluster.node(2).stop();
    cluster.node(3).stop();
    for (id, [raft_port, http_port]) in [(2, &ports[1]), (3, &ports[0])] {
        cluster.node(id).restart_with(&["--raft_port", raft_port, "--http_port", http_port]);
    }
    assert!(cluster.take() > before);
    for node in cluster.awake() {
        node.await_status("the addresses are known to be swapped", |status| {
            let ports_of = |id| port(&status.members[&id].peer_address);
            ports_of(2) == ports[1][0] && ports_of(3) == ports[0][0]
        });
    }
}

#[test]
fn a_leave_that_was_killed_before_the_store_was_destroyed_can_be_run_again() {
    let mut cluster = Cluster::of(3);
    let leaving = cluster.follower();
    let leader = cluster.leader();
    // What remains of a leave that did its work in the cluster and got no further.
    cluster.node(leaving).kill();
    cluster.node(leader).command(&["leave", "--id", &leaving.to_string()]).succeeded();
    let node = cluster.node(leaving);
    node.command(&["leave"]).succeeded();
    assert_destroyed(node.store());
}

/// Node 1, and node 2, which it has taken in, and which was killed before it received anything of the log,
/// because the network lets nothing through. `None` if the machine cannot have such a network.
fn learner_without_the_log() -> Option<(Cluster, Network)> {
    let Some(network) = Network::new() else {
        harness::skipped("this machine has no address 127.0.0.2");
        return None;
    };
    let mut cluster = Cluster::on(network.clone(), 1, &[]);
    network.cut(1, 2, Cut::Broken);
    cluster.add(2);
    cluster.node(2).kill();
    Some((cluster, network))
}

/// The log that it then receives has the memberships of former times, which are no news.
#[test]
fn a_node_that_joins_tells_of_no_membership_without_itself() {
    let mut cluster = Cluster::of(3);
    for id in [2, 3] {
        let log = cluster.node(id).log();
        let told: Vec<&str> =
            log.lines().filter_map(|line| line.split_once("members: ")).map(|(_, of)| of).collect();
        assert!(!told.is_empty(), "{log}");
        assert!(told.iter().all(|members| members.contains(&id.to_string())), "{log}");
    }
}

#[test]
fn a_learner_that_never_got_the_log_moves_by_joining_again() {
    let Some((mut cluster, network)) = learner_without_the_log() else { return };
    let two = cluster.node(2);
    // It knows no node that it could tell its address, and the leader looks for it at the old one.
    two.respawn(&["--raft_port", "0"]);
    two.end().refused(&["join"]);
    // Nor does it know that it is not alone.
    for command in [&["leave"][..], &["leave", "--id", "1"], &["transfer"]] {
        two.command(command).refused(&["has not heard from its cluster yet", "leave --id 2"]);
    }
    network.heal();
    cluster.add(2);
    cluster.await_voters(&[1, 2]);
}

/// It never knew one, nor whom it could miss.
#[test]
fn a_learner_that_gets_the_log_late_does_not_say_that_a_leader_is_known_again() {
    let Some((mut cluster, network)) = learner_without_the_log() else { return };
    cluster.node(2).restart();
    // That comes later than a leader would be missed.
    let line = "no member has connected to this node";
    wait::until_true("it says that nobody connects", || cluster.node(2).log().contains(line));
    network.heal();
    cluster.await_voters(&[1, 2]);
    let log = cluster.node(2).log();
    assert!(!log.contains("known again"), "{log}");
}

/// The log that it then receives contains its removal, which was before it joined this time.
#[test]
fn a_learner_that_never_got_the_log_and_was_removed_joins_again_and_stays() {
    let Some((mut cluster, network)) = learner_without_the_log() else { return };
    cluster.node(1).command(&["leave", "--id", "2"]).succeeded();
    network.heal();
    cluster.add(2);
    cluster.await_voters(&[1, 2]);
    let before = cluster.take();
    // It sees that removal again whenever it applies the log from the beginning.
    cluster.node(2).kill();
    cluster.node(2).restart();
    cluster.await_voters(&[1, 2]);
    assert!(cluster.take() > before);
    cluster.node(1).command(&["leave", "--id", "2"]).succeeded();
    assert_eq!(cluster.node(2).await_end().code(), Some(0), "the removal that is its own");
}

/// It dials the others, so it follows, votes and could lead.
#[test]
fn a_voter_that_nobody_can_dial_is_warned_of_until_it_can_be_and_is_not_handed_over_to() {
    let mut cluster = Cluster::steady(3);
    let leader = cluster.leader();
    // Of two that have as much of the log, the one with the smaller id would be the successor.
    let missed = (1..=3).find(|id| *id != leader).unwrap();
    cluster.node(missed).stop();
    cluster.node(missed).restart_with(&["--advertise", "127.0.0.9"]);
    let alone = "no member has connected to this node for 5.";
    wait::until_true("it says that nobody connects", || cluster.node(missed).log().contains(alone));
    for id in cluster.others(missed) {
        let node = cluster.node(id);
        let line = format!("node {missed} has been heard, but not reached at 127.0.0.9:");
        wait::until_true("it is warned of", || node.log().contains(&line));
        let log = node.log();
        let warning = log.lines().find(|logged| logged.contains(&line)).unwrap();
        assert!(warning.contains(" s (Connection refused"), "the last error is told: {warning}");
        assert!(!node.log().contains("no member has connected"), "{}", node.log());
        node.await_status("there is no link", |status| status.members[&missed].link == "down");
    }
    assert_eq!(cluster.leader(), leader);
    cluster.node(leader).stop();
    let next = cluster.await_leader("another leads", |id| id != leader);
    assert_ne!(next, missed);
    cluster.node(leader).restart();
    // Until then, the other one is the only one that could lead.
    cluster.node(next).await_status("it is back", |status| {
        let member = &status.members[&leader];
        member.link == "up" && member.match_index >= status.members[&missed].match_index
    });
    cluster.node(next).command(&["transfer"]).succeeded();
    assert_eq!(cluster.leader(), leader);

    cluster.node(missed).stop();
    cluster.node(missed).restart_with(&["--advertise", "127.0.0.1"]);
    let again = format!("node {missed} can be reached at 127.0.0.1:");
    wait::until_true("that is over", || cluster.node(next).log().contains(&again));
}

#[test]
fn a_copy_of_a_store_that_runs_beside_it_is_warned_of() {
    let directory = Directory::new();
    let mut cluster = Cluster::steady(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let original = cluster.node(follower);
    original.stop();
    let copy = directory.path().join("copy");
    directory::copy(original.store(), &copy);
    original.restart();
    cluster.await_voters(&[1, 2, 3]);
    let elsewhere = ["--path", copy.to_str().unwrap(), "--raft_port", "0", "--http_port", "0"];
    let process = Running::spawn(directory.path(), &elsewhere);
    let warned = |node: &Node| node.log().contains("IDs may repeat; stop both, 'ticketd leave --id");
    wait::until_true("the leader warns", || warned(cluster.node(leader)));
    drop(process);
    cluster.await_voters(&[1, 2, 3]);
    assert!(cluster.take() > 0);
}

#[test]
fn a_store_whose_lock_file_was_removed_is_still_in_use() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&node.client_address));
    fs::remove_file(node.store().join("lock")).unwrap();
    let (store, ports) = (node.path(), ["--raft_port", "0", "--http_port", "0"]);
    for command in [&["verify"][..], &["drop"], &ports, &["start", "--id", "1", "--force"]] {
        command::run(&[command, &["--path", &store]].concat()).refused(&["in use by another process"]);
    }
    assert!(cluster::take(&node.client_address).is_some());
}

/// As on a disk that was full when the node was started, or if the lock file was removed.
#[test]
fn commands_for_a_node_that_its_lock_does_not_name_say_where_to_ask_it() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&node.client_address));
    let lock = node.store().join("lock");
    let unnamed: [fn(&Path); 2] =
        [|lock| fs::write(lock, "").unwrap(), |lock| fs::remove_file(lock).unwrap()];
    for take_name in unnamed {
        take_name(&lock);
        for command in [&["status"][..], &["leave"], &["leave", "--id", "2"], &["transfer"]] {
            let said = node.command(command).refused(&["lock does not name", "GET /status", "'listening'"]);
            assert!(!said.contains("stop it first"), "{said}");
        }
    }
    assert!(cluster::take(&node.client_address).is_some());
}
