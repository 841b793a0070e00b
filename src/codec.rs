//! The encoding of raft-core's values, shared by the peer protocol and the store.
//!
//! Floor 2: pure. Big-endian throughout. Decoding is total: any bytes give a value or an error, never a
//! panic, and never allocate more than the bytes account for. Each value has exactly one encoding, so decoded
//! bytes encode to the same bytes again. It must never know of frames, files or checksums: the users of this
//! module add those.

use std::num::NonZeroU64;
use std::sync::Arc;

use byteorder::{BigEndian, ByteOrder};
use raft_core::{
    Entry, Incarnation, LogIndex, Member, Membership, NodeId, Payload, Peer, Snapshot, Suffrage, Term,
};

/// The longest address (`host:port`) that is accepted: a DNS name has at most 253 bytes, a port at most 5
/// digits.
pub const ADDRESS_BYTES_MAX: usize = 320;
/// The most members of one cluster. Raft is used with 3 to 9; this is far beyond that, and bounds a
/// membership entry.
pub const MEMBERS_MAX: usize = 64;
/// The longest command or state of the state machine. Ours have some tens of bytes.
pub const STATE_BYTES_MAX: usize = 4096;

/// Why bytes cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The bytes end too early.
    Truncated,
    /// Bytes follow the end of the value.
    TrailingBytes,
    /// A kind that this version does not know.
    UnknownKind(u8),
    /// A node id of 0.
    ZeroNodeId,
    /// A count of 0.
    ZeroCount,
    /// An ID of 0.
    ZeroId,
    /// A text that is not UTF-8.
    NotUtf8,
    /// A field longer, or a list with more elements, than allowed.
    TooLong,
    /// A text that does not satisfy [`is_address`].
    BadAddress,
    /// Members that are not in strictly ascending order.
    MembersOutOfOrder,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("it ends too early"),
            DecodeError::TrailingBytes => f.write_str("something follows its end"),
            DecodeError::UnknownKind(kind) => write!(f, "it is of the unknown kind {kind}"),
            DecodeError::ZeroNodeId => f.write_str("a node id is 0"),
            DecodeError::ZeroCount => f.write_str("a count is 0"),
            DecodeError::ZeroId => f.write_str("an ID is 0"),
            DecodeError::NotUtf8 => f.write_str("a text is not UTF-8"),
            DecodeError::TooLong => f.write_str("a field is longer than allowed"),
            DecodeError::BadAddress => {
                f.write_str("an address is empty or has a character that none may have")
            }
            DecodeError::MembersOutOfOrder => f.write_str("its members are out of order"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Whether a text may be used as an address (`host:port`): 1 to [`ADDRESS_BYTES_MAX`] of the characters of
/// which names, IPv4 and IPv6 addresses (with a zone) and ports consist.
///
/// Nothing is resolved and no particular form is required. Code that prints an address relies on this: an
/// address can go unescaped into a `Location` field, JSON, a label of a metric or a log line, and break none
/// of them.
#[must_use]
pub fn is_address(text: &str) -> bool {
    (1..=ADDRESS_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte))
}

