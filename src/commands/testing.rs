//! Helpers shared by the tests of several commands.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use crate::peer::{self, AdminResponse, Decoder, Frame};

/// Listens, and answers the single request of each connection with the next of these answers.
pub(super) fn member(answers: Vec<Vec<u8>>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut decoder = Decoder::new();
            let mut buffer = [0; 4096];
            loop {
                let bytes = stream.read(&mut buffer).unwrap();
                assert_ne!(bytes, 0, "the connection ended before the request was complete");
                if decoder.next_frame(&mut &buffer[..bytes]).unwrap().is_some() {
                    break;
                }
            }
            stream.write_all(&answer).unwrap();
        }
    });
    (address, thread)
}

/// The encoded form of an answer.
pub(super) fn bytes(response: AdminResponse) -> Vec<u8> {
    let mut out = Vec::new();
    peer::encode(&Frame::AdminResponse(response), &mut out);
    out
}
