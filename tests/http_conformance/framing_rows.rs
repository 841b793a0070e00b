//! Where a request ends: the subject of request smuggling.

use crate::rows::{Row, chunked, fields, raw};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = content_length();
    rows.extend(transfer_encoding());
    rows.extend(chunks());
    rows.extend(chunk_extensions());
    rows.extend(trailers());
    rows.extend(expectations());
    rows.extend(persistence());
    rows
}

fn content_length() -> Vec<Row> {
    let body = |name, length: &str, body: &str, expected| {
        raw(
            "9112 §6.2",
            name,
            &format!("POST / HTTP/1.1\nHost: a\nContent-Length: {length}\n\n{body}"),
            expected,
        )
    };
    let refused = |name, length: &str| {
        raw(
            "9110 §8.6",
            name,
            &format!("POST / HTTP/1.1\nHost: a\nContent-Length:{length}\n\nhello"),
            "400 close",
        )
    };
    vec![
        body("a length of 0 is no body", "0", "", "200 #"),
        body("a body of known length is read", "5", "hello", "200 #"),
        body("a body that looks like a request is a body", "29", "POST / HTTP/1.1\nHost: a\n\n", ""),
        body(
            "a body that looks like a request is read as a body",
            "28",
            "POST / HTTP/1.1\nHost: a\n\n",
            "200 #",
        ),
        body("an incomplete body is waited for", "5", "hell", ""),
        body("a length with leading zeros is read", "0005", "hello", "200 #"),
        body("a length of many zeros is read", &"0".repeat(40), "", "200 #"),
        body("a body of the greatest length is read", "65536", &"x".repeat(65_536), "200 #"),
        body("a longer body is too large", "65537", "", "413 close"),
        body("a body of a petabyte is too large", "1000000000000000", "", "413 close"),
        body("a body of 2^64-1 bytes is too large", "18446744073709551615", "", "413 close"),
        refused("a length of 2^64 is refused", " 18446744073709551616"),
        refused("a length of forty digits is refused", " 1000000000000000000000000000000000000000"),
        refused("an empty length is refused", ""),
        refused("a length of spaces is refused", "   "),
        refused("a positive sign is refused", " +5"),
        refused("a negative sign is refused", " -5"),
        refused("a negative zero is refused", " -0"),
        refused("a list of lengths is refused", " 5, 5"),
        refused("a list of different lengths is refused", " 5, 6"),
        refused("a list with an empty element is refused", " 5,"),
        refused("a space within a length is refused", " 1 0"),
        refused("a hexadecimal length is refused", " 0x5"),
        refused("hexadecimal digits are refused", " a"),
        refused("a fraction is refused", " 5.0"),
        refused("an exponent is refused", " 5e0"),
        refused("an underscore is refused", " 1_0"),
        refused("a quoted length is refused", " \"5\""),
        refused("a parameter is refused", " 5;x=y"),
        refused("digits of another script are refused", " \u{665}"),
        fields(
            "9112 §6.3",
            "the same length twice is refused",
            "Content-Length: 5\nContent-Length: 5",
            "400 close",
        ),
        fields("9112 §6.3", "two lengths are refused", "Content-Length: 5\nContent-Length: 6", "400 close"),
        fields(
            "9112 §6.3",
            "two lengths of different case are refused",
            "Content-Length: 0\ncontent-length: 0",
            "400 close",
        ),
        raw(
            "9110 §9.3.1",
            "the body of a GET is read",
            "GET / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello",
            "405",
        ),
        raw(
            "9112 §6",
            "the body of an unknown method is read",
            "BREW / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello",
            "501",
        ),
        raw(
            "9112 §6",
            "the body for an unknown path is read",
            "POST /x HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello",
            "404",
        ),
        raw(
            "9112 §6.3",
            "a request without framing has no body",
            "POST /x HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\nHost: a\n\n",
            "404 | 405",
        ),
        raw(
            "9112 §6.3",
            "a body in HTTP/1.0 is read",
            "POST / HTTP/1.0\nContent-Length: 5\n\nhello",
            "200 # close",
        ),
    ]
}

