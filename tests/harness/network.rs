//! A network between nodes that tests can cut.
//!
//! Nodes listen on one loopback address and advertise another, at which relays stand in for them. There are
//! two connections between any two nodes, one dialled by each, and bytes travel both ways on each; what one
//! node sends to the other can be cut alone, on both. The dialling node is identified by its first frame (see
//! the peer protocol in docs/); a caller that sends no such frame is an operator or a client, and is always
//! let through.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::ports;

/// The address that nodes advertise. On Linux, all of 127.0.0.0/8 is this machine.
const ADVERTISED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How soon connections notice a cut.
const TICK: Duration = Duration::from_millis(2);

/// Where a `Hello` holds the caller's id, and how many bytes it takes to tell: the frame's header (length,
/// checksum, type), the version, the cluster, the id.
const TYPE_AT: usize = 8;
const TYPE_HELLO: u8 = 1;
const ID_AT: usize = 9 + 2 + 16;
const HELLO_START_BYTES: usize = ID_AT + 8;

/// How what one node sends to another is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Connections break, and new ones break at once.
    Broken,
    /// Connections stay, and what is sent on them arrives when the network is healed.
    Silent,
    /// Connections stay, and new ones that the sender dials break at once, as a firewall may have it.
    Undialled,
}

/// The network. Its relays end with [`Network::end`], which the cluster on it calls.
#[derive(Clone, Debug)]
pub struct Network {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    cuts: BTreeMap<(u64, u64), Cut>,
    /// The system refuses connections to these, as if their processes had died.
    refused: Vec<u64>,
    /// How many connections between members there have been.
    flows: u64,
    /// Of those up to this one, nothing arrives any more.
    forgotten: u64,
    ended: bool,
}

/// What may pass now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passage {
    Open,
    Cut(Cut),
    Ended,
}

impl Network {
    /// A network without nodes; `None` if the machine has no second loopback address.
    pub fn new() -> Option<Network> {
        TcpListener::bind((ADVERTISED, 0)).ok()?;
        Some(Network { shared: Arc::default() })
    }

