//! Whether a socket watched for changes (edge-triggered) may have something to read.
//!
//! A read that does not fill the buffer has emptied the socket, and whatever arrives later makes another
//! event (epoll(7), on when to stop reading under EPOLLET): so an ordinary request costs one read. But in
//! some cases the kernel ends a read although more is queued behind it, and makes no event for the rest. Each
//! of these cases can be detected before or with the read; then reading goes on until a read finds nothing:
//!
//! * The end of the stream, which is no byte, and an error: an event says so.
//! * Urgent data (TCP's, or MSG_OOB of a Unix-domain socket). An event says so as long as it has not been
//!   read past. Urgent data that arrives after that event was taken makes the next event, which says so too.
//! * Descriptors passed over a Unix-domain socket: a read ends behind the bytes that they came with
//!   (unix(7)). No event says so, but recvmsg(2) reports that there were some. They are not received, and the
//!   kernel closes them.

use std::io::{self, IoSliceMut, Read};

use mio::Interest;
use mio::event::Event;
use mio::net::UnixStream;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, recvmsg};

use super::stream::Stream;
use crate::server::sockets::{ReadOutcome, read};

/// What is known about one socket.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    /// There may be something to read.
    readable: bool,
    /// A read that does not fill the buffer may have left something behind.
    until_empty: bool,
}

impl Readiness {
    /// The events for which a socket must be watched.
    pub(crate) fn interest() -> Interest {
        let interest = Interest::READABLE | Interest::WRITABLE;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let interest = interest | Interest::PRIORITY;
        interest
    }

    /// The socket has an event. Returns whether there may be something to read.
    pub(crate) fn on_event(&mut self, event: &Event) -> bool {
        let ended = event.is_read_closed() || event.is_error();
        let readable = event.is_readable() || event.is_priority() || ended;
        self.readable |= readable;
        self.until_empty |= event.is_priority() || ended;
        readable
    }

    /// There may be something to read, even though no event has said so yet.
    pub(crate) fn assume_readable(&mut self) {
        self.readable = true;
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Reads once, and notes whether more may be left.
    pub(crate) fn read(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> ReadOutcome {
        let outcome = match stream {
            Stream::Tcp(stream) => read(stream, buffer),
            Stream::Unix(stream) => {
                read(&mut UnixReader { stream, may_be_cut_short: &mut self.until_empty }, buffer)
            }
        };
        match outcome {
            ReadOutcome::Bytes(n) => self.readable = n == buffer.len() || self.until_empty,
            ReadOutcome::NotNow => *self = Readiness::default(),
            ReadOutcome::End | ReadOutcome::Broken(_) => self.readable = false,
        }
        outcome
    }
}

/// Reads from a Unix-domain socket, and notes if descriptors came along.
struct UnixReader<'a> {
    stream: &'a UnixStream,
    may_be_cut_short: &'a mut bool,
}

impl Read for UnixReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut no_room = RecvAncillaryBuffer::default();
        let mut buffers = [IoSliceMut::new(buffer)];
        let received = recvmsg(self.stream, &mut buffers, &mut no_room, RecvFlags::empty())?;
        *self.may_be_cut_short |= received.flags.contains(ReturnFlags::CTRUNC);
        Ok(received.bytes)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{IoSlice, Write};
    use std::mem::MaybeUninit;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream as StdUnixStream;
    use std::time::Duration;

    use mio::{Events, Poll, Token};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use socket2::SockRef;

    use super::*;

    /// An event that comes at all comes within this time.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Reads from a stream as its readiness says, until this many bytes have come. Returns them and the
    /// number of reads.
    fn read_out(mut stream: Stream, count: usize) -> (Vec<u8>, usize) {
        let mut poll = Poll::new().unwrap();
        poll.registry().register(&mut stream, Token(0), Readiness::interest()).unwrap();
        let (mut readiness, mut events) = (Readiness::default(), Events::with_capacity(4));
        let (mut said, mut reads) = (Vec::new(), 0);
        let mut buffer = [0; 64];
        while said.len() < count || readiness.is_readable() {
            if !readiness.is_readable() {
                poll.poll(&mut events, Some(PATIENCE)).unwrap();
                assert!(!events.is_empty(), "after {said:?} nothing is read, and no event comes");
                events.iter().for_each(|event| {
                    readiness.on_event(event);
                });
                continue;
            }
            reads += 1;
            match readiness.read(&mut stream, &mut buffer) {
                ReadOutcome::Bytes(n) => said.extend_from_slice(&buffer[..n]),
                ReadOutcome::NotNow | ReadOutcome::End => {}
                ReadOutcome::Broken(error) => panic!("{error}"),
            }
        }
        (said, reads)
    }

    /// Both ends of a connection; the second is the server's.
    fn tcp() -> (TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        (client, Stream::Tcp(mio::net::TcpStream::from_std(accepted)))
    }

    fn unix() -> (StdUnixStream, Stream) {
        let (client, accepted) = StdUnixStream::pair().unwrap();
        accepted.set_nonblocking(true).unwrap();
        (client, Stream::Unix(UnixStream::from_std(accepted)))
    }

    #[test]
    fn an_ordinary_request_costs_one_read() {
        let (mut client, stream) = tcp();
        client.write_all(b"request").unwrap();
        assert_eq!(read_out(stream, 7), (b"request".to_vec(), 1));
        let (mut client, stream) = unix();
        client.write_all(b"request").unwrap();
        assert_eq!(read_out(stream, 7), (b"request".to_vec(), 1));
    }

    #[test]
    fn what_is_queued_behind_urgent_data_is_read() {
        let (mut client, stream) = tcp();
        client.write_all(b"before").unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(b"behind").unwrap();
        assert_eq!(read_out(stream, 12).0, b"beforebehind");
    }

    #[test]
    fn what_is_queued_behind_a_descriptor_is_read() {
        let (mut client, stream) = unix();
        let input = io::stdin();
        let descriptors = [input.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        assert!(passed.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(&client, &[IoSlice::new(b"before")], &mut passed, SendFlags::empty()).unwrap();
        client.write_all(b"behind").unwrap();
        assert_eq!(read_out(stream, 12).0, b"beforebehind");
    }

    #[test]
    fn the_end_that_has_come_with_the_last_bytes_is_read() {
        let (mut client, stream) = unix();
        client.write_all(b"last").unwrap();
        drop(client);
        assert_eq!(read_out(stream, 4), (b"last".to_vec(), 2));
    }
}
