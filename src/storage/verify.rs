//! The check of a whole store, in this process or in a child process that may die of it.
//!
//! It uses only the store's reading, and changes nothing that it reads.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use raft_core::{HardState, LogIndex, Recovered};
use rustix::process::Signal;

use super::data_file::Access;
use super::directory;
use super::error::{Restart, StoreError};
use super::lock::Lock;
use super::reading::{Readable, Reading, read};
use crate::advice::about_limit;
use crate::identity::{Identity, Standing};

/// The exit status when the cause is [`Restart::CannotHelp`], so that whatever starts the program can tell.
pub const EXIT_STATUS_PERMANENT: u8 = 3;

/// How much of a finding is passed on: our messages have some hundred characters, plus a path of at most
/// 4,096.
const FINDING_CHARS_MAX: usize = 8192;

/// What the standard library prints before it aborts a process that cannot allocate memory; printing where it
/// happened may fail once more. A limit on memory (`ulimit -v`, a small machine) is no damage.
const ALLOCATION_FAILED: &str = "memory allocation of";

/// What a sound store holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Findings {
    /// Who the node is.
    pub identity: Identity,
    /// The hard state, the snapshot, and the log entries that follow the snapshot.
    pub recovered: Recovered,
    /// The index of the last entry; without entries, that of the snapshot; without a snapshot, 0.
    pub last_log_index: LogIndex,
    /// The number of the last transaction.
    pub transaction: u64,
    /// How many transactions are in the journal alone.
    pub journalled: usize,
    /// The largest size that the store may reach, in bytes.
    pub map_bytes: u64,
    /// The size of the data file's pages, in bytes.
    pub file_bytes: u64,
    /// How many of these bytes are in use.
    pub used_bytes: u64,
    /// How many of these bytes are free for reuse.
    pub free_bytes: u64,
}

impl fmt::Display for Findings {
    /// Several lines for the operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { me, standing } = self.identity;
        match standing {
            Standing::Joining => {
                writeln!(f, "node {me} ({}), not yet accepted by a cluster", me.incarnation)?
            }
            Standing::Member { cluster, joined_at } => {
                writeln!(f, "node {me} ({}) of cluster {cluster} since entry {joined_at}", me.incarnation)?;
            }
        }
        let Recovered { hard_state: HardState { current_term, voted_for }, snapshot, entries } =
            &self.recovered;
        match voted_for {
            Some(peer) => writeln!(f, "term {current_term}, vote for node {peer} ({})", peer.incarnation)?,
            None => writeln!(f, "term {current_term}, no vote")?,
        }
        match snapshot {
            Some(snapshot) => {
                let (index, term) = (snapshot.last_included_index, snapshot.last_included_term);
                writeln!(f, "snapshot of entry {index} of term {term}")?;
            }
            None => writeln!(f, "no snapshot")?,
        }
        writeln!(f, "{} log entries, the last is {}", entries.len(), self.last_log_index)?;
        write!(
            f,
            "{} bytes at most, {} in the data file: {} used, {} free, after transaction {}, {} of them in \
             the journal alone",
            self.map_bytes,
            self.file_bytes,
            self.used_bytes,
            self.free_bytes,
            self.transaction,
            self.journalled
        )
    }
}

/// Reads everything in the store at `path`, every page and every record. It holds the store's lock while it
/// does so, even if the lock file can only be read.
///
/// # Errors
/// As [`Store::open`](super::Store::open).
pub fn verify(path: &Path) -> Result<Findings, StoreError> {
    directory::expect_store(path)?;
    let _lock = Lock::acquire_to_read(path)?;
    let Reading { report, contents, .. } = read(path, Access::Read, Readable::Complete)?;
    Ok(Findings {
        identity: contents.identity,
        last_log_index: contents.extent.last_log_index,
        transaction: contents.last_transaction().0,
        journalled: contents.journalled,
        map_bytes: contents.map_bytes,
        file_bytes: report.extent_bytes(),
        used_bytes: report.pages_used * report.page_bytes,
        free_bytes: report.pages_free * report.page_bytes,
        recovered: contents.recovered,
    })
}

