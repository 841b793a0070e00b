//! Decisions drawn from the bytes of the input; zeros once there are no more.

pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Bytes<'a> {
        Bytes(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A term, an index or a round: mostly small, so that it matches those of the nodes; sometimes at a
    /// limit.
    pub(crate) fn number(&mut self) -> u64 {
        const EDGES: [u64; 8] =
            [u64::MAX, u64::MAX - 1, (1 << 62) + 1, 1 << 62, (1 << 62) - 1, 1 << 63, 1 << 32, 16_384];
        let byte = self.byte();
        match byte {
            0..=247 => u64::from(byte % 12),
            248..=255 => EDGES[usize::from(byte - 248)],
        }
    }
}
