//! Frames: a length, a checksum, a type and a payload, extracted from a stream of arbitrary bytes.
//!
//! The length is checked against its limit as soon as it has arrived, and the checksum before any of the
//! payload is trusted. This module must never know what a payload means: the modules beside it do.

use byteorder::{BigEndian, ByteOrder};

use super::admin::{self, AdminRequest, AdminResponse};
use super::frame_type;
use super::handshake::{self, Hello, PROTOCOL_VERSION, Refuse, Welcome};
use super::message;
use crate::codec::{DecodeError, Reader, Writer};
use crate::node::PeerMessage;

/// What precedes a payload: `u32` length of the payload, `u32` CRC-32 of type and payload, `u8` type.
pub const FRAME_HEADER_BYTES: usize = 9;

/// The longest frame, header included. The core ends an append before the entry that would take it beyond 64
/// KiB. It counts 32 bytes for each entry and each member in addition to their contents, of which at most 19
/// and 29 are encoded; no single entry is longer. The longest status has 128 KiB. Twice that leaves room for
/// a later version.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// The longest frame, header included, while the other side is a stranger. The longest [`Hello`] and the
/// longest [`AdminRequest`] are below 1 KiB; a stranger cannot make us hold more than this.
pub const HANDSHAKE_BYTES_MAX: usize = 4 * 1024;

/// One unit of communication.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A node dials another: the first frame on the connection.
    Hello(Hello),
    /// The answer to an accepted [`Hello`].
    Welcome(Welcome),
    /// The answer to a refused [`Hello`], or to a first frame of another version. It ends the connection.
    Refuse(Refuse),
    /// Shows that a node is alive: from the one that has dialled, if it has nothing else to say, and back as
    /// the answer to that.
    Ping,
    /// From node to node: follows a [`Hello`], or a [`Welcome`].
    Message(PeerMessage),
    /// A request from an operator's command or from a node that wants to join.
    AdminRequest(AdminRequest),
    /// The answer to an [`AdminRequest`].
    AdminResponse(AdminResponse),
}

/// Why a stream of bytes is not a stream of frames. The sender is at fault: the connection must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A frame longer than allowed at this point of the connection.
    TooLong {
        /// The length that it claims, header included.
        bytes: u64,
        /// The length that is allowed.
        bytes_max: usize,
    },
    /// Type and payload are not those that were sent.
    BadChecksum,
    /// A type that this version does not know.
    UnknownType(u8),
    /// A [`Hello`] or an [`AdminRequest`] of another protocol version. It must be answered with
    /// [`Refuse::Version`] before the connection is closed.
    Version {
        /// The version that the other side speaks.
        theirs: u16,
    },
    /// The payload is not valid for its type.
    Malformed(DecodeError),
}

/// Appends one frame to `out`.
///
/// # Panics
/// If a value made by this program exceeds a limit: an address that is not valid by
/// [`is_address`](crate::codec::is_address), a status longer than
/// [`STATUS_BYTES_MAX`](super::STATUS_BYTES_MAX), or more entries than
/// [`ENTRIES_PER_APPEND_MAX`](raft_core::ENTRIES_PER_APPEND_MAX) or than fit into [`FRAME_BYTES_MAX`]. Values
/// decoded here never exceed one.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES - 1]);
    match frame {
        Frame::Hello(hello) => {
            out.put_u8(frame_type::HELLO);
            handshake::put_hello(hello, out);
        }
        Frame::Welcome(welcome) => {
            out.put_u8(frame_type::WELCOME);
            handshake::put_welcome(*welcome, out);
        }
        Frame::Refuse(refuse) => {
            out.put_u8(frame_type::REFUSE);
            handshake::put_refuse(*refuse, out);
        }
        Frame::Ping => out.put_u8(frame_type::PING),
        Frame::Message(peer_message) => {
            out.put_u8(message::type_of(peer_message));
            message::put(peer_message, out);
        }
        Frame::AdminRequest(request) => {
            out.put_u8(frame_type::ADMIN_REQUEST);
            admin::put_request(request, out);
        }
        Frame::AdminResponse(response) => {
            out.put_u8(frame_type::ADMIN_RESPONSE);
            admin::put_response(response, out);
        }
    }
    seal(&mut out[start..]);
}

