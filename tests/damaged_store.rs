//! Stores that hold something other than what was written to them: either they are refused, or the damage
//! does not matter.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use harness::cluster::{self, Cluster};
use harness::command::{self, Ended};
use harness::directory::{self, Directory, as_argument, contents};
use harness::http;
use harness::node::Node;
use harness::random::Random;
use harness::wait;

/// The page size of LMDB on every machine that this program runs on.
const PAGE_BYTES: usize = 4096;

/// The two files of a store that hold what must not be lost.
const FILES: [&str; 2] = [DATA, JOURNAL];
const DATA: &str = "data.mdb";
const JOURNAL: &str = "data.journal";

/// Of the journal. See docs/storage-format.rst, also for the layout of a sector.
const SECTOR_BYTES: usize = 512;
const TRANSACTION_OFFSET: usize = 11;

/// With another size, a node brings everything in its journal to the data file when it starts.
const OTHER_SIZE: [&str; 2] = ["--db_size", "20"];

/// Takes some IDs, one after the other, and returns the last.
fn take_some(node: &Node) -> u64 {
    let mut last = 0;
    for _ in 0..50 {
        last = wait::until("an ID", || cluster::take(&node.client_address));
    }
    last
}

/// A node that has handed out some IDs. Part of its log is in the data file, and the rest in the journal.
fn busy(directory: &Directory) -> Node {
    let mut node = Node::start(directory, 1, &["--window", "0"]);
    take_some(&node);
    node.stop();
    node.restart_with(&OTHER_SIZE);
    take_some(&node);
    node
}

/// The same, stopped.
fn stopped(directory: &Directory) -> Node {
    let mut node = busy(directory);
    node.stop();
    node
}

fn read(store: &Path, file: &str) -> Vec<u8> {
    fs::read(store.join(file)).expect("the test's own store can be read")
}

fn write(store: &Path, file: &str, bytes: &[u8]) {
    fs::write(store.join(file), bytes).expect("the test's own store can be written");
}

/// What may happen to the bytes of a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip { at: usize, mask: u8 },
    Fill { from: usize, to: usize, byte: u8 },
    Cut { to: usize },
    Copy { from_page: usize, to_page: usize },
    Extend { by: usize },
}

impl Damage {
    fn apply(&self, data: &mut Vec<u8>) {
        match *self {
            Damage::Flip { at, mask } => data[at] ^= mask,
            Damage::Fill { from, to, byte } => data[from..to].fill(byte),
            Damage::Cut { to } => data.truncate(to),
            Damage::Copy { from_page, to_page } => {
                let from = from_page * PAGE_BYTES;
                data.copy_within(from..from + PAGE_BYTES, to_page * PAGE_BYTES);
            }
            Damage::Extend { by } => data.resize(data.len() + by, 0),
        }
    }
}

