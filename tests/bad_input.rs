//! Every mistake that an operator can make gets one line that says what is wrong and what to do, and changes
//! nothing.

mod harness;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lmdb::{Cursor, Transaction};
use rustix::process::Signal;

use harness::cluster::{self, Cluster};
use harness::command;
use harness::directory::{Directory, as_argument, contents};
use harness::node::Node;
use harness::ports;
use harness::wait;

const ANY_PORTS: [&str; 4] = ["--raft_port", "0", "--http_port", "0"];

#[test]
fn a_port_in_use_is_named_with_its_flag_and_no_store_is_made() {
    let directory = Directory::new();
    let path = directory.join("store");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for command in [&["start"][..], &["join", "127.0.0.1:1"]] {
        for (flag, other) in [("--raft_port", "--http_port"), ("--http_port", "--raft_port")] {
            let flags = ["--id", "1", "--path", &path, flag, &port, other, "0"];
            command::run(&[command, &flags].concat()).refused(&["in use", &port, flag]);
            assert!(!fs::exists(&path).unwrap(), "{command:?}");
        }
    }
}

#[test]
fn a_port_in_use_stops_a_restart_and_leaves_the_store_as_it_was() {
    let directory = Directory::new();
    let mut node = cluster::stopped(&directory);
    let store = node.findings();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    node.command(&["--http_port", &port]).refused(&["in use", "--http_port"]);
    assert_eq!(node.findings(), store);
    let clients = node.client_address.clone();
    node.restart();
    assert_eq!(node.client_address, clients, "the port that could not be had is not remembered");
}

#[test]
fn one_port_for_both_purposes_is_refused() {
    let directory = Directory::new();
    let path = directory.join("store");
    let port = ports::free().to_string();
    command::run(&["start", "--id", "1", "--path", &path, "--raft_port", &port, "--http_port", &port])
        .refused_as_usage(&["--raft_port", "--http_port"]);
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let directory = Directory::new();
    let file = directory.join("file");
    fs::write(&file, "do not lose this").unwrap();
    for command in [&["start"][..], &["join", "127.0.0.1:1"]] {
        for path in [file.clone(), format!("{file}/store")] {
            let flags = ["--id", "1", "--path", &path];
            command::run(&[command, &flags, &ANY_PORTS].concat()).refused(&[&path, "--path"]);
        }
        // No user can create a directory there, not even root.
        let flags = ["--id", "1", "--path", "/proc/ticketd"];
        command::run(&[command, &flags, &ANY_PORTS].concat()).refused(&["/proc/ticketd"]);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "do not lose this");
}

#[test]
fn a_path_without_the_right_to_write_is_named() {
    let directory = Directory::new();
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere, unless it gives that up.
    let as_others = ["--default-signal=HUP", "setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let is_root = fs::write(closed.join("probe"), "").is_ok();
    if is_root && !Command::new("env").args(as_others).arg("true").status().is_ok_and(|s| s.success()) {
        harness::skipped("setpriv(1) cannot take the right to write everywhere away from this user");
        return;
    }
    let env = if is_root { &as_others[..] } else { &as_others[..1] };
    let path = as_argument(&closed.join("store"));
    let start = [&["start", "--id", "1", "--path", &path], &ANY_PORTS[..]].concat();
    command::Running::spawn_by(env, directory.path(), &start).end().refused(&[&path, "--path"]);
}

#[test]
fn a_directory_that_holds_something_else_is_not_made_a_store() {
    let directory = Directory::new();
    let path = directory.join("home");
    fs::create_dir(&path).unwrap();
    fs::write(directory.path().join("home/notes"), "do not lose this").unwrap();
    let before = contents(Path::new(&path));
    for force in [&[][..], &["--force"]] {
        let line = [&["start", "--id", "1", "--path", &path], &ANY_PORTS[..], force].concat();
        command::run(&line).refused(&["notes", "--path"]);
        assert_eq!(contents(Path::new(&path)), before);
    }
    command::run(&["drop", "--force", "--path", &path]).refused(&["no store"]);
    assert_eq!(contents(Path::new(&path)), before);
}

#[test]
fn where_there_is_no_store_every_command_that_needs_one_says_so() {
    let directory = Directory::new();
    let path = directory.join("nothing");
    for command in
        [&[][..], &["leave"], &["drop"], &["verify"], &["status"], &["transfer"], &["leave", "--id", "2"]]
    {
        command::run(&[command, &["--path", &path]].concat()).refused(&["no store", &path]);
        assert!(!fs::exists(&path).unwrap(), "{command:?}");
    }
    // Where a disk is to be mounted, there is a directory.
    fs::create_dir(&path).unwrap();
    for command in [&[][..], &["leave"], &["drop"], &["verify"], &["status"], &["transfer"]] {
        command::run(&[command, &["--path", &path]].concat()).refused(&["no store", &path]);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "{command:?}");
    }
}

