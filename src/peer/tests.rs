//! What holds for every frame. `samples` pins the bytes of each.

use std::sync::Arc;

use raft_core::{
    AppendEntries, ENTRIES_PER_APPEND_MAX, Entry, Incarnation, InstallSnapshot, LogIndex, Member, Membership,
    Message, NodeId, Payload, Snapshot, SplitMix64, Suffrage, Term,
};

use super::samples::{Sample, message_frame, peer, samples};
use super::*;
use crate::codec::{ADDRESS_BYTES_MAX, DecodeError, MEMBERS_MAX, STATE_BYTES_MAX};
use crate::identity::ClusterId;

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes);
    bytes
}

/// A frame with a correct length and checksum around any payload.
fn framed(frame_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut checked = vec![frame_type];
    checked.extend_from_slice(payload);
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(&crc32fast::hash(&checked).to_be_bytes());
    bytes.extend_from_slice(&checked);
    bytes
}

/// All frames of `pieces`, which arrive one after the other on one connection from a known peer.
fn decode_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::new();
    decoder.accept_large_frames();
    let mut frames = Vec::new();
    for mut piece in pieces {
        while let Some(frame) = decoder.next_frame(&mut piece)? {
            frames.push(frame);
        }
        assert!(piece.is_empty(), "bytes were left although no frame is complete");
    }
    Ok(frames)
}

fn decode_one(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    Decoder::new().next_frame(&mut &*bytes)
}

fn malformed<T>(error: DecodeError) -> Result<T, FrameError> {
    Err(FrameError::Malformed(error))
}

/// Random numbers from a seed, which replays a failure.
struct Random(SplitMix64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.below(end as u64)).unwrap()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.0.next_u64().to_be_bytes()[0]).collect()
    }
}

#[test]
fn every_kind_of_frame_has_the_bytes_that_are_written_down_and_comes_back_as_it_was() {
    for sample in samples() {
        let Sample { name, frame, .. } = &sample;
        assert_eq!(encoded(frame), sample.bytes(), "{name}");
        assert_eq!(decode_one(&sample.bytes()), Ok(Some(frame.clone())), "{name}");
    }
}

#[test]
fn the_document_shows_the_bytes_of_every_kind_of_frame() {
    let document = include_str!("../../docs/peer-protocol.rst");
    let document: String = document.split_whitespace().collect();
    for Sample { name, hex, .. } in samples() {
        let hex: String = hex.split_whitespace().collect();
        assert!(document.contains(&hex), "docs/peer-protocol.rst lacks the example {name}: {hex}");
    }
}

/// Every reason, in the order of its code, which begins with 1.
const REFUSALS: [RefusedReason; 9] = [
    RefusedReason::IdTaken,
    RefusedReason::NoSuchMember,
    RefusedReason::LastVoter,
    RefusedReason::TransferFailed,
    RefusedReason::TooManyMembers,
    RefusedReason::NoQuorumLeft,
    RefusedReason::OtherCluster,
    RefusedReason::NoOtherVoter,
    RefusedReason::NotAVoter,
];

#[test]
fn every_reason_has_a_code_of_its_own_and_codes_without_a_reason_are_refused() {
    use RetryReason::{Busy, HandingOver, NoLeader, Unknown};
    let retries = [NoLeader, Busy, HandingOver, Unknown].map(AdminResponse::Retry);
    let refusals = REFUSALS.map(AdminResponse::Refused);
    for (kind, responses) in [(6, &retries[..]), (7, &refusals[..])] {
        for (code, response) in (1u8..).zip(responses) {
            let frame = Frame::AdminResponse(response.clone());
            assert_eq!(encoded(&frame), framed(0x11, &[kind, code]), "{frame:?}");
            assert_eq!(decode_one(&framed(0x11, &[kind, code])), Ok(Some(frame)));
        }
        for code in [0, u8::try_from(responses.len()).unwrap() + 1, 255] {
            let bytes = framed(0x11, &[kind, code]);
            assert_eq!(decode_one(&bytes), malformed(DecodeError::UnknownKind(code)));
        }
    }
}

