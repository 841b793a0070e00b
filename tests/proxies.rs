//! The reverse proxies of `docs/http.rst`, configured as is written there, in front of a cluster whose nodes
//! are stopped and killed one after the other: clients notice nothing of it.
//!
//! A proxy that is not installed is left out, and that is said; with `CLIENTS=all` (`make clients`), it is a
//! failure.

mod harness;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use harness::cluster::Cluster;
use harness::directory::{Directory, as_argument};
use harness::http::{self, Client};
use harness::{ports, wait};

const DOCUMENT: &str = include_str!("../docs/http.rst");

/// The nodes forward, and no follower mistakes a busy machine for a dead leader.
const FLAGS: [&str; 5] = ["--forward", "--election_timeout", "5000", "--heartbeat_interval", "500"];

const CLIENTS: usize = 4;

/// A proxy, which ends with this value.
struct Proxy {
    process: Child,
    address: String,
    _directory: Directory,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The literal block of the document that begins with this line, with the addresses of these nodes.
fn documented(first_line: &str, nodes: &[String]) -> String {
    let start = DOCUMENT.find(&format!("    {first_line}\n")).expect("the document has this block");
    let lines = DOCUMENT[start..].lines().take_while(|line| line.starts_with("    "));
    let mut block: String = lines.map(|line| format!("{line}\n")).collect();
    for (at, node) in nodes.iter().enumerate() {
        let placeholder = format!("10.0.0.{}:8000", at + 1);
        assert!(block.contains(&placeholder), "{block}");
        block = block.replace(&placeholder, node);
    }
    block
}

fn haproxy(backend: &str, nodes: &[String]) -> Option<Proxy> {
    let address = format!("127.0.0.1:{}", ports::free());
    let block = documented(&format!("backend {backend}"), nodes);
    let text = format!(
        "defaults\n    mode http\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n\
         frontend clients\n    bind {address}\n    default_backend {backend}\n{block}"
    );
    launch("haproxy", address, &text, |file| vec!["-db".to_owned(), "-f".to_owned(), as_argument(file)])
}

fn nginx(nodes: &[String]) -> Option<Proxy> {
    let address = format!("127.0.0.1:{}", ports::free());
    let block = documented("upstream ticketd {", nodes);
    assert!(block.contains("listen 80;"), "{block}");
    let block = block.replace("listen 80;", &format!("listen {address};"));
    let own_files = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let own_files: String = own_files.map(|kind| format!("{kind}_temp_path {kind};\n")).concat();
    // One process: the workers of a killed master would go on.
    let text = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{own_files}{block}}}\n"
    );
    launch("nginx", address, &text, |file| {
        let prefix = as_argument(file.parent().expect("it is in a directory"));
        vec!["-p".to_owned(), prefix, "-c".to_owned(), as_argument(file)]
    })
}

/// Runs a proxy and waits until a request through it is answered; `None` where it is not installed.
fn launch(
    program: &str,
    address: String,
    configuration: &str,
    arguments: impl Fn(&PathBuf) -> Vec<String>,
) -> Option<Proxy> {
    let directory = Directory::new();
    let file = directory.path().join("configuration");
    fs::write(&file, configuration).expect("the test's own directory can be written to");
    // Debian has both where the PATH of an ordinary user does not lead.
    let spawn = |program: String| {
        let log = fs::File::create(directory.path().join("log")).expect("the same");
        Command::new(program).args(arguments(&file)).stdout(Stdio::null()).stderr(log).spawn().ok()
    };
    let Some(process) = spawn(program.to_owned()).or_else(|| spawn(format!("/usr/sbin/{program}"))) else {
        let all = std::env::var("CLIENTS").is_ok_and(|clients| clients == "all");
        assert!(!all, "{program} is not installed");
        println!("{program} is not installed, left out");
        return None;
    };
    let proxy = Proxy { process, address, _directory: directory };
    wait::until_true("the proxy answers", || {
        http::ask(&proxy.address, "POST", "/").is_ok_and(|answer| answer.status == 200)
    });
    Some(proxy)
}

