//! Answers byte for byte: what clients have been promised.

use std::num::NonZeroU64;

use ticketd::http::{Config, Serves};
use ticketd::redirect_status::RedirectStatus;

use crate::PLAIN;
use crate::harness::{Answer, Answers, Content, Server, answers, run};

const COMMON: &str = concat!(
    "Server: ticketd/",
    env!("CARGO_PKG_VERSION"),
    "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nCache-Control: no-store\r\n"
);

fn exchange(config: &Config, server: Server, input: &str) -> String {
    let transcript = run(config, server, Answers::AtOnce, &[input.as_bytes()]);
    String::from_utf8(transcript.output).expect("all that we send is text")
}

fn only_answer(config: &Config, server: Server, input: &str) -> Answer {
    let transcript = run(config, server, Answers::AtOnce, &[input.as_bytes()]);
    let mut answers = answers(&transcript, Content::of_answers_to(input.as_bytes()));
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

fn request(start: &str, accept: &str) -> String {
    format!("{start} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")
}

#[test]
fn an_id_is_digits_and_nothing_else() {
    assert_eq!(
        exchange(&Config::default(), Server::Leads, std::str::from_utf8(PLAIN).unwrap()),
        format!("HTTP/1.1 200 OK\r\n{COMMON}Content-Type: text/plain\r\nContent-Length: 1\r\n\r\n1")
    );
}

#[test]
fn a_range_is_its_first_and_last_id_and_one_space() {
    let answer = only_answer(&Config::default(), Server::Leads, &request("POST /?n=100", "*/*"));
    assert_eq!(answer.body, "1 100");
    assert_eq!(answer.field("Content-Type"), Some("text/plain"));
}

#[test]
fn json_is_given_in_its_own_type() {
    for (target, body) in [("POST /", "{\"id\":1}"), ("POST /?n=100", "{\"first\":1,\"last\":100}")] {
        let answer = only_answer(&Config::default(), Server::Leads, &request(target, "application/json"));
        assert_eq!(answer.body, body);
        assert_eq!(answer.field("Content-Type"), Some("application/json"));
    }
}

#[test]
fn a_redirect_keeps_path_and_query() {
    for (target, location) in [
        ("/", "http://leader:8001/"),
        ("/?", "http://leader:8001/?"),
        ("/?n=5&x=%20y", "http://leader:8001/?n=5&x=%20y"),
        ("http://a?n=5", "http://leader:8001/?n=5"),
        ("http://a:80", "http://leader:8001/"),
    ] {
        assert_eq!(
            exchange(
                &Config::default(),
                Server::Follows,
                &format!("POST {target} HTTP/1.1\r\nHost: a\r\n\r\n")
            ),
            format!(
                "HTTP/1.1 301 Moved Permanently\r\n{COMMON}Location: {location}\r\nContent-Length: 0\r\n\r\n"
            )
        );
    }
}

#[test]
fn redirects_of_pipelined_requests_keep_each_its_own_query() {
    let input: String = (0..300).map(|at| format!("POST /?x={at} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    for late in [Answers::AtOnce, Answers::Late] {
        let transcript = run(&Config::default(), Server::Follows, late, &[input.as_bytes()]);
        let answers = answers(&transcript, Content::Sent);
        assert_eq!(answers.len(), 300);
        for (at, answer) in answers.iter().enumerate() {
            assert_eq!(answer.field("Location"), Some(&*format!("http://leader:8001/?x={at}")));
        }
    }
}

#[test]
fn the_operator_chooses_the_status_of_redirects() {
    for (redirect_status, line) in [
        (RedirectStatus::MovedPermanently, "HTTP/1.1 301 Moved Permanently\r\n"),
        (RedirectStatus::TemporaryRedirect, "HTTP/1.1 307 Temporary Redirect\r\n"),
        (RedirectStatus::PermanentRedirect, "HTTP/1.1 308 Permanent Redirect\r\n"),
    ] {
        let config = Config { redirect_status, ..Config::default() };
        assert!(exchange(&config, Server::Follows, &request("POST /", "*/*")).starts_with(line));
    }
}

#[test]
fn without_a_leader_the_promised_words_are_said_whatever_the_client_accepts() {
    for accept in ["*/*", "application/json"] {
        assert_eq!(
            exchange(&Config::default(), Server::KnowsNoLeader, &request("POST /", accept)),
            format!("HTTP/1.1 503 Leader unavailable\r\n{COMMON}Retry-After: 1\r\nContent-Length: 0\r\n\r\n")
        );
    }
}

#[test]
fn what_passes_says_when_to_try_again_and_what_does_not_says_nothing() {
    for (server, status, retry_after) in [
        (Server::TimesOut, 503, Some("1")),
        (Server::IsOverloaded, 503, Some("1")),
        (Server::IsExhausted, 500, None),
    ] {
        let answer = only_answer(&Config::default(), server, &request("POST /", "*/*"));
        assert_eq!((answer.status, answer.field("Retry-After")), (status, retry_after));
    }
}

#[test]
fn an_error_is_one_line_of_text_or_problem_details() {
    let config = Config { batch_max: NonZeroU64::new(50).unwrap(), ..Config::default() };
    let answer = only_answer(&config, Server::Leads, &request("POST /?n=51", "*/*"));
    assert_eq!(answer.body, "The parameter n must be given once, as a number from 1 to 50\n");
    assert_eq!(answer.field("Content-Type"), Some("text/plain"));
    let answer = only_answer(&config, Server::Leads, &request("POST /?n=51", "application/json"));
    assert_eq!(
        answer.body,
        "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\
         \"detail\":\"The parameter n must be given once, as a number from 1 to 50\"}"
    );
    assert_eq!(answer.field("Content-Type"), Some("application/problem+json"));
}

#[test]
fn a_malformed_head_is_refused_in_json_where_its_accept_can_be_read() {
    let input = "POST / HTTP/1.1\r\nAccept: application/json\r\nContent-Length: x\r\nHost: a\r\n\r\n";
    let answer = only_answer(&Config::default(), Server::Leads, input);
    assert_eq!(answer.field("Content-Type"), Some("application/problem+json"));
    assert_eq!(answer.status, 400);
}

#[test]
fn all_errors_are_one_line_and_need_no_escape_in_json() {
    for row in crate::all_rows().iter().filter(|row| !row.input.starts_with(b"HEAD ")) {
        let transcript = run(&Config::default(), Server::Leads, Answers::AtOnce, &[&row.input]);
        for answer in answers(&transcript, Content::Sent)
            .iter()
            .filter(|answer| answer.status >= 400 && answer.status != 503)
        {
            let line = answer.body.strip_suffix('\n').unwrap();
            assert!(!line.is_empty() && !line.contains(['\n', '\r', '"', '\\']), "{line}");
        }
    }
}

#[test]
fn a_get_that_was_a_post_is_told_what_happened() {
    let answer = only_answer(&Config::default(), Server::Leads, &request("GET /", "*/*"));
    assert!(
        answer.body.contains("redirect") && answer.body.contains("--redirect_status 307"),
        "{}",
        answer.body
    );
    assert_eq!(answer.field("Allow"), Some("POST, OPTIONS"));
}

#[test]
fn allow_lists_the_methods_of_the_resource() {
    for (start, allow) in [
        ("OPTIONS /", "POST, OPTIONS"),
        ("OPTIONS /metrics", "GET, HEAD, OPTIONS"),
        ("OPTIONS *", "GET, HEAD, POST, OPTIONS"),
        ("OPTIONS http://a", "GET, HEAD, POST, OPTIONS"),
        ("OPTIONS http://a/", "POST, OPTIONS"),
        ("PUT /", "POST, OPTIONS"),
        ("POST /status", "GET, HEAD, OPTIONS"),
        ("CONNECT a:443", ""),
    ] {
        let answer = only_answer(&Config::default(), Server::Leads, &request(start, "*/*"));
        assert_eq!(answer.field("Allow"), Some(allow), "{start}");
    }
}

#[test]
fn head_announces_the_content_that_get_has() {
    for path in ["/", "/healthz", "/metrics", "/x"] {
        let get = only_answer(&Config::default(), Server::Leads, &request(&format!("GET {path}"), "*/*"));
        let head = only_answer(&Config::default(), Server::Leads, &request(&format!("HEAD {path}"), "*/*"));
        assert_eq!(head.head, get.head);
        assert_eq!(get.field("Content-Length"), Some(&*get.body.len().to_string()));
        assert_eq!(head.body, "");
    }
}

#[test]
fn a_listener_serves_what_it_is_for() {
    for (serves, ids, page, methods) in [
        (Serves::Everything, 200, 200, "GET, HEAD, POST, OPTIONS"),
        (Serves::IdsOnly, 200, 404, "POST, OPTIONS"),
        (Serves::PagesOnly, 404, 200, "GET, HEAD, OPTIONS"),
    ] {
        let config = Config { serves, ..Config::default() };
        assert_eq!(only_answer(&config, Server::Leads, &request("POST /", "*/*")).status, ids);
        assert_eq!(only_answer(&config, Server::Leads, &request("GET /healthz", "*/*")).status, page);
        let whole_server = only_answer(&config, Server::Leads, &request("OPTIONS *", "*/*"));
        assert_eq!(whole_server.field("Allow"), Some(methods));
    }
}
