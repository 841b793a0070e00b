//! What clients are answered, and that every answer is valid HTTP.

mod harness;

use std::time::{Duration, Instant};

use harness::cluster::{self, Cluster, STEADY};
use harness::directory::Directory;
use harness::http::{self, Client};
use harness::node::Node;
use harness::wait;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster of one that hands out IDs.
fn alone(directory: &Directory, flags: &[&str]) -> Node {
    let node = Node::start(directory, 1, flags);
    wait::until("an ID", || cluster::take(&node.client_address));
    node
}

#[test]
fn an_answer_is_the_digits_of_the_id_and_nothing_else() {
    let directory = Directory::new();
    let node = alone(&directory, &[]);
    let response = http::ask(&node.client_address, "POST", "/").unwrap();
    assert_eq!((response.status, response.reason.as_str()), (200, "OK"));
    assert_eq!(response.field("content-type"), Some("text/plain"));
    assert_eq!(response.body, "2");
    assert_eq!(response.field("content-length"), Some("1"));
}

#[test]
fn a_connection_is_kept_for_any_number_of_requests_whose_ids_go_up() {
    let directory = Directory::new();
    let node = alone(&directory, &[]);
    let mut client = Client::connect(&node.client_address, PATIENCE).unwrap();
    for id in 2..500 {
        let response = client.ask("POST", "/").unwrap();
        assert_eq!(response.body, id.to_string());
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let directory = Directory::new();
    for (number, window) in ["0", "1000", "1000000"].into_iter().enumerate() {
        let node = Node::start(&directory, number as u64 + 1, &["--window", window]);
        wait::until("an ID", || cluster::take(&node.client_address));
        let mut client = Client::connect(&node.client_address, PATIENCE).unwrap();
        client.send_pipelined("POST", "/", 300).unwrap();
        let ids: Vec<u64> = (0..300).map(|_| *client.receive().unwrap().ids().unwrap().start()).collect();
        assert_eq!(ids, (2..302).collect::<Vec<_>>(), "with --window {window}");
    }
}

#[test]
fn a_request_for_a_range_is_answered_with_its_ends() {
    let directory = Directory::new();
    let node = alone(&directory, &[]);
    let mut client = Client::connect(&node.client_address, PATIENCE).unwrap();
    assert_eq!(client.ask("POST", "/?n=10").unwrap().body, "2 11");
    assert_eq!(client.ask("POST", "/").unwrap().body, "12");
    assert_eq!(client.ask("POST", "/?n=0").unwrap().status, 400);
    assert_eq!(client.ask("POST", "/?n=x").unwrap().status, 400);
    assert_eq!(client.ask("POST", "/").unwrap().body, "13");
}

#[test]
fn a_range_larger_than_the_window_is_granted_all_the_same() {
    let directory = Directory::new();
    for (number, window) in ["0", "100"].into_iter().enumerate() {
        let node = Node::start(&directory, number as u64 + 1, &["--window", window]);
        wait::until("an ID", || cluster::take(&node.client_address));
        let ids = http::ask(&node.client_address, "POST", "/?n=100000").unwrap().ids().unwrap();
        assert_eq!(ids.end() - ids.start() + 1, 100_000);
        let next = http::ask(&node.client_address, "POST", "/").unwrap().ids().unwrap();
        assert!(next.start() > ids.end(), "{next:?} after {ids:?}");
    }
}

#[test]
fn a_get_is_refused_with_405_and_takes_no_id() {
    let directory = Directory::new();
    let node = alone(&directory, &[]);
    let response = http::ask(&node.client_address, "GET", "/").unwrap();
    assert_eq!(response.status, 405);
    assert!(response.field("allow").is_some_and(|allow| allow.contains("POST")), "{response:?}");
    assert_eq!(http::ask(&node.client_address, "POST", "/").unwrap().body, "2");
}

#[test]
fn a_follower_redirects_to_the_leader_and_keeps_path_and_query() {
    let mut cluster = Cluster::steady(3);
    let leader = cluster.leader();
    let leads = cluster.node(leader).client_address.clone();
    for id in cluster.others(leader) {
        let mut client = Client::connect(&cluster.node(id).client_address, PATIENCE).unwrap();
        let response = client.ask("POST", "/").unwrap();
        assert_eq!((response.status, response.reason.as_str()), (301, "Moved Permanently"));
        assert_eq!(response.field("location"), Some(format!("http://{leads}/").as_str()));
        assert_eq!(response.field("cache-control"), Some("no-store"));
        let response = client.ask("POST", "/?n=5").unwrap();
        assert_eq!(response.field("location"), Some(format!("http://{leads}/?n=5").as_str()));
    }
    assert!(http::ask(&leads, "POST", "/").unwrap().ids().is_some());
}

#[test]
fn with_forward_every_node_answers_and_the_ids_go_up_from_node_to_node() {
    let mut cluster = Cluster::with_flags(3, &[&["--forward"], &STEADY[..]].concat());
    cluster.leader();
    let mut clients: Vec<Client> =
        cluster.nodes().map(|node| Client::connect(&node.client_address, PATIENCE).unwrap()).collect();
    let mut last = 0;
    for round in 0..300 {
        let target = ["/", "/?n=5"][round % 2];
        let response = clients[round % 3].ask("POST", target).unwrap();
        let ids = response.ids().unwrap_or_else(|| panic!("{response:?}"));
        assert!(*ids.start() > last, "{ids:?} after {last}");
        last = *ids.end();
    }
    for client in &mut clients {
        client.send_pipelined("POST", "/", 100).unwrap();
        for _ in 0..100 {
            let ids = client.receive().unwrap().ids().unwrap();
            assert!(*ids.start() > last, "{ids:?} after {last}");
            last = *ids.end();
        }
    }
}

#[test]
fn a_node_that_knows_no_leader_says_so_in_the_words_that_clients_look_for() {
    let mut cluster = Cluster::of(3);
    for id in [2, 3] {
        cluster.node(id).kill();
    }
    let clients = cluster.node(1).client_address.clone();
    // Until the node has noticed, it may still redirect to one of the dead nodes.
    let response = wait::until("an answer without a leader", || {
        http::ask(&clients, "POST", "/").ok().filter(|response| response.status == 503)
    });
    assert_eq!(response.reason, "Leader unavailable");
    assert_eq!(response.field("content-length"), Some("0"));
    assert_eq!(response.body, "");
    let retry_after = response.field("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(retry_after.is_some_and(|seconds| seconds > 0), "{response:?}");
    // It serves again as soon as there is a quorum.
    cluster.node(2).restart();
    assert!(cluster.take() > 0);
}

#[test]
fn a_leader_that_has_lost_its_quorum_answers_in_time_and_without_an_id() {
    let mut cluster = Cluster::steady(3);
    let leader = cluster.leader();
    let before = cluster.take();
    for id in cluster.others(leader) {
        cluster.node(id).pause();
    }
    let mut client = Client::connect(&cluster.node(leader).client_address, PATIENCE).unwrap();
    let sent = Instant::now();
    let response = client.ask("POST", "/").unwrap();
    // The promise is 5 s; the rest allows for a busy machine.
    assert!(sent.elapsed() < Duration::from_secs(15), "after {:?}: {response:?}", sent.elapsed());
    assert_eq!((response.status, response.ids()), (503, None), "{response:?}");
    for id in cluster.others(leader) {
        cluster.node(id).resume();
    }
    assert!(cluster.take() > before);
}

#[test]
fn at_the_end_of_the_integers_the_answer_is_an_error_and_not_a_small_id() {
    let directory = Directory::new();
    for (number, window) in ["0", "1000000"].into_iter().enumerate() {
        let first = (u64::MAX - 2).to_string();
        let node = Node::start(&directory, number as u64 + 1, &["--first_id", &first, "--window", window]);
        let mut taken = vec![wait::until("an ID", || cluster::take(&node.client_address))];
        let refused = loop {
            let response = http::ask(&node.client_address, "POST", "/").unwrap();
            match response.ids() {
                Some(ids) => taken.push(*ids.start()),
                None => break response,
            }
        };
        assert_eq!(taken[0], u64::MAX - 2);
        assert!(taken.windows(2).all(|pair| pair[0] < pair[1]), "{taken:?}");
        assert!(refused.status >= 500, "{refused:?}");
        assert_eq!(http::ask(&node.client_address, "POST", "/").unwrap().ids(), None);
    }
}

#[test]
fn a_range_that_does_not_fit_below_the_end_is_refused_and_leaves_the_rest_to_others() {
    let directory = Directory::new();
    let first = (u64::MAX - 100).to_string();
    let node = Node::start(&directory, 1, &["--first_id", &first]);
    wait::until("an ID", || cluster::take(&node.client_address));
    assert_eq!(http::ask(&node.client_address, "POST", "/?n=1000").unwrap().ids(), None);
    assert!(http::ask(&node.client_address, "POST", "/").unwrap().ids().is_some());
}

#[test]
fn clients_that_send_rubbish_are_refused_and_others_served() {
    use std::io::{Read, Write};
    let directory = Directory::new();
    let node = alone(&directory, &[]);
    let send = |rubbish: &[u8]| {
        let mut stream = std::net::TcpStream::connect(&node.client_address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The node may have closed before it has read all of it.
        let _ = stream.write_all(rubbish);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    // RFC 9112 §3: a method that is longer than any is not implemented.
    for (rubbish, refused) in [
        (&b"\x00\x01\x02\x03\r\n\r\n"[..], "HTTP/1.1 400 "),
        (b"POST\r\n\r\n", "HTTP/1.1 400 "),
        (&[b'A'; 10_000], "HTTP/1.1 501 "),
    ] {
        let answer = send(rubbish);
        assert!(answer.starts_with(refused), "{refused}for {} bytes: {answer:?}", rubbish.len());
    }
    // A client that keeps sending after the refusal is not listened to for ever, and may miss the answer.
    let answer = send(&[b'A'; 100_000]);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 501 "), "{answer}");
    assert_eq!(http::ask(&node.client_address, "POST", "/").unwrap().body, "2");
}