/// All kinds of damage to a data file of this length.
fn damages(length: usize) -> Vec<Damage> {
    let pages = length / PAGE_BYTES;
    let mut damages = Vec::new();
    // The fields of page headers are at the front of a page, and its content is at the end.
    for page in 0..pages {
        for offset in
            [0, 8, 10, 12, 14, 16, 24, 32, 40, 80, 88, 120, 128, 1000, 3000, 3900, 4000, 4064, 4090, 4095]
        {
            damages.push(Damage::Flip { at: page * PAGE_BYTES + offset, mask: 1 << (offset % 8) });
            damages.push(Damage::Flip { at: page * PAGE_BYTES + offset, mask: 0xff });
        }
        let (from, to) = (page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
        damages.push(Damage::Fill { from, to, byte: 0 });
        damages.push(Damage::Fill { from, to, byte: 0xff });
        damages.push(Damage::Fill { from: from + 16, to, byte: 0xff });
        damages.push(Damage::Fill { from: from + 12, to: from + 16, byte: 0xff });
        damages.push(Damage::Copy { from_page: page, to_page: (page + 1) % pages });
    }
    for cut in [
        0,
        1,
        100,
        PAGE_BYTES - 1,
        PAGE_BYTES,
        PAGE_BYTES + 1,
        2 * PAGE_BYTES,
        length / 2,
        length - PAGE_BYTES,
    ] {
        damages.push(Damage::Cut { to: cut });
    }
    damages.push(Damage::Cut { to: length - 1 });
    damages.push(Damage::Fill { from: 0, to: length, byte: 0 });
    damages.push(Damage::Fill { from: 0, to: length, byte: 0xa5 });
    damages
}

/// All kinds of damage to a journal of this length, of which the first `used` bytes are in use. Checksums
/// cover all of it.
fn damages_to_journal(length: usize, used: usize) -> Vec<Damage> {
    let (pages, used_pages) = (length / PAGE_BYTES, used / PAGE_BYTES);
    let mut damages = Vec::new();
    for page in (0..used_pages).step_by(5).chain([used_pages - 1, used_pages, used_pages + 1, pages - 1]) {
        for (sector, offset) in [0, 4, 5, 8, 11, 18, 26, 511].into_iter().enumerate() {
            let from = page * PAGE_BYTES + sector * SECTOR_BYTES;
            damages.push(Damage::Flip { at: from + offset, mask: 1 << (offset % 8) });
        }
        let from = page * PAGE_BYTES;
        damages.push(Damage::Fill { from, to: from + SECTOR_BYTES, byte: 0 });
        damages.push(Damage::Fill { from: from + 27, to: from + SECTOR_BYTES, byte: 0xff });
        damages.push(Damage::Fill { from, to: from + PAGE_BYTES, byte: 0 });
        damages.push(Damage::Copy { from_page: page, to_page: (page + 1) % pages });
        damages.push(Damage::Copy { from_page: (page + pages - 1) % pages, to_page: page });
    }
    for to in [0, 1, SECTOR_BYTES, PAGE_BYTES, used, length / 2, length - SECTOR_BYTES, length - 1] {
        damages.push(Damage::Cut { to });
    }
    damages.push(Damage::Extend { by: 1 });
    damages.push(Damage::Extend { by: 100 * PAGE_BYTES });
    damages.push(Damage::Fill { from: 0, to: length, byte: 0 });
    damages.push(Damage::Fill { from: 0, to: length, byte: 0xa5 });
    damages
}

/// Damages a file of a store that is not in use.
fn damage_store(store: &Path, file: &str, damage: &Damage) {
    let mut bytes = read(store, file);
    damage.apply(&mut bytes);
    write(store, file, &bytes);
}

/// A copy of a store in which a file is damaged.
fn damaged_copy(directory: &Directory, store: &Path, file: &str, damage: &Damage) -> PathBuf {
    let copy = directory.path().join("damaged");
    let _ = fs::remove_dir_all(&copy);
    directory::copy(store, &copy);
    damage_store(&copy, file, damage);
    copy
}

/// Asserts that a start refuses this damaged store, and leaves it as it is.
#[track_caller]
fn assert_not_started(store: &Path, damage: &Damage) {
    let before = contents(store);
    let ports = ["--raft_port", "0", "--http_port", "0"];
    let ended = command::run(&[&["--path", &as_argument(store)], &ports[..]].concat());
    assert_refused_as_damaged(ended, damage);
    assert_eq!(contents(store), before, "a damaged store is left as it is");
}

#[track_caller]
fn assert_refused_as_damaged(ended: Ended, damage: &Damage) {
    assert!(!ended.stderr.contains("panicked"), "{damage:?}: {ended:#?}");
    let said = ended.refused_for_good(&[]);
    assert!(said.contains("damaged") || said.contains("format"), "{damage:?}: {said}");
}

#[test]
fn a_damaged_store_is_refused_with_one_line_and_never_read_wrongly() {
    let directory = Directory::new();
    let node = stopped(&directory);
    let data = read(node.store(), DATA);
    assert!(data.len() >= 4 * PAGE_BYTES, "{} bytes", data.len());
    let sound = node.command(&["verify"]).succeeded().replace(&node.path(), "PATH");
    let (mut refused, mut harmless) = (0, 0);
    for damage in damages(data.len()) {
        let copy = damaged_copy(&directory, node.store(), DATA, &damage);
        let path = as_argument(&copy);
        let ended = command::run(&["verify", "--path", &path]);
        if ended.status.success() {
            // Damage to unused pages, and to the unused parts of others.
            assert_eq!(ended.stdout.replace(&path, "PATH"), sound, "{damage:?} went unnoticed");
            harmless += 1;
            continue;
        }
        assert_refused_as_damaged(ended, &damage);
        refused += 1;
        // A start runs the same check, so testing it occasionally is enough.
        if refused % 16 == 0 {
            assert_not_started(&copy, &damage);
        }
    }
    eprintln!("{refused} kinds of damage were refused, {harmless} did no harm");
    assert!(refused > harmless / 4, "{refused} refused, {harmless} harmless: this damages nothing");
}

#[test]
fn a_store_that_is_cut_off_is_refused_unless_it_lacks_nothing() {
    let directory = Directory::new();
    let node = stopped(&directory);
    let sound = node.command(&["verify"]).succeeded().replace(&node.path(), "PATH");
    let data = read(node.store(), DATA);
    for to in (0..data.len()).step_by(1024).chain([1, data.len() - 1]) {
        let damage = Damage::Cut { to };
        let path = as_argument(&damaged_copy(&directory, node.store(), DATA, &damage));
        let ended = command::run(&["verify", "--path", &path]);
        // Free pages at the end need not be there.
        if ended.status.success() && to > data.len() / 2 {
            assert_eq!(ended.stdout.replace(&path, "PATH"), sound, "{damage:?} went unnoticed");
        } else {
            assert_refused_as_damaged(ended, &damage);
        }
    }
}

/// The number of the transaction that each sector of a journal is a part of.
fn transactions(journal: &[u8]) -> Vec<u64> {
    let number = |sector: &[u8]| sector[TRANSACTION_OFFSET..][..8].try_into().map(u64::from_be_bytes);
    journal.chunks(SECTOR_BYTES).map(|sector| number(sector).expect("eight bytes")).collect()
}

/// The sectors of the last transaction of a journal.
fn last_transaction(journal: &[u8]) -> Vec<usize> {
    let of = transactions(journal);
    let last = of.iter().max().copied();
    (0..of.len()).filter(|sector| Some(of[*sector]) == last).collect()
}

fn a_damaged_journal_is_refused(node: &Node, directory: &Directory) {
    let journal = read(node.store(), JOURNAL);
    let used = SECTOR_BYTES * (1 + last_transaction(&journal).last().expect("it has some"));
    assert!(used < journal.len() / 2 && used > 20 * PAGE_BYTES, "{used} of {} bytes", journal.len());
    for (number, damage) in damages_to_journal(journal.len(), used).iter().enumerate() {
        let copy = damaged_copy(directory, node.store(), JOURNAL, damage);
        let ended = command::run(&["verify", "--path", &as_argument(&copy)]);
        assert!(ended.stderr.contains("journal"), "{damage:?}: {ended:#?}");
        assert_refused_as_damaged(ended, damage);
        if number % 16 == 0 {
            assert_not_started(&copy, damage);
        }
    }
}

#[test]
fn a_damaged_journal_of_a_stopped_node_is_refused_with_one_line_wherever_the_damage_is() {
    let directory = Directory::new();
    let node = stopped(&directory);
    a_damaged_journal_is_refused(&node, &directory);
}

#[test]
fn a_damaged_journal_of_a_killed_node_is_refused_with_one_line_wherever_the_damage_is() {
    let directory = Directory::new();
    let mut node = busy(&directory);
    node.kill();
    a_damaged_journal_is_refused(&node, &directory);
}

/// As when the file was lost, or files of several stores were mixed up.
#[test]
fn a_journal_that_is_missing_or_none_of_this_stores_is_refused() {
    let directory = Directory::new();
    let mut node = stopped(&directory);
    let sound = contents(node.store());
    let refused = |node: &Node, words: &[&str]| {
        let before = contents(node.store());
        let words = [&["damaged", "journal", "leave it aside", "join"], words].concat();
        node.command(&["verify"]).refused_for_good(&words);
        node.command(&["--raft_port", "0", "--http_port", "0"]).refused_for_good(&words);
        assert_eq!(contents(node.store()), before);
    };
    let journal = read(node.store(), JOURNAL);
    fs::remove_file(node.store().join(JOURNAL)).unwrap();
    refused(&node, &["missing"]);

    let elsewhere = Directory::new();
    let other = stopped(&elsewhere);
    write(node.store(), JOURNAL, &read(other.store(), JOURNAL));
    refused(&node, &["sector 0", "checksum"]);
    write(node.store(), JOURNAL, &Random::new(1).bytes(journal.len()));
    refused(&node, &["sector 0", "checksum"]);

    write(node.store(), JOURNAL, &journal);
    assert_eq!(contents(node.store()), sound);
    node.restart();
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > 100);
}