/// Decodes values from the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Whether no bytes are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the decoding.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`] if bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], as for all methods below.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// As [`Reader::bytes`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.bytes(1)?[0])
    }

    /// Two bytes.
    ///
    /// # Errors
    /// As [`Reader::bytes`].
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(BigEndian::read_u16(self.bytes(2)?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// As [`Reader::bytes`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(BigEndian::read_u32(self.bytes(4)?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// As [`Reader::bytes`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(BigEndian::read_u64(self.bytes(8)?))
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// As [`Reader::bytes`].
    pub fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(BigEndian::read_u128(self.bytes(16)?))
    }

    /// A byte that is 0 or 1.
    ///
    /// # Errors
    /// [`DecodeError::UnknownKind`] for any other.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::UnknownKind(other)),
        }
    }

    /// A `u16` length and that many bytes of UTF-8, [`ADDRESS_BYTES_MAX`] at most.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::NotUtf8`].
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let len = usize::from(self.u16()?);
        if len > ADDRESS_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        std::str::from_utf8(self.bytes(len)?).map_err(|_| DecodeError::NotUtf8)
    }

    /// A text that satisfies [`is_address`].
    ///
    /// # Errors
    /// As [`Reader::text`], and [`DecodeError::BadAddress`].
    pub fn address(&mut self) -> Result<&'a str, DecodeError> {
        let text = self.text()?;
        if is_address(text) { Ok(text) } else { Err(DecodeError::BadAddress) }
    }

    /// A `u32` length and that many bytes of UTF-8, `bytes_max` at most.
    ///
    /// # Errors
    /// As [`Reader::text`].
    pub fn long_text(&mut self, bytes_max: usize) -> Result<&'a str, DecodeError> {
        let len = usize::try_from(self.u32()?).map_err(|_| DecodeError::TooLong)?;
        if len > bytes_max {
            return Err(DecodeError::TooLong);
        }
        std::str::from_utf8(self.bytes(len)?).map_err(|_| DecodeError::NotUtf8)
    }

    /// A `u16` length and that many bytes, [`STATE_BYTES_MAX`] at most.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`].
    pub fn blob(&mut self) -> Result<Arc<[u8]>, DecodeError> {
        let len = usize::from(self.u16()?);
        if len > STATE_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        Ok(Arc::from(self.bytes(len)?))
    }

    /// A node id.
    ///
    /// # Errors
    /// [`DecodeError::ZeroNodeId`].
    pub fn node_id(&mut self) -> Result<NodeId, DecodeError> {
        NodeId::new(self.u64()?).ok_or(DecodeError::ZeroNodeId)
    }

    /// A node id and an incarnation.
    ///
    /// # Errors
    /// As [`Reader::node_id`].
    pub fn peer(&mut self) -> Result<Peer, DecodeError> {
        Ok(Peer { id: self.node_id()?, incarnation: Incarnation(self.u128()?) })
    }

    /// A count.
    ///
    /// # Errors
    /// [`DecodeError::ZeroCount`].
    pub fn count(&mut self) -> Result<NonZeroU64, DecodeError> {
        NonZeroU64::new(self.u64()?).ok_or(DecodeError::ZeroCount)
    }

    /// An ID, one of those that the cluster hands out.
    ///
    /// # Errors
    /// [`DecodeError::ZeroId`].
    pub fn id(&mut self) -> Result<u64, DecodeError> {
        Ok(NonZeroU64::new(self.u64()?).ok_or(DecodeError::ZeroId)?.get())
    }

    /// A byte that says whether a value follows, and the value.
    ///
    /// # Errors
    /// As [`Reader::bool`], and those of the value.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A membership.
    ///
    /// # Errors
    /// Those of its fields, [`DecodeError::TooLong`], [`DecodeError::MembersOutOfOrder`].
    pub fn membership(&mut self) -> Result<Membership, DecodeError> {
        let count = usize::from(self.u16()?);
        if count > MEMBERS_MAX {
            return Err(DecodeError::TooLong);
        }
        let mut membership = Membership::default();
        for _ in 0..count {
            let Peer { id, incarnation } = self.peer()?;
            if membership.members.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(DecodeError::MembersOutOfOrder);
            }
            let suffrage = if self.bool()? { Suffrage::Voter } else { Suffrage::Learner };
            let peer_address = self.address()?.to_owned();
            let client_address = self.address()?.to_owned();
            membership.members.insert(id, Member { incarnation, suffrage, peer_address, client_address });
        }
        Ok(membership)
    }

    /// A log entry.
    ///
    /// # Errors
    /// Those of its fields, [`DecodeError::UnknownKind`].
    pub fn entry(&mut self) -> Result<Entry, DecodeError> {
        let index = LogIndex(self.u64()?);
        let term = Term(self.u64()?);
        let payload = match self.u8()? {
            PAYLOAD_NOOP => Payload::Noop,
            PAYLOAD_COMMAND => Payload::Command(self.blob()?),
            PAYLOAD_MEMBERSHIP => Payload::Membership(Arc::new(self.membership()?)),
            other => return Err(DecodeError::UnknownKind(other)),
        };
        Ok(Entry { index, term, payload })
    }

    /// A snapshot.
    ///
    /// # Errors
    /// Those of its fields.
    pub fn snapshot(&mut self) -> Result<Snapshot, DecodeError> {
        Ok(Snapshot {
            last_included_index: LogIndex(self.u64()?),
            last_included_term: Term(self.u64()?),
            membership: Arc::new(self.membership()?),
            state: self.blob()?,
        })
    }
}

const PAYLOAD_NOOP: u8 = 0;
const PAYLOAD_COMMAND: u8 = 1;
const PAYLOAD_MEMBERSHIP: u8 = 2;

