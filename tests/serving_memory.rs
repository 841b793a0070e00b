//! What a request costs in memory: in the steady state none of three nodes allocates anything for one, from
//! the socket through Raft's round and back.
//!
//! The test is alone in its process, because it counts what the whole process allocates.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is how one says that something is wrong")]

mod counting;
mod in_process;

use std::io::{Read, Write};
use std::net::TcpStream;

use counting::allocations;
use in_process::{Directory, PATIENCE, Running, cluster_of_three, wait_until};

const CONNECTIONS: usize = 8;
const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: ticketd\r\nContent-Length: 0\r\n\r\n";
/// Requests on each connection in one batch.
const ROUNDS: usize = 20;
/// Enough that some batch falls between two reservations and between two background reads.
const BATCHES: usize = 300;

fn leader(nodes: &[Running]) -> &Running {
    let leads = |node: &&Running| node.status().contains(r#""role":"leader""#);
    wait_until("one leads", || nodes.iter().any(|node| leads(&node)));
    nodes.iter().find(leads).unwrap()
}

/// Sends one request on each connection at once, then reads all answers. Allocates nothing itself.
fn ask_all(clients: &mut [TcpStream], buffer: &mut [u8]) {
    for client in clients.iter_mut() {
        client.write_all(REQUEST).unwrap();
    }
    for client in clients {
        let mut received = 0;
        // The body is digits, and arrives with the head.
        while !buffer[..received].windows(4).any(|end| end == b"\r\n\r\n") {
            let read = client.read(&mut buffer[received..]).unwrap();
            assert!(read > 0, "the connection ends before the answer");
            received += read;
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 200 OK\r\n"),
            "{}",
            String::from_utf8_lossy(&buffer[..received])
        );
    }
}

#[test]
fn in_the_steady_state_a_request_to_a_cluster_of_three_allocates_nothing() {
    let directory = Directory::new();
    let nodes = cluster_of_three(&directory);
    let address = leader(&nodes).client_address.clone();
    let mut clients: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let client = TcpStream::connect(&address).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.set_nodelay(true).unwrap();
            client
        })
        .collect();
    let mut buffer = [0; 4096];
    let mut fewest = usize::MAX;
    for _ in 0..BATCHES {
        let before = allocations();
        for _ in 0..ROUNDS {
            ask_all(&mut clients, &mut buffer);
        }
        fewest = fewest.min(allocations() - before);
    }
    assert_eq!(fewest, 0, "for {} requests", CONNECTIONS * ROUNDS);
    nodes.into_iter().for_each(|node| {
        node.stop();
    });
}
