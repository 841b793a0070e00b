//! How a cluster is formed: `start`, `join`, and what they wait for.

mod harness;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use harness::cluster::{self, Cluster};
use harness::command::{self, Ended, Running};
use harness::directory::{Directory, as_argument};
use harness::http;
use harness::node::Node;
use harness::ports;
use harness::wait;

#[test]
fn a_start_and_two_joins_make_three_voters_who_all_lead_to_an_id() {
    let directory = Directory::new();
    let one = Node::start(&directory, 1, &[]);
    let two = Node::join(&directory, 2, &[&one.peer_address], &[]);
    let three = Node::join(&directory, 3, &[&one.peer_address], &[]);
    for node in [&one, &two, &three] {
        let status = node.await_status("all vote", |status| status.voters() == [1, 2, 3]);
        let addresses: Vec<_> =
            status.members.values().map(|member| member.client_address.as_str()).collect();
        assert_eq!(addresses, [&one.client_address, &two.client_address, &three.client_address]);
    }
    let mut last = 0;
    for node in [&one, &two, &three] {
        let id = wait::until("an ID", || cluster::take(&node.client_address));
        assert!(id > last, "{id} after {last}");
        last = id;
    }
}

/// As when the disk that the link leads to is not mounted.
#[test]
fn no_store_is_made_where_a_symbolic_link_leads_to_nothing() {
    let directory = Directory::new();
    let (nothing, link) = (directory.path().join("nothing"), directory.path().join("link"));
    symlink(&nothing, &link).unwrap();
    let said = format!("{}: it is a symbolic link to {}", link.display(), nothing.display());
    for path in [&link, &link.join("below")] {
        let path = as_argument(path);
        let start = ["start", "--id", "1", "--path", &path, "--raft_port", "0", "--http_port", "0"];
        command::run(&start).refused(&[&said]);
        assert!(!nothing.exists());
    }
}

#[test]
fn the_first_id_is_one_unless_told_otherwise() {
    let directory = Directory::new();
    let plain = Node::start(&directory, 1, &[]);
    assert_eq!(wait::until("an ID", || cluster::take(&plain.client_address)), 1);
    let told = Node::start(&directory, 2, &["--first_id", "1000000000000"]);
    assert_eq!(wait::until("an ID", || cluster::take(&told.client_address)), 1_000_000_000_000);
    for (node, first) in [(&plain, "1"), (&told, "1000000000000")] {
        assert!(node.log().contains(&format!("its first ID is {first}\n")), "{}", node.log());
    }
}

#[test]
fn the_largest_id_is_a_node_id_like_any_other() {
    let directory = Directory::new();
    let node = Node::start(&directory, u64::MAX, &[]);
    assert_eq!(node.await_status("it leads", harness::status::Status::leads).id, u64::MAX);
    assert_eq!(wait::until("an ID", || cluster::take(&node.client_address)), 1);
}

#[test]
fn without_a_path_the_store_is_in_the_working_directory() {
    let directory = Directory::new();
    let raft_port = ports::free().to_string();
    let _start = Running::spawn(
        directory.path(),
        &["start", "--id", "1", "--raft_port", &raft_port, "--http_port", &ports::free().to_string()],
    );
    wait::until_true("the node runs", || {
        harness::command::run_in(directory.path(), &["status"]).status.success()
    });
    assert!(directory.path().join("store").is_dir());
}

#[test]
fn port_zero_means_free_ports_that_the_log_names_and_a_restart_keeps() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--raft_port", "0", "--http_port", "0"]);
    let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let (peers, clients) = (port(&node.peer_address), port(&node.client_address));
    assert!(peers.is_some_and(|port| port > 0) && clients.is_some_and(|port| port > 0) && peers != clients);
    let first = wait::until("an ID", || cluster::take(&node.client_address));
    let before = (node.peer_address.clone(), node.client_address.clone());
    node.stop();
    node.respawn(&[]);
    // The ports were free while the node was down: on a busy machine another program may have taken one.
    wait::until_true("the node listens or finds its port taken", || {
        node.log().contains("listening peers=") || node.log().contains(" is in use: ")
    });
    if node.log().contains(" is in use: ") {
        eprintln!("left out in part: somebody took the port of a node that was down");
        return;
    }
    node.await_listening();
    assert_eq!((node.peer_address.clone(), node.client_address.clone()), before);
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > first);
}

