//! Power failures: unsynced writes are lost, partly kept, or torn.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::disk::{Call, Cut, Disk, EIO, Left};
use crate::harness::cluster::{self, Cluster};
use crate::harness::command::{self, Running};
use crate::harness::directory::{Directory, as_argument};
use crate::harness::http::Client;
use crate::harness::load::Load;
use crate::harness::node::Node;
use crate::harness::random::Random;
use crate::harness::wait;
use crate::{SOME, cluster, random, rounds};

/// The longest time that a sync takes: long compared with the rest of a write, so that many cuts fall into
/// one.
const SYNC_MS_MAX: u64 = 40;

/// The longest time from the start of the load to the power cut.
const CUT_AFTER_MS_MAX: u64 = 120;

/// Enough entries to fill several pages of a store.
const ENTRIES: u64 = 400;

/// A checkpoint usually writes its pages in at most this many calls, and then the meta page.
const WRITES_OF_CHECKPOINT: u64 = 5;

/// The syncs of a checkpoint: of its pages, and of the meta page.
const SYNCS_OF_CHECKPOINT: u64 = 2;

/// So few transactions that their journal is far from full.
const TRANSACTIONS: u64 = 40;

/// Cuts the power of all nodes at once. Returns what each lost.
fn cut_power(cluster: &mut Cluster, random: &mut Random) -> Vec<Cut> {
    let running = cluster.nodes().filter(|node| node.is_running());
    running.for_each(|node| node.signal(Signal::KILL));
    cluster.nodes().filter(|node| node.is_running()).for_each(Node::kill);
    cluster.nodes().map(|node| Disk::of(node).cut_power(random)).collect()
}

/// Restarts all nodes on working disks.
fn restart_all(cluster: &mut Cluster) {
    cluster.nodes().for_each(|node| Disk::of(node).heal());
    cluster.nodes().for_each(|node| node.respawn(&[]));
    cluster.nodes().for_each(Node::await_listening);
}

fn check_stores(cluster: &mut Cluster) {
    for node in cluster.nodes() {
        node.kill();
        node.findings();
    }
}

fn power_goes_again_and_again(flags: &[&str], seed: u64) {
    let mut random = random(seed);
    let mut cluster = cluster(flags);
    let load = Load::on(cluster.client_addresses());
    let mut all = Vec::new();
    for _ in 0..rounds(5) {
        load.await_more(SOME);
        for node in cluster.nodes() {
            Disk::of(node).slow(i32::try_from(random.below(SYNC_MS_MAX)).expect("a few"));
        }
        thread::sleep(Duration::from_millis(random.below(CUT_AFTER_MS_MAX)));
        all.extend(cut_power(&mut cluster, &mut random));
        restart_all(&mut cluster);
        // A second cut soon after the first, while the nodes hold elections or still read their stores.
        if random.below(3) == 0 {
            thread::sleep(Duration::from_millis(random.below(CUT_AFTER_MS_MAX)));
            all.extend(cut_power(&mut cluster, &mut random));
            restart_all(&mut cluster);
        }
    }
    load.await_more(SOME);
    load.finish().check();
    cluster.await_voters(&[1, 2, 3]);
    check_stores(&mut cluster);
    let lost = all.iter().filter(|cut| cut.lost > 0).count();
    let unsynced = all.iter().filter(|cut| cut.unsynced > 0).count();
    eprintln!("{} nodes lost power, {unsynced} of them had unsynced writes, {lost} lost some", all.len());
    assert!(unsynced > 0, "no power cut met a write that was not synced: nothing was tested");
}

#[test]
fn the_power_of_all_nodes_goes_again_and_again_and_no_id_repeats_or_comes_late() {
    power_goes_again_and_again(&["--window", "30"], 1);
}

#[test]
fn without_a_window_the_power_of_all_nodes_goes_and_no_id_repeats_or_comes_late() {
    power_goes_again_and_again(&["--window", "0"], 2);
}

