//! A node of the real program: one store, and at most one process at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::command::{self, Ended};
use super::directory::{Directory, as_argument};
use super::ports;
use super::status::Status;
use super::wait;

/// How often a node is started, each time on other ports, because another program may be quicker to take the
/// free ones.
const PORT_ATTEMPTS: u32 = 5;

/// How many of its last log lines are shown when a test fails.
const LINES_SHOWN: usize = 80;

/// A node. Its process is killed when this is dropped.
#[derive(Debug)]
pub struct Node {
    /// Its id in the cluster.
    pub id: u64,
    /// `host:port` for the other members, as it last logged.
    pub peer_address: String,
    /// `host:port` for clients, as it last logged.
    pub client_address: String,
    store: PathBuf,
    log: PathBuf,
    /// Where in the log the current process began.
    log_start: u64,
    process: Option<Child>,
    paused: bool,
}

impl Node {
    /// `ticketd start` on ports of its own; waits until it listens.
    #[track_caller]
    pub fn start(directory: &Directory, id: u64, flags: &[&str]) -> Node {
        Node::launch(directory, id, &["start"], flags)
    }

    /// `ticketd join` on ports of its own; waits until it listens.
    #[track_caller]
    pub fn join(directory: &Directory, id: u64, members: &[&str], flags: &[&str]) -> Node {
        Node::launch(directory, id, &[&["join"], members].concat(), flags)
    }

    #[track_caller]
    fn launch(directory: &Directory, id: u64, command: &[&str], flags: &[&str]) -> Node {
        for _ in 0..PORT_ATTEMPTS {
            let mut node = Node::spawn(directory, id, command, flags);
            match node.await_listening_or_end() {
                None => return node,
                Some(_) if node.log().contains(" is in use: ") => (),
                Some(status) => panic!("node {id} ended before it listened: {status}\n{}", node.log()),
            }
        }
        panic!("whatever port node {id} was given, it was in use");
    }

    /// Starts a process that may never listen, on ports of its own unless `flags` names some.
    pub fn spawn(directory: &Directory, id: u64, command: &[&str], flags: &[&str]) -> Node {
        let store = directory.path().join(id.to_string());
        Node::spawn_at(directory, &store, id, command, flags)
    }

    /// As [`Node::spawn`], with the store elsewhere than at `directory/id`.
    pub fn spawn_at(directory: &Directory, store: &Path, id: u64, command: &[&str], flags: &[&str]) -> Node {
        let (id_text, path) = (id.to_string(), as_argument(store));
        let (raft_port, http_port) = (ports::free().to_string(), ports::free().to_string());
        let mut args = [command, &["--id", &id_text, "--path", &path], flags].concat();
        if !flags.contains(&"--raft_port") {
            args.extend(["--raft_port", &raft_port]);
        }
        if !flags.contains(&"--http_port") {
            args.extend(["--http_port", &http_port]);
        }
        let mut node = Node::at(directory, store, id);
        node.run(command::ticketd(&args), None);
        node
    }

    /// A node that does not run yet. There may be a store for it.
    pub fn at(directory: &Directory, store: &Path, id: u64) -> Node {
        Node {
            id,
            peer_address: String::new(),
            client_address: String::new(),
            store: store.to_owned(),
            log: directory.path().join(format!("{}.log", store.file_name().unwrap_or_default().display())),
            log_start: 0,
            process: None,
            paused: false,
        }
    }

    fn run(&mut self, mut program: Command, stderr: Option<Stdio>) {
        assert!(self.process.is_none(), "node {} is running", self.id);
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.expect("the test's own directory can be written to");
        self.log_start = log.metadata().expect("an open file has a size").len();
        let to_log = || log.try_clone().expect("a descriptor is free");
        let stderr = stderr.unwrap_or_else(|| to_log().into());
        let child = program.stdout(to_log()).stderr(stderr).spawn();
        self.process = Some(child.expect("the program can be run"));
    }

    /// `ticketd --path STORE` and nothing else; waits until it listens.
    #[track_caller]
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// `ticketd --path STORE` and these flags; waits until it listens.
    #[track_caller]
    pub fn restart_with(&mut self, flags: &[&str]) {
        self.respawn(flags);
        self.await_listening();
    }

    /// `ticketd --path STORE` and these flags; does not wait.
    pub fn respawn(&mut self, flags: &[&str]) {
        let path = as_argument(&self.store);
        self.run(command::ticketd(&[&["--path", &path], flags].concat()), None);
    }

    /// `ticketd --path STORE`, started by env(1) with these arguments; does not wait.
    pub fn respawn_by(&mut self, env: &[&str]) {
        self.run(command::ticketd_by(env, &["--path", &as_argument(&self.store)]), None);
    }

    /// `ticketd --path STORE`, with standard error redirected; does not wait.
    pub fn respawn_saying_to(&mut self, stderr: Stdio) {
        let path = as_argument(&self.store);
        self.run(command::ticketd(&["--path", &path]), Some(stderr));
    }

