//! Stores that are dropped, verified, in the way, or not there.

mod harness;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use harness::cluster::{self, Cluster};
use harness::command;
use harness::directory::{Directory, as_argument, contents};
use harness::http;
use harness::node::Node;
use harness::wait;
use lmdb::Transaction;
use raft_core::{Entry, LogIndex, Payload, Recovered, Snapshot, Write, WriteId};
use rustix::process::Signal;
use ticketd::storage::Store;

/// A stopped node that has handed out some IDs.
fn stopped(directory: &Directory) -> Node {
    let mut node = Node::start(directory, 1, &["--window", "10"]);
    for _ in 0..50 {
        wait::until("an ID", || cluster::take(&node.client_address));
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
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > 50);
}

/// As by a restart with another size that was killed before it had stored that setting.
#[test]
fn a_store_whose_size_is_not_that_of_its_settings_has_it_after_a_restart() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--db_size", "16"]);
    node.stop();
    Store::open(node.store()).unwrap().resize(32 << 20).unwrap();
    let size = |node: &Node| {
        let said = node.command(&["verify"]).succeeded();
        let bytes = said.lines().find_map(|line| line.split_once(" bytes at most")).map(|(bytes, _)| bytes);
        bytes.expect("the size").parse::<u64>().expect("a number")
    };
    assert_eq!(size(&node), 32 << 20);
    node.restart();
    node.stop();
    assert_eq!(size(&node), 16 << 20);
}

#[test]
fn a_store_of_a_killed_node_is_sound() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--window", "0"]);
    for _ in 0..5 {
        wait::until("an ID", || cluster::take(&node.client_address));
        node.kill();
        node.command(&["verify"]).succeeded();
        node.restart();
    }
}

#[test]
fn a_store_in_use_cannot_be_verified_dropped_or_served_twice() {
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
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > 0);
}

#[test]
fn a_dropped_store_is_gone() {
    let directory = Directory::new();
    let node = stopped(&directory);
    let held = node.command(&["verify"]).succeeded();
    let next = held.lines().find_map(|line| line.strip_prefix("no ID from ")?.split(' ').next()).unwrap();
    let said = node.command(&["drop"]).succeeded();
    assert!(said.contains(&format!("'ticketd start --first_id {next}'")), "{said}\n{held}");
    assert!(!fs::exists(node.store()).unwrap());
    node.command(&["drop"]).refused(&["no store"]);
    node.command(&["verify"]).refused(&["no store"]);
    node.command(&[]).refused(&["no store"]);
}

/// Its lock is by its path.
#[test]
fn a_store_whose_files_another_path_leads_to_as_well_is_used_by_one_node() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&node.client_address));
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    for file in ["data.mdb", "data.journal"] {
        symlink(node.store().join(file), other.join(file)).unwrap();
    }
    let path = as_argument(&other);
    command::run(&["--path", &path, "--raft_port", "0", "--http_port", "0"]).refused(&[&path, "in use"]);
    assert!(cluster::take(&node.client_address).is_some());
}

