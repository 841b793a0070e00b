//! The limit: how fast this machine lets one process answer HTTP requests when each batch of them waits for
//! one of two other processes. The probe parses nothing, stores nothing, decides nothing and shares no code
//! with ticketd, so the time by which ticketd is slower is ticketd's own.
//!
//! `probe echo PORT` is one of the two others; `probe serve PORT ECHO ECHO` answers. The probe trusts its
//! load generator (all requests alike, small enough for one read, their answers for one write) and panics if
//! that is wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use mio::{Events, Interest, Poll, Token};

/// The length that a heartbeat must have.
const MESSAGE_BYTES: usize = 24;
/// The answer to a request, as long as ticketd's.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: ticketd/0.1.0\r\n\
    Content-Type: text/plain\r\nContent-Length: 10\r\nCache-Control: no-store\r\n\r\n1234567890";
const LISTENER: Token = Token(usize::MAX);
const ECHOES: [Token; 2] = [Token(usize::MAX - 1), Token(usize::MAX - 2)];

struct Client {
    stream: mio::net::TcpStream,
    /// Learnt from the first request, which arrives alone or with others like it.
    request_bytes: Option<usize>,
    unread_bytes: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ports: Vec<u16> = arguments.iter().skip(1).map(|port| port.parse().expect("a port")).collect();
    match (arguments.first().map(String::as_str), ports.as_slice()) {
        (Some("echo"), [port]) => echo(*port),
        (Some("serve"), [port, first, second]) => serve(*port, [*first, *second]),
        _ => panic!("usage: probe echo PORT | probe serve PORT ECHO ECHO"),
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn echo(port: u16) {
    let (mut stream, _) = TcpListener::bind(local(port)).and_then(|l| l.accept()).expect("a free port");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut buffer = [0; 64 * MESSAGE_BYTES];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..bytes]).expect("the server reads");
    }
}

fn serve(port: u16, echo_ports: [u16; 2]) {
    let mut poll = Poll::new().expect("epoll");
    let mut listener = mio::net::TcpListener::bind(local(port)).expect("a free port");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("a socket");
    let mut echoes = [0, 1].map(|nth| {
        let stream = TcpStream::connect(local(echo_ports[nth])).expect("a running echo");
        stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).expect("a TCP socket");
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(&mut stream, ECHOES[nth], Interest::READABLE).expect("a socket");
        stream
    });
    let answers = ANSWER.repeat(1024);
    let mut buffer = vec![0; 256 * 1024];
    let mut clients: Vec<Option<Client>> = Vec::new();
    let (mut arrived, mut asked) = (Vec::new(), Vec::new());
    let (mut rounds, mut echoed_bytes, mut events) = (0, [0, 0], Events::with_capacity(1024));
    loop {
        poll.poll(&mut events, None).expect("epoll");
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut clients);
            } else if let Some(nth) = ECHOES.iter().position(|&echo| echo == event.token()) {
                echoed_bytes[nth] += echoes[nth].read(&mut buffer).unwrap_or(0);
            } else if let Some(requests) = receive(&mut clients[event.token().0], &mut buffer) {
                arrived.push((event.token().0, requests));
            }
        }
        if echoed_bytes.iter().any(|&bytes| bytes == rounds * MESSAGE_BYTES) {
            for (client, requests) in asked.drain(..) {
                let Some(client): &mut Option<Client> = &mut clients[client] else { continue };
                client.stream.write_all(&answers[..requests * ANSWER.len()]).expect("the client reads");
            }
            if !arrived.is_empty() {
                std::mem::swap(&mut arrived, &mut asked);
                rounds += 1;
                echoes.iter_mut().for_each(|echo| echo.write_all(&[0; MESSAGE_BYTES]).expect("it reads"));
            }
        }
    }
}

fn accept(listener: &mio::net::TcpListener, poll: &Poll, clients: &mut Vec<Option<Client>>) {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true).expect("a TCP socket");
        poll.registry().register(&mut stream, Token(clients.len()), Interest::READABLE).expect("a socket");
        clients.push(Some(Client { stream, request_bytes: None, unread_bytes: 0 }));
    }
}

/// How many complete requests have arrived; none when the client has gone.
fn receive(slot: &mut Option<Client>, buffer: &mut [u8]) -> Option<usize> {
    let client = slot.as_mut()?;
    match client.stream.read(buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Ok(0) | Err(_) => {
            *slot = None;
            None
        }
        Ok(bytes) => {
            let first_ends = || buffer.windows(4).position(|end| end == b"\r\n\r\n").expect("HTTP") + 4;
            let request_bytes = *client.request_bytes.get_or_insert_with(first_ends);
            client.unread_bytes += bytes;
            let requests = client.unread_bytes / request_bytes;
            client.unread_bytes %= request_bytes;
            (requests > 0).then_some(requests)
        }
    }
}
