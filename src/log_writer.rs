//! A bounded queue of log lines, and the thread that writes them.
//!
//! The destination may accept no lines for any length of time: a pipe whose reader is stuck, a terminal
//! stopped with Ctrl-S, a file on a disk that hangs. Then this thread waits, and no other does. A line for
//! which there is no room is left out, and one line in its place says how many were. This module must never
//! know what logs a line, what a line means, or where it goes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// How many bytes of lines may wait: some ten thousand lines, far more than a node logs in a day unless
/// detailed logging is on.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// How many bytes may wait for another line to be accepted after a gap. Otherwise a reader that is slightly
/// too slow would be told of a gap between any two lines.
const WAITING_BYTES_MAX_AFTER_GAP: usize = WAITING_BYTES_MAX / 2;

/// Takes lines without ever waiting for the destination. Each call of [`Write::write`] is one line, and
/// succeeds; [`Write::flush`] does nothing. The thread stays until the process ends.
#[derive(Clone, Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
}

/// The result of draining the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drained {
    /// Every line was written or refused.
    Entirely,
    /// Some lines still wait.
    NotInTime,
}

impl LogWriter {
    /// Starts the thread, which writes each line to `out` in one call; `gap` makes the line that says how
    /// many lines were left out. A line that `out` refuses counts as left out too.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn spawn(
        out: impl Write + Send + 'static,
        gap: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<LogWriter> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        Builder::new().name("log".to_owned()).spawn(move || run(&of_thread, out, &gap))?;
        Ok(LogWriter { shared })
    }

    /// A live counter of the lines left out so far.
    #[must_use]
    pub fn left_out(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.left_out)
    }

    /// Takes a line that must not be left out, because few or no lines follow it: the reason why the process
    /// ends.
    pub fn write_last_words(&self, line: &[u8]) {
        self.shared.lock().take_in(line);
        self.shared.filled.notify_one();
    }

    /// Waits until all lines are written, but no longer than this.
    pub fn drain(&self, at_most: Duration) -> Drained {
        let waited = self.shared.emptied.wait_timeout_while(self.shared.lock(), at_most, |queue| {
            queue.under_way == UnderWay::Something || !queue.waiting.is_empty()
        });
        let (_queue, wait) = waited.unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() { Drained::NotInTime } else { Drained::Entirely }
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.shared.lock().push(line) == Room::No {
            self.shared.count_left_out();
        }
        self.shared.filled.notify_one();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something waits.
    filled: Condvar,
    /// Nothing waits and nothing is being written.
    emptied: Condvar,
    left_out: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// The bytes of the waiting lines.
    bytes: usize,
    under_way: UnderWay,
}

#[derive(PartialEq, Eq, Debug)]
enum Waiting {
    Line(Box<[u8]>),
    /// Stands for this many lines that were left out.
    Gap(u64),
}

/// Whether the thread has taken something and not finished it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum UnderWay {
    #[default]
    Nothing,
    Something,
}

/// Whether a line was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    Yes,
    /// It is left out.
    No,
}

impl Queue {
    fn push(&mut self, line: &[u8]) -> Room {
        let after_gap = matches!(self.waiting.back(), Some(Waiting::Gap(_)));
        let bytes_max = if after_gap { WAITING_BYTES_MAX_AFTER_GAP } else { WAITING_BYTES_MAX };
        if self.bytes + line.len() <= bytes_max {
            self.take_in(line);
            return Room::Yes;
        }
        if let Some(Waiting::Gap(lines)) = self.waiting.back_mut() {
            *lines += 1;
        } else {
            self.waiting.push_back(Waiting::Gap(1));
        }
        Room::No
    }

    /// Accepts a line even if there is no room.
    fn take_in(&mut self, line: &[u8]) {
        self.bytes += line.len();
        self.waiting.push_back(Waiting::Line(line.into()));
    }

