//! Why settings are refused, in words for operators.

use std::fmt;

use crate::address::Host;

/// Why settings make no sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettingsError {
    /// A node that listens on every address needs one at which others can reach it.
    NothingToAdvertise {
        /// The host that stands for every address.
        host: Host,
    },
    /// There is a host for metrics, but no port.
    NoMetricsPort,
    /// Heartbeats would be so rare that followers campaign against a live leader.
    HeartbeatTooSlow {
        /// As given, in milliseconds.
        heartbeat_interval_ms: u64,
        /// As given, in milliseconds.
        election_timeout_ms: u64,
    },
    /// Members, clients and metrics cannot share a port.
    SamePort {
        /// The flags that choose it.
        flags: [&'static str; 2],
        /// The port.
        port: u16,
    },
    /// The store holds a value that no version up to this one writes.
    Stored {
        /// The setting.
        name: String,
        /// The value.
        value: String,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingsError::NothingToAdvertise { host } => {
                write!(f, "--host {host} listens everywhere, but the other members need one address: ")?;
                f.write_str("give it with --advertise HOST")
            }
            SettingsError::NoMetricsPort => f.write_str(
                "--metrics_host says where metrics listen, but not on which port: give --metrics_port PORT",
            ),
            SettingsError::HeartbeatTooSlow { heartbeat_interval_ms, election_timeout_ms } => write!(
                f,
                "a heartbeat each {heartbeat_interval_ms} ms is too slow for an election timeout of \
                 {election_timeout_ms} ms: --heartbeat_interval must be less than half of --election_timeout"
            ),
            SettingsError::SamePort { flags: [one, other], port } => {
                write!(f, "{one} and {other} are both {port}: give them different ports")
            }
            SettingsError::Stored { name, value } => write!(
                f,
                "the store holds the setting {name} = '{}', which this version does not understand: use the \
                 version that wrote it",
                value.escape_default()
            ),
        }
    }
}

impl std::error::Error for SettingsError {}