    /// Waits until this node knows of more than this many committed entries. Each may take a sync of a slow
    /// disk, so the deadline is that of some hundred.
    #[track_caller]
    pub fn await_committed(&self, entries: u64) {
        for some in (0..entries).step_by(500).chain([entries]) {
            self.await_status(&format!("more than {some} entries"), |status| status.commit_index > some);
        }
    }

    /// Waits until the process has logged where it listens.
    ///
    /// # Panics
    /// If it ends instead.
    #[track_caller]
    pub fn await_listening(&mut self) {
        if let Some(status) = self.await_listening_or_end() {
            panic!("node {} ended before it listened: {status}", self.id);
        }
    }

    /// Waits until the process has logged where it listens, or has ended.
    #[track_caller]
    pub fn await_listening_or_end(&mut self) -> Option<ExitStatus> {
        let what = format!("node {} logs where it listens", self.id);
        wait::until(&what, || {
            let ended = self.try_end();
            if let Some((peer_address, client_address, id)) = listening(&self.log()) {
                assert_eq!(id, self.id, "a node says that it is another");
                (self.peer_address, self.client_address) = (peer_address, client_address);
                return Some(ended);
            }
            ended.map(Some)
        })
    }

    fn try_end(&mut self) -> Option<ExitStatus> {
        let child = self.process.as_mut().expect("the node was started");
        let ended = child.try_wait().expect("a child of this process can be waited for");
        if ended.is_some() {
            self.process = None;
        }
        ended
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub fn await_end(&mut self) -> ExitStatus {
        wait::until(&format!("the end of node {}", self.id), || self.try_end())
    }

    /// Waits until the process has ended by itself, and returns its output, as for a command.
    #[track_caller]
    pub fn end(&mut self) -> Ended {
        let status = self.await_end();
        Ended { line: format!("node {}", self.id), status, stdout: String::new(), stderr: self.log() }
    }

    /// Kills the process with SIGKILL, and waits for its end.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.paused = false;
        self.await_end();
    }

    /// Sends SIGTERM; waits for the end, which must be a success.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.await_end();
        assert_eq!(status.code(), Some(0), "node {} did not stop in order: {status}", self.id);
    }

    /// Sends SIGSTOP: the process is paused, and its connections stay open.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.paused = true;
    }

    /// Sends SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.process.as_ref().expect("the node is running");
        kill_process(Pid::from_child(child), signal)
            .expect("a child that was not waited for can be signalled");
    }

    /// Whether there is a process.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether there is a process that can answer.
    pub fn is_awake(&self) -> bool {
        self.process.is_some() && !self.paused
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the node is running").id()
    }

    /// The path of its store.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// `--path` and the store, for a command.
    pub fn path(&self) -> String {
        as_argument(&self.store)
    }

    /// What the current process, or the last one, has logged.
    pub fn log(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.log_start))?;
            file.read_to_end(&mut bytes)
        });
        read.expect("the log of a node that was started can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Runs a command on this node's store.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Ended {
        command::run(&[args, &["--path", &self.path()]].concat())
    }

    /// The output of `ticketd verify` on the store, without the line that contains the number of the last
    /// transaction.
    #[track_caller]
    pub fn findings(&self) -> Vec<String> {
        let said = self.command(&["verify"]).succeeded();
        said.lines().filter(|line| !line.contains("transaction")).map(str::to_owned).collect()
    }

    /// The node's status; `None` if it does not answer.
    pub fn status(&self) -> Option<Status> {
        if !self.is_awake() {
            return None;
        }
        let ended = self.command(&["status", "--json"]);
        ended.status.success().then(|| Status::parse(&ended.stdout))
    }

    /// Waits until the node's status satisfies the condition.
    #[track_caller]
    pub fn await_status(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        wait::until(&format!("node {}: {what}", self.id), || self.status().filter(|status| wanted(status)))
    }

    /// How much memory the process uses.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(path).expect("a running process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        1024 * kilobytes.unwrap_or_else(|| panic!("no VmRSS in {status}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // These fail only if the process has ended and been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let log = fs::read(&self.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
            eprintln!("---- the end of what node {} logged ----\n{last}\n----", self.id);
        }
    }
}

/// The addresses and the id in the log line that says where a node listens.
fn listening(log: &str) -> Option<(String, String, u64)> {
    // An incomplete line does not count.
    let complete = &log[..=log.rfind('\n')?];
    let words = complete.lines().find_map(|line| line.split_once("listening peers="))?.1;
    let mut words = words.split(' ');
    let peer_address = words.next()?.to_owned();
    let client_address = words.next()?.strip_prefix("clients=")?.to_owned();
    let id = words.next()?.strip_prefix("id=")?.parse().ok()?;
    Some((peer_address, client_address, id))
}
