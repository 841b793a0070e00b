//! A pipe that takes no more, because nothing reads from it.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use rustix::fs::OFlags;

use super::wait;

/// A pipe. This process holds both ends, and reads only when told to.
#[derive(Debug)]
pub struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
    said: Vec<u8>,
}

impl Pipe {
    /// A pipe with room.
    pub fn new() -> Pipe {
        let (reader, writer) = io::pipe().expect("two descriptors are free");
        Pipe { reader, writer, said: Vec::new() }
    }

    /// A pipe without room for another byte.
    pub fn full() -> Pipe {
        let pipe = Pipe::new();
        pipe.fill();
        pipe
    }

    /// The writing end, for another process.
    pub fn stdio(&self) -> Stdio {
        self.writer.try_clone().expect("a descriptor is free").into()
    }

    /// Leaves no room for another byte.
    pub fn fill(&self) {
        let mut writer = unblocked(&self.writer, OpenOptions::new().write(true));
        // A write of at most a page goes in as a whole or not at all.
        for length in [4096, 1] {
            while writer.write(&b"\n".repeat(length)).is_ok() {}
        }
    }

    /// Reads until the output contains this text.
    #[track_caller]
    pub fn read_until(&mut self, words: &str) {
        let mut reader = unblocked(&self.reader, OpenOptions::new().read(true));
        wait::until_true(&format!("somebody says '{words}'"), || {
            // Having nothing to read is not the end.
            let _ = reader.read_to_end(&mut self.said);
            String::from_utf8_lossy(&self.said).contains(words)
        });
    }
}

/// The same end of the same pipe, opened again without blocking. Setting the flag on the original would
/// affect every process that has it.
fn unblocked(end: &impl AsRawFd, options: &mut OpenOptions) -> File {
    let flag = i32::try_from(OFlags::NONBLOCK.bits()).expect("flags are small");
    let path = format!("/proc/self/fd/{}", end.as_raw_fd());
    options.custom_flags(flag).open(path).expect("a pipe can be opened by its descriptor")
}