/// Makes a store as another version would write it: with the next version number in every record, and correct
/// checksums. See docs/ for the format.
fn raise_format_version(store: &Path) -> lmdb::Result<()> {
    let environment = lmdb::Environment::new().set_map_size(64 << 20).open(store)?;
    let database = environment.open_db(None)?;
    let mut transaction = environment.begin_rw_txn()?;
    let mut records = Vec::new();
    for record in transaction.open_ro_cursor(database)?.iter_start() {
        let (key, value) = record?;
        records.push((key.to_vec(), value.to_vec()));
    }
    assert!(records.len() > 3);
    for (key, mut value) in records {
        value[0] += 1;
        let end = value.len() - 4;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&key);
        checksum.update(&value[..end]);
        value[end..].copy_from_slice(&checksum.finalize().to_be_bytes());
        transaction.put(database, &key, &value, lmdb::WriteFlags::empty())?;
    }
    transaction.commit()
}

#[test]
fn a_store_of_another_format_version_is_left_to_the_program_that_wrote_it() {
    let directory = Directory::new();
    let node = cluster::stopped(&directory);
    raise_format_version(node.store()).unwrap();
    let store = contents(node.store());
    for command in [&["verify"][..], &ANY_PORTS, &["leave"]] {
        node.command(command).refused_for_good(&["format", "version"]);
        assert_eq!(contents(node.store()), store, "{command:?}");
    }
    // That program can say what only this store knows.
    let start_anew = [&["start", "--id", "1", "--force"], &ANY_PORTS[..]].concat();
    for command in [&["drop"][..], &start_anew] {
        node.command(command).refused_for_good(&["format", "version", "'ticketd drop --force --path="]);
        assert_eq!(contents(node.store()), store, "{command:?}");
    }
    node.command(&["drop", "--force"]).succeeded();
    assert!(!fs::exists(node.store()).unwrap());
}

#[test]
fn an_id_that_is_taken_is_refused_and_no_store_is_made() {
    let cluster = Cluster::of(2);
    let path = cluster.directory.join("third");
    let through: Vec<String> = cluster.awake().map(|node| node.peer_address.clone()).collect();
    for id in ["1", "2"] {
        for member in &through {
            let line = ["join", member, "--id", id, "--path", &path];
            command::run(&[&line[..], &ANY_PORTS].concat())
                .refused_in_the_end(&["belongs to another", "--id"]);
            assert!(!fs::exists(&path).unwrap());
        }
    }
    cluster.await_voters(&[1, 2]);
    assert!(cluster.take() > 0);
}

