//! Clients that take IDs continuously and record it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::checker::{self, Operation, Outcome};
use super::http::{Client, Response};
use super::wait;

/// The pause between two requests of one client. The machine may have only two cores, and the nodes need some
/// of them.
const PAUSE: Duration = Duration::from_micros(300);

/// The pause before a client tries again when nothing listens, or no leader is known.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// The patience of a client that has other things to do: it leaves before a paused node wakes up.
const IMPATIENT: Duration = Duration::from_millis(400);

/// The patience of a client that waits for a paused node, and so gets the late answer of such a node.
const PATIENT: Duration = Duration::from_secs(30);

/// How one client behaves.
#[derive(Clone, Copy, Debug)]
struct Manners {
    /// How many requests it sends in one write.
    pipelined: usize,
    /// How many IDs it takes with each request.
    count: u64,
    patience: Duration,
    loyalty: Loyalty,
}

/// What a client does after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loyalty {
    /// It stays with the same node: another client would be the first to notice that the node lags behind.
    Stays,
    /// It goes to the next node, and so compares them all.
    Roams,
}

/// The simplest client.
const CLIENT: Manners = Manners { pipelined: 1, count: 1, patience: IMPATIENT, loyalty: Loyalty::Stays };

const CLIENTS: [Manners; 6] = [
    CLIENT,
    Manners { patience: PATIENT, ..CLIENT },
    Manners { pipelined: 8, ..CLIENT },
    Manners { count: 7, ..CLIENT },
    Manners { loyalty: Loyalty::Roams, ..CLIENT },
    Manners { loyalty: Loyalty::Roams, ..CLIENT },
];

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Operation>>>,
}

#[derive(Debug)]
struct Shared {
    addresses: Vec<String>,
    started: Instant,
    answered: AtomicU64,
    stop: AtomicBool,
}

/// What the clients have recorded.
#[derive(Debug)]
pub struct History {
    operations: Vec<Operation>,
}

impl Load {
    /// Starts clients on the nodes at these addresses.
    pub fn on(addresses: Vec<String>) -> Load {
        let shared = Arc::new(Shared {
            addresses,
            started: Instant::now(),
            answered: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let client = |(number, manners): (usize, &Manners)| {
            let worker = Worker::new(Arc::clone(&shared), number, *manners);
            thread::spawn(move || worker.work())
        };
        let clients = CLIENTS.iter().enumerate().map(client).collect();
        Load { shared, clients }
    }

    /// How many requests all clients together have in progress at once.
    pub fn requests_at_once() -> usize {
        CLIENTS.iter().map(|manners| manners.pipelined).sum()
    }

    /// Waits until this many more requests have been answered with IDs.
    #[track_caller]
    pub fn await_more(&self, answers: u64) {
        let wanted = self.shared.answered.load(Ordering::Relaxed) + answers;
        wait::until_true("the clients get IDs", || self.shared.answered.load(Ordering::Relaxed) >= wanted);
    }

    /// Stops the clients; waits for requests in progress.
    pub fn finish(mut self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.drain(..).map(|client| client.join().expect("a client does not panic"));
        History { operations: clients.flatten().collect() }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl History {
    /// Asserts that no ID was given out twice, and that the order of the IDs is that of time.
    #[track_caller]
    pub fn check(&self) {
        if let Err(violation) = checker::check(&self.operations) {
            panic!("{violation}");
        }
    }

    /// How many requests may or may not have been granted because the connection broke before the answer.
    pub fn unknown(&self) -> usize {
        self.operations.iter().filter(|operation| operation.outcome == Outcome::Unknown).count()
    }
}

struct Worker {
    shared: Arc<Shared>,
    manners: Manners,
    /// Which of the addresses is asked next if none has named the leader.
    next: usize,
    client: Option<Client>,
    operations: Vec<Operation>,
}

impl Worker {
    fn new(shared: Arc<Shared>, number: usize, manners: Manners) -> Worker {
        Worker { shared, manners, next: number, client: None, operations: Vec::new() }
    }

    fn work(mut self) -> Vec<Operation> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.client.take() {
                Some(client) => {
                    self.client = self.take(client);
                    thread::sleep(PAUSE);
                }
                None => self.connect_to_next(),
            }
        }
        self.operations
    }

    fn connect_to_next(&mut self) {
        let addresses = &self.shared.addresses;
        let address = &addresses[self.next % addresses.len()];
        self.next += 1;
        self.client = Client::connect(address, self.manners.patience).ok();
        if self.client.is_none() {
            thread::sleep(RETRY_PAUSE);
        }
    }

    /// Sends requests in one write and takes their answers. Returns the client to continue with.
    fn take(&mut self, mut client: Client) -> Option<Client> {
        let target =
            if self.manners.count == 1 { "/".to_owned() } else { format!("/?n={}", self.manners.count) };
        let sent = self.now();
        // It is impossible to tell whether a request on a broken connection arrived.
        let mut broken = client.send_pipelined("POST", &target, self.manners.pipelined).is_err();
        let mut gives_up = false;
        let mut leader = None;
        for _ in 0..self.manners.pipelined {
            let response = if broken { None } else { received(&mut client) };
            broken |= response.is_none();
            let outcome = match &response {
                None => Outcome::Unknown,
                Some(Response { status: 301 | 307 | 308 | 408 | 503, .. }) => Outcome::Refused,
                Some(response) => {
                    assert_eq!(response.status, 200, "{response:?}");
                    let ids = response.ids().unwrap_or_else(|| panic!("no IDs in {response:?}"));
                    let given = u128::from(*ids.end()) - u128::from(*ids.start()) + 1;
                    assert_eq!(given, u128::from(self.manners.count), "IDs in {response:?}");
                    Outcome::Ids { first: *ids.start(), last: *ids.end() }
                }
            };
            self.record(sent, outcome);
            if let Some(response) = response.filter(|response| response.status != 200) {
                leader = response.redirected_to().map(str::to_owned);
                gives_up |= leader.is_none();
            }
        }
        gives_up |= broken;
        match leader {
            // The leader may have died since the node that names it last heard from it.
            Some(leader) if !gives_up => Client::connect(&leader, self.manners.patience).ok().or_else(|| {
                thread::sleep(RETRY_PAUSE);
                None
            }),
            None if !gives_up => (self.manners.loyalty == Loyalty::Stays).then_some(client),
            Some(_) | None => {
                thread::sleep(RETRY_PAUSE);
                None
            }
        }
    }

    fn record(&mut self, sent: Duration, outcome: Outcome) {
        let answered = self.now();
        match outcome {
            Outcome::Ids { .. } => {
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                self.operations.push(Operation { sent, answered, outcome });
            }
            Outcome::Unknown => self.operations.push(Operation { sent, answered, outcome }),
            // While no leader is known there are millions of these, and they mean nothing.
            Outcome::Refused => (),
        }
    }

    fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }
}

/// The next response, if the connection does not break before it is complete.
fn received(client: &mut Client) -> Option<Response> {
    let response = client.receive();
    if let Err(error) = &response {
        assert!(error.kind() != io::ErrorKind::InvalidData, "that is no HTTP: {error}");
    }
    response.ok()
}