#[test]
fn a_cluster_on_ipv6_redirects_to_bracketed_addresses() {
    if TcpListener::bind("[::1]:0").is_err() {
        harness::skipped("this machine has no IPv6 loopback address");
        return;
    }
    let directory = Directory::new();
    let one = Node::start(&directory, 1, &["--host", "::1"]);
    assert!(
        one.peer_address.starts_with("[::1]:") && one.client_address.starts_with("[::1]:"),
        "{}",
        one.peer_address
    );
    let two = Node::join(&directory, 2, &[&one.peer_address], &["--host", "::1"]);
    two.await_status("both vote", |status| status.voters() == [1, 2]);
    let redirect = wait::until("a redirect", || {
        http::ask(&two.client_address, "POST", "/").ok().filter(|response| response.status == 301)
    });
    assert_eq!(redirect.redirected_to(), Some(one.client_address.as_str()));
    assert!(cluster::take(&two.client_address).is_some());
}

#[test]
fn a_node_may_be_named_by_a_host_name() {
    let directory = Directory::new();
    let one = Node::start(&directory, 1, &["--host", "localhost"]);
    let two = Node::join(&directory, 2, &[&one.peer_address], &["--host", "localhost"]);
    two.await_status("both vote", |status| status.voters() == [1, 2]);
    assert!(wait::until("an ID", || cluster::take(&two.client_address)) > 0);
}

#[test]
fn the_advertised_host_is_what_others_are_told() {
    let directory = Directory::new();
    let flags = ["--host", "0.0.0.0", "--advertise", "localhost"];
    let one = Node::start(&directory, 1, &flags);
    let port = one.peer_address.rsplit_once(':').map_or("", |(_, port)| port);
    let two = Node::join(&directory, 2, &[&format!("127.0.0.1:{port}")], &flags);
    let status = two.await_status("both vote", |status| status.voters() == [1, 2]);
    for member in status.members.values() {
        assert!(member.peer_address.starts_with("localhost:"), "{member:?}");
        assert!(member.client_address.starts_with("localhost:"), "{member:?}");
    }
}

#[test]
fn a_join_through_a_follower_is_led_to_the_leader() {
    let mut cluster = Cluster::of(2);
    let follower = cluster.follower();
    let through = cluster.node(follower).peer_address.clone();
    let three = Node::join(&cluster.directory, 3, &[&through], &[]);
    three.await_status("all vote", |status| status.voters() == [1, 2, 3]);
}

#[test]
fn a_join_finds_the_one_live_member_among_several_addresses() {
    let directory = Directory::new();
    let one = Node::start(&directory, 1, &[]);
    let dead = format!("127.0.0.1:{}", ports::free());
    let two = Node::join(&directory, 2, &[&dead, &one.peer_address], &[]);
    two.await_status("both vote", |status| status.voters() == [1, 2]);
    let list = format!("{dead},{}", one.peer_address);
    let three = Node::join(&directory, 3, &[&list], &[]);
    three.await_status("all vote", |status| status.voters() == [1, 2, 3]);
}

#[test]
fn a_join_waits_for_a_member_that_does_not_run_yet() {
    let directory = Directory::new();
    let raft_port = ports::free().to_string();
    let mut two = Node::spawn(&directory, 2, &["join", &format!("127.0.0.1:{raft_port}")], &[]);
    wait::until_true("the join says what it waits for", || two.log().contains("waiting for the cluster"));
    let _one = Node::start(&directory, 1, &["--raft_port", &raft_port]);
    two.await_listening();
    two.await_status("both vote", |status| status.voters() == [1, 2]);
}