/// What is in the journal builds on a checkpoint.
#[test]
fn a_data_file_of_before_a_checkpoint_is_refused_and_one_of_after_it_is_not() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--window", "0"]);
    take_some(&node);
    node.stop();
    let before = read(node.store(), DATA);
    node.restart_with(&OTHER_SIZE);
    take_some(&node);
    node.stop();
    let after = read(node.store(), DATA);
    node.restart();
    let last = take_some(&node);
    node.kill();
    assert_eq!(read(node.store(), DATA), after, "there was another checkpoint");

    write(node.store(), DATA, &before);
    let store = contents(node.store());
    node.respawn(&[]);
    node.end().refused_for_good(&[
        "damaged",
        "of the journal",
        "which is not there",
        "leave it aside",
        "join",
    ]);
    assert_eq!(contents(node.store()), store);
    write(node.store(), DATA, &after);
    node.restart();
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > last);
}

/// If the transaction were taken for one that was never finished, the last IDs would be handed out again.
#[test]
fn a_node_alone_whose_last_transaction_is_damaged_refuses_to_start() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--window", "0"]);
    let last = take_some(&node);
    node.kill();
    let sound = read(node.store(), JOURNAL);
    for sector in last_transaction(&sound) {
        let from = sector * SECTOR_BYTES;
        for damage in [
            Damage::Flip { at: from + TRANSACTION_OFFSET + 7, mask: 1 },
            Damage::Flip { at: from + SECTOR_BYTES - 1, mask: 0x80 },
            Damage::Fill { from, to: from + SECTOR_BYTES, byte: 0 },
            Damage::Fill { from, to: from + SECTOR_BYTES, byte: 0xff },
        ] {
            damage_store(node.store(), JOURNAL, &damage);
            let store = contents(node.store());
            node.respawn(&[]);
            let place = format!("sector {sector} of the journal");
            node.end().refused_for_good(&["damaged", &place, "leave it aside", "join"]);
            assert_eq!(contents(node.store()), store);
            write(node.store(), JOURNAL, &sound);
        }
    }
    node.restart();
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > last);
}