    /// Puts relays in front of a node that is about to be started, and returns the flags to start it with.
    pub fn attach(&self, id: u64) -> Vec<String> {
        let (raft_port, http_port) = (ports::free(), ports::free());
        let network = self.clone();
        thread::spawn(move || network.stand_for(Some(id), raft_port));
        let network = self.clone();
        thread::spawn(move || network.stand_for(None, http_port));
        let flags = ["--advertise", &ADVERTISED.to_string(), "--raft_port", &raft_port.to_string()];
        [&flags[..], &["--http_port", &http_port.to_string()]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// Cuts what `from` sends to `to`.
    pub fn cut(&self, from: u64, to: u64, cut: Cut) {
        self.lock().cuts.insert((from, to), cut);
    }

    /// Cuts everything between one node and these others, in both directions.
    pub fn isolate(&self, id: u64, others: impl IntoIterator<Item = u64>, cut: Cut) {
        let mut state = self.lock();
        for other in others {
            state.cuts.insert((id, other), cut);
            state.cuts.insert((other, id), cut);
        }
        if cut == Cut::Broken {
            state.refused.push(id);
        }
    }

    /// What members send on the connections that there are by now is taken and never arrives, not even their
    /// end, as behind a proxy whose own connections have broken without its notice. New connections pass.
    pub fn forget_flows(&self) {
        let mut state = self.lock();
        state.forgotten = state.flows;
    }

    /// Everything passes again.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.cuts.clear();
        state.refused.clear();
    }

    /// Ends all relays.
    pub fn end(&self) {
        self.lock().ended = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement, so a panic in between has not spoilt it.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passage(&self, way: Option<(u64, u64)>) -> Passage {
        let state = self.lock();
        if state.ended {
            return Passage::Ended;
        }
        way.and_then(|way| state.cuts.get(&way)).map_or(Passage::Open, |cut| Passage::Cut(*cut))
    }

    /// Accepts the connections to a node's port; `to` is the node if the port is for members.
    fn stand_for(&self, to: Option<u64>, port: u16) {
        let mut listener = None;
        while self.passage(None) != Passage::Ended {
            if to.is_some_and(|to| self.lock().refused.contains(&to)) {
                listener = None;
            } else if listener.is_none() {
                listener = listen(port).ok();
            }
            match listener.as_ref().map(TcpListener::accept) {
                Some(Ok((dialler, _))) => {
                    let network = self.clone();
                    thread::spawn(move || {
                        // A connection that breaks is expected here.
                        let _ = network.relay(dialler, to, port);
                    });
                }
                Some(Err(_)) | None => thread::sleep(TICK),
            }
        }
    }

    fn relay(&self, dialler: TcpStream, to: Option<u64>, port: u16) -> io::Result<()> {
        dialler.set_nonblocking(false)?;
        dialler.set_nodelay(true)?;
        dialler.set_read_timeout(Some(TICK))?;
        let mut start = Vec::new();
        let way = match to {
            Some(to) => self.read_caller(&dialler, &mut start)?.map(|from| (from, to)),
            None => None,
        };
        if matches!(self.passage(way), Passage::Cut(Cut::Broken | Cut::Undialled)) {
            return Ok(());
        }
        let mut acceptor = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        acceptor.set_nodelay(true)?;
        acceptor.set_read_timeout(Some(TICK))?;
        self.await_passage(way)?;
        acceptor.write_all(&start)?;
        let (back_from, back_to) = (acceptor.try_clone()?, dialler.try_clone()?);
        let network = self.clone();
        let way_back = way.map(|(from, to)| (to, from));
        let flow = way.map(|_| self.count_flow());
        thread::spawn(move || network.carry(flow, way_back, back_from, back_to));
        self.carry(flow, way, dialler, acceptor);
        Ok(())
    }

    fn count_flow(&self) -> u64 {
        let mut state = self.lock();
        state.flows += 1;
        state.flows
    }

    fn is_forgotten(&self, flow: Option<u64>) -> bool {
        flow.is_some_and(|flow| flow <= self.lock().forgotten)
    }

    /// The id in the caller's `Hello`; `None` if the caller sends something else.
    fn read_caller(&self, mut dialler: &TcpStream, start: &mut Vec<u8>) -> io::Result<Option<u64>> {
        while start.len() < HELLO_START_BYTES {
            if start.len() > TYPE_AT && start[TYPE_AT] != TYPE_HELLO {
                return Ok(None);
            }
            let mut bytes = [0; 4096];
            match dialler.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(read) => start.extend_from_slice(&bytes[..read]),
                Err(error) if is_timeout(&error) => {
                    self.await_passage(None)?;
                }
                Err(error) => return Err(error),
            }
        }
        let id: [u8; 8] = start[ID_AT..HELLO_START_BYTES].try_into().unwrap_or_default();
        Ok((start[TYPE_AT] == TYPE_HELLO).then(|| u64::from_be_bytes(id)))
    }

    /// Forwards bytes in one direction until either side ends or the way is broken.
    fn carry(&self, flow: Option<u64>, way: Option<(u64, u64)>, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 64 * 1024];
        let ended = loop {
            if let Err(error) = self.await_passage(way) {
                break Err(error);
            }
            match from.read(&mut bytes) {
                Err(error) if is_timeout(&error) => (),
                Ok(1..) if self.is_forgotten(flow) => (),
                // The receiver is not told.
                Ok(0) | Err(_) if self.is_forgotten(flow) => return,
                Ok(0) => break Ok(()),
                Ok(read) => {
                    if let Err(error) = self.await_passage(way).and_then(|()| to.write_all(&bytes[..read])) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        // These fail only if the connection is already gone.
        if ended.is_ok() {
            let _ = to.shutdown(Shutdown::Write);
        } else {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        }
    }

    /// Waits as long as the way is silent. Returns an error if it is broken.
    fn await_passage(&self, way: Option<(u64, u64)>) -> io::Result<()> {
        loop {
            match self.passage(way) {
                Passage::Open | Passage::Cut(Cut::Undialled) => return Ok(()),
                Passage::Cut(Cut::Silent) => thread::sleep(TICK),
                Passage::Cut(Cut::Broken) | Passage::Ended => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((ADVERTISED, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
