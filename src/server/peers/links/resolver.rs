//! Finds the addresses of names, each on a thread of its own: the operating system's call blocks, and a slow
//! name must not delay the others.
//!
//! That call cannot be cancelled, and while a name server is down it takes many seconds. So a name is not
//! looked up twice at the same time, and nobody has to wait for an answer: a late answer is as good as any
//! other.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mio::Waker;

use crate::advice::about_refusal;
use crate::server::limits::{ADDRESSES_PER_NAME_MAX, NAMES_BEING_RESOLVED_MAX};

/// How the addresses of a `HOST:PORT` are found; may block.
pub(crate) type LookUp = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// The addresses of a name.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The `HOST:PORT` that was looked up.
    pub(crate) name: String,
    /// The addresses to try, in order, at least one; or why there are none.
    pub(crate) addresses: io::Result<Vec<SocketAddr>>,
}

/// The loop's end of the threads.
#[derive(Debug)]
pub(crate) struct Resolver {
    look_up: LookUp,
    answer_sender: AnswerSender,
    answers: Receiver<Resolved>,
    /// The names that threads are looking up; at most [`NAMES_BEING_RESOLVED_MAX`].
    being_resolved: Vec<String>,
}

/// How a thread returns its answer to the loop.
#[derive(Clone, Debug)]
struct AnswerSender {
    sender: Sender<Resolved>,
    waker: Arc<Waker>,
}

impl AnswerSender {
    fn give(&self, name: String, addresses: io::Result<Vec<SocketAddr>>) {
        // If the loop has ended meanwhile, nobody waits for the answer.
        if self.sender.send(Resolved { name, addresses }).is_ok()
            && let Err(error) = self.waker.wake()
        {
            log::error!("a resolver could not wake the loop: {error}");
        }
    }
}

impl Resolver {
    /// Each answer wakes the loop.
    pub(crate) fn new(waker: Arc<Waker>, look_up: LookUp) -> Resolver {
        let (sender, answers) = channel();
        Resolver {
            look_up,
            answer_sender: AnswerSender { sender, waker },
            answers,
            being_resolved: Vec::new(),
        }
    }

    /// Asks for the addresses of a `HOST:PORT`. The answer comes from [`Resolver::poll`].
    pub(crate) fn ask(&mut self, name: &str) {
        if self.being_resolved.iter().any(|asked| asked == name) {
            return;
        }
        if self.being_resolved.len() >= NAMES_BEING_RESOLVED_MAX {
            let error = io::Error::other("too many names are being resolved");
            self.answer_sender.give(name.to_owned(), Err(error));
            return;
        }
        self.being_resolved.push(name.to_owned());
        let (look_up, answer_sender, asked) = (self.look_up, self.answer_sender.clone(), name.to_owned());
        let thread = thread::Builder::new().name("resolver".to_owned());
        let spawned = thread.spawn(move || {
            let addresses = look_up(&asked);
            answer_sender.give(asked, addresses);
        });
        if let Err(error) = spawned {
            self.answer_sender.give(name.to_owned(), Err(no_thread(&error)));
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Resolved> {
        let resolved = self.answers.try_recv().ok()?;
        self.being_resolved.retain(|asked| *asked != resolved.name);
        Some(resolved)
    }

    /// Returns an answer as a thread would.
    #[cfg(test)]
    pub(crate) fn give(&self, name: &str, addresses: io::Result<Vec<SocketAddr>>) {
        self.answer_sender.give(name.to_owned(), addresses);
    }
}

/// The peer may be well: it is this process that has reached a limit.
fn no_thread(error: &io::Error) -> io::Error {
    let remedy = about_refusal(error);
    io::Error::other(format!("there is no thread to look up its name ({error}): {remedy}"))
}

/// Asks the operating system.
pub(crate) fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = name.to_socket_addrs()?.take(ADDRESSES_PER_NAME_MAX).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Poll, Token};

    fn resolver() -> (Poll, Resolver) {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let never = |_: &str| -> io::Result<Vec<SocketAddr>> {
            loop {
                thread::park();
            }
        };
        (poll, Resolver::new(waker, never))
    }

    #[test]
    fn localhost_has_an_address_and_nonsense_an_error() {
        let addresses = look_up("localhost:80").unwrap();
        assert!(addresses.iter().all(|a| a.port() == 80 && a.ip().is_loopback()), "{addresses:?}");
        assert!(look_up("no port").is_err());
    }

    #[test]
    fn who_has_no_thread_for_a_name_is_told_which_limit_to_raise() {
        let said = no_thread(&rustix::io::Errno::AGAIN.into()).to_string();
        assert!(said.contains("its name") && said.contains("raise the limit of processes"), "{said}");
    }

    #[test]
    fn a_name_being_resolved_is_not_looked_up_a_second_time() {
        let (_poll, mut resolver) = resolver();
        for _ in 0..10 {
            resolver.ask("a:1");
            resolver.ask("b:1");
        }
        assert_eq!(resolver.being_resolved, ["a:1", "b:1"]);
        resolver.give("a:1", Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(resolver.poll().unwrap().name, "a:1");
        assert_eq!(resolver.being_resolved, ["b:1"]);
        resolver.ask("a:1");
        assert_eq!(resolver.being_resolved, ["b:1", "a:1"], "its answer may have changed");
    }

    #[test]
    fn names_beyond_the_bound_are_refused_at_once_and_the_others_go_on() {
        let (_poll, mut resolver) = resolver();
        for number in 0..NAMES_BEING_RESOLVED_MAX {
            resolver.ask(&format!("n{number}:1"));
        }
        assert!(resolver.poll().is_none());
        resolver.ask("one-too-many:1");
        let refused = resolver.poll().unwrap();
        assert_eq!(refused.name, "one-too-many:1");
        assert!(refused.addresses.is_err());
        assert_eq!(resolver.being_resolved.len(), NAMES_BEING_RESOLVED_MAX);
    }
}
