//! Targets, methods, ranges, and how answers are written.

use crate::rows::{Row, fields, raw, target};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = targets();
    rows.extend(methods());
    rows.extend(ranges());
    rows.extend(formats());
    rows
}

fn targets() -> Vec<Row> {
    let absolute = |name, uri: &str, expected| target("9112 §3.2.2", name, &format!("POST {uri}"), expected);
    vec![
        target("9112 §3.2.1", "an empty query is none", "POST /?", "200 #"),
        target("9112 §3.2.1", "an unknown parameter is passed over", "POST /?x=y", "200 #"),
        target(
            "9112 §3.2.1",
            "all characters of a query are read",
            "POST /?a-._~!$&'()*+,;=:@/?%20",
            "200 #",
        ),
        target("9110 §15.5.5", "an unknown path is not found", "POST /x", "404"),
        target("9110 §15.5.5", "an unknown path is not found for GET", "GET /favicon.ico", "404"),
        target("9110 §15.5.5", "two slashes are an unknown path", "POST //", "404"),
        target("9110 §15.5.5", "a dot segment is an unknown path", "POST /.", "404"),
        target("9110 §15.5.5", "an encoded slash is an unknown path", "POST /%2F", "404"),
        target("9110 §15.5.5", "a path below a page is unknown", "GET /healthz/", "404"),
        target("9112 §3.2", "a fragment is refused", "POST /#x", "400 close"),
        target("3986 §2.1", "a broken percent-encoding is refused", "POST /?%4", "400 close"),
        target("3986 §2.1", "a percent-encoding of other letters is refused", "POST /?%GG", "400 close"),
        target("3986 §2", "a quote is refused", "POST /?\"", "400 close"),
        target("3986 §2", "an angle bracket is refused", "POST /?<", "400 close"),
        target("3986 §2", "a brace is refused", "POST /?{x}", "400 close"),
        target("3986 §2", "a square bracket is refused", "POST /?a[]=b", "400 close"),
        target("3986 §2", "a square bracket that is encoded is read", "POST /?a%5B%5D=b", "200 #"),
        target("3986 §2", "a bar is refused", "POST /?a|b", "400 close"),
        target("3986 §2", "a bar that is encoded is read", "POST /?a%7Cb", "200 #"),
        target("3986 §2", "a caret is refused", "POST /?^", "400 close"),
        target("3986 §2", "a backtick is refused", "POST /?`", "400 close"),
        target("3986 §2", "a backslash is refused", "POST /\\", "400 close"),
        target("3986 §2", "an obs-text byte is refused", "POST /\u{e4}", "400 close"),
        target("3986 §6.2.2", "an encoded letter of a path is that letter", "GET /%68ealthz", "200 health"),
        absolute("a URI is read", "http://a/", "200 #"),
        absolute("a URI without a path is read", "http://a", "200 #"),
        absolute("a URI with a query and no path is read", "http://a?n=2", "200 # #"),
        absolute("a URI with a port is read", "http://a:8001/?n=2", "200 # #"),
        absolute("a URI with an IPv6 address is read", "http://[::1]:8001/", "200 #"),
        absolute("a scheme has no case", "HTTP://A/", "200 #"),
        absolute("a URI with an unknown path is not found", "http://a/x", "404"),
        absolute("a URI wins over Host", "http://other.example/", "200 #"),
        raw("9112 §3.2", "a URI without Host is refused", "POST http://a/ HTTP/1.1\n\n", "400 close"),
        raw("9112 §3.2.2", "a URI in HTTP/1.0 is read", "POST http://a/ HTTP/1.0\n\n", "200 # close"),
        target("9110 §4.2.1", "a URI with an empty host is refused", "POST http:///", "400 close"),
        target("9110 §4.2.1", "a URI with a port and no host is refused", "POST http://:8001/", "400 close"),
        target("9110 §4.2.4", "user information is refused", "POST http://user@a/", "400 close"),
        target("9112 §3.2.2", "a URI without slashes is refused", "POST http:a", "400 close"),
        target("9112 §3.2.2", "a URI with a fragment is refused", "POST http://a/#x", "400 close"),
        target("3986 §3.1", "a scheme that begins with a digit is refused", "POST 1http://a/", "400 close"),
        target("3986 §3.1", "an empty scheme is refused", "POST ://a/", "400 close"),
        target("9110 §7.4", "a URI of https is misdirected", "POST https://a/", "421 close"),
        target("9110 §7.4", "a URI of ftp is misdirected", "GET ftp://a/", "421 close"),
        target("9112 §3.2.3", "CONNECT to an authority is not allowed", "CONNECT a:443", "405 close"),
        target("9112 §3.2.3", "CONNECT to an IPv6 address is not allowed", "CONNECT [::1]:443", "405 close"),
        target("9112 §3.2.3", "CONNECT to a path is refused", "CONNECT /", "400 close"),
        target("9112 §3.2.3", "CONNECT to a URI is refused", "CONNECT http://a/", "400 close"),
        target("9112 §3.2.3", "CONNECT without a port is refused", "CONNECT a", "400 close"),
        target("9112 §3.2.3", "CONNECT with an empty port is refused", "CONNECT a:", "400 close"),
        target("9112 §3.2.3", "an authority for POST is refused", "POST a:8001", "400 close"),
        target("9112 §3.2.4", "an asterisk for POST is refused", "POST *", "400 close"),
        target("9112 §3.2.4", "an asterisk for GET is refused", "GET *", "400 close"),
        target("9112 §3.2.4", "two asterisks are refused", "OPTIONS **", "400 close"),
        target("9112 §3.2.4", "OPTIONS for an asterisk is answered", "OPTIONS *", "200"),
        target(
            "9112 §3.2.4",
            "OPTIONS for a URI without a path is for the server",
            "OPTIONS http://a",
            "200",
        ),
    ]
}

