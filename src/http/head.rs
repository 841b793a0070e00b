//! Finds the end of a request head, byte by byte, and parses its request line (RFC 9112 §2 and §3).
//!
//! httparse accepts a bare LF as a line end and leaves limits to its caller, so the bytes are checked here
//! first. Each rule is decided at the byte that breaks it, so that packet boundaries cannot matter.

use super::config::{Config, EMPTY_LINES_MAX, METHOD_BYTES_MAX};
use super::grammar::{is_text, is_token};
use super::refusal::Refusal;

/// The bytes of ` HTTP/1.1` and of the line end.
const VERSION_BYTES: usize = 11;

/// How far the head of a request has been read. The caller keeps the bytes and passes all the bytes of this
/// head in each call.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct HeadScanner {
    /// Whether any byte of this request has been seen.
    begun: bool,
    /// How many empty lines preceded this request.
    empty_lines: u8,
    /// How many bytes have been scanned.
    scanned: usize,
    /// Where the current line begins.
    line_start: usize,
    /// The request line, once it is complete.
    line: Option<RequestLine>,
}

/// The result of reading more bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// The head is not complete yet.
    Partial,
    /// Two bytes are an empty line before the request: remove them and go on.
    EmptyLine,
    /// The head is complete.
    Complete {
        /// The request line.
        line: RequestLine,
        /// The length of the head, including the empty line at its end.
        bytes: usize,
    },
    /// The head breaks a rule.
    Refused(Refusal),
}

/// A well-formed request line (RFC 9112 §3). The target has not been interpreted yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestLine {
    /// The method.
    pub(super) method: Method,
    /// Where the target begins in the head.
    pub(super) target_start: usize,
    /// Where the target ends.
    pub(super) target_end: usize,
    /// Where the header fields begin.
    pub(super) fields_start: usize,
    /// The HTTP version.
    pub(super) version: Version,
}

/// A method that this server knows (RFC 9110 §9.3, RFC 5789), or `Unknown`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    Unknown,
}

/// Which rules a message follows. A minor version above 1 counts as 1 (RFC 9110 §2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    Http10,
    Http11,
}

impl HeadScanner {
    /// Whether a request has begun to arrive.
    pub(super) const fn begun(&self) -> bool {
        self.begun
    }

    /// Reads on. `head` begins where this request begins, and contains at least the bytes of the previous
    /// call.
    pub(super) fn advance(&mut self, config: &Config, head: &[u8]) -> Progress {
        self.begun = true;
        loop {
            let limit = self.limit(config);
            let readable = &head[..head.len().min(limit)];
            let plain = readable[self.scanned..].iter().position(|&byte| !is_text(byte));
            let Some(plain) = plain else {
                self.scanned = readable.len();
                return if self.scanned == limit { self.too_large(head) } else { Progress::Partial };
            };
            let at = self.scanned + plain;
            self.scanned = at;
            if head[at] != b'\r' {
                return Progress::Refused(Refusal::Malformed(match head[at] {
                    b'\n' => "A line ends in LF without CR",
                    _ => "There is a control character in the head",
                }));
            }
            if at + 2 > limit {
                return self.too_large(head);
            }
            match head.get(at + 1) {
                None => return Progress::Partial,
                Some(b'\n') => {}
                Some(_) => return Progress::Refused(Refusal::Malformed("There is a CR without LF")),
            }
            self.scanned = at + 2;
            if let Some(progress) = self.line_ended(config, head, at) {
                return progress;
            }
        }
    }

    /// Handles a line whose CR is at `at`; returns `None` if the head goes on.
    fn line_ended(&mut self, config: &Config, head: &[u8], at: usize) -> Option<Progress> {
        let line_start = std::mem::replace(&mut self.line_start, at + 2);
        if let Some(line) = self.line {
            return (line_start == at).then_some(Progress::Complete { line, bytes: at + 2 });
        }
        if at == 0 {
            let empty_lines = self.empty_lines + 1;
            if empty_lines > EMPTY_LINES_MAX {
                return Some(Progress::Refused(Refusal::Malformed(
                    "There are empty lines instead of a request",
                )));
            }
            *self = HeadScanner { empty_lines, ..HeadScanner::default() };
            return Some(Progress::EmptyLine);
        }
        match parse_request_line(config, &head[..at]) {
            Ok(line) => {
                self.line = Some(line);
                None
            }
            Err(refusal) => Some(Progress::Refused(refusal)),
        }
    }

    /// The maximum length of this head, as far as it is known by now.
    fn limit(&self, config: &Config) -> usize {
        match self.line {
            None => config.target_bytes_max.saturating_add(METHOD_BYTES_MAX + 1 + VERSION_BYTES),
            Some(line) => line.fields_start.saturating_add(config.fields_bytes_max),
        }
    }

    /// RFC 9112 §3: 501 if the method is too long, 414 if the target is.
    fn too_large(&self, head: &[u8]) -> Progress {
        let spaces = head[..self.scanned].iter().filter(|byte| **byte == b' ').count();
        Progress::Refused(match (&self.line, spaces) {
            (Some(_), _) => Refusal::FieldsTooLarge,
            (None, 0) => Refusal::MethodUnknown,
            (None, 1) => Refusal::UriTooLong,
            (None, _) => NOT_A_REQUEST_LINE,
        })
    }
}

const NOT_A_REQUEST_LINE: Refusal =
    Refusal::Malformed("The request line is not: method, space, target, space, HTTP/1.1");

/// `method SP request-target SP HTTP-version` and nothing else (RFC 9112 §3), without the line end.
fn parse_request_line(config: &Config, line: &[u8]) -> Result<RequestLine, Refusal> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(NOT_A_REQUEST_LINE);
    };
    if !is_token(method) || target.is_empty() {
        return Err(NOT_A_REQUEST_LINE);
    }
    let version = match *version {
        [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => {
            match (major, minor) {
                (b'1', b'0') => Version::Http10,
                (b'1', _) => Version::Http11,
                _ => return Err(Refusal::VersionUnsupported),
            }
        }
        _ => return Err(NOT_A_REQUEST_LINE),
    };
    if target.len() > config.target_bytes_max {
        return Err(Refusal::UriTooLong);
    }
    let target_start = method.len() + 1;
    Ok(RequestLine {
        method: Method::from_bytes(method),
        target_start,
        target_end: target_start + target.len(),
        fields_start: line.len() + 2,
        version,
    })
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 §9.1).
    fn from_bytes(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => Method::Unknown,
        }
    }
}