#[test]
fn an_id_that_is_missing_or_no_id_is_a_usage_error() {
    let directory = Directory::new();
    let path = directory.join("store");
    for command in [&["start"][..], &["join", "127.0.0.1:1"]] {
        let run = |flags: &[&str]| command::run(&[command, &["--path", &path], flags].concat());
        run(&[]).refused_as_usage(&["--id"]);
        for id in ["0", "x", "", "-1", "+1", "1.5", "18446744073709551616"] {
            run(&["--id", id]).refused_as_usage(&["--id", "18446744073709551615"]);
        }
    }
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn a_host_that_does_not_resolve_is_named() {
    let directory = Directory::new();
    let path = directory.join("store");
    // Reserved by RFC 6761: no resolver knows it.
    let flags = ["--id", "1", "--path", &path, "--host", "nowhere.invalid"];
    command::run(&[&["start"], &flags[..], &ANY_PORTS].concat()).refused(&[
        "nowhere.invalid",
        "resolve",
        "--host",
    ]);
    command::run(&[&["join", "127.0.0.1:1"], &flags[..], &ANY_PORTS].concat()).refused(&[
        "nowhere.invalid",
        "resolve",
        "--host",
    ]);
    assert!(!fs::exists(&path).unwrap());
}

/// It may resolve later: name servers fail for moments. That it is waited for is said at once.
#[test]
fn a_member_whose_host_does_not_resolve_is_waited_for_and_named_and_the_join_can_be_stopped() {
    let directory = Directory::new();
    let mut node = Node::spawn(&directory, 1, &["join", "nowhere.invalid:9000"], &[]);
    let said = "waiting for the cluster: the host of nowhere.invalid:9000 does not resolve (";
    wait::until_true("the join says what it waits for", || node.log().contains(said));
    node.signal(Signal::TERM);
    node.end().refused_in_the_end(&["nothing has changed"]);
    assert!(!fs::exists(node.store()).unwrap());
}

#[test]
fn a_host_of_another_machine_is_named() {
    let directory = Directory::new();
    let path = directory.join("store");
    // Reserved by RFC 5737: no machine has it.
    let line = ["start", "--id", "1", "--path", &path, "--host", "192.0.2.1"];
    command::run(&[&line[..], &ANY_PORTS].concat()).refused(&["192.0.2.1", "--host"]);
    let line = ["start", "--id", "1", "--path", &path, "--host", "0.0.0.0"];
    command::run(&[&line[..], &ANY_PORTS].concat()).refused_as_usage(&["--advertise"]);
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn a_size_that_no_store_fits_in_is_refused() {
    let directory = Directory::new();
    let path = directory.join("store");
    let line = ["start", "--id", "1", "--path", &path, "--db_size"];
    command::run(&[&line[..], &["1"], &ANY_PORTS].concat()).refused_as_usage(&["--db_size"]);
    command::run(&[&line[..], &["0"], &ANY_PORTS].concat()).refused_as_usage(&["--db_size"]);
    command::run(&[&line[..], &["x"], &ANY_PORTS].concat()).refused_as_usage(&["--db_size"]);
    assert!(!fs::exists(&path).unwrap());
    let node = cluster::stopped(&directory);
    let store = contents(node.store());
    node.command(&[&["--db_size", "1"], &ANY_PORTS[..]].concat()).refused_as_usage(&["--db_size"]);
    assert_eq!(contents(node.store()), store);
}

#[test]
fn a_pid_file_that_is_something_else_is_left_alone() {
    let directory = Directory::new();
    let path = directory.join("store");
    let notes = directory.join("notes");
    fs::write(&notes, "do not lose this").unwrap();
    let missing = directory.join("missing/pid");
    for file in [&notes, &missing] {
        let line = ["start", "--id", "1", "--path", &path, "--pid_file", file];
        command::run(&[&line[..], &ANY_PORTS].concat()).refused(&[file, "--pid_file"]);
        assert!(!fs::exists(&path).unwrap());
    }
    assert_eq!(fs::read_to_string(&notes).unwrap(), "do not lose this");
}

#[test]
fn command_lines_that_make_no_sense_are_usage_errors() {
    let directory = Directory::new();
    for (line, words) in [
        ("begin --id 1", &["begin"][..]),
        ("start --id 1 --colour red", &["--colour"]),
        ("start --id 1 --raft_port 65536", &["--raft_port", "65535"]),
        ("start --id 1 --http_port x", &["--http_port", "65535"]),
        ("start --id 1 --first_id 0", &["--first_id"]),
        ("start --id 1 --window -1", &["--window"]),
        ("start --id 1 --election_timeout 100 --heartbeat_interval 100", &["--heartbeat_interval"]),
        ("start --id 1 --host a/b", &["--host"]),
        ("start --id 1 --host fe80::1%eth0", &["--host", "interface"]),
        ("start --id 1 --advertise fe80::1", &["--advertise", "link-local"]),
        ("start 127.0.0.1:1 --id 1", &["127.0.0.1:1"]),
        ("join --id 2", &["HOST:PORT"]),
        ("join 127.0.0.1 --id 2", &["HOST:PORT"]),
        ("join 127.0.0.1:0 --id 2", &["127.0.0.1:0"]),
        ("join [fe80::1]:9000 --id 2", &["[fe80::1]:9000", "link-local"]),
        ("join 127.0.0.1:1 --id 2 --first_id 5", &["--first_id"]),
        ("leave --id 0", &["--id"]),
        ("verify --force", &["--force"]),
        ("--id 5", &["--id"]),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        command::run_in(directory.path(), &args).refused_as_usage(words);
    }
    assert!(contents(directory.path()).is_empty());
}
