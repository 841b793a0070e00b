//! The characters and the small productions that several parts of a request share: those of HTTP (RFC 9110)
//! and of URIs (RFC 3986).

use std::net::Ipv6Addr;

/// Whether a byte is allowed in the text of a head: a visible character, a space, a tab, or obs-text (RFC
/// 9110 §5.5 and §5.6.4).
pub(super) const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether a byte is allowed in a token (RFC 9110 §5.6.2).
pub(super) const fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().copied().all(is_token_char)
}

/// `1*DIGIT`: no sign, no white space. `None` for a number that is too large, too.
pub(super) fn decimal(digits: impl IntoIterator<Item = u8>) -> Option<u64> {
    let mut number = None;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number = Some(number.unwrap_or(0u64).checked_mul(10)?.checked_add(digit)?);
    }
    number
}

/// The value of a hexadecimal digit.
pub(super) const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2) with a non-empty host.
pub(super) fn is_host_and_port(value: &[u8]) -> bool {
    let (host_is_valid, rest) = if value.first() == Some(&b'[') {
        let Some(end) = value.iter().position(|&byte| byte == b']') else { return false };
        // The only IP literals in existence are IPv6 addresses; no IPvFuture has been defined.
        let address = std::str::from_utf8(&value[1..end]);
        (address.is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok()), &value[end + 1..])
    } else {
        let end = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
        (end > 0 && is_encoded(&value[..end], |_| false), &value[end..])
    };
    host_is_valid
        && match rest {
            [] => true,
            [b':', port @ ..] => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

/// Whether these are unreserved characters, percent-encoded bytes, delimiters of parts (sub-delims), and
/// those that are `also` allowed (RFC 3986 §2 and §3). Without any such, it is the `reg-name` of §3.2.2.
pub(super) fn is_encoded(bytes: &[u8], also: impl Fn(u8) -> bool) -> bool {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if is_unreserved(*byte) || is_sub_delim(*byte) || also(*byte) => rest,
            _ => return false,
        };
    }
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §2.2.
const fn is_sub_delim(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}
