//! Shared by the black-box tests: runs the real program in directories of its own, talks to it as a client,
//! an operator or a stranger would, and records the answers.
//!
//! It knows the program by its command line, its log line `listening ...`, its HTTP interface and its exit
//! statuses only; it must never use the library, because it would then share the library's bugs and not see
//! them.
//!
//! No result depends on time: a test waits for a condition, and fails after [`wait::DEADLINE`], which is far
//! longer than anything takes even on a busy machine.

// Each test file is a program of its own that compiles all of this and uses a part of it; nothing outside
// sees any of it.
#![allow(dead_code, unreachable_pub)]

use std::fs::File;
use std::io::Write;

pub mod checker;
pub mod cluster;
pub mod command;
pub mod directory;
pub mod http;
pub mod load;
pub mod network;
pub mod node;
pub mod pipe;
pub mod ports;
pub mod random;
pub mod status;
pub mod wait;

/// Says why a test, or a part of one, is not run on this machine; `make test` lists that in the end. With
/// `SKIP=nothing` in the environment, it is a failure: root can run every test on a machine that has IPv6 and
/// lets namespaces be made.
#[track_caller]
pub fn skipped(why: &str) {
    assert!(std::env::var_os("SKIP").is_none_or(|skip| skip != "nothing"), "skipped: {why}");
    eprintln!("skipped: {why}");
    if let Some(list) = std::env::var_os("SKIPPED") {
        let list = File::options().append(true).open(list);
        let written = list.and_then(|mut list| list.write_all(format!("{why}\n").as_bytes()));
        written.expect("scripts/test.sh has made this file");
    }
}