    fn pop(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        if let Waiting::Line(line) = &next {
            self.bytes -= line.len();
        }
        Some(next)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock was held leaves the queue whole: no operation leaves it half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_left_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Called when the thread has finished what it took last; waits for more.
    fn next(&self) -> Waiting {
        let mut queue = self.lock();
        loop {
            queue.under_way = UnderWay::Nothing;
            if let Some(next) = queue.pop() {
                queue.under_way = UnderWay::Something;
                return next;
            }
            self.emptied.notify_all();
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Where lines go, and whether what was written last is the beginning of a line: a disk that becomes full
/// takes a part of one.
struct Destination<W> {
    out: W,
    is_torn: bool,
}

impl<W: Write> Destination<W> {
    /// Writes a line, which begins a line in any case.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.out.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let written = match self.out.write(rest) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                written => written,
            };
            match written {
                Ok(bytes) => rest = &rest[bytes..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_torn = rest.len() < line.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

fn run(shared: &Shared, out: impl Write, gap: &dyn Fn(u64) -> Vec<u8>) {
    let mut destination = Destination { out, is_torn: false };
    // How many lines were left out since one was last written.
    let mut missing = 0;
    loop {
        let line = match shared.next() {
            Waiting::Gap(lines) => {
                missing += lines;
                None
            }
            Waiting::Line(line) => Some(line),
        };
        if missing > 0 && destination.write(&gap(missing)).is_ok() {
            missing = 0;
        }
        if let Some(line) = line {
            // No line may follow a gap that could not be reported. Otherwise a failed write is ignored,
            // whether the reader is gone or the disk is full: there is no other place to report it.
            if missing > 0 || destination.write(&line).is_err() {
                missing += 1;
                shared.count_left_out();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Only a failing test takes this long.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Takes one line for each permit and reports it; without a permit, it blocks.
    struct Gated {
        permits: Receiver<()>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Gated {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.taken.send(line.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (LogWriter, Sender<()>, Receiver<Vec<u8>>) {
        let (permit, permits) = channel();
        let (taken, lines) = channel();
        (LogWriter::spawn(Gated { permits, taken }, gap).unwrap(), permit, lines)
    }

    /// Takes everything, except while it is full; and of a line that begins with `-`, half.
    struct Disk {
        full: Arc<AtomicBool>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Disk {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            if line.starts_with(b"-") {
                self.full.store(true, Ordering::SeqCst);
                let half = line.len() / 2;
                self.taken.send(line[..half].to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
                return Ok(half);
            }
            if self.full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.taken.send(line.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn to_disk() -> (LogWriter, Arc<AtomicBool>, Receiver<Vec<u8>>) {
        let full = Arc::new(AtomicBool::new(false));
        let (taken, lines) = channel();
        (LogWriter::spawn(Disk { full: Arc::clone(&full), taken }, gap).unwrap(), full, lines)
    }

    fn gap(lines: u64) -> Vec<u8> {
        format!("{lines} left out").into_bytes()
    }

    fn left_out(writer: &LogWriter) -> usize {
        usize::try_from(writer.left_out().load(Ordering::SeqCst)).unwrap()
    }

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).unwrap()
    }

    /// The waiting lines as they would be written, each kilobyte shortened to how it begins.
    fn waiting(queue: &mut Queue) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(next) = queue.pop() {
            all.push(match next {
                Waiting::Line(line) => text(line.to_vec()).trim().to_owned(),
                Waiting::Gap(lines) => text(gap(lines)),
            });
        }
        all
    }

    fn kilobyte(number: usize) -> Vec<u8> {
        format!("{number:<1024}").into_bytes()
    }

    const KILOBYTES_MAX: usize = WAITING_BYTES_MAX / 1024;

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (mut writer, permit, lines) = gated();
        for number in 0..100 {
            permit.send(()).unwrap();
            writer.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(writer.drain(PATIENCE), Drained::Entirely);
        let expected: Vec<_> = (0..100).map(|number| format!("line {number}\n")).collect();
        assert_eq!(lines.try_iter().map(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn where_nothing_is_taken_neither_whoever_speaks_nor_whoever_ends_waits_for_it() {
        let (mut writer, permit, lines) = gated();
        for number in 0..2 * KILOBYTES_MAX {
            writer.write_all(&kilobyte(number)).unwrap();
        }
        assert_eq!(writer.drain(Duration::from_millis(1)), Drained::NotInTime);
        assert_eq!(lines.try_iter().count(), 0);
        drop(permit);
    }

    #[test]
    fn a_line_under_way_is_waited_for_as_well() {
        let (mut writer, permit, lines) = gated();
        writer.write_all(b"line").unwrap();
        assert_eq!(writer.drain(Duration::from_millis(1)), Drained::NotInTime);
        permit.send(()).unwrap();
        assert_eq!(writer.drain(PATIENCE), Drained::Entirely);
        assert_eq!(lines.try_iter().map(text).collect::<Vec<_>>(), ["line"]);
    }

    #[test]
    fn every_line_comes_out_or_is_counted_where_it_is_missing() {
        let (mut writer, permit, lines) = gated();
        let pushed = 3 * KILOBYTES_MAX;
        for number in 0..pushed {
            writer.write_all(&kilobyte(number)).unwrap();
        }
        (0..=pushed).for_each(|_| permit.send(()).unwrap());
        assert_eq!(writer.drain(PATIENCE), Drained::Entirely);
        writer.write_all(&kilobyte(pushed)).unwrap();
        assert_eq!(writer.drain(PATIENCE), Drained::Entirely);
        let (mut next, mut gaps, mut told) = (0, 0, 0);
        for line in lines.try_iter().map(text) {
            if let Some(missing) = line.strip_suffix(" left out") {
                let missing: usize = missing.parse().unwrap();
                (next, told) = (next + missing, told + missing);
                gaps += 1;
            } else {
                assert_eq!(line.trim(), next.to_string());
                next += 1;
            }
        }
        assert_eq!((next, gaps), (pushed + 1, 1));
        assert_eq!(left_out(&writer), told);
    }

    #[test]
    fn what_a_full_disk_refuses_is_counted_once_it_has_room_again() {
        let (mut writer, full, lines) = to_disk();
        full.store(true, Ordering::SeqCst);
        for line in ["a", "b", "c"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(writer.drain(PATIENCE), Drained::Entirely);
        full.store(false, Ordering::SeqCst);
        for line in ["d", "e"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(writer.drain(PATIENCE), Drained::Entirely);
        assert_eq!(lines.try_iter().map(text).collect::<Vec<_>>(), ["3 left out", "d", "e"]);
        assert_eq!(left_out(&writer), 3);
    }

    #[test]
    fn what_follows_a_part_of_a_line_begins_a_line() {
        let (mut writer, full, lines) = to_disk();
        for line in ["a\n", "-torn\n", "b\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(writer.drain(PATIENCE), Drained::Entirely);
        full.store(false, Ordering::SeqCst);
        writer.write_all(b"c\n").unwrap();
        assert_eq!(writer.drain(PATIENCE), Drained::Entirely);
        assert_eq!(lines.try_iter().map(text).collect::<String>(), "a\n-to\n2 left outc\n");
    }

    #[test]
    fn a_full_queue_leaves_out_what_comes_and_keeps_what_it_has() {
        let mut queue = Queue::default();
        for number in 0..KILOBYTES_MAX + 5 {
            let room = if number < KILOBYTES_MAX { Room::Yes } else { Room::No };
            assert_eq!(queue.push(&kilobyte(number)), room);
        }
        let mut expected: Vec<_> = (0..KILOBYTES_MAX).map(|number| number.to_string()).collect();
        expected.push("5 left out".to_owned());
        assert_eq!(waiting(&mut queue), expected);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn after_a_gap_lines_are_taken_once_half_of_the_room_is_free() {
        let mut queue = Queue::default();
        for number in 0..=KILOBYTES_MAX {
            queue.push(&kilobyte(number));
        }
        while queue.bytes > WAITING_BYTES_MAX_AFTER_GAP {
            queue.push(b"too early");
            queue.pop();
        }
        queue.push(b"too early");
        queue.pop();
        queue.push(b"in time");
        let left_out = 1 + KILOBYTES_MAX / 2 + 1;
        assert_eq!(
            waiting(&mut queue).split_off(KILOBYTES_MAX / 2 - 1),
            [format!("{left_out} left out"), "in time".to_owned()]
        );
    }

    #[test]
    fn a_line_longer_than_all_the_room_is_left_out_and_the_next_one_is_not() {
        let mut queue = Queue::default();
        queue.push(&vec![b'a'; WAITING_BYTES_MAX + 1]);
        queue.push(b"short");
        assert_eq!(waiting(&mut queue), ["1 left out", "short"]);
    }

    #[test]
    fn last_words_are_taken_even_where_there_is_no_room() {
        let (mut writer, permit, lines) = gated();
        for number in 0..2 * KILOBYTES_MAX {
            writer.write_all(&kilobyte(number)).unwrap();
        }
        writer.write_last_words(b"ticketd: why");
        (0..2 * KILOBYTES_MAX).for_each(|_| permit.send(()).unwrap());
        assert_eq!(writer.drain(PATIENCE), Drained::Entirely);
        let said: Vec<_> = lines.try_iter().map(text).collect();
        assert!(said[said.len() - 2].ends_with(" left out"), "{}", said[said.len() - 2]);
        assert_eq!(said[said.len() - 1], "ticketd: why");
    }
}
