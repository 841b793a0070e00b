//! What a connection holds at most, what happens beyond that, and a connection that is itself one too many.

use super::*;

#[test]
fn beyond_the_pipeline_bound_nothing_is_read_until_answers_leave() {
    let mut client = Client::new(Config { pipeline_max: 4, ..Config::default() });
    client.send(&PLAIN.repeat(9));
    let mut asked = 0;
    while client.poll().is_some() {
        asked += 1;
    }
    assert_eq!((asked, client.connection.unanswered()), (4, 4));
    assert!(!client.wants_input());
    client.answer(ID);
    assert!(!client.wants_input(), "what is held back comes first");
    let mut answered = 1;
    while client.connection.unanswered() > 0 {
        client.answer(ID);
        answered += 1;
        while client.poll().is_some() {
            asked += 1;
        }
        assert!(client.connection.unanswered() <= 4);
    }
    assert_eq!((asked, answered), (9, 9));
    assert!(client.wants_input());
    assert_eq!(client.read_all().matches("HTTP/1.1 200 OK").count(), 9);
}

#[test]
fn while_much_waits_to_be_sent_nothing_is_read_and_no_page_is_asked_for() {
    let mut client = Client::new(Config { output_bytes_max: 500, ..Config::default() });
    client.send(&HEALTH.repeat(20));
    let mut shown = 0;
    while client.poll().is_some() {
        client.answer(PAGE);
        shown += 1;
    }
    assert!(shown < 5, "{shown}");
    assert!(client.connection.output().len() < 1000 && !client.wants_input());
    while !client.connection.output().is_empty() {
        client.read_all();
        while client.poll().is_some() {
            client.answer(PAGE);
            shown += 1;
        }
    }
    assert_eq!(shown, 20);
    assert!(client.wants_input());
}

#[test]
fn requests_that_need_no_server_are_answered_a_bounded_number_at_a_time_and_each_once() {
    let config = Config::default();
    let (most, bytes_max) = (config.pipeline_max, config.output_bytes_max);
    let mut client = Client::new(config);
    let mut expected = 2_000;
    client.send(&NOWHERE.repeat(expected));
    while expected > 0 {
        let answers = client.connection.output().to_vec();
        let count = String::from_utf8(answers).expect("text").matches("HTTP/1.1 404").count();
        assert!(count > 0, "{expected} requests are held back, and nothing says that there is work");
        assert!(count <= most && client.connection.output().len() < bytes_max, "{count} answers in one call");
        expected -= count;
        // Everything sent in one turn, in any number of pieces, counts as progress once.
        for bytes in [1, client.connection.output().len() - 1] {
            client.with(|connection, turn| connection.sent(turn, bytes));
        }
        assert_eq!(client.connection.output(), b"");
        client.with(Connection::resume);
    }
    assert!(client.wants_input() && client.connection.output().is_empty());
}

#[test]
fn answers_that_need_no_server_stand_between_those_that_come_all_at_once() {
    let mut client = Client::new(Config::default());
    let waits = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    client.send(&[PLAIN, NOWHERE, PLAIN, waits].concat());
    while client.poll().is_some() {}
    for _ in 0..3 {
        client.with(|connection, turn| connection.answer(turn, ID));
    }
    let said = client.read_all();
    let statuses: Vec<_> = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200", "100", "200"]);
}