#[test]
fn with_forward_the_power_of_all_nodes_goes_and_no_id_repeats_or_comes_late() {
    power_goes_again_and_again(&["--forward", "--window", "20"], 3);
}

/// With load alone, few power cuts would fall into a checkpoint.
#[test]
fn the_power_of_all_nodes_goes_in_the_midst_of_a_checkpoint_and_no_id_repeats_or_comes_late() {
    let mut random = random(10);
    let mut cluster = cluster(&["--window", "0"]);
    let load = Load::on(cluster.client_addresses());
    for _ in 0..rounds(4) {
        load.await_more(SOME);
        for node in cluster.nodes() {
            let disk = Disk::of(node).of_data_file();
            if random.below(2) == 0 {
                disk.stall_at(Call::Write, random.below(WRITES_OF_CHECKPOINT));
            } else {
                disk.stall_at(Call::Sync, random.below(SYNCS_OF_CHECKPOINT));
            }
        }
        let stands_still = |node: &mut Node| Disk::of(node).has_stalled();
        wait::until_true("a checkpoint stands still", || cluster.nodes().any(stands_still));
        // The other nodes continue.
        thread::sleep(Duration::from_millis(random.below(CUT_AFTER_MS_MAX)));
        cut_power(&mut cluster, &mut random);
        restart_all(&mut cluster);
    }
    load.await_more(SOME);
    load.finish().check();
    check_stores(&mut cluster);
}

#[test]
fn a_node_that_is_killed_and_restarted_and_loses_its_power_then_keeps_what_it_promised() {
    let mut random = random(4);
    let mut cluster = cluster(&["--window", "0"]);
    let load = Load::on(cluster.client_addresses());
    for _ in 0..rounds(3) {
        load.await_more(SOME);
        // What a killed process has written and not synced can be read by the next one, and is not durable.
        for node in cluster.nodes() {
            Disk::of(node).slow(i32::try_from(random.below(SYNC_MS_MAX)).expect("a few"));
            node.kill();
            node.respawn(&[]);
        }
        thread::sleep(Duration::from_millis(random.below(CUT_AFTER_MS_MAX)));
        cut_power(&mut cluster, &mut random);
        restart_all(&mut cluster);
    }
    load.await_more(SOME);
    load.finish().check();
}

/// A place where a store's disk can fail: in the journal or in the data file, and in which of the next syncs.
fn any_sync(disk: &Disk, random: &mut Random) -> (Disk, u64) {
    if random.below(2) == 0 {
        (disk.of_journal(), random.below(TRANSACTIONS))
    } else {
        (disk.of_data_file(), random.below(SYNCS_OF_CHECKPOINT))
    }
}

/// Makes a sync fail at a random place, and ends the process: after it has reported that, or at the moment of
/// the failure.
fn fail_sync_and_kill(node: &mut Node, random: &mut Random) {
    let disk = Disk::of(node);
    let (part, skip) = any_sync(&disk, random);
    if random.below(2) == 0 {
        part.fail(Call::Sync, EIO, skip);
        wait::until_true("the failure is noticed", || node.log().contains("takes no further part"));
    } else {
        part.fail_unheard(EIO, skip);
        wait::until_true("the failure is there", || disk.has_stalled());
    }
    node.kill();
    disk.heal();
}

#[test]
fn a_sync_that_fails_at_any_place_and_then_a_power_cut_lose_nothing_that_was_promised() {
    let mut random = random(5);
    let mut cluster = cluster(&["--window", "0"]);
    let load = Load::on(cluster.client_addresses());
    for _ in 0..rounds(4) {
        load.await_more(SOME);
        let leader = cluster.leader();
        let node = cluster.node(leader);
        fail_sync_and_kill(node, &mut random);
        // With or without a process that has read what the failed sync left in memory.
        if random.below(2) == 0 {
            Disk::of(node).slow(20);
            node.respawn(&[]);
            thread::sleep(Duration::from_millis(random.below(CUT_AFTER_MS_MAX)));
        }
        cut_power(&mut cluster, &mut random);
        restart_all(&mut cluster);
    }
    load.await_more(SOME);
    load.finish().check();
    check_stores(&mut cluster);
}

