//! The program: takes the command line apart, sets the log up, carries the command out, and turns its end
//! into an exit status. It must never decide more than that.
//!
//! Exit statuses: 0 done; 1 it could not be done, and one line on standard error says why and what to do; 2
//! the command line makes no sense; 130 a node was told a second time to stop.

use std::io::Write;
use std::process::ExitCode;

use env_logger::{Builder, Env, Target};
use ticketd::cli::{self, ParseExit};
use ticketd::commands;

/// What is logged unless `RUST_LOG` says otherwise: of ourselves what an operator should know, of others'
/// crates only trouble.
const LOG_FILTER: &str = "warn,ticketd=info,raft_core=info";
/// The same with `--debug`.
const LOG_FILTER_DEBUG: &str = "warn,ticketd=debug,raft_core=debug";

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(ParseExit::Text(text)) => {
            return match commands::print(&text) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    complain(&format!("can not write to standard output ({error})"));
                    ExitCode::FAILURE
                }
            };
        }
        Err(ParseExit::Usage(line)) => {
            complain(&line);
            return ExitCode::from(2);
        }
    };
    start_log(if cli.flags.debug { LOG_FILTER_DEBUG } else { LOG_FILTER });
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let line = failure.to_string();
            if !line.is_empty() {
                complain(&line);
            }
            ExitCode::from(failure.exit_status())
        }
    }
}

/// The exit status tells as well, and must not become another where standard error takes nothing: on a full
/// disk, or where its reader has gone.
fn complain(line: &str) {
    let _ = std::io::stderr().write_all(format!("ticketd: {line}\n").as_bytes());
}

/// Each record is one line on standard error: when, how grave, what.
fn start_log(filter: &str) {
    Builder::from_env(Env::default().default_filter_or(filter))
        .target(Target::Stderr)
        .format(|out, record| {
            writeln!(out, "{} {:5} {}", out.timestamp_millis(), record.level(), record.args())
        })
        .init();
}
