//! Frames: a length, a checksum, a type and a payload; taken out of a stream of bytes, whatever it holds.
//!
//! The bound on the length is checked as soon as the length is there, and the checksum before anything of the
//! payload is believed. It must never know what a payload means: the modules beside it do.

use byteorder::{BigEndian, ByteOrder};
use raft_core::Message;

use super::admin::{self, AdminRequest, AdminResponse};
use super::bequest;
use super::forward;
use super::handshake::{self, Hello, PROTOCOL_VERSION, Refuse, Welcome};
use super::message;
use crate::codec::{DecodeError, Reader, Writer};
use crate::node::{Bequest, Forward};

/// What stands before a payload: `u32` length of the payload, `u32` CRC-32 of type and payload, `u8` type.
pub const FRAME_HEADER_BYTES: usize = 9;

/// The longest frame, header included. The core ends an append before the entry that would take it beyond 64
/// KiB, and counts 32 bytes for each entry and each member besides what they carry, where 19 and 29 at most
/// are encoded; a single entry that is longer does not exist. The longest status has 128 KiB. Twice as much
/// is room for a later version.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// The longest frame, header included, while the other side is a stranger. The longest [`Hello`] and the
/// longest [`AdminRequest`] stay below 1 KiB; a stranger can make us hold no more than this.
pub const HANDSHAKE_BYTES_MAX: usize = 4 * 1024;

/// One thing said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A node dials another: the first frame on that connection.
    Hello(Hello),
    /// The answer to a [`Hello`] that is accepted.
    Welcome(Welcome),
    /// The answer to a [`Hello`] that is not, or to any first frame of another version. The connection ends.
    Refuse(Refuse),
    /// After a [`Hello`], in its direction.
    Raft(Message),
    /// After a [`Hello`], in its direction.
    Forward(Forward),
    /// After a [`Hello`], in its direction.
    Bequest(Bequest),
    /// An operator's command, or a node that wants to join, asks.
    AdminRequest(AdminRequest),
    /// The answer to an [`AdminRequest`].
    AdminResponse(AdminResponse),
}

/// Why a stream of bytes is not one of frames. The one who sent it is at fault: the connection is to be
/// closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A frame longer than allowed at this point of the connection.
    TooLong {
        /// How long it claims to be, header included.
        bytes: u64,
        /// How long it might have been.
        bytes_max: usize,
    },
    /// Type and payload are not what was sent.
    BadChecksum,
    /// A type that this version does not know.
    UnknownType(u8),
    /// A [`Hello`] or an [`AdminRequest`] of another version of the protocol. To be answered by
    /// [`Refuse::Version`] before the connection is closed.
    Version {
        /// The version that the other side speaks.
        theirs: u16,
    },
    /// A payload that is not one of its type.
    Malformed(DecodeError),
}

/// Appends one frame to `out`.
///
/// # Panics
/// Where a value of our own making breaks a bound: an address that is not one by
/// [`is_address`](crate::codec::is_address), a status longer than
/// [`STATUS_BYTES_MAX`](super::STATUS_BYTES_MAX), or more entries than
/// [`ENTRIES_PER_APPEND_MAX`](raft_core::ENTRIES_PER_APPEND_MAX) or than fit [`FRAME_BYTES_MAX`]. Nothing
/// that has been decoded here breaks one.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES - 1]);
    match frame {
        Frame::Hello(hello) => {
            out.put_u8(TYPE_HELLO);
            handshake::put_hello(hello, out);
        }
        Frame::Welcome(welcome) => {
            out.put_u8(TYPE_WELCOME);
            handshake::put_welcome(*welcome, out);
        }
        Frame::Refuse(refuse) => {
            out.put_u8(TYPE_REFUSE);
            handshake::put_refuse(*refuse, out);
        }
        Frame::Raft(raft_message) => {
            out.put_u8(message::type_of(raft_message));
            message::put(raft_message, out);
        }
        Frame::Forward(forwarded) => {
            out.put_u8(forward::type_of(forwarded));
            forward::put(forwarded, out);
        }
        Frame::Bequest(bequest) => {
            out.put_u8(TYPE_BEQUEST);
            bequest::put(*bequest, out);
        }
        Frame::AdminRequest(request) => {
            out.put_u8(TYPE_ADMIN_REQUEST);
            admin::put_request(request, out);
        }
        Frame::AdminResponse(response) => {
            out.put_u8(TYPE_ADMIN_RESPONSE);
            admin::put_response(response, out);
        }
    }
    seal(&mut out[start..]);
}

/// Takes the frames of one connection out of its bytes.
///
/// It reads straight from the bytes that it is given and keeps only a frame that is not complete, so it never
/// holds more than one frame of the length allowed at that point. The first error is final.
#[derive(Debug)]
pub struct Decoder {
    /// The beginning of a frame: shorter than the frame, and than `bytes_max`.
    incomplete: Vec<u8>,
    bytes_max: usize,
    failed: Option<FrameError>,
}

impl Decoder {
    /// For a new connection, with a stranger: frames of [`HANDSHAKE_BYTES_MAX`] at most.
    #[must_use]
    pub fn new() -> Self {
        Decoder { incomplete: Vec::new(), bytes_max: HANDSHAKE_BYTES_MAX, failed: None }
    }

    /// From the next frame on, [`FRAME_BYTES_MAX`] is allowed: the other side is known.
    pub fn accept_large(&mut self) {
        self.bytes_max = FRAME_BYTES_MAX;
    }