/// Nobody but the operator knows where a cluster has to begin that follows one whose only store is damaged.
#[test]
fn a_damaged_store_is_replaced_by_force_only_if_it_is_said_where_the_new_cluster_begins() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&node.client_address));
    node.kill();
    damage_store(node.store(), DATA, &Damage::Cut { to: 2 * PAGE_BYTES });
    let before = contents(node.store());
    let start = ["start", "--force", "--id", "1", "--raft_port", "0", "--http_port", "0"];
    node.command(&start).refused(&["is damaged", "nothing has changed", "--first_id"]);
    assert_eq!(contents(node.store()), before);
    let anew = Node::start(&directory, 1, &["--force", "--first_id", "5000"]);
    assert_eq!(wait::until("an ID", || cluster::take(&anew.client_address)), 5000);
}

#[test]
fn a_damaged_store_can_be_dropped_by_force_and_its_node_join_anew() {
    for file in FILES {
        let mut cluster = Cluster::of(3);
        let damaged = cluster.follower();
        let leader = cluster.leader();
        let node = cluster.node(damaged);
        node.kill();
        damage_store(node.store(), file, &Damage::Cut { to: 2 * PAGE_BYTES });
        node.respawn(&[]);
        node.end().refused_for_good(&["damaged", "join"]);
        node.command(&["drop", "--force"]).succeeded();
        assert!(!fs::exists(node.store()).unwrap());
        cluster.node(leader).command(&["leave", "--id", &damaged.to_string()]).succeeded();
        let through = cluster.node(leader).peer_address.clone();
        let anew = Node::join(&cluster.directory, damaged, &[&through], &[]);
        anew.await_status("all vote", |status| status.voters() == [1, 2, 3]);
        assert!(cluster.take() > 0);
    }
}

/// The leader counts on what the node has acknowledged since the copy was made, and votes are forgotten too.
#[test]
fn a_node_whose_store_is_an_earlier_copy_finds_out_and_takes_no_part_until_it_joins_anew() {
    let mut cluster = Cluster::with_flags(3, &["--window", "0", "--election_timeout", "10000"]);
    let (leader, rolled_back) = (cluster.leader(), cluster.follower());
    cluster.roll_back(rolled_back);
    let node = cluster.node(rolled_back);
    assert_eq!(http::ask(&node.client_address, "GET", "/healthz").expect("it answers").status, 503);
    assert_eq!(http::metric(&node.client_address, "ticketd_storage_failures_total"), Some(1));
    // The store that it is a copy of may be in use, and its node must be let be.
    node.await_status("it calls nobody", |status| status.members.values().all(|m| m.link != "up"));
    // Nor may anybody take it for that node.
    cluster.node(leader).await_status("it has no link to it", |status| {
        status.members.get(&rolled_back).is_some_and(|member| member.link == "down")
    });
    let refused = "refuses this node, trying again: its store lacks what this member has acknowledged";
    wait::until_true("the leader says why", || cluster.node(leader).log().contains(refused));
    // To move it out of the way is right, and must not look like the loss of a store that is of use.
    let aside = cluster.directory.path().join("aside");
    let node = cluster.node(rolled_back);
    fs::rename(node.store(), &aside).expect("the test's own store can be moved");
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(3), "another start does not help");
    let log = node.log();
    assert!(!log.contains("move it back") && !log.contains("until it is restarted"), "{log}");
    fs::rename(&aside, node.store()).expect("the test's own store can be moved");
    // Not even under another leader, which counts on nothing: the store remembers.
    let words = ["the leader counts on", "ticketd leave --id N"];
    for line in [&["verify"][..], &["--raft_port", "0"], &["leave"]] {
        node.command(line).refused_for_good(&words);
    }
    node.command(&["drop"]).refused_for_good(&[&words[..], &["drop --force"]].concat());

    let last = cluster.take();
    cluster.node(leader).command(&["leave", "--id", &rolled_back.to_string()]).succeeded();
    let through = cluster.node(leader).peer_address.clone();
    cluster.forget(rolled_back);
    let anew = Node::join(&cluster.directory, rolled_back, &[&through], &["--force"]);
    anew.await_status("all vote", |status| status.voters() == [1, 2, 3]);
    assert!(cluster.take() > last);
}