/// Extracts the frames of one connection from its bytes.
///
/// It decodes directly from its input and keeps only incomplete frames, so it never holds more than one frame
/// of the length allowed at that point. The first error is final.
#[derive(Debug)]
pub struct Decoder {
    /// The beginning of a frame: shorter than the whole frame, and than `bytes_max`.
    incomplete: Vec<u8>,
    bytes_max: usize,
    failed: Option<FrameError>,
}

impl Decoder {
    /// A decoder for a new connection with a stranger: frames of at most [`HANDSHAKE_BYTES_MAX`].
    #[must_use]
    pub fn new() -> Self {
        Decoder { incomplete: Vec::new(), bytes_max: HANDSHAKE_BYTES_MAX, failed: None }
    }

    /// Allows [`FRAME_BYTES_MAX`] from the next frame on: the other side is known.
    pub fn accept_large_frames(&mut self) {
        self.bytes_max = FRAME_BYTES_MAX;
    }

    /// Whether nothing has arrived of the next frame.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Takes the next frame from the kept bytes and the front of `input`. On `Ok(None)`, all of `input` has
    /// been taken and no frame is complete: call again with the bytes that follow.
    ///
    /// # Errors
    /// A [`FrameError`], now and on every later call: after a bad frame it is unknown where the next one
    /// begins. The rest of `input` is discarded.
    pub fn next_frame(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        let result = match self.failed {
            None => self.take(input),
            Some(error) => Err(error),
        };
        if let Err(error) = result {
            self.failed = Some(error);
            self.incomplete = Vec::new();
            *input = &[];
        }
        result
    }

    fn take(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if self.incomplete.is_empty() {
            // The usual case: whole frames, decoded in place.
            if let Some(bytes) = frame_bytes(input, self.bytes_max)?
                && let Some((frame, rest)) = input.split_at_checked(bytes)
            {
                *input = rest;
                return decode(frame).map(Some);
            }
            self.keep(input, usize::MAX);
            return Ok(None);
        }
        self.keep(input, LENGTH_BYTES);
        let Some(bytes) = frame_bytes(&self.incomplete, self.bytes_max)? else { return Ok(None) };
        self.keep(input, bytes);
        if self.incomplete.len() < bytes {
            return Ok(None);
        }
        let frame = decode(&self.incomplete)?;
        self.incomplete.clear();
        Ok(Some(frame))
    }

