//! Golden scenarios that a person can read: `scripts/*.script` for the hard cases of Raft,
//! `published/*.script` for defects that other implementations had.
//!
//! A script is blocks of commands, each followed by `---` and what the cluster then did, compared verbatim.
//! `RAFT_BLESS=1` writes the files anew from what happens now: read the difference before it is committed.
//!
//! The commands:
//!
//! - `nodes 1=2,2 2 3`: voters 1 to 3, of which 1 has entries of terms 2 and 2 after the first snapshot
//!   (index 1, term 1); with `term=4` at the end, all of them have seen term 4
//! - `campaign 1`: node 1 campaigns, the others having heard nothing for an election timeout; `elect 1`: and
//!   wins
//! - `wake 1`: its clock goes to its deadline; `pass 40ms`: every clock goes on, and everything settles
//! - `settle`: delivers everything and syncs every disk that is not stalled, until nothing is left
//! - `deliver 1 2`, `drop 1 2`: what is on its way from 1 to 2 now arrives, or is lost
//! - `keep 1 2 old`: it is held back under a name; `release old`: it arrives, any number of times
//! - `cut 1 2`: nothing from 1 arrives at 2; `isolate 1`: nothing from or at 1; `heal`: all of that ends
//! - `stall 1`, `resume 1`: nothing becomes durable by itself, and does again; `sync 1`, `sync-one 1`: every
//!   write, or the oldest, becomes durable; `fail 1`: one fails
//! - `crash 1`: the process stops; `start 1`: it starts from what is durable
//! - `propose 1 a`, `barrier 1`, `compact 1`, `transfer 1 2`, `add 1 4`, `remove 1 2`, `unreachable 2 1`: an
//!   input for the first node named
//! - `status`: every node's log; `queue`: every message that is on its way

mod harness;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use harness::cluster::{Cluster, Envelope};
use harness::narrate;

#[test]
fn every_script_goes_as_it_is_written() {
    let paths = scripts("scripts");
    assert!(paths.len() >= 14, "the scripts are in tests/scripts");
    go_as_written(&paths);
}

#[test]
fn no_published_defect_of_another_implementation_shows_here() {
    let paths = scripts("published");
    assert!(paths.len() >= 25, "the scripts are in tests/published");
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a script that was just listed");
        assert!(
            text.contains("# https://"),
            "{}: says nowhere where the defect is described",
            path.display()
        );
    }
    go_as_written(&paths);
}

fn go_as_written(paths: &[PathBuf]) {
    let mut failed = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path).expect("a script that was just listed");
        let happened = Script::new(path).run(&text);
        if happened == text {
            continue;
        }
        if std::env::var_os("RAFT_BLESS").is_some() {
            std::fs::write(path, happened).expect("the source tree can be written");
        } else {
            failed.push(format!("{}: {}", path.display(), first_difference(&text, &happened)));
        }
    }
    assert!(failed.is_empty(), "RAFT_BLESS=1 accepts what happens now.\n{}", failed.join("\n"));
}

fn scripts(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let entries = std::fs::read_dir(directory).expect("a directory of scripts beside this file");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "script"));
    paths.sort();
    paths
}

fn first_difference(written: &str, happened: &str) -> String {
    let (mut written, mut happened) = (written.lines(), happened.lines());
    for line in 1.. {
        let (wanted, got) = (written.next(), happened.next());
        if wanted != got {
            return format!("line {line}\n  written:  {}\n  happened: {}", show(wanted), show(got));
        }
    }
    String::new()
}

fn show(line: Option<&str>) -> &str {
    line.unwrap_or("(the end)")
}

/// One script as it runs.
struct Script {
    name: String,
    cluster: Cluster,
    kept: BTreeMap<String, Vec<Envelope>>,
}

impl Script {
    fn new(path: &Path) -> Script {
        Script { name: path.display().to_string(), cluster: Cluster::new(&[]), kept: BTreeMap::new() }
    }

    /// The script with what happens now in place of what is written.
    fn run(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut in_output = false;
        let mut commands = 0;
        for line in text.lines() {
            match line {
                "---" => {
                    out.push_str("---\n");
                    self.tell(&mut out);
                    in_output = true;
                    commands = 0;
                }
                "" => {
                    assert_eq!(commands, 0, "{}: commands without ---", self.name);
                    out.push('\n');
                    in_output = false;
                }
                _ if in_output => {}
                comment if comment.starts_with('#') => out.extend([comment, "\n"]),
                command => {
                    out.extend([command, "\n"]);
                    commands += 1;
                    self.command(command);
                }
            }
        }
        assert_eq!(commands, 0, "{}: commands without --- at the end", self.name);
        out
    }

    fn tell(&mut self, out: &mut String) {
        for line in self.cluster.story.drain(..) {
            writeln!(out, "{line}").expect("a String takes everything");
        }
    }