/// Makes a node that has just been started reach a call on its disk at which it hangs, fails, or succeeds.
fn interrupt_opening(node: &mut Node, random: &mut Random) {
    let disk = Disk::of(node);
    let part = if random.below(2) == 0 { disk.of_journal() } else { disk.of_data_file() };
    // Before its own first transaction, a node writes and syncs two meta pages and the journal.
    let skip = random.below(4);
    match random.below(4) {
        0 => part.stall_at(Call::Write, skip),
        1 => part.stall_at(Call::Sync, skip),
        2 => part.fail(Call::Sync, EIO, skip),
        _ => part.fail_unheard(EIO, skip),
    }
    node.respawn(&[]);
    wait::until_true("it serves or is stopped", || {
        let log = node.log();
        let is_stopped = log.contains("ticketd: ") || log.contains("takes no further part");
        disk.has_stalled() || is_stopped || log.contains("leads in term")
    });
    node.kill();
    disk.heal();
}

/// A node that has no others, on a disk that can be made to fail. It has no window, so that each request for
/// IDs is written.
fn alone(directory: &Directory) -> (Node, Disk) {
    Disk::install();
    let node = Node::start(directory, 1, &["--window", "0"]);
    let disk = Disk::of(&node);
    (node, disk)
}

/// In a cluster, the other stores make up for what one has lost. A node that is alone has everything in this
/// one.
#[test]
fn a_node_alone_whose_disk_fails_and_whose_power_goes_keeps_what_it_promised() {
    let (mut random, directory) = (random(11), Directory::new());
    let (mut node, disk) = alone(&directory);
    let load = Load::on(vec![node.client_address.clone()]);
    for _ in 0..rounds(8) {
        load.await_more(SOME / 4);
        if random.below(2) == 0 {
            fail_sync_and_kill(&mut node, &mut random);
        } else {
            let (part, skip) = any_sync(&disk, &mut random);
            part.stall_at(Call::Sync, skip);
            wait::until_true("it stands still", || disk.has_stalled());
            node.kill();
            disk.heal();
        }
        for _ in 0..random.below(3) {
            interrupt_opening(&mut node, &mut random);
            if random.below(2) == 0 {
                disk.cut_power(&mut random);
            }
        }
        disk.cut_power(&mut random);
        node.findings();
        node.restart();
    }
    load.await_more(SOME);
    load.finish().check();
    node.kill();
    node.findings();
}

/// LMDB restores the old meta page if its sync has failed. The disk may have the new one all the same, and
/// not the old one again: what the new one refers to must not be overwritten before the disk has the old one.
#[test]
fn a_meta_page_whose_sync_failed_is_off_the_disk_before_its_pages_are_used_again() {
    let (mut random, directory) = (random(7), Directory::new());
    let (mut node, disk) = alone(&directory);
    let mut last = 0;
    for _ in 0..ENTRIES {
        last = wait::until("an ID", || cluster::take(&node.client_address));
    }
    for _ in 0..rounds(20) {
        wait::until_true("it leads", || node.log().contains("leads in term"));
        // The first sync of a checkpoint is that of its pages.
        disk.of_data_file().fail(Call::Sync, EIO, 1);
        let mut client = Client::connect(&node.client_address, wait::DEADLINE).expect("it listens");
        let began = Instant::now();
        while let Some(ids) = client.ask("POST", "/").expect("an answer").ids() {
            assert!(began.elapsed() < wait::DEADLINE, "the sync does not fail");
            assert!(*ids.start() > last, "{ids:?} after {last}");
            last = *ids.end();
        }
        wait::until_true("the failure is noticed", || node.log().contains("takes no further part"));
        node.kill();
        // The next process hangs in the middle of its first transaction, which is that checkpoint again.
        disk.of_data_file().stall_at(Call::Write, 1 + random.below(3));
        node.respawn(&[]);
        wait::until_true("it writes", || disk.has_stalled());
        node.kill();
        disk.cut_power_leaving(Left::First, &mut random);
        disk.heal();
        node.restart();
    }
}

