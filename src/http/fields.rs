//! What the header fields of a request say about the message itself: where it ends, whether the connection
//! persists, what the client expects and accepts. Everything that enables request smuggling is refused here.

use super::accept::Accept;
use super::config::FIELDS_MAX;
use super::grammar::{decimal, is_host_and_port, is_token};
use super::head::Version;
use super::refusal::Refusal;

/// The header fields that matter here, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// Where the body ends.
    pub(super) framing: Framing,
    /// The request of the `Connection` field.
    pub(super) connection: ConnectionOption,
    /// What the client waits for before it sends the body.
    pub(super) expectation: Expectation,
}

/// Where the body of a request ends (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// With the head.
    None,
    /// After this many bytes, at least one.
    Length(u64),
    /// With the last chunk.
    Chunked,
}

/// The request of the `Connection` field (RFC 9112 §9.3); `close` wins over `keep-alive`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ConnectionOption {
    Unspecified,
    Close,
    KeepAlive,
}

/// The request of the `Expect` field (RFC 9110 §10.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expectation {
    None,
    Continue,
    Unknown,
}

/// What has been found so far.
struct Found<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    codings: Codings,
    connection: ConnectionOption,
    expectation: Expectation,
}

/// The `Transfer-Encoding` lines read so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Codings {
    Absent,
    /// `chunked` and nothing else.
    Chunked,
    /// `chunked` last, with other codings before it.
    OthersThenChunked,
    /// Codings of which the last is not `chunked`.
    Others,
    /// Something that no sender may send.
    Malformed,
}

/// Parses the header fields. `bytes` is the head after the request line, up to and including the empty line
/// that [`HeadScanner`](super::head::HeadScanner) has found. `accept` is filled even if a field has a wrong
/// value, so that the error is written in the format that the client prefers.
pub(super) fn parse(version: Version, bytes: &[u8], accept: &mut Accept) -> Result<Fields, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let headers = match httparse::parse_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete((length, headers))) if length == bytes.len() => headers,
        Ok(httparse::Status::Complete(_) | httparse::Status::Partial) => {
            return Err(Refusal::Malformed("The header fields end where they should not"));
        }
        Err(error) => return Err(refusal_of(error)),
    };
    let mut found = Found {
        host: None,
        content_length: None,
        codings: Codings::Absent,
        connection: ConnectionOption::Unspecified,
        expectation: Expectation::None,
    };
    let mut outcome = Ok(());
    for header in headers.iter() {
        if header.name.eq_ignore_ascii_case("accept") {
            accept.add_line(header.value);
        } else {
            outcome = outcome.and_then(|()| found.add(header.name, header.value));
        }
    }
    outcome?;
    found.check_host(version)?;
    Ok(Fields {
        framing: found.framing(version)?,
        connection: found.connection,
        expectation: match version {
            // RFC 9110 §10.1.1: an HTTP/1.0 client cannot wait for 100.
            Version::Http10 => Expectation::None,
            Version::Http11 => found.expectation,
        },
    })
}

fn refusal_of(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::FieldsTooLarge,
        httparse::Error::HeaderName => Refusal::Malformed(
            "A header line is folded, has no colon, has white space before it, or has no valid name",
        ),
        httparse::Error::HeaderValue
        | httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => {
            Refusal::Malformed("A header field contains a character that is not allowed")
        }
    }
}

impl<'a> Found<'a> {
    fn add(&mut self, name: &str, value: &'a [u8]) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case("host") {
            if self.host.replace(value).is_some() {
                return Err(Refusal::Malformed("There is more than one Host field"));
            }
        } else if name.eq_ignore_ascii_case("content-length") {
            // RFC 9112 §6.3 lets a recipient accept repetitions of one number, but a client that sends them
            // is broken.
            if self.content_length.replace(value).is_some() {
                return Err(Refusal::Malformed("There is more than one Content-Length field"));
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.codings = self.codings.followed_by(value);
        } else if name.eq_ignore_ascii_case("connection") {
            for token in list(value) {
                if token.eq_ignore_ascii_case(b"close") {
                    self.connection = ConnectionOption::Close;
                } else if token.eq_ignore_ascii_case(b"keep-alive")
                    && self.connection == ConnectionOption::Unspecified
                {
                    self.connection = ConnectionOption::KeepAlive;
                }
            }
        } else if name.eq_ignore_ascii_case("expect") {
            for expectation in list(value).filter(|element| !element.is_empty()) {
                if !expectation.eq_ignore_ascii_case(b"100-continue") {
                    self.expectation = Expectation::Unknown;
                } else if self.expectation == Expectation::None {
                    self.expectation = Expectation::Continue;
                }
            }
        }
        Ok(())
    }

    /// RFC 9112 §3.2: exactly one in HTTP/1.1, and it must be valid in any version.
    fn check_host(&self, version: Version) -> Result<(), Refusal> {
        match (self.host, version) {
            (None, Version::Http11) => Err(Refusal::Malformed("There is no Host field")),
            (Some(host), _) if !host.is_empty() && !is_host_and_port(host) => {
                Err(Refusal::Malformed("The Host field is not a host and an optional port"))
            }
            (_, Version::Http10 | Version::Http11) => Ok(()),
        }
    }

    /// RFC 9112 §6.3, and §6.1 for errors.
    fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        const BOTH: Refusal = Refusal::Malformed("There are both Content-Length and Transfer-Encoding");
        match (self.codings, self.content_length) {
            (Codings::Absent, None) => Ok(Framing::None),
            (Codings::Absent, Some(length)) => Ok(match content_length(length)? {
                0 => Framing::None,
                length => Framing::Length(length),
            }),
            (_, Some(_)) => Err(BOTH),
            (_, None) if version == Version::Http10 => {
                Err(Refusal::Malformed("There is a Transfer-Encoding field in an HTTP/1.0 request"))
            }
            (Codings::Chunked, None) => Ok(Framing::Chunked),
            (Codings::OthersThenChunked, None) => Err(Refusal::TransferCodingUnknown),
            (Codings::Others, None) => Err(Refusal::Malformed("The last transfer coding is not chunked")),
            (Codings::Malformed, None) => Err(Refusal::Malformed("The Transfer-Encoding field is malformed")),
        }
    }
}

impl Codings {
    /// The codings after this line has been added (RFC 9112 §6.1 and §7). An empty element or a parameter of
    /// `chunked` is refused: its only use is to make another server read it differently.
    fn followed_by(self, value: &[u8]) -> Codings {
        list(value).fold(self, |codings, coding| {
            let chunked = coding.eq_ignore_ascii_case(b"chunked");
            let name = coding.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            if !chunked && (name.eq_ignore_ascii_case(b"chunked") || !is_token(name)) {
                return Codings::Malformed;
            }
            match (codings, chunked) {
                (Codings::Absent, true) => Codings::Chunked,
                (Codings::Others, true) => Codings::OthersThenChunked,
                (Codings::Absent | Codings::Others, false) => Codings::Others,
                (Codings::Chunked | Codings::OthersThenChunked | Codings::Malformed, _) => Codings::Malformed,
            }
        })
    }
}

/// `1*DIGIT` (RFC 9110 §8.6): no sign, no white space, no list.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    decimal(value.iter().copied())
        .ok_or(Refusal::Malformed("The Content-Length field is not a number that fits 64 bits"))
}

/// The elements of a list (RFC 9110 §5.6.1), including empty ones.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}
