//! SIGTERM and SIGINT, as bytes on a stream that the loop can poll like any other.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// From now on, each SIGTERM and each SIGINT becomes one byte on the stream returned, for
/// [`ServerConfig::stop`](super::ServerConfig::stop).
///
/// # Errors
/// Those of the operating system: no descriptors left, or a handler refused.
pub fn stop_on_signals() -> io::Result<UnixStream> {
    let (read_end, write_end) = UnixStream::pair()?;
    pipe::register(SIGTERM, write_end.try_clone()?)?;
    pipe::register(SIGINT, write_end)?;
    Ok(read_end)
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
}
