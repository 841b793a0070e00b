//! Help, version, spellings of flags, and nodes in the background.

mod harness;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use harness::cluster;
use harness::command;
use harness::directory::Directory;
use harness::node::Node;
use harness::ports;
use harness::wait;

#[test]
fn the_version_is_one_line() {
    for flag in ["-v", "--version"] {
        let said = command::run(&[flag]).succeeded();
        assert_eq!(said, format!("ticketd {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn help_names_every_command() {
    for flag in ["-h", "--help"] {
        let said = command::run(&[flag]).succeeded();
        for command in ["start", "join", "leave", "drop", "status", "transfer", "verify"] {
            assert!(
                said.lines().any(|line| line.trim().starts_with(command)),
                "{command} is missing:\n{said}"
            );
        }
    }
}

#[test]
fn the_exit_status_is_as_promised_where_nothing_can_be_said() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let status =
        |args: &[&str], errors: Stdio| command::ticketd(args).stderr(errors).status().unwrap().code();
    for (args, promised) in [
        (&["--path", "nosuch"][..], 1),
        (&["status", "--path", "nosuch"], 1),
        (&["start"], 2),
        (&["--nosuch"], 2),
    ] {
        assert_eq!(status(args, full().into()), Some(promised), "{args:?} on a full disk");
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert_eq!(status(args, writer.into()), Some(promised), "{args:?} into a closed pipe");
    }
    for flag in ["-v", "--help"] {
        let said = command::ticketd(&[flag]).stdout(full()).output().unwrap();
        assert_eq!(said.status.code(), Some(1), "{flag}");
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.starts_with("ticketd: cannot write to standard output"), "{said}");
    }
}

/// The help text of one flag, on one line.
fn said_of(help: &str, flag: &str) -> String {
    let lines: Vec<&str> = help.lines().collect();
    let is_flag = |line: &str| line.trim_start().starts_with('-');
    let first =
        lines.iter().position(|line| is_flag(line) && line.split([' ', ',']).any(|word| word == flag));
    let first = first.unwrap_or_else(|| panic!("{flag} is missing:\n{help}"));
    let rest = lines[first + 1..].iter().take_while(|line| !is_flag(line));
    let words = std::iter::once(&lines[first]).chain(rest).flat_map(|line| line.split_whitespace());
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_help_of_every_flag_says_its_unit_and_its_default() {
    let help = command::run(&["start", "--help"]).succeeded();
    for (flag, short, words) in [
        ("--id", "-I", &["1 to 2^64-1"][..]),
        ("--path", "-P", &["default: store"]),
        ("--host", "-H", &["default: 127.0.0.1"]),
        ("--advertise", "", &["default"]),
        ("--raft_port", "-p", &["port", "default: 9000"]),
        ("--http_port", "-t", &["port", "default: 8000"]),
        ("--db_size", "-s", &["MB", "default: 1000"]),
        ("--daemonize", "-d", &["background"]),
        ("--pid_file", "-i", &["process", "default: none"]),
        ("--debug", "-g", &[]),
        ("--version", "-v", &[]),
        ("--help", "-h", &[]),
        ("--first_id", "", &["default: 1"]),
        ("--window", "", &["IDs", "default: 100000000"]),
        ("--election_timeout", "", &["milliseconds", "default: 300"]),
        ("--heartbeat_interval", "", &["milliseconds", "default: 60"]),
        ("--force", "", &["destroy"]),
    ] {
        let said = said_of(&help, flag);
        assert!(said.contains(short), "{short} is missing: {said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is missing: {said}");
        }
    }
    assert!(said_of(&command::run(&["status", "--help"]).succeeded(), "--json").contains("JSON"));
    for command in ["join", "leave", "drop", "status", "transfer", "verify"] {
        let help = command::run(&[command, "--help"]).succeeded();
        assert!(said_of(&help, "--path").contains("default: store"), "{help}");
    }
}

/// The minimum and the maximum that the help states are accepted, and what is beyond them is refused.
#[test]
fn the_help_says_which_numbers_are_taken() {
    let help = command::run(&["start", "--help"]).succeeded();
    for (flag, said, refused) in [
        ("--db_size", "16 to 1048576", ["15", "1048577"]),
        ("--election_timeout", "10 to 600000", ["9", "600001"]),
        ("--request_timeout", "1 to 3600000", ["0", "3600001"]),
        ("--batch_max", "1 to 10^12", ["0", "1000000000001"]),
        ("--clock_error_ppm", "0 to 500000", ["-1", "500001"]),
        ("--http_connections", "1 to 1000000", ["0", "1000001"]),
        ("--window", "at most 10^12", ["-1", "1000000000001"]),
    ] {
        assert!(said_of(&help, flag).contains(said), "{flag}: {help}");
        for value in refused {
            let value = format!("{flag}={value}");
            assert_eq!(command::run(&["start", "--id", "1", &value]).status.code(), Some(2), "{value}");
        }
    }
}

#[test]
fn flags_are_understood_with_underscores_hyphens_and_short_names() {
    let directory = Directory::new();
    for (number, [id, path, raft_port, http_port, db_size, first_id, election_timeout, heartbeat_interval]) in
        [
            [
                "--id",
                "--path",
                "--raft_port",
                "--http_port",
                "--db_size",
                "--first_id",
                "--election_timeout",
                "--heartbeat_interval",
            ],
            [
                "--id",
                "--path",
                "--raft-port",
                "--http-port",
                "--db-size",
                "--first-id",
                "--election-timeout",
                "--heartbeat-interval",
            ],
            ["-I", "-P", "-p", "-t", "-s", "--first_id", "--election-timeout", "--heartbeat_interval"],
        ]
        .into_iter()
        .enumerate()
    {
        let (peers, clients) = (ports::free().to_string(), ports::free().to_string());
        let store = directory.join(&number.to_string());
        let line = [
            &["start", id, "5", path, &store, raft_port, &peers, http_port, &clients][..],
            &[db_size, "64", first_id, "77", election_timeout, "900", heartbeat_interval, "90"],
        ];
        let running = command::Running::spawn(directory.path(), &line.concat());
        let listening = format!("listening peers=127.0.0.1:{peers} clients=127.0.0.1:{clients} id=5");
        wait::until_true("the node listens where it was told to", || running.stderr().contains(&listening));
        assert_eq!(wait::until("an ID", || cluster::take(&format!("127.0.0.1:{clients}"))), 77);
    }
}

/// A process that is no longer a child of ours. It is killed when this is dropped.
struct Background {
    pid_file: String,
}

impl Background {
    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()?)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid().expect("the pid file is there"), signal).expect("the node runs");
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            // It may have ended in the meantime.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn a_store_whose_path_begins_like_a_flag_is_used_like_any_other() {
    let directory = Directory::new();
    let serve_and_stop = |line: &[&str]| {
        let node = command::Running::spawn(directory.path(), line);
        wait::until_true("the node listens", || node.stderr().contains("listening peers="));
    };
    serve_and_stop(&["start", "--path=-x", "--id", "1", "--raft_port", "0", "--http_port", "0"]);
    serve_and_stop(&["--path=-x", "--raft_port", "0", "--http_port", "0"]);
    command::run_in(directory.path(), &["verify", "--path=-x"]).succeeded();
    // And one that is not UTF-8.
    let bytes = OsStr::from_bytes(b"-\xff");
    fs::rename(directory.path().join("-x"), directory.path().join(bytes)).unwrap();
    for subcommand in ["verify", "drop"] {
        let mut path = OsString::from("--path=");
        path.push(bytes);
        let mut command = command::ticketd(&[subcommand]);
        let said = command.arg(path).current_dir(directory.path()).output().unwrap();
        assert!(said.status.success(), "{subcommand}: {said:?}");
    }
    assert!(!directory.path().join(bytes).exists());
}

