//! The body of a request, read to its end and thrown away: bodies mean nothing here.

use super::chunked::Chunked;
use super::fields::Framing;
use super::refusal::Refusal;

/// How far a body has been read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// So many bytes are to come.
    Length { left: u64 },
    /// Chunks are to come.
    Chunked(Chunked),
}

impl Body {
    /// The body to be read after a head with this framing; `None` where there is none.
    ///
    /// # Errors
    /// [`Refusal::ContentTooLarge`] where it is announced as longer than `content_bytes_max`.
    pub(super) fn new(framing: Framing, content_bytes_max: u64) -> Result<Option<Body>, Refusal> {
        match framing {
            Framing::None => Ok(None),
            Framing::Length(length) if length > content_bytes_max => Err(Refusal::ContentTooLarge),
            Framing::Length(left) => Ok(Some(Body::Length { left })),
            Framing::Chunked => Ok(Some(Body::Chunked(Chunked::new()))),
        }
    }

    /// Reads on. `Some` is the number of bytes up to and including the last one of the body; `None` means
    /// that all are of the body and more must come.
    pub(super) fn advance(&mut self, content_bytes_max: u64, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        match self {
            Body::Length { left } => {
                let there = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                if *left > there {
                    *left -= there;
                    return Ok(None);
                }
                let last = usize::try_from(*left).expect("it is at most the length of a slice");
                Ok(Some(last))
            }
            Body::Chunked(chunked) => chunked.advance(content_bytes_max, bytes),
        }
    }
}
