//! The log: which lines there are, how they look, and how they come to standard error.
//!
//! Floor 5. A node hands its lines to a thread of its own, because nothing that the loop does may wait for
//! whoever takes them. A command that serves nobody writes them itself: whoever gave it reads them at
//! leisure, as with `ticketd verify 2>&1 | less`, and none may be left out. It must never know what a line is
//! about.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use env_logger::{Builder, Env, Logger, Target};
use log::{Level, Log, Metadata, Record};

use crate::log_writer::LogWriter;

/// What is logged unless `RUST_LOG` says otherwise: of ourselves what an operator should know, of others'
/// crates only trouble.
const FILTER: &str = "warn,ticketd=info,raft_core=info";
/// The same with `--debug`.
const FILTER_DEBUG: &str = "warn,ticketd=debug,raft_core=debug";

/// How long the end of the process, or of a thread that panics, waits for lines to be taken.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);

/// How many lines of this process were left out. There once the log of a node is started.
static LEFT_OUT: OnceLock<Arc<AtomicU64>> = OnceLock::new();

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// What an operator should know.
    Usual,
    /// What helps to find a mistake.
    Debug,
}

/// Who waits for standard error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Whoever logs.
    OfTheReader,
    /// A thread of its own, and nobody else but for a moment at the end.
    OfTheNode,
}

/// The log of this process.
#[derive(Debug)]
pub struct Logging {
    /// `None` where whoever logs writes.
    writer: Option<LogWriter>,
}

impl Logging {
    /// From now on all that is logged goes to standard error. To be called once.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(detail: Detail, pace: Pace) -> io::Result<Logging> {
        let filter = match detail {
            Detail::Usual => FILTER,
            Detail::Debug => FILTER_DEBUG,
        };
        let mut builder = with_our_lines(Builder::from_env(Env::default().default_filter_or(filter)));
        match pace {
            Pace::OfTheReader => {
                builder.target(Target::Stderr).init();
                Ok(Logging { writer: None })
            }
            Pace::OfTheNode => {
                let writer = LogWriter::spawn(io::stderr(), gap)?;
                let lines = builder.target(Target::Pipe(Box::new(writer.clone()))).build();
                LEFT_OUT.get_or_init(|| writer.left_out());
                queue_panics(writer.clone());
                log::set_max_level(lines.filter());
                log::set_boxed_logger(Box::new(NodeLog { lines, writer: writer.clone() }))
                    .expect("the log is started once");
                Ok(Logging { writer: Some(writer) })
            }
        }
    }

    /// Says why the process ends, after all that was logged.
    pub fn complain(&self, line: &str) {
        match &self.writer {
            Some(writer) => writer.write_last_words(complaint(line).as_bytes()),
            None => complain(line),
        }
    }

    /// Waits a moment for what is not written yet: the process is about to end, and is not to be kept from
    /// that.
    pub fn end(self) {
        log::logger().flush();
    }
}

/// How many lines of this process's log were left out so far, in a number that goes on counting. Only a node
/// leaves any out.
#[must_use]
pub fn lines_left_out() -> Arc<AtomicU64> {
    LEFT_OUT.get().cloned().unwrap_or_default()
}

/// Says why the process ends, where it has no log. The exit status tells as well, and must not become another
/// where standard error takes nothing: on a full disk, or where its reader has gone.
pub fn complain(line: &str) {
    let _ = io::stderr().write_all(complaint(line).as_bytes());
}

fn complaint(line: &str) -> String {
    format!("ticketd: {line}\n")
}

/// Each record is one line: when, how grave, what.
fn with_our_lines(mut builder: Builder) -> Builder {
    builder.format(|out, record| {
        writeln!(out, "{} {:5} {}", out.timestamp_millis(), record.level(), record.args())
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

    /// Waits for a moment at most.
    fn flush(&self) {
        self.writer.drain(DRAIN_TIME_MAX);
    }
}

/// What a panic says would otherwise overtake what was logged before it, which the end of the process would
/// then cut off; and where nothing is taken, it would wait for ever.
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

/// The line that stands where so many were left out. It looks like the others, and no filter leaves it out.
fn gap(lines: u64) -> Vec<u8> {
    let line = Buffer::default();
    let logger = with_our_lines(Builder::new())
        .filter_level(Level::Warn.to_level_filter())
        .target(Target::Pipe(Box::new(line.clone())))
        .build();
    let said = format_args!("lines left out here, because standard error did not take them: {lines}");
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
    fn a_gap_is_told_of_in_a_line_like_the_others() {
        let line = String::from_utf8(gap(12)).unwrap();
        let (time, said) = line.split_once(' ').unwrap();
        assert_eq!(said, "WARN  lines left out here, because standard error did not take them: 12\n");
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    }
}
