//! What `start` and `join` do before they create a store: check what it needs, and make room for it.

use std::path::{self, Path};

use raft_core::NodeId;

use super::Failure;
use super::doomed::{Doomed, cannot_say_first, forced_drop};
use super::patience::Patience;
use super::serving::launch::{Checked, Launch};
use crate::cli::Flags;
use crate::logging;
use crate::settings::OrOff;
use crate::storage::{self, StoreError};

/// The id, which a new node must be given; `example` is the command with one.
pub(super) fn required_id(flags: &Flags, example: &str) -> Result<NodeId, Failure> {
    flags.id.ok_or_else(|| {
        Failure::usage(format!("--id is missing: give this node a number of its own, as in '{example}'"))
    })
}

/// Checks that this process will not itself put a file into the directory of the store that it is to make: a
/// new store wants a directory of its own.
pub(super) fn expect_apart(flags: &Flags) -> Result<(), Failure> {
    let socket = match &flags.serving.http_unix {
        Some(OrOff::Given(path)) => Some(Path::new(path)),
        Some(OrOff::Off) | None => None,
    };
    for (flag, file) in [("--pid_file", flags.serving.pid_file.as_deref()), ("--http_unix", socket)] {
        if file.is_some_and(|file| is_in(file, flags.path())) {
            return Err(Failure::usage(format!(
                "{flag} must not be in the directory of the store, {}, which is to be empty: give it another \
                 place",
                flags.path().display()
            )));
        }
    }
    Ok(())
}

/// Whether this file is, or would be, directly in this directory, which may not exist yet.
fn is_in(file: &Path, directory: &Path) -> bool {
    let resolved = |path: &Path| path.canonicalize().or_else(|_| path::absolute(path)).ok();
    let parent = path::absolute(file).ok().and_then(|file| file.parent().and_then(resolved));
    parent.is_some() && parent == resolved(directory)
}

/// Whether a store was in the place of the new one and was destroyed by `--force`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InTheWay {
    Nothing,
    Destroyed,
}

/// With `--force`, makes room for a new store, if the store that is in the way `may_go`.
///
/// # Errors
/// [`Failure`]; unless the file system fails while it destroys the store that is in the way, nothing has
/// changed.
pub(super) fn destroy_in_the_way(
    flags: &Flags,
    launch: &Launch,
    may_go: impl FnOnce(&Doomed) -> Result<(), Failure>,
) -> Result<InTheWay, Failure> {
    let path = flags.path();
    if !flags.force {
        return Ok(InTheWay::Nothing);
    }
    storage::expect_replaceable(path)?;
    let checked = launch.check(path);
    if checked == Ok(Checked::StoppedMeanwhile) {
        return Err(stopped());
    }
    let doomed = match Doomed::open_unsound(path, checked) {
        Ok(doomed) => doomed,
        Err(StoreError::NotFound { .. }) => return Ok(InTheWay::Nothing),
        Err(error) => {
            return Err(Failure::from(error).adding(&format!(
                "--force destroys a store only when it is known what it holds, and nothing has changed: {}",
                forced_drop(path)
            )));
        }
    };
    may_go(&doomed)?;
    if let Some(notice) = doomed.final_notice() {
        // Only the store knows it, and no filter of the log may keep it back.
        logging::tell(&format!("--force destroys a store: {notice}"))
            .map_err(|error| cannot_say_first("standard error", &error))?;
    }
    Patience::until_stopped(&launch.stop).check().map_err(|_| stopped())?;
    doomed.destroy()?;
    log::info!("destroyed the store that was at {}", path.display());
    Ok(InTheWay::Destroyed)
}

/// Whoever stops a command that is about to destroy something does not want that.
fn stopped() -> Failure {
    Failure::runtime(
        "stopped before the store was destroyed that is in the way: nothing has changed".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::TestDir;

    #[test]
    fn a_new_node_without_an_id_is_told_to_be_given_one() {
        let failure = required_id(&Flags::default(), "ticketd start --id 1").unwrap_err();
        assert_eq!(failure.exit_status(), 2);
        assert!(failure.to_string().contains("ticketd start --id 1"), "{failure}");
    }

    #[test]
    fn a_file_in_a_directory_is_told_from_one_beside_it_however_both_are_written() {
        let directory = TestDir::new();
        let store = directory.path().join("store");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&store, &link).unwrap();
        for exists in [false, true] {
            if exists {
                std::fs::create_dir(&store).unwrap();
            }
            assert!(is_in(&store.join("pid"), &store));
            assert!(is_in(&store.join(".").join("pid"), &store));
            assert!(!is_in(&directory.path().join("pid"), &store));
            assert!(!is_in(&store, &store));
            assert!(!is_in(&store.join("more").join("pid"), &store));
        }
        assert!(is_in(&link.join("pid"), &store));
        assert!(is_in(&store.join("pid"), &link));
        assert!(is_in(Path::new("store/pid"), Path::new("store")));
        assert!(is_in(Path::new("pid"), Path::new(".")));
    }
}