#[test]
fn in_the_background_a_node_listens_when_the_command_returns_and_stops_like_any_other() {
    let directory = Directory::new();
    let (peers, clients) = (ports::free().to_string(), ports::free().to_string());
    let pid_file = directory.join("pid");
    let address = format!("127.0.0.1:{clients}");
    let background = Background { pid_file: pid_file.clone() };
    // A relative path means the same in the background.
    let line = ["start", "-d", "--id", "1", "--path", "store", "--pid_file", &pid_file];
    let ports = ["--raft_port", &peers, "--http_port", &clients];
    let ended = command::run_in(directory.path(), &[&line[..], &ports].concat());
    TcpStream::connect(&address).expect("it listens when the command has returned");
    assert_eq!(ended.succeeded(), "");
    assert!(background.pid().is_some());
    let first = wait::until("an ID", || cluster::take(&address));

    let again = command::run_in(directory.path(), &["-d", "--path", "store"]);
    assert_eq!(again.status.code(), Some(1), "{again:#?}");

    background.signal(Signal::TERM);
    wait::until_true("the pid file is gone", || !fs::exists(&pid_file).unwrap());
    let line = ["-d", "--path", "store", "--pid_file", &pid_file];
    wait::until_true("the store is free again", || command::run_in(directory.path(), &line).status.success());
    TcpStream::connect(&address).expect("it listens when the command has returned");
    assert!(wait::until("an ID", || cluster::take(&address)) > first);
    background.signal(Signal::TERM);
    wait::until_true("the pid file is gone", || !fs::exists(&pid_file).unwrap());
}