#[test]
fn a_frame_cut_short_anywhere_waits_for_the_rest() {
    for sample in samples() {
        let bytes = sample.bytes();
        for len in 0..bytes.len() {
            assert_eq!(decode_one(&bytes[..len]), Ok(None), "{}: {len} bytes", sample.name);
        }
    }
}

#[test]
fn a_payload_cut_short_anywhere_is_refused_even_with_a_true_checksum() {
    for sample in samples() {
        let bytes = sample.bytes();
        let payload = &bytes[FRAME_HEADER_BYTES..];
        for len in 0..payload.len() {
            let result = decode_one(&framed(bytes[8], &payload[..len]));
            assert_eq!(result, malformed(DecodeError::Truncated), "{}: {len} bytes", sample.name);
        }
    }
}

#[test]
fn a_payload_with_a_byte_too_many_is_refused_even_with_a_true_checksum() {
    for sample in samples() {
        let bytes = sample.bytes();
        let longer = [&bytes[FRAME_HEADER_BYTES..], &[0]].concat();
        let result = decode_one(&framed(bytes[8], &longer));
        assert_eq!(result, malformed(DecodeError::TrailingBytes), "{}", sample.name);
    }
}

#[test]
fn a_frame_with_any_one_bit_flipped_never_yields_a_frame_whatever_follows_it() {
    let samples = samples();
    // Enough valid frames to complete any frame whose flipped length a stranger may claim.
    let all: Vec<u8> = samples.iter().flat_map(Sample::bytes).collect();
    let following = all.repeat(HANDSHAKE_BYTES_MAX / all.len() + 1);
    for sample in &samples {
        for bit in 0..sample.bytes().len() * 8 {
            let mut bytes = sample.bytes();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            bytes.extend_from_slice(&following);
            let result = decode_one(&bytes);
            let refused = matches!(result, Err(FrameError::BadChecksum | FrameError::TooLong { .. }));
            assert!(refused, "{}, bit {bit}: {result:?}", sample.name);
        }
    }
}

#[test]
fn frames_come_out_the_same_wherever_their_bytes_are_split() {
    let samples = samples();
    let stream: Vec<u8> = samples.iter().flat_map(Sample::bytes).collect();
    let frames: Vec<Frame> = samples.into_iter().map(|sample| sample.frame).collect();
    for at in 0..=stream.len() {
        let (before, after) = stream.split_at(at);
        assert_eq!(decode_pieces([before, after]).as_ref(), Ok(&frames), "split at {at}");
    }
    for len in [1, 2, 3, 5, 8, 9, 10, 64] {
        assert_eq!(decode_pieces(stream.chunks(len)).as_ref(), Ok(&frames), "pieces of {len} bytes");
    }
}

#[test]
fn an_unknown_type_is_named() {
    let known: Vec<u8> = samples().iter().map(|sample| sample.bytes()[8]).collect();
    for frame_type in (0..=255).filter(|frame_type| !known.contains(frame_type)) {
        let result = decode_one(&framed(frame_type, &[0; 64]));
        assert_eq!(result, Err(FrameError::UnknownType(frame_type)));
    }
}

#[test]
fn a_hello_or_a_request_of_another_version_names_that_version_whatever_follows() {
    for frame_type in [0x01, 0x10] {
        for version in [0, PROTOCOL_VERSION + 1, u16::MAX] {
            for rest in [&[][..], b"a later version says something else here"] {
                let payload = [&version.to_be_bytes()[..], rest].concat();
                let result = decode_one(&framed(frame_type, &payload));
                assert_eq!(result, Err(FrameError::Version { theirs: version }));
            }
        }
    }
}

#[test]
fn an_address_that_could_break_a_header_is_refused() {
    let mut payload = vec![0, 1, 1];
    payload.extend_from_slice(&3u64.to_be_bytes());
    payload.extend_from_slice(&[7; 16]);
    payload.extend_from_slice(b"\x00\x05a\r\n:1\x00\x03b:2");
    assert_eq!(decode_one(&framed(0x10, &payload)), malformed(DecodeError::BadAddress));
}

