//! What a person can ask for, one file for each: it checks, says what is wrong and what to do, and only then
//! changes anything.
//!
//! Floor 5: uses everything below. It must never decide anything that a cluster has to agree on.

mod admin_client;
mod daemonize;
mod listen;
mod pid_file;

use std::fmt;

use crate::settings::SettingsError;

/// Why a command ended without doing what was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    exit_status: u8,
    line: String,
}

impl Failure {
    /// The command line makes no sense: exit status 2.
    #[must_use]
    pub fn usage(line: String) -> Failure {
        Failure { exit_status: 2, line: one_line(&line) }
    }

    /// It could not be done: exit status 1.
    #[must_use]
    pub fn runtime(line: String) -> Failure {
        Failure { exit_status: 1, line: one_line(&line) }
    }

    /// A child has printed the line already.
    #[must_use]
    pub fn said_already(exit_status: u8) -> Failure {
        Failure { exit_status, line: String::new() }
    }

    /// What the process is to end with; never 0.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        self.exit_status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Failure {}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Failure {
        match error {
            SettingsError::NothingToAdvertise { .. }
            | SettingsError::HeartbeatTooSlow { .. }
            | SettingsError::SamePort { .. } => Failure::usage(error.to_string()),
            SettingsError::Stored { .. } => Failure::runtime(error.to_string()),
        }
    }
}

impl From<listen::ListenError> for Failure {
    fn from(error: listen::ListenError) -> Failure {
        Failure::runtime(error.to_string())
    }
}

/// Operators' scripts read one line: whatever a path or a resolver's message holds must not make it two.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
