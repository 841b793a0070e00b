//! What the kernel says about a process (proc(5)).

use std::path::Path;
use std::{fs, io};

/// The text of such a file. A process may have any name, cut off at 15 bytes even within a character, so not
/// all of it need be UTF-8; what is not is replaced.
///
/// # Errors
/// As [`fs::read`], for example if there is no such process, or no proc(5) here.
pub fn text(path: impl AsRef<Path>) -> io::Result<String> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_whose_name_was_cut_off_within_a_character_is_described_all_the_same() {
        let named = std::thread::spawn(|| {
            // 16 bytes: the last character does not fit.
            fs::write("/proc/thread-self/comm", "ticketd-für-münü").unwrap();
            (text("/proc/thread-self/comm").unwrap(), text("/proc/thread-self/status").unwrap())
        });
        let (name, status) = named.join().unwrap();
        assert!(name.ends_with("\u{fffd}\n"), "{name:?}");
        assert!(status.lines().any(|line| line.starts_with("VmRSS:")), "{status}");
    }
}
