//! Where a node listens: several hosts, IPv4 and IPv6, a Unix-domain socket, a separate listener for pages.

mod harness;

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use harness::directory::{Directory, as_argument};
use harness::http;
use harness::node::Node;
use harness::ports;
use harness::wait;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::SockRef;

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().expect("an address has a port")
}

#[track_caller]
fn status_at(address: &str, method: &str, target: &str) -> u16 {
    http::ask(address, method, target).unwrap_or_else(|error| panic!("{address}: {error}")).status
}

/// One request for an ID over a Unix-domain socket.
fn ask_unix(path: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[track_caller]
fn await_id_over(path: &Path) {
    wait::until_true("an ID over the socket", || {
        ask_unix(path).is_some_and(|answer| answer.starts_with("HTTP/1.1 200 OK\r\n"))
    });
}

/// The further addresses that the node logs that it listens on.
#[track_caller]
fn also_listening(node: &Node, who: &str) -> String {
    let log = node.log();
    let found = log.lines().find_map(|line| line.split_once(&format!("{who} at ")));
    found.unwrap_or_else(|| panic!("no other {who} in {log}")).1.to_owned()
}

#[test]
fn a_node_serves_on_every_host_that_it_was_given() {
    let directory = Directory::new();
    let mut node = Node::start(&directory, 1, &["--host", "127.0.0.1,127.0.0.2", "--host", "localhost"]);
    node.await_status("it leads", |status| status.leads());
    let port = port_of(&node.client_address).to_owned();
    for host in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(status_at(&format!("{host}:{port}"), "POST", "/"), 200);
    }
    node.stop();
    node.restart();
    assert_eq!(status_at(&format!("127.0.0.2:{port}"), "GET", "/healthz"), 200);
}

#[test]
fn all_of_ipv6_is_all_of_ipv4_too() {
    if !has_ipv6() {
        harness::skipped("this machine has no IPv6");
        return;
    }
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &["--host", "::", "--advertise", "localhost"]);
    node.await_status("it leads", |status| status.leads());
    let port = port_of(&node.client_address).to_owned();
    for host in ["127.0.0.1", "[::1]"] {
        assert_eq!(status_at(&format!("{host}:{port}"), "POST", "/"), 200);
    }
}

#[test]
fn a_unix_socket_serves_and_goes_with_the_node() {
    let directory = Directory::new();
    let path = directory.path().join("socket");
    let mut node = Node::start(&directory, 1, &["--http_unix", &as_argument(&path)]);
    await_id_over(&path);
    node.stop();
    assert!(!path.exists(), "the socket is left");
    node.restart();
    await_id_over(&path);
    node.kill();
    assert!(path.exists(), "nobody removed it");
    node.restart();
    await_id_over(&path);
    node.stop();
    node.restart_with(&["--http_unix", "off"]);
    assert!(!path.exists(), "the socket is off");
}

/// A read ends behind the bytes that came with a descriptor, and at urgent data.
#[test]
fn requests_behind_a_descriptor_or_urgent_data_are_answered() {
    let directory = Directory::new();
    let path = directory.path().join("socket");
    let mut node = Node::start(&directory, 1, &["--http_unix", &as_argument(&path)]);
    await_id_over(&path);
    let [first, last]: [&[u8]; 2] =
        [b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"];
    node.pause();
    let mut over_unix = UnixStream::connect(&path).unwrap();
    let input = std::io::stdin();
    let descriptors = [input.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut passed = SendAncillaryBuffer::new(&mut space);
    assert!(passed.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&over_unix, &[IoSlice::new(first)], &mut passed, SendFlags::empty()).unwrap();
    over_unix.write_all(last).unwrap();
    let mut over_tcp = TcpStream::connect(&node.client_address).unwrap();
    over_tcp.set_nodelay(true).unwrap();
    over_tcp.write_all(first).unwrap();
    SockRef::from(&over_tcp).send_out_of_band(b"!").unwrap();
    over_tcp.write_all(last).unwrap();
    node.resume();
    over_unix.set_read_timeout(Some(wait::DEADLINE)).unwrap();
    over_tcp.set_read_timeout(Some(wait::DEADLINE)).unwrap();
    for stream in [&mut over_unix as &mut dyn Read, &mut over_tcp] {
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("the node answers both, and closes");
        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answers}");
    }
}

#[test]
fn a_unix_socket_never_takes_the_place_of_a_file_or_of_another_process() {
    let directory = Directory::new();
    let path = directory.path().join("socket");
    fs::write(&path, "precious").expect("the test's own directory can be written to");
    let flag = as_argument(&path);
    let said = Node::spawn(&directory, 1, &["start"], &["--http_unix", &flag]).end();
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stderr.contains("is no socket") && said.stderr.contains("--http_unix"), "{}", said.stderr);
    assert_eq!(fs::read_to_string(&path).expect("it is still there"), "precious");
    fs::remove_file(&path).expect("it is there");
    let other = UnixListener::bind(&path).expect("the name is free");
    let said = Node::spawn(&directory, 1, &["start"], &["--http_unix", &flag]).end();
    assert!(said.stderr.contains("somebody listens there"), "{}", said.stderr);
    drop(other);
}

#[test]
fn pages_move_to_a_listener_of_their_own() {
    let directory = Directory::new();
    let flags = ["--metrics_host", "127.0.0.2", "--metrics_port", "0"];
    let mut node = Node::start(&directory, 1, &flags);
    node.await_status("it leads", |status| status.leads());
    let pages = also_listening(&node, "metrics");
    assert!(pages.starts_with("127.0.0.2:"), "{pages}");
    for page in ["/healthz", "/readyz", "/readyz?leader", "/status", "/metrics"] {
        assert_eq!(status_at(&pages, "GET", page), 200, "{page}");
        assert_eq!(status_at(&node.client_address, "GET", page), 404, "{page}");
    }
    assert_eq!(status_at(&node.client_address, "POST", "/"), 200);
    assert_eq!(status_at(&pages, "POST", "/"), 404);
    let explanation = |address, method, path| http::ask(address, method, path).expect("an answer").body;
    assert!(explanation(&pages, "POST", "/").contains("--http_port"));
    assert!(explanation(&node.client_address, "GET", "/healthz").contains("--metrics_port"));
    node.stop();
    node.restart();
    assert_eq!(also_listening(&node, "metrics"), pages, "a restart keeps the port");
    node.stop();
    node.restart_with(&["--metrics_port", "off"]);
    assert_eq!(status_at(&node.client_address, "GET", "/healthz"), 200);
}

#[test]
fn a_host_for_metrics_without_a_port_is_refused() {
    let directory = Directory::new();
    let said = Node::spawn(&directory, 1, &["start"], &["--metrics_host", "127.0.0.1"]).end();
    assert_eq!(said.status.code(), Some(2));
    assert!(said.stderr.contains("--metrics_port"), "{}", said.stderr);
}

#[test]
fn metrics_on_a_port_of_the_same_node_are_refused() {
    let directory = Directory::new();
    let port = ports::free().to_string();
    for flag in ["--raft_port", "--http_port"] {
        let said = Node::spawn(&directory, 1, &["start"], &[flag, &port, "--metrics_port", &port]).end();
        said.refused_as_usage(&["--metrics_port", flag, "different ports"]);
    }
}
