//! Non-blocking sockets: reading and writing, with the errors that are not failures filtered out.

pub(crate) mod descriptors;
pub(crate) mod listeners;
pub(crate) mod open_descriptors;
pub(crate) mod ports;
pub(crate) mod readiness;
pub(crate) mod stream;
pub(crate) mod sweep;

use std::io::{self, Read, Write};

use crate::server::limits::BUFFER_KEPT_BYTES_MAX;

/// Whether a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    GoOn,
    /// It is finished or broken.
    Close,
}

/// The result of a read.
#[derive(Debug)]
pub(crate) enum ReadOutcome {
    /// This many bytes.
    Bytes(usize),
    /// Nothing has arrived yet; an event will follow.
    NotNow,
    /// The other side has closed its direction of the stream.
    End,
    /// The connection is broken.
    Broken(io::Error),
}

pub(crate) fn read(stream: &mut impl Read, buffer: &mut [u8]) -> ReadOutcome {
    loop {
        return match stream.read(buffer) {
            Ok(0) => ReadOutcome::End,
            Ok(n) => ReadOutcome::Bytes(n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ReadOutcome::NotNow,
            Err(error) => ReadOutcome::Broken(error),
        };
    }
}

/// Writes once. Returns `None` if the kernel accepts nothing yet; an event will follow.
///
/// # Errors
/// The connection is broken.
pub(crate) fn write(stream: &mut impl Write, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        return match stream.write(bytes) {
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        };
    }
}

/// Bytes waiting to be sent. The caller that appends enforces the bound.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    bytes: Vec<u8>,
    sent: usize,
}

impl SendQueue {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer to append to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.bytes.shrink_to(BUFFER_KEPT_BYTES_MAX);
    }

    /// Sends as much as the kernel accepts, and returns how much that was.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn flush(&mut self, stream: &mut impl Write) -> io::Result<usize> {
        let mut flushed = 0;
        while !self.is_empty() {
            let Some(n) = write(stream, &self.bytes[self.sent..])? else { break };
            self.sent += n;
            flushed += n;
        }
        if self.is_empty() {
            self.clear();
        } else if self.sent > self.bytes.len() / 2 {
            // Sent bytes must not be kept until the queue is empty, which under load may be never. Per byte
            // sent, at most one byte is moved.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes this many bytes with each write, and blocks when no widths are left.
    struct Narrow {
        widths: Vec<usize>,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(width) = self.widths.pop() else { return Err(io::ErrorKind::WouldBlock.into()) };
            let n = width.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_queue_sends_every_byte_once_and_in_order_through_any_narrows() {
        let mut queue = SendQueue::default();
        let mut narrow = Narrow { widths: Vec::new(), taken: Vec::new() };
        let mut given = Vec::new();
        for round in 0..200u8 {
            queue.tail().extend_from_slice(&[round; 7]);
            given.extend_from_slice(&[round; 7]);
            narrow.widths = vec![3, usize::from(round % 5)];
            queue.flush(&mut narrow).unwrap();
            assert_eq!(queue.len(), given.len() - narrow.taken.len());
        }
        narrow.widths = vec![usize::MAX; 2];
        queue.flush(&mut narrow).unwrap();
        assert!(queue.is_empty());
        assert_eq!(narrow.taken, given);
    }

    #[test]
    fn what_has_been_sent_is_not_kept() {
        let mut queue = SendQueue::default();
        for _ in 0..1_000 {
            queue.tail().extend_from_slice(&[1; 100]);
            let mut narrow = Narrow { widths: vec![100], taken: Vec::new() };
            queue.flush(&mut narrow).unwrap();
            queue.tail().push(0);
        }
        assert!(queue.bytes.len() <= 2 * queue.len() + 100, "{} for {}", queue.bytes.len(), queue.len());
    }
}
