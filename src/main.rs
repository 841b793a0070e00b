//! The program: parses the command line, starts the log, runs the command, and turns its result into an exit
//! status. It must never decide more than that.
//!
//! Exit statuses: 0, success; 1, the command failed, and one line on standard error says why and what to do;
//! 2, the command line makes no sense; 3, as 1, but starting again with the same store cannot help; 130, a
//! node was told a second time to stop.

use std::process::ExitCode;

use ticketd::advice;
use ticketd::cli::{self, ParseExit};
use ticketd::commands;
use ticketd::logging::{self, Detail, LogMode, Logging};

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(ParseExit::Text(text)) => {
            return match commands::print(&text) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    logging::complain(&format!("cannot write to standard output ({error})"));
                    ExitCode::FAILURE
                }
            };
        }
        Err(ParseExit::Usage(line)) => {
            logging::complain(&line);
            return ExitCode::from(2);
        }
    };
    if let Err(failure) = commands::hold_requests_to_stop(&cli) {
        logging::complain(&failure.to_string());
        return ExitCode::from(failure.exit_status());
    }
    let detail = if cli.flags.debug { Detail::Debug } else { Detail::Usual };
    let mode = if commands::serves(&cli) { LogMode::Asynchronous } else { LogMode::Synchronous };
    let log = match Logging::start(detail, mode) {
        Ok(log) => log,
        Err(error) => {
            let remedy = advice::about_refusal(&error);
            logging::complain(&format!("cannot start a thread for the log ({error}): {remedy}"));
            return ExitCode::FAILURE;
        }
    };
    let exit_code = match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let line = failure.to_string();
            if !line.is_empty() {
                log.complain(&line);
            }
            ExitCode::from(failure.exit_status())
        }
    };
    log.end();
    exit_code
}
