//! Widely used HTTP clients, each against three clusters of three: one that redirects with 301, one that
//! redirects with 307, and one that forwards. The clients and what they print are in `tests/clients`.
//!
//! A client that is not installed is skipped with a message; with `CLIENTS=all` (`make clients`), it is a
//! failure. Go is always optional.

mod harness;

use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Output};

use harness::cluster::Cluster;

/// The exit status of a script whose client is not installed, as in other test suites.
const NOT_INSTALLED: i32 = 77;

/// The program that runs a script, and the script. Scripts that print nothing check the result themselves.
const CLIENTS: &[(&str, &str, Prints)] = &[
    ("sh", "curl.sh", Prints::Ids(26)),
    ("sh", "wget.sh", Prints::Ids(22)),
    ("sh", "httpie.sh", Prints::Ids(5)),
    ("sh", "nc.sh", Prints::Ids(21)),
    ("python3", "http_client.py", Prints::Ids(23)),
    ("python3", "urllib3_client.py", Prints::Ids(22)),
    ("python3", "requests_client.py", Prints::Ids(22)),
    ("python3", "httpx_client.py", Prints::Ids(22)),
    ("python3", "aiohttp_client.py", Prints::Ids(72)),
    ("node", "fetch.mjs", Prints::Ids(22)),
    ("node", "agent.mjs", Prints::Ids(22)),
    ("java", "Client.java", Prints::Ids(22)),
    ("go", "client.go", Prints::Ids(22)),
    ("ruby", "net_http.rb", Prints::Ids(25)),
    ("perl", "lwp.pl", Prints::Ids(24)),
    ("php", "streams.php", Prints::Ids(25)),
    ("sh", "ab.sh", Prints::Nothing),
    ("sh", "wrk.sh", Prints::Nothing),
    ("sh", "h2load.sh", Prints::Nothing),
];

/// How a client handles a change of leader is another question, and the machine may be busy: there must be
/// none.
const CALM: [&str; 4] = ["--election_timeout", "5000", "--heartbeat_interval", "500"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Prints {
    /// This many lines, each an ID.
    Ids(usize),
    Nothing,
}

/// Where a client finds the cluster.
struct Addresses {
    follower: String,
    leader: String,
    redirect: &'static str,
}

/// `None` if the program that runs the script is not installed.
fn run(program: &str, script: &str, addresses: &Addresses) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let mut command = Command::new(program);
    if program == "go" {
        command.arg("run");
    }
    command.arg(script).env("REDIRECT", addresses.redirect);
    command.env("FOLLOWER", &addresses.follower).env("LEADER", &addresses.leader);
    for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command.output().ok()
}

fn parse(line: &str) -> Option<RangeInclusive<u64>> {
    let mut numbers = line.split(' ').map(|number| number.parse().ok());
    let first = numbers.next()??;
    match numbers.next() {
        None => Some(first..=first),
        Some(last) => Some(first..=last?),
    }
}

/// Runs every client in turn: all IDs ascend, within a client and from one client to the next.
#[track_caller]
fn run_all(flags: &[&str], redirect: &'static str) {
    let mut cluster = Cluster::with_flags(3, &[&CALM, flags].concat());
    let all = std::env::var("CLIENTS").is_ok_and(|clients| clients == "all");
    let mut last = 0;
    for (program, script, prints) in CLIENTS {
        let (leader, follower) = (cluster.leader(), cluster.follower());
        let url = |address: &str| format!("http://{address}");
        let addresses = Addresses {
            follower: url(&cluster.node(follower).client_address),
            leader: url(&cluster.node(leader).client_address),
            redirect,
        };
        let output = run(program, script, &addresses);
        let Some(output) = output.filter(|output| output.status.code() != Some(NOT_INSTALLED)) else {
            assert!(!all || *program == "go", "{script}: its client is not installed");
            println!("{redirect}: {script}: its client is not installed, left out");
            continue;
        };
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{redirect}: {script}: {}\n{stdout}\n{stderr}", output.status);
        let lines: Vec<&str> = stdout.lines().collect();
        match prints {
            Prints::Ids(count) => assert_eq!(lines.len(), *count, "{redirect}: {script}: {stdout}\n{stderr}"),
            Prints::Nothing => {}
        }
        for line in lines {
            let ids = parse(line).unwrap_or_else(|| panic!("{redirect}: {script}: {line:?} is no ID"));
            assert!(*ids.start() > last && ids.end() >= ids.start(), "{script}: {line} after {last}");
            last = *ids.end();
        }
        println!("{redirect}: {script}: works");
    }
}

#[test]
fn every_client_that_is_installed_works_where_it_is_redirected_by_301() {
    run_all(&[], "301");
}

#[test]
fn every_client_that_is_installed_works_where_it_is_redirected_by_307() {
    run_all(&["--redirect_status", "307"], "307");
}

#[test]
fn every_client_that_is_installed_works_where_every_node_answers() {
    run_all(&["--forward"], "none");
}