fn methods() -> Vec<Row> {
    let wrong = |name, start: &str| target("9110 §15.5.6", name, start, "405");
    vec![
        wrong("GET takes no ID", "GET /"),
        wrong("HEAD takes no ID", "HEAD /"),
        wrong("GET takes no IDs", "GET /?n=5"),
        wrong("PUT takes no ID", "PUT /"),
        wrong("DELETE takes no ID", "DELETE /"),
        wrong("PATCH takes no ID", "PATCH /"),
        wrong("TRACE takes no ID", "TRACE /"),
        wrong("POST to a page is not allowed", "POST /metrics"),
        wrong("PUT to a page is not allowed", "PUT /healthz"),
        wrong("DELETE of a page is not allowed", "DELETE /status"),
        target("9110 §9.3.7", "OPTIONS for the IDs is answered", "OPTIONS /", "200"),
        target("9110 §9.3.7", "OPTIONS for a page is answered", "OPTIONS /readyz", "200"),
        target("9110 §9.3.7", "OPTIONS for nothing is not found", "OPTIONS /x", "404"),
        target("9110 §15.6.2", "an unknown method for nothing is not implemented", "BREW /x", "501"),
        target("ours", "the health page is shown", "GET /healthz", "200 health"),
        target("ours", "the readiness page is shown", "GET /readyz", "200 ready"),
        target("ours", "the readiness page knows who leads", "GET /readyz?leader", "200 leads"),
        target(
            "ours",
            "the readiness page knows who leads, with a value",
            "GET /readyz?x&leader=1",
            "200 leads",
        ),
        target("ours", "the status page is shown", "GET /status", "200 {}"),
        target("ours", "a page may say that not all is well", "GET /metrics", "503"),
        target("ours", "a page passes over its query", "GET /healthz?x=y", "200 health"),
        target("9110 §9.3.2", "HEAD of a page has no content", "HEAD /healthz", "200"),
        target("9110 §9.3.2", "HEAD of nothing has no content", "HEAD /x", "404"),
        raw(
            "9110 §9.3.2",
            "HEAD and close go together",
            "HEAD /healthz HTTP/1.1\nHost: a\nConnection: close\n\n",
            "200 close",
        ),
        raw(
            "9110 §9.3.2",
            "a malformed HEAD has no content",
            "HEAD / HTTP/1.1\nHost: a\nX : b\n\n",
            "400 close",
        ),
    ]
}

