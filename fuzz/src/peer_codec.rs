//! The peer protocol: what is accepted encodes to the same bytes, and is the same however the bytes are
//! split.

use ticketd::peer::{Decoder, Frame, FrameError, encode};

/// Treats `data` as bytes from a connection, and also as the type and the payload of one frame, because a
/// fuzzer cannot guess checksums.
pub fn check(data: &[u8]) {
    check_stream(data);
    if let Some((frame_type, payload)) = data.split_first() {
        check_stream(&framed(*frame_type, payload));
    }
}

/// Inputs up to this long are split at every boundary; longer ones at one only, because each would take
/// minutes.
const EVERY_SPLIT_BYTES_MAX: usize = 256;

fn check_stream(data: &[u8]) {
    let whole = decode([data]);
    let mut encoded = Vec::new();
    for frame in &whole.0 {
        encode(frame, &mut encoded);
    }
    assert!(data.starts_with(&encoded), "the frames {:?} encode to other bytes", whole.0);
    if let Some(error) = whole.1 {
        assert!(FrameError::LABELS.contains(&error.label()), "{}", error.label());
        assert!(!error.to_string().contains(['\n', '\r']), "{error}");
    }
    assert_eq!(decode(data.chunks(1)), whole, "byte by byte");
    let splits = if data.len() <= EVERY_SPLIT_BYTES_MAX {
        0..=data.len()
    } else {
        // At any place, but at the same one for the same input.
        let at = crc32fast::hash(data) as usize % data.len();
        at..=at
    };
    for at in splits {
        let (before, after) = data.split_at(at);
        assert_eq!(decode([before, after]), whole, "split at {at}");
    }
}

/// All frames up to the end or the first error.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next_frame(&mut piece) {
                Ok(Some(frame)) => {
                    frames.push(frame);
                    // As on a link: large frames are accepted only after the first.
                    decoder.accept_large_frames();
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(piece.is_empty(), "bytes were left although no frame is complete");
    }
    (frames, None)
}

fn framed(frame_type: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("no fuzzer makes 4 GiB up");
    let checksum = crc32fast::hash(&[&[frame_type], payload].concat());
    [&length.to_be_bytes()[..], &checksum.to_be_bytes(), &[frame_type], payload].concat()
}
