//! The bytes of a transaction in the journal: its changes, one after another.
//!
//! ```text
//! transaction   change*
//! change        0 | key                               the record, which must be there, is removed
//!               1 | key | length u32 | record         the record is written, replacing the one that is there
//! ```
//!
//! Pure. Decoding is total. It must never know where the bytes are stored.

use byteorder::{BigEndian, ByteOrder};

use crate::codec::{DecodeError, Reader, Writer};
use crate::storage::record::{Change, Key};

const DELETE: u8 = 0;
const PUT: u8 = 1;

/// Encodes the changes into `out`, replacing its content.
pub(crate) fn encode(changes: &[Change<'_>], out: &mut Vec<u8>) {
    out.clear();
    for change in changes {
        match change {
            Change::Put(value) => {
                out.put_u8(PUT);
                out.extend_from_slice(value.key().to_bytes().as_ref());
                let length_at = out.len();
                out.put_u32(0);
                let record_at = out.len();
                value.append_to(out);
                let length = u32::try_from(out.len() - record_at);
                let length = length.expect("all that a record holds is bounded");
                BigEndian::write_u32(&mut out[length_at..record_at], length);
            }
            Change::Delete(key) => {
                out.put_u8(DELETE);
                out.extend_from_slice(key.to_bytes().as_ref());
            }
        }
    }
}

/// The key of a change, and the record that is put there: `None` if the one that is there is removed.
type KeyAndRecord<'b> = (Key, Option<&'b [u8]>);

/// Reads the changes of a transaction, in their order. What follows an error means nothing.
pub(crate) fn read_changes(
    transaction: &[u8],
) -> impl Iterator<Item = Result<KeyAndRecord<'_>, DecodeError>> {
    let mut reader = Reader::new(transaction);
    std::iter::from_fn(move || (!reader.is_empty()).then(|| read_change(&mut reader)))
}

fn read_change<'b>(reader: &mut Reader<'b>) -> Result<KeyAndRecord<'b>, DecodeError> {
    let is_put = match reader.u8()? {
        DELETE => false,
        PUT => true,
        other => return Err(DecodeError::UnknownKind(other)),
    };
    let key = Key::read(reader)?;
    let record = if is_put { Some(reader.u32().and_then(|len| reader.bytes(len as usize))?) } else { None };
    Ok((key, record))
}

#[cfg(test)]
mod tests {
    use raft_core::LogIndex;

    use super::*;
    use crate::storage::record::{Extent, Value};
    use crate::storage::testing::entry;

    fn changes_of(bytes: &[u8]) -> Result<Vec<KeyAndRecord<'_>>, DecodeError> {
        read_changes(bytes).collect()
    }

    fn encoded(value: &Value<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        bytes
    }

    #[test]
    fn changes_come_back_in_their_order() {
        let (first, second) = (entry(5, 1), entry(5, 2));
        let extent = Value::Extent(Extent::default());
        let changes = [
            Change::Put(Value::Entry(&first)),
            Change::Delete(Key::Entry(LogIndex(5))),
            Change::Put(Value::Entry(&second)),
            Change::Put(extent),
            Change::Delete(Key::Entry(LogIndex(4))),
        ];
        let mut bytes = vec![9; 9];
        encode(&changes, &mut bytes);
        let [first_record, second_record, extent_record] =
            [Value::Entry(&first), Value::Entry(&second), extent].map(|value| encoded(&value));
        let expected = [
            (Key::Entry(LogIndex(5)), Some(&first_record[..])),
            (Key::Entry(LogIndex(5)), None),
            (Key::Entry(LogIndex(5)), Some(&second_record)),
            (Key::Extent, Some(&extent_record)),
            (Key::Entry(LogIndex(4)), None),
        ];
        assert_eq!(changes_of(&bytes).unwrap(), expected);
    }

    #[test]
    fn bytes_that_are_no_transaction_are_refused_wherever_they_end() {
        let extent = Value::Extent(Extent::default());
        let changes = [Change::Put(extent), Change::Delete(Key::Entry(LogIndex(4)))];
        let mut bytes = Vec::new();
        encode(&changes, &mut bytes);
        let first_bytes = 1 + 1 + 4 + encoded(&extent).len();
        for end in 0..bytes.len() {
            assert_eq!(changes_of(&bytes[..end]).is_ok(), end == 0 || end == first_bytes, "{end}");
        }
        assert_eq!(changes_of(&[7]), Err(DecodeError::UnknownKind(7)));
        assert_eq!(changes_of(&[DELETE, 99]), Err(DecodeError::UnknownKind(99)));
        assert!(changes_of(&[PUT, 7, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
    }
}