/// Changes the record of a log entry wherever the file has it, including unused pages.
fn damage_entry(store: &Path, file: &str, index: u64) {
    let mut bytes = read(store, file);
    // Its key, in the journal its length, and then the version of the format and the kind: see
    // docs/storage-format.rst.
    let key = [&[6][..], &index.to_be_bytes()].concat();
    let start = key.len() + if file == JOURNAL { 4 } else { 0 };
    let is_there = |bytes: &[u8]| bytes.starts_with(&key) && bytes[start..].starts_with(&[2, 6]);
    let places: Vec<usize> =
        (0..bytes.len() - start).filter(|at| is_there(&bytes[*at..])).map(|at| at + start).collect();
    assert!(!places.is_empty(), "entry {index} is not in {file} of {}", store.display());
    for place in places {
        bytes[place + 2] ^= 1;
    }
    write(store, file, &bytes);
}

/// Two of three nodes have an entry, and on one of them its record rots. If the log were cut off there, that
/// node and the third, which never had the entry, could elect a leader without it, and the IDs that it
/// reserved would be handed out again.
fn a_node_whose_committed_record_is_damaged(file: &str) {
    let mut cluster = Cluster::with_flags(3, &["--window", "0"]);
    let leader = cluster.leader();
    let rotten = cluster.follower();
    let behind = (1..=3).find(|id| ![leader, rotten].contains(id)).expect("there are three");
    cluster.node(behind).kill();
    let last = cluster.take();
    let there = cluster.node(leader).await_status("it leads", |status| status.leads()).commit_index;
    cluster.node(rotten).await_status("it has all", |status| status.applied_index >= there);
    cluster.node(leader).kill();
    cluster.node(rotten).kill();
    let mut place = "of the journal: its checksum does not match".to_owned();
    if file == DATA {
        cluster.node(rotten).restart_with(&OTHER_SIZE);
        cluster.node(rotten).kill();
        place = format!("log entry {there}");
    }
    damage_entry(cluster.node(rotten).store(), file, there);

    cluster.node(behind).restart();
    let store = contents(cluster.node(rotten).store());
    cluster.node(rotten).respawn(&[]);
    cluster.node(rotten).end().refused_for_good(&["damaged", &place, "leave it aside", "join"]);
    assert_eq!(contents(cluster.node(rotten).store()), store);
    assert_eq!(cluster::take(&cluster.node(behind).client_address), None, "it is alone, and lacks {last}");

    cluster.node(leader).restart();
    assert!(cluster.take() > last);
    let now = cluster.leader();
    cluster.node(now).command(&["leave", "--id", &rotten.to_string()]).succeeded();
    cluster.node(now).await_status("it is no member", |status| !status.voters().contains(&rotten));
    let aside = cluster.directory.path().join("aside");
    fs::rename(cluster.node(rotten).store(), aside).expect("the test's own directory");
    cluster.forget(rotten);
    let through = cluster.node(now).peer_address.clone();
    let anew = Node::join(&cluster.directory, rotten, &[&through], &[]);
    anew.await_status("all vote", |status| status.voters() == [1, 2, 3]);
    assert!(cluster.take() > last);
}

#[test]
fn a_node_whose_committed_record_is_damaged_in_its_journal_refuses_to_start_and_is_replaced() {
    a_node_whose_committed_record_is_damaged(JOURNAL);
}

#[test]
fn a_node_whose_committed_record_is_damaged_in_its_data_file_refuses_to_start_and_is_replaced() {
    a_node_whose_committed_record_is_damaged(DATA);
}