#[test]
fn a_join_waits_for_a_cluster_without_a_leader_and_says_so() {
    let mut cluster = Cluster::of(3);
    cluster.node(2).kill();
    cluster.node(3).kill();
    let through = cluster.node(1).peer_address.clone();
    let mut four = Node::spawn(&cluster.directory, 4, &["join", &through], &[]);
    wait::until_true("the join says what it waits for", || four.log().contains("waiting for the cluster"));
    cluster.node(2).restart();
    four.await_listening();
    cluster.node(3).restart();
    four.await_status("all vote", |status| status.voters() == [1, 2, 3, 4]);
}

#[test]
fn a_join_that_was_killed_before_it_was_answered_can_be_run_again() {
    let mut cluster = Cluster::of(1);
    let through = cluster.node(1).peer_address.clone();
    cluster.node(1).pause();
    let mut two = Node::spawn(&cluster.directory, 2, &["join", &through], &[]);
    // Its store is the first visible sign; the request is on its way then, or soon after.
    wait::until_true("the join has begun", || two.store().join("data.mdb").exists());
    two.kill();
    cluster.node(1).resume();
    let two = Node::join(&cluster.directory, 2, &[&through], &[]);
    two.await_status("both vote", |status| status.voters() == [1, 2]);
    assert!(cluster.take() > 0);
}

/// Reads one frame, whatever its content: first come a length (of what follows the type), a checksum and a
/// type.
fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 9];
    stream.read_exact(&mut frame)?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
    io::copy(&mut stream.take(length.into()), &mut frame)?;
    Ok(frame)
}

/// Node 2, which asks the test to take it in, and the connection on which it asks.
fn asking_to_join(directory: &Directory) -> (Node, TcpStream) {
    let between = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = between.local_addr().expect("it is bound").to_string();
    let two = Node::spawn(directory, 2, &["join", &address], &[]);
    (two, wait::accept(&between))
}

/// What the member at this address answers to a request.
fn answer_to(request: &[u8], address: &str) -> Vec<u8> {
    let mut member = TcpStream::connect(address).expect("the member listens");
    member.set_read_timeout(Some(wait::DEADLINE)).expect("it is not 0");
    member.write_all(request).expect("the member reads");
    read_frame(&mut member).expect("the member answers")
}

#[test]
fn a_join_whose_answer_was_lost_can_be_run_again_on_other_ports() {
    let mut cluster = Cluster::of(1);
    let through = cluster.node(1).peer_address.clone();
    // The request is passed on, and the answer withheld.
    let (mut two, mut asking) = asking_to_join(&cluster.directory);
    let request = read_frame(&mut asking).unwrap();
    two.kill();
    answer_to(&request, &through);
    cluster.node(1).await_status("it has taken the node in", |status| status.members.contains_key(&2));

    let two = Node::join(&cluster.directory, 2, &[&through], &[]);
    let status = two.await_status("both vote", |status| status.voters() == [1, 2]);
    assert_eq!(status.members[&2].peer_address, two.peer_address);
    assert_eq!(status.members[&2].client_address, two.client_address);
}

/// The operator has named the members of another cluster by mistake.
#[test]
fn a_join_that_one_cluster_has_granted_does_not_go_on_in_another() {
    let mut cluster = Cluster::of(1);
    let through = cluster.node(1).peer_address.clone();
    let (mut two, mut asking) = asking_to_join(&cluster.directory);
    let answer = answer_to(&read_frame(&mut asking).unwrap(), &through);
    // It is told that it is taken in, and receives nothing of the log.
    cluster.node(1).pause();
    asking.write_all(&answer).unwrap();
    wait::until_true("it is told", || two.log().contains("is a learner of cluster"));
    two.kill();
    cluster.node(1).resume();

    let mut other = Cluster::of(1);
    let elsewhere = other.node(1).peer_address.clone();
    let mut astray = Node::spawn(&cluster.directory, 2, &["join", &elsewhere], &[]);
    astray.end().refused_in_the_end(&["belongs to the cluster", "name members of the former"]);
    other.node(1).await_status("it was not asked", |status| status.members.len() == 1);
    let two = Node::join(&cluster.directory, 2, &[&through], &[]);
    two.await_status("both vote", |status| status.voters() == [1, 2]);
}

