//! The requests to stop: SIGTERM, SIGINT and SIGHUP as bytes on a stream that the loop can poll like any
//! other.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mio::{Interest, Registry};
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::{pipe, signal_name, unregister};

use super::shutdown::StopRequest;
use super::token::Source;
use crate::procfs;

/// The exit status after a second signal: that of a program ended by SIGINT.
pub const EXIT_STATUS_INTERRUPTED: u8 = 130;

/// Signals that ask a node to stop wait from now on, until [`StopRequests::by_signals`] can take them: while
/// some of their handlers are there and others are not, they would be lost. To be called by the main thread
/// before there are others, which inherit this: any thread that lets a signal in may get it.
///
/// # Errors
/// Those of the operating system.
pub fn hold_stop_signals() -> io::Result<()> {
    Ok(stop_signals().thread_block()?)
}

/// Whoever has started this process may have held them too, and forgotten it.
fn release_stop_signals() -> io::Result<()> {
    Ok(stop_signals().thread_unblock()?)
}

fn stop_signals() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect()
}

/// Whether this process was started with SIGHUP ignored, as nohup(1) does.
fn ignores_hangups() -> bool {
    ignores(&procfs::text("/proc/self/status").unwrap_or_default(), SIGHUP)
}

/// Requests to stop.
#[derive(Debug)]
pub struct StopRequests {
    /// Each byte that can be read here is a request; the second one asks to stop at once.
    stops: UnixStream,
    /// Each byte that can be read here is a SIGHUP. It never counts as a second request: closing a terminal
    /// sends several, from the kernel and from the shell, or a SIGTERM as well, from logind.
    hangups: Option<UnixStream>,
    /// A pipe to somebody who waits for this process: the end of its reader is a request, and as a hangup it
    /// never counts as a second one.
    awaited_at: Option<OwnedFd>,
    latest: LatestSignal,
    second_signal: SecondSignal,
}

/// The signal of the latest request, SIGHUP excepted.
#[derive(Clone, Debug, Default)]
struct LatestSignal(Arc<AtomicUsize>);

/// What a second signal does.
#[derive(Debug, Default)]
pub(super) struct SecondSignal {
    /// The next signal ends the process at once.
    ends: Arc<AtomicBool>,
    /// The handlers that set `ends` on a first signal.
    arming: Vec<SigId>,
}

impl StopRequests {
    /// From now on, every SIGTERM and SIGINT is a request, and so is every SIGHUP unless it is ignored
    /// (nohup(1)). As long as no server handles the requests, a second SIGTERM or SIGINT ends the process at
    /// once: nothing else would, if the first came while a disk or a name server did not answer.
    ///
    /// To be called by the main thread, which then lets in what [`hold_stop_signals`] has held.
    ///
    /// # Errors
    /// Those of the operating system: out of descriptors, or a handler refused.
    pub fn by_signals() -> io::Result<StopRequests> {
        let (stops, write_end) = UnixStream::pair()?;
        let mut requests = StopRequests::on(stops)?;
        for signal in [SIGTERM, SIGINT] {
            // The handlers run in this order, so the first signal does not end the process, and the second
            // does.
            let SecondSignal { ends, arming } = &mut requests.second_signal;
            flag::register_conditional_shutdown(signal, EXIT_STATUS_INTERRUPTED.into(), Arc::clone(ends))?;
            arming.push(flag::register(signal, Arc::clone(ends))?);
            // Registered before the pipe: when the byte is read, the number must be there.
            let number = usize::try_from(signal).expect("signals are numbered from 1");
            flag::register_usize(signal, Arc::clone(&requests.latest.0), number)?;
            pipe::register(signal, write_end.try_clone()?)?;
        }
        if !ignores_hangups() {
            let (hangups, write_end) = UnixStream::pair()?;
            hangups.set_nonblocking(true)?;
            pipe::register(SIGHUP, write_end)?;
            requests.hangups = Some(hangups);
        }
        release_stop_signals()?;
        Ok(requests)
    }

    /// Every byte written to the other end of `stream` is a request, and no signal is.
    ///
    /// # Errors
    /// The stream cannot be made non-blocking.
    pub fn on(stream: UnixStream) -> io::Result<StopRequests> {
        stream.set_nonblocking(true)?;
        let (latest, second_signal) = (LatestSignal::default(), SecondSignal::default());
        Ok(StopRequests { stops: stream, hangups: None, awaited_at: None, latest, second_signal })
    }

    /// Until a server handles the requests, it is one of them that nobody reads this pipe any more.
    #[must_use]
    pub fn or_by_end_of_reader(self, pipe: OwnedFd) -> StopRequests {
        StopRequests { awaited_at: Some(pipe), ..self }
    }

    /// Takes all requests that have come since the last call. Returns whether there were any.
    #[must_use]
    pub fn take_all(&self) -> bool {
        let signals = drain(&self.stops) + self.hangups.as_ref().map_or(0, drain);
        signals > 0 || self.awaited_at.as_ref().is_some_and(has_lost_its_reader)
    }

    /// Registers the requests with the loop that polls this registry.
    pub(super) fn register(self, registry: &Registry) -> io::Result<(PolledStopRequests, SecondSignal)> {
        // A node that serves is on its own: whoever has waited for it goes on too.
        let StopRequests { stops, hangups, awaited_at: _, latest, second_signal } = self;
        let polled = |stream| {
            let mut stream = mio::net::UnixStream::from_std(stream);
            registry.register(&mut stream, Source::Stop.token(), Interest::READABLE)?;
            io::Result::Ok(stream)
        };
        let (stops, hangups) = (polled(stops)?, hangups.map(polled).transpose()?);
        Ok((PolledStopRequests { stops, hangups, latest, stops_seen: 0 }, second_signal))
    }
}

