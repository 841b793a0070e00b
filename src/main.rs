//! The program: takes the command line apart, sets the log up, carries the command out, and turns its end into
//! an exit status. It must never decide more than that.
//!
//! Exit statuses: 0 done; 1 it could not be done, and one line on standard error says why and what to do; 2 the
//! command line makes no sense; 130 a node was told a second time to stop.

use std::io::Write;
use std::process::ExitCode;

use env_logger::{Builder, Env, Target};
use ticketd::cli::{self, ParseExit};
use ticketd::commands;

/// What is logged unless `RUST_LOG` says otherwise: of ourselves what an operator should know, of others' crates
/// only trouble.
const LOG_FILTER: &str = "warn,ticketd=info,raft_core=info";
/// The same with `--debug`.
const LOG_FILTER_DEBUG: &str = "warn,ticketd=debug,raft_core=debug";

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(ParseExit::Text(text)) => {
            // A reader that has gone, such as `head`, is no trouble of ours.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(ParseExit::Usage(line)) => {
            eprintln!("ticketd: {line}");
            return ExitCode::from(2);
        }
    };
    start_log(if cli.flags.debug { LOG_FILTER_DEBUG } else { LOG_FILTER });
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let line = failure.to_string();
            if !line.is_empty() {
                eprintln!("ticketd: {line}");
            }
            ExitCode::from(failure.exit_status())
        }
    }
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