fn ranges() -> Vec<Row> {
    let row = |name, query: &str, expected| target("ours", name, &format!("POST /?{query}"), expected);
    vec![
        row("n=1 is a plain request", "n=1", "200 #"),
        row("n=2 is a range", "n=2", "200 # #"),
        row("n=1000000 is the longest range", "n=1000000", "200 # #"),
        row("n among other parameters counts", "a=b&n=2&c", "200 # #"),
        row("n with leading zeros is read", "n=0002", "200 # #"),
        row("an encoded n is n", "%6E=2", "200 # #"),
        row("an encoded digit is that digit", "n=%32", "200 # #"),
        row("N is another parameter", "N=5", "200 #"),
        row("nn is another parameter", "nn=5", "200 #"),
        row("n=0 is refused", "n=0", "400"),
        row("n=1000001 is refused", "n=1000001", "400"),
        row("n=2^64 is refused", "n=18446744073709551616", "400"),
        row("n without a value is refused", "n", "400"),
        row("n with an empty value is refused", "n=", "400"),
        row("a negative n is refused", "n=-1", "400"),
        row("n with a sign is refused", "n=+1", "400"),
        row("n with a space is refused", "n=%201", "400"),
        row("n with a NUL is refused", "n=1%00", "400"),
        row("a hexadecimal n is refused", "n=0x1", "400"),
        row("a fraction is refused", "n=1.5", "400"),
        row("n twice is refused", "n=1&n=1", "400"),
        row("n once plain and once encoded is refused", "n=1&%6e=2", "400"),
    ]
}

fn formats() -> Vec<Row> {
    let row =
        |name, value: &str, expected| fields("9110 §12.5.1", name, &format!("Accept: {value}"), expected);
    vec![
        row("whoever takes all is given text", "*/*", "200 #"),
        row("whoever wants JSON is given JSON", "application/json", "200 {\"id\":#}"),
        row("whoever prefers JSON is given JSON", "text/plain;q=0.5, application/json", "200 {\"id\":#}"),
        row("whoever prefers text is given text", "text/plain, application/json;q=0.5", "200 #"),
        row("whoever takes no text is given JSON", "text/plain;q=0, */*", "200 {\"id\":#}"),
        row(
            "browsers are given text",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "200 #",
        ),
        row("HTTPie is given JSON", "application/json, */*;q=0.5", "200 {\"id\":#}"),
        row("axios is given text", "application/json, text/plain, */*", "200 #"),
        row(
            "Java's HttpURLConnection is given text",
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
            "200 #",
        ),
        row("an empty Accept is none", "", "200 #"),
        fields(
            "9110 §5.3",
            "two lines of Accept are one list",
            "Accept: text/plain;q=0.1\nAccept: application/json",
            "200 {\"id\":#}",
        ),
        raw(
            "ours",
            "a range is given as JSON",
            "POST /?n=5 HTTP/1.1\nHost: a\nAccept: application/json\n\n",
            "200 {\"first\":#,\"last\":#}",
        ),
        raw(
            "ours",
            "n=1 is given as JSON",
            "POST /?n=1 HTTP/1.1\nHost: a\nAccept: application/json\n\n",
            "200 {\"id\":#}",
        ),
        fields("9110 §15.5.7", "whoever takes neither gets none", "Accept: image/png", "406"),
        fields("9110 §15.5.7", "whoever takes nothing gets none", "Accept: */*;q=0", "406"),
        raw(
            "9110 §15.5.7",
            "what takes no ID is never unacceptable",
            "GET /x HTTP/1.1\nHost: a\nAccept: image/png\n\n",
            "404",
        ),
        raw(
            "9110 §12.5.1",
            "a page comes in its own type",
            "GET /healthz HTTP/1.1\nHost: a\nAccept: image/png\n\n",
            "200 health",
        ),
    ]
}