/// Requests to stop, as the loop receives them.
#[derive(Debug)]
pub(super) struct PolledStopRequests {
    stops: mio::net::UnixStream,
    hangups: Option<mio::net::UnixStream>,
    latest: LatestSignal,
    /// How many of `stops` have been read.
    stops_seen: usize,
}

impl PolledStopRequests {
    /// The requests since the last call, each with the signal that made it, if a signal did.
    pub(super) fn poll(&mut self) -> Vec<(StopRequest, Option<&'static str>)> {
        let hangups = self.hangups.as_mut().map_or(0, drain);
        let mut requests = vec![(StopRequest::InOrder, signal_name(SIGHUP)); hangups];
        for _ in 0..drain(&mut self.stops) {
            let request = if self.stops_seen == 0 { StopRequest::InOrder } else { StopRequest::AtOnce };
            self.stops_seen += 1;
            requests.push((request, self.latest.name()));
        }
        requests
    }
}

impl LatestSignal {
    /// The signal's name; `None` if no request was a signal.
    fn name(&self) -> Option<&'static str> {
        let number = self.0.load(Ordering::SeqCst);
        i32::try_from(number).ok().and_then(signal_name)
    }
}

impl SecondSignal {
    /// The loop now receives every signal: none ends the process.
    pub(super) fn disarm(&mut self) {
        for id in self.arming.drain(..) {
            unregister(id);
        }
        self.ends.store(false, Ordering::Relaxed);
    }

    /// The loop has ended: a second signal now ends the process. If the node ends because of SIGHUP or
    /// because it was removed, even the first may be yet to come.
    pub(super) fn arm(&self, requests: &PolledStopRequests) {
        let first_ends = requests.stops_seen > 0
            || [SIGTERM, SIGINT]
                .iter()
                .any(|signal| flag::register(*signal, Arc::clone(&self.ends)).is_err());
        if first_ends {
            self.ends.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether nobody reads this pipe any more: every process that had its other end has closed it, or ended.
#[must_use]
pub fn has_lost_its_reader(pipe: impl AsFd) -> bool {
    let mut polled = [PollFd::new(&pipe, PollFlags::empty())];
    // If the system cannot tell now, it can the next time.
    let told = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok();
    told && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether the process with this status (proc(5)) was started with a signal ignored.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// Takes the requests to stop that have come since the last call. Returns how many there were.
fn drain(mut stream: impl Read) -> usize {
    let mut requests = 0;
    let mut buffer = [0; 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return requests,
            Ok(n) => requests += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Nothing more has come; or the stream is broken, and nothing ever will.
            Err(_) => return requests,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn each_byte_is_one_request_and_is_counted_once() {
        let (read_end, mut write_end) = UnixStream::pair().unwrap();
        read_end.set_nonblocking(true).unwrap();
        assert_eq!(drain(&read_end), 0);
        write_end.write_all(b"xx").unwrap();
        assert_eq!(drain(&read_end), 2);
        assert_eq!(drain(&read_end), 0);
        drop(write_end);
        assert_eq!(drain(&read_end), 0);
    }

    #[test]
    fn a_second_request_is_to_stop_at_once_and_hangups_count_for_neither() {
        let (stops, mut stop) = UnixStream::pair().unwrap();
        let (hangups, mut hang_up) = UnixStream::pair().unwrap();
        hangups.set_nonblocking(true).unwrap();
        let requests = StopRequests { hangups: Some(hangups), ..StopRequests::on(stops).unwrap() };
        let poll = mio::Poll::new().unwrap();
        let (mut polled, _second_signal) = requests.register(poll.registry()).unwrap();
        assert_eq!(polled.poll(), []);
        let hangup = (StopRequest::InOrder, Some("SIGHUP"));
        hang_up.write_all(b"xx").unwrap();
        assert_eq!(polled.poll(), [hangup, hangup]);
        stop.write_all(b"x").unwrap();
        assert_eq!(polled.poll(), [(StopRequest::InOrder, None)]);
        hang_up.write_all(b"x").unwrap();
        assert_eq!(polled.poll(), [hangup]);
        stop.write_all(b"x").unwrap();
        assert_eq!(polled.poll(), [(StopRequest::AtOnce, None)]);
    }

    #[test]
    fn a_request_of_either_kind_has_come_once() {
        let (stops, mut stop) = UnixStream::pair().unwrap();
        let (hangups, mut hang_up) = UnixStream::pair().unwrap();
        hangups.set_nonblocking(true).unwrap();
        let requests = StopRequests { hangups: Some(hangups), ..StopRequests::on(stops).unwrap() };
        assert!(!requests.take_all());
        for write_end in [&mut stop, &mut hang_up] {
            write_end.write_all(b"x").unwrap();
            assert!(requests.take_all());
            assert!(!requests.take_all());
        }
    }

    #[test]
    fn the_end_of_whoever_reads_a_pipe_is_a_request() {
        let (stops, _stop) = UnixStream::pair().unwrap();
        let (reader, pipe) = io::pipe().unwrap();
        let requests = StopRequests::on(stops).unwrap().or_by_end_of_reader(pipe.into());
        assert!(!requests.take_all());
        let reader_too = reader.try_clone().unwrap();
        drop(reader);
        assert!(!requests.take_all());
        drop(reader_too);
        assert!(requests.take_all());
    }

    #[test]
    fn an_ignored_signal_is_known_by_its_bit() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\tffffffffffffffff\n";
        assert!(ignores(status, SIGHUP));
        assert!(!ignores(status, SIGINT));
        assert!(!ignores("", SIGHUP));
    }
}
