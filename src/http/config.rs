//! How connections behave, every limit with its reason, and what the calls of one turn share.

use std::num::NonZeroU64;

use raft_core::Micros;

use super::date::HttpDate;
use super::status::Tally;
use crate::redirect_status::RedirectStatus;

/// The most field lines in a request; more are answered with 431. Browsers send about 20.
pub(super) const FIELDS_MAX: usize = 100;
/// The most empty lines before a request line. RFC 9112 §2.2 asks servers to ignore at least one; old clients
/// send one after a body.
pub(super) const EMPTY_LINES_MAX: u8 = 4;
/// The longest method that fits in a request line together with a target of maximum length. The longest
/// registered method, `UPDATEREDIRECTREF`, has 17 bytes.
pub(super) const METHOD_BYTES_MAX: usize = 32;
/// The most bytes of chunk extensions in one body. Clients do not send any; without a limit of their own they
/// would escape the limit on the body.
pub(super) const CHUNK_EXTENSION_BYTES_MAX: usize = 1024;
/// The most bytes of trailer fields after one body.
pub(super) const TRAILER_BYTES_MAX: usize = 4096;
/// The longest request head that a connection remembers in order to recognise it when it is repeated.
/// Programs send heads of 60 to 250 bytes, and every connection in use pays for what it remembers.
pub(super) const REMEMBERED_BYTES_MAX: usize = 256;
/// A connection that has been quiet for this long frees its buffers, so that thousands of idle ones are
/// cheap, while one in use never allocates.
pub(super) const BUFFERS_IDLE_US: u64 = 1_000_000;

/// What is the same for all calls in one turn of the driver's loop.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// How connections behave. Every call for a connection must pass the same one.
    pub config: &'a Config,
    /// The current time on the driver's monotonic clock.
    pub now: Micros,
    /// The current time as the `Date` field shows it.
    pub date: &'a HttpDate,
    /// Where answers are counted.
    pub tally: &'a Tally,
}

/// How connections behave. What an operator may choose has a flag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The value of the `Server` field.
    pub server: String,
    /// The status with which a node that does not lead redirects clients to the leader.
    pub redirect_status: RedirectStatus,
    /// What this listener serves.
    pub serves: Serves,
    /// The most IDs in one request; more are answered with 400.
    pub batch_max: NonZeroU64,
    /// The longest request target; a longer one is answered with 414. RFC 9112 §3 recommends supporting
    /// request lines of 8000 bytes.
    pub target_bytes_max: usize,
    /// The most bytes of header fields, including line ends and the empty line; more are answered with 431.
    pub fields_bytes_max: usize,
    /// The longest request body; a longer one is answered with 413. Bodies have no meaning here and are
    /// discarded as they arrive, so this bounds time rather than memory.
    pub body_bytes_max: u64,
    /// The most requests of one connection that wait for their answers, at least 1; more are not read until
    /// answers have been sent.
    pub pipeline_max: usize,
    /// No further request is read while this many bytes of answers, at least 1, wait to be sent. Together
    /// with `pipeline_max` it bounds the memory that a client which does not read can make us hold.
    pub output_bytes_max: usize,
    /// How long a connection may be quiet between requests before it is closed. By default this is longer
    /// than the minute for which common proxies keep a connection: the side that closes first fails the
    /// request that the other side is sending, and a POST is not sent again.
    pub idle_timeout_us: u64,
    /// How long a request head may take from its first byte to its last; after that the answer is 408.
    pub head_timeout_us: u64,
    /// How long a request body may take from the end of the head; after that the answer is 408.
    pub body_timeout_us: u64,
    /// How long a client may take to read the output that waits for it; after that the connection is cut.
    pub send_timeout_us: u64,
    /// How long input is still read after we have ended a connection, so that the client can read the last
    /// answer before the close resets the connection (RFC 9112 §9.6).
    pub drain_timeout_us: u64,
    /// The most bytes read for that purpose.
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

/// What a listener serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serves {
    /// IDs and pages.
    Everything,
    /// IDs only, because the pages have a listener of their own.
    IdsOnly,
    /// Health, status and metrics only.
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