/// Appends values to bytes. Implemented for `Vec<u8>` alone: it exists so that encoding and decoding read
/// alike.
pub trait Writer {
    /// One byte.
    fn put_u8(&mut self, value: u8);
    /// Two bytes.
    fn put_u16(&mut self, value: u16);
    /// Four bytes.
    fn put_u32(&mut self, value: u32);
    /// Eight bytes.
    fn put_u64(&mut self, value: u64);
    /// Sixteen bytes.
    fn put_u128(&mut self, value: u128);
    /// A text of at most [`ADDRESS_BYTES_MAX`] bytes; the caller has checked that. Panics if it is longer.
    fn put_text(&mut self, value: &str);
    /// An address; the caller has checked [`is_address`]. Panics otherwise.
    fn put_address(&mut self, value: &str);
    /// A text of at most `bytes_max` bytes; the caller has checked that. Panics if it is longer.
    fn put_long_text(&mut self, value: &str, bytes_max: usize);
    /// A blob of at most [`STATE_BYTES_MAX`] bytes; the caller has checked that. Panics if it is longer.
    fn put_blob(&mut self, value: &[u8]);
    /// A byte, 1 for true.
    fn put_bool(&mut self, value: bool);
    /// A node id.
    fn put_node_id(&mut self, value: NodeId);
    /// A peer.
    fn put_peer(&mut self, value: Peer);
    /// A value that may be absent, which `put` appends if it is there.
    fn put_option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T));
    /// A membership of at most [`MEMBERS_MAX`] members, whose addresses satisfy [`is_address`]; the caller
    /// has checked that. Panics otherwise.
    fn put_membership(&mut self, value: &Membership);
    /// A log entry.
    fn put_entry(&mut self, value: &Entry);
    /// A snapshot.
    fn put_snapshot(&mut self, value: &Snapshot);
}

impl Writer for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u128(&mut self, value: u128) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_text(&mut self, value: &str) {
        put_short(self, value.as_bytes(), ADDRESS_BYTES_MAX);
    }

    fn put_address(&mut self, value: &str) {
        assert!(is_address(value), "{value:?} is no address");
        self.put_text(value);
    }

    fn put_long_text(&mut self, value: &str, bytes_max: usize) {
        let bytes = value.len();
        match u32::try_from(bytes) {
            Ok(len) if bytes <= bytes_max => self.put_u32(len),
            Ok(_) | Err(_) => panic!("a text of {bytes} bytes, {bytes_max} at most"),
        }
        self.extend_from_slice(value.as_bytes());
    }

    fn put_blob(&mut self, value: &[u8]) {
        put_short(self, value, STATE_BYTES_MAX);
    }

    fn put_bool(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }

    fn put_node_id(&mut self, value: NodeId) {
        self.put_u64(value.get());
    }

    fn put_peer(&mut self, value: Peer) {
        self.put_node_id(value.id);
        self.put_u128(value.incarnation.0);
    }

    fn put_option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.put_bool(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn put_membership(&mut self, value: &Membership) {
        let count = value.members.len();
        assert!(count <= MEMBERS_MAX, "{count} members, {MEMBERS_MAX} at most");
        self.put_u16(u16::try_from(count).expect("MEMBERS_MAX fits 16 bits"));
        for (peer, member) in value.peers() {
            self.put_peer(peer);
            self.put_bool(member.suffrage == Suffrage::Voter);
            self.put_address(&member.peer_address);
            self.put_address(&member.client_address);
        }
    }

    fn put_entry(&mut self, value: &Entry) {
        self.put_u64(value.index.0);
        self.put_u64(value.term.0);
        match &value.payload {
            Payload::Noop => self.put_u8(PAYLOAD_NOOP),
            Payload::Command(command) => {
                self.put_u8(PAYLOAD_COMMAND);
                self.put_blob(command);
            }
            Payload::Membership(membership) => {
                self.put_u8(PAYLOAD_MEMBERSHIP);
                self.put_membership(membership);
            }
        }
    }

    fn put_snapshot(&mut self, value: &Snapshot) {
        self.put_u64(value.last_included_index.0);
        self.put_u64(value.last_included_term.0);
        self.put_membership(&value.membership);
        self.put_blob(&value.state);
    }
}

