//! The rules of RFC 9110 and RFC 9112, row by row, tested on a whole connection. Each row is run with its
//! bytes cut in every way, after other requests, and three times in one packet; the answers must be the same.

mod framing_rows;
mod harness;
mod head_rows;
mod meaning_rows;
mod mutations;
mod over_socket;
#[path = "../harness/mod.rs"]
mod program;
mod rows;
mod shapes;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use harness::{Answers, Content, Server, check_ids, cuts, run, summary};
use rows::Row;
use ticketd::http::Config;

const PLAIN: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";

fn all_rows() -> Vec<Row> {
    head_rows::rows().into_iter().chain(framing_rows::rows()).chain(meaning_rows::rows()).collect()
}

fn content(row: &Row) -> Content {
    Content::of_answers_to(&row.input)
}

fn name(row: &Row) -> String {
    format!("{}: {}\n{}", row.rule, row.name, String::from_utf8_lossy(&row.input[..row.input.len().min(400)]))
}

#[test]
fn each_row_gives_its_answer_however_its_bytes_are_cut() {
    let config = Config::default();
    let mut wrong = String::new();
    for row in all_rows() {
        let whole = run(&config, Server::Leads, Answers::AtOnce, &[&row.input]);
        let found = summary(&whole, content(&row));
        if found != row.expected {
            writeln!(wrong, "{}\n{found} instead of {}\n", name(&row), row.expected).unwrap();
            continue;
        }
        if content(&row) == Content::Sent {
            check_ids(&whole);
        }
        for pieces in cuts(&row.input) {
            for answers in [Answers::AtOnce, Answers::Late] {
                let cut = run(&config, Server::Leads, answers, &pieces);
                assert_eq!(cut, whole, "{}\n{answers:?}, first piece {}", name(&row), pieces[0].len());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_row_gives_its_answer_after_other_requests_in_the_same_packet() {
    let config = Config::default();
    for row in all_rows().iter().filter(|row| content(row) == Content::Sent) {
        let input = [PLAIN, PLAIN, &row.input].concat();
        let expected = ["200 #", "200 #", row.expected].join(" | ");
        let expected = expected.strip_suffix(" | ").unwrap_or(&expected);
        for answers in [Answers::AtOnce, Answers::Late] {
            let together = run(&config, Server::Leads, answers, &[&input]);
            assert_eq!(summary(&together, Content::Sent), expected, "{}", name(row));
            check_ids(&together);
        }
    }
}

#[test]
fn each_row_three_times_in_one_packet_gives_its_answer_three_times() {
    let config = Config::default();
    let mut rows_run = 0;
    for row in all_rows().iter().filter(|row| !row.expected.is_empty() && row.expected != "100") {
        let input = row.input.repeat(3);
        // Nothing follows an answer after which the connection closes.
        let times = if row.expected.ends_with("close") { 1 } else { 3 };
        let expected = vec![row.expected; times].join(" | ");
        for pieces in [vec![&input[..]], input.chunks(1).collect(), input.chunks(7).collect()] {
            for answers in [Answers::AtOnce, Answers::Late] {
                let together = run(&config, Server::Leads, answers, &pieces);
                assert_eq!(summary(&together, content(row)), expected, "{}", name(row));
            }
        }
        rows_run += 1;
    }
    assert!(rows_run > 250, "only {rows_run} rows");
}

#[test]
fn no_two_rows_have_the_same_name_and_input() {
    let rows = all_rows();
    assert!(rows.len() >= 250, "{}", rows.len());
    let names: BTreeSet<_> = rows.iter().map(|row| (row.rule, row.name)).collect();
    let inputs: BTreeSet<_> = rows.iter().map(|row| &row.input).collect();
    let twice = |row: &&Row| rows.iter().filter(|other| other.input == row.input).count() > 1;
    let repeated: Vec<_> = rows.iter().filter(twice).map(|row| row.name).collect();
    assert_eq!((names.len(), inputs.len()), (rows.len(), rows.len()), "{repeated:?}");
}