#[test]
fn after_an_error_the_decoder_repeats_it_and_yields_nothing_more() {
    let heartbeat = samples().into_iter().find(|sample| sample.name == "heartbeat").unwrap().bytes();
    let mut bad = heartbeat.clone();
    bad[8] ^= 1;
    let stream = [heartbeat.clone(), bad, heartbeat.clone()].concat();
    let mut input = &stream[..];
    let mut decoder = Decoder::new();
    assert!(matches!(decoder.next_frame(&mut input), Ok(Some(_))));
    assert_eq!(decoder.next_frame(&mut input), Err(FrameError::BadChecksum));
    assert!(input.is_empty(), "the rest is thrown away");
    assert_eq!(decoder.next_frame(&mut &heartbeat[..]), Err(FrameError::BadChecksum));
    assert_eq!(decoder.memory(), 0);
}

#[test]
fn a_length_over_the_bound_is_refused_as_soon_as_the_length_is_there() {
    let length = |bytes_max: usize| u32::try_from(bytes_max - FRAME_HEADER_BYTES).unwrap();
    for (bytes_max, large) in [(HANDSHAKE_BYTES_MAX, false), (FRAME_BYTES_MAX, true)] {
        let decoder = || {
            let mut decoder = Decoder::new();
            if large {
                decoder.accept_large_frames();
            }
            decoder
        };
        let allowed = length(bytes_max).to_be_bytes();
        assert_eq!(decoder().next_frame(&mut &allowed[..]), Ok(None));
        let over = (length(bytes_max) + 1).to_be_bytes();
        let too_long = FrameError::TooLong { bytes: bytes_max as u64 + 1, bytes_max };
        assert_eq!(decoder().next_frame(&mut &over[..]), Err(too_long));
        let mut by_bytes = decoder();
        let results = over.map(|byte| by_bytes.next_frame(&mut &[byte][..]));
        assert_eq!(results, [Ok(None), Ok(None), Ok(None), Err(too_long)]);
    }
}

#[test]
fn a_long_frame_is_not_made_room_for_before_it_comes() {
    let mut decoder = Decoder::new();
    decoder.accept_large_frames();
    let claim = (256u32 * 1024 - 9).to_be_bytes();
    assert_eq!(decoder.next_frame(&mut &claim[..]), Ok(None));
    assert_eq!(decoder.next_frame(&mut &[0; 6][..]), Ok(None));
    assert!(decoder.memory() <= 64, "{} bytes are held for 10 received", decoder.memory());
}

#[test]
fn an_append_that_claims_more_entries_than_it_has_or_may_have_is_refused() {
    let mut payload = vec![0; 32];
    payload.extend_from_slice(&u16::try_from(ENTRIES_PER_APPEND_MAX).unwrap().to_be_bytes());
    assert_eq!(decode_one(&framed(0x24, &payload)), malformed(DecodeError::Truncated));
    payload[33] += 1;
    assert_eq!(decode_one(&framed(0x24, &payload)), malformed(DecodeError::TooLong));
}

#[test]
fn a_frame_that_is_complete_in_the_input_is_neither_copied_nor_kept() {
    let sample = samples().into_iter().find(|sample| sample.name == "heartbeat").unwrap();
    let stream = sample.bytes().repeat(1000);
    let mut decoder = Decoder::new();
    let mut input = &stream[..];
    let mut out = Vec::with_capacity(stream.len());
    let capacity = out.capacity();
    while let Some(frame) = decoder.next_frame(&mut input).unwrap() {
        encode(&frame, &mut out);
    }
    assert_eq!(out, stream);
    assert_eq!((decoder.memory(), out.capacity()), (0, capacity));
}

#[test]
fn random_bytes_are_taken_without_a_panic_and_in_bounded_memory() {
    for seed in 0..2_000 {
        let mut random = Random(SplitMix64::new(seed));
        let mut decoder = Decoder::new();
        let large = seed % 2 == 0;
        if large {
            decoder.accept_large_frames();
        }
        for _ in 0..8 {
            let len = random.below(8 * 1024);
            let mut bytes = random.bytes(len);
            // Small lengths in half of the cases, or nearly everything would be refused because of its first
            // four bytes.
            if len > 4 && random.below(2) == 0 {
                bytes[..3].copy_from_slice(&[0, 0, 0]);
            }
            let mut input = &bytes[..];
            while let Ok(Some(_)) = decoder.next_frame(&mut input) {}
            assert!(input.is_empty(), "seed {seed}");
            let bytes_max = if large { FRAME_BYTES_MAX } else { HANDSHAKE_BYTES_MAX };
            assert!(decoder.memory() <= 2 * bytes_max, "seed {seed}: {} bytes", decoder.memory());
        }
    }
}

