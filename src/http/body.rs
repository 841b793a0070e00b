//! The body of a request, read to its end and discarded: no request here has a meaningful body.

use super::chunked::Chunked;
use super::fields::Framing;
use super::refusal::Refusal;

/// How far a body has been read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// This many bytes remain.
    Length { left: u64 },
    /// Chunks remain.
    Chunked(Chunked),
}

impl Body {
    /// The body that follows a head with this framing; `None` if there is none.
    ///
    /// # Errors
    /// [`Refusal::ContentTooLarge`] if the announced length exceeds `content_bytes_max`.
    pub(super) fn new(framing: Framing, content_bytes_max: u64) -> Result<Option<Body>, Refusal> {
        match framing {
            Framing::None => Ok(None),
            Framing::Length(length) if length > content_bytes_max => Err(Refusal::ContentTooLarge),
            Framing::Length(left) => Ok(Some(Body::Length { left })),
            Framing::Chunked => Ok(Some(Body::Chunked(Chunked::new()))),
        }
    }

    /// Reads on. `Some` is the number of bytes up to and including the last one of the body; `None` means
    /// that all bytes belong to the body and more must follow.
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
