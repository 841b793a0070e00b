//! The commands, one file for each. A command checks first, says what is wrong and what to do about it, and
//! only then changes anything.
//!
//! Floor 5: uses everything below. It must never decide anything that a cluster has to agree on.

mod admin_client;
mod cluster_view;
mod contacts;
mod daemonize;
mod drop;
mod exchange;
mod join;
mod leave;
mod listen;
mod pace;
mod patience;
mod pid_file;
mod reach;
mod rejoin;
mod serve;
mod start;
mod status;
#[cfg(test)]
mod testing;
mod transfer;
mod unix_socket;
mod verify;

use std::fmt;
use std::io::{self, Write};
use std::path::{self, Path};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use raft_core::NodeId;

use crate::advice::{about_refusal, path_flag};
use crate::cli::{Cli, Command, Flags};
use crate::logging::{self, one_line};
use crate::server::{ServerError, keep_ended_children};
use crate::settings::{OrOff, SettingsError};
use crate::storage::{self, EXIT_STATUS_HOPELESS, Prospect, StoreError};

/// What helps where the cluster has given no answer in time: most often too few voters are up.
const WHO_IS_UP: &str = "'ticketd status' shows who votes and is up";

/// How long the first process of a container waits for a 'ticketd leave' to destroy the store, and how often
/// it looks.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
const LEAVE_TICK: Duration = Duration::from_millis(10);

/// How long that command may then take to say so.
const LAST_WORDS_PATIENCE: Duration = Duration::from_millis(200);

/// Runs the command that the command line asks for.
///
/// # Errors
/// [`Failure`], with the line to print and the exit status.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let Cli { command, flags } = cli;
    // Needed for the process in the background, and for the one that checks a store.
    keep_ended_children().map_err(|error| cannot_handle_signals(&error))?;
    if flags.serving.daemonize && !flags.in_background {
        return daemonize::launch();
    }
    match command {
        None => rejoin::run(flags),
        Some(Command::Start) => start::run(flags),
        Some(Command::Join { members }) => join::run(flags, members),
        Some(Command::Leave) => leave::run(flags),
        Some(Command::Drop) => drop::run(flags),
        Some(Command::Status) => status::run(flags),
        Some(Command::Transfer) => transfer::run(flags),
        Some(Command::Verify) => verify::run(flags),
    }
}

fn cannot_handle_signals(error: &io::Error) -> Failure {
    let remedy = about_refusal(error);
    Failure::runtime(format!("cannot handle signals ({error}): {remedy}"))
}

