//! Takes a store and bound ports, and runs a node on them until it ends.
//!
//! The part that `start`, `join` and the restart share. It must never create, change or destroy a store.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::daemonize;
use super::listen::{Bound, Listeners, SocketPath};
use super::patience::{Impatience, Patience};
use super::pid_file::PidFile;
use super::random::random_u64;
use super::{Failure, cannot_handle_signals};
use crate::cli::Flags;
use crate::http;
use crate::identity::Standing;
use crate::logging::{self, one_line};
use crate::server::{EXIT_STATUS_INTERRUPTED, Exit, Server, ServerConfig, StopRequests, require_descriptors};
use crate::settings::Settings;
use crate::storage::{self, Store, StoreError};

/// How long a killed process, and the child that checked the store for it, may take until their locks are
/// released.
const RELEASE_PATIENCE: Duration = Duration::from_millis(100);

/// How much later than the child that checks the store this process may receive a signal meant for both.
const SIGNAL_PATIENCE: Duration = Duration::from_millis(100);

/// What a node needs around it: the requests to stop it, and the pid file and the background parent that
/// announce it.
#[derive(Debug)]
pub(super) struct Launch {
    stop: StopRequests,
    pid_file: Option<PidFile>,
    in_background: bool,
}

impl Launch {
    /// From now on, signals no longer end the process directly.
    ///
    /// # Errors
    /// [`Failure`] if the pid file cannot be written or belongs to a live process, or if the limit of open
    /// files is too low for a node.
    pub(super) fn prepare(flags: &Flags) -> Result<Launch, Failure> {
        require_descriptors()?;
        let pid_file = flags.serving.pid_file.as_deref().map(PidFile::prepare).transpose()?;
        let mut stop = StopRequests::by_signals().map_err(|error| cannot_handle_signals(&error))?;
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
    pub(super) fn sit_out_promises(&self, stored: &Settings, new: &Settings) -> Result<(), Impatience> {
        let outlive_ms = stored.promises_outlive_ms(new);
        if outlive_ms > 0 {
            log::info!(
                "waiting {outlive_ms} ms: for that long this node may have promised its support to a leader"
            );
            Patience::until(self.stop_requests()).sleep(Duration::from_millis(outlive_ms))?;
        }
        Ok(())
    }

    /// Checks the store at `path`, as must be done before it is opened. An operator who stops a service or
    /// presses Ctrl-C also ends the process that runs the check.
    ///
    /// # Errors
    /// If the store is not sound or could not be checked.
    pub(super) fn check(&self, path: &Path) -> Result<Checked, StoreError> {
        match storage::verify_in_child(path) {
            Ok(_) => Ok(Checked::Sound),
            Err(StoreError::CheckEnded { .. })
                if Patience::until(self.stop_requests()).sleep(SIGNAL_PATIENCE).is_err() =>
            {
                log::info!("asked to stop while the store was checked");
                Ok(Checked::StoppedMeanwhile)
            }
            Err(error) => Err(error),
        }
    }

    /// The requests to stop this process.
    pub(super) fn stop_requests(&self) -> &StopRequests {
        &self.stop
    }
}

/// The result of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Checked {
    /// The store is sound.
    Sound,
    /// This process was asked to stop during the check.
    StoppedMeanwhile,
}

/// A node that listens and is about to serve.
#[derive(Debug)]
pub(super) struct Ready {
    server: Server,
    /// Removed when the node has ended, as is the name of the socket.
    pid_file: Option<PidFile>,
    unix_path: Option<SocketPath>,
}

/// Makes a node that listens.
///
/// # Errors
/// [`Failure`] if the node cannot serve. Of the store, only the lock file may have been written, which says
/// where the node listens.
pub(super) fn get_ready(
    store: Store,
    bound: Bound,
    settings: &Settings,
    launch: Launch,
) -> Result<Ready, Failure> {
    let Launch { stop, pid_file, in_background } = launch;
    let Listeners { peers, clients, unix_path } = bound.listen()?;
    let config = ServerConfig {
        node: settings.node_config(store.identity().me, random_u64()?),
        peer_address: settings.peer_address().to_string(),
        client_address: settings.client_address().to_string(),
        peer_listeners: peers,
        client_listeners: clients,
        http: http_config(settings),
        settings: settings.in_force(),
        client_connections_max: settings.http_connections,
        log_lines_left_out: logging::lines_left_out(),
        stop,
    };
    let identity = store.identity();
    if let Standing::Member { cluster, .. } = identity.standing {
        let (version, id, path) = (env!("CARGO_PKG_VERSION"), identity.me.id, store.path().display());
        log::info!("ticketd {version} is node {id} of cluster {cluster}, with the store at {path}");
    }
    log::info!("settings: {}", in_one_line(settings));
    // Before the log line that says where the node listens: a script that waits for that line finds the file.
    if let Some(pid_file) = &pid_file {
        pid_file.publish()?;
    }
    let server = Server::new(config, store)?;
    if in_background {
        daemonize::listening()?;
    }
    Ok(Ready { server, pid_file, unix_path })
}

impl Ready {
    /// Serves until the node is stopped or removed from its cluster. The store is closed on return.
    ///
    /// # Errors
    /// [`Failure`] if the node cannot go on, or was told a second time to stop.
    pub(super) fn serve(self) -> Result<Ended, Failure> {
        // The names are removed when this function ends, after the server.
        let Ready { server, pid_file: _pid_file, unix_path: _unix_path } = self;
        match server.run()? {
            Exit::Stopped => Ok(Ended::Stopped),
            Exit::Removed => Ok(Ended::Removed),
            Exit::RemovedBefore => Ok(Ended::RemovedBefore),
            Exit::Interrupted => Err(Failure::silent(EXIT_STATUS_INTERRUPTED)),
        }
    }
}

/// Every setting in force by the name of its flag, in one line, whatever a path may contain.
fn in_one_line(settings: &Settings) -> String {
    let pairs: Vec<String> =
        settings.in_force().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    one_line(&pairs.join(" "))
}

/// How a node ended in an orderly way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// It was asked to stop.
    Stopped,
    /// It served, and was then removed from its cluster.
    Removed,
    /// It had been removed from its cluster before it was started, and will never serve again.
    RemovedBefore,
}

/// Refuses to continue if a node runs on the store, unless it ends within [`RELEASE_PATIENCE`]. Called before
/// the ports are bound, so that this is reported rather than a port in use, which would be true as well.
///
/// # Errors
/// [`StoreError::InUse`], and any error of the check itself.
pub(super) fn refuse_running(path: &Path) -> Result<(), Failure> {
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

fn http_config(settings: &Settings) -> http::Config {
    http::Config {
        redirect_status: settings.redirect_status,
        batch_max: settings.batch_max,
        idle_timeout_us: settings.http_idle_timeout_ms.saturating_mul(1000),
        head_timeout_us: settings.http_header_timeout_ms.saturating_mul(1000),
        body_timeout_us: settings.http_body_timeout_ms.saturating_mul(1000),
        ..http::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_as_the_flags_that_change_them_in_one_line() {
        let settings = Settings { window: 7, http_unix: Some("/a\nb".to_owned()), ..Settings::default() };
        let said = in_one_line(&settings);
        assert!(
            said.starts_with("host=127.0.0.1 raft_port=9000 http_port=8000 db_size=1000 window=7 "),
            "{said}"
        );
        assert!(said.ends_with(" http_unix=/a b"), "{said}");
    }
}
