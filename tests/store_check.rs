//! The process that checks a store for another: trouble in its environment is not a fault of the store.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};

use harness::cluster;
use harness::command;
use harness::directory::Directory;
use harness::node::Node;
use harness::wait;

/// Runs a command on the node's store, started by env(1) with these arguments.
fn run_by(env: &[&str], node: &Node, args: &[&str]) -> Output {
    let path = node.path();
    let line = [args, &["--path", &path]].concat();
    command::ticketd_by(env, &line).output().expect("the program can be run")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Inherited from a parent that starts programs without waiting for them.
#[test]
fn every_command_that_checks_a_store_does_so_where_it_was_started_with_sigchld_ignored() {
    let directory = Directory::new();
    let mut node = cluster::stopped(&directory);
    let ignoring = ["--ignore-signal=CHLD"];
    let verified = run_by(&ignoring, &node, &["verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let left = run_by(&ignoring, &node, &["leave"]);
    assert!(said(&left).contains("node 1 is the last voter"), "{left:?}");
    node.respawn_by(&ignoring);
    node.await_listening();
    node.stop();
    let dropped = run_by(&ignoring, &node, &["drop"]);
    assert!(dropped.status.success(), "{dropped:?}");
}

#[test]
fn a_command_that_fails_in_the_background_says_why_where_it_was_started_with_sigchld_ignored() {
    let directory = Directory::new();
    let path = directory.join("nothing");
    let line = ["--daemonize", "--path", &path];
    let output = command::ticketd_by(&["--ignore-signal=CHLD"], &line).output().unwrap();
    assert_eq!(said(&output), format!("ticketd: there is no store at {path}: {REMEDY}\n"));
}

/// As by `ulimit -f`, or systemd's LimitFSIZE.
#[test]
fn a_limit_on_the_size_of_files_ends_no_command_without_a_word_and_no_check() {
    let directory = Directory::new();
    let node = cluster::stopped(&directory);
    for blocks in ["0", "1"] {
        let script = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let limited = ["sh", "-c", &script];
        let verified = run_by(&limited, &node, &["verify"]);
        assert!(verified.status.success(), "{verified:?}");
        for command in ["leave", "drop"] {
            let refused = run_by(&limited, &node, &[command]);
            assert_eq!(refused.status.code(), Some(1), "{command}: {refused:?}");
            assert!(
                said(&refused).contains("raise the limit on the size of files"),
                "{command}: {refused:?}"
            );
        }
    }
    node.command(&["verify"]).succeeded();
}

const REMEDY: &str = "mount the disk that it is on, or give another --path; a new node makes one with \
                      'ticketd join', and only the first of a new cluster with 'ticketd start'";

/// Puts a pipe that nothing writes to in place of the journal: a process that checks the store waits for
/// ever.
fn hold_up_checks(store: &Path) {
    let journal = store.join("data.journal");
    fs::rename(&journal, aside(store)).expect("a stopped node's store has one");
    let made = Command::new("mkfifo").arg(journal).status().expect("it is a part of every system");
    assert!(made.success());
    forget_holder(store);
}

/// Where the journal is meanwhile.
fn aside(store: &Path) -> PathBuf {
    store.with_extension("aside")
}

/// Lets the store be checked again.
fn let_checks_go_on(store: &Path) {
    fs::rename(aside(store), store.join("data.journal")).expect("it was put there");
}

/// Empties the lock, which still names a killed process that had the store.
fn forget_holder(store: &Path) {
    fs::write(store.join("lock"), "").expect("the test's own store can be written");
}

/// The process that checks the store of this node, its parent, once there is one.
fn checker(node: &Node) -> Pid {
    wait::until("the process that checks the store", || {
        let lock = fs::read_to_string(node.store().join("lock")).ok()?;
        let pid: i32 = lock.strip_prefix("pid ")?.trim().parse().ok()?;
        assert_ne!(u32::try_from(pid), Ok(node.pid()));
        Pid::from_raw(pid)
    })
}

/// Asks a node and the process that checks its store to stop, as Ctrl-C and systemd do.
fn stop_while_the_store_is_checked(node: &Node, signal: Signal) {
    let checker = checker(node);
    node.signal(signal);
    kill_process(checker, signal).expect("it waits until it is ended");
}

#[test]
fn a_node_that_is_stopped_with_the_process_that_checks_its_store_has_stopped_as_asked() {
    let directory = Directory::new();
    let mut node = cluster::stopped(&directory);
    hold_up_checks(node.store());
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        node.respawn_by(&["--default-signal=HUP"]);
        stop_while_the_store_is_checked(&node, signal);
        assert_eq!(node.await_end().code(), Some(0), "{}", node.log());
        let log = node.log();
        assert!(log.contains("asked to stop while the store was checked"), "{log}");
        assert!(!log.contains("ticketd: "), "{log}");
        forget_holder(node.store());
    }
}

/// A second one of the other signals would end the process at once.
#[test]
fn hangups_while_a_store_is_checked_are_no_second_signal() {
    let directory = Directory::new();
    let mut node = cluster::stopped(&directory);
    hold_up_checks(node.store());
    node.respawn_by(&["--default-signal=HUP"]);
    let checker = checker(&node);
    for signal in [Signal::HUP, Signal::TERM, Signal::HUP] {
        node.signal(signal);
    }
    kill_process(checker, Signal::TERM).unwrap();
    assert_eq!(node.await_end().code(), Some(0), "{}", node.log());
}

/// Whoever stops a command that is about to destroy something does not want that. What the check would have
/// found, such as the first ID that another cluster may hand out, is not known.
#[test]
fn a_command_that_is_stopped_before_it_destroys_the_store_in_its_way_leaves_it_there() {
    let directory = Directory::new();
    let mut node = cluster::stopped(&directory);
    let findings = node.findings();
    for signal in [Signal::TERM, Signal::INT] {
        hold_up_checks(node.store());
        node = Node::spawn(&directory, 1, &["start"], &["--force"]);
        stop_while_the_store_is_checked(&node, signal);
        assert_eq!(node.await_end().code(), Some(1), "{}", node.log());
        assert!(node.log().contains("nothing has changed"), "{}", node.log());
        let_checks_go_on(node.store());
        assert_eq!(node.findings(), findings);
    }
}

/// As by a system that is short of memory, or by a disk that fails for a moment.
#[test]
fn a_store_whose_check_is_killed_is_not_destroyed_for_another() {
    let directory = Directory::new();
    let mut node = cluster::stopped(&directory);
    let findings = node.findings();
    for (signal, code) in [(Signal::KILL, 1), (Signal::BUS, 3)] {
        hold_up_checks(node.store());
        node = Node::spawn(&directory, 1, &["start"], &["--force"]);
        let checker = checker(&node);
        wait::until_true("it gives up", || {
            // Rust's runtime takes the first SIGBUS for one of its own, and expects that it comes again.
            let _ = kill_process(checker, signal);
            node.log().contains("nothing has changed")
        });
        assert_eq!(node.await_end().code(), Some(code), "{}", node.log());
        let_checks_go_on(node.store());
        assert_eq!(node.findings(), findings);
    }
}

#[test]
fn a_join_that_is_stopped_with_the_process_that_checks_its_store_can_be_given_again() {
    let directory = Directory::new();
    let one = Node::start(&directory, 1, &[]);
    let mut two = Node::spawn(&directory, 2, &["join", "127.0.0.1:1"], &[]);
    wait::until_true("its store is there", || two.store().join("data.mdb").exists());
    two.kill();
    hold_up_checks(two.store());
    two = Node::spawn(&directory, 2, &["join", &one.peer_address], &[]);
    stop_while_the_store_is_checked(&two, Signal::TERM);
    assert_eq!(two.await_end().code(), Some(1));
    assert!(two.log().contains("run the same command again"), "{}", two.log());
    let_checks_go_on(two.store());
    let two = Node::join(&directory, 2, &[&one.peer_address], &[]);
    two.await_status("both vote", |status| status.voters() == [1, 2]);
}

#[test]
fn a_check_that_somebody_else_ends_is_no_reason_to_stop_and_no_damage() {
    let directory = Directory::new();
    let mut node = cluster::stopped(&directory);
    hold_up_checks(node.store());
    node.respawn(&[]);
    kill_process(checker(&node), Signal::KILL).unwrap();
    node.end().refused(&["ended by signal 9", "try again"]);
}