    /// Takes the next frame off the front of `input`, together with what was kept. On `Ok(None)` the whole of
    /// `input` has been taken and no frame is complete: call again with the bytes that come next.
    ///
    /// # Errors
    /// A [`FrameError`], now and on every later call: where a frame begins is lost with the first bad one.
    /// The rest of `input` has then been taken and thrown away.
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
            // The usual case: whole frames, decoded where they lie.
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

    /// Moves bytes from the front of `input` to what is kept, until that is `len` bytes or `input` is empty.
    fn keep(&mut self, input: &mut &[u8], len: usize) {
        let missing = len.saturating_sub(self.incomplete.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.incomplete.extend_from_slice(taken);
        *input = rest;
    }

    /// How many bytes of memory it holds, used or not.
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
    /// What [`FrameError::label`] may say.
    pub const LABELS: [&'static str; 5] =
        ["too_long", "bad_checksum", "unknown_type", "version", "malformed"];

    /// A short name of its kind, without any of its values: fit for a metric's label.
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
            FrameError::TooLong { bytes, bytes_max } => {
                write!(f, "a frame of {bytes} bytes, where {bytes_max} are allowed")
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

// The types of frames. Those of Raft's messages are in `message`, of forwarded requests in `forward`.
pub(super) const TYPE_HELLO: u8 = 0x01;
pub(super) const TYPE_WELCOME: u8 = 0x02;
pub(super) const TYPE_REFUSE: u8 = 0x03;
pub(super) const TYPE_ADMIN_REQUEST: u8 = 0x10;
pub(super) const TYPE_ADMIN_RESPONSE: u8 = 0x11;
pub(super) const TYPE_BEQUEST: u8 = 0x32;

/// How many bytes of a frame tell how long it is.
const LENGTH_BYTES: usize = 4;
/// Where what the checksum covers begins: at the type.
const CHECKED_FROM: usize = FRAME_HEADER_BYTES - 1;

/// Fills in the length and the checksum of the frame that is all of `frame`.
fn seal(frame: &mut [u8]) {
    let bytes = frame.len();
    assert!(bytes <= FRAME_BYTES_MAX, "a frame of {bytes} bytes, {FRAME_BYTES_MAX} at most");
    let payload = u32::try_from(bytes - FRAME_HEADER_BYTES).expect("FRAME_BYTES_MAX fits 32 bits");
    let checksum = crc32fast::hash(&frame[CHECKED_FROM..]);
    BigEndian::write_u32(&mut frame[..LENGTH_BYTES], payload);
    BigEndian::write_u32(&mut frame[LENGTH_BYTES..CHECKED_FROM], checksum);
}

/// Whether what was taken for the length of so long a frame are the first bytes of an HTTP request: of a
/// method of RFC 9110 §9.3 or RFC 5789, or of HTTP/2's preface (RFC 9113 §3.4). All are far too long.
fn begins_like_http(bytes: u64) -> bool {
    const BEGINNINGS: [&[u8; LENGTH_BYTES]; 10] =
        [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"PRI "];
    let length = bytes.checked_sub(FRAME_HEADER_BYTES as u64).and_then(|length| u32::try_from(length).ok());
    length.is_some_and(|length| BEGINNINGS.contains(&&length.to_be_bytes()))
}

/// How long the frame that begins here is, header included; `None` where that is not yet to be seen.
fn frame_bytes(beginning: &[u8], bytes_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = beginning.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let bytes = u64::from(u32::from_be_bytes(*length)) + FRAME_HEADER_BYTES as u64;
    match usize::try_from(bytes) {
        Ok(fits) if fits <= bytes_max => Ok(Some(fits)),
        Ok(_) | Err(_) => Err(FrameError::TooLong { bytes, bytes_max }),
    }
}

/// Decodes one whole frame.
fn decode(frame: &[u8]) -> Result<Frame, FrameError> {
    let mut reader = Reader::new(frame);
    let _length = reader.u32()?;
    let checksum = reader.u32()?;
    if crc32fast::hash(&frame[CHECKED_FROM..]) != checksum {
        return Err(FrameError::BadChecksum);
    }
    let decoded = match reader.u8()? {
        TYPE_HELLO => {
            expect_our_version(&mut reader)?;
            Frame::Hello(handshake::read_hello(&mut reader)?)
        }
        TYPE_WELCOME => Frame::Welcome(handshake::read_welcome(&mut reader)?),
        TYPE_REFUSE => Frame::Refuse(handshake::read_refuse(&mut reader)?),
        TYPE_ADMIN_REQUEST => {
            expect_our_version(&mut reader)?;
            Frame::AdminRequest(admin::read_request(&mut reader)?)
        }
        TYPE_ADMIN_RESPONSE => Frame::AdminResponse(admin::read_response(&mut reader)?),
        forward::TYPE_TAKE_IDS => Frame::Forward(forward::read_take_ids(&mut reader)?),
        forward::TYPE_TAKEN => Frame::Forward(forward::read_taken(&mut reader)?),
        TYPE_BEQUEST => Frame::Bequest(bequest::read(&mut reader)?),
        other => match message::read(other, &mut reader)? {
            Some(raft_message) => Frame::Raft(raft_message),
            None => return Err(FrameError::UnknownType(other)),
        },
    };
    reader.finish()?;
    Ok(decoded)
}

/// Nothing after the version is read where it is another's: it may have any form there.
fn expect_our_version(reader: &mut Reader<'_>) -> Result<(), FrameError> {
    match reader.u16()? {
        PROTOCOL_VERSION => Ok(()),
        theirs => Err(FrameError::Version { theirs }),
    }
}
