//! The script of `docs/operations.rst` that containers run, run as is written there.

mod harness;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use harness::cluster::{self, Cluster};
use harness::directory::{Directory, as_argument};
use harness::random::Random;
use harness::{ports, wait};

const DOCUMENT: &str = include_str!("../docs/operations.rst");

/// The script, with a store, ports and a member of this machine.
fn script(store: &Path, ports: &Ports, member: &str) -> String {
    let start = DOCUMENT.find("    #!/bin/sh\n").expect("the document has the script");
    let lines = DOCUMENT[start..].lines().take_while(|line| line.starts_with("    "));
    let mut script: String = lines.map(|line| format!("{}\n", &line[4..])).collect();
    let here = format!("127.0.0.1 --raft_port {} --http_port {}", ports.raft, ports.http);
    for (there, here) in [
        ("/data/store", as_argument(store).as_str()),
        ("0.0.0.0", &here),
        ("$HOSTNAME.ticketd", "127.0.0.1"),
        ("8001", &ports.metrics.to_string()),
        ("ticketd:9000", member),
    ] {
        assert!(script.contains(there), "{there} is not in {script}");
        script = script.replace(there, here);
    }
    script
}

/// The ports of a container: those in the script are the same for all, and may be in use here.
struct Ports {
    raft: u16,
    http: u16,
    metrics: u16,
}

impl Ports {
    fn free() -> Ports {
        Ports { raft: ports::free(), http: ports::free(), metrics: ports::free() }
    }

    fn client_address(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }
}

/// A container, which is started again and again with the same volume.
struct Container {
    directory: Directory,
    script: String,
    hostname: &'static str,
    process: Option<Child>,
}

impl Container {
    fn new(hostname: &'static str, ports: &Ports, member: &str) -> Container {
        let directory = Directory::new();
        // The program is found as it is there.
        symlink(env!("CARGO_BIN_EXE_ticketd"), directory.path().join("ticketd"))
            .expect("the test's own directory can be written to");
        let script = script(&directory.path().join("store"), ports, member);
        Container { directory, script, hostname, process: None }
    }

    fn start(&mut self) {
        let path = format!("{}:/usr/bin:/bin", as_argument(self.directory.path()));
        let log = OpenOptions::new().create(true).append(true).open(self.directory.path().join("log"));
        let child = Command::new("sh")
            .args(["-c", &self.script])
            .env_clear()
            .env("PATH", path)
            .env("HOSTNAME", self.hostname)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the test's own directory can be written to"))
            .spawn();
        self.process = Some(child.expect("a shell can be run"));
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // The script has become the program, or ends before it does.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn whenever_a_container_is_killed_its_script_goes_on_and_it_joins_anew_only_once_it_was_removed() {
    let mut cluster = Cluster::of(2);
    let (leader, ports) = (cluster.leader(), Ports::free());
    let mut three = Container::new("ticketd-2", &ports, &cluster.node(leader).peer_address);
    let mut random = Random::new(1);
    for _ in 0..20 {
        three.start();
        thread::sleep(Duration::from_micros(random.below(60_000)));
        three.kill();
    }
    three.start();
    cluster.await_voters(&[1, 2, 3]);
    assert!(wait::until("an ID", || cluster::take(&ports.client_address())) > 0);

    three.kill();
    fs::remove_dir_all(three.store()).expect("the node has a store");
    three.start();
    wait::until_true("who has lost the volume is told so", || three.log().contains("leave --id 3"));
    assert!(!three.store().join("data.mdb").exists());
    cluster.node(leader).command(&["leave", "--id", "3"]).succeeded();
    three.kill();
    three.start();
    cluster.await_voters(&[1, 2, 3]);
}
