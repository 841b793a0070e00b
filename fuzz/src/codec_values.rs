//! The values of the codec: each value that is read encodes to the bytes that it was read from.

use ticketd::codec::{DecodeError, Reader, Writer};

/// The first byte of `data` says which kind of value; the value, and perhaps more, follows.
pub fn check(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let mut reader = Reader::new(bytes);
    let mut written = Vec::new();
    match copy(*which, &mut reader, &mut written) {
        Ok(()) => {
            assert!(bytes.starts_with(&written), "value {which} was read from other bytes than it writes");
            assert_eq!(reader.finish().is_ok(), bytes.len() == written.len(), "what follows value {which}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The limit for the long text.
const LONG_TEXT_BYTES_MAX: usize = 1024;

/// Reads one value and writes it.
fn copy(which: u8, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match which % 9 {
        0 => out.put_entry(&reader.entry()?),
        1 => out.put_snapshot(&reader.snapshot()?),
        2 => out.put_membership(&reader.membership()?),
        3 => out.put_option(reader.option(Reader::peer)?, Writer::put_peer),
        4 => out.put_address(reader.address()?),
        5 => out.put_text(reader.text()?),
        6 => out.put_blob(&reader.blob()?),
        7 => out.put_long_text(reader.long_text(LONG_TEXT_BYTES_MAX)?, LONG_TEXT_BYTES_MAX),
        _ => {
            out.put_option(reader.option(Reader::node_id)?, Writer::put_node_id);
            out.put_option(reader.option(Reader::u128)?, Writer::put_u128);
        }
    }
    Ok(())
}
