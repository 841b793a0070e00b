//! One end of a connection of the peer protocol: what arrives becomes frames, and frames that are to be sent
//! wait until the kernel accepts them.

use std::io;
use std::net::SocketAddr;

use mio::event::Event;
use raft_core::Micros;

use crate::peer::{self, Decoder, Frame, FrameError};
use crate::server::counters::Counters;
use crate::server::limits::{CHANNEL_OUTPUT_BYTES_MAX, RESPONSE_US_MAX};
use crate::server::sockets::readiness::Readiness;
use crate::server::sockets::stream::Stream;
use crate::server::sockets::{ReadOutcome, SendQueue};

/// Why a connection is closed on which the rest of a frame does not come.
pub(super) const INCOMPLETE: &str = "a frame that was begun and not completed in time";

/// A connection to a peer or an operator. When it is dropped, the connection is closed, and what it has not
/// sent is lost.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: Stream,
    readiness: Readiness,
    decoder: Decoder,
    /// When the first part of a frame came whose rest has not come yet.
    frame_began_at: Option<Micros>,
    output: SendQueue,
}

impl Channel {
    pub(crate) fn new(stream: Stream) -> Channel {
        Channel {
            stream,
            readiness: Readiness::default(),
            decoder: Decoder::new(),
            frame_began_at: None,
            output: SendQueue::default(),
        }
    }

    /// The socket has an event.
    pub(crate) fn on_event(&mut self, event: &Event) {
        self.readiness.on_event(event);
    }

    /// Whether there may be something to read.
    pub(crate) fn is_readable(&self) -> bool {
        self.readiness.is_readable()
    }

    /// Reads once. The caller then takes the frames with [`Channel::next_frame`].
    pub(crate) fn read(&mut self, buffer: &mut [u8], counters: &mut Counters) -> ReadOutcome {
        let outcome = self.readiness.read(&mut self.stream, buffer);
        if let ReadOutcome::Bytes(n) = outcome {
            counters.peer_bytes_received += n as u64;
        }
        outcome
    }

    /// The next frame that is complete, with what was kept of earlier input. Moves `input` on.
    ///
    /// # Errors
    /// The other side violates the protocol. The error is final: every later call returns it.
    pub(crate) fn next_frame(&mut self, input: &mut &[u8], now: Micros) -> Result<Option<Frame>, FrameError> {
        let frame = self.decoder.next_frame(input)?;
        // After a whole frame, nothing of the next one has been taken yet.
        let has_begun = !self.decoder.is_between_frames();
        self.frame_began_at = has_begun.then(|| self.frame_began_at.unwrap_or(now));
        Ok(frame)
    }

    /// Whether a frame has begun whose rest has not come yet.
    pub(crate) fn is_amid_frame(&self) -> bool {
        self.frame_began_at.is_some()
    }

    /// When the rest of a frame must have come that has begun, if one has. The time counts from
    /// `silence_from` at the earliest: while this process did not run, it read nothing.
    pub(crate) fn frame_deadline(&self, silence_from: Micros) -> Option<Micros> {
        self.frame_began_at.map(|began_at| began_at.max(silence_from).plus(RESPONSE_US_MAX))
    }

    /// From now on, frames may be as large as those of members are.
    pub(crate) fn accept_large_frames(&mut self) {
        self.decoder.accept_large_frames();
    }

    /// Queues a frame.
    pub(crate) fn queue(&mut self, frame: &Frame) {
        peer::encode(frame, self.output.tail());
    }

    /// Whether another message may be queued. Beyond that, messages are dropped, as Raft allows.
    pub(crate) fn has_room(&self) -> bool {
        self.output.len() < CHANNEL_OUTPUT_BYTES_MAX
    }

    /// Whether everything queued has been sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty()
    }

    /// Sends as much of what is queued as the kernel accepts.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn flush(&mut self, counters: &mut Counters) -> io::Result<()> {
        let sent = self.output.flush(&mut self.stream)?;
        counters.peer_bytes_sent += sent as u64;
        Ok(())
    }

    /// The address of the other side, if it has one.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.stream.remote()
    }
}