#[test]
fn a_stranger_who_sends_byte_by_byte_makes_us_hold_no_more_than_two_bounds() {
    let claim = u32::try_from(HANDSHAKE_BYTES_MAX - FRAME_HEADER_BYTES).unwrap().to_be_bytes();
    let mut decoder = Decoder::new();
    assert_eq!(decoder.next_frame(&mut &claim[..]), Ok(None));
    for sent in 4..HANDSHAKE_BYTES_MAX - 1 {
        assert_eq!(decoder.next_frame(&mut &[0][..]), Ok(None), "after {sent} bytes");
        assert!(decoder.memory() <= 2 * HANDSHAKE_BYTES_MAX);
    }
    assert_eq!(decoder.next_frame(&mut &[0][..]), Err(FrameError::BadChecksum));
}

#[test]
fn a_random_change_of_a_payload_is_refused_or_decodes_to_what_encodes_to_the_same_bytes() {
    let samples = samples();
    let mut decoded = 0;
    for seed in 0..100_000 {
        let mut random = Random(SplitMix64::new(seed));
        let bytes = samples[random.below(samples.len())].bytes();
        let mut payload = bytes[FRAME_HEADER_BYTES..].to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(payload.len().max(1));
            match random.below(4) {
                0 => payload.truncate(at),
                1 => payload.extend_from_slice(&random.bytes(3)),
                _ => payload
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|byte| *byte = random.0.next_u64().to_be_bytes()[0]),
            }
        }
        let changed = framed(bytes[8], &payload);
        if let Ok(Some(frame)) = decode_one(&changed) {
            decoded += 1;
            assert_eq!(encoded(&frame), changed, "seed {seed}: {frame:?}");
        }
    }
    assert!(decoded > 1_000, "only {decoded} changed payloads decoded: the test says too little");
}

/// Nodes of one version must agree on these limits.
#[test]
fn the_bounds_on_frames_are_those_of_the_document() {
    let document = include_str!("../../docs/peer-protocol.rst");
    let bounds =
        [("a frame, header included", FRAME_BYTES_MAX), ("a frame of a stranger", HANDSHAKE_BYTES_MAX)];
    for (what, bytes_max) in bounds {
        let line = document.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        assert!(line.trim_start().starts_with(&format!("{} KiB ", bytes_max / 1024)), "{what}: {line}");
        assert_eq!(bytes_max % 1024, 0);
    }
}

#[test]
fn every_frame_of_a_stranger_fits_the_bound_for_strangers() {
    let address = "a".repeat(ADDRESS_BYTES_MAX);
    let frames = [
        Frame::Hello(Hello {
            cluster: ClusterId(u128::MAX),
            from: peer(1),
            to: peer(2),
            commit_index: LogIndex(u64::MAX),
            peer_address: address.clone(),
            client_address: address.clone(),
        }),
        Frame::AdminRequest(AdminRequest::Join {
            peer: peer(1),
            peer_address: address.clone(),
            client_address: address.clone(),
        }),
        Frame::AdminResponse(AdminResponse::Redirect { leader: peer(1).id, peer_address: address }),
    ];
    for frame in frames {
        let bytes = encoded(&frame);
        assert!(bytes.len() < 1024, "{} bytes", bytes.len());
        assert_eq!(decode_one(&bytes), Ok(Some(frame)));
    }
}

fn largest_membership() -> Membership {
    let address = "a".repeat(ADDRESS_BYTES_MAX);
    let member = Member {
        incarnation: Incarnation(u128::MAX),
        suffrage: Suffrage::Voter,
        peer_address: address.clone(),
        client_address: address,
    };
    Membership {
        members: (1..=MEMBERS_MAX as u64).map(|id| (NodeId::new(id).unwrap(), member.clone())).collect(),
    }
}

