//! What a command line can ask for, and which flags mean something then.

use std::collections::BTreeSet;
use std::fmt;

use clap::Args;

use super::{Command, ServingFlags};

/// What a command line asks for: a subcommand, without its operands, or a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Task {
    Restart,
    Start,
    Join,
    Leave,
    Drop,
    Status,
    Transfer,
    Verify,
}

/// The flags that every task takes. The last two are given by this program alone, to itself.
const FLAGS_OF_ALL: [&str; 5] = ["path", "debug", "version", "in_background", "in_child"];

impl Task {
    /// Those that have a subcommand.
    pub(super) const SUBCOMMANDS: [Task; 7] =
        [Task::Start, Task::Join, Task::Leave, Task::Drop, Task::Status, Task::Transfer, Task::Verify];

    pub(super) fn of(command: Option<&Command>) -> Task {
        match command {
            None => Task::Restart,
            Some(Command::Start) => Task::Start,
            Some(Command::Join { members: _ }) => Task::Join,
            Some(Command::Leave) => Task::Leave,
            Some(Command::Drop) => Task::Drop,
            Some(Command::Status) => Task::Status,
            Some(Command::Transfer) => Task::Transfer,
            Some(Command::Verify) => Task::Verify,
        }
    }

    /// The name of its subcommand.
    pub(super) fn subcommand(self) -> Option<&'static str> {
        match self {
            Task::Restart => None,
            Task::Start => Some("start"),
            Task::Join => Some("join"),
            Task::Leave => Some("leave"),
            Task::Drop => Some("drop"),
            Task::Status => Some("status"),
            Task::Transfer => Some("transfer"),
            Task::Verify => Some("verify"),
        }
    }

    /// The ids of the flags that mean something with it.
    pub(super) fn flags(self) -> BTreeSet<String> {
        let (own, serving): (&[&str], _) = match self {
            Task::Restart => (&[], serving_flags()),
            Task::Start => (&["id", "first_id", "force"], serving_flags()),
            Task::Join => (&["id", "force"], serving_flags()),
            Task::Leave | Task::Transfer => (&["id"], Vec::new()),
            Task::Drop => (&["force"], Vec::new()),
            Task::Status => (&["json"], Vec::new()),
            Task::Verify => (&[], Vec::new()),
        };
        FLAGS_OF_ALL.iter().chain(own).map(|&id| id.to_owned()).chain(serving).collect()
    }

    /// Where it is explained.
    pub(super) fn help(self) -> String {
        match self.subcommand() {
            Some(name) => format!("see 'ticketd {name} --help'"),
            None => "see 'ticketd --help'".to_owned(),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subcommand() {
            Some(name) => write!(f, "'ticketd {name}'"),
            None => f.write_str("a restart"),
        }
    }
}

/// The ids of the flags of a node that serves.
fn serving_flags() -> Vec<String> {
    let serving = ServingFlags::augment_args(clap::Command::default());
    serving.get_arguments().map(|arg| arg.get_id().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subcommand_is_a_task_and_each_flag_belongs_to_one() {
        let command = super::super::command();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, Task::SUBCOMMANDS.map(|task| task.subcommand().unwrap()));
        let tasks = || [Task::Restart].into_iter().chain(Task::SUBCOMMANDS);
        let meant: BTreeSet<String> = tasks().flat_map(Task::flags).collect();
        let given = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
        assert_eq!(meant, given);
    }
}
