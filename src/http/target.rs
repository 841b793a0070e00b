//! The request target (RFC 9112 §3.2): its four forms, its path, and its query parameters.

use std::num::NonZeroU64;

use super::grammar::{decimal, hex_digit, is_encoded, is_host_and_port};
use super::head::Method;
use super::refusal::Refusal;

/// What a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target<'a> {
    /// A resource of this server.
    Resource {
        /// The path, which begins with a slash.
        path: &'a [u8],
        /// What follows the question mark, if there is one.
        query: Option<&'a [u8]>,
    },
    /// The server itself: `OPTIONS *`.
    Server,
    /// Another server: the target of CONNECT.
    Authority,
}

pub(super) fn parse(method: Method, target: &[u8]) -> Result<Target<'_>, Refusal> {
    const FORM: Refusal = Refusal::Malformed("The request target is neither a path nor an http URI");
    if method == Method::Connect {
        // RFC 9112 §3.2.3: only CONNECT takes the authority form, and its port is not optional.
        let has_port = target.last().is_some_and(u8::is_ascii_digit) && target.contains(&b':');
        return if has_port && is_host_and_port(target) { Ok(Target::Authority) } else { Err(FORM) };
    }
    if target == b"*" {
        // RFC 9112 §3.2.4: only OPTIONS takes the asterisk form.
        return if method == Method::Options { Ok(Target::Server) } else { Err(FORM) };
    }
    if target.starts_with(b"/") {
        return resource(target);
    }
    // RFC 9112 §3.2.2: the absolute form is accepted from every client, and its authority wins over Host.
    let Some(colon) = target.iter().position(|&byte| byte == b':') else { return Err(FORM) };
    let (scheme, Some(rest)) = (&target[..colon], target[colon + 1..].strip_prefix(b"//")) else {
        return Err(FORM);
    };
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic)
        || !scheme.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    {
        return Err(FORM);
    }
    let end = rest.iter().position(|&byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"http") {
        return Err(Refusal::Misdirected);
    }
    if !is_host_and_port(authority) {
        // RFC 9110 §4.2.1 and §4.2.4: an empty host and user information are errors.
        return Err(Refusal::Malformed(
            "The authority of the request target is not a host and an optional port",
        ));
    }
    if method == Method::Options && rest.is_empty() {
        // RFC 9112 §3.2.4: this is what a proxy turns into `OPTIONS *`.
        return Ok(Target::Server);
    }
    resource(rest)
}

/// A path, which may be empty in an absolute URI (RFC 9110 §4.2.3), and a query.
fn resource(target: &[u8]) -> Result<Target<'_>, Refusal> {
    let mark = target.iter().position(|&byte| byte == b'?');
    let (path, query) = match mark {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    };
    if !is_path_or_query(path) || !query.is_none_or(is_path_or_query) {
        return Err(Refusal::Malformed(
            "There is a character in the request target that must be percent-encoded",
        ));
    }
    Ok(Target::Resource { path: if path.is_empty() { b"/" } else { path }, query })
}

/// `*( pchar / "/" / "?" )` (RFC 3986 §3.3 and §3.4). Fragments are refused: RFC 9112 §3.2 allows none in a
/// request.
fn is_path_or_query(bytes: &[u8]) -> bool {
    is_encoded(bytes, |byte| matches!(byte, b':' | b'@' | b'/' | b'?'))
}

/// Whether a path or a name, percent-decoded, equals `plain` (RFC 3986 §6.2.2).
pub(super) fn equals_decoded(encoded: &[u8], plain: &[u8]) -> bool {
    decoded(encoded).eq(plain.iter().copied())
}

/// How many IDs a query asks for: the value of `n`, or 1 if there is no `n`. Other parameters are ignored.
pub(super) fn count(query: &[u8], batch_max: NonZeroU64) -> Result<NonZeroU64, Refusal> {
    let mut asked = None;
    for (_, value) in parameters(query).filter(|(name, _)| equals_decoded(name, b"n")) {
        let number = decimal(decoded(value.unwrap_or_default())).and_then(NonZeroU64::new);
        let count = number.filter(|count| *count <= batch_max);
        if asked.replace(count.ok_or(Refusal::CountOutOfRange)?).is_some() {
            return Err(Refusal::CountOutOfRange);
        }
    }
    Ok(asked.unwrap_or(NonZeroU64::MIN))
}

pub(super) fn has_parameter(query: &[u8], name: &[u8]) -> bool {
    parameters(query).any(|(found, _)| equals_decoded(found, name))
}

/// The parameters of a query: names and values.
fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    query.split(|&byte| byte == b'&').map(|parameter| match parameter.iter().position(|&byte| byte == b'=') {
        Some(equals) => (&parameter[..equals], Some(&parameter[equals + 1..])),
        None => (parameter, None),
    })
}

/// The percent-decoded bytes (RFC 3986 §2.1).
fn decoded(encoded: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = encoded;
    std::iter::from_fn(move || match rest {
        [b'%', high, low, after @ ..] => {
            rest = after;
            Some(hex_digit(*high)? * 16 + hex_digit(*low)?)
        }
        [byte, after @ ..] => {
            rest = after;
            Some(*byte)
        }
        [] => None,
    })
}