    fn command(&mut self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let (verb, arguments) = words.split_first().expect("a line that is not empty");
        let numbers: Vec<u64> = arguments.iter().map_while(|a| a.parse().ok()).collect();
        let cluster = &mut self.cluster;
        match (*verb, &numbers[..], arguments) {
            ("nodes", _, nodes) => *cluster = create(nodes),
            ("elect", [at], _) => cluster.elect(*at),
            ("campaign", [at], _) => cluster.campaign(*at),
            ("wake", [at], _) => cluster.wake(*at),
            ("pass", [], [time]) => cluster.pass(microseconds(time)),
            ("settle", [], []) => cluster.settle(),
            ("deliver", [from, to], _) => self.deliver(*from, *to),
            ("drop", [from, to], _) => self.drop_messages(*from, *to),
            ("keep", [from, to], [_, _, name]) => self.keep(*from, *to, name),
            ("release", [], [name]) => self.release(name),
            ("cut", [from, to], _) => drop(cluster.cut.insert((*from, *to))),
            ("isolate", [at], _) => cluster.isolate(*at),
            ("heal", [], []) => cluster.cut.clear(),
            ("stall", [at], _) => drop(cluster.stalled.insert(*at)),
            ("resume", [at], _) => drop(cluster.stalled.remove(at)),
            ("sync", [at], _) => drop(cluster.sync(*at)),
            ("sync-one", [at], _) => drop(cluster.sync_one(*at)),
            ("fail", [at], _) => cluster.step(*at, raft_core::Input::WriteFailed),
            ("crash", [at], _) => cluster.crash(*at),
            ("start", [at], _) => cluster.restart(*at),
            ("propose", [at], [_, text]) => drop(cluster.propose(*at, text)),
            ("barrier", [at], _) => drop(cluster.barrier(*at)),
            ("compact", [at], _) => cluster.compact(*at),
            ("transfer", [at, to], _) => cluster.transfer(*at, Some(*to)),
            ("add", [at, number], _) => drop(cluster.add(*at, *number)),
            ("remove", [at, number], _) => drop(cluster.remove(*at, *number)),
            ("unreachable", [at, gone], _) => cluster.unreachable(*at, *gone),
            ("status", [], []) => self.status(),
            ("queue", [], []) => self.queue(),
            (_, _, _) => panic!("{}: no such command: {command}", self.name),
        }
    }

    fn deliver(&mut self, from: u64, to: u64) {
        for envelope in self.cluster.take(from, to) {
            self.cluster.story.push(describe(&envelope));
            self.cluster.arrive(envelope);
        }
    }

    fn drop_messages(&mut self, from: u64, to: u64) {
        for envelope in self.cluster.take(from, to) {
            self.cluster.story.push(format!("lost: {}", describe(&envelope)));
        }
    }

    fn keep(&mut self, from: u64, to: u64, name: &str) {
        let taken = self.cluster.take(from, to);
        let lines = taken.iter().map(|envelope| format!("kept as {name}: {}", describe(envelope)));
        self.cluster.story.extend(lines);
        self.kept.insert(name.to_owned(), taken);
    }

    fn release(&mut self, name: &str) {
        for envelope in self.kept.get(name).expect("a name that was kept").clone() {
            self.cluster.story.push(describe(&envelope));
            self.cluster.arrive(envelope);
        }
    }

    fn status(&mut self) {
        for (number, node) in &self.cluster.nodes {
            let state = if self.cluster.down.contains(number) {
                "down".to_owned()
            } else {
                narrate::state(&node.raft)
            };
            self.cluster.story.push(format!("{number} is {state}"));
        }
    }

    fn queue(&mut self) {
        self.cluster.story.extend(self.cluster.network.iter().map(describe));
    }
}

/// `1=2,2 2 3`: numbers, each with the terms of its entries; `term=4` at the end for all of them.
fn create(arguments: &[&str]) -> Cluster {
    let (nodes, term) = match arguments.split_last() {
        Some((last, nodes)) if last.starts_with("term=") => (nodes, last.strip_prefix("term=")),
        Some(_) | None => (arguments, None),
    };
    let logs = nodes.iter().map(|node| {
        let (number, terms) = node.split_once('=').unwrap_or((node, ""));
        let terms = terms.split(',').filter(|t| !t.is_empty()).map(|t| t.parse().expect("a term"));
        (number.parse().expect("a node's number"), terms.collect::<Vec<u64>>())
    });
    let logs: Vec<(u64, Vec<u64>)> = logs.collect();
    let logs: Vec<(u64, &[u64])> = logs.iter().map(|(number, terms)| (*number, &terms[..])).collect();
    Cluster::with_logs_in_term(&logs, term.map_or(1, |term| term.parse().expect("a term")))
}

fn microseconds(text: &str) -> u64 {
    let number = text.strip_suffix("ms").expect("a time in ms");
    number.parse::<u64>().expect("a number of ms") * 1_000
}

fn describe(envelope: &Envelope) -> String {
    format!("{} -> {}: {}", envelope.from.id, envelope.to.id, narrate::message(&envelope.message))
}