#[test]
fn a_join_that_was_killed_while_the_cluster_had_no_quorum_can_be_run_again() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader();
    let through = cluster.node(leader).peer_address.clone();
    for id in cluster.others(leader) {
        cluster.node(id).pause();
    }
    // The leader may take the request up, and a later leader may commit it or not: both must work.
    let mut four = Node::spawn(&cluster.directory, 4, &["join", &through], &[]);
    wait::until_true("the join has begun", || four.store().join("data.mdb").exists());
    four.kill();
    for id in cluster.others(leader) {
        cluster.node(id).resume();
    }
    let four = Node::join(&cluster.directory, 4, &[&through], &[]);
    four.await_status("all vote", |status| status.voters() == [1, 2, 3, 4]);
}

#[test]
fn a_join_that_fails_once_the_cluster_has_taken_it_in_says_so_and_how_to_go_on() {
    let directory = Directory::new();
    let mut one = Node::start(&directory, 1, &[]);
    one.pause();
    let pid_file = directory.join("pid");
    let mut two = Node::spawn(&directory, 2, &["join", &one.peer_address], &["--pid_file", &pid_file]);
    wait::until_true("the join has begun", || two.store().join("data.mdb").exists());
    fs::write(&pid_file, process::id().to_string()).unwrap();
    one.resume();
    let path = two.path();
    let taken_in = format!("; the cluster has taken node 2 in: go on with 'ticketd --path={path}'");
    two.end().refused_in_the_end(&["which is alive", &taken_in]);
    assert!(one.status().unwrap().members.contains_key(&2));
    two.restart();
    two.await_status("both vote", |status| status.voters() == [1, 2]);
}

#[test]
fn a_join_that_is_given_again_with_another_size_has_a_store_of_that_size() {
    let directory = Directory::new();
    let one = Node::start(&directory, 1, &[]);
    let nobody = format!("127.0.0.1:{}", ports::free());
    let mut killed = Node::spawn(&directory, 2, &["join", &nobody], &["--db_size", "16"]);
    wait::until_true("the join says what it waits for", || killed.log().contains("waiting for the cluster"));
    killed.kill();
    let two = Node::join(&directory, 2, &[&one.peer_address], &["--db_size", "32"]);
    let bytes = http::metric(&two.client_address, "ticketd_storage_data_file_max_bytes");
    assert_eq!(bytes, Some(32 << 20));
}

#[test]
fn a_join_that_is_asked_to_stop_while_it_waits_stops() {
    let directory = Directory::new();
    let nobody = format!("127.0.0.1:{}", ports::free());
    let mut node = Node::spawn(&directory, 2, &["join", &nobody], &[]);
    wait::until_true("the join says what it waits for", || node.log().contains("waiting for the cluster"));
    node.signal(rustix::process::Signal::TERM);
    let status = node.await_end();
    assert_eq!(status.code(), Some(1), "it has not done what it was asked for, and says so: {status}");
}

#[test]
fn a_join_that_is_to_destroy_a_store_first_sees_that_the_cluster_can_be_reached() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    let before = wait::until("an ID", || cluster::take(&node.client_address));
    node.stop();
    let store = node.findings();
    let nobody = format!("127.0.0.1:{}", ports::free());
    let mut join = Node::spawn(&directory, 1, &["join", &nobody], &["--force"]);
    wait::until_true("the join says what it waits for", || join.log().contains("waiting for the cluster"));
    join.signal(rustix::process::Signal::TERM);
    join.end().refused_in_the_end(&["nothing has changed"]);
    assert_eq!(node.findings(), store);
    node.restart();
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > before);
}