/// Whether this process is to become a node.
#[must_use]
pub fn serves(cli: &Cli) -> bool {
    let Cli { command, flags } = cli;
    let is_of_a_node = match command {
        None | Some(Command::Start | Command::Join { .. }) => true,
        Some(Command::Leave | Command::Drop | Command::Status | Command::Transfer | Command::Verify) => false,
    };
    is_of_a_node && (flags.in_background || !flags.serving.daemonize)
}

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
    fn hopeless(line: String) -> Failure {
        Failure { exit_status: EXIT_STATUS_HOPELESS, line: one_line(&line) }
    }

    /// There is nothing to add, because a child or the log has said it.
    #[must_use]
    pub fn silent(exit_status: u8) -> Failure {
        Failure { exit_status, line: String::new() }
    }

    /// The same failure with more text in its line; a silent one stays silent.
    fn and(&self, more: &str) -> Failure {
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

/// Prints text to standard output. A reader that has closed it, such as `head`, is not an error.
///
/// # Errors
/// If standard output cannot be written, as on a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints lines; the last one needs no newline.
///
/// # Errors
/// As [`print()`].
fn say(lines: &str) -> Result<(), Failure> {
    print(&format!("{lines}\n")).map_err(|error| {
        Failure::runtime(format!("cannot write to standard output ({error}); the command itself was done"))
    })
}

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

impl From<listen::ListenError> for Failure {
    fn from(error: listen::ListenError) -> Failure {
        Failure::runtime(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let line = error.to_string();
        // The finding of a child is the line that it printed, which begins with the program's name.
        let line = line.strip_prefix("ticketd: ").unwrap_or(&line).to_owned();
        match error.prospect() {
            Prospect::Open => Failure::runtime(line),
            Prospect::Hopeless => Failure::hopeless(line),
        }
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Failure {
        match error {
            ServerError::Store(error) => error.into(),
            ServerError::State { .. } => Failure::hopeless(error.to_string()),
            ServerError::NotAMember
            | ServerError::BadAddress { .. }
            | ServerError::FewDescriptors { .. }
            | ServerError::Io { .. } => Failure::runtime(error.to_string()),
        }
    }
}

/// The id, which a new node must be given; `example` is the command with one.
fn required_id(flags: &Flags, example: &str) -> Result<NodeId, Failure> {
    flags.id.ok_or_else(|| {
        Failure::usage(format!("--id is missing: give this node a number of its own, as in '{example}'"))
    })
}

/// Checks that this process will not itself put a file into the directory of the store that it is to make: a
/// new store wants a directory of its own.
fn expect_apart(flags: &Flags) -> Result<(), Failure> {
    let socket = match &flags.serving.http_unix {
        Some(OrOff::Given(path)) => Some(Path::new(path)),
        Some(OrOff::Off) | None => None,
    };
    for (flag, file) in [("--pid_file", flags.serving.pid_file.as_deref()), ("--http_unix", socket)] {
        if file.is_some_and(|file| is_in(file, flags.path())) {
            return Err(Failure::usage(format!(
                "{flag} must not be in the directory of the store, {}, which is to be empty: give it another \
                 place",
                flags.path().display()
            )));
        }
    }
    Ok(())
}

/// Whether this file is, or would be, directly in this directory, which may not exist yet.
fn is_in(file: &Path, directory: &Path) -> bool {
    let resolved = |path: &Path| path.canonicalize().or_else(|_| path::absolute(path)).ok();
    let parent = path::absolute(file).ok().and_then(|file| file.parent().and_then(resolved));
    parent.is_some() && parent == resolved(directory)
}

/// Whether a store was in the place of the new one and was destroyed by `--force`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum InTheWay {
    Nothing,
    Destroyed,
}

/// With `--force`, makes room for a new store.
fn destroy_in_the_way(flags: &Flags) -> Result<InTheWay, Failure> {
    if !flags.force {
        return Ok(InTheWay::Nothing);
    }
    storage::expect_replaceable(flags.path())?;
    if let Some(words) = drop::last_words(flags.path()) {
        // Only the store knows it, and no filter of the log may keep it back.
        logging::tell(&format!("--force destroys a store: {words}"))
            .map_err(|error| drop::cannot_say_first("standard error", &error))?;
    }
    match storage::destroy(flags.path()) {
        Ok(()) => {
            log::info!("destroyed the store that was at {}", flags.path().display());
            Ok(InTheWay::Destroyed)
        }
        Err(StoreError::NotFound { .. }) => Ok(InTheWay::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// The outcome of a node that has served. One that was removed while it ran has done what it was asked to do;
/// one that had been removed before it started was started in vain.
fn after_serving(ended: serve::Ended, path: &Path, id: NodeId) -> Result<(), Failure> {
    let path_flag = path_flag(path);
    match ended {
        serve::Ended::Stopped => {
            log::info!("node {id} has stopped, and its store at {} is closed", path.display());
            Ok(())
        }
        serve::Ended::Removed => {
            if process::id() == 1 {
                await_leave(path);
            }
            log::info!(
                "node {id} has left its cluster, and its store is no longer of use: a 'ticketd leave' given \
                 here destroys it; if the node was removed from elsewhere, 'ticketd drop {path_flag}' does"
            );
            Ok(())
        }
        serve::Ended::RemovedBefore => Err(Failure::hopeless(format!(
            "node {id} has been removed from its cluster: destroy its store with 'ticketd drop {path_flag}', \
             and 'ticketd join' if it is to come back"
        ))),
    }
}

/// The end of the first process of a container ends all others there: a 'ticketd leave' that was given there,
/// and waits for this process to release the store, would not come to destroy it.
fn await_leave(path: &Path) {
    let begun = Instant::now();
    while begun.elapsed() < LEAVE_PATIENCE {
        if !storage::is_there(path) {
            return thread::sleep(LAST_WORDS_PATIENCE);
        }
        thread::sleep(LEAVE_TICK);
    }
}

/// A random number that nobody can guess and that no two nodes share.
fn random_u128() -> Result<u128, Failure> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(u128::from_ne_bytes(bytes)),
        Err(error) => Err(no_random_numbers(&error)),
    }
}

fn random_u64() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| no_random_numbers(&error))
}

fn no_random_numbers(error: &getrandom::Error) -> Failure {
    Failure::runtime(format!("the system gives no random numbers ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::TestDir;

    #[test]
    fn a_new_node_without_an_id_is_told_to_be_given_one() {
        let failure = required_id(&Flags::default(), "ticketd start --id 1").unwrap_err();
        assert_eq!(failure.exit_status(), 2);
        assert!(failure.to_string().contains("ticketd start --id 1"), "{failure}");
    }

    #[test]
    fn a_file_in_a_directory_is_told_from_one_beside_it_however_both_are_written() {
        let directory = TestDir::new();
        let store = directory.path().join("store");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&store, &link).unwrap();
        for exists in [false, true] {
            if exists {
                std::fs::create_dir(&store).unwrap();
            }
            assert!(is_in(&store.join("pid"), &store));
            assert!(is_in(&store.join(".").join("pid"), &store));
            assert!(!is_in(&directory.path().join("pid"), &store));
            assert!(!is_in(&store, &store));
            assert!(!is_in(&store.join("more").join("pid"), &store));
        }
        assert!(is_in(&link.join("pid"), &store));
        assert!(is_in(&store.join("pid"), &link));
        assert!(is_in(Path::new("store/pid"), Path::new("store")));
        assert!(is_in(Path::new("pid"), Path::new(".")));
    }

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::runtime("a\nb".to_owned()).and("c\nd").to_string(), "a b; c d");
    }

    #[test]
    fn more_is_said_only_where_something_is_said() {
        let failure = Failure::runtime("a".to_owned()).and("b\nc");
        assert_eq!((failure.exit_status(), failure.to_string().as_str()), (1, "a; b c"));
        let silent = Failure::silent(130);
        assert_eq!(silent.and("b"), silent);
    }

    #[test]
    fn what_a_child_found_is_not_said_by_two_programs() {
        for (prospect, status) in [(Prospect::Open, 1), (Prospect::Hopeless, 3)] {
            let finding = "ticketd: there is no store".to_owned();
            let failure = Failure::from(StoreError::CheckFailed { finding, prospect });
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