#[test]
fn a_join_in_the_background_returns_when_the_cluster_has_taken_it_in() {
    let directory = Directory::new();
    let one = Node::start(&directory, 1, &[]);
    let pid_file = directory.join("pid");
    let background = Background { pid_file: pid_file.clone() };
    let (peers, clients) = (ports::free().to_string(), ports::free().to_string());
    let store = directory.join("2");
    let line = ["join", &one.peer_address, "-d", "--id", "2", "--path", &store, "--pid_file", &pid_file];
    let ports = ["--raft_port", &peers, "--http_port", &clients];
    command::run(&[&line[..], &ports].concat()).succeeded();
    assert!(one.status().unwrap().members.contains_key(&2));
    one.await_status("both vote", |status| status.voters() == [1, 2]);
    background.signal(Signal::TERM);
    wait::until_true("the pid file is gone", || !fs::exists(&pid_file).unwrap());
}

/// Such as the descriptor that flock(1) was given in a script.
#[test]
#[cfg(target_os = "linux")]
fn in_the_background_a_node_keeps_nothing_open_that_its_caller_had() {
    let directory = Directory::new();
    let (pid_file, held, store) = (directory.join("pid"), directory.join("held"), directory.join("store"));
    fs::write(&held, "").unwrap();
    let background = Background { pid_file: pid_file.clone() };
    let script = format!("exec \"$0\" \"$@\" 3<{held} 9<{held}");
    let line = ["start", "-d", "--id", "1", "--path", &store, "--pid_file", &pid_file];
    let ports = ["--raft_port", "0", "--http_port", "0"];
    let mut start = command::ticketd_by(&["sh", "-c", &script], &[&line[..], &ports].concat());
    let log = fs::File::create(directory.join("log")).unwrap();
    assert!(start.stderr(log).status().unwrap().success());
    let pid = background.pid().expect("the node listens").as_raw_nonzero();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<_> = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).collect();
    assert!(open.len() > 5 && !open.iter().any(|file| file.ends_with("held")), "{open:?}");
    background.signal(Signal::TERM);
    wait::until_true("the pid file is gone", || !fs::exists(&pid_file).unwrap());
}