#[test]
fn a_join_that_is_to_destroy_a_store_first_sees_that_its_id_is_free() {
    let mut cluster = Cluster::of(3);
    let follower = cluster.follower();
    let through = cluster.node(follower).peer_address.clone();
    let other = Directory::new();
    let mut node = Node::start(&other, 2, &[]);
    node.stop();
    let store = node.findings();
    let mut join = Node::spawn(&other, 2, &["join", &through], &["--force"]);
    join.end().refused_in_the_end(&["belongs to another", "leave --id 2", "nothing has changed"]);
    assert_eq!(node.findings(), store);
    cluster.await_voters(&[1, 2, 3]);
    // A free id is accepted, through whichever node leads.
    let path = node.path();
    let (raft_port, http_port) = (ports::free().to_string(), ports::free().to_string());
    let line = ["join", &through, "--force", "--id", "4", "--path", &path];
    let ports = ["--raft_port", &raft_port, "--http_port", &http_port];
    let running = Running::spawn(other.path(), &[&line[..], &ports].concat());
    cluster.await_voters(&[1, 2, 3, 4]);
    wait::until_true("it says so", || running.stderr().contains("destroyed the store that was at"));
}

#[test]
fn a_join_with_force_that_may_have_been_heard_is_given_again_without_it() {
    let directory = Directory::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut two = Node::spawn(&directory, 2, &["join", &address], &["--force"]);
    let mut stream = wait::accept(&silent);
    read_frame(&mut stream).unwrap();
    two.signal(rustix::process::Signal::TERM);
    two.end().refused_in_the_end(&["; the cluster may yet take the node in", "again without --force"]);
    assert!(two.store().join("data.mdb").exists(), "the cluster may know it");
}

#[test]
fn one_list_of_members_serves_all_hosts() {
    let directory = Directory::new();
    let one = Node::start(&directory, 1, &[]);
    let own = ports::free().to_string();
    let all = [one.peer_address.as_str(), &format!("127.0.0.1:{own}")].join(",");
    let mut two = Node::spawn(&directory, 2, &["join", &all], &["--raft_port", &own]);
    two.await_listening();
    two.await_status("both vote", |status| status.voters() == [1, 2]);
    let own = ports::free().to_string();
    let (address, store) = (format!("127.0.0.1:{own}"), directory.join("3"));
    let line = ["join", &address, "--id", "3", "--path", &store, "--raft_port", &own, "--http_port", "0"];
    command::run(&line).refused_as_usage(&["own address"]);
}

#[test]
fn the_settings_in_force_are_logged_and_shown_as_given_and_as_stored() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--window", "7", "--raft_port", "0"]);
    let port = node.peer_address.rsplit_once(':').map_or("", |(_, port)| port).to_owned();
    let settings = |node: &Node| {
        let log = node.log();
        let lines: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split_once("INFO  settings: "))
            .map(|(_, said)| said)
            .collect();
        assert_eq!(lines.len(), 1, "{log}");
        let logged: BTreeSet<String> = lines[0].split(' ').map(str::to_owned).collect();
        let status = node.command(&["status", "--json"]).succeeded();
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let shown = status["settings"].as_object().expect("an object").iter();
        let shown = shown.map(|(name, value)| format!("{name}={}", value.as_str().expect("a text")));
        assert_eq!(shown.collect::<BTreeSet<_>>(), logged);
        logged
    };
    let has = |settings: &BTreeSet<String>, wanted: &str| settings.contains(wanted);
    let started = settings(&node);
    let connections = "http_connections=16384";
    for wanted in ["window=7", "election_timeout=300", connections, &format!("raft_port={port}")] {
        assert!(has(&started, wanted), "{wanted}: {started:?}");
    }
    node.stop();
    node.restart_with(&["--batch_max", "8", "--raft_port", "0"]);
    let restarted = settings(&node);
    assert!(has(&restarted, "window=7") && has(&restarted, "batch_max=8"), "{restarted:?}");
    // What is shown as the default is not thereby given, or a low limit on open files would be warned of.
    assert!(has(&restarted, connections) && !node.log().contains("instead of"), "{}", node.log());
}

