//! The chunked transfer coding (RFC 9112 §7.1), read and discarded. An automaton over bytes: it keeps none.

use super::config::{CHUNK_EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX};
use super::grammar::{hex_digit, is_text, is_token_char};
use super::refusal::Refusal;

/// The most digits in a chunk size: those of a `u64`. More digits are refused even if they are zeros, because
/// servers differ in how they read them.
const SIZE_DIGITS_MAX: u8 = 16;

/// How far a chunked body has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    state: State,
    /// The content bytes announced so far.
    content_bytes: u64,
    /// The bytes of chunk extensions read so far.
    extension_bytes: usize,
    /// The bytes of the trailer section read so far.
    trailer_bytes: usize,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { size: u64, part: Part },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

/// What the next byte of a chunk extension belongs to. `*( BWS ";" BWS name [ BWS "=" BWS value ] )`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// White space after a size or a value; then only a semicolon may follow.
    BeforeSemicolon,
    /// White space or the first character of a name.
    BeforeName,
    Name,
    /// White space after a name; then only a semicolon or an equals sign may follow.
    AfterName,
    /// White space or the first character of a value.
    BeforeValue,
    Value,
    Quoted,
    QuotedPair,
    AfterQuoted,
}

impl Chunked {
    pub(super) const fn new() -> Chunked {
        Chunked {
            state: State::Size { value: 0, digits: 0 },
            content_bytes: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Reads on. `Some` is the number of bytes up to and including the last one of the body; `None` means
    /// that all bytes belong to the body and more must follow.
    pub(super) fn advance(&mut self, content_bytes_max: u64, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Data { left } = self.state {
                let there = bytes.len() - at;
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there);
                at += taken;
                let left = left - u64::try_from(taken).expect("taken is at most left, a u64");
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if byte == b'\n' && self.state == State::LastLf {
                return Ok(Some(at));
            }
            self.state = self.after(byte, content_bytes_max)?;
        }
        Ok(None)
    }

    fn after(&mut self, byte: u8, content_bytes_max: u64) -> Result<State, Refusal> {
        match self.state {
            State::Size { value, digits } => after_size(value, digits, byte),
            State::Extension { size, part } => {
                self.extension_bytes += 1;
                if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
                    return Err(Refusal::Malformed("The chunk extensions are too long"));
                }
                after_extension(size, part, byte)
            }
            State::SizeLf { size } => {
                expect(byte, b'\n')?;
                self.content_bytes = self.content_bytes.saturating_add(size);
                if self.content_bytes > content_bytes_max {
                    return Err(Refusal::ContentTooLarge);
                }
                Ok(if size == 0 { State::TrailerStart } else { State::Data { left: size } })
            }
            // Unreachable by way of `advance`, which consumes data in slices.
            State::Data { left } => Ok(State::Data { left }),
            State::DataCr => expect(byte, b'\r').map(|()| State::DataLf),
            State::DataLf => expect(byte, b'\n').map(|()| State::Size { value: 0, digits: 0 }),
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > TRAILER_BYTES_MAX {
                    return Err(Refusal::FieldsTooLarge);
                }
                after_trailer(self.state, byte)
            }
            State::LastLf => Err(line_end()),
        }
    }
}

fn after_size(value: u64, digits: u8, byte: u8) -> Result<State, Refusal> {
    const SIZE: Refusal = Refusal::Malformed("A chunk size is not a hexadecimal number of 1 to 16 digits");
    if let Some(digit) = hex_digit(byte) {
        if digits == SIZE_DIGITS_MAX {
            return Err(SIZE);
        }
        return Ok(State::Size { value: value * 16 + u64::from(digit), digits: digits + 1 });
    }
    if digits == 0 {
        return Err(SIZE);
    }
    match byte {
        b'\r' => Ok(State::SizeLf { size: value }),
        b';' => Ok(State::Extension { size: value, part: Part::BeforeName }),
        b' ' | b'\t' => Ok(State::Extension { size: value, part: Part::BeforeSemicolon }),
        _ => Err(SIZE),
    }
}

fn after_extension(size: u64, part: Part, byte: u8) -> Result<State, Refusal> {
    let space = matches!(byte, b' ' | b'\t');
    let token = is_token_char(byte);
    let next = match (part, byte) {
        (Part::Name | Part::Value | Part::AfterQuoted, b'\r') => return Ok(State::SizeLf { size }),
        (Part::Name | Part::BeforeName, _) if token => Part::Name,
        (Part::Value | Part::BeforeValue, _) if token => Part::Value,
        (Part::BeforeValue, b'"') => Part::Quoted,
        (Part::Name | Part::AfterName, b'=') => Part::BeforeValue,
        (Part::BeforeSemicolon | Part::Name | Part::AfterName | Part::Value | Part::AfterQuoted, b';') => {
            Part::BeforeName
        }
        (Part::Name | Part::AfterName, _) if space => Part::AfterName,
        (Part::BeforeSemicolon | Part::Value | Part::AfterQuoted, _) if space => Part::BeforeSemicolon,
        (Part::BeforeName | Part::BeforeValue, _) if space => part,
        (Part::Quoted, b'"') => Part::AfterQuoted,
        (Part::Quoted, b'\\') => Part::QuotedPair,
        (Part::Quoted | Part::QuotedPair, _) if is_text(byte) => Part::Quoted,
        _ => return Err(Refusal::Malformed("A chunk extension is malformed")),
    };
    Ok(State::Extension { size, part: next })
}

/// The trailer section has the form of header fields (RFC 9112 §7.1.2); folded lines are refused in both.
fn after_trailer(state: State, byte: u8) -> Result<State, Refusal> {
    const TRAILER: Refusal = Refusal::Malformed("A trailer field is malformed");
    match (state, byte) {
        (State::TrailerStart, b'\r') => Ok(State::LastLf),
        (State::TrailerStart | State::TrailerName, _) if is_token_char(byte) => Ok(State::TrailerName),
        (State::TrailerName, b':') => Ok(State::TrailerValue),
        (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
        (State::TrailerValue, _) if is_text(byte) => Ok(State::TrailerValue),
        (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
        _ => Err(TRAILER),
    }
}

fn expect(byte: u8, wanted: u8) -> Result<(), Refusal> {
    if byte == wanted { Ok(()) } else { Err(line_end()) }
}

const fn line_end() -> Refusal {
    Refusal::Malformed("A chunk does not end where its size says, or a line does not end in CR LF")
}
