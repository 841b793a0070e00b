//! The status codes used here (RFC 9110 §15), and how often each has been sent.

use std::cell::Cell;
use std::collections::BTreeMap;

macro_rules! statuses {
    ($($name:ident = $line:literal,)*) => {
        /// A status line without the version.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Status {
            $($name,)*
        }

        impl Status {
            /// All of them, indexed by their numbers.
            const ALL: &[Status] = &[$(Status::$name,)*];

            /// The code and the reason phrase.
            pub(super) const fn line(self) -> &'static str {
                match self {
                    $(Status::$name => $line,)*
                }
            }
        }
    };
}

statuses! {
    Ok = "200 OK",
    MovedPermanently = "301 Moved Permanently",
    TemporaryRedirect = "307 Temporary Redirect",
    PermanentRedirect = "308 Permanent Redirect",
    BadRequest = "400 Bad Request",
    NotFound = "404 Not Found",
    MethodNotAllowed = "405 Method Not Allowed",
    NotAcceptable = "406 Not Acceptable",
    RequestTimeout = "408 Request Timeout",
    ContentTooLarge = "413 Content Too Large",
    UriTooLong = "414 URI Too Long",
    ExpectationFailed = "417 Expectation Failed",
    MisdirectedRequest = "421 Misdirected Request",
    FieldsTooLarge = "431 Request Header Fields Too Large",
    InternalServerError = "500 Internal Server Error",
    NotImplemented = "501 Not Implemented",
    ServiceUnavailable = "503 Service Unavailable",
    // Clients look for these words, so they are a contract.
    LeaderUnavailable = "503 Leader unavailable",
    VersionNotSupported = "505 HTTP Version Not Supported",
}

const STATUSES: usize = Status::ALL.len();

impl Status {
    /// The three digits.
    pub(super) fn code(self) -> &'static str {
        &self.line()[..3]
    }

    /// The words after the code.
    pub(super) fn reason(self) -> &'static str {
        &self.line()[4..]
    }
}

/// What an answered request was about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handler {
    /// IDs: the server had the answer.
    Ids,
    /// A page: the server had the answer.
    Pages,
    /// Nothing that needs the server: requests that break the rules of HTTP or are refused here, and
    /// `OPTIONS`.
    Protocol,
}

/// How many requests have been answered, by status code. All connections of a server count in the same one.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    ids: Counts,
    pages: Counts,
    protocol: Counts,
}

#[derive(Clone, Default, Debug)]
struct Counts([Cell<u64>; STATUSES]);

impl Tally {
    /// The status codes that have been sent, each with its count. Those that a service in order sends are
    /// always present, with 0 if need be.
    #[must_use]
    pub fn by_code(&self, handler: Handler) -> BTreeMap<&'static str, u64> {
        let usual: &[Status] = match handler {
            Handler::Ids | Handler::Pages => &[Status::Ok, Status::ServiceUnavailable],
            Handler::Protocol => &[Status::BadRequest],
        };
        let mut codes: BTreeMap<&'static str, u64> = usual.iter().map(|status| (status.code(), 0)).collect();
        for (status, count) in Status::ALL.iter().zip(&self.of(handler).0) {
            if count.get() > 0 {
                *codes.entry(status.code()).or_default() += count.get();
            }
        }
        codes
    }

    pub(super) fn note(&self, handler: Handler, status: Status) {
        let count = &self.of(handler).0[status as usize];
        count.set(count.get() + 1);
    }

    fn of(&self, handler: Handler) -> &Counts {
        match handler {
            Handler::Ids => &self.ids,
            Handler::Pages => &self.pages,
            Handler::Protocol => &self.protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_line_is_three_digits_a_space_and_words() {
        for (place, status) in Status::ALL.iter().enumerate() {
            assert_eq!(*status as usize, place);
            assert!(status.code().bytes().all(|byte| byte.is_ascii_digit()), "{status:?}");
            assert!(status.line()[3..].starts_with(' ') && !status.reason().is_empty(), "{status:?}");
        }
    }

    #[test]
    fn answers_are_counted_by_code_whatever_the_words() {
        let tally = Tally::default();
        for status in [Status::Ok, Status::ServiceUnavailable, Status::LeaderUnavailable] {
            tally.note(Handler::Ids, status);
        }
        tally.note(Handler::Protocol, Status::UriTooLong);
        assert_eq!(tally.by_code(Handler::Ids), BTreeMap::from([("200", 1), ("503", 2)]));
        assert_eq!(tally.by_code(Handler::Pages), BTreeMap::from([("200", 0), ("503", 0)]));
        assert_eq!(tally.by_code(Handler::Protocol), BTreeMap::from([("400", 0), ("414", 1)]));
    }
}