    /// Moves bytes from the front of `input` to the kept bytes, until those are `len` bytes or `input` is
    /// empty.
    fn keep(&mut self, input: &mut &[u8], len: usize) {
        let missing = len.saturating_sub(self.incomplete.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.incomplete.extend_from_slice(taken);
        *input = rest;
    }

    /// The memory that it holds, whether used or not.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.incomplete.capacity()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

impl FrameError {
    /// The values that [`FrameError::label`] can return.
    pub const LABELS: [&'static str; 5] =
        ["too_long", "bad_checksum", "unknown_type", "version", "malformed"];

    /// A short name of the kind of error, without its values: suitable as a metric's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            FrameError::TooLong { .. } => "too_long",
            FrameError::BadChecksum => "bad_checksum",
            FrameError::UnknownType(_) => "unknown_type",
            FrameError::Version { .. } => "version",
            FrameError::Malformed(_) => "malformed",
        }
    }
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::TooLong { bytes, .. } if begins_like_http(*bytes) => {
                f.write_str("an HTTP request, which belongs to the HTTP port")
            }
            FrameError::TooLong { bytes, .. } if first_bytes(*bytes) == Some(*b"HTTP") => {
                f.write_str("an HTTP response")
            }
            FrameError::TooLong { bytes, bytes_max } => {
                write!(f, "a frame of {bytes} bytes; at most {bytes_max} are allowed")
            }
            FrameError::BadChecksum => f.write_str("a frame whose checksum is wrong"),
            FrameError::UnknownType(kind) => write!(f, "a frame of the unknown type {kind}"),
            FrameError::Version { theirs } => write!(
                f,
                "the other side speaks version {theirs} of the peer protocol, this side version \
                 {PROTOCOL_VERSION}"
            ),
            FrameError::Malformed(error) => write!(f, "a malformed frame: {error}"),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<DecodeError> for FrameError {
    fn from(error: DecodeError) -> Self {
        FrameError::Malformed(error)
    }
}

/// The length of the field that gives a frame's length.
const LENGTH_BYTES: usize = 4;
/// Where the checksummed part of a frame begins: at the type.
const CHECKED_FROM: usize = FRAME_HEADER_BYTES - 1;

/// Fills in the length and the checksum of `frame`, which is one whole frame.
fn seal(frame: &mut [u8]) {
    let bytes = frame.len();
    assert!(bytes <= FRAME_BYTES_MAX, "a frame of {bytes} bytes, {FRAME_BYTES_MAX} at most");
    let payload = u32::try_from(bytes - FRAME_HEADER_BYTES).expect("FRAME_BYTES_MAX fits 32 bits");
    let checksum = crc32fast::hash(&frame[CHECKED_FROM..]);
    BigEndian::write_u32(&mut frame[..LENGTH_BYTES], payload);
    BigEndian::write_u32(&mut frame[LENGTH_BYTES..CHECKED_FROM], checksum);
}

/// Whether the bytes that were read as the length of a too long frame are the first bytes of an HTTP request:
/// of a method of RFC 9110 §9.3 or RFC 5789, or of HTTP/2's preface (RFC 9113 §3.4). As a length, each is far
/// too long.
fn begins_like_http(bytes: u64) -> bool {
    const BEGINNINGS: [&[u8; LENGTH_BYTES]; 10] =
        [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"PRI "];
    first_bytes(bytes).is_some_and(|first| BEGINNINGS.contains(&&first))
}

/// The bytes that were read as the length of a frame which would have this many bytes.
fn first_bytes(bytes: u64) -> Option<[u8; LENGTH_BYTES]> {
    let length =
        bytes.checked_sub(FRAME_HEADER_BYTES as u64).and_then(|length| u32::try_from(length).ok())?;
    Some(length.to_be_bytes())
}

/// The length of the frame that begins here, header included; `None` if its length field is not complete.
fn frame_bytes(beginning: &[u8], bytes_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = beginning.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let bytes = u64::from(u32::from_be_bytes(*length)) + FRAME_HEADER_BYTES as u64;
    match usize::try_from(bytes) {
        Ok(fits) if fits <= bytes_max => Ok(Some(fits)),
        Ok(_) | Err(_) => Err(FrameError::TooLong { bytes, bytes_max }),
    }
}

fn decode(frame: &[u8]) -> Result<Frame, FrameError> {
    let mut reader = Reader::new(frame);
    let _length = reader.u32()?;
    let checksum = reader.u32()?;
    if crc32fast::hash(&frame[CHECKED_FROM..]) != checksum {
        return Err(FrameError::BadChecksum);
    }
    let decoded = match reader.u8()? {
        frame_type::HELLO => {
            expect_our_version(&mut reader)?;
            Frame::Hello(handshake::read_hello(&mut reader)?)
        }
        frame_type::WELCOME => Frame::Welcome(handshake::read_welcome(&mut reader)?),
        frame_type::REFUSE => Frame::Refuse(handshake::read_refuse(&mut reader)?),
        frame_type::PING => Frame::Ping,
        frame_type::ADMIN_REQUEST => {
            expect_our_version(&mut reader)?;
            Frame::AdminRequest(admin::read_request(&mut reader)?)
        }
        frame_type::ADMIN_RESPONSE => Frame::AdminResponse(admin::read_response(&mut reader)?),
        other => match message::read(other, &mut reader)? {
            Some(peer_message) => Frame::Message(peer_message),
            None => return Err(FrameError::UnknownType(other)),
        },
    };
    reader.finish()?;
    Ok(decoded)
}

/// If the version is not ours, nothing after it is read: it may have any form.
fn expect_our_version(reader: &mut Reader<'_>) -> Result<(), FrameError> {
    match reader.u16()? {
        PROTOCOL_VERSION => Ok(()),
        theirs => Err(FrameError::Version { theirs }),
    }
}
