//! Stores that are dropped, verified, damaged, or not there.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use harness::cluster::{self, Cluster};
use harness::command::{self, Ended};
use harness::directory::{Directory, as_argument, contents};
use harness::node::Node;
use harness::wait;

/// LMDB's, on every machine that this program runs on.
const PAGE_BYTES: usize = 4096;

/// A stopped node that has handed out some IDs.
fn stopped(directory: &Directory) -> Node {
    let mut node = Node::start(directory, 1, &["--window", "10"]);
    for _ in 0..50 {
        wait::until("an ID", || cluster::take(&node.clients));
    }
    node.stop();
    node
}

#[test]
fn a_sound_store_is_verified_and_goes_on() {
    let directory = Directory::new();
    let mut node = stopped(&directory);
    let store = contents(node.store());
    let said = node.command(&["verify"]).succeeded();
    assert!(!said.is_empty());
    assert_eq!(contents(node.store()), store, "whoever verifies writes nothing");
    node.restart();
    assert!(wait::until("an ID", || cluster::take(&node.clients)) > 50);
}

#[test]
fn a_store_of_a_killed_node_is_sound() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--window", "0"]);
    for _ in 0..5 {
        wait::until("an ID", || cluster::take(&node.clients));
        node.kill();
        node.command(&["verify"]).succeeded();
        node.restart();
    }
}

#[test]
fn a_store_in_use_can_not_be_verified_dropped_or_served_twice() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &[]);
    let pid = node.pid().to_string();
    node.command(&["verify"]).refused(&["in use", &pid]);
    node.command(&["drop"]).refused(&["in use", &pid]);
    node.command(&["drop", "--force"]).refused(&["in use", &pid]);
    node.command(&["--raft_port", "0", "--http_port", "0"]).refused(&["in use", &pid]);
    node.command(&["start", "--id", "1", "--raft_port", "0", "--http_port", "0"]).refused(&[]);
    node.command(&["start", "--id", "1", "--force", "--raft_port", "0", "--http_port", "0"])
        .refused(&["in use"]);
    assert!(wait::until("an ID", || cluster::take(&node.clients)) > 0);
}

#[test]
fn a_dropped_store_is_gone() {
    let directory = Directory::new();
    let node = stopped(&directory);
    node.command(&["drop"]).succeeded();
    assert!(!fs::exists(node.store()).unwrap());
    node.command(&["drop"]).refused(&["no store"]);
    node.command(&["verify"]).refused(&["no store"]);
    node.command(&[]).refused(&["no store"]);
}

#[test]
fn a_drop_leaves_files_alone_that_are_not_its_own() {
    let directory = Directory::new();
    let node = stopped(&directory);
    let notes = node.store().join("notes");
    fs::write(&notes, "do not lose this").unwrap();
    node.command(&["drop"]).succeeded();
    assert_eq!(fs::read_to_string(&notes).unwrap(), "do not lose this");
}

#[test]
fn a_store_in_the_way_of_start_stays_unless_forced() {
    let directory = Directory::new();
    let mut node = stopped(&directory);
    let store = contents(node.store());
    let line = ["start", "--id", "2", "--raft_port", "0", "--http_port", "0"];
    node.command(&line).refused(&["drop", "--force"]);
    assert_eq!(contents(node.store()), store);
    drop(node);
    node = Node::start(&directory, 1, &["--force"]);
    assert_eq!(wait::until("an ID", || cluster::take(&node.clients)), 1, "another cluster begins anew");
}

#[test]
fn a_store_in_the_way_of_join_stays_unless_forced() {
    let cluster = Cluster::of(1);
    let elsewhere = Directory::new();
    let mut node = Node::start(&elsewhere, 2, &[]);
    node.stop();
    let store = node.findings();
    let one = cluster.awake().next().map(|node| node.peers.clone()).unwrap();
    let line = ["join", &one, "--id", "2", "--raft_port", "0", "--http_port", "0"];
    node.command(&line).refused(&["drop", "--force"]);
    assert_eq!(node.findings(), store);
    drop(node);
    let node = Node::join(&elsewhere, 2, &[&one], &["--force"]);
    node.await_status("both vote", |status| status.voters() == [1, 2]);
}

