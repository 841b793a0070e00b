//! What comes before a node: the requests to stop it, its pid file, and the check of the store that it is to
//! serve from.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::daemonize;
use super::pid_file::PidFile;
use crate::cli::Flags;
use crate::commands::Failure;
use crate::commands::patience::{Impatience, Patience};
use crate::commands::signals;
use crate::server::{StopRequests, require_descriptors};
use crate::settings::Settings;
use crate::storage::{self, StoreError};

/// How long a killed process, and the child that checked the store for it, may take until their locks are
/// released.
const RELEASE_PATIENCE: Duration = Duration::from_millis(100);

/// How much later than the child that checks the store this process may receive a signal meant for both.
const SIGNAL_PATIENCE: Duration = Duration::from_millis(100);

/// What a node needs around it: the requests to stop it, and the pid file and the background parent that
/// announce it.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The requests to stop this process.
    pub(crate) stop: StopRequests,
    pub(crate) pid_file: Option<PidFile>,
    pub(crate) in_background: bool,
}

impl Launch {
    /// From now on, signals no longer end the process directly.
    ///
    /// # Errors
    /// [`Failure`] if the pid file cannot be written or belongs to a live process, or if the limit of open
    /// files is too low for a node.
    pub(crate) fn prepare(flags: &Flags) -> Result<Launch, Failure> {
        require_descriptors()?;
        let pid_file = flags.serving.pid_file.as_deref().map(PidFile::prepare).transpose()?;
        let mut stop = StopRequests::by_signals().map_err(|error| signals::cannot_be_handled(&error))?;
        if flags.in_background {
            stop = daemonize::or_by_end_of_parent(stop)?;
        }
        Ok(Launch { stop, pid_file, in_background: flags.in_background })
    }

    /// Waits before settings other than the stored ones are stored, as long as the node may be bound by a
    /// promise that it made to a leader under the stored ones: a further restart must not forget that
    /// promise.
    ///
    /// # Errors
    /// If the process is asked to stop in the meantime.
    pub(crate) fn sit_out_promises(&self, stored: &Settings, new: &Settings) -> Result<(), Impatience> {
        let outlive_ms = stored.promises_outlive_ms(new);
        if outlive_ms > 0 {
            log::info!(
                "waiting {outlive_ms} ms: for that long this node may have promised its support to a leader"
            );
            Patience::until_stopped(&self.stop).sleep(Duration::from_millis(outlive_ms))?;
        }
        Ok(())
    }

    /// Checks the store at `path`, as must be done before it is opened. An operator who stops a service or
    /// presses Ctrl-C also ends the process that runs the check.
    ///
    /// # Errors
    /// If the store is not sound or could not be checked.
    pub(crate) fn check(&self, path: &Path) -> Result<Checked, StoreError> {
        match storage::verify_in_child(path) {
            Ok(_) => Ok(Checked::Sound),
            Err(StoreError::CheckEnded { .. })
                if Patience::until_stopped(&self.stop).sleep(SIGNAL_PATIENCE).is_err() =>
            {
                log::info!("asked to stop while the store was checked");
                Ok(Checked::StoppedMeanwhile)
            }
            Err(error) => Err(error),
        }
    }
}

/// The result of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Checked {
    /// The store is sound.
    Sound,
    /// This process was asked to stop during the check.
    StoppedMeanwhile,
}

/// Refuses to continue if a node runs on the store, unless it ends within [`RELEASE_PATIENCE`]. Called before
/// the ports are bound, so that this is reported rather than a port in use, which would be true as well.
///
/// # Errors
/// [`StoreError::InUse`], and any error of the check itself.
pub(crate) fn refuse_running(path: &Path) -> Result<(), Failure> {
    if matches!(storage::running(path), Ok(None)) {
        return Ok(());
    }
    thread::sleep(RELEASE_PATIENCE);
    let pid = match storage::running(path) {
        Ok(None) => return Ok(()),
        Ok(Some(running)) => Some(running.pid),
        // Whichever process it is, this one has to give way.
        Err(StoreError::HolderUnknown { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    Err(StoreError::InUse { path: path.to_owned(), pid }.into())
}
