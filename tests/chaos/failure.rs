//! Disks that fail, fill up and stall: the node stops taking part, and the cluster continues.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::disk::{Call, Disk, EIO, ENOSPC, EROFS};
use crate::harness::cluster::{Cluster, STEADY};
use crate::harness::http;
use crate::harness::load::Load;
use crate::harness::node::Node;
use crate::harness::wait;
use crate::{SOME, cluster};

/// Enough entries for the log to be compacted several times.
const MANY_ENTRIES: u64 = 12_000;

/// The smallest size allowed, in MiB.
const DB_SIZE_MIN: &str = "16";

/// Which node has the disk that fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Leader,
    Follower,
}

fn disk_fails(who: Who, call: Call, errno: i32, words: &str) {
    // Without a window, each batch is written, and a failing disk is noticed at once.
    let window = ["--window", "0"];
    // A sound leader goes on leading, however slow the machine is.
    let steady = if who == Who::Follower { &STEADY[..] } else { &[] };
    let mut cluster = cluster(&[&window[..], steady].concat());
    let load = Load::on(cluster.client_addresses());
    // Each place in turn: the journal; and the pages and the meta page of a checkpoint.
    type Part = fn(&Disk) -> Disk;
    let places: [(Part, u64); 3] = [(Disk::of_journal, 0), (Disk::of_data_file, 0), (Disk::of_data_file, 1)];
    for (part, skip) in places {
        load.await_more(SOME);
        let leader = cluster.leader();
        let sick = if who == Who::Leader { leader } else { cluster.follower() };
        part(&Disk::of(cluster.node(sick))).fail(call, errno, skip);
        let node = cluster.node(sick);
        wait::until_true("the failure is noticed", || node.log().contains("takes no further part"));
        if who == Who::Leader {
            cluster.await_leader("another leads", |id| id != sick);
        }
        load.await_more(SOME);
        assert_failed_once(cluster.node(sick), words);
        let now = cluster.await_leader("a sound node leads", |id| id != sick);
        assert!(who == Who::Leader || now == leader, "the leader's disk was sound, and {now} leads");
        come_back(&mut cluster, sick);
        load.await_more(SOME);
    }
    load.finish().check();
}

/// Asserts that there is one line, at the error level, that says what failed and where.
#[track_caller]
fn assert_failed_once(node: &Node, words: &str) {
    let log = node.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    for word in [words, "restart", &node.path()] {
        assert!(errors[0].contains(word), "{word:?} is not in {}", errors[0]);
    }
}

/// The disk is repaired, and the node restarted.
#[track_caller]
fn come_back(cluster: &mut Cluster, id: u64) {
    let leader = cluster.await_leader("a sound node leads", |leader| leader != id);
    let node = cluster.node(id);
    // A supervisor must not take it for a success.
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(1));
    Disk::of(node).heal();
    node.restart();
    let there = cluster.node(leader).await_status("it answers", |_| true).commit_index;
    cluster.node(id).await_status("it has caught up", |status| status.applied_index >= there);
}

#[test]
fn a_leader_whose_syncs_fail_says_so_once_and_another_leads() {
    disk_fails(Who::Leader, Call::Sync, EIO, "Input/output error");
}

#[test]
fn a_follower_whose_syncs_fail_says_so_once_and_disturbs_nobody() {
    disk_fails(Who::Follower, Call::Sync, EIO, "Input/output error");
}

#[test]
fn a_leader_whose_disk_is_full_says_so_once_and_another_leads() {
    disk_fails(Who::Leader, Call::Write, ENOSPC, "No space left");
}

#[test]
fn a_follower_whose_disk_is_full_says_so_once_and_disturbs_nobody() {
    disk_fails(Who::Follower, Call::Write, ENOSPC, "No space left");
}

#[test]
fn a_leader_whose_disk_takes_half_a_write_says_so_once_and_another_leads() {
    disk_fails(Who::Leader, Call::ShortWrite, ENOSPC, "failed");
}

#[test]
fn a_follower_whose_file_system_becomes_read_only_says_so_once_and_disturbs_nobody() {
    disk_fails(Who::Follower, Call::Write, EROFS, "Read-only");
}

/// Through the map, a sector that cannot be read would end the process without a word.
#[test]
fn a_leader_whose_data_file_cannot_be_read_says_so_once_and_another_leads() {
    let mut cluster = cluster(&["--window", "0"]);
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    let sick = cluster.leader();
    Disk::of(cluster.node(sick)).of_data_file().fail(Call::Read, EIO, 0);
    let node = cluster.node(sick);
    wait::until_true("the failure is noticed", || node.log().contains("takes no further part"));
    cluster.await_leader("another leads", |id| id != sick);
    load.await_more(SOME);
    assert_failed_once(cluster.node(sick), "data.mdb: Input/output error");
    come_back(&mut cluster, sick);
    load.await_more(SOME);
    load.finish().check();
}

fn disk_stalls(flags: &[&str]) {
    let mut cluster = cluster(flags);
    let load = Load::on(cluster.client_addresses());
    for _ in 0..2 {
        load.await_more(SOME);
        let leader = cluster.leader();
        Disk::of(cluster.node(leader)).stall();
        // The disk hangs until another node leads and serves: no timeout applies to it.
        cluster.await_leader("another leads", |id| id != leader);
        load.await_more(SOME);
        Disk::of(cluster.node(leader)).heal();
        cluster.leader();
        load.await_more(SOME);
    }
    load.finish().check();
    cluster.await_voters(&[1, 2, 3]);
}

#[test]
fn a_leader_whose_disk_stalls_is_succeeded_while_it_stalls() {
    disk_stalls(&["--window", "100"]);
}

#[test]
fn without_a_window_a_leader_whose_disk_stalls_is_succeeded_while_it_stalls() {
    disk_stalls(&["--window", "0"]);
}

