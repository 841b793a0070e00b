//! The log: which lines there are, what they look like, and how they get to standard error.
//!
//! Floor 5. A node hands its lines to a thread of its own, because nothing in the event loop may wait for the
//! reader of standard error. A command that serves no clients writes its lines itself: its reader may be
//! slow, as in `ticketd verify 2>&1 | less`, and no line may be left out. This module must never know what a
//! line is about.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env::{self, VarError};
use std::fmt;
use std::io::{self, Write};
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use env_logger::{Builder, Logger, Target};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::log_writer::{Drained, LogWriter};

/// What is logged unless `RUST_LOG` says otherwise: from ticketd what an operator should know, from other
/// crates only trouble. raft-core logs nothing: what it has to say is an output.
const FILTER: &str = "warn,ticketd=info";
/// The same with `--debug`.
const FILTER_DEBUG: &str = "warn,ticketd=debug";

/// How long the end of the process, or a panicking thread, waits for lines to be written.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);

/// Where the lines of this process go. Set once the log of a node is started.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// What an operator should know.
    Usual,
    /// What helps to find a bug.
    Debug,
}

/// What waits when standard error takes no lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogMode {
    /// The caller that logs.
    Synchronous,
    /// A thread of its own; callers wait only briefly, at the end.
    Asynchronous,
}

/// The log of this process.
#[derive(Debug)]
pub struct Logging {
    /// `None` if callers write their lines themselves.
    writer: Option<LogWriter>,
}

impl Logging {
    /// Sends everything that is logged from now on to standard error. To be called once.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(detail: Detail, mode: LogMode) -> io::Result<Logging> {
        let (filter, problem) = match (detail, from_environment(env::var("RUST_LOG"))) {
            // A flag comes before the environment.
            (Detail::Debug, _) => (FILTER_DEBUG.to_owned(), None),
            (Detail::Usual, Ok(given)) => (given.unwrap_or_else(|| FILTER.to_owned()), None),
            (Detail::Usual, Err(problem)) => (FILTER.to_owned(), Some(problem)),
        };
        let mut builder = with_our_lines(Builder::new());
        builder.parse_filters(&filter);
        let logging = Logging::with(builder, mode)?;
        if let Some(problem) = problem {
            log::warn!("the filter in RUST_LOG is ignored, {problem}: write one like '{FILTER_DEBUG}'");
        }
        Ok(logging)
    }

    fn with(mut builder: Builder, mode: LogMode) -> io::Result<Logging> {
        match mode {
            LogMode::Synchronous => {
                builder.target(Target::Stderr).init();
                Ok(Logging { writer: None })
            }
            LogMode::Asynchronous => {
                let writer = LogWriter::spawn(io::stderr(), gap)?;
                let lines = builder.target(Target::Pipe(Box::new(writer.clone()))).build();
                WRITER.get_or_init(|| writer.clone());
                queue_panics(writer.clone());
                log::set_max_level(lines.filter());
                log::set_boxed_logger(Box::new(NodeLog { lines, writer: writer.clone() }))
                    .expect("the log is started once");
                Ok(Logging { writer: Some(writer) })
            }
        }
    }

    /// Writes why the process ends, after everything that was logged.
    pub fn complain(&self, line: &str) {
        match &self.writer {
            Some(writer) => writer.write_last_words(complaint(line).as_bytes()),
            None => complain(line),
        }
    }

    /// Waits briefly for lines that are not written yet: the process is about to end, and must not be kept
    /// from that.
    pub fn end(self) {
        if let Some(writer) = self.writer {
            writer.drain(DRAIN_TIME_MAX);
        }
    }
}

/// The filter in this variable, if it is set; or what is wrong with it. env_logger would say that on standard
/// error at once, and panic if it cannot.
fn from_environment(variable: Result<String, VarError>) -> Result<Option<String>, String> {
    match variable {
        // A variable that is set to nothing, as in a unit file, is one that nobody has set.
        Ok(filter) if filter.trim().is_empty() => Ok(None),
        Ok(filter) => match env_filter::Builder::new().try_parse(&filter) {
            Ok(_) if !is_about_us(&filter) => {
                Err("which names neither a level nor a part of ticketd".to_owned())
            }
            Ok(_) => Ok(Some(filter)),
            Err(error) => {
                let error = error.to_string();
                Err(error.strip_prefix("error parsing logger filter: ").unwrap_or(&error).to_owned())
            }
        },
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err("which is not text".to_owned()),
    }
}

/// Whether a filter holds a level for everything, or anything about this program. A level that is misspelt is
/// a part of some program to env_logger, which would show nothing at all, not even errors.
fn is_about_us(filter: &str) -> bool {
    let directives = filter.split('/').next().unwrap_or_default().split(',');
    let mut names = directives.filter_map(|directive| directive.split('=').next()).map(str::trim);
    names.any(|name| name.parse::<LevelFilter>().is_ok() || name.split("::").next() == Some("ticketd"))
}