fn transfer_encoding() -> Vec<Row> {
    let coded = |rule, name, value: &str, expected| {
        fields(rule, name, &format!("Transfer-Encoding:{value}"), expected)
    };
    let both = |name, lines: &str| fields("9112 §6.1", name, lines, "400 close");
    vec![
        raw(
            "9112 §7.1",
            "the name of the coding has no case",
            "POST / HTTP/1.1\nHost: a\ntransfer-encoding: CHUNKED\n\n0\n\n",
            "200 #",
        ),
        raw(
            "9112 §7.1",
            "space after the coding is passed over",
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked \t\n\n0\n\n",
            "200 #",
        ),
        both("both framings are refused", "Content-Length: 5\nTransfer-Encoding: chunked"),
        both(
            "both framings the other way round are refused",
            "Transfer-Encoding: chunked\nContent-Length: 5",
        ),
        both("both framings with a length of 0 are refused", "Content-Length: 0\nTransfer-Encoding: chunked"),
        both(
            "both framings with an unknown coding are refused",
            "Content-Length: 5\nTransfer-Encoding: gzip, chunked",
        ),
        both("both framings with a malformed coding are refused", "Content-Length: 5\nTransfer-Encoding: ,"),
        coded(
            "9112 §6.1",
            "an unknown coding before chunked is not implemented",
            " gzip, chunked",
            "501 close",
        ),
        coded(
            "9112 §6.1",
            "two unknown codings before chunked are not implemented",
            " a, b, chunked",
            "501 close",
        ),
        coded(
            "9112 §6.1",
            "an unknown coding with a parameter is not implemented",
            " a;b=c, chunked",
            "501 close",
        ),
        fields(
            "9112 §6.1",
            "codings on two lines are one list",
            "Transfer-Encoding: gzip\nTransfer-Encoding: chunked",
            "501 close",
        ),
        coded("9112 §6.3", "an unknown coding alone is refused", " gzip", "400 close"),
        coded("9112 §6.3", "identity is refused", " identity", "400 close"),
        coded("9112 §6.3", "chunked before another coding is refused", " chunked, gzip", "400 close"),
        coded("9112 §6.3", "chunked before identity is refused", " chunked, identity", "400 close"),
        fields(
            "9112 §6.3",
            "chunked on a line before another is refused",
            "Transfer-Encoding: chunked\nTransfer-Encoding: gzip",
            "400 close",
        ),
        coded("9112 §7.1", "chunked twice is refused", " chunked, chunked", "400 close"),
        fields(
            "9112 §7.1",
            "chunked on two lines is refused",
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
            "400 close",
        ),
        coded("9112 §7.1", "chunked with a parameter is refused", " chunked;x=y", "400 close"),
        coded(
            "9112 §7.1",
            "chunked with a parameter before chunked is refused",
            " chunked;x=y, chunked",
            "400 close",
        ),
        coded("9112 §7.1", "chunked in quotes is refused", " \"chunked\"", "400 close"),
        coded("9112 §6.1", "an empty coding is refused", "", "400 close"),
        coded("9112 §6.1", "an empty element before chunked is refused", " , chunked", "400 close"),
        coded("9112 §6.1", "an empty element after chunked is refused", " chunked,", "400 close"),
        coded("9112 §6.1", "a word that ends in chunked is refused", " xchunked", "400 close"),
        coded("9112 §6.1", "a word that begins with chunked is refused", " chunkedx", "400 close"),
        coded("9112 §6.1", "chunked after a space is refused", " x chunked", "400 close"),
        coded("9112 §6.1", "chunked after an obs-text byte is refused", " \u{a0}chunked", "400 close"),
        raw(
            "9112 §6.1",
            "a coding in HTTP/1.0 is refused",
            "POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n0\n\n",
            "400 close",
        ),
        raw(
            "9112 §6.1",
            "a coding in HTTP/1.0 that asks to go on is refused",
            "POST / HTTP/1.0\nConnection: keep-alive\nTransfer-Encoding: chunked\n\n0\n\n",
            "400 close",
        ),
    ]
}