#[test]
fn a_node_that_hangs_is_said_not_to_answer_and_its_cluster_is_not() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    node.pause();
    let said = node.command(&["status"]).refused(&["the node did not answer in time"]);
    assert!(!said.contains("cluster"), "{said}");
    node.resume();
}

#[test]
fn two_joins_at_the_same_time_both_succeed() {
    let cluster = Cluster::of(1);
    let one = cluster.awake().next().map(|node| node.peer_address.clone()).unwrap();
    let (two, three) = thread::scope(|scope| {
        let two = scope.spawn(|| Node::join(&cluster.directory, 2, &[&one], &[]));
        let three = scope.spawn(|| Node::join(&cluster.directory, 3, &[&one], &[]));
        (two.join().unwrap(), three.join().unwrap())
    });
    two.await_status("all vote", |status| status.voters() == [1, 2, 3]);
    three.await_status("all vote", |status| status.voters() == [1, 2, 3]);
}

#[test]
fn a_healthy_node_logs_a_handful_of_lines_and_none_of_them_twice() {
    let mut cluster = Cluster::steady(3);
    for _ in 0..100 {
        cluster.take();
    }
    cluster.leader();
    for node in cluster.nodes() {
        let log = node.log();
        // After the time stamps, which differ.
        let said: Vec<&str> =
            log.lines().map(|line| line.split_once("Z INFO ").map_or(line, |(_, said)| said)).collect();
        assert!(said.len() <= 20, "{} lines:\n{log}", said.len());
        for (number, line) in said.iter().enumerate() {
            assert!(!said[..number].contains(line), "'{line}' was said twice:\n{log}");
        }
        let once = |wanted: &str| said.iter().filter(|line| line.contains(wanted)).count();
        assert_eq!(once("listening peers="), 1, "{log}");
    }
}

/// As in a network that loses most packets. The log must neither grow without bound nor end with what is no
/// longer so.
#[test]
fn a_node_whose_role_changes_all_the_time_logs_some_of_it_and_what_it_is_in_the_end() {
    const TRANSFERS: usize = 40;
    let mut cluster = Cluster::steady(2);
    let began = Instant::now();
    for _ in 0..TRANSFERS {
        let leader = cluster.leader();
        cluster.node(leader).command(&["transfer"]).succeeded();
    }
    let leader = cluster.leader();
    let said = format!("node {leader} leads in term ");
    for node in cluster.nodes() {
        let lines_of = |log: &str| log.lines().filter(|line| line.contains(" in term ")).count() as u64;
        let lines_max = 25 + began.elapsed().as_secs() / 30;
        assert!(lines_of(&node.log()) <= lines_max, "{lines_max}:\n{}", node.log());
    }
    let node = cluster.node(leader);
    wait::until_true("it says what it is", || {
        let log = node.log();
        let last = log.lines().rfind(|line| line.contains(" in term "));
        last.is_some_and(|line| line.contains(&said) && line.contains("lines like this one were left out"))
    });
}

/// As where a supervisor gives the command again and again.
#[test]
fn a_join_that_is_refused_again_and_again_does_not_fill_the_log_of_the_leader() {
    const JOINS: usize = 20;
    let mut cluster = Cluster::of(1);
    let (path, through) = (cluster.directory.join("another"), cluster.node(1).peer_address.clone());
    let join = ["join", &through, "--id", "1", "--path", &path, "--raft_port", "0", "--http_port", "0"];
    let began = Instant::now();
    for _ in 0..JOINS {
        command::run(&join).refused(&["belongs to another node"]);
    }
    let log = cluster.node(1).log();
    let lines_max = 11 + usize::try_from(began.elapsed().as_secs() / 30).unwrap();
    for words in ["an operator asks that node 1 at ", "nothing came of the request that node 1 be added"] {
        let lines = log.lines().filter(|line| line.contains(words)).count();
        assert!((1..=lines_max).contains(&lines), "{lines}:\n{log}");
    }
}