/// What may happen to the bytes of a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip { at: usize, mask: u8 },
    Fill { from: usize, to: usize, byte: u8 },
    Cut { to: usize },
    Copy { from_page: usize, to_page: usize },
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
        }
    }
}

/// All kinds of damage to a file of so many bytes.
fn damages(length: usize) -> Vec<Damage> {
    let pages = length / PAGE_BYTES;
    let mut damages = Vec::new();
    // The fields of page headers are at their beginning, and what pages hold is at their end.
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

/// Damages the file of a store that nobody uses.
fn damage_store(store: &Path, damage: &Damage) {
    let file = store.join("data.mdb");
    let mut data = fs::read(&file).expect("the test's own store can be read");
    damage.apply(&mut data);
    fs::write(&file, data).expect("the test's own store can be written");
}

/// A copy of a store whose file is damaged.
fn damaged_copy(directory: &Directory, sound: &[u8], damage: &Damage) -> PathBuf {
    let copy = directory.path().join("damaged");
    let _ = fs::remove_dir_all(&copy);
    let mut data = sound.to_vec();
    damage.apply(&mut data);
    let made = fs::create_dir(&copy).and_then(|()| fs::write(copy.join("data.mdb"), data));
    made.expect("the test's own directory can be written to");
    copy
}

#[track_caller]
fn assert_refused_as_damaged(ended: Ended, damage: &Damage) {
    assert!(!ended.stderr.contains("panicked"), "{damage:?}: {ended:#?}");
    let said = ended.refused(&[]);
    assert!(said.contains("damaged") || said.contains("format"), "{damage:?}: {said}");
}

#[test]
fn a_damaged_store_is_refused_with_one_line_and_never_read_wrongly() {
    let directory = Directory::new();
    let node = stopped(&directory);
    let data = fs::read(node.store().join("data.mdb")).unwrap();
    assert!(data.len() >= 4 * PAGE_BYTES, "{} bytes", data.len());
    let sound = node.command(&["verify"]).succeeded().replace(&node.path(), "PATH");
    let (mut refused, mut harmless) = (0, 0);
    for damage in damages(data.len()) {
        let copy = damaged_copy(&directory, &data, &damage);
        let path = as_argument(&copy);
        let ended = command::run(&["verify", "--path", &path]);
        if ended.status.success() {
            // Pages that are not in use, and what fills the others up.
            assert_eq!(ended.stdout.replace(&path, "PATH"), sound, "{damage:?} went unnoticed");
            harmless += 1;
            continue;
        }
        assert_refused_as_damaged(ended, &damage);
        refused += 1;
        // A start goes through the same check: now and then is often enough.
        if refused % 16 == 0 {
            let store = contents(&copy);
            let ports = ["--raft_port", "0", "--http_port", "0"];
            let ended = command::run(&[&["--path", &path], &ports[..]].concat());
            assert_refused_as_damaged(ended, &damage);
            assert_eq!(contents(&copy), store, "a damaged store is left as it is");
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
    let data = fs::read(node.store().join("data.mdb")).unwrap();
    for to in (0..data.len()).step_by(1024).chain([1, data.len() - 1]) {
        let damage = Damage::Cut { to };
        let path = as_argument(&damaged_copy(&directory, &data, &damage));
        let ended = command::run(&["verify", "--path", &path]);
        // Free pages at the end need not be there.
        if ended.status.success() && to > data.len() / 2 {
            assert_eq!(ended.stdout.replace(&path, "PATH"), sound, "{damage:?} went unnoticed");
        } else {
            assert_refused_as_damaged(ended, &damage);
        }
    }
}

#[test]
fn a_damaged_store_can_be_dropped_by_force_and_its_node_join_anew() {
    let mut cluster = Cluster::of(3);
    let damaged = cluster.follower();
    let leader = cluster.leader();
    let node = cluster.node(damaged);
    node.kill();
    damage_store(node.store(), &Damage::Cut { to: 2 * PAGE_BYTES });
    node.respawn(&[]);
    node.end().refused(&["damaged", "join"]);
    node.command(&["drop", "--force"]).succeeded();
    assert!(!fs::exists(node.store()).unwrap());
    cluster.node(leader).command(&["leave", "--id", &damaged.to_string()]).succeeded();
    let through = cluster.node(leader).peers.clone();
    let anew = Node::join(&cluster.directory, damaged, &[&through], &[]);
    anew.await_status("all vote", |status| status.voters() == [1, 2, 3]);
    assert!(cluster.take() > 0);
}

/// Changes the record of a log entry wherever the file has it, also where it is not in use any more.
fn damage_entry(store: &Path, index: u64) {
    let data = store.join("data.mdb");
    let mut file = fs::read(&data).expect("the test's own file");
    // Its key, then the version of the format and the kind: see docs/storage-format.rst.
    let record = [&[6][..], &index.to_be_bytes(), &[1, 6]].concat();
    let starts: Vec<usize> =
        (0..file.len() - record.len()).filter(|at| file[*at..].starts_with(&record)).collect();
    assert!(!starts.is_empty(), "entry {index} is not in {}", data.display());
    for start in starts {
        file[start + record.len()] ^= 1;
    }
    fs::write(data, file).expect("the test's own file");
}

/// Two of three have an entry, and with one of them its record rots. Were it cut off there, that node and the third,
/// which never had it, could lead without it, and what it handed out would be handed out again.
#[test]
fn a_node_whose_committed_record_is_damaged_refuses_to_start_and_is_replaced() {
    let mut cluster = Cluster::with_flags(3, &["--window", "0"]);
    let leader = cluster.leader();
    let rotten = cluster.follower();
    let behind = (1..=3).find(|id| ![leader, rotten].contains(id)).unwrap();
    cluster.node(behind).kill();
    let last = cluster.take();
    let there = cluster.node(leader).await_status("it leads", |status| status.leads()).commit_index;
    cluster.node(rotten).await_status("it has all", |status| status.applied_index >= there);
    cluster.node(leader).kill();
    cluster.node(rotten).kill();
    damage_entry(cluster.node(rotten).store(), there);

    cluster.node(behind).restart();
    let store = contents(cluster.node(rotten).store());
    cluster.node(rotten).respawn(&[]);
    let entry = format!("log entry {there}");
    cluster.node(rotten).end().refused(&["damaged", &entry, "leave it aside", "join"]);
    assert_eq!(contents(cluster.node(rotten).store()), store);
    assert_eq!(cluster::take(&cluster.node(behind).clients), None, "it is alone, and lacks {last}");

    cluster.node(leader).restart();
    assert!(cluster.take() > last);
    let now = cluster.leader();
    cluster.node(now).command(&["leave", "--id", &rotten.to_string()]).succeeded();
    cluster.node(now).await_status("it is no member", |status| !status.voters().contains(&rotten));
    let aside = cluster.directory.path().join("aside");
    fs::rename(cluster.node(rotten).store(), aside).unwrap();
    cluster.forget(rotten);
    let through = cluster.node(now).peers.clone();
    let anew = Node::join(&cluster.directory, rotten, &[&through], &[]);
    anew.await_status("all vote", |status| status.voters() == [1, 2, 3]);
    assert!(cluster.take() > last);
}

#[test]
fn the_store_stays_far_below_its_size_however_long_the_node_serves() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &["--window", "0", "--db_size", "16"]);
    let load = harness::load::Load::on(vec![node.clients.clone()]);
    // Each batch is an entry of the log: without compaction they would fill the store.
    node.await_status("thousands of entries", |status| status.commit_index > 10_000);
    load.await_more(100);
    load.finish().check();
    let status = node.status().unwrap();
    assert_eq!(status.role, "leader");
    let length = fs::metadata(node.store().join("data.mdb")).unwrap().len();
    assert!(length <= 16 * 1024 * 1024, "{length} bytes");
}
