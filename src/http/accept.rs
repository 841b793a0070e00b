//! The `Accept` field (RFC 9110 §12.5.1): whether a client prefers JSON or plain text.
//!
//! Some clients break the grammar (Java's HttpURLConnection sends `*; q=.2`), and a malformed preference is
//! no reason to refuse a request: whatever can be understood counts, and any other element is ignored.

/// How an answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Text,
    Json,
}

/// The result of the `Accept` lines read so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Accept {
    anything_said: bool,
    text: Weight,
    json: Weight,
    problem: Weight,
}

/// The weight that the most specific matching range gives to a type (RFC 9110 §12.5.1: the most specific
/// range counts). Ordered by weight, then by how specific the range is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Weight {
    /// Thousandths; 0 if not acceptable.
    q: u16,
    /// 0 if not mentioned, 1 for `*/*`, 2 for `type/*`, 3 for the type itself.
    precision: u8,
}

impl Accept {
    /// Adds the value of one `Accept` line.
    pub(super) fn add_line(&mut self, value: &[u8]) {
        for element in split(value, b',') {
            let mut parts = split(element, b';');
            let range = parts.next().unwrap_or_default();
            if range.is_empty() {
                continue;
            }
            let Some(q) = weight(parts) else { continue };
            self.add_range(range, q);
        }
    }

    /// How to write IDs; `None` if the client accepts neither format. Between equal weights, the more
    /// specifically requested format wins, then plain text.
    pub(super) fn ids(&self) -> Option<Format> {
        if !self.anything_said {
            return Some(Format::Text);
        }
        if self.text.q == 0 && self.json.q == 0 {
            return None;
        }
        Some(if self.json > self.text { Format::Json } else { Format::Text })
    }

    /// How to write an error, which is sent even to a client that accepts neither format.
    pub(super) fn problems(&self) -> Format {
        let json = self.json.max(self.problem);
        if json.q > 0 && json > self.text { Format::Json } else { Format::Text }
    }

    fn add_range(&mut self, range: &[u8], q: u16) {
        let Some(slash) = range.iter().position(|&byte| byte == b'/') else {
            if range == b"*" {
                self.anything_said = true;
                self.all(Weight { q, precision: 1 });
            }
            return;
        };
        self.anything_said = true;
        let (kind, subtype) = (&range[..slash], &range[slash + 1..]);
        if kind == b"*" && subtype == b"*" {
            self.all(Weight { q, precision: 1 });
        } else if kind.eq_ignore_ascii_case(b"text") {
            if subtype == b"*" {
                self.text.add(Weight { q, precision: 2 });
            } else if subtype.eq_ignore_ascii_case(b"plain") {
                self.text.add(Weight { q, precision: 3 });
            }
        } else if kind.eq_ignore_ascii_case(b"application") {
            if subtype == b"*" {
                self.json.add(Weight { q, precision: 2 });
                self.problem.add(Weight { q, precision: 2 });
            } else if subtype.eq_ignore_ascii_case(b"json") {
                self.json.add(Weight { q, precision: 3 });
            } else if subtype.eq_ignore_ascii_case(b"problem+json") {
                self.problem.add(Weight { q, precision: 3 });
            }
        }
    }

    fn all(&mut self, weight: Weight) {
        self.text.add(weight);
        self.json.add(weight);
        self.problem.add(weight);
    }
}

impl Weight {
    fn add(&mut self, other: Weight) {
        if (other.precision, other.q) > (self.precision, self.q) {
            *self = other;
        }
    }
}

/// The `q` among a range's parameters: 1000 if there is none, `None` if it is invalid. Other parameters are
/// ignored: neither of our types has one that would change what is sent.
fn weight<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    for parameter in parameters {
        let Some(equals) = parameter.iter().position(|&byte| byte == b'=') else { continue };
        if parameter[..equals].trim_ascii().eq_ignore_ascii_case(b"q") {
            return qvalue(parameter[equals + 1..].trim_ascii());
        }
    }
    Some(1000)
}

