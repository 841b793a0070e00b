//! The rows of the conformance tables.

/// A rule, an input that tests it, and the expected answer.
pub(crate) struct Row {
    /// The source of the rule. `9110` and `9112` are the RFCs; `ours` is what ticketd promises beyond them.
    pub(crate) rule: &'static str,
    /// Condition and outcome.
    pub(crate) name: &'static str,
    pub(crate) input: Vec<u8>,
    /// As [`summary`](crate::harness::summary) writes it; empty if more input must come before there is an
    /// answer.
    pub(crate) expected: &'static str,
}

/// A row with the whole input given. In the text, `\n` stands for CR LF, `␊` for a bare LF and `␍` for a bare
/// CR.
pub(crate) fn raw(rule: &'static str, name: &'static str, text: &str, expected: &'static str) -> Row {
    let mut input = Vec::new();
    for character in text.chars() {
        match character {
            '\n' => input.extend_from_slice(b"\r\n"),
            '␊' => input.push(b'\n'),
            '␍' => input.push(b'\r'),
            other => input.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Row { rule, name, input, expected }
}

/// A POST with these field lines in addition to Host.
pub(crate) fn fields(rule: &'static str, name: &'static str, lines: &str, expected: &'static str) -> Row {
    raw(rule, name, &format!("POST / HTTP/1.1\nHost: a\n{lines}\n\n"), expected)
}

/// A request with this method and target.
pub(crate) fn target(rule: &'static str, name: &'static str, start: &str, expected: &'static str) -> Row {
    raw(rule, name, &format!("{start} HTTP/1.1\nHost: a\n\n"), expected)
}

/// A POST with this chunked body.
pub(crate) fn chunked(rule: &'static str, name: &'static str, body: &str, expected: &'static str) -> Row {
    raw(rule, name, &format!("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n{body}"), expected)
}
