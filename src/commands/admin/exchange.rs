//! One request and one response, on a connection of their own.
//!
//! It uses the peer protocol and the system's sockets, and blocks. It must never know what is asked, or what
//! an answer means.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::reach::{CONNECT_TIMEOUT, connect};
use crate::commands::patience::{Impatience, Patience, TICK};
use crate::peer::{self, AdminRequest, AdminResponse, Decoder, Frame, FrameError, PROTOCOL_VERSION, Refuse};

/// The size of one read from a socket; the status of the largest cluster takes a few reads.
const READ_BYTES: usize = 16 * 1024;

/// Why an exchange gave no response.
pub(crate) enum Trouble {
    /// The request did not arrive.
    Unreachable(String),
    /// The request may have arrived.
    NoAnswer(String),
    /// The program that listens there speaks another protocol, so the request had no effect.
    Foreign(String),
    /// The answer cannot be read; the request may have been carried out.
    Unreadable(String),
    /// Patience ran out while the answer was awaited.
    Impatient(Impatience),
}

/// Sends one request to this address and waits for its response.
///
/// # Errors
/// [`Trouble`].
pub(crate) fn exchange(
    address: &str,
    request: &AdminRequest,
    patience: &Patience<'_>,
    answer_timeout: Duration,
) -> Result<AdminResponse, Trouble> {
    let mut stream = connect(address, patience).map_err(|error| Trouble::Unreachable(error.to_string()))?;
    let mut bytes = Vec::new();
    peer::encode(&Frame::AdminRequest(request.clone()), &mut bytes);
    stream
        .set_nodelay(true)
        .and_then(|()| stream.set_read_timeout(Some(TICK)))
        .and_then(|()| stream.set_write_timeout(Some(CONNECT_TIMEOUT)))
        .map_err(|error| Trouble::Unreachable(error.to_string()))?;
    // Once a part has been written, the whole may have been: the kernel does not tell.
    stream.write_all(&bytes).map_err(|error| Trouble::NoAnswer(error.to_string()))?;
    receive(&mut stream, patience, answer_timeout)
}

fn receive(
    stream: &mut TcpStream,
    patience: &Patience<'_>,
    answer_timeout: Duration,
) -> Result<AdminResponse, Trouble> {
    let asked = Instant::now();
    let mut decoder = Decoder::new();
    decoder.accept_large_frames();
    let mut buffer = vec![0; READ_BYTES];
    while asked.elapsed() < answer_timeout {
        patience.check().map_err(Trouble::Impatient)?;
        let mut input = match stream.read(&mut buffer) {
            Ok(0) => return Err(Trouble::NoAnswer("it closed the connection".to_owned())),
            Ok(bytes) => &buffer[..bytes],
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(Trouble::NoAnswer(error.to_string())),
        };
        if let Some(frame) = decoder.next_frame(&mut input).map_err(not_understood)? {
            return response(frame);
        }
    }
    Err(Trouble::NoAnswer(format!("{} ms have passed", answer_timeout.as_millis())))
}

/// A read that timed out, or that a signal interrupted.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn response(frame: Frame) -> Result<AdminResponse, Trouble> {
    match frame {
        Frame::AdminResponse(response) => Ok(response),
        Frame::Refuse(Refuse::Version { ours }) => Err(other_version(ours)),
        Frame::Hello(_)
        | Frame::Welcome(_)
        | Frame::Ping
        | Frame::Refuse(_)
        | Frame::Message(_)
        | Frame::AdminRequest(_) => Err(Trouble::Unreadable(
            "gives an unexpected answer, and may have done what it was asked: is it a ticketd?".to_owned(),
        )),
    }
}

fn not_understood(error: FrameError) -> Trouble {
    match error {
        FrameError::Version { theirs } => other_version(theirs),
        // The length that the beginning of an HTTP response stands for.
        FrameError::TooLong { .. } => Trouble::Foreign(format!(
            "does not answer like a ticketd ({error}): give the raft port of a member, not its HTTP port"
        )),
        FrameError::BadChecksum | FrameError::UnknownType(_) | FrameError::Malformed(_) => {
            Trouble::Unreadable(format!(
                "gives an answer that cannot be read ({error}), and may have done what it was asked: is that \
                 the raft port of a member, and is the network sound?"
            ))
        }
    }
}

fn other_version(theirs: u16) -> Trouble {
    Trouble::Foreign(format!(
        "speaks version {theirs} of the peer protocol, and this program version {PROTOCOL_VERSION}: use the \
         same version of ticketd"
    ))
}