/// A live counter of the log lines that this process has left out so far. Only a node leaves any out.
#[must_use]
pub fn lines_left_out() -> Arc<AtomicU64> {
    WRITER.get().map(LogWriter::left_out).unwrap_or_default()
}

/// Writes what must be known before the process goes on, whatever is logged.
///
/// # Errors
/// If standard error does not take it, or not in time.
pub fn tell(line: &str) -> io::Result<()> {
    let Some(writer) = WRITER.get() else { return io::stderr().write_all(complaint(line).as_bytes()) };
    let left_out = writer.left_out();
    let before = left_out.load(Ordering::Relaxed);
    writer.write_last_words(complaint(line).as_bytes());
    match writer.drain(DRAIN_TIME_MAX) {
        Drained::Entirely if left_out.load(Ordering::Relaxed) == before => Ok(()),
        Drained::Entirely => Err(io::ErrorKind::WriteZero.into()),
        Drained::NotInTime => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Writes why the process ends when it has no log. The exit status tells as well, and must not change when
/// standard error cannot be written: on a full disk, or when its reader is gone.
pub fn complain(line: &str) {
    let _ = io::stderr().write_all(complaint(line).as_bytes());
}

fn complaint(line: &str) -> String {
    format!("ticketd: {}\n", one_line(line))
}

/// The same text without what would make more of it than one line: who reads the log, a script or a person,
/// must not take what is in a path, or in what another machine said, for a line of this program.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Each record is one line: time, level, message.
fn with_our_lines(mut builder: Builder) -> Builder {
    builder.format(|out, record| {
        let said = one_line(&record.args().to_string());
        writeln!(out, "{} {:5} {said}", out.timestamp_millis(), record.level())
    });
    builder
}

/// The log of a node.
struct NodeLog {
    /// Writes to `writer`.
    lines: Logger,
    writer: LogWriter,
}

impl Log for NodeLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.lines.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.lines.log(record);
    }

    /// Waits only briefly.
    fn flush(&self) {
        self.writer.drain(DRAIN_TIME_MAX);
    }
}

/// Otherwise the message of a panic would overtake the lines logged before it, which the end of the process
/// would then cut off; and if standard error takes nothing, it would wait for ever.
fn queue_panics(writer: LogWriter) {
    panic::set_hook(Box::new(move |panic| {
        let current = thread::current();
        let mut said = format!("thread '{}' {panic}\n", current.name().unwrap_or("unnamed"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            said.push_str(&format!("{backtrace}\n"));
        }
        writer.write_last_words(said.as_bytes());
        writer.drain(DRAIN_TIME_MAX);
    }));
}

/// The line that stands in place of lines that were left out. It looks like the others, and no filter
/// suppresses it.
fn gap(lines: u64) -> Vec<u8> {
    warning(format_args!("lines left out here, because standard error did not take them: {lines}"))
}

/// A line of the log, as [`with_our_lines`] shapes it.
fn warning(said: fmt::Arguments<'_>) -> Vec<u8> {
    let line = Buffer::default();
    let logger = with_our_lines(Builder::new())
        .filter_level(Level::Warn.to_level_filter())
        .target(Target::Pipe(Box::new(line.clone())))
        .build();
    logger.log(&Record::builder().level(Level::Warn).args(said).build());
    line.0.lock().unwrap_or_else(PoisonError::into_inner).split_off(0)
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_message_holds_it_is_one_line() {
        assert_eq!(one_line("a\nb\rc\u{1b}[0m"), "a b c [0m");
        assert_eq!(complaint("a\nb"), "ticketd: a b\n");
        let line = String::from_utf8(warning(format_args!("no store at {}", "a\n2 ERROR b"))).unwrap();
        assert!(line.ends_with(" WARN  no store at a 2 ERROR b\n"), "{line:?}");
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_a_problem_and_a_missing_one_is_none() {
        for filter in ["off", "WARN", FILTER, FILTER_DEBUG, "debug/raft", "trace,mio=off", "ticketd::server"]
        {
            assert_eq!(from_environment(Ok(filter.to_owned())), Ok(Some(filter.to_owned())));
        }
        assert_eq!(from_environment(Err(VarError::NotPresent)), Ok(None));
        for nothing in ["", " "] {
            assert_eq!(from_environment(Ok(nothing.to_owned())), Ok(None));
        }
        for (filter, problem) in [
            ("a=b=c", "invalid logging spec 'a=b=c'"),
            ("a=b", "invalid logging spec 'b'"),
            ("warning", "which names neither a level nor a part of ticketd"),
            ("mio=debug", "which names neither a level nor a part of ticketd"),
        ] {
            assert_eq!(from_environment(Ok(filter.to_owned())), Err(problem.to_owned()));
        }
        assert!(from_environment(Err(VarError::NotUnicode("a".into()))).is_err());
    }

    #[test]
    fn a_gap_is_told_of_in_a_line_like_the_others() {
        let line = String::from_utf8(gap(12)).unwrap();
        let (time, said) = line.split_once(' ').unwrap();
        assert_eq!(said, "WARN  lines left out here, because standard error did not take them: 12\n");
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    }
}
