//! How a connection ends: after an error, because the client closes it, and because the server stops.

use super::*;

#[test]
fn an_error_is_read_by_the_client_before_the_connection_closes() {
    let mut client = Client::new(Config { drain_bytes_max: 1000, ..Config::default() });
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nbody");
    assert!(!client.wants_input(), "not before the answer has left");
    assert!(!client.shuts_down());
    let answer = client.read_all();
    assert_eq!(status(&answer), "413");
    assert!(client.shuts_down() && !client.shuts_down(), "once");
    assert!(client.wants_input() && !client.is_finished());
    client.send(&[b'x'; 900]);
    assert!(client.wants_input());
    client.send(&[b'x'; 101]);
    assert!(client.is_finished() && !client.wants_input());
}

#[test]
fn a_client_that_closes_after_an_error_ends_the_wait() {
    let mut client = Client::new(Config::default());
    client.send(b"\0");
    client.read_all();
    assert!(client.shuts_down() && !client.is_finished());
    client.with(Connection::end_of_input);
    assert!(client.is_finished());
}

#[test]
fn a_client_that_only_shuts_its_side_is_answered() {
    let mut client = Client::new(Config::default());
    client.send(&PLAIN.repeat(2));
    client.with(Connection::end_of_input);
    assert_eq!((client.poll(), client.poll()), (Some(ONE), Some(ONE)));
    assert!(!client.wants_input() && !client.is_finished());
    client.answer(ID);
    client.answer(ID);
    let answers = client.read_all();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
    assert_eq!(answers.matches("Connection: close").count(), 1, "only the last says so");
    assert!(client.is_finished() && !client.shuts_down());
}