/// To be told that it is damaged would lead the operator to destroy it.
#[test]
fn a_store_whose_journal_is_elsewhere_and_cannot_be_seen_now_is_not_taken_for_damaged() {
    let directory = Directory::new();
    let mut node = stopped(&directory);
    let (journal, elsewhere) = (node.store().join("data.journal"), directory.path().join("elsewhere"));
    let away = directory.path().join("away");
    fs::rename(&journal, &elsewhere).unwrap();
    symlink(&elsewhere, &journal).unwrap();
    node.restart();
    let last = wait::until("an ID", || cluster::take(&node.client_address));
    node.stop();
    fs::rename(&elsewhere, &away).unwrap();
    let start: &[&str] = &["start", "--force", "--id", "1", "--raft_port", "0", "--http_port", "0"];
    for command in [&[][..], &["verify"], start] {
        let said = node.command(command).refused(&["data.journal", "No such file"]);
        assert!(!said.contains("damaged"), "{said}");
    }
    fs::rename(&away, &elsewhere).unwrap();
    node.restart();
    assert!(wait::until("an ID", || cluster::take(&node.client_address)) > last);
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
fn a_store_beside_which_no_other_could_be_made_is_not_destroyed_for_one() {
    let directory = Directory::new();
    let node = stopped(&directory);
    fs::write(node.store().join("notes"), "do not lose this").unwrap();
    let store = contents(node.store());
    let ports = ["--raft_port", "0", "--http_port", "0"];
    node.command(&[&["start", "--id", "1", "--force"][..], &ports].concat()).refused(&["notes", "--path"]);
    assert_eq!(contents(node.store()), store);
    fs::remove_file(node.store().join("data.mdb")).unwrap();
    let store = contents(node.store());
    node.command(&[&["start", "--id", "1", "--force"][..], &ports].concat()).refused(&["notes", "--path"]);
    assert_eq!(contents(node.store()), store);
}

#[test]
fn a_node_is_not_told_to_put_files_of_its_own_into_the_way_of_its_store() {
    let directory = Directory::new();
    let (path, pid) = (directory.join("store"), directory.join("store/pid"));
    let ports = ["--raft_port", "0", "--http_port", "0", "--path", &path];
    for command in [&["start", "--id", "1"][..], &["join", "127.0.0.1:1", "--id", "1"]] {
        for flag in ["--pid_file", "--http_unix"] {
            let said = command::run(&[command, &ports, &[flag, &pid]].concat());
            said.refused_as_usage(&[flag, &path, "another place"]);
            assert!(!fs::exists(&path).unwrap());
        }
    }
    // A store that is there already has room for such a file.
    let mut node = stopped(&directory);
    node.restart_with(&["--pid_file", &as_argument(&node.store().join("pid"))]);
}

/// Its journal holds everything that it has handed out.
#[test]
fn a_store_that_has_lost_its_data_file_is_a_damaged_one_to_every_command() {
    let directory = Directory::new();
    let mut node = stopped(&directory);
    fs::remove_file(node.store().join("data.mdb")).unwrap();
    let store = contents(node.store());
    let ports = ["--raft_port", "0", "--http_port", "0"];
    let words = ["damaged", "data.mdb is missing", "leave it aside"];
    let found = [&["start", "--id", "1"][..], &ports].concat();
    let join = [&["join", "127.0.0.1:1", "--id", "1"][..], &ports].concat();
    for line in [&["verify"][..], &ports, &found, &join, &["leave"]] {
        node.command(line).refused_for_good(&words);
    }
    node.command(&["drop"]).refused_for_good(&[&words[..], &["drop --force"]].concat());
    assert_eq!(contents(node.store()), store);

    node.command(&["drop", "--force"]).succeeded();
    assert!(!fs::exists(node.store()).unwrap());
    drop(node);
    node = stopped(&directory);
    fs::remove_file(node.store().join("data.mdb")).unwrap();
    drop(node);
    node = Node::start(&directory, 1, &["--force", "--first_id", "9"]);
    assert_eq!(
        wait::until("an ID", || cluster::take(&node.client_address)),
        9,
        "another cluster begins anew"
    );
}

/// LMDB's file names are used by every program, and `--force` is for stores of ours only.
#[test]
fn a_directory_with_a_database_of_another_program_is_neither_dropped_nor_founded_over_by_force() {
    let directory = Directory::new();
    let path = directory.path().join("ldap");
    fs::create_dir(&path).unwrap();
    let environment = lmdb::Environment::new().open(&path).unwrap();
    let database = environment.open_db(None).unwrap();
    let mut transaction = environment.begin_rw_txn().unwrap();
    transaction.put(database, b"dn", b"dc=example", lmdb::WriteFlags::empty()).unwrap();
    transaction.commit().unwrap();
    drop(environment);
    let before = fs::read(path.join("data.mdb")).unwrap();
    let shown = as_argument(&path);
    let ports = ["--raft_port", "0", "--http_port", "0"];
    let start = [&["start", "--id", "1"][..], &ports].concat();
    // Whatever has looked at it before, it is not taken for ours afterwards.
    for line in [&["verify"][..], &["drop"], &ports, &start] {
        for force in [&[][..], &["--force"]] {
            if !force.is_empty() && [&["verify"][..], &ports].contains(&line) {
                continue;
            }
            command::run(&[line, &["--path", &shown], force].concat())
                .refused(&["data.mdb", "does not belong to a store"]);
        }
    }
    assert_eq!(fs::read(path.join("data.mdb")).unwrap(), before);
    assert!(path.join("lock.mdb").exists() && !path.join("lock").exists());
}

/// As after a power cut. The operator wanted the store gone, so neither way needs `--force`.
#[test]
fn a_store_whose_drop_was_interrupted_is_dropped_or_founded_over_without_force() {
    let directory = Directory::new();
    let mut node = stopped(&directory);
    let interrupt = |node: &Node| {
        fs::rename(node.store().join("data.mdb"), node.store().join("data.mdb.gone")).unwrap();
        node.command(&["verify"]).refused(&["destroying", "interrupted", "drop"]);
        node.command(&[]).refused(&["destroying", "interrupted", "drop"]);
    };
    interrupt(&node);
    node.command(&["drop"]).succeeded();
    assert!(!fs::exists(node.store()).unwrap());
    drop(node);
    node = stopped(&directory);
    interrupt(&node);
    drop(node);
    node = Node::start(&directory, 1, &[]);
    assert_eq!(wait::until("an ID", || cluster::take(&node.client_address)), 1);
    assert!(!fs::exists(node.store().join("data.mdb.gone")).unwrap());
}

#[test]
fn a_node_whose_store_is_removed_while_it_runs_hands_out_no_more_ids_and_names_what_is_gone() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&node.client_address));
    fs::remove_dir_all(node.store()).unwrap();
    // Until it has looked, it answers from what it has reserved.
    wait::until_true("it answers no more", || {
        http::ask(&node.client_address, "POST", "/").unwrap().status == 503
    });
    assert_eq!(http::ask(&node.client_address, "GET", "/healthz").unwrap().status, 503);
    assert_eq!(http::metric(&node.client_address, "ticketd_storage_failures_total"), Some(1));
    wait::until_true("the log says why", || node.log().contains("ERROR"));
    let log = node.log();
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let data = as_argument(&node.store().join("data.mdb"));
    for word in ["takes no further part", &data, "was removed or moved", "stop this process"] {
        assert!(errors[0].contains(word), "{word} is missing: {errors:#?}");
    }
    // It serves no IDs beside the cluster that is founded in its place.
    let second = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&second.client_address));
    assert_eq!(http::ask(&node.client_address, "POST", "/").unwrap().status, 503);
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(1));
    wait::until("an ID", || cluster::take(&second.client_address));
}

