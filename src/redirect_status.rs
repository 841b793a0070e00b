//! The HTTP status with which a node that does not lead redirects clients to the leader.
//!
//! Floor 2, pure: accepted by `--redirect_status`, kept by the store, and sent by `http`.

use std::fmt;
use std::str::FromStr;

/// A redirect that may answer a POST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RedirectStatus {
    /// 301, after which many clients turn POST into GET (RFC 9110 §15.4.2 allows it).
    MovedPermanently,
    /// 307, which keeps the method.
    TemporaryRedirect,
    /// 308, which keeps the method.
    PermanentRedirect,
}

/// The error for a text that is not a [`RedirectStatus`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRedirectStatus;

impl FromStr for RedirectStatus {
    type Err = NoRedirectStatus;

    fn from_str(text: &str) -> Result<RedirectStatus, NoRedirectStatus> {
        match text {
            "301" => Ok(RedirectStatus::MovedPermanently),
            "307" => Ok(RedirectStatus::TemporaryRedirect),
            "308" => Ok(RedirectStatus::PermanentRedirect),
            _ => Err(NoRedirectStatus),
        }
    }
}

impl fmt::Display for RedirectStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RedirectStatus::MovedPermanently => "301",
            RedirectStatus::TemporaryRedirect => "307",
            RedirectStatus::PermanentRedirect => "308",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_it_is_written_and_no_other_is_a_redirect() {
        for text in ["301", "307", "308"] {
            assert_eq!(text.parse::<RedirectStatus>().unwrap().to_string(), text);
        }
        for text in ["", "302", "0301", "+301", "301 "] {
            assert_eq!(text.parse::<RedirectStatus>(), Err(NoRedirectStatus), "{text}");
        }
    }
}
