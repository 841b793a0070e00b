//! Finds the addresses of names, each on a thread of its own: the operating system's way of doing so blocks,
//! and a name that takes long must not keep others waiting.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mio::Waker;

/// Names one question; larger each time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct QuestionId(u64);

/// The answer to a question.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Which question.
    pub(super) question: QuestionId,
    /// The addresses to be tried, in order; never empty.
    pub(super) addresses: io::Result<Vec<SocketAddr>>,
}

/// The loop's end of the threads. Each link asks one question at a time, so there are as few as members.
#[derive(Debug)]
pub(super) struct Resolver {
    answer: Answer,
    answers: Receiver<Resolved>,
    last: QuestionId,
}

/// A thread's way to the loop.
#[derive(Clone, Debug)]
struct Answer {
    sender: Sender<Resolved>,
    waker: Arc<Waker>,
}

impl Answer {
    fn give(&self, question: QuestionId, addresses: io::Result<Vec<SocketAddr>>) {
        // The loop may have ended meanwhile, and then nobody waits for it.
        if self.sender.send(Resolved { question, addresses }).is_ok()
            && let Err(error) = self.waker.wake()
        {
            log::error!("a resolver could not wake the loop: {error}");
        }
    }
}

impl Resolver {
    /// Whatever is asked, each answer wakes the loop.
    pub(super) fn new(waker: Arc<Waker>) -> Resolver {
        let (sender, answers) = channel();
        Resolver { answer: Answer { sender, waker }, answers, last: QuestionId(0) }
    }

    /// Asks for the addresses behind `HOST:PORT`. The answer comes with [`Resolver::poll`].
    pub(super) fn ask(&mut self, address: &str) -> QuestionId {
        self.last = QuestionId(self.last.0 + 1);
        let (question, answer, address) = (self.last, self.answer.clone(), address.to_owned());
        let thread = thread::Builder::new().name("resolver".to_owned());
        if let Err(error) = thread.spawn(move || answer.give(question, resolve(&address))) {
            self.answer.give(question, Err(error));
        }
        question
    }

    /// The next answer.
    pub(super) fn poll(&mut self) -> Option<Resolved> {
        self.answers.try_recv().ok()
    }
}

fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_has_an_address_and_nonsense_an_error() {
        let addresses = resolve("localhost:80").unwrap();
        assert!(addresses.iter().all(|a| a.port() == 80 && a.ip().is_loopback()), "{addresses:?}");
        assert!(resolve("no port").is_err());
    }
}