/// The node that a killed command had started. It is killed when this is dropped, unless it has ended.
struct Orphan(Option<Pid>);

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn a_join_in_the_background_ends_with_the_command_that_waits_for_it() {
    let directory = Directory::new();
    let nobody = format!("127.0.0.1:{}", ports::free());
    for signal in [Signal::KILL, Signal::INT] {
        let mut two = Node::spawn(&directory, 2, &["join", &nobody], &["-d"]);
        wait::until_true("it says what it waits for", || two.log().contains("waiting for the cluster"));
        let lock = fs::read_to_string(two.store().join("lock")).unwrap();
        let pid = lock.trim().strip_prefix("pid ").and_then(|pid| Pid::from_raw(pid.parse().ok()?)).unwrap();
        let mut orphan = Orphan(Some(pid));
        if signal == Signal::INT {
            // As Ctrl-C does, which reaches both.
            kill_process(pid, signal).unwrap();
        }
        two.signal(signal);
        two.await_end();
        // The last line, after which it does nothing more.
        wait::until_true("it ends in order", || two.log().contains("nothing has changed"));
        orphan.0 = None;
        assert!(!two.store().exists(), "{}", two.log());
    }
}

/// As by nohup(1). Nothing else tells the node, or it gets a signal of its own as well.
#[test]
fn a_join_in_the_background_ends_with_the_command_although_hangups_are_ignored() {
    let directory = Directory::new();
    let (nobody, store) = (format!("127.0.0.1:{}", ports::free()), directory.join("2"));
    let (log, pid_file) = (directory.join("log"), directory.join("pid"));
    let line = ["join", &nobody, "-d", "--id", "2", "--path", &store, "--pid_file", &pid_file];
    let ports = ["--raft_port", "0", "--http_port", "0"];
    for signal in [Signal::KILL, Signal::INT] {
        let mut join = command::ticketd_by(&["--ignore-signal=HUP"], &[&line[..], &ports].concat());
        let mut join = join.process_group(0).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let said = |words: &str| fs::read_to_string(&log).unwrap().contains(words);
        wait::until_true("it says what it waits for", || said("waiting for the cluster"));
        let lock = fs::read_to_string(format!("{store}/lock")).unwrap();
        let pid = lock.trim().strip_prefix("pid ").and_then(|pid| Pid::from_raw(pid.parse().ok()?)).unwrap();
        let mut orphan = Orphan(Some(pid));
        if signal == Signal::INT {
            // As Ctrl-C does, which reaches both.
            kill_process_group(Pid::from_child(&join), signal).unwrap();
        } else {
            join.kill().unwrap();
        }
        join.wait().unwrap();
        wait::until_true("it ends in order", || said("nothing has changed"));
        orphan.0 = None;
        let left = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["log"]);
    }
}

#[test]
fn in_the_background_a_node_that_was_started_with_hangups_ignored_outlives_them() {
    let directory = Directory::new();
    let (pid_file, store) = (directory.join("pid"), directory.join("store"));
    let clients = ports::free().to_string();
    let background = Background { pid_file: pid_file.clone() };
    let line = ["start", "-d", "--id", "1", "--path", &store, "--pid_file", &pid_file];
    let ports = ["--raft_port", "0", "--http_port", &clients];
    let mut start = command::ticketd_by(&["--ignore-signal=HUP"], &[&line[..], &ports].concat());
    let log = directory.join("log");
    assert!(start.stderr(File::create(&log).unwrap()).status().unwrap().success());
    background.signal(Signal::HUP);
    wait::until("an ID", || cluster::take(&format!("127.0.0.1:{clients}")));
    background.signal(Signal::TERM);
    wait::until_true("the pid file is gone", || !fs::exists(&pid_file).unwrap());
    let log = fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("asked to stop by").count(), 1, "{log}");
}

#[test]
fn what_cannot_start_in_the_background_says_why() {
    let directory = Directory::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let store = directory.join("store");
    let pid_file = directory.join("pid");
    let line = ["start", "-d", "--id", "1", "--path", &store, "--raft_port", &port, "--http_port", "0"];
    command::run(&[&line[..], &["--pid_file", &pid_file]].concat()).refused(&["in use", "--raft_port"]);
    command::run(&["-d", "--path", &store]).refused(&["no store"]);
    command::run(&["start", "-d", "--path", &store]).refused_as_usage(&["--id"]);
    assert!(!fs::exists(&store).unwrap() && !fs::exists(&pid_file).unwrap());
}
