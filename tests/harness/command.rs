//! Commands that end by themselves.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::wait;

/// A library to load into every process of the program before its own libraries, if a test wants that.
static PRELOADED: OnceLock<PathBuf> = OnceLock::new();

/// Loads a library into every process of the program from now on.
///
/// # Panics
/// If there is one already.
pub fn preload(library: PathBuf) {
    PRELOADED.set(library).expect("one library at most");
}

/// The program, without anything from this process's environment that it would look at. If the tests were
/// started by nohup(1), they ignore SIGHUP, and so would the program.
pub fn ticketd(args: &[&str]) -> Command {
    ticketd_by(&HANGS_UP, args)
}

/// For env(1): SIGHUP has its usual effect.
const HANGS_UP: [&str; 1] = ["--default-signal=HUP"];

/// The program, started by env(1) with these arguments.
pub fn ticketd_by(env: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(env);
    if let Some(library) = PRELOADED.get() {
        // Set by env(1), so that the library is not loaded into env(1) itself.
        command.arg(format!("LD_PRELOAD={}", library.display()));
    }
    command.arg(env!("CARGO_BIN_EXE_ticketd")).args(args);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// How a command ended, and its output.
#[derive(Debug)]
pub struct Ended {
    /// The command line, for messages.
    pub line: String,
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs the program to its end.
///
/// # Panics
/// If it does not end by itself; it is killed then.
#[track_caller]
pub fn run(args: &[&str]) -> Ended {
    Running::spawn(Path::new(env!("CARGO_TARGET_TMPDIR")), args).end()
}

/// Runs the program to its end in a working directory.
///
/// # Panics
/// As [`run`].
#[track_caller]
pub fn run_in(directory: &Path, args: &[&str]) -> Ended {
    Running::spawn(directory, args).end()
}

/// A command that has not ended yet. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts the program.
    pub fn spawn(directory: &Path, args: &[&str]) -> Running {
        Running::spawn_by(&HANGS_UP, directory, args)
    }

    /// Starts the program by env(1) with these arguments. Its output goes to files: a pipe would stay open as
    /// long as a process that it leaves in the background.
    pub fn spawn_by(env: &[&str], directory: &Path, args: &[&str]) -> Running {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = |name: &str| {
            let name = format!("{}-{}-{count}.{name}", env!("CARGO_CRATE_NAME"), process::id());
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
        };
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let create = |path: &Path| File::create(path).expect("the build directory can be written to");
        let child = ticketd_by(env, args)
            .current_dir(directory)
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .spawn()
            .expect("the program can be run");
        Running { line: format!("ticketd {}", args.join(" ")), child, stdout, stderr }
    }

    /// What it has written to standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).expect("the file is there until this is dropped"))
            .into_owned()
    }

    /// Sends SIGSTOP or SIGCONT, for example.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .expect("a child that was not waited for can be signalled");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let status = wait::until(&format!("the end of `{}`", self.line), || {
            self.child.try_wait().expect("a child of this process can be waited for")
        });
        let stdout = fs::read(&self.stdout).expect("the file is there until this is dropped");
        Ended {
            line: self.line.clone(),
            status,
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // These fail only if the process has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.stdout);
        let _ = fs::remove_file(&self.stderr);
    }
}

impl Ended {
    /// Asserts that the command succeeded; returns its standard output.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert!(self.status.success(), "{self:#?}");
        self.stdout
    }

    /// Asserts that the command failed with exit status 1 and one line that contains all these words; returns
    /// that line.
    #[track_caller]
    pub fn refused(self, words: &[&str]) -> String {
        self.refused_with(1, words)
    }

    /// As [`Ended::refused`], if starting again cannot help: exit status 3.
    #[track_caller]
    pub fn refused_for_good(self, words: &[&str]) -> String {
        self.refused_with(3, words)
    }

    /// As [`Ended::refused`], for a command line that makes no sense: exit status 2.
    #[track_caller]
    pub fn refused_as_usage(self, words: &[&str]) -> String {
        self.refused_with(2, words)
    }

    /// As [`Ended::refused`], if the cluster refused: the log of the attempt comes first.
    #[track_caller]
    pub fn refused_in_the_end(self, words: &[&str]) -> String {
        self.without_log().refused(words)
    }

    /// As [`Ended::refused_in_the_end`], if starting again cannot help: exit status 3.
    #[track_caller]
    pub fn refused_for_good_in_the_end(self, words: &[&str]) -> String {
        self.without_log().refused_for_good(words)
    }

    /// The same with only the last line, if those before it are log lines.
    #[track_caller]
    fn without_log(mut self) -> Ended {
        let last = self.stderr.lines().count().saturating_sub(1);
        let (log, said): (Vec<_>, Vec<_>) =
            self.stderr.lines().enumerate().partition(|(number, _)| *number < last);
        assert!(log.iter().all(|(_, line)| !line.starts_with("ticketd: ")), "{self:#?}");
        self.stderr = said.iter().map(|(_, line)| format!("{line}\n")).collect();
        self
    }

    #[track_caller]
    fn refused_with(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "not one line: {self:#?}");
        assert!(self.stderr.starts_with("ticketd: ") && self.stderr.ends_with('\n'), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "'{word}' is missing: {self:#?}");
        }
        self.stderr
    }
}