#[test]
fn a_follower_whose_disk_stalls_is_waited_for_by_nobody() {
    let mut cluster = cluster(&[&["--window", "0"], &STEADY[..]].concat());
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    Disk::of(cluster.node(follower)).stall();
    load.await_more(10 * SOME);
    assert_eq!(cluster.leader(), leader);
    Disk::of(cluster.node(follower)).heal();
    let there = cluster.node(leader).await_status("it answers", |_| true).commit_index;
    cluster.node(follower).await_status("it has caught up", |status| status.applied_index >= there);
    load.finish().check();
}

#[test]
fn a_disk_that_does_not_answer_is_told_of_in_the_log_the_status_and_the_metrics_until_it_does() {
    let mut cluster = cluster(&["--window", "0"]);
    let follower = cluster.follower();
    let disk = Disk::of(cluster.node(follower));
    disk.stall();
    cluster.take();
    let node = &*cluster.node(follower);
    wait::until_true("the log tells", || node.log().contains("WARN  a write has waited for the disk for"));
    let Shown { text, json_ms, metric_seconds } = Shown::by(node);
    assert!(text.contains("\ndisk        slow: the oldest write has waited"), "{text}");
    assert!(json_ms.is_some_and(|ms| ms >= 1_000), "{json_ms:?}");
    assert!(metric_seconds >= 1.0, "{metric_seconds}");
    disk.heal();
    wait::until_true("it is over", || node.log().contains("the disk takes writes again after"));
    wait::until_true("nothing waits", || {
        let Shown { text, json_ms, metric_seconds } = Shown::by(node);
        !text.contains("\ndisk ") && json_ms.is_none() && metric_seconds == 0.0
    });
}

#[test]
fn a_leader_whose_followers_do_not_write_tells_that_it_commits_nothing_until_they_do() {
    let mut cluster = cluster(&["--window", "0", "--request_timeout", "1000"]);
    let leader = cluster.leader();
    let followers = cluster.others(leader);
    followers.iter().for_each(|id| Disk::of(cluster.node(*id)).stall());
    let node = &*cluster.node(leader);
    let answer = http::ask(&node.client_address, "POST", "/").expect("the leader answers");
    assert_eq!(answer.status, 503);
    wait::until_true("the log tells", || node.log().contains("have not written what they were sent"));
    assert!(!node.log().contains("entries are committed again"));
    followers.iter().for_each(|id| Disk::of(cluster.node(*id)).heal());
    // Or a follower that can write again is elected before the leader hears of what it has written.
    let node = &*cluster.node(leader);
    wait::until_true("it is over", || {
        let log = node.log();
        let told = log.rfind("have not written what they were sent").expect("that was told");
        log[told..].contains("entries are committed again after") || log[told..].contains(" follows node ")
    });
}

/// What a node reports of a write that waits for its disk.
struct Shown {
    text: String,
    json_ms: Option<u64>,
    metric_seconds: f64,
}

impl Shown {
    fn by(node: &Node) -> Shown {
        let text = node.command(&["status"]).succeeded();
        let page = |path| http::ask(&node.client_address, "GET", path).expect("an answer").body;
        let json: Value = serde_json::from_str(&page("/status")).expect("JSON");
        let metrics = page("/metrics");
        let name = "ticketd_storage_oldest_write_seconds ";
        let seconds = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("the metric");
        Shown {
            text,
            json_ms: json["disk_waits_ms"].as_u64(),
            metric_seconds: seconds.parse().expect("a number"),
        }
    }
}

#[test]
fn a_node_that_cannot_close_its_store_is_ended_by_a_second_signal() {
    let mut cluster = cluster(&["--window", "0"]);
    let follower = cluster.follower();
    let disk = Disk::of(cluster.node(follower));
    disk.stall();
    cluster.take();
    wait::until_true("a write stands still", || disk.has_stalled());
    let node = cluster.node(follower);
    node.signal(Signal::TERM);
    // It no longer listens, and waits for the disk.
    wait::until_true("the loop has ended", || TcpStream::connect(&node.client_address).is_err());
    assert!(node.is_running());
    let line = "waiting for the disk to take";
    wait::until_true("it says what it waits for", || node.log().contains(line));
    assert!(node.log().contains("a second SIGTERM or SIGINT ends this node at once"), "{}", node.log());
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(130));
    disk.heal();
    node.restart();
    cluster.await_voters(&[1, 2, 3]);
}

#[test]
fn where_all_disks_have_stalled_the_cluster_goes_on_when_they_do() {
    let mut cluster = cluster(&["--window", "0"]);
    let load = Load::on(cluster.client_addresses());
    for _ in 0..2 {
        load.await_more(SOME);
        cluster.nodes().for_each(|node| Disk::of(node).stall());
        // No node can commit what would make it the leader of another term.
        thread::sleep(Duration::from_secs(2));
        cluster.nodes().for_each(|node| Disk::of(node).heal());
        load.await_more(SOME);
    }
    load.finish().check();
    cluster.await_voters(&[1, 2, 3]);
}

#[test]
fn the_smallest_store_takes_any_number_of_entries() {
    let mut cluster = cluster(&["--window", "0", "--db_size", DB_SIZE_MIN]);
    let load = Load::on(cluster.client_addresses());
    let leader = cluster.leader();
    let behind = cluster.follower();
    // No node keeps the log for a node that is away.
    cluster.node(behind).kill();
    cluster.node(leader).await_committed(MANY_ENTRIES);
    cluster.node(behind).restart();
    cluster.node(behind).await_committed(MANY_ENTRIES);
    load.finish().check();
    for node in cluster.nodes() {
        assert!(!node.log().contains("ERROR"), "{}", node.log());
    }
}