/// Runs this program's `verify` command on the store in a child process. LMDB maps the file, so a sector that
/// cannot be read kills the process that reads it; in the child, that death is the finding. Call this before
/// [`Store::open`](super::Store::open), because the child takes the lock. Returns what the child wrote to its
/// standard output: its [`Findings`].
///
/// # Errors
/// [`StoreError::CheckFailed`] with what the child wrote to its standard error, [`StoreError::CheckDied`],
/// [`StoreError::CheckEnded`], [`StoreError::CheckNotRun`].
pub fn verify_in_child(path: &Path) -> Result<String, StoreError> {
    let program = std::env::current_exe().map_err(|error| StoreError::check_not_run(&error))?;
    run_check(check_command(&program, path), path)
}

/// The flag and the path are one argument: as an argument of its own, a path that begins with `-` would be
/// taken for a flag.
fn check_command(program: &Path, path: &Path) -> Command {
    let mut at_path = OsString::from("--path=");
    at_path.push(path);
    let mut command = Command::new(program);
    command.arg("verify").arg(format!("--in_child={}", std::process::id())).arg(at_path);
    // The last line of its output is passed on: that must be the reason of a panic, not a backtrace.
    command.env("RUST_BACKTRACE", "0");
    command
}

/// In the child: ends this process when its parent, the process with this id, ends. This process holds the
/// store's lock; a node that is started again after the parent was killed must not find the store locked by
/// an unknown process.
pub fn end_with_parent(parent: i32) {
    // If the system cannot do this, the child ends when it has read the store.
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        log::debug!("will not end with the process that started it: {error}");
    }
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        // The parent had ended before it could be watched.
        std::process::exit(1);
    }
}

fn run_check(mut command: Command, path: &Path) -> Result<String, StoreError> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| StoreError::check_not_run(&error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    match (output.status.signal(), last_line(&said)) {
        (Some(signal), _) => Err(on_signal(path, signal, &said)),
        (None, Some(finding)) => {
            let is_permanent = output.status.code() == Some(EXIT_STATUS_PERMANENT.into());
            let restart = if is_permanent { Restart::CannotHelp } else { Restart::MayHelp };
            Err(StoreError::CheckFailed { finding, restart })
        }
        (None, None) => Err(not_run(output.status.to_string())),
    }
}

/// The finding, or the reason of a panic: log lines may come before it, and advice to programmers after it.
fn last_line(said: &str) -> Option<String> {
    let last = said.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("note: "));
    last.map(shortened)
}

fn shortened(line: &str) -> String {
    line.chars().take(FINDING_CHARS_MAX).collect()
}

/// What it means that the child, after this output, was ended by this signal.
fn on_signal(path: &Path, signal: i32, said: &str) -> StoreError {
    if signal == Signal::SYS.as_raw() {
        // Raised by seccomp(2): the system forbids this program something it needs, whatever the store holds.
        return not_run("the system forbids it what it needs (signal SIGSYS)".to_owned());
    }
    if !is_fault(signal) {
        return StoreError::CheckEnded { signal };
    }
    match said.lines().find(|line| line.starts_with(ALLOCATION_FAILED)) {
        Some(line) if signal == Signal::ABORT.as_raw() => StoreError::CheckNotRun {
            reason: shortened(line),
            remedy: about_limit(&io::ErrorKind::OutOfMemory.into()),
        },
        Some(_) | None => StoreError::CheckDied { path: path.to_owned(), signal, last_line: last_line(said) },
    }
}

fn not_run(reason: String) -> StoreError {
    StoreError::CheckNotRun { reason, remedy: None }
}

