//! Settings as pairs of names and values, which is how a store keeps them.
//!
//! A pair whose name this version does not know was written by a newer version and is ignored. If a name is
//! missing, the older version that wrote the store did not know it, and the default applies.

use std::str::FromStr;

use super::{HTTP_CONNECTIONS_DEFAULT, Settings, SettingsError};
use crate::address::Host;

impl Settings {
    /// Decodes the settings that a store holds.
    ///
    /// # Errors
    /// [`SettingsError::Stored`] if a known name has a value that this version does not understand.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            match name.as_str() {
                "host" => settings.hosts = stored_list(name, value)?,
                "advertise" => settings.advertise = Some(stored(name, value)?),
                "raft_port" => settings.raft_port = stored(name, value)?,
                "http_port" => settings.http_port = stored(name, value)?,
                "db_size" => settings.db_size_mb = stored(name, value)?,
                "window" => settings.window = stored(name, value)?,
                "election_timeout" => settings.election_timeout_ms = stored(name, value)?,
                "heartbeat_interval" => settings.heartbeat_interval_ms = stored(name, value)?,
                "request_timeout" => settings.request_timeout_ms = stored(name, value)?,
                "redirect_status" => settings.redirect_status = stored(name, value)?,
                "batch_max" => settings.batch_max = stored(name, value)?,
                "forward" => settings.forward = stored(name, value)?,
                "lease" => settings.lease = stored(name, value)?,
                "clock_error_ppm" => settings.clock_error_ppm = stored(name, value)?,
                "http_connections" => settings.http_connections = Some(stored(name, value)?),
                "http_idle_timeout" => settings.http_idle_timeout_ms = stored(name, value)?,
                "http_header_timeout" => settings.http_header_timeout_ms = stored(name, value)?,
                "http_body_timeout" => settings.http_body_timeout_ms = stored(name, value)?,
                "http_unix" => settings.http_unix = Some(value.clone()),
                "metrics_host" => settings.metrics_host = Some(stored(name, value)?),
                "metrics_port" => settings.metrics_port = Some(stored(name, value)?),
                _ => log::debug!("the store holds a setting '{name}' that this version does not know"),
            }
        }
        Ok(settings)
    }

    /// Encodes the settings for the store. The names are those of the flags.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        // Destructured, so that a new field cannot be forgotten here.
        let Settings {
            hosts,
            advertise,
            raft_port,
            http_port,
            db_size_mb,
            window,
            election_timeout_ms,
            heartbeat_interval_ms,
            request_timeout_ms,
            redirect_status,
            batch_max,
            forward,
            lease,
            clock_error_ppm,
            http_connections,
            http_idle_timeout_ms,
            http_header_timeout_ms,
            http_body_timeout_ms,
            http_unix,
            metrics_host,
            metrics_port,
        } = self;
        let hosts: Vec<String> = hosts.iter().map(Host::to_string).collect();
        let mut pairs = vec![
            ("host", hosts.join(",")),
            ("raft_port", raft_port.to_string()),
            ("http_port", http_port.to_string()),
            ("db_size", db_size_mb.to_string()),
            ("window", window.to_string()),
            ("election_timeout", election_timeout_ms.to_string()),
            ("heartbeat_interval", heartbeat_interval_ms.to_string()),
            ("request_timeout", request_timeout_ms.to_string()),
            ("redirect_status", redirect_status.to_string()),
            ("batch_max", batch_max.to_string()),
            ("forward", forward.to_string()),
            ("lease", lease.to_string()),
            ("clock_error_ppm", clock_error_ppm.to_string()),
            ("http_idle_timeout", http_idle_timeout_ms.to_string()),
            ("http_header_timeout", http_header_timeout_ms.to_string()),
            ("http_body_timeout", http_body_timeout_ms.to_string()),
        ];
        pairs.extend(advertise.iter().map(|host| ("advertise", host.to_string())));
        pairs.extend(http_connections.iter().map(|max| ("http_connections", max.to_string())));
        pairs.extend(http_unix.iter().map(|path| ("http_unix", path.clone())));
        pairs.extend(metrics_host.iter().map(|host| ("metrics_host", host.to_string())));
        pairs.extend(metrics_port.iter().map(|port| ("metrics_port", port.to_string())));
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The settings in force, for people: as for the store, and what stands for a number that is not given. A
    /// setting that is missing is off, or follows from another.
    #[must_use]
    pub fn in_force(&self) -> Vec<(String, String)> {
        let http_connections = Some(self.http_connections.unwrap_or(HTTP_CONNECTIONS_DEFAULT));
        Settings { http_connections, ..self.clone() }.to_pairs()
    }
}

fn stored<T: FromStr>(name: &str, value: &str) -> Result<T, SettingsError> {
    value.parse().map_err(|_| SettingsError::Stored { name: name.to_owned(), value: value.to_owned() })
}

fn stored_list<T: FromStr>(name: &str, value: &str) -> Result<Vec<T>, SettingsError> {
    value.split(',').map(|part| stored(name, part)).collect()
}
