//! The log when nothing reads it: only its own lines may wait for that.

mod harness;

use std::process::{Command, Stdio};

use rustix::process::Signal;
use ticketd::logging::{Detail, LogMode, Logging};

use harness::cluster::{self, Cluster, STEADY};
use harness::command;
use harness::directory::Directory;
use harness::http;
use harness::node::Node;
use harness::pipe::Pipe;
use harness::wait;

/// A page of this node; fails if it does not answer at all.
#[track_caller]
fn page(node: &Node, path: &str) -> u16 {
    http::ask(&node.client_address, "GET", path).unwrap_or_else(|error| panic!("{path}: {error}")).status
}

/// A cluster of three, and the leader's id; the leader logs to a pipe.
fn cluster_led_into(pipe: &Pipe, flags: &[&str]) -> (Cluster, u64) {
    let mut cluster = Cluster::with_flags(3, flags);
    let id = cluster.follower();
    cluster.node(id).stop();
    cluster.node(id).respawn_saying_to(pipe.stdio());
    cluster.await_voters(&[1, 2, 3]);
    let leader = cluster.leader();
    cluster.node(leader).command(&["transfer", "--id", &id.to_string()]).succeeded();
    assert_eq!(cluster.leader(), id);
    (cluster, id)
}

#[test]
fn a_node_whose_log_nobody_reads_starts_serves_and_stops_in_order() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    let before = wait::until("an ID", || cluster::take(&node.client_address));
    node.stop();
    let pipe = Pipe::full();
    node.respawn_saying_to(pipe.stdio());
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > before);
    assert_eq!(page(&node, "/healthz"), 200);
    node.stop();
}

#[test]
#[cfg(target_os = "linux")]
fn lines_that_are_left_out_are_counted_in_the_metrics() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    let counted = |node: &Node| http::metric(&node.client_address, "ticketd_log_lines_left_out_total");
    assert_eq!(counted(&node), Some(0));
    node.stop();
    // Every write there fails with a full disk.
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    node.respawn_saying_to(full.into());
    wait::until_true("the lines of its start are missed", || counted(&node) > Some(1));
    node.stop();
}

/// env_logger would complain in a way of its own, and panic where it cannot.
#[test]
#[cfg(target_os = "linux")]
fn a_filter_that_makes_no_sense_is_ignored_in_a_line_of_the_log_and_harms_nobody_who_logs_to_a_full_disk() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    node.stop();
    let path = node.path();
    let verify = || {
        let mut command = command::ticketd(&["verify", "--path", &path]);
        command.env("RUST_LOG", "a=b=c");
        command
    };
    let verified = verify().output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let said = String::from_utf8(verified.stderr).unwrap();
    let ignored = " WARN  the filter in RUST_LOG is ignored, invalid logging spec 'a=b=c': write one like \
                   'warn,ticketd=debug'\n";
    assert!(said.ends_with(ignored) && said.lines().count() == 1, "{said}");
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let status = verify().stderr(full()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{status}");
    node.respawn_by(&["--default-signal=HUP", "RUST_LOG=a=b=c"]);
    node.await_listening();
    assert!(node.log().contains(ignored), "{}", node.log());
    node.stop();
}

#[test]
fn a_leader_whose_log_nobody_reads_any_more_goes_on_and_stops_in_order() {
    let mut pipe = Pipe::new();
    let (mut cluster, leader) = cluster_led_into(&pipe, &STEADY);
    pipe.read_until("leads in term");
    pipe.fill();
    let killed = cluster.follower();
    cluster.node(killed).kill();
    let node = cluster.node(leader);
    // The node has logged that by then.
    node.await_status("the link is down", |status| status.members[&killed].link == "down");
    assert_eq!(page(node, "/healthz"), 200);
    let before = wait::until("an ID", || cluster::take(&node.client_address));
    // Lines that waited are not lost.
    pipe.read_until(&format!("the link to node {killed} broke"));
    pipe.fill();
    cluster.node(killed).restart();
    let node = cluster.node(leader);
    node.await_status("the link is up", |status| status.members[&killed].link == "up");
    node.stop();
    assert_ne!(cluster.leader(), leader);
    assert!(cluster.take() > before);
}

#[test]
fn a_second_signal_stops_a_node_whose_log_nobody_reads() {
    // Long enough that the first signal has not completed its work when the second comes.
    let pipe = Pipe::new();
    let flags = ["--election_timeout", "60000", "--heartbeat_interval", "100"];
    let (mut cluster, leader) = cluster_led_into(&pipe, &flags);
    for id in cluster.others(leader) {
        cluster.node(id).pause();
    }
    pipe.fill();
    let node = cluster.node(leader);
    assert_eq!(page(node, "/readyz"), 200);
    node.signal(Signal::TERM);
    wait::until_true("the first signal is noticed", || page(node, "/readyz") == 503);
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(130));
}

#[test]
fn a_node_that_cannot_start_ends_though_nobody_reads_why() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &[]);
    let pipe = Pipe::full();
    let mut second = command::ticketd(&["--path", &node.path()]).stderr(pipe.stdio()).spawn().unwrap();
    let status = wait::until("its end", || second.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
}

#[test]
fn why_a_node_ends_comes_after_what_it_logged() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    node.stop();
    let pid_file = directory.join("nosuch/pid");
    // This error is found after the settings have been logged.
    node.respawn(&["--pid_file", &pid_file]);
    node.end().refused_in_the_end(&["nosuch/pid"]);
}

/// Set in the process that is to panic.
const PANICS: &str = "TICKETD_TEST_PANICS";

fn panicking(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program knows where it is"));
    command.args(["--exact", test, "--nocapture"]).env(PANICS, "").env_remove("RUST_LOG");
    command
}

fn log_and_panic_if_told_to() {
    if std::env::var_os(PANICS).is_some() {
        let _log = Logging::start(Detail::Usual, LogMode::Asynchronous).expect("a thread");
        log::warn!("what led to it");
        panic!("what must not be");
    }
}

#[test]
fn what_was_logged_before_a_panic_is_said_before_it() {
    log_and_panic_if_told_to();
    let ended = panicking("what_was_logged_before_a_panic_is_said_before_it").output().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    let place = |words: &str| said.find(words).unwrap_or_else(|| panic!("no '{words}': {said}"));
    assert!(place(" WARN  what led to it\n") < place(" panicked at tests/log.rs"), "{said}");
    assert!(place(" panicked at tests/log.rs") < place("what must not be\n"), "{said}");
}

#[test]
fn a_panic_is_an_end_though_nobody_reads_of_it() {
    log_and_panic_if_told_to();
    let pipe = Pipe::full();
    let mut child = panicking("a_panic_is_an_end_though_nobody_reads_of_it");
    let mut child = child.stdout(Stdio::null()).stderr(pipe.stdio()).spawn().unwrap();
    assert!(!wait::until("its end", || child.try_wait().unwrap()).success());
}
