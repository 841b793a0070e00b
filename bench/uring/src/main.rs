//! What io_uring would save ticketd: the requests and answers of many connections are read and written with
//! one system call each, and then all of them with one system call. The work is that of the busiest turn of
//! ticketd's loop. If the two columns are alike, the time is spent on what the kernel does for each request,
//! not on entering it.
//!
//! It takes no arguments, uses loopback only, and panics if io_uring is switched off.

use std::io::{Read, Result, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};

const CONNECTIONS: [usize; 4] = [1, 4, 16, 64];
/// As long as what wrk sends and what ticketd answers.
const REQUEST: [u8; 45] = [b'q'; 45];
const ANSWER: [u8; 161] = [b'a'; 161];
/// Larger than a request; what is read is not examined.
type Buffer = [u8; 4096];
/// How often each way is measured, alternating with the other.
const REPETITIONS: usize = 15;
/// How many requests are answered in each repetition.
const REQUESTS: usize = 64 * 1024;

fn main() -> Result<()> {
    println!("nanoseconds for each, median of {REPETITIONS}, one by one / together (ratio)\n");
    println!("{:>11} {:>26} {:>26}", "connections", "recv", "send");
    for connections in CONNECTIONS {
        let mut ends = Ends::connect(connections)?;
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(64)?;
        let (mut singly, mut jointly) =
            (OneByOne { buffer: [0; 4096] }, Together { ring, buffer: [0; 4096] });
        let (mut one_by_one, mut together) = (Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            one_by_one.push(ends.answer(&mut singly)?);
            together.push(ends.answer(&mut jointly)?);
        }
        let recv = compare(&one_by_one, &together, |took| took.recv);
        let send = compare(&one_by_one, &together, |took| took.send);
        println!("{connections:>11} {recv:>26} {send:>26}");
    }
    Ok(())
}

/// The time it took to read the requests of one repetition, and to answer them.
#[derive(Clone, Copy, Default)]
struct Took {
    recv: Duration,
    send: Duration,
}

fn compare(one_by_one: &[Took], together: &[Took], of: impl Fn(&Took) -> Duration) -> String {
    let median = |all: &[Took]| {
        let mut each: Vec<f64> =
            all.iter().map(|took| of(took).as_nanos() as f64 / REQUESTS as f64).collect();
        each.sort_by(f64::total_cmp);
        each[each.len() / 2]
    };
    let (single, batch) = (median(one_by_one), median(together));
    format!("{single:.0} / {batch:.0} ({:.2})", batch / single)
}

/// Both ends of the connections; the server's do not block.
struct Ends {
    clients: Vec<TcpStream>,
    servers: Vec<TcpStream>,
}

impl Ends {
    fn connect(connections: usize) -> Result<Ends> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut ends = Ends { clients: Vec::new(), servers: Vec::new() };
        for _ in 0..connections {
            let client = TcpStream::connect(listener.local_addr()?)?;
            let (server, _) = listener.accept()?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            server.set_nonblocking(true)?;
            ends.clients.push(client);
            ends.servers.push(server);
        }
        Ok(ends)
    }

    /// The clients send and read outside the measured time.
    fn answer(&mut self, way: &mut impl Way) -> Result<Took> {
        let mut took = Took::default();
        let mut buffer = [0; ANSWER.len()];
        for _ in 0..REQUESTS / self.clients.len() {
            for client in &mut self.clients {
                client.write_all(&REQUEST)?;
            }
            let began = Instant::now();
            way.receive(&mut self.servers)?;
            let received = Instant::now();
            way.send(&mut self.servers)?;
            took.recv += received - began;
            took.send += received.elapsed();
            for client in &mut self.clients {
                client.read_exact(&mut buffer)?;
            }
        }
        Ok(took)
    }
}

trait Way {
    fn receive(&mut self, servers: &mut [TcpStream]) -> Result<()>;
    fn send(&mut self, servers: &mut [TcpStream]) -> Result<()>;
}

struct OneByOne {
    buffer: Buffer,
}

impl Way for OneByOne {
    fn receive(&mut self, servers: &mut [TcpStream]) -> Result<()> {
        for server in servers {
            assert_eq!(server.read(&mut self.buffer)?, REQUEST.len());
        }
        Ok(())
    }

    fn send(&mut self, servers: &mut [TcpStream]) -> Result<()> {
        for server in servers {
            assert_eq!(server.write(&ANSWER)?, ANSWER.len());
        }
        Ok(())
    }
}

struct Together {
    ring: IoUring,
    /// All reads share it: the content is not examined.
    buffer: Buffer,
}

impl Together {
    fn push(&mut self, call: &squeue::Entry) {
        // SAFETY: `call` points at `self.buffer` or at `ANSWER`. Both outlive the call: it does not wait for
        // its socket, so it has ended when `submit` returns, before the caller that pushes calls can move
        // `self`.
        unsafe { self.ring.submission().push(call) }.expect("room for as many as there are connections");
    }

    /// Submits all pushed calls with one system call.
    fn submit(&mut self, calls: usize, bytes: usize) -> Result<()> {
        self.ring.submit_and_wait(calls)?;
        let ended = self.ring.completion().map(|call| assert_eq!(call.result(), bytes as i32)).count();
        assert_eq!(ended, calls, "a call that does not wait has ended when it was submitted");
        Ok(())
    }
}

impl Way for Together {
    fn receive(&mut self, servers: &mut [TcpStream]) -> Result<()> {
        let (buffer, bytes) = (self.buffer.as_mut_ptr(), self.buffer.len() as u32);
        for server in servers.iter() {
            let socket = types::Fd(server.as_raw_fd());
            self.push(&opcode::Recv::new(socket, buffer, bytes).flags(libc::MSG_DONTWAIT).build());
        }
        self.submit(servers.len(), REQUEST.len())
    }

    fn send(&mut self, servers: &mut [TcpStream]) -> Result<()> {
        for server in servers.iter() {
            let socket = types::Fd(server.as_raw_fd());
            let send = opcode::Send::new(socket, ANSWER.as_ptr(), ANSWER.len() as u32);
            self.push(&send.flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).build());
        }
        self.submit(servers.len(), ANSWER.len())
    }
}