#[test]
fn a_body_that_nobody_reads_any_more_is_not_asked_for() {
    let waits = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    for (end, refused) in
        [(Connection::end_of_input as fn(&mut Connection, Turn<'_>), "400"), (Connection::wind_down, "503")]
    {
        let mut client = Client::new(Config::default());
        client.send(&[PLAIN, waits].concat());
        assert_eq!((client.poll(), client.poll()), (Some(ONE), None));
        client.with(end);
        client.answer(ID);
        let answers = client.read_all();
        assert!(!answers.contains("100 Continue"), "{answers}");
        let statuses: Vec<&str> =
            answers.match_indices("HTTP/1.1 ").map(|(at, _)| status(&answers[at..])).collect();
        assert_eq!(statuses, ["200", refused]);
    }
}

#[test]
fn a_body_that_has_come_and_makes_no_sense_is_not_asked_for() {
    let mut client = Client::new(Config::default());
    let malformed =
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    client.send(&[PLAIN, malformed].concat());
    assert_eq!((client.poll(), client.poll()), (Some(ONE), None));
    client.answer(ID);
    let answers = client.read_all();
    assert!(!answers.contains("100 Continue"), "{answers}");
    assert!(answers.contains("HTTP/1.1 400 "), "{answers}");
}

#[test]
fn requests_held_back_when_the_client_shuts_its_side_are_answered() {
    let mut client = Client::new(Config { pipeline_max: 2, ..Config::default() });
    client.send(&PLAIN.repeat(6));
    client.with(Connection::end_of_input);
    let mut answered = 0;
    loop {
        while client.poll().is_some() {}
        if client.connection.unanswered() == 0 {
            break;
        }
        client.answer(ID);
        answered += 1;
    }
    assert_eq!(answered, 6);
    client.read_all();
    assert!(client.is_finished());
}

#[test]
fn a_client_that_shuts_its_side_between_requests_ends_the_connection() {
    let mut client = Client::new(Config::default());
    client.with(Connection::end_of_input);
    assert!(client.is_finished());
}

#[test]
fn a_client_that_shuts_its_side_within_a_request_is_told() {
    for part in
        [&b"POST / HTTP/1.1\r\nHo"[..], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell", b"\r"]
    {
        let mut client = Client::new(Config::default());
        client.send(part);
        client.with(Connection::end_of_input);
        assert_eq!(client.poll(), None);
        assert_eq!(status(&client.read_all()), "400");
        assert!(client.is_finished());
    }
}

#[test]
fn winding_down_answers_what_was_read_and_then_closes() {
    let mut client = Client::new(Config::default());
    client.send(&PLAIN.repeat(2));
    client.poll();
    client.with(Connection::wind_down);
    assert!(!client.wants_input() && !client.shuts_down());
    client.answer(ID);
    assert_eq!(client.poll(), Some(ONE));
    client.answer(ID);
    let answers = client.read_all();
    assert_eq!(answers.matches("Connection: close").count(), 1);
    assert!(answers.ends_with('7'));
    assert!(client.shuts_down());
}

#[test]
fn winding_down_closes_a_connection_at_rest_and_refuses_half_a_request() {
    let mut client = Client::new(Config::default());
    client.with(Connection::wind_down);
    assert!(client.connection.output().is_empty() && client.shuts_down());
    let mut client = Client::new(Config::default());
    client.send(b"POST / HT");
    client.with(Connection::wind_down);
    assert_eq!(status(&client.read_all()), "503");
    assert!(client.shuts_down());
}

#[test]
fn winding_down_loses_no_request_that_was_read() {
    let mut client = Client::new(Config { pipeline_max: 2, ..Config::default() });
    client.send(&[&PLAIN.repeat(7), &b"POST / HT"[..]].concat());
    client.with(Connection::wind_down);
    let mut answered = 0;
    while client.poll().is_some() {
        client.answer(ID);
        answered += 1;
    }
    assert_eq!(answered, 7);
    assert!(!client.wants_input());
    let said = client.read_all();
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 7);
    let last = said.rfind("HTTP/1.1 ").expect("an answer");
    assert_eq!(status(&said[last..]), "503", "of the eighth, only a part was read");
    assert_eq!((said.find("Connection: close") > Some(last), client.shuts_down()), (true, true));
}

/// A connection that is to close once its client has been answered.
fn closing() -> Client {
    let mut client = Client::new(Config { pipeline_max: 2, ..Config::default() });
    client.connection.close_when_answered();
    client
}

/// Answers everything that the server is asked for, reads all output, and returns the number of answers. The
/// last answer must say that the connection closes, and none before it may.
#[track_caller]
fn farewell(client: &mut Client) -> usize {
    let mut said = String::new();
    loop {
        while client.poll().is_some() {
            client.answer(ID);
        }
        if client.connection.output().is_empty() {
            break;
        }
        said.push_str(&client.read_all());
    }
    let last = said.rfind("HTTP/1.1 ").expect("an answer");
    assert_eq!(said.matches("Connection: close").count(), 1, "{said}");
    assert!(said[last..].contains("Connection: close"), "{said}");
    assert!(client.shuts_down());
    said.matches("HTTP/1.1 ").count()
}

#[test]
fn the_last_answer_of_a_connection_that_is_to_close_says_so_whoever_gives_it() {
    for (requests, count) in [
        (vec![PLAIN], 1),
        (vec![NOWHERE], 1),
        (vec![b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"], 1),
        (vec![NOWHERE, NOWHERE, PLAIN], 3),
        (vec![PLAIN, NOWHERE], 2),
        (vec![NOWHERE, b"\r\n"], 1),
        // More requests than may wait at once.
        (vec![PLAIN; 7], 7),
        (vec![NOWHERE; 7], 7),
        (vec![NOWHERE, PLAIN, NOWHERE, NOWHERE, PLAIN, PLAIN, NOWHERE], 7),
    ] {
        let mut client = closing();
        client.send(&requests.concat());
        assert_eq!(farewell(&mut client), count, "{requests:?}");
    }
}

#[test]
fn a_connection_that_is_to_close_waits_for_a_request_and_for_the_end_of_one_that_has_begun() {
    let mut client = closing();
    assert!(client.wants_input() && !client.shuts_down());
    client.send(&[NOWHERE, b"POST / HT"].concat());
    assert!(!client.read_all().contains("Connection: close"), "another request has begun");
    assert!(client.wants_input() && !client.shuts_down());
    client.send(b"TP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(farewell(&mut client), 1);
}

#[test]
fn a_client_that_waits_for_100_on_a_connection_that_is_to_close_is_answered() {
    let mut client = closing();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(client.read_all(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(client.wants_input() && !client.shuts_down());
    client.send(b"x");
    assert_eq!(farewell(&mut client), 1);
}

#[test]
fn a_request_that_waits_when_its_connection_is_to_close_is_the_last() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    assert_eq!(client.poll(), Some(ONE));
    client.connection.close_when_answered();
    client.answer(ID);
    assert_eq!(farewell(&mut client), 1);
}
