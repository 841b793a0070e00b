//! A small HTTP client that shows exactly what came over the wire.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How long connecting may take on the loopback interface.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to one node, for any number of requests.
#[derive(Debug)]
pub struct Client {
    address: String,
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Names in lower case, values without the space around them.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: String,
}

impl Client {
    /// Connects. Each answer may take as long as `patience`.
    ///
    /// # Errors
    /// If nothing listens there.
    pub fn connect(address: &str, patience: Duration) -> io::Result<Client> {
        let to = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let stream = TcpStream::connect_timeout(&to, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Client { address: address.to_owned(), stream, received: Vec::new() })
    }

    /// Sends a request without content.
    ///
    /// # Errors
    /// If the connection broke.
    pub fn send(&mut self, method: &str, target: &str) -> io::Result<()> {
        self.send_pipelined(method, target, 1)
    }

    /// Sends the same request several times, in one write.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_pipelined(&mut self, method: &str, target: &str, times: usize) -> io::Result<()> {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.stream.write_all(request.repeat(times).as_bytes())
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    /// If the connection broke, if `patience` ended before the answer was complete, or if it is not HTTP.
    pub fn receive(&mut self) -> io::Result<Response> {
        loop {
            if let Some((response, length)) = parse(&self.received)? {
                self.received.drain(..length);
                return Ok(response);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.received.extend_from_slice(&bytes[..read]),
            }
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// As [`Client::receive`].
    pub fn ask(&mut self, method: &str, target: &str) -> io::Result<Response> {
        self.send(method, target)?;
        self.receive()
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// As [`Client::receive`].
pub fn ask(address: &str, method: &str, target: &str) -> io::Result<Response> {
    Client::connect(address, Duration::from_secs(30))?.ask(method, target)
}

/// What `/metrics` shows for a series, a whole number; `None` if no node answers at this address.
///
/// # Panics
/// If there is no such series. `series` is its name and its labels, as they are written.
#[track_caller]
pub fn metric(address: &str, series: &str) -> Option<u64> {
    let page = ask(address, "GET", "/metrics").ok()?.body;
    let mut samples = page.lines().filter_map(|line| line.rsplit_once(' '));
    let found = samples.find(|(name, _)| *name == series);
    let value = found.and_then(|(_, value)| value.parse().ok());
    Some(value.unwrap_or_else(|| panic!("no number for {series} in {page}")))
}

impl Response {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The `host:port` of a redirect.
    pub fn redirected_to(&self) -> Option<&str> {
        let rest = self.field("location")?.strip_prefix("http://")?;
        (self.status == 301).then(|| rest.split('/').next()).flatten()
    }

    /// The IDs, if this is an answer with IDs.
    pub fn ids(&self) -> Option<RangeInclusive<u64>> {
        if self.status != 200 {
            return None;
        }
        let mut numbers = self.body.split(' ').map(|digits| digits.parse().ok());
        let first = numbers.next().flatten()?;
        Some(first..=numbers.next().map_or(Some(first), |last| last)?)
    }
}

/// The first answer in `bytes` and its length, if it is complete.
fn parse(bytes: &[u8]) -> io::Result<Option<(Response, usize)>> {
    let Some(head_end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let bad = || io::Error::new(io::ErrorKind::InvalidData, String::from_utf8_lossy(bytes).into_owned());
    let head = str::from_utf8(&bytes[..head_end]).map_err(|_| bad())?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).ok_or_else(bad)?;
    let (code, reason) = status_line.split_once(' ').ok_or_else(bad)?;
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = fields.iter().find(|(name, _)| name == "content-length").ok_or_else(bad)?;
    let body_start = head_end + 4;
    let end = body_start + length.1.parse::<usize>().map_err(|_| bad())?;
    if bytes.len() < end {
        return Ok(None);
    }
    let response = Response {
        status: code.parse().map_err(|_| bad())?,
        reason: reason.to_owned(),
        fields,
        body: String::from_utf8(bytes[body_start..end].to_vec()).map_err(|_| bad())?,
    };
    Ok(Some((response, end)))
}
