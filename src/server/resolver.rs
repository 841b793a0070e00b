//! Finds the addresses of names, on a thread of its own, because the operating system's way of doing so blocks.

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

/// The loop's end of the thread. Each link asks one question at a time, so the queue is as short as the
/// membership. The thread ends when this is dropped, after the name it is at.
#[derive(Debug)]
pub(super) struct Resolver {
    questions: Sender<(QuestionId, String)>,
    answers: Receiver<Resolved>,
    last: QuestionId,
}

impl Resolver {
    /// Starts the thread, which wakes the loop with each answer.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn spawn(waker: Arc<Waker>) -> io::Result<Resolver> {
        let (questions, asked) = channel::<(QuestionId, String)>();
        let (answer, answers) = channel();
        thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            for (question, address) in asked {
                if answer.send(Resolved { question, addresses: resolve(&address) }).is_err() {
                    return;
                }
                if let Err(error) = waker.wake() {
                    log::error!("the resolver could not wake the loop: {error}");
                }
            }
        })?;
        Ok(Resolver { questions, answers, last: QuestionId(0) })
    }

    /// Asks for the addresses behind `HOST:PORT`. The answer comes with [`Resolver::poll`]; never, where the
    /// thread has died.
    pub(super) fn ask(&mut self, address: &str) -> QuestionId {
        self.last = QuestionId(self.last.0 + 1);
        if self.questions.send((self.last, address.to_owned())).is_err() {
            log::error!("the resolver has died: {address} will not be found");
        }
        self.last
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
