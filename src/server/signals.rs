//! SIGTERM, SIGINT and SIGHUP, as bytes on a stream that the loop can poll like any other; and SIGXFSZ and
//! SIGCHLD, which are to do nothing.

use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::low_level::{pipe, signal_name, unregister};

/// The exit status after a second signal, that of a program which SIGINT has ended.
pub const EXIT_STATUS_INTERRUPTED: u8 = 130;

/// Lets this process wait for its children. Where it was started with SIGCHLD ignored, the system forgets a
/// child that ends, and says of it that there never was one (wait(2)).
///
/// # Errors
/// Where the system refuses a handler.
pub fn keep_ended_children() -> io::Result<()> {
    // A handler is all that is wanted, and no child inherits it.
    flag::register(SIGCHLD, Arc::default()).map(|_| ())
}

/// Requests to stop.
#[derive(Debug)]
pub struct StopRequests {
    /// Each byte that can be read here is one.
    pub stream: UnixStream,
    pub(super) latest: LatestSignal,
    pub(super) second_signal: SecondSignal,
}

/// Which signal the latest request was.
#[derive(Clone, Debug, Default)]
pub(super) struct LatestSignal(Arc<AtomicUsize>);

/// What a signal does that comes after another.
#[derive(Debug, Default)]
pub(super) struct SecondSignal {
    /// The next signal ends the process at once.
    ends: Arc<AtomicBool>,
    /// What sets that with a first one.
    arming: Vec<SigId>,
}

impl StopRequests {
    /// From now on, each SIGTERM, each SIGINT, and each SIGHUP where that is not ignored (nohup(1)), is a
    /// request. A second one ends the process at once, as long as no server hears them: nothing else would,
    /// where the first one came while a disk or a name server did not answer. A write beyond the limit on the
    /// size of files fails from now on like one to a full disk, and does not end the process.
    ///
    /// # Errors
    /// Those of the operating system: no descriptors left, or a handler refused.
    pub fn by_signals() -> io::Result<StopRequests> {
        let (stream, write_end) = UnixStream::pair()?;
        let mut requests = StopRequests::on(stream);
        // Its handler is all that is wanted: without one, the process would end and could not say why.
        flag::register(SIGXFSZ, Arc::default())?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            if signal == SIGHUP && ignores(&status, signal) {
                continue;
            }
            // They act in this order: so the first signal does not end the process, and the second does.
            let SecondSignal { ends, arming } = &mut requests.second_signal;
            flag::register_conditional_shutdown(signal, EXIT_STATUS_INTERRUPTED.into(), Arc::clone(ends))?;
            arming.push(flag::register(signal, Arc::clone(ends))?);
            // Whoever reads the byte is to find the number.
            let number = usize::try_from(signal).expect("signals are numbered from 1");
            flag::register_usize(signal, Arc::clone(&requests.latest.0), number)?;
            pipe::register(signal, write_end.try_clone()?)?;
        }
        Ok(requests)
    }

    /// Whatever is written to the other end of `stream` is a request, and no signal is.
    #[must_use]
    pub fn on(stream: UnixStream) -> StopRequests {
        StopRequests { stream, latest: LatestSignal::default(), second_signal: SecondSignal::default() }
    }
}

impl LatestSignal {
    /// Its name; `None` where no request was a signal.
    pub(super) fn name(&self) -> Option<&'static str> {
        let number = self.0.load(Ordering::SeqCst);
        i32::try_from(number).ok().and_then(signal_name)
    }
}

impl SecondSignal {
    /// The loop hears each of them from now on: none ends the process.
    pub(super) fn disarm(&mut self) {
        for id in self.arming.drain(..) {
            unregister(id);
        }
        self.ends.store(false, Ordering::Relaxed);
    }

    /// The loop has ended: the next signal ends what still goes on.
    pub(super) fn arm(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// Whether the process of this status (proc(5)) was started with a signal ignored.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// How many requests to stop have come since the last call.
pub(super) fn stop_requests(stream: &mut impl Read) -> usize {
    let mut requests = 0;
    let mut buffer = [0; 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return requests,
            Ok(n) => requests += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Nothing more has come; or the stream is broken, and nothing more ever comes.
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
        let (mut read_end, mut write_end) = UnixStream::pair().unwrap();
        read_end.set_nonblocking(true).unwrap();
        assert_eq!(stop_requests(&mut read_end), 0);
        write_end.write_all(b"xx").unwrap();
        assert_eq!(stop_requests(&mut read_end), 2);
        assert_eq!(stop_requests(&mut read_end), 0);
        drop(write_end);
        assert_eq!(stop_requests(&mut read_end), 0);
    }

    #[test]
    fn an_ignored_signal_is_known_by_its_bit() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\tffffffffffffffff\n";
        assert!(ignores(status, SIGHUP));
        assert!(!ignores(status, SIGINT));
        assert!(!ignores("", SIGHUP));
    }
}
