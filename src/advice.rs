//! What the operator is told to do: about a system limit that this process has reached, about a store that is
//! of no use, and how to write a command so that a shell reads it as intended.
//!
//! Pure. It must never know what reached the limit, what is wrong with the store, or what the command does.

use std::fmt::Write;
use std::io;
use std::path::Path;

/// The standard library has no kinds for these two; every architecture of Linux gives them these numbers
/// (asm-generic/errno-base.h).
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
/// Nor for this one. Most architectures give it this number (asm-generic/errno.h); on the others, the
/// operator is told less.
const ELOOP: i32 = 40;

/// What to do about a store that its node cannot use any more.
pub const JOIN_ANEW: &str = "leave it aside, remove this node from the cluster ('ticketd leave --id N' at a \
                             member), and 'ticketd join' again with another --path";

/// What to do when the system gives this process no more of something. If it refuses for another reason, the
/// caller has to say what to do.
#[must_use]
pub fn about_limit(error: &io::Error) -> Option<&'static str> {
    match (error.kind(), error.raw_os_error()) {
        (_, Some(EMFILE)) => Some("raise the limit of open files (ulimit -n, systemd's LimitNOFILE)"),
        (_, Some(ENFILE)) => Some("raise the machine's limit of open files (sysctl fs.file-max)"),
        (io::ErrorKind::OutOfMemory, _) => {
            Some("raise the limit of memory (ulimit -v, systemd's LimitAS), or free some on this machine")
        }
        (io::ErrorKind::FileTooLarge, _) => {
            Some("raise the limit on the size of files (ulimit -f, systemd's LimitFSIZE)")
        }
        // For a process or a thread: nothing else that this program asks for fails this way. A thread may
        // also lack memory for its stack.
        (io::ErrorKind::WouldBlock, _) => Some(
            "raise the limit of processes and threads (ulimit -u, systemd's TasksMax), or that of memory \
             (ulimit -v and -d)",
        ),
        _ => None,
    }
}

/// What to do about a path that the system does not accept.
#[must_use]
pub fn about_path(error: &io::Error) -> Option<&'static str> {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::InvalidFilename, _) => Some("give a shorter --path"),
        (_, Some(ELOOP)) => Some("its links lead round in a circle: give another --path"),
        _ => None,
    }
}

/// What to do when the system refuses something that it grants to any process, such as a thread.
#[must_use]
pub fn about_refusal(error: &io::Error) -> &'static str {
    about_limit(error).unwrap_or("see to what the system lacks")
}

/// `--path` and this path as one word of a shell: as an argument of its own, a path that begins with `-`
/// would be taken for a flag.
#[must_use]
pub fn path_flag(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(byte);
    match path.to_str() {
        Some(text) if !bytes.is_empty() && bytes.iter().all(is_plain) => format!("--path={text}"),
        Some(text) if !text.chars().any(char::is_control) => {
            format!("--path='{}'", text.replace('\'', r"'\''"))
        }
        // A path that is not printable: bash, zsh and ksh accept this notation, and POSIX does since 2024.
        Some(_) | None => {
            let mut word = "--path=$'".to_owned();
            for byte in bytes {
                if is_plain(byte) {
                    word.push(char::from(*byte));
                } else {
                    // Three digits, so that a digit that follows is not taken for part of the escape.
                    let _ = write!(word, "\\{byte:03o}");
                }
            }
            word.push('\'');
            word
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn who_meets_a_limit_is_told_which_to_raise() {
        for (errno, words) in [
            (Errno::MFILE, "ulimit -n"),
            (Errno::NFILE, "fs.file-max"),
            (Errno::NOMEM, "ulimit -v"),
            (Errno::FBIG, "ulimit -f"),
            (Errno::AGAIN, "ulimit -u"),
        ] {
            let remedy = about_limit(&errno.into()).unwrap();
            assert!(remedy.contains(words), "{errno}: {remedy}");
        }
        for errno in [Errno::ADDRINUSE, Errno::IO, Errno::NOSPC, Errno::NOENT] {
            assert_eq!(about_limit(&errno.into()), None, "{errno}");
            assert!(about_refusal(&errno.into()).contains("what the system lacks"), "{errno}");
        }
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn a_path_that_the_system_does_not_accept_is_told_from_a_bad_disk() {
        assert!(about_path(&Errno::NAMETOOLONG.into()).unwrap().contains("shorter"));
        assert!(about_path(&Errno::LOOP.into()).unwrap().contains("circle"));
        assert_eq!(about_path(&Errno::IO.into()), None);
    }

    #[test]
    fn a_usual_path_is_shown_as_it_is_and_others_are_quoted() {
        let shown = |path: &str| path_flag(Path::new(path));
        assert_eq!(shown("/var/lib/ticketd"), "--path=/var/lib/ticketd");
        assert_eq!(shown("-x"), "--path=-x");
        assert_eq!(shown("a b"), "--path='a b'");
        assert_eq!(shown("Müller"), "--path='Müller'");
        assert_eq!(shown(""), "--path=''");
    }

    #[test]
    fn a_shell_takes_the_path_as_it_is_whatever_its_bytes() {
        for bytes in
            [&b"store"[..], b"a b", b"it's", b"$(x) `y` \"z\" \\ * ~", b"a\n1", b"\xff7", b"~x#&;|<>"]
        {
            let flag = path_flag(Path::new(OsStr::from_bytes(bytes)));
            let output = Command::new("bash").arg("-c").arg(format!("printf %s {flag}")).output().unwrap();
            assert_eq!(output.stdout, [b"--path=", bytes].concat(), "{flag}");
        }
    }
}