/// A qvalue (RFC 9110 §12.4.2) in thousandths. A missing leading zero and digits after the third are
/// tolerated, because some clients send them.
fn qvalue(text: &[u8]) -> Option<u16> {
    let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let (whole, fraction) = (&text[..point], text.get(point + 1..).unwrap_or_default());
    if (whole.is_empty() && fraction.is_empty()) || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = (0..3)
        .fold(0, |sum, place| sum * 10 + u16::from(fraction.get(place).map_or(0, |digit| digit - b'0')));
    match whole {
        b"" | b"0" => Some(thousandths),
        b"1" if fraction.iter().all(|digit| *digit == b'0') => Some(1000),
        _ => None,
    }
}

/// The elements between the separators that are outside quoted strings, without surrounding white space.
fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let all = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = all.iter().position(|&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => return byte == separator && !quoted,
            }
            false
        });
        rest = end.map(|end| &all[end + 1..]);
        Some(all[..end.unwrap_or(all.len())].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(lines: &[&str]) -> Accept {
        let mut accept = Accept::default();
        for line in lines {
            accept.add_line(line.as_bytes());
        }
        accept
    }

    #[test]
    fn ids_are_written_as_the_client_prefers() {
        use Format::{Json, Text};
        for (lines, expected) in [
            (&[][..], Some(Text)),
            (&[""], Some(Text)),
            (&[",,"], Some(Text)),
            (&["*/*"], Some(Text)),
            (&["text/plain"], Some(Text)),
            (&["TEXT/Plain"], Some(Text)),
            (&["text/*"], Some(Text)),
            (&["application/json"], Some(Json)),
            (&["Application/JSON"], Some(Json)),
            (&["application/*"], Some(Json)),
            (&["application/json, text/plain, */*"], Some(Text)),
            (&["application/json, */*;q=0.5"], Some(Json)),
            (&["application/json, */*"], Some(Json)),
            (&["application/json;q=0.5, */*"], Some(Text)),
            (&["application/json;q=0.5, text/plain;q=0.4"], Some(Json)),
            (&["application/json;q=0.4, text/plain;q=0.5"], Some(Text)),
            (&["application/json;q=0.001, text/plain;q=0"], Some(Json)),
            (&["text/plain;q=0, */*"], Some(Json)),
            (&["*/*;q=0.1, text/*;q=0.2, text/plain;q=0"], Some(Json)),
            (&["text/*;q=0.9, application/*;q=0.8"], Some(Text)),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Some(Text)),
            (&["text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"], Some(Text)),
            (&["application/json; charset=utf-8"], Some(Json)),
            (&["application/json;v=\"a,b;q=0\""], Some(Json)),
            (&["application/json;v=\"a\\\",text/plain,\""], Some(Json)),
            (&["text/plain;q=0.5", "application/json;q=0.6"], Some(Json)),
            (&["text/plain;q=x, application/json;q=0.1"], Some(Json)),
            (&["text/plain;Q=0.1, application/json; q = 0.2"], Some(Json)),
            (&["text/plain;q=0.12345, application/json;q=0.123"], Some(Text)),
            (&["image/png"], None),
            (&["*/*;q=0"], None),
            (&["text/plain;q=0, application/json;q=0.000"], None),
            (&["text/html, application/xml"], None),
            (&["application/problem+json"], None),
        ] {
            assert_eq!(accept(lines).ids(), expected, "{lines:?}");
        }
    }

    #[test]
    fn errors_are_written_as_the_client_prefers_and_always_written() {
        use Format::{Json, Text};
        for (line, expected) in [
            ("", Text),
            ("*/*", Text),
            ("text/plain", Text),
            ("application/json", Json),
            ("application/problem+json", Json),
            ("application/problem+json;q=0.2, text/plain;q=0.3", Text),
            ("application/json, text/plain, */*", Text),
            ("application/json, */*;q=0.1", Json),
            ("*/*;q=0", Text),
            ("image/png", Text),
            ("application/json;q=0", Text),
        ] {
            assert_eq!(accept(&[line]).problems(), expected, "{line:?}");
        }
    }
}
