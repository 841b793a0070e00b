//! Request lines, header lines, versions, and the bounds of both.

use crate::rows::{Row, fields, raw, target};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = request_line();
    rows.extend(line_ends());
    rows.extend(field_lines());
    rows.extend(host());
    rows.extend(bounds());
    rows
}

fn request_line() -> Vec<Row> {
    let host = "\nHost: a\n\n";
    vec![
        raw("9112 §3", "a plain request is granted", &format!("POST / HTTP/1.1{host}"), "200 #"),
        raw(
            "9112 §3",
            "two spaces before the target are refused",
            &format!("POST  / HTTP/1.1{host}"),
            "400 close",
        ),
        raw(
            "9112 §3",
            "two spaces before the version are refused",
            &format!("POST /  HTTP/1.1{host}"),
            "400 close",
        ),
        raw(
            "9112 §3",
            "a space after the version is refused",
            &format!("POST / HTTP/1.1 {host}"),
            "400 close",
        ),
        raw(
            "9112 §3",
            "a space before the method is refused",
            &format!(" POST / HTTP/1.1{host}"),
            "400 close",
        ),
        raw("9112 §3", "a tab for a space is refused", &format!("POST\t/ HTTP/1.1{host}"), "400 close"),
        raw(
            "9112 §3",
            "a tab before the version is refused",
            &format!("POST /\tHTTP/1.1{host}"),
            "400 close",
        ),
        raw(
            "9112 §3",
            "a form feed for a space is refused",
            &format!("POST\u{c}/ HTTP/1.1{host}"),
            "400 close",
        ),
        raw("9112 §3", "a line without a target is refused", &format!("POST HTTP/1.1{host}"), "400 close"),
        raw(
            "9112 §3",
            "a line with an empty target is refused",
            &format!("POST  HTTP/1.1{host}"),
            "400 close",
        ),
        raw("9112 §3", "a line of one word is refused", "POST\n", "400 close"),
        raw("9112 §3", "a line of one space is refused", " \n", "400 close"),
        raw(
            "9112 §3",
            "a target with a space in it is refused",
            &format!("POST /a b HTTP/1.1{host}"),
            "400 close",
        ),
        raw("9112 §2.3", "a request of HTTP/0.9 is refused", "GET /\n", "400 close"),
        raw("9112 §3.1", "a method with a slash is refused", &format!("PO/ST / HTTP/1.1{host}"), "400 close"),
        raw("9112 §3.1", "a method with a colon is refused", &format!("POST: / HTTP/1.1{host}"), "400 close"),
        raw(
            "9112 §3.1",
            "a method with a quote is refused",
            &format!("\"POST\" / HTTP/1.1{host}"),
            "400 close",
        ),
        raw(
            "9112 §3.1",
            "a method with an obs-text byte is refused",
            &format!("PÖST / HTTP/1.1{host}"),
            "400 close",
        ),
        raw("9110 §9.1", "a lower-case method is another method", &format!("post / HTTP/1.1{host}"), "501"),
        raw("9110 §9.1", "an unknown method is not implemented", &format!("BREW / HTTP/1.1{host}"), "501"),
        raw(
            "9110 §9.1",
            "a method of odd token characters is unknown",
            &format!("!#$%&'*+-.^_`|~9 / HTTP/1.1{host}"),
            "501",
        ),
        raw(
            "9110 §9.1",
            "a registered method of WebDAV is unknown",
            &format!("PROPFIND / HTTP/1.1{host}"),
            "501",
        ),
        raw("9112 §2.3", "a lower-case version is refused", &format!("POST / http/1.1{host}"), "400 close"),
        raw(
            "9112 §2.3",
            "a version of mixed case is refused",
            &format!("POST / Http/1.1{host}"),
            "400 close",
        ),
        raw(
            "9112 §2.3",
            "a version without a minor number is refused",
            &format!("POST / HTTP/1{host}"),
            "400 close",
        ),
        raw(
            "9112 §2.3",
            "a version with an empty minor number is refused",
            &format!("POST / HTTP/1.{host}"),
            "400 close",
        ),
        raw(
            "9112 §2.3",
            "a version of two digits is refused",
            &format!("POST / HTTP/1.10{host}"),
            "400 close",
        ),
        raw(
            "9112 §2.3",
            "a version with a leading zero is refused",
            &format!("POST / HTTP/01.1{host}"),
            "400 close",
        ),
        raw("9112 §2.3", "a version with a comma is refused", &format!("POST / HTTP/1,1{host}"), "400 close"),
        raw(
            "9112 §2.3",
            "a version with a letter is refused",
            &format!("POST / HTTP/1.x{host}"),
            "400 close",
        ),
        raw("9112 §2.3", "another protocol is refused", &format!("POST / ICY/1.1{host}"), "400 close"),
        raw(
            "9112 §2.3",
            "a version with a space in it is refused",
            &format!("POST / HTTP /1.1{host}"),
            "400 close",
        ),
        raw(
            "9110 §2.5",
            "a higher minor version is taken for 1.1",
            &format!("POST / HTTP/1.2{host}"),
            "200 #",
        ),
        raw(
            "9110 §2.5",
            "the highest minor version is taken for 1.1",
            &format!("POST / HTTP/1.9{host}"),
            "200 #",
        ),
        raw("9110 §15.6.6", "version 2.0 is not supported", &format!("POST / HTTP/2.0{host}"), "505 close"),
        raw("9110 §15.6.6", "version 3.0 is not supported", &format!("POST / HTTP/3.0{host}"), "505 close"),
        raw("9110 §15.6.6", "version 0.9 is not supported", &format!("POST / HTTP/0.9{host}"), "505 close"),
        raw("9110 §15.6.6", "version 9.9 is not supported", &format!("POST / HTTP/9.9{host}"), "505 close"),
        raw("9113 §3.4", "the preface of HTTP/2 is refused", "PRI * HTTP/2.0\n\nSM\n\n", "505 close"),
        raw("9110 §9.3.2", "an error in a HEAD request has no content", "HEAD / HTTP/2.0\n\n", "505 close"),
        raw("8446 §5.1", "the greeting of TLS is refused", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", "400 close"),
        raw("9112 §5", "a request without header fields lacks Host", "POST / HTTP/1.1\n\n", "400 close"),
        raw("9112 §2.2", "an incomplete request line is waited for", "POST / HTTP/1.1", ""),
        raw("9112 §2.2", "an incomplete head is waited for", "POST / HTTP/1.1\nHost: a\n", ""),
        raw("9112 §2.2", "a head that lacks its last LF is waited for", "POST / HTTP/1.1\nHost: a\n␍", ""),
        target("9112 §3.2", "a target that is no path is refused", "POST x", "400 close"),
        target("9112 §3.2", "a query without a path is refused", "POST ?n=1", "400 close"),
    ]
}

fn line_ends() -> Vec<Row> {
    let plain = "POST / HTTP/1.1\nHost: a\n\n";
    vec![
        raw("9112 §2.2", "one empty line before a request is passed over", &format!("\n{plain}"), "200 #"),
        raw(
            "9112 §2.2",
            "four empty lines before a request are passed over",
            &format!("\n\n\n\n{plain}"),
            "200 #",
        ),
        raw(
            "ours",
            "five empty lines before a request are refused",
            &format!("\n\n\n\n\n{plain}"),
            "400 close",
        ),
        raw("9112 §2.2", "empty lines alone are no request", "\n\n\n", ""),
        raw("9112 §2.2", "a bare LF before a request is refused", &format!("␊{plain}"), "400 close"),
        raw("9112 §2.2", "a bare CR before a request is refused", &format!("␍{plain}"), "400 close"),
        raw(
            "9112 §2.2",
            "a bare LF after the request line is refused",
            "POST / HTTP/1.1␊Host: a\n\n",
            "400 close",
        ),
        raw("9112 §2.2", "a bare LF after a field is refused", "POST / HTTP/1.1\nHost: a␊\n", "400 close"),
        raw(
            "9112 §2.2",
            "a bare LF for the empty line is refused",
            "POST / HTTP/1.1\nHost: a\n␊",
            "400 close",
        ),
        raw("9112 §2.2", "LF alone throughout is refused", "POST / HTTP/1.1␊Host: a␊␊", "400 close"),
        raw(
            "9112 §2.2",
            "a bare CR after the request line is refused",
            "POST / HTTP/1.1␍Host: a\n\n",
            "400 close",
        ),
        raw("9112 §2.2", "a bare CR in the target is refused", "POST /␍x HTTP/1.1\nHost: a\n\n", "400 close"),
        raw(
            "9112 §2.2",
            "a bare CR in a value is refused",
            "POST / HTTP/1.1\nHost: a\nX: b␍c\n\n",
            "400 close",
        ),
        raw(
            "9112 §2.2",
            "a bare CR in a name is refused",
            "POST / HTTP/1.1\nHost: a\nX␍: b\n\n",
            "400 close",
        ),
        raw("9112 §2.2", "CR CR LF is refused", "POST / HTTP/1.1\nHost: a␍\n\n", "400 close"),
        raw(
            "9112 §2.2",
            "a bare CR for the empty line is refused",
            "POST / HTTP/1.1\nHost: a\n␍X: b\n\n",
            "400 close",
        ),
        raw("9112 §2.2", "LF CR is refused", "POST / HTTP/1.1␊␍Host: a␊␍␊␍", "400 close"),
        raw("9110 §5.5", "a NUL in the target is refused", "POST /\0 HTTP/1.1\nHost: a\n\n", "400 close"),
        raw("9110 §5.5", "a NUL in a value is refused", "POST / HTTP/1.1\nHost: a\nX: b\0\n\n", "400 close"),
        raw("9110 §5.5", "a NUL in a name is refused", "POST / HTTP/1.1\nHost: a\nX\0: b\n\n", "400 close"),
        raw(
            "9110 §5.5",
            "an escape character in a value is refused",
            "POST / HTTP/1.1\nHost: a\nX: \u{1b}[0m\n\n",
            "400 close",
        ),
        raw(
            "9110 §5.5",
            "a DEL in a value is refused",
            "POST / HTTP/1.1\nHost: a\nX: \u{7f}\n\n",
            "400 close",
        ),
        raw("9110 §5.5", "a DEL in the target is refused", "POST /\u{7f} HTTP/1.1\nHost: a\n\n", "400 close"),
        raw("9110 §5.5", "a DEL is refused as soon as it comes", "POST / HTTP/1.1\nX: \u{7f}", "400 close"),
        raw("9110 §5.5", "a NUL is refused as soon as it comes", "POST / HTTP/1.1\nX: \0", "400 close"),
        raw(
            "9110 §5.5",
            "a vertical tab in a value is refused",
            "POST / HTTP/1.1\nHost: a\nX: \u{b}chunked\n\n",
            "400 close",
        ),
        raw(
            "9110 §5.5",
            "a form feed in a value is refused",
            "POST / HTTP/1.1\nHost: a\nX: \u{c}\n\n",
            "400 close",
        ),
    ]
}

fn field_lines() -> Vec<Row> {
    vec![
        fields("9112 §5", "a field without space after the colon is read", "X:b", "200 #"),
        fields("9112 §5", "space around a value is passed over", "X: \t b \t", "200 #"),
        fields("9112 §5", "an empty value is read", "X:", "200 #"),
        fields("9112 §5", "a value of spaces is read", "X:   ", "200 #"),
        fields("9110 §5.5", "a tab within a value is read", "X: b\tc", "200 #"),
        fields("9110 §5.5", "obs-text in a value is read", "X: \u{e4}\u{ff}", "200 #"),
        fields("9110 §5.6.2", "a name of odd token characters is read", "!#$%&'*+-.^_`|~9: b", "200 #"),
        fields("9110 §5.3", "an unknown field twice is read", "X: b\nX: c", "200 #"),
        fields("9112 §5.1", "a space before the colon is refused", "X : b", "400 close"),
        fields("9112 §5.1", "a tab before the colon is refused", "X\t: b", "400 close"),
        fields(
            "9112 §5.1",
            "a space before the colon of Content-Length is refused",
            "Content-Length : 0",
            "400 close",
        ),
        fields(
            "9112 §5.1",
            "a space before the colon of Transfer-Encoding is refused",
            "Transfer-Encoding : chunked",
            "400 close",
        ),
        fields("9112 §5.2", "a line folded with a space is refused", "X: b\n c", "400 close"),
        fields("9112 §5.2", "a line folded with a tab is refused", "X: b\n\tc", "400 close"),
        fields(
            "9112 §5.2",
            "a folded Transfer-Encoding is refused",
            "Transfer-Encoding:\n chunked",
            "400 close",
        ),
        fields("9112 §5.2", "a line of one space is refused", " ", "400 close"),
        raw(
            "9112 §2.2",
            "space before the first field is refused",
            "POST / HTTP/1.1\n Host: a\n\n",
            "400 close",
        ),
        fields("9112 §5", "a line without a colon is refused", "X", "400 close"),
        fields("9112 §5", "a line without a name is refused", ": b", "400 close"),
        fields("9112 §5", "a name with a space in it is refused", "X Y: b", "400 close"),
        fields("9110 §5.1", "a name with an obs-text byte is refused", "\u{e4}: b", "400 close"),
        fields("9110 §5.1", "a name with a parenthesis is refused", "X(: b", "400 close"),
        fields("9110 §5.1", "a name with a bracket is refused", "[X]: b", "400 close"),
        fields("9110 §5.1", "a name with a slash is refused", "X/Y: b", "400 close"),
        fields("9110 §5.1", "a name with a quote is refused", "\"X\": b", "400 close"),
        fields(
            "9110 §7.8",
            "an upgrade is not taken up",
            "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk",
            "200 #",
        ),
        fields(
            "9110 §7.8",
            "an upgrade to a web socket is not taken up",
            "Connection: Upgrade\nUpgrade: websocket",
            "200 #",
        ),
        fields("9110 §10.1.4", "TE is passed over", "TE: trailers, deflate;q=0.5\nConnection: TE", "200 #"),
        fields("9110 §14.2", "Range is passed over for POST", "Range: bytes=0-0", "200 #"),
        fields("9110 §13.1", "conditions are passed over for POST", "If-None-Match: *", "200 #"),
    ]
}

fn host() -> Vec<Row> {
    let host = |name, value: &str, expected| {
        raw("9112 §3.2", name, &format!("POST / HTTP/1.1\nHost:{value}\n\n"), expected)
    };
    vec![
        raw("9112 §3.2", "no Host in HTTP/1.1 is refused", "POST / HTTP/1.1\nX: a\n\n", "400 close"),
        raw("9112 §3.2", "no Host in HTTP/1.0 is granted", "POST / HTTP/1.0\n\n", "200 # close"),
        raw("9112 §3.2", "two Hosts are refused", "POST / HTTP/1.1\nHost: a\nHost: b\n\n", "400 close"),
        raw(
            "9112 §3.2",
            "the same Host twice is refused",
            "POST / HTTP/1.1\nHost: a\nHost: a\n\n",
            "400 close",
        ),
        raw(
            "9112 §3.2",
            "two Hosts of different case are refused",
            "POST / HTTP/1.1\nHost: a\nhOST: a\n\n",
            "400 close",
        ),
        raw(
            "9112 §3.2",
            "two Hosts in HTTP/1.0 are refused",
            "POST / HTTP/1.0\nHost: a\nHost: a\n\n",
            "400 close",
        ),
        raw("9112 §3.2", "a bad Host in HTTP/1.0 is refused", "POST / HTTP/1.0\nHost: a b\n\n", "400 close"),
        host("an empty Host is granted", "", "200 #"),
        host("a name is granted", " ids.example.com", "200 #"),
        host("a name and a port are granted", " ids.example.com:8001", "200 #"),
        host("a name and an empty port are granted", " ids.example.com:", "200 #"),
        host("a name with an underscore is granted", " ids_1", "200 #"),
        host("a percent-encoded name is granted", " %C3%A4.example", "200 #"),
        host("an IPv4 address is granted", " 127.0.0.1:8001", "200 #"),
        host("an IPv6 address is granted", " [::1]:8001", "200 #"),
        host("an IPv6 address with an IPv4 end is granted", " [::ffff:127.0.0.1]", "200 #"),
        host("an IPv6 address with a zone is refused", " [fe80::1%eth0]", "400 close"),
        host("an IPv6 address with an encoded zone is refused", " [fe80::1%25eth0]", "400 close"),
        host("an unclosed IPv6 address is refused", " [::1", "400 close"),
        host("an IPv6 address without brackets is refused", " ::1", "400 close"),
        host("brackets around a colon are refused", " [:]", "400 close"),
        host("an IPv6 address of nine groups is refused", " [1:2:3:4:5:6:7:8:9]", "400 close"),
        host("an IPv6 address of seven groups is refused", " [1:2:3:4:5:6:7]", "400 close"),
        host("an IPv6 address with two gaps is refused", " [1::2::3]", "400 close"),
        host("an IPv6 address with a group of five digits is refused", " [::12345]", "400 close"),
        host("an IPv6 address that embeds no IPv4 address is refused", " [::ffff:1.2.3]", "400 close"),
        host("brackets around a name are refused", " [localhost]", "400 close"),
        host("text after an IPv6 address is refused", " [::1]x", "400 close"),
        host("a list is refused", " a, b", "400 close"),
        host("a path is refused", " a/b", "400 close"),
        host("a URI is refused", " http://a", "400 close"),
        host("user information is refused", " user@a", "400 close"),
        host("a port of letters is refused", " a:http", "400 close"),
        host("a port of six digits is refused", " a:800100", "400 close"),
        host("a port with a sign is refused", " a:-1", "400 close"),
        host("a port without a name is refused", " :8001", "400 close"),
        host("a broken percent-encoding is refused", " a%4", "400 close"),
        host("an obs-text byte is refused", " \u{e4}", "400 close"),
        host("a backslash is refused", " a\\b", "400 close"),
    ]
}

fn bounds() -> Vec<Row> {
    let long = |bytes: usize| "x".repeat(bytes);
    let lines = |count: usize| (0..count).map(|at| format!("X-{at}: b\n")).collect::<String>();
    let field = |bytes: usize| {
        // Host, the name, the line ends and the empty line are part of the bound.
        let rest = "Host: a\r\nX: \r\n\r\n".len();
        format!("POST / HTTP/1.1\nHost: a\nX: {}\n\n", long(bytes - rest))
    };
    vec![
        target("9112 §3", "a target of 8000 bytes is read", &format!("POST /?{}", long(7998)), "200 #"),
        target(
            "9112 §3",
            "a target of 8001 bytes is too long",
            &format!("POST /?{}", long(7999)),
            "414 close",
        ),
        target(
            "9112 §3",
            "a target of 9000 bytes is too long",
            &format!("POST /?{}", long(8998)),
            "414 close",
        ),
        raw("9112 §3", "a target without end is too long", &format!("GET /{}", long(9000)), "414 close"),
        raw(
            "9112 §3",
            "a long target of HEAD has no content in its answer",
            &format!("HEAD /{}", long(9000)),
            "414 close",
        ),
        target("9112 §3", "a method of 40 bytes is unknown", &format!("{} /", "A".repeat(40)), "501"),
        raw("9112 §3", "a method without end is unknown", &"A".repeat(9000), "501 close"),
        raw("6585 §5", "100 fields are read", &format!("POST / HTTP/1.1\nHost: a\n{}\n", lines(99)), "200 #"),
        raw(
            "6585 §5",
            "101 fields are too many",
            &format!("POST / HTTP/1.1\nHost: a\n{}\n", lines(100)),
            "431 close",
        ),
        raw("6585 §5", "fields of 16 KiB are read", &field(16 * 1024), "200 #"),
        raw("6585 §5", "fields of one byte more are too large", &field(16 * 1024 + 1), "431 close"),
        raw(
            "6585 §5",
            "a field without end is too large",
            &format!("POST / HTTP/1.1\nX: {}", long(17_000)),
            "431 close",
        ),
        raw(
            "6585 §5",
            "fields without end are too large",
            &format!("POST / HTTP/1.1\n{}", lines(2000)),
            "431 close",
        ),
    ]
}
