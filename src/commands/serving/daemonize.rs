//! `--daemonize`: the shell gets its prompt back once the node listens, and not before.
//!
//! There is no fork: the program runs itself again as a child, with one more flag and with a pipe as its
//! standard output. The child reports on that pipe that it listens. If the pipe ends without that report, the
//! child has failed and has said why on the standard error that both share. Until it listens, the child stays
//! in the terminal's session, so that Ctrl-C ends a `join` that waits, and the end of the parent is a request
//! to stop: nobody would learn that a node runs. Then it starts a session of its own.
//!
//! The pipe shows that end too: it then has no reader. A signal from the system (PR_SET_PDEATHSIG) would be
//! taken for one from the terminal: after Ctrl-C, which ends the parent too, for a second request, or for a
//! hangup, which nohup(1) has the child ignore.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::setsid;

use crate::advice::about_limit;
use crate::commands::Failure;
use crate::server::{StopRequests, has_lost_its_reader};

/// What the child writes when it listens.
const LISTENING: &[u8] = b"listening\n";

/// The last of the standard streams.
const STDERR: RawFd = 2;

/// Starts the child and waits until it listens.
///
/// # Errors
/// [`Failure`] if the child cannot be started or ends before it listens; silent if the child has said why.
pub(crate) fn launch() -> Result<(), Failure> {
    close_inherited();
    let mut child = env::current_exe()
        .and_then(|program| {
            Command::new(program)
                // The flag goes first, where no `--` can turn it into an operand.
                .arg("--in_background")
                .args(env::args_os().skip(1))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
        })
        .map_err(|error| {
            let remedy = about_limit(&error).unwrap_or("try without --daemonize");
            Failure::runtime(format!("cannot start a process in the background ({error}): {remedy}"))
        })?;
    let mut said = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        // An error ends the wait as the end of the pipe does: the child's exit status then tells.
        let bytes_max = LISTENING.len() as u64;
        let _ = pipe.by_ref().take(bytes_max).read_to_end(&mut said);
    }
    if said == LISTENING {
        return Ok(());
    }
    match child.wait() {
        Ok(status) => Err(explain(status)),
        Err(error) => {
            Err(Failure::runtime(format!("lost the process in the background ({error}): see its log")))
        }
    }
}

/// Closes what the caller has left open beyond the standard streams, as daemon(7) asks for: the node would
/// keep it as long as it runs, such as the descriptor that a script holds a lock with. Nothing of this
/// process is among it, which has opened nothing yet and has one thread. Without a proc(5), the node keeps
/// it.
fn close_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    let inherited: Vec<RawFd> = numbers.filter(|number| *number > STDERR).collect();
    for number in inherited {
        // One of them is that of the directory, which is closed already.
        let _ = nix::unistd::close(number);
    }
}

fn explain(status: ExitStatus) -> Failure {
    match (status.code(), status.signal()) {
        (Some(0), _) => {
            Failure::runtime("the process in the background was stopped before it listened".to_owned())
        }
        (Some(code), _) => Failure::silent(u8::try_from(code).unwrap_or(1).max(1)),
        (None, Some(signal)) => Failure::runtime(format!(
            "the process in the background was ended by signal {signal} before it listened: try without \
             --daemonize"
        )),
        (None, None) => Failure::runtime("the process in the background ended before it listened".to_owned()),
    }
}

/// In the child, before it asks or makes anything.
///
/// # Errors
/// [`Failure`] if the parent has ended already.
pub(crate) fn expect_parent() -> Result<(), Failure> {
    if has_lost_its_reader(io::stdout()) { Err(orphaned()) } else { Ok(()) }
}

/// In the child: until a server handles these requests, and the node listens, the end of the parent is one of
/// them.
///
/// # Errors
/// [`Failure`] if no descriptor is left to watch it with.
pub(crate) fn or_by_end_of_parent(stop: StopRequests) -> Result<StopRequests, Failure> {
    let pipe = io::stdout().as_fd().try_clone_to_owned().map_err(|error| not_reported(&error))?;
    Ok(stop.or_by_end_of_reader(pipe))
}

/// In the child: leaves the terminal and reports to the parent.
///
/// # Errors
/// [`Failure`] if the parent is gone: then nobody waits for this node any more.
pub(crate) fn listening() -> Result<(), Failure> {
    let report = || -> io::Result<()> {
        // Once the parent returns, its caller may look for the log lines that led up to this point.
        log::logger().flush();
        setsid()?;
        // Before the report, after which nothing may fail.
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(LISTENING)?;
        stdout.flush()?;
        // Whoever reads the other end of the pipe should not wait for its end as long as the node lives.
        if let Err(error) = rustix::stdio::dup2_stdout(&null) {
            log::debug!("standard output stays open: {error}");
        }
        Ok(())
    };
    report().map_err(|error| not_reported(&error))
}

fn not_reported(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return orphaned();
    }
    Failure::runtime(format!("cannot go on in the background ({error}): try without --daemonize"))
}

fn orphaned() -> Failure {
    Failure::runtime(
        "the command that started this node in the background ended before the node listened, so the node \
         ends too"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_failed_passes_its_status_on_and_is_not_explained_twice() {
        let status = Command::new("sh").args(["-c", "exit 2"]).status().unwrap();
        let failure = explain(status);
        assert_eq!(failure.exit_status(), 2);
        assert_eq!(failure.to_string(), "");
    }

    #[test]
    fn a_child_that_ended_well_without_listening_is_still_a_failure() {
        let status = Command::new("true").status().unwrap();
        assert_eq!(explain(status).exit_status(), 1);
    }

    #[test]
    fn a_node_that_nobody_waits_for_says_so_and_not_that_the_background_is_at_fault() {
        let failure = not_reported(&io::ErrorKind::BrokenPipe.into());
        assert!(failure.to_string().contains("the command that started this node"), "{failure}");
        assert!(!failure.to_string().contains("--daemonize"), "{failure}");
        let failure = not_reported(&io::ErrorKind::PermissionDenied.into());
        assert!(failure.to_string().contains("--daemonize"), "{failure}");
    }

    #[test]
    fn a_child_that_was_killed_is_explained() {
        let status = Command::new("sh").args(["-c", "kill -9 $$"]).status().unwrap();
        let failure = explain(status);
        assert_eq!(failure.exit_status(), 1);
        assert!(failure.to_string().contains("signal 9"), "{failure}");
    }
}