#[test]
fn a_node_whose_store_is_removed_just_before_it_is_stopped_does_not_say_that_it_is_closed() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&node.client_address));
    fs::remove_dir_all(node.store()).unwrap();
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(1));
    let log = node.log();
    assert!(log.contains("was removed or moved") && !log.contains("is closed"), "{log}");
}

/// The copy would hand out the same IDs again.
#[test]
fn a_node_whose_store_is_replaced_by_a_copy_after_its_start_says_nothing_of_starting_it() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&node.client_address));
    let copy = directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(node.store()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    fs::rename(node.store(), directory.path().join("original")).unwrap();
    fs::rename(copy, node.store()).unwrap();
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(1));
    let log = node.log();
    assert!(log.contains("is not what this process has open"), "{log}");
    assert!(!log.contains("go on with"), "{log}");
}

/// LMDB has it mapped, and crashes when it reads what is not there.
#[test]
fn a_node_whose_data_file_is_cut_off_while_it_runs_fails_and_lives() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--window", "0"]);
    wait::until("an ID", || cluster::take(&node.client_address));
    let data = node.store().join("data.mdb");
    fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(0).unwrap();
    wait::until_true("it answers no more", || {
        http::ask(&node.client_address, "POST", "/").unwrap().status == 503
    });
    assert_eq!(http::ask(&node.client_address, "GET", "/healthz").unwrap().status, 503);
    let cut = format!("{} was cut to 0 bytes", as_argument(&data));
    wait::until_true("the log says why", || node.log().contains(&cut));
    node.signal(Signal::TERM);
    assert_eq!(node.await_end().code(), Some(1));
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
    node = Node::start(&directory, 1, &["--force", "--first_id", "9"]);
    assert_eq!(
        wait::until("an ID", || cluster::take(&node.client_address)),
        9,
        "another cluster begins anew"
    );
}

