//! How connections behave, every bound with its reason, and what the calls of one turn share.

use std::num::NonZeroU64;

use raft_core::Micros;

use super::date::HttpDate;
use super::status::Tally;
use crate::redirect_status::RedirectStatus;

/// The most field lines of one request; more are answered with 431. Browsers send about 20.
pub(super) const FIELDS_MAX: usize = 100;
/// The most empty lines before a request line. RFC 9112 §2.2 asks for one; old clients send one after a body.
pub(super) const EMPTY_LINES_MAX: u8 = 4;
/// The longest method that fits in a request line besides a target of full length. The longest registered
/// one, `UPDATEREDIRECTREF`, has 17.
pub(super) const METHOD_BYTES_MAX: usize = 32;
/// The most bytes of chunk extensions in one body. Nobody sends any; without a bound of their own they would
/// be a body outside the body's bound.
pub(super) const CHUNK_EXTENSION_BYTES_MAX: usize = 1024;
/// The most bytes of trailer fields after one body.
pub(super) const TRAILER_BYTES_MAX: usize = 4096;
/// The longest request head that a connection remembers to recognise its repetition. Programs send 60 to 250
/// bytes, and what is remembered is paid for by each connection that is in use.
pub(super) const REMEMBERED_BYTES_MAX: usize = 256;
/// A connection that has been quiet for so long gives its buffers back, so that thousands of idle ones are
/// cheap, while one in use never allocates.
pub(super) const REST_US: u64 = 1_000_000;

/// What is the same for all calls of one turn of the driver's loop.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// How connections behave. A connection is given the same one in all calls.
    pub config: &'a Config,
    /// The moment, on the driver's monotonic clock.
    pub now: Micros,
    /// The moment, as the `Date` field shows it.
    pub date: &'a HttpDate,
    /// Where answers are counted.
    pub tally: &'a Tally,
}

/// How connections behave. What an operator may choose of it has a flag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The value of the `Server` field.
    pub server: String,
    /// How a node that does not lead sends clients to the leader.
    pub redirect_status: RedirectStatus,
    /// What is to be found at this listener.
    pub serves: Serves,
    /// The most IDs of one request; more are answered with 400.
    pub batch_max: NonZeroU64,
    /// The longest request target; a longer one is answered with 414. RFC 9112 §3 asks for request lines of
    /// 8000 bytes.
    pub target_bytes_max: usize,
    /// The most bytes of header fields, line ends and the empty line included; more are answered with 431.
    pub fields_bytes_max: usize,
    /// The longest request body; a longer one is answered with 413. Bodies mean nothing here and are
    /// discarded as they come, so this bounds time rather than memory.
    pub body_bytes_max: u64,
    /// The most requests of one connection that wait for their answers, at least 1; more are not read until
    /// answers leave.
    pub pipeline_max: usize,
    /// No further request is read while so many bytes of answers, at least 1, wait to be sent. Together with
    /// `pipeline_max` it bounds what a client that does not read can make us hold.
    pub output_bytes_max: usize,
    /// How long a connection may be quiet between requests; then it is closed. By default longer than the
    /// minute for which common proxies keep a connection: whoever closes first fails the request that the
    /// other is sending, and a POST is not sent again.
    pub idle_timeout_us: u64,
    /// How long a request head may take from its first byte to its last; then 408.
    pub head_timeout_us: u64,
    /// How long a request body may take from the end of the head; then 408.
    pub body_timeout_us: u64,
    /// How long a client may take to read what waits for it; then the connection is cut.
    pub send_timeout_us: u64,
    /// How long a connection that we ended is still read, so that the client can read the last answer before
    /// the close resets the connection (RFC 9112 §9.6).
    pub drain_timeout_us: u64,
    /// How many bytes are read for that purpose at most.
    pub drain_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            server: concat!("ticketd/", env!("CARGO_PKG_VERSION")).to_owned(),
            redirect_status: RedirectStatus::MovedPermanently,
            serves: Serves::Everything,
            batch_max: NonZeroU64::new(1_000_000).expect("a million is not zero"),
            target_bytes_max: 8000,
            fields_bytes_max: 16 * 1024,
            body_bytes_max: 64 * 1024,
            pipeline_max: 128,
            output_bytes_max: 64 * 1024,
            idle_timeout_us: 75_000_000,
            head_timeout_us: 10_000_000,
            body_timeout_us: 20_000_000,
            send_timeout_us: 20_000_000,
            drain_timeout_us: 2_000_000,
            drain_bytes_max: 1024 * 1024,
        }
    }
}

/// What is to be found at a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serves {
    /// IDs and pages.
    Everything,
    /// IDs, because the pages have a listener of their own.
    IdsOnly,
    /// Health, status and metrics.
    PagesOnly,
}

impl Serves {
    pub(super) const fn ids(self) -> bool {
        match self {
            Serves::Everything | Serves::IdsOnly => true,
            Serves::PagesOnly => false,
        }
    }

    pub(super) const fn pages(self) -> bool {
        match self {
            Serves::Everything | Serves::PagesOnly => true,
            Serves::IdsOnly => false,
        }
    }
}