/// How many requests for IDs this node has answered since it began.
fn answered(node: &str) -> u64 {
    let series = "ticketd_http_responses_total{handler=\"ids\",code=\"200\"}";
    http::metric(node, series).expect("the node is awake")
}

/// Asks for IDs through the proxy until told to stop: what it was answered that is no ID, and the IDs.
fn take_ids(address: &str, stop: &AtomicBool, taken: &AtomicU64) -> (Vec<String>, Vec<u64>) {
    let (mut failures, mut ids) = (Vec::new(), Vec::new());
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        let connected = match client.take() {
            Some(client) => Ok(client),
            None => Client::connect(address, wait::DEADLINE),
        };
        let outcome = connected.and_then(|mut connected| {
            let response = connected.ask("POST", "/")?;
            Ok((connected, response))
        });
        match outcome {
            Ok((connected, response)) => {
                match response.ids() {
                    Some(range) => ids.push(*range.start()),
                    None => failures.push(format!("{} {}", response.status, response.reason)),
                }
                client = (response.field("connection") != Some("close")).then_some(connected);
                taken.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    (failures, ids)
}

/// What a node that was started again is given time for before the next one ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pause {
    /// To serve: the proxy must find that out by itself.
    UntilReady,
    /// To be found by the proxy's checks, which take longer.
    UntilUsed,
}

/// Stops and kills each node in turn, under load through the proxy.
fn nobody_notices(proxy: &Proxy, cluster: &mut Cluster, pause: Pause) {
    let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = |_| {
        let (address, stop, taken) = (proxy.address.clone(), Arc::clone(&stop), Arc::clone(&taken));
        thread::spawn(move || take_ids(&address, &stop, &taken))
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let await_more = || {
        let before = taken.load(Ordering::Relaxed);
        wait::until_true("clients are answered", || taken.load(Ordering::Relaxed) > before + 50);
    };
    await_more();
    for end in [harness::node::Node::stop, harness::node::Node::kill] {
        for id in 1..=3 {
            end(cluster.node(id));
            await_more();
            cluster.node(id).restart();
            let address = cluster.node(id).client_address.clone();
            wait::until_true("the node can be used again", || match pause {
                Pause::UntilReady => {
                    http::ask(&address, "GET", "/readyz").is_ok_and(|page| page.status == 200)
                }
                Pause::UntilUsed => answered(&address) > 0,
            });
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for client in clients {
        let (failures, ids) = client.join().expect("a client does not panic");
        assert_eq!(failures, [""; 0], "after {} IDs", ids.len());
        assert!(ids.is_sorted_by(|a, b| a < b), "a client's IDs go up");
        all.extend(ids);
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "an ID was handed out twice");
}

#[test]
fn behind_haproxy_as_documented_nobody_notices_that_nodes_are_stopped_and_killed() {
    let mut cluster = Cluster::with_flags(3, &FLAGS);
    let Some(proxy) = haproxy("ticketd-all", &cluster.client_addresses()) else { return };
    nobody_notices(&proxy, &mut cluster, Pause::UntilUsed);
}

#[test]
fn behind_nginx_as_documented_nobody_notices_that_nodes_are_stopped_and_killed() {
    let mut cluster = Cluster::with_flags(3, &FLAGS);
    let Some(proxy) = nginx(&cluster.client_addresses()) else { return };
    nobody_notices(&proxy, &mut cluster, Pause::UntilReady);
}

#[test]
fn haproxy_as_documented_finds_the_leader_and_follows_it() {
    let mut cluster = Cluster::of(3);
    let Some(proxy) = haproxy("ticketd", &cluster.client_addresses()) else { return };
    for _ in 0..2 {
        let leader = cluster.leader();
        cluster.node(leader).command(&["transfer"]).succeeded();
        let leader = cluster.await_leader("another node leads", |id| id != leader);
        let address = cluster.node(leader).client_address.clone();
        let before = answered(&address);
        let is_granted = |_| http::ask(&proxy.address, "POST", "/").is_ok_and(|answer| answer.status == 200);
        // Both get requests until the next checks, in turn.
        wait::until_true("the old leader is asked no more", || (0..4).all(is_granted));
        assert!(answered(&address) >= before + 4);
    }
}