fn chunks() -> Vec<Row> {
    let row = |name, body: &str, expected| chunked("9112 §7.1", name, body, expected);
    vec![
        row("no chunk but the last is an empty body", "0\n\n", "200 #"),
        row("one chunk is read", "5\nhello\n0\n\n", "200 #"),
        row("several chunks are read", "1\nh\n4\nello\n0\n\n", "200 #"),
        row("lower-case hexadecimal is read", "a\n0123456789\n0\n\n", "200 #"),
        row("upper-case hexadecimal is read", "A\n0123456789\n0\n\n", "200 #"),
        row("leading zeros are read", "0005\nhello\n0\n\n", "200 #"),
        row("a last chunk of several zeros is read", "000\n\n", "200 #"),
        row("a size of sixteen digits is read", "0000000000000005\nhello\n0\n\n", "200 #"),
        row("chunk data may look like chunks", "6\n0\n\nx\n0\n\n", "200 #"),
        row("a body without its last chunk is waited for", "5\nhello\n", ""),
        row("a body without its last line is waited for", "5\nhello\n0\n", ""),
        row("a size of seventeen digits is refused", "00000000000000005\nhello\n0\n\n", "400 close"),
        row("a size that overflows is refused", "10000000000000005\nhello\n0\n\n", "400 close"),
        row("an empty size is refused", "\nhello\n0\n\n", "400 close"),
        row("a size that is not hexadecimal is refused", "g\nhello\n0\n\n", "400 close"),
        row("a size with a prefix is refused", "0x5\nhello\n0\n\n", "400 close"),
        row("a size with a positive sign is refused", "+5\nhello\n0\n\n", "400 close"),
        row("a size with a negative sign is refused", "-5\nhello\n0\n\n", "400 close"),
        row("a space before a size is refused", " 5\nhello\n0\n\n", "400 close"),
        row("a space after a size is refused", "5 \nhello\n0\n\n", "400 close"),
        row("a tab after a size is refused", "5\t\nhello\n0\n\n", "400 close"),
        row("an underscore in a size is refused", "1_0\nhello\n0\n\n", "400 close"),
        row("two sizes in a line are refused", "5 5\nhello\n0\n\n", "400 close"),
        row("a bare LF after a size is refused", "5␊hello\n0\n\n", "400 close"),
        row("a bare CR after a size is refused", "5␍hello\n0\n\n", "400 close"),
        row("CR CR LF after a size is refused", "5␍\nhello\n0\n\n", "400 close"),
        row("a NUL after a size is refused", "5\0\nhello\n0\n\n", "400 close"),
        row("data longer than its size is refused", "5\nhello!\n0\n\n", "400 close"),
        row("data shorter than its size is refused", "5\nhell\n0\n\n", "400 close"),
        row("data without its line end is refused", "5\nhello0\n\n", "400 close"),
        row("a bare LF after data is refused", "5\nhello␊0\n\n", "400 close"),
        row("a bare CR after data is refused", "5\nhello␍0\n\n", "400 close"),
        row("a bare LF after the last chunk is refused", "0␊\n", "400 close"),
        row("a bare LF at the end is refused", "0\n␊", "400 close"),
        row("a bare CR at the end is refused", "0\n␍x", "400 close"),
        row(
            "a chunk of the greatest length is read",
            &format!("10000\n{}\n0\n\n", "x".repeat(65_536)),
            "200 #",
        ),
        chunked("9110 §15.5.14", "a longer chunk is too large", "10001\n", "413 close"),
        chunked("9110 §15.5.14", "a chunk of 2^64-1 bytes is too large", "ffffffffffffffff\n", "413 close"),
        chunked(
            "9110 §15.5.14",
            "chunks that are longer together are too large",
            &format!("1\nx\n10000\n{}", "x".repeat(100)),
            "413 close",
        ),
        raw(
            "9112 §6",
            "chunks to an unknown path are read",
            "POST /x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
            "404",
        ),
    ]
}