#[test]
fn long_queries_kept_for_redirects_are_bounded() {
    let mut client = Client::new(Config::default());
    let long = format!("POST /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(7000));
    client.send(long.repeat(5).as_bytes());
    let mut asked = 0;
    while client.poll().is_some() {
        asked += 1;
    }
    assert_eq!(asked, 2);
    assert!(!client.wants_input());
    for _ in 0..5 {
        client.answer(Reply::Redirect { authority: "b" });
        while client.poll().is_some() {
            asked += 1;
        }
    }
    assert_eq!(asked, 5);
}

#[test]
fn a_page_is_asked_for_when_all_before_it_is_answered_and_nothing_after_it() {
    let mut client = Client::new(Config::default());
    client.send(&[PLAIN, HEALTH, PLAIN, PLAIN].concat());
    assert_eq!((client.poll(), client.poll()), (Some(ONE), None));
    client.answer(ID);
    assert_eq!((client.poll(), client.poll()), (Some(Request::Page(Page::Health)), None));
    client.answer(PAGE);
    assert_eq!((client.poll(), client.poll(), client.poll()), (Some(ONE), Some(ONE), None));
    assert_eq!(client.connection.unanswered(), 2);
}

#[test]
fn a_request_that_the_server_has_no_room_for_is_refused_in_its_turn() {
    let mut client = Client::new(Config::default());
    client.send(b"POST /?n=1&a HTTP/1.1\r\nHost: a\r\n\r\nPOST /?n=1&b HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(b"POST /?n=1&c HTTP/1.1\r\nHost: a\r\n\r\nPOST /?n=1&d HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.poll(), Some(ONE));
    for _ in 0..2 {
        assert_eq!(client.poll(), Some(ONE));
        client.with(Connection::shed);
    }
    assert_eq!(client.poll(), Some(ONE));
    assert_eq!(client.connection.unanswered(), 2, "the first and the last");
    assert_eq!(client.connection.output(), b"", "the first one's answer comes first");
    client.answer(Reply::Redirect { authority: "b:1" });
    client.answer(Reply::Redirect { authority: "b:1" });
    let said = client.read_all();
    let words = |line: &str| line.split(' ').nth(1).map(str::to_owned);
    let lines = said.lines().filter(|line| line.starts_with("HTTP/1.1 ") || line.starts_with("Location"));
    let told: Vec<_> = lines.filter_map(words).collect();
    assert_eq!(told, ["301", "http://b:1/?n=1&a", "503", "503", "301", "http://b:1/?n=1&d"], "{said}");
}

/// A connection that is one too many.
fn refused() -> Client {
    let mut client = Client::new(Config::default());
    client.connection = Connection::refused(Micros(0));
    client
}

#[test]
fn one_connection_too_many_is_told_when_it_has_asked_and_is_closed() {
    let mut client = refused();
    for part in [&b"\r\n"[..], &PLAIN[..20]] {
        client.send(part);
        assert!(client.wants_input() && client.connection.output().is_empty(), "that is no request yet");
    }
    client.send(&[&PLAIN[20..], PLAIN].concat());
    assert_eq!(client.poll(), None);
    assert!(!client.wants_input());
    let answer = client.read_all();
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), ("503", 1));
    assert!(answer.contains("Connection: close\r\n") && answer.contains("Retry-After: 1\r\n"));
    assert!(answer.ends_with("Too many connections are open already; try again\n"), "{answer}");
    assert!(client.shuts_down());
}

#[test]
fn one_connection_too_many_is_told_in_the_form_that_its_request_calls_for() {
    let told = |request: &str| {
        let mut client = refused();
        client.send(request.as_bytes());
        client.read_all()
    };
    let head = told("HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("\r\n\r\n"), "content for HEAD: {head}");
    let json = told("POST / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
    assert!(json.contains("Content-Type: application/problem+json\r\n"), "{json}");
    // Its body need not come, and 100 is not sent for it.
    let body = told("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    assert!(body.starts_with("HTTP/1.1 503 "), "{body}");
    assert_eq!(status(&told("POST / HTTP/1.1\r\n\r\n")), "400");
}

#[test]
fn one_connection_too_many_that_asks_for_nothing_is_soon_closed() {
    let mut silent = refused();
    silent.expire();
    assert_eq!((silent.now, silent.connection.output()), (DRAIN_US, &b""[..]));
    assert!(silent.shuts_down());
    let mut slow = refused();
    slow.send(&PLAIN[..20]);
    slow.expire();
    assert_eq!((slow.now, status(&slow.read_all())), (DRAIN_US, "408"));
    assert!(slow.shuts_down());
}

#[test]
fn one_connection_too_many_that_cannot_be_kept_is_told_at_once() {
    for begun in [&b""[..], &PLAIN[..20]] {
        let mut client = refused();
        if !begun.is_empty() {
            client.send(begun);
        }
        client.with(Connection::refuse_at_once);
        assert_eq!(status(&client.read_all()), "503");
        assert!(client.shuts_down());
    }
}

#[test]
fn a_long_head_is_refused_where_there_is_no_room_for_the_rest_of_it() {
    let head = [&b"POST / HTTP/1.1\r\nHost: a\r\nX: "[..], &[b'x'; 1000]].concat();
    let mut client = Client::new(Config::default());
    client.send(&[PLAIN, &head].concat());
    client.with(|connection, turn| connection.refuse_long_head(turn, head.len()));
    assert!(client.wants_input(), "it is not longer than that");
    client.with(|connection, turn| connection.refuse_long_head(turn, head.len() - 1));
    assert!(!client.wants_input());
    // Those before it are answered first.
    assert_eq!((client.poll(), client.poll()), (Some(ONE), None));
    client.answer(ID);
    let answers = client.read_all();
    assert_eq!(status(&answers), "200");
    assert!(answers.contains("HTTP/1.1 503 Service Unavailable\r\n"), "{answers}");
    assert!(answers.contains("\r\nRetry-After: 1\r\n"), "{answers}");
    assert!(client.shuts_down());
    // What is only held back has been begun by nobody.
    let mut client = Client::new(Config { pipeline_max: 1, ..Config::default() });
    client.send(&PLAIN.repeat(50));
    client.with(|connection, turn| connection.refuse_long_head(turn, 1));
    assert_eq!(client.connection.output(), b"");
}