/// The command that creates a store.
fn start_at(path: &str) -> [&str; 9] {
    ["start", "--id", "1", "--path", path, "--raft_port", "0", "--http_port", "0"]
}

#[test]
fn a_start_that_loses_its_power_leaves_a_whole_store_or_none() {
    Disk::install();
    let mut random = random(6);
    let directory = Directory::new();
    let (mut whole, mut none) = (0, 0);
    for round in 0..rounds(2) {
        for skip in 0.. {
            let store = directory.path().join(format!("store{round}-{skip}"));
            let disk = Disk::at(&store);
            disk.stall_at(Call::Sync, skip);
            let path = as_argument(&store);
            let mut node = Node::spawn_at(&directory, &store, 1, &["start"], &[]);
            let serves = wait::until("it syncs or serves", || {
                let serves = node.log().contains("leads in term");
                (serves || disk.has_stalled()).then_some(serves)
            });
            node.kill();
            disk.cut_power(&mut random);
            disk.heal();
            let start = start_at(&path);
            if serves_after_start_or_restart(&directory, &store, &start) {
                whole += 1
            } else {
                none += 1
            }
            if serves {
                break;
            }
        }
    }
    assert!(whole > 0 && none > 0, "{whole} whole, {none} none");
}

/// An operator who is told that a store could not be created may find one all the same, but never half of
/// one.
#[test]
fn a_start_whose_disk_fails_at_any_place_leaves_a_whole_store_or_none() {
    Disk::install();
    let directory = Directory::new();
    let mut random = random(12);
    for call in [Call::Sync, Call::Write, Call::Open] {
        for skip in 0.. {
            let store = directory.path().join(format!("store{}{skip}", call.name()));
            let disk = Disk::at(&store);
            disk.fail(call, EIO, skip);
            let path = as_argument(&store);
            let start = start_at(&path);
            let mut node = Node::spawn_at(&directory, &store, 1, &["start"], &[]);
            let listens = wait::until("it listens or ends", || {
                let log = node.log();
                let listens = log.contains("listening");
                (listens || log.contains("ticketd: ")).then_some(listens)
            });
            if listens {
                node.await_listening();
                let serves = wait::until("it serves or notices the failure", || {
                    let is_noticed = node.log().contains("takes no further part");
                    if is_noticed { Some(false) } else { cluster::take(&node.client_address).map(|_| true) }
                });
                node.kill();
                if serves && !disk.has_failed() {
                    assert!(skip > 0, "no {} can fail", call.name());
                    break;
                }
                assert!(!serves, "{} {skip} has failed, and it serves all the same", call.name());
            } else {
                node.end().refused(&["Input/output error", &path]);
            }
            if random.below(2) == 0 {
                disk.cut_power(&mut random);
            }
            disk.heal();
            serves_after_start_or_restart(&directory, &store, &start);
        }
    }
}

/// The second attempt finds the directory made, and its name is no more durable than after the first.
#[test]
fn a_start_whose_directory_could_not_be_made_durable_cannot_be_repeated_until_that_is_possible() {
    Disk::install();
    let directory = Directory::new();
    let above = directory.path().join("above");
    fs::create_dir(&above).expect("the test's own directory can be written to");
    let disk = Disk::at(&above);
    disk.of_names().fail(Call::Sync, EIO, 0);
    let (path, above) = (as_argument(&above.join("store")), as_argument(&above));
    for _ in 0..2 {
        let running = Running::spawn(directory.path(), &start_at(&path));
        wait::until_true("it serves or ends", || {
            let said = running.stderr();
            said.contains("listening") || said.contains("ticketd: ")
        });
        running.end().refused(&["cannot sync", &above, "Input/output error"]);
    }
    disk.heal();
    assert!(!serves_after_start_or_restart(&directory, Path::new(&path), &start_at(&path)));
}

