//! Bytes that have been received and not yet parsed.

/// Part of a head, or what the limits hold back: at most a head and the bytes of one read.
#[derive(Clone, Default, Debug)]
pub(super) struct InputBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl InputBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