/// The core ends an append before the entry that would take it beyond 64 KiB, and counts 32 bytes for each
/// entry and each member in addition to their contents, of which 19 and 29 are encoded. So what is built
/// here, 64 KiB of commands in the maximum number of entries and the largest membership on top, is more than
/// it ever sends.
#[test]
fn an_append_of_all_that_the_core_may_put_into_one_fits_a_frame() {
    let commands = ENTRIES_PER_APPEND_MAX - 1;
    let command: Arc<[u8]> = vec![7; 64 * 1024 / commands + 1].into();
    let entry = |index, payload| Entry { index: LogIndex(index), term: Term(1), payload };
    let mut entries: Vec<Entry> =
        (1..=commands as u64).map(|index| entry(index, Payload::Command(command.clone()))).collect();
    entries.push(entry(commands as u64 + 1, Payload::Membership(Arc::new(largest_membership()))));
    assert_eq!(entries.len(), ENTRIES_PER_APPEND_MAX);
    let frame = message_frame(Message::AppendEntries(AppendEntries {
        term: Term(1),
        prev_log_index: LogIndex(0),
        prev_log_term: Term(0),
        entries,
        leader_commit: LogIndex(0),
    }));
    let bytes = encoded(&frame);
    assert!(bytes.len() < FRAME_BYTES_MAX / 2, "{} bytes", bytes.len());
    assert_eq!(decode_pieces([&bytes[..]]), Ok(vec![frame]));
}

#[test]
fn the_largest_snapshot_and_the_longest_status_fit_a_frame() {
    let snapshot = Snapshot {
        last_included_index: LogIndex(u64::MAX),
        last_included_term: Term(u64::MAX),
        membership: Arc::new(largest_membership()),
        state: vec![7; STATE_BYTES_MAX].into(),
    };
    let install = InstallSnapshot { term: Term(u64::MAX), snapshot: Arc::new(snapshot) };
    let frames = [
        message_frame(Message::InstallSnapshot(install)),
        Frame::AdminResponse(AdminResponse::Status("s".repeat(STATUS_BYTES_MAX))),
    ];
    for frame in frames {
        let bytes = encoded(&frame);
        assert!(matches!(decode_one(&bytes), Err(FrameError::TooLong { .. })), "too long for a stranger");
        assert_eq!(decode_pieces([&bytes[..]]), Ok(vec![frame]));
    }
}

#[test]
fn every_kind_of_error_has_a_label_of_its_own() {
    let errors = [
        FrameError::TooLong { bytes: 1, bytes_max: 0 },
        FrameError::BadChecksum,
        FrameError::UnknownType(0),
        FrameError::Version { theirs: 2 },
        FrameError::Malformed(DecodeError::Truncated),
    ];
    let labels: std::collections::BTreeSet<&str> = errors.iter().map(|error| error.label()).collect();
    assert_eq!(labels.len(), errors.len());
}

#[test]
fn an_http_request_is_recognised_and_called_that() {
    let said = |bytes: &[u8]| Decoder::new().next_frame(&mut &bytes[..]).unwrap_err().to_string();
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"] {
        let line = said(format!("{method} / HTTP/1.1\r\n\r\n").as_bytes());
        assert!(line.contains("belongs to the HTTP port"), "{method}: {line}");
    }
    for other in [b"SSH-2.0-x\r\n", b"GETX / HTTP"] {
        assert!(said(other).contains("a frame of "), "{}", said(other));
    }
}

#[test]
fn every_error_and_every_reason_reads_as_a_line_of_its_own() {
    use RetryReason::{Busy, HandingOver, NoLeader, Unknown};
    let errors = [
        FrameError::TooLong { bytes: 5000, bytes_max: 4096 },
        FrameError::BadChecksum,
        FrameError::UnknownType(99),
        FrameError::Version { theirs: 65000 },
        FrameError::Malformed(DecodeError::NotUtf8),
    ];
    let errors = errors.map(|error| error.to_string());
    for (line, shown) in errors.iter().zip(["5000", "checksum", "99", "65000", "UTF-8"]) {
        assert!(line.contains(shown), "{line:?} does not show {shown}");
    }
    let retries = [NoLeader, Busy, HandingOver, Unknown].map(|reason| reason.to_string());
    let refusals = REFUSALS.map(|reason| reason.to_string());
    for lines in [&errors[..], &retries, &refusals] {
        let different: std::collections::BTreeSet<_> = lines.iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(different.len(), lines.len(), "{lines:?}");
    }
}