/// The process that creates the store learns that the sync of its name has failed; the next one finds it all
/// the same.
#[test]
fn a_store_whose_name_was_not_synced_when_it_was_made_has_it_for_good_before_it_serves() {
    Disk::install();
    let directory = Directory::new();
    let mut random = random(13);
    for round in 0..rounds(8) {
        let made = (0..).find_map(|skip| {
            let store = directory.path().join(format!("store{round}-{skip}"));
            let disk = Disk::at(&store);
            disk.of_names().fail(Call::Sync, EIO, skip);
            let mut node = Node::spawn_at(&directory, &store, 1, &["start"], &[]);
            node.await_end();
            disk.heal();
            store.join("data.mdb").exists().then_some((node, disk))
        });
        let (mut node, disk) = made.expect("there is one such sync");
        node.restart();
        let last = wait::until("an ID", || cluster::take(&node.client_address));
        node.kill();
        disk.cut_power(&mut random);
        node.restart();
        assert!(wait::until("an ID", || cluster::take(&node.client_address)) > last);
    }
}

/// A store is either there or gone, and getting rid of it needs no force.
#[test]
fn a_drop_whose_disk_fails_at_any_sync_leaves_a_whole_store_or_none() {
    Disk::install();
    let directory = Directory::new();
    let (mut whole, mut gone) = (0, 0);
    for skip in 0.. {
        let mut node = Node::start(&directory, 1, &[]);
        wait::until("an ID", || cluster::take(&node.client_address));
        node.stop();
        let disk = Disk::of(&node);
        disk.of_names().fail(Call::Sync, EIO, skip);
        let dropped = node.command(&["drop"]);
        disk.heal();
        if dropped.status.success() {
            assert!(!disk.has_failed(), "sync {skip} has failed, and the command succeeds all the same");
            break;
        }
        let reason = &dropped.stderr;
        assert!(reason.contains("Input/output error") && reason.contains(&node.path()), "{dropped:#?}");
        let is_told = dropped.stdout.contains("needs 'ticketd start --first_id ");
        let verified = node.command(&["verify"]);
        if verified.status.success() {
            whole += 1;
        } else {
            assert!(is_told, "whoever founds a cluster in its place must know, and nothing else says it now");
            verified.refused(&["destroying", "interrupted", "drop"]);
            gone += 1;
        }
        node.command(&["drop"]).succeeded();
        assert!(!node.store().exists());
    }
    assert!(whole > 0 && gone > 0, "{whole} whole, {gone} gone");
}

/// Returns whether the store had been created. Whoever wanted to create it knows that, or does it again.
fn serves_after_start_or_restart(directory: &Directory, store: &Path, start: &[&str]) -> bool {
    let path = as_argument(store);
    let made = command::run(&["verify", "--path", &path]);
    let whole = made.status.success();
    let mut node = Node::at(directory, store, 1);
    if whole {
        node.respawn(&[]);
    } else {
        let words: &[&str] =
            if store.join("data.mdb.new").exists() { &["interrupted"] } else { &["no store"] };
        made.refused(words);
        let ports = start.iter().skip_while(|word| **word != "--raft_port").copied().collect::<Vec<_>>();
        node = Node::spawn_at(directory, store, 1, &["start"], &ports);
    }
    node.await_listening();
    let first = wait::until("an ID", || cluster::take(&node.client_address));
    assert!(whole || first == 1, "{first}");
    node.stop();
    whole
}