fn chunk_extensions() -> Vec<Row> {
    let row = |name, extension: &str, expected| {
        chunked("9112 §7.1.1", name, &format!("5{extension}\nhello\n0\n\n"), expected)
    };
    vec![
        row("a name is passed over", ";a", "200 #"),
        row("a name and a token are passed over", ";a=b", "200 #"),
        row("a name and a quoted string are passed over", ";a=\"b;c=\\\"d\"", "200 #"),
        row("an empty quoted string is passed over", ";a=\"\"", "200 #"),
        row("several extensions are passed over", ";a=b;c;d=\"e\"", "200 #"),
        row("bad white space is passed over", " ; a = b ;\tc", "200 #"),
        chunked("9112 §7.1.1", "an extension of the last chunk is passed over", "0;a=b\n\n", "200 #"),
        row("a semicolon alone is refused", ";", "400 close"),
        row("two semicolons are refused", ";;a", "400 close"),
        row("an equals sign without a name is refused", ";=b", "400 close"),
        row("an equals sign without a value is refused", ";a=", "400 close"),
        row("a name without a semicolon is refused", "a;", "400 close"),
        row("two names without a semicolon are refused", ";a b", "400 close"),
        row("a space at the end is refused", ";a=b ", "400 close"),
        row("a space after a name at the end is refused", ";a ", "400 close"),
        row("an equals sign after a value is refused", ";a=b =c", "400 close"),
        row("an unclosed quoted string is refused", ";a=\"b", "400 close"),
        row("text after a quoted string is refused", ";a=\"b\"c", "400 close"),
        row("a bare LF in an extension is refused", ";a␊", "400 close"),
        row("a bare CR in an extension is refused", ";a␍b", "400 close"),
        row("a bare LF in a quoted string is refused", ";a=\"␊\"", "400 close"),
        row("a NUL in a quoted string is refused", ";a=\"\0\"", "400 close"),
        row("a DEL in a quoted string is refused", ";a=\"\u{7f}\"", "400 close"),
        row("a name with a slash is refused", ";a/b", "400 close"),
        row("extensions of 1000 bytes are passed over", &format!(";{}", "a".repeat(999)), "200 #"),
        row("extensions of more than 1024 bytes are refused", &format!(";{}", "a".repeat(1100)), "400 close"),
        chunked(
            "ours",
            "many extensions that are too long together are refused",
            &format!("1;{}\nx\n", "a".repeat(99)).repeat(11),
            "400 close",
        ),
    ]
}

fn trailers() -> Vec<Row> {
    let row =
        |name, trailer: &str, expected| chunked("9112 §7.1.2", name, &format!("0\n{trailer}\n"), expected);
    vec![
        row("a trailer field is passed over", "X: b\n", "200 #"),
        row("several trailer fields are passed over", "X: b\nY:\nZ: \u{e4}\t\n", "200 #"),
        chunked(
            "9110 §6.5.1",
            "a length in the trailer is passed over",
            "0\nContent-Length: 100\n\n",
            "200 #",
        ),
        chunked(
            "9110 §6.5.1",
            "a coding in the trailer is passed over",
            "0\nTransfer-Encoding: chunked\n\n",
            "200 #",
        ),
        chunked("9110 §6.5.1", "close in the trailer is passed over", "0\nConnection: close\n\n", "200 #"),
        row("a space before the colon is refused", "X : b\n", "400 close"),
        row("a folded line is refused", "X: b\n c\n", "400 close"),
        row("a line without a colon is refused", "X\n", "400 close"),
        row("a line without a name is refused", ": b\n", "400 close"),
        row("a bare LF is refused", "X: b␊", "400 close"),
        row("a bare CR is refused", "X: b␍c\n", "400 close"),
        row("a NUL is refused", "X: \0\n", "400 close"),
        row("a DEL is refused", "X: \u{7f}\n", "400 close"),
        row("a trailer of 4000 bytes is passed over", &format!("X: {}\n", "b".repeat(4000)), "200 #"),
        chunked(
            "6585 §5",
            "a trailer of 5000 bytes is too large",
            &format!("0\nX: {}\n\n", "b".repeat(5000)),
            "431 close",
        ),
    ]
}

fn expectations() -> Vec<Row> {
    let head = |lines: &str, body: &str| format!("POST / HTTP/1.1\nHost: a\n{lines}\n\n{body}");
    let row = |name, input: &str, expected| raw("9110 §10.1.1", name, input, expected);
    vec![
        row(
            "a client that waits is told to go on",
            &head("Expect: 100-continue\nContent-Length: 5", ""),
            "100",
        ),
        row(
            "a client that does not wait is told all the same",
            &head("Expect: 100-continue\nContent-Length: 5", "hello"),
            "100 | 200 #",
        ),
        row(
            "chunks are waited for in the same way",
            &head("Expect: 100-continue\nTransfer-Encoding: chunked", "0\n\n"),
            "100 | 200 #",
        ),
        row(
            "the expectation has no case",
            &head("expect: 100-Continue\nContent-Length: 5", "hello"),
            "100 | 200 #",
        ),
        row(
            "the expectation twice is one",
            &head("Expect: 100-continue, 100-continue\nContent-Length: 5", "hello"),
            "100 | 200 #",
        ),
        row("without a body there is nothing to wait for", &head("Expect: 100-continue", ""), "200 #"),
        row(
            "with an empty body there is nothing to wait for",
            &head("Expect: 100-continue\nContent-Length: 0", ""),
            "200 #",
        ),
        row("an empty expectation is none", &head("Expect:\nContent-Length: 5", "hello"), "200 #"),
        row("an unknown expectation fails", &head("Expect: 200-ok", ""), "417"),
        row("an unknown expectation beside a known one fails", &head("Expect: 100-continue, x", ""), "417"),
        row(
            "an unknown expectation on another line fails",
            &head("Expect: x\nExpect: 100-continue", ""),
            "417",
        ),
        row(
            "an unknown expectation with a body ends the connection",
            &head("Expect: x\nContent-Length: 5", "hello"),
            "417 close",
        ),
        row(
            "a body that is too large is refused before it is sent",
            &head("Expect: 100-continue\nContent-Length: 65537", ""),
            "413 close",
        ),
        row(
            "an unknown path is refused before the body is sent",
            "POST /x HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 5\n\n",
            "404 close",
        ),
        row(
            "a wrong method is refused before the body is sent",
            "PUT / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 5\n\n",
            "405 close",
        ),
        row(
            "a client of HTTP/1.0 cannot wait",
            "POST / HTTP/1.0\nExpect: 100-continue\nContent-Length: 5\n\nhello",
            "200 # close",
        ),
        row(
            "an unknown expectation in HTTP/1.0 is passed over",
            "POST / HTTP/1.0\nExpect: x\n\n",
            "200 # close",
        ),
    ]
}

