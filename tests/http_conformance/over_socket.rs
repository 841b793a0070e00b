//! The same rows against the real program: what the tables say of a connection's bytes must also hold for a
//! socket's.

// A test may unwrap: what fails there is the test.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::harness::{Content, Transcript, summary};
use crate::program::directory::Directory;
use crate::program::node::Node;
use crate::rows::Row;

/// The date in the tables, which replaces the real ones.
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
/// Longer inputs are sent in larger pieces: one system call per byte would show nothing more.
const BYTE_BY_BYTE_MAX: usize = 2_000;
/// How long an answer may take on a busy machine before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn each_row_gives_its_answer_over_a_socket_whole_in_pieces_and_three_times_in_one_packet() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &[]);
    let mut rows_run = 0;
    for row in crate::all_rows().iter().filter(|row| can_be_asked(row)) {
        let size = if row.input.len() <= BYTE_BY_BYTE_MAX { 1 } else { 1_000 };
        let pieces: Vec<&[u8]> = row.input.chunks(size).collect();
        for sent in [vec![&row.input[..]], pieces] {
            assert_eq!(exchange(&node.client_address, row, &sent, 1), row.expected, "{}", crate::name(row));
        }
        let times = if row.expected.ends_with("close") { 1 } else { 3 };
        let expected = vec![row.expected; times].join(" | ");
        let together = row.input.repeat(3);
        assert_eq!(
            exchange(&node.client_address, row, &[&together], times),
            expected,
            "{}",
            crate::name(row)
        );
        rows_run += 1;
    }
    assert!(rows_run > 250, "only {rows_run} rows");
}

/// Whether the row has an answer that does not depend on what is behind the connection: the pages in the
/// tables are made up.
fn can_be_asked(row: &Row) -> bool {
    let made_up = ["200 health", "200 ready", "200 leads", "200 {}"];
    let page = made_up.iter().any(|page| row.expected.contains(page))
        || String::from_utf8_lossy(&row.input).contains("/metrics");
    !row.expected.is_empty() && row.expected != "100" && !page
}

/// Sends the pieces, reads `times` as many answers as the row has, and the end; and summarises them.
fn exchange(address: &str, row: &Row, pieces: &[&[u8]], times: usize) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for piece in pieces {
        // If an earlier answer ended the connection, the rest may not be accepted.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let content = crate::content(row);
    let wanted = times * row.expected.split(" | ").count();
    let closes = row.expected.ends_with("close");
    let mut output = Vec::new();
    let mut ended = false;
    while !ended && complete_answers(&output, content) < wanted {
        ended = read_more(&mut stream, &mut output, row);
    }
    if !closes {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    while !ended {
        ended = read_more(&mut stream, &mut output, row);
    }
    let transcript = Transcript { output: with_fixed_date(&output), requests: Vec::new(), closed: closes };
    summary(&transcript, content)
}

/// True at the end of the stream. A reset would take an answer away from a client that has not read it yet.
fn read_more(stream: &mut TcpStream, output: &mut Vec<u8>, row: &Row) -> bool {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) => true,
        Ok(n) => {
            output.extend_from_slice(&buffer[..n]);
            false
        }
        Err(error) => panic!("{}\n{error} after {:?}", crate::name(row), String::from_utf8_lossy(output)),
    }
}

/// How many complete answers there are.
fn complete_answers(output: &[u8], content: Content) -> usize {
    let text = String::from_utf8_lossy(output);
    let mut rest = &text[..];
    let mut complete = 0;
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        let body = match content {
            Content::Sent => length.unwrap_or(0),
            Content::Withheld => 0,
        };
        let Some(next) = after.get(body..) else { break };
        rest = next;
        complete += 1;
    }
    complete
}

fn with_fixed_date(output: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    let lines = text.split("\r\n").map(|line| match line.strip_prefix("Date: ") {
        Some(date) if date.len() == DATE.len() => format!("Date: {DATE}"),
        Some(_) | None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\r\n").into_bytes()
}
