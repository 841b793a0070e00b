//! What a command has to say, on standard output.

use std::io::{self, Write};

use super::Failure;

/// Prints text to standard output. A reader that has closed it, such as `head`, is not an error.
///
/// # Errors
/// If standard output cannot be written, as on a full disk.
pub fn print(text: &str) -> io::Result<()> {
    match print_to_reader(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints text that somebody must get.
///
/// # Errors
/// As [`print()`], and if nobody reads standard output any more.
pub(super) fn print_to_reader(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints lines; the last one needs no newline.
///
/// # Errors
/// As [`print()`].
pub(super) fn say(lines: &str) -> Result<(), Failure> {
    print(&format!("{lines}\n")).map_err(|error| {
        Failure::runtime(format!("cannot write to standard output ({error}); the command itself was done"))
    })
}