/// Whether a process gets this signal for what it did itself. Any other signal was sent, by an operator or by
/// a system that is short of memory, and says nothing about the store.
fn is_fault(signal: i32) -> bool {
    [Signal::BUS, Signal::SEGV, Signal::ABORT, Signal::ILL, Signal::FPE]
        .iter()
        .any(|fault| fault.as_raw() == signal)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn shell(script: &str) -> Result<String, StoreError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run_check(command, Path::new("store"))
    }

    #[test]
    fn the_path_is_one_word_with_its_flag_whatever_its_bytes() {
        for bytes in [&b"store"[..], b"-x", b"--force", b"-\xff", b"a b"] {
            let command = check_command(Path::new("ticketd"), Path::new(OsStr::from_bytes(bytes)));
            let words: Vec<&[u8]> = command.get_args().map(OsStr::as_bytes).collect();
            let at_path = [b"--path=", bytes].concat();
            let in_child = format!("--in_child={}", std::process::id());
            assert_eq!(words, [b"verify", in_child.as_bytes(), &at_path]);
        }
    }

    #[test]
    fn what_a_check_that_succeeds_has_found_is_passed_on() {
        assert_eq!(shell("echo sound; echo log >&2; exit 0"), Ok("sound\n".to_owned()));
    }

    #[test]
    fn the_last_line_that_a_failing_check_says_is_the_finding_and_its_status_whether_it_is_final() {
        for (status, restart) in [(1, Restart::MayHelp), (3, Restart::CannotHelp)] {
            let said = "echo log >&2; echo the store is damaged >&2; echo >&2";
            let error = shell(&format!("{said}; exit {status}")).unwrap_err();
            let finding = "the store is damaged".to_owned();
            assert_eq!(error, StoreError::CheckFailed { finding: finding.clone(), restart });
            assert_eq!((error.to_string(), error.restart()), (finding, restart));
        }
    }

    #[test]
    fn a_check_that_dies_is_a_finding() {
        let error = shell("kill -SEGV $$").unwrap_err();
        assert_eq!(error, StoreError::CheckDied { path: "store".into(), signal: 11, last_line: None });
        assert!(error.to_string().contains("killed by signal 11: leave it aside"), "{error}");
    }

    #[test]
    fn what_a_check_says_before_it_aborts_is_passed_on() {
        let panic = "echo log; echo 'index out of bounds'; echo 'note: run with `RUST_BACKTRACE=1`'";
        let error = shell(&format!("{{ {panic}; }} >&2; kill -ABRT $$")).unwrap_err();
        let last_line = Some("index out of bounds".to_owned());
        assert_eq!(error, StoreError::CheckDied { path: "store".into(), signal: 6, last_line });
        assert!(error.to_string().contains("signal 6 (index out of bounds): leave it aside"), "{error}");
    }

    #[test]
    fn a_check_that_gets_no_memory_or_is_forbidden_what_it_needs_is_not_taken_for_a_finding() {
        let failed = "memory allocation of 64 bytes failed";
        for after in ["", "memory allocation of 1 bytes failed", "skipping backtrace printing"] {
            let said = format!("echo log; echo '{failed}'; echo '{after}'; echo 'note: run'");
            let error = shell(&format!("{{ {said}; }} >&2; kill -ABRT $$")).unwrap_err();
            assert!(
                matches!(&error, StoreError::CheckNotRun { reason, .. } if reason == failed),
                "{error:?}"
            );
            assert!(error.to_string().contains("ulimit -v"), "{error}");
        }
        let error = shell("kill -SYS $$").unwrap_err();
        assert!(matches!(error, StoreError::CheckNotRun { .. }), "{error:?}");
    }

    #[test]
    fn a_check_that_somebody_ends_is_not_taken_for_a_finding() {
        for (name, signal) in [("TERM", 15), ("KILL", 9)] {
            let error = shell(&format!("kill -{name} $$")).unwrap_err();
            assert_eq!(error, StoreError::CheckEnded { signal });
        }
    }

    #[test]
    fn a_check_that_says_nothing_or_cannot_be_run_is_not_taken_for_a_finding() {
        assert!(matches!(shell("exit 3"), Err(StoreError::CheckNotRun { .. })));
        let missing = run_check(Command::new("/nonexistent/ticketd"), Path::new("store"));
        assert!(matches!(missing, Err(StoreError::CheckNotRun { .. })), "{missing:?}");
    }
}
