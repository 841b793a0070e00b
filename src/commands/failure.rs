//! Why a command failed: the line for the operator, and the exit status.

use std::fmt;

use crate::logging::one_line;
use crate::server::ServerError;
use crate::settings::SettingsError;
use crate::storage::{EXIT_STATUS_PERMANENT, Restart, StoreError};

/// Why a command ended without doing what it was asked to do.
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

    /// The command failed: exit status 1.
    #[must_use]
    pub fn runtime(line: String) -> Failure {
        Failure { exit_status: 1, line: one_line(&line) }
    }

    /// The command failed, and will fail again with this store: exit status 3.
    pub(super) fn permanent(line: String) -> Failure {
        Failure { exit_status: EXIT_STATUS_PERMANENT, line: one_line(&line) }
    }

    /// There is nothing to add, because a child or the log has said it.
    #[must_use]
    pub fn silent(exit_status: u8) -> Failure {
        Failure { exit_status, line: String::new() }
    }

    /// The same failure with more text in its line; a silent one stays silent.
    pub(super) fn adding(&self, more: &str) -> Failure {
        let line =
            if self.line.is_empty() { String::new() } else { one_line(&format!("{}; {more}", self.line)) };
        Failure { line, ..*self }
    }

    /// The exit status of the process; never 0.
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
            | SettingsError::NoMetricsPort
            | SettingsError::SamePort { .. } => Failure::usage(error.to_string()),
            SettingsError::Stored { .. } => Failure::runtime(error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let line = error.to_string();
        // The finding of a child is the line that it printed, which begins with the program's name.
        let line = line.strip_prefix("ticketd: ").unwrap_or(&line).to_owned();
        match error.restart() {
            Restart::MayHelp => Failure::runtime(line),
            Restart::CannotHelp => Failure::permanent(line),
        }
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Failure {
        match error {
            ServerError::Store(error) => error.into(),
            ServerError::State { .. } => Failure::permanent(error.to_string()),
            ServerError::NotAMember
            | ServerError::BadAddress { .. }
            | ServerError::FewDescriptors { .. }
            | ServerError::Io { .. } => Failure::runtime(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::runtime("a\nb".to_owned()).adding("c\nd").to_string(), "a b; c d");
    }

    #[test]
    fn more_is_said_only_where_something_is_said() {
        let failure = Failure::runtime("a".to_owned()).adding("b\nc");
        assert_eq!((failure.exit_status(), failure.to_string().as_str()), (1, "a; b c"));
        let silent = Failure::silent(130);
        assert_eq!(silent.adding("b"), silent);
    }

    #[test]
    fn what_a_child_found_is_not_said_by_two_programs() {
        for (restart, status) in [(Restart::MayHelp, 1), (Restart::CannotHelp, 3)] {
            let finding = "ticketd: there is no store".to_owned();
            let failure = Failure::from(StoreError::CheckFailed { finding, restart });
            assert_eq!((failure.exit_status(), failure.to_string().as_str()), (status, "there is no store"));
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_usage_and_a_strange_store_is_not() {
        let port = SettingsError::SamePort { flags: ["--a", "--b"], port: 1 };
        assert_eq!(Failure::from(port).exit_status(), 2);
        let stored = SettingsError::Stored { name: "a".to_owned(), value: "b".to_owned() };
        assert_eq!(Failure::from(stored).exit_status(), 1);
    }
}