fn put_short(out: &mut Vec<u8>, value: &[u8], bytes_max: usize) {
    let len = value.len();
    assert!(len <= bytes_max, "a field of {len} bytes, {bytes_max} at most");
    out.put_u16(u16::try_from(len).expect("every bound on a field fits 16 bits"));
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let mut membership = Membership::default();
        for id in 1..=3u64 {
            let member = Member {
                incarnation: Incarnation(u128::from(id) << 100),
                suffrage: if id == 3 { Suffrage::Learner } else { Suffrage::Voter },
                peer_address: format!("127.0.0.1:900{id}"),
                client_address: format!("127.0.0.1:800{id}"),
            };
            membership.members.insert(NodeId::new(id).unwrap(), member);
        }
        membership
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            last_included_index: LogIndex(7),
            last_included_term: Term(3),
            membership: Arc::new(membership()),
            state: Arc::from(&b"state"[..]),
        }
    }

    #[test]
    fn a_snapshot_comes_back_as_it_was_and_every_shorter_piece_is_truncated() {
        let mut bytes = Vec::new();
        bytes.put_snapshot(&snapshot());
        let mut reader = Reader::new(&bytes);
        assert!(!reader.is_empty());
        assert_eq!(reader.snapshot(), Ok(snapshot()));
        assert!(reader.is_empty());
        assert_eq!(reader.finish(), Ok(()));
        for len in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..len]).snapshot(), Err(DecodeError::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn entries_of_every_kind_come_back_as_they_were() {
        let payloads = [
            Payload::Noop,
            Payload::Command(Arc::from(&b"x"[..])),
            Payload::Membership(Arc::new(membership())),
        ];
        for payload in payloads {
            let entry = Entry { index: LogIndex(u64::MAX), term: Term(2), payload };
            let mut bytes = Vec::new();
            bytes.put_entry(&entry);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.entry(), Ok(entry));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn members_in_the_wrong_order_are_refused() {
        // Of two members with the same id, the second must not silently replace the first.
        for ids in [[1, 1], [2, 1]] {
            let mut bytes = vec![0, 2];
            for id in ids {
                bytes.put_peer(Peer { id: NodeId::new(id).unwrap(), incarnation: Incarnation(1) });
                bytes.put_u8(1);
                bytes.put_text("a:1");
                bytes.put_text("b:2");
            }
            assert_eq!(Reader::new(&bytes).membership(), Err(DecodeError::MembersOutOfOrder), "{ids:?}");
        }
    }

    #[test]
    fn a_field_over_its_bound_is_refused_before_it_is_read() {
        assert_eq!(Reader::new(&[0xff, 0xff]).text(), Err(DecodeError::TooLong));
        assert_eq!(Reader::new(&[0xff, 0xff]).blob(), Err(DecodeError::TooLong));
        assert_eq!(Reader::new(&[0xff, 0xff]).membership(), Err(DecodeError::TooLong));
        assert_eq!(Reader::new(&[0, 0, 0, 5]).long_text(4), Err(DecodeError::TooLong));
    }

    #[test]
    #[should_panic(expected = "a text of 5 bytes, 4 at most")]
    fn a_long_text_over_its_bound_is_not_written() {
        let mut bytes = Vec::new();
        bytes.put_long_text("four", 4);
        assert_eq!(bytes, b"\0\0\0\x04four");
        bytes.put_long_text("fives", 4);
    }

    #[test]
    fn what_could_break_a_line_a_header_or_json_is_no_address() {
        for good in ["127.0.0.1:9000", "[fe80::1%eth0]:9000", "node_1.example.org:80", "a"] {
            assert!(is_address(good), "{good}");
        }
        let long = "a".repeat(ADDRESS_BYTES_MAX + 1);
        for bad in ["", "a b:1", "a:1\r\nX: y", "a\"b", "a\\b", "a/b", "h\u{e9}:1", &long] {
            assert!(!is_address(bad), "{bad:?}");
        }
        assert_eq!(Reader::new(b"\x00\x03a\r\n").address(), Err(DecodeError::BadAddress));
        assert_eq!(Reader::new(b"\x00\x00").address(), Err(DecodeError::BadAddress));
    }

    #[test]
    fn an_absent_and_a_present_option_come_back_as_they_were() {
        let peer = Peer { id: NodeId::new(9).unwrap(), incarnation: Incarnation(10) };
        let present = (Some(peer), NodeId::new(7), Some(8), Some(11));
        for (peer, id, incarnation, number) in [(None, None, None, None), present] {
            let mut bytes = Vec::new();
            bytes.put_option(peer, Writer::put_peer);
            bytes.put_option(id, Writer::put_node_id);
            bytes.put_option(incarnation, Writer::put_u128);
            bytes.put_option(number, Writer::put_u64);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.option(Reader::peer), Ok(peer));
            assert_eq!(reader.option(Reader::node_id), Ok(id));
            assert_eq!(reader.option(Reader::u128), Ok(incarnation));
            assert_eq!(reader.option(Reader::u64), Ok(number));
            assert_eq!(reader.finish(), Ok(()));
        }
        assert_eq!(Reader::new(&[2]).option(Reader::node_id), Err(DecodeError::UnknownKind(2)));
    }

    #[test]
    fn every_error_reads_as_a_line_of_its_own() {
        let errors = [
            DecodeError::Truncated,
            DecodeError::TrailingBytes,
            DecodeError::UnknownKind(7),
            DecodeError::UnknownKind(8),
            DecodeError::ZeroNodeId,
            DecodeError::ZeroCount,
            DecodeError::ZeroId,
            DecodeError::NotUtf8,
            DecodeError::TooLong,
            DecodeError::BadAddress,
            DecodeError::MembersOutOfOrder,
        ];
        let lines: std::collections::BTreeSet<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), errors.len(), "{lines:?}");
        assert!(lines.iter().all(|line| !line.is_empty() && !line.contains('\n')), "{lines:?}");
    }
}
