//! What has to happen in time: the client's requests, its reading of the answers, and the end of a quiet
//! connection.

use super::*;

#[test]
fn a_quiet_connection_gives_its_memory_back_and_later_closes_without_a_word() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    assert_eq!(client.poll(), Some(ONE));
    client.answer(ID);
    client.now = 5;
    client.read_all();
    assert_eq!(client.deadline(), Some(5 + BUFFERS_IDLE_US));
    client.expire();
    assert_eq!(client.deadline(), Some(5 + IDLE_US));
    client.expire();
    assert_eq!(client.read_all(), "");
    assert!(client.shuts_down());
    assert_eq!(client.deadline(), Some(5 + IDLE_US + DRAIN_US));
    client.expire();
    assert!(client.is_finished());
    assert_eq!(client.deadline(), None);
}

#[test]
fn giving_memory_back_ends_no_connection_even_if_it_is_overdue() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    client.poll();
    client.answer(ID);
    client.read_all();
    client.now = 2 * IDLE_US;
    client.with(|connection, turn| connection.release_idle_buffers(turn.now));
    assert_eq!(client.deadline(), Some(IDLE_US), "there is nothing left to be given back");
    client.send(PLAIN);
    assert_eq!(client.poll(), Some(ONE));
    client.answer(ID);
    assert_eq!(status(&client.read_all()), "200");
}

#[test]
fn a_connection_that_never_says_anything_is_closed() {
    let mut client = Client::new(Config::default());
    assert_eq!(client.deadline(), Some(IDLE_US));
    client.expire();
    assert!(client.shuts_down());
}

#[test]
fn a_deadline_that_has_not_come_changes_nothing() {
    let mut client = Client::new(Config::default());
    client.now = IDLE_US - 1;
    client.with(Connection::on_deadline);
    assert!(client.wants_input() && !client.shuts_down() && !client.is_finished());
}

#[test]
fn a_head_that_trickles_in_is_given_up_at_a_moment_that_trickling_does_not_move() {
    let mut client = Client::new(Config::default());
    client.now = 1000;
    client.send(b"P");
    for byte in b"OST / HTTP/1.1" {
        client.now += 1;
        client.send(&[*byte]);
        assert_eq!(client.deadline(), Some(1000 + HEAD_US));
    }
    client.expire();
    let answer = client.read_all();
    assert_eq!(status(&answer), "408");
    assert!(answer.contains("Connection: close\r\n"));
    assert!(client.shuts_down());
}

#[test]
fn a_body_that_trickles_in_is_given_up_at_a_moment_that_trickling_does_not_move() {
    let mut client = Client::new(Config::default());
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..100 {
        client.now += 1000;
        client.send(b"1\r\nx\r\n");
        assert_eq!(client.deadline(), Some(BODY_US));
    }
    client.expire();
    assert_eq!(client.poll(), None);
    assert_eq!(status(&client.read_all()), "408");
}

#[test]
fn the_time_for_a_body_begins_with_the_end_of_the_head() {
    let mut client = Client::new(Config::default());
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\n");
    client.now = 5000;
    client.send(b"Content-Length: 5\r\n\r\n");
    assert_eq!(client.deadline(), Some(5000 + BODY_US));
}

#[test]
fn the_error_about_a_head_request_that_came_too_slowly_has_no_content() {
    let mut client = Client::new(Config::default());
    client.send(b"HEAD / HTTP/1.1\r\n");
    client.expire();
    let answer = client.read_all();
    assert_eq!(status(&answer), "408");
    assert!(answer.ends_with("\r\n\r\n"));
}

#[test]
fn empty_lines_do_not_keep_a_connection_open() {
    let mut client = Client::new(Config::default());
    for _ in 0..4 {
        client.now += 1;
        client.send(b"\r\n");
    }
    assert_eq!(client.deadline(), Some(4 + IDLE_US));
    client.expire();
    assert!(client.shuts_down());
    let mut client = Client::new(Config::default());
    client.send(b"\r\n\r\n\r\n\r\n");
    client.send(b"\r\n");
    assert_eq!(status(&client.read_all()), "400");
}

#[test]
fn while_the_server_is_asked_no_deadline_runs_against_the_client() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    assert_eq!(client.poll(), Some(ONE));
    assert_eq!(client.deadline(), None);
    client.now = 10 * IDLE_US;
    client.with(Connection::on_deadline);
    client.answer(ID);
    assert_eq!(status(&client.read_all()), "200");
    assert!(client.wants_input());
}

#[test]
fn a_client_that_waits_for_100_is_not_hurried_before_it_is_sent() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    assert_eq!((client.poll(), client.poll()), (Some(ONE), None));
    assert_eq!(client.deadline(), None);
    client.now = 2 * BODY_US;
    client.answer(ID);
    assert!(client.read_all().ends_with("7HTTP/1.1 100 Continue\r\n\r\n"));
    assert_eq!(client.deadline(), Some(3 * BODY_US));
    client.send(b"x");
    assert_eq!(client.poll(), Some(ONE));
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let mut client = Client::new(Config::default());
    client.send(HEALTH);
    assert_eq!(client.poll(), Some(Request::Page(Page::Health)));
    client.now = 100;
    client.answer(PAGE);
    assert_eq!(client.deadline(), Some(100 + SEND_US));
    client.expire();
    assert!(client.is_finished());
}

#[test]
fn a_client_that_reads_a_byte_now_and_then_is_cut_off() {
    let mut client = Client::new(Config::default());
    client.send(HEALTH);
    client.poll();
    client.answer(PAGE);
    for _ in 0..10 {
        client.now += SEND_US / 20;
        client.read(1);
        assert_eq!(client.deadline(), Some(SEND_US));
    }
    client.expire();
    assert!(client.is_finished());
}

#[test]
fn a_client_that_reads_what_is_due_is_given_time_for_the_rest() {
    let mut client = Client::new(Config::default());
    client.send(PLAIN);
    client.send(PLAIN);
    client.poll();
    client.poll();
    client.answer(ID);
    let first = client.connection.output().len();
    client.now = 50;
    client.answer(ID);
    assert_eq!(client.deadline(), Some(SEND_US));
    client.now = 100;
    client.read(first);
    assert_eq!(client.deadline(), Some(100 + SEND_US));
    client.read_all();
    assert_eq!(client.deadline(), Some(100 + BUFFERS_IDLE_US));
}

#[test]
fn a_client_that_read_everything_is_given_time_for_the_next_answer() {
    let mut client = Client::new(Config::default());
    for round in [0, 100] {
        client.now = round;
        client.send(HEALTH);
        client.poll();
        client.answer(PAGE);
        assert_eq!(client.deadline(), Some(round + SEND_US));
        client.now += 10;
        client.read_all();
    }
}