fn persistence() -> Vec<Row> {
    let row = |name, version: &str, option: &str, expected| {
        raw("9112 §9.3", name, &format!("POST / HTTP/{version}\nHost: a\nConnection:{option}\n\n"), expected)
    };
    vec![
        row("1.1 goes on where it says so", "1.1", " keep-alive", "200 #"),
        row("1.1 ends where it says so", "1.1", " close", "200 # close"),
        row("close has no case", "1.1", " CLOSE", "200 # close"),
        row("close counts in a list", "1.1", " x, close", "200 # close"),
        row("close wins over keep-alive", "1.1", " close, keep-alive", "200 # close"),
        row("close wins over keep-alive before it", "1.1", " keep-alive,close", "200 # close"),
        row("empty elements are passed over", "1.1", " ,, close ,", "200 # close"),
        row("an unknown option is passed over", "1.1", " closed", "200 #"),
        row("an empty list is passed over", "1.1", "", "200 #"),
        row("1.0 goes on where it says so", "1.0", " keep-alive", "200 # keep-alive"),
        row("keep-alive has no case", "1.0", " Keep-Alive", "200 # keep-alive"),
        row("1.0 ends where it says so", "1.0", " close", "200 # close"),
        row("1.0 ends where it says both", "1.0", " keep-alive, close", "200 # close"),
        raw("9112 §9.3", "1.0 ends where it says nothing", "POST / HTTP/1.0\nHost: a\n\n", "200 # close"),
        raw(
            "9112 §9.6",
            "close on a second line counts",
            "POST / HTTP/1.1\nHost: a\nConnection: x\nConnection: close\n\n",
            "200 # close",
        ),
        raw(
            "9112 §9.6",
            "nothing after close is a request",
            "POST / HTTP/1.1\nHost: a\nConnection: close\n\nPOST / HTTP/1.1\nHost: a\n\n",
            "200 # close",
        ),
        raw(
            "9112 §9.6",
            "nothing after an error is a request",
            "POST / HTTP/1.1\n\nPOST / HTTP/1.1\nHost: a\n\n",
            "400 close",
        ),
        raw(
            "9112 §9.3",
            "an answer to a wrong method lets 1.0 go on",
            "GET / HTTP/1.0\nConnection: keep-alive\n\n",
            "405 keep-alive",
        ),
        raw(
            "9112 §9.3.2",
            "answers come in the order of the requests",
            "POST / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\nHost: a\n\n\
             POST /?n=3 HTTP/1.1\nHost: a\n\nPOST /x HTTP/1.1\nHost: a\n\n",
            "200 # | 405 | 200 # # | 404",
        ),
        raw(
            "9112 §9.3.2",
            "an error waits for the answers before it",
            "POST / HTTP/1.1\nHost: a\n\nPOST / HTTP/1.1\n\n",
            "200 # | 400 close",
        ),
        raw(
            "9112 §9.3.2",
            "100 waits for the answers before it",
            "POST / HTTP/1.1\nHost: a\n\n\
             POST / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 1\n\nx",
            "200 # | 100 | 200 #",
        ),
    ]
}
