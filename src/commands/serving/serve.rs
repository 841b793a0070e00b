//! Takes a store and bound ports, and runs a node on them until it ends.
//!
//! The part that `start`, `join` and the restart share. It must never create, change or destroy a store.

use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use raft_core::NodeId;

use super::daemonize;
use super::launch::Launch;
use super::listen::{Bound, Listeners, SocketPath};
use super::pid_file::PidFile;
use crate::advice::path_flag;
use crate::commands::Failure;
use crate::commands::random::random_u64;
use crate::http;
use crate::identity::Standing;
use crate::logging::{self, one_line};
use crate::server::{EXIT_STATUS_INTERRUPTED, Exit, Server, ServerConfig};
use crate::settings::Settings;
use crate::storage::{self, Store};

/// How long the first process of a container waits for a 'ticketd leave' to destroy the store, and how often
/// it looks.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
const LEAVE_TICK: Duration = Duration::from_millis(10);

/// How long that command may then take to say so.
const LAST_WORDS_PATIENCE: Duration = Duration::from_millis(200);

/// A node that listens and is about to serve.
#[derive(Debug)]
pub(crate) struct Ready {
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
pub(crate) fn get_ready(
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
    pub(crate) fn serve(self) -> Result<Ended, Failure> {
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
pub(crate) enum Ended {
    /// It was asked to stop.
    Stopped,
    /// It served, and was then removed from its cluster.
    Removed,
    /// It had been removed from its cluster before it was started, and will never serve again.
    RemovedBefore,
}

/// The outcome of a node that has served. One that was removed while it ran has done what it was asked to do;
/// one that had been removed before it started was started in vain.
pub(crate) fn after_serving(ended: Ended, path: &Path, id: NodeId) -> Result<(), Failure> {
    let path_flag = path_flag(path);
    match ended {
        Ended::Stopped => {
            log::info!("node {id} has stopped, and its store at {} is closed", path.display());
            Ok(())
        }
        Ended::Removed => {
            if process::id() == 1 {
                await_leave(path);
            }
            log::info!(
                "node {id} has left its cluster, and its store is no longer of use: a 'ticketd leave' given \
                 here destroys it; if the node was removed from elsewhere, 'ticketd drop {path_flag}' does"
            );
            Ok(())
        }
        Ended::RemovedBefore => Err(Failure::permanent(format!(
            "node {id} has been removed from its cluster: destroy its store with 'ticketd drop {path_flag}', \
             and 'ticketd join' if it is to come back"
        ))),
    }
}

/// The end of the first process of a container ends all others there: a 'ticketd leave' that was given there,
/// and waits for this process to release the store, would not come to destroy it.
fn await_leave(path: &Path) {
    let begun = Instant::now();
    while begun.elapsed() < LEAVE_PATIENCE {
        if !storage::is_there(path) {
            return thread::sleep(LAST_WORDS_PATIENCE);
        }
        thread::sleep(LEAVE_TICK);
    }
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