#[test]
fn with_debug_the_log_says_more() {
    let cluster = Cluster::of(1);
    let one = cluster.awake().next().map(|node| node.peer_address.clone()).unwrap();
    let plain = Node::join(&cluster.directory, 2, &[&one], &[]);
    let debug = Node::join(&cluster.directory, 3, &[&one], &["--debug"]);
    for node in [&plain, &debug] {
        node.await_status("all vote", |status| status.voters() == [1, 2, 3]);
    }
    wait::until_true("one says more than the other", || {
        debug.log().lines().count() > plain.log().lines().count()
    });
}

#[test]
fn status_is_a_table_for_people_and_one_json_object_for_scripts() {
    let mut cluster = Cluster::steady(3);
    let leader = cluster.leader();
    let addresses: Vec<String> = cluster.nodes().map(|node| node.peer_address.clone()).collect();
    let node = cluster.node(leader);
    let table = node.command(&["status"]).succeeded();
    assert!(table.lines().count() > 3, "{table}");
    for word in addresses.iter().map(String::as_str).chain(["leader", "voter", "term"]) {
        assert!(table.contains(word), "'{word}' is missing:\n{table}");
    }
    let status = node.await_status("all links are up", |status| {
        status
            .members
            .values()
            .all(|member| member.link == "self" || (member.link == "up" && member.match_index.is_some()))
    });
    assert!(status.commit_index >= status.applied_index && status.applied_index > 0, "{status:?}");
    let json: Ended = node.command(&["status", "--json"]);
    assert_eq!(json.succeeded().lines().count(), 1);
}

#[test]
fn what_cannot_be_printed_is_an_error_and_a_reader_that_has_gone_is_none() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &[]);
    let status =
        |output: Stdio| command::ticketd(&["status", "--path", &node.path()]).stdout(output).output();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let said = status(full.into()).unwrap();
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.starts_with("ticketd: cannot write to standard output"), "{said}");
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let said = status(writer.into()).unwrap();
    assert_eq!((said.status.code(), said.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_node_that_no_member_can_reach_says_so() {
    let directory = Directory::new();
    let first = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&first.client_address));
    let nowhere = ["--advertise", "nowhere.invalid"];
    let second = Node::spawn(&directory, 2, &["join", &first.peer_address], &nowhere);
    let warns = |line: &str| {
        let words = ["no member has connected to this node for 5.", "can they reach it at nowhere.invalid:"];
        words.iter().all(|words| line.contains(words))
    };
    wait::until_true("it says so", || second.log().lines().any(warns));
}

#[test]
fn a_start_that_fails_says_how_to_go_on_where_it_has_made_a_store_and_only_there() {
    let directory = Directory::new();
    let mut made = 0;
    // With what the process inherits, too few descriptors are left for one thing or another, until there are
    // enough.
    for inherited in (0..54).rev() {
        let path = directory.join(&inherited.to_string());
        let limited = format!(
            "ulimit -n 64; for ((n = 10; n < 10 + {inherited}; n++)); do eval \"exec $n</dev/null\"; done; \
             exec \"$0\" \"$@\""
        );
        let mut node = Command::new("bash")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_ticketd"), "start", "--id", "1", "--path", &path])
            .args(["--raft_port", "0", "--http_port", "0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut lines = io::BufReader::new(node.stderr.take().unwrap());
        while lines.read_line(&mut said).unwrap() > 0 && !said.contains("listening peers=") {}
        if said.contains("listening peers=") {
            node.kill().unwrap();
            node.wait().unwrap();
            assert!(made > 0, "no start has failed after it had made its store");
            return;
        }
        assert!(!node.wait().unwrap().success(), "{inherited} descriptors are inherited: {said}");
        let there = command::run(&["verify", "--path", &path]).status.success();
        let hint = format!("the store at {path} is made: go on with 'ticketd --path={path}'\n");
        assert_eq!(said.ends_with(&hint), there, "{inherited} descriptors are inherited: {said}");
        made += u32::from(there);
    }
    panic!("no node has listened");
}
