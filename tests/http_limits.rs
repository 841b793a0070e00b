//! Too many clients, slow clients and silent clients: what they may consume, and that no other client
//! suffers.

mod harness;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use socket2::SockRef;

use harness::cluster::{self, Cluster};
use harness::command;
use harness::directory::Directory;
use harness::http::{self, Client};
use harness::node::Node;
use harness::wait;

const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";

#[track_caller]
fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(wait::DEADLINE)).expect("it is not 0");
    stream
}

/// Everything up to the end of the stream, which must be an orderly one.
#[track_caller]
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the connection ends properly, not by a reset, and in time");
    String::from_utf8(bytes).expect("answers are text")
}

#[track_caller]
fn single(flags: &[&str]) -> (Directory, Node) {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, flags);
    node.await_status("it leads", |status| status.leads());
    (directory, node)
}

#[test]
fn a_client_too_many_is_told_503_and_those_who_are_there_go_on() {
    let (_directory, node) = single(&["--http_connections", "3"]);
    let mut clients: Vec<Client> =
        (0..3).map(|_| Client::connect(&node.client_address, wait::DEADLINE).expect("it listens")).collect();
    for client in &mut clients {
        assert_eq!(client.ask("POST", "/").expect("an answer").status, 200);
    }
    for _ in 0..5 {
        let mut refused = connect(&node.client_address);
        refused.write_all(POST).expect("nothing is sent to a client that has not asked");
        let answer = read_to_end(&mut refused);
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(answer.contains("Too many connections are open"), "{answer}");
    }
    wait::until_true("it says so", || node.log().contains("a client was refused: 3 are connected"));
    assert_eq!(node.log().matches("a client was refused: ").count(), 1, "it says so once");
    for client in &mut clients {
        assert_eq!(client.ask("POST", "/").expect("an answer").status, 200);
    }
    clients.pop();
    wait::until_true("the place that was left is given to another", || {
        http::ask(&node.client_address, "POST", "/").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn clients_that_hold_all_places_keep_no_monitoring_out() {
    let (_directory, node) = single(&["--http_connections", "1", "--metrics_port", "0"]);
    let log = node.log();
    let pages = log.lines().find_map(|line| line.split_once("metrics at ")).expect("it says so").1;
    let mut holder = Client::connect(&node.client_address, wait::DEADLINE).expect("it listens");
    assert_eq!(holder.ask("POST", "/").expect("an answer").status, 200);
    assert_eq!(http::ask(&node.client_address, "POST", "/").expect("an answer").status, 503);
    assert_eq!(http::ask(pages, "GET", "/readyz").expect("an answer").status, 200);
}

#[test]
fn a_head_that_trickles_in_is_cut_off_with_408_and_a_silent_connection_without_a_word() {
    let (_directory, node) = single(&["--http_header_timeout", "300", "--http_idle_timeout", "300"]);
    let mut silent = connect(&node.client_address);
    assert_eq!(read_to_end(&mut silent), "");
    let mut slow = connect(&node.client_address);
    slow.set_read_timeout(Some(Duration::from_millis(50))).expect("it is not 0");
    let started = Instant::now();
    let mut answer = Vec::new();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nX: ";
    for byte in head.iter().chain(std::iter::repeat(&b'x')) {
        // A byte now and then must not buy more time.
        let _ = slow.write_all(&[*byte]);
        let mut buffer = [0; 1024];
        match slow.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error} after {}", String::from_utf8_lossy(&answer)),
        }
        assert!(started.elapsed() < wait::DEADLINE, "it was never cut off");
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

#[test]
fn a_body_that_does_not_come_is_cut_off_with_408() {
    let (_directory, node) = single(&["--http_body_timeout", "300"]);
    let mut client = connect(&node.client_address);
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").expect("it listens");
    let answer = read_to_end(&mut client);
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

/// Longer than it takes to send part of a request and to pause a process, on a machine that is not too busy.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The answer to a client that sends `before`, and then, while the process is paused for longer than the
/// timeout, `after`.
#[track_caller]
fn answer_across_a_pause(flag: &str, before: &[u8], after: &[u8]) -> String {
    let (_directory, mut node) = single(&[flag, &TIMEOUT.as_millis().to_string()]);
    wait::until("a process that is stopped before the time-out", || {
        let mut client = connect(&node.client_address);
        let mut witness = connect(&node.client_address);
        let began = Instant::now();
        client.write_all(before).expect("it listens");
        // This client comes later and is answered later: by then, the other's input has been read.
        witness
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .expect("it listens");
        read_to_end(&mut witness);
        node.pause();
        let in_time = began.elapsed() < TIMEOUT / 2;
        client.write_all(after).expect("its socket takes it");
        std::thread::sleep(TIMEOUT);
        node.resume();
        in_time.then(|| read_to_end(&mut client))
    })
}

#[test]
fn a_request_that_came_while_the_process_stood_still_is_answered_although_the_idle_time_is_over() {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = answer_across_a_pause("--http_idle_timeout", b"", request);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // A connection that has been used before.
    let answer = answer_across_a_pause("--http_idle_timeout", POST, request);
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answer}");
}

#[test]
fn a_head_that_was_completed_while_the_process_stood_still_is_answered_although_its_time_is_over() {
    let (before, after) = (b"POST / HTTP/1.1\r\nHo", b"st: a\r\nConnection: close\r\n\r\n");
    let answer = answer_across_a_pause("--http_header_timeout", before, after);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_body_that_was_completed_while_the_process_stood_still_is_answered_although_its_time_is_over() {
    let before = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhe";
    let answer = answer_across_a_pause("--http_body_timeout", before, b"llo");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_client_that_asks_on_and_reads_nothing_takes_bounded_memory_and_slows_nobody() {
    let (_directory, node) = single(&[]);
    let before = node.resident_bytes();
    let mut greedy: Vec<TcpStream> = (0..20).map(|_| connect(&node.client_address)).collect();
    let requests = POST.repeat(20_000);
    for stream in &mut greedy {
        stream.set_nonblocking(true).expect("any socket can be");
        let mut sent = 0;
        while let Ok(n) = stream.write(&requests[sent..]) {
            sent += n;
            if sent == requests.len() {
                break;
            }
        }
    }
    let mut client = Client::connect(&node.client_address, wait::DEADLINE).expect("it listens");
    for _ in 0..100 {
        assert_eq!(client.ask("POST", "/").expect("an answer").status, 200);
    }
    let grown = node.resident_bytes().saturating_sub(before);
    // By the bounds: 64 KiB of answers and as much of input, for each; plus room for the allocator.
    assert!(grown < 20 * 512 * 1024, "{grown} bytes more for 20 clients that do not read");
}

/// Allows this process, and the nodes that it starts, this many open files. False if that is not permitted.
fn may_open_files(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < count) {
        harness::skipped(&format!("the limit of open files is {:?}", limit.maximum));
        return false;
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("up to the hard limit, anybody may raise the soft one");
    true
}

#[test]
fn clients_that_ask_on_and_read_nothing_hold_bounded_memory_all_together() {
    // At some 130 KB each, far more than the bound.
    const GREEDY: usize = 3_000;
    if !may_open_files(2 * GREEDY as u64) {
        return;
    }
    let (_directory, node) = single(&[]);
    let before = node.resident_bytes();
    let mut greedy: Vec<TcpStream> = (0..GREEDY).map(|_| connect(&node.client_address)).collect();
    for stream in &greedy {
        // Makes the kernel take only few answers before it takes no more.
        SockRef::from(stream).set_recv_buffer_size(4096).expect("any size will do");
        stream.set_nonblocking(true).expect("any socket can be");
    }
    let mut client = Client::connect(&node.client_address, wait::DEADLINE).expect("it listens");
    let requests = POST.repeat(1_000);
    for _ in 0..8 {
        for stream in &mut greedy {
            // Once the node reads no more, this socket takes no more.
            let _ = stream.write(&requests);
        }
        // For a moment, they may ask for more than can wait.
        wait::until_true("whoever reads is served", || {
            client.ask("POST", "/").expect("an answer").status == 200
        });
    }
    let grown = node.resident_bytes().saturating_sub(before);
    println!("{} bytes for each client that does not read", grown / GREEDY as u64);
    // The bound is 128 MiB, and each client may have slightly more before its output is held up.
    assert!(grown < 256 << 20, "{grown} bytes more for {GREEDY} clients that do not read");
}

#[test]
fn clients_that_send_long_heads_and_never_end_them_hold_bounded_memory_all_together() {
    const GREEDY: usize = 10_000;
    if !may_open_files(GREEDY as u64 + 1_000) {
        return;
    }
    let (_directory, node) = single(&[]);
    let before = node.resident_bytes();
    // As long as heads may be.
    let [target, field] = [8_000, 16_000].map(|bytes| "x".repeat(bytes - 100));
    let head = format!("POST /?{target} HTTP/1.1\r\nHost: a\r\nX: {field}");
    let greedy: Vec<TcpStream> = (0..GREEDY)
        .map(|_| {
            let mut stream = connect(&node.client_address);
            stream.write_all(head.as_bytes()).expect("the node reads it, or leaves it to the kernel");
            stream
        })
        .collect();
    assert_eq!(http::ask(&node.client_address, "POST", "/").expect("an answer").status, 200);
    let grown = node.resident_bytes().saturating_sub(before);
    println!("{} bytes for each client that does not go on", grown / greedy.len() as u64);
    // At 24 KB each that would be 240 MB; the bound is 128 MiB, and some KB for each beyond it.
    assert!(grown < 200 << 20, "{grown} bytes more for {GREEDY} heads that never end");
}

#[test]
fn a_client_that_is_gone_gives_its_place_back_although_its_last_request_waits() {
    // Nothing is answered by time alone.
    let flags = ["--election_timeout", "600000", "--heartbeat_interval", "50", "--request_timeout", "600000"];
    let mut cluster = Cluster::with_flags(2, &flags);
    let (leader, other) = (cluster.leader(), cluster.follower());
    cluster.node(other).pause();
    let node = cluster.node(leader);
    let metric = |series| http::metric(&node.client_address, series).expect("it is awake");
    let requests = [
        &b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ];
    for request in requests {
        let taken = metric("ticketd_requests_total");
        let mut client = connect(&node.client_address);
        client.write_all(request).expect("its socket takes it");
        wait::until_true("the request waits", || metric("ticketd_requests_total") > taken);
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("any socket can");
        drop(client);
        // One is that of the asker.
        wait::until_true("the connection is gone", || metric("ticketd_http_connections") == 1);
    }
}

/// How many turns the node's loop has made.
#[track_caller]
fn turns(node: &Node) -> usize {
    let turns = http::metric(&node.client_address, "ticketd_loop_turns_total").expect("it is awake");
    usize::try_from(turns).expect("there were not that many")
}

#[test]
fn thousands_of_requests_in_one_piece_that_need_no_quorum_are_answered_over_many_turns() {
    const NOWHERE: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    // At most as many requests as one read brings, and of one connection at most as many as may wait at once,
    // are answered in a turn.
    let (requests, in_one_turn) = (2_000, 128);
    let (_directory, mut node) = single(&[]);
    let mut clients: Vec<TcpStream> = (0..20).map(|_| connect(&node.client_address)).collect();
    let before = turns(&node);
    node.pause();
    for client in &mut clients {
        client.write_all(&NOWHERE.repeat(requests)).expect("its socket takes it");
        client.shutdown(std::net::Shutdown::Write).expect("it is connected");
    }
    node.resume();
    for client in &mut clients {
        let answers = read_to_end(client);
        assert_eq!(answers.matches("HTTP/1.1 404 Not Found\r\n").count(), requests);
    }
    let grown = turns(&node) - before;
    assert!(grown >= requests / in_one_turn, "{requests} answers to one client in {grown} turns");
}

/// From now on, this node may have this many open files.
fn limit_open_files(node: &Node, count: u64) {
    let pid = i32::try_from(node.pid()).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(count), maximum: Some(count) };
    prlimit(pid, Resource::Nofile, limit).expect("a limit of a child can be lowered");
}

/// How many descriptors its process has open.
fn open_files(node: &Node) -> u64 {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", node.pid())).expect("it is a child");
    descriptors.count() as u64
}

#[test]
fn without_descriptors_accepting_pauses_and_the_cluster_goes_on() {
    let mut cluster = Cluster::of(3);
    cluster.leader();
    let id = cluster.follower();
    // Not at the start: a node shares out what it has then.
    let node = cluster.node(id);
    limit_open_files(node, open_files(node) + 4);
    let (address, peers) = (node.client_address.clone(), node.peer_address.clone());
    let strangers: Vec<TcpStream> = (0..60).filter_map(|_| TcpStream::connect(&peers).ok()).collect();
    let more: Vec<TcpStream> = (0..60).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    for _ in 0..20 {
        cluster.take();
    }
    wait::until_true("it says so", || {
        let log = cluster.node(id).log();
        let mut lines =
            log.lines().filter(|line| line.contains("could not be accepted: Too many open files"));
        lines.next().is_some_and(|line| line.contains("raise the limit of open files (ulimit -n"))
    });
    drop((strangers, more));
    wait::until_true("it answers again", || {
        http::ask(&address, "GET", "/readyz").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn with_few_descriptors_neither_clients_nor_strangers_keep_members_and_operators_out() {
    let mut cluster = Cluster::of(3);
    for id in 1..=3 {
        cluster.node(id).stop();
    }
    for id in 1..=3 {
        cluster.node(id).respawn_by(&["prlimit", "--nofile=64:64"]);
        cluster.node(id).await_listening();
    }
    cluster.leader();
    let id = cluster.follower();
    let crowd = |address: String| -> Vec<TcpStream> {
        (0..100).filter_map(|_| TcpStream::connect(&address).ok()).collect()
    };
    let clients: Vec<_> = cluster.nodes().map(|node| node.client_address.clone()).map(crowd).collect();
    let strangers: Vec<_> = cluster.nodes().map(|node| node.peer_address.clone()).map(crowd).collect();
    cluster.node(id).kill();
    cluster.node(id).respawn_by(&["prlimit", "--nofile=64:64"]);
    cluster.node(id).await_listening();
    for node in cluster.nodes() {
        node.await_status("all links are up", |status| {
            status.members.values().all(|member| member.link != "down")
        });
        let log = node.log();
        assert!(!log.contains("Too many open files"), "{log}");
        assert!(open_files(node) <= 64);
    }
    drop((clients, strangers));
    wait::until_true("clients are served", || cluster::take(&cluster.node(id).client_address).is_some());
}

#[test]
fn a_node_with_too_few_descriptors_does_not_start_and_makes_no_store() {
    let directory = Directory::new();
    let path = directory.join("store");
    let args = ["start", "--id", "1", "--raft_port", "0", "--http_port", "0", "--path", &path];
    let ended = command::ticketd_by(&["prlimit", "--nofile=63:63"], &args).output().expect("it can be run");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("the limit of open files is 63, and a node needs 64 or more"), "{said}");
    assert!(said.contains("ulimit -n 64"), "{said}");
    assert!(!directory.path().join("store").exists(), "it has made a store");
}

/// More clients than a node has in any ordinary service.
const IDLE: usize = 10_000;

#[test]
fn ten_thousand_idle_connections_cost_less_than_ten_megabytes_and_an_active_one_goes_on() {
    if !may_open_files(2 * IDLE as u64) {
        return;
    }
    let (_directory, node) = single(&["--http_idle_timeout", "600000"]);
    let mut active = Client::connect(&node.client_address, wait::DEADLINE).expect("it listens");
    for _ in 0..1_000 {
        assert_eq!(active.ask("POST", "/").expect("an answer").status, 200);
    }
    let before = node.resident_bytes();
    let mut idle = Vec::new();
    while idle.len() < IDLE {
        let mut client =
            Client::connect(&node.client_address, wait::DEADLINE).expect("there is a place for it");
        assert_eq!(client.ask("POST", "/").expect("an answer").status, 200);
        idle.push(client);
    }
    for _ in 0..1_000 {
        assert_eq!(active.ask("POST", "/").expect("an answer").status, 200);
    }
    let grown = node.resident_bytes().saturating_sub(before);
    println!("{} bytes for each idle connection", grown / IDLE as u64);
    assert!(grown < 10 << 20, "{grown} bytes more for {IDLE} idle connections");
    for client in idle.iter_mut().step_by(1_000) {
        assert_eq!(client.ask("POST", "/").expect("an answer").status, 200);
    }
}

#[test]
fn requests_that_find_no_room_are_refused_each_in_its_turn() {
    // A leader that can reach no other node answers nothing before its followers wake up: requests that
    // arrive in the meantime wait, or are refused if 65,536 are waiting already.
    let mut cluster = Cluster::with_flags(
        3,
        &["--election_timeout", "60000", "--heartbeat_interval", "50", "--request_timeout", "60000"],
    );
    let leader = cluster.leader();
    let followers = cluster.others(leader);
    let address = cluster.node(leader).client_address.clone();
    followers.iter().for_each(|id| cluster.node(*id).pause());
    // This many requests from each client that there is room for a part of one client's requests.
    let (two, one) = (50, 50);
    let connect = |_| Client::connect(&address, wait::DEADLINE).expect("it listens");
    let mut clients: Vec<Client> = (0..65_536 / (two + one) + 8).map(connect).collect();
    for client in &mut clients {
        client.send_pipelined("POST", "/?n=2", two).expect("it is read");
        client.send_pipelined("POST", "/", one).expect("it is read");
    }
    wait::until_true("some are refused", || {
        http::metric(&address, "ticketd_answers_total{kind=\"overloaded\"}").expect("it is awake") > 0
    });
    followers.iter().for_each(|id| cluster.node(*id).resume());
    let (mut answered, mut refused, mut largest) = (0, 0, 0);
    for client in &mut clients {
        let mut last = 0;
        for place in 0..two + one {
            let answer = client.receive().expect("an answer to each request");
            let Some(ids) = answer.ids() else {
                assert_eq!(answer.status, 503, "{answer:?}");
                refused += 1;
                continue;
            };
            let asked = if place < two { 2 } else { 1 };
            assert_eq!(ids.end() - ids.start() + 1, asked, "the answer to request {place}: {answer:?}");
            assert!(*ids.start() > last, "request {place} got {ids:?} after {last}");
            last = *ids.end();
            largest = largest.max(last);
            answered += 1;
        }
    }
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    assert!(cluster.take() > largest);
}

#[test]
fn pages_and_ids_that_are_asked_for_in_one_piece_are_answered_in_order() {
    let (_directory, node) = single(&[]);
    let mut client = Client::connect(&node.client_address, wait::DEADLINE).expect("it listens");
    // Many more pages than are made in one turn, for several clients at once.
    let mut others: Vec<Client> =
        (0..20).map(|_| Client::connect(&node.client_address, wait::DEADLINE).expect("it listens")).collect();
    for other in &mut others {
        other.send_pipelined("GET", "/metrics", 10).expect("it is read");
    }
    for _ in 0..40 {
        client.send_pipelined("GET", "/healthz", 2).expect("it is read");
        client.send_pipelined("POST", "/", 1).expect("it is read");
    }
    let mut last = 0;
    for round in 0..40 {
        for _ in 0..2 {
            assert_eq!(client.receive().expect("a page").body, "ok\n", "round {round}");
        }
        let ids = client.receive().expect("an ID").ids().expect("it leads");
        assert!(*ids.start() > last, "round {round}: {ids:?} after {last}");
        last = *ids.end();
    }
    for other in &mut others {
        for _ in 0..10 {
            assert!(other.receive().expect("a page").body.contains("ticketd_term"));
        }
    }
}