#[test]
fn a_store_in_the_way_of_join_stays_unless_forced() {
    let cluster = Cluster::of(1);
    let elsewhere = Directory::new();
    let mut node = Node::start(&elsewhere, 2, &[]);
    node.stop();
    let store = node.findings();
    let one = cluster.awake().next().map(|node| node.peer_address.clone()).unwrap();
    let line = ["join", &one, "--id", "2", "--raft_port", "0", "--http_port", "0"];
    node.command(&line).refused(&["drop", "--force"]);
    assert_eq!(node.findings(), store);
    drop(node);
    let node = Node::join(&elsewhere, 2, &[&one], &["--force"]);
    node.await_status("both vote", |status| status.voters() == [1, 2]);
}

#[test]
fn the_store_stays_far_below_its_size_however_long_the_node_serves() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &["--window", "0", "--db_size", "16"]);
    let load = harness::load::Load::on(vec![node.client_address.clone()]);
    // Each batch is an entry of the log: without compaction they would fill the store.
    node.await_committed(10_000);
    load.await_more(100);
    load.finish().check();
    let status = node.status().unwrap();
    assert_eq!(status.role, "leader");
    let length = |file| fs::metadata(node.store().join(file)).unwrap().len();
    let lengths = ["data.mdb", "data.journal"].map(length);
    assert!(lengths.iter().sum::<u64>() <= 16 * 1024 * 1024, "{lengths:?} bytes");
}

/// Fills the store of a stopped node with more than this many bytes, and compacts its log again: the data
/// file does not shrink.
fn bloat(node: &Node, bytes: u64) {
    let mut store = Store::open(node.store()).expect("the node is stopped");
    let Recovered { hard_state, snapshot, entries } = store.recovered();
    let snapshot = snapshot.expect("a founder begins with one");
    let term = hard_state.current_term;
    let mut last = entries.last().map_or(snapshot.last_included_index, |entry| entry.index).0;
    let write =
        || Write { id: WriteId(1), hard_state: None, snapshot: None, truncate_from: None, entries: vec![] };
    while fs::metadata(node.store().join("data.mdb")).expect("there is a store").len() <= bytes {
        let payload = || Payload::Command(Arc::from(vec![0; 4096]));
        let entries =
            (last + 1..=last + 100).map(|index| Entry { index: LogIndex(index), term, payload: payload() });
        store.write(&[Write { entries: entries.collect(), ..write() }]).expect("there is room");
        last += 100;
    }
    let (last_included_index, last_included_term) = (LogIndex(last), term);
    let snapshot = Snapshot { last_included_index, last_included_term, ..Snapshot::clone(&snapshot) };
    store.write(&[Write { snapshot: Some(Arc::new(snapshot)), ..write() }]).expect("there is room");
}

/// As one may be that another version wrote: its records are sound.
#[test]
fn a_store_whose_log_means_nothing_to_this_program_is_named_with_what_to_do() {
    let directory = Directory::new();
    let node = stopped(&directory);
    let mut store = Store::open(node.store()).unwrap();
    let Recovered { hard_state, snapshot, entries } = store.recovered();
    let snapshot = snapshot.unwrap();
    let last = entries.last().map_or(snapshot.last_included_index, |entry| entry.index);
    let payload = Payload::Command(Arc::from(vec![255; 3]));
    let entry = Entry { index: LogIndex(last.0 + 1), term: hard_state.current_term, payload };
    let (id, entries) = (WriteId(1), vec![entry]);
    store.write(&[Write { id, hard_state: None, snapshot: None, truncate_from: None, entries }]).unwrap();
    drop(store);
    for command in [&["verify"][..], &["--raft_port", "0", "--http_port", "0"]] {
        node.command(command).refused_for_good(&[&node.path(), "cannot be read", "leave it aside"]);
    }
}

#[test]
fn a_size_that_is_too_small_for_the_store_is_refused_with_one_that_is_taken() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--db_size", "64"]);
    node.stop();
    bloat(&node, 20_000_000);
    let any_ports = ["--raft_port", "0", "--http_port", "0"];
    let said = node.command(&[&["--db_size", "16"], &any_ports[..]].concat()).refused(&["--db_size"]);
    let told = said.trim_end().rsplit_once("at least ").and_then(|(_, end)| end.strip_suffix(" MB"));
    node.restart_with(&["--db_size", told.unwrap_or_else(|| panic!("{said}"))]);
    node.await_status("it serves", |status| status.role == "leader");
}
