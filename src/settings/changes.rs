//! What the flags of a command line change in the settings of a node.

use std::num::NonZeroU64;

use super::{Settings, SettingsError, Switch};
use crate::address::Host;
use crate::redirect_status::RedirectStatus;

/// Changes to settings; `None` leaves a setting as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// See [`Settings::hosts`].
    pub hosts: Option<Vec<Host>>,
    /// See [`Settings::advertise`].
    pub advertise: Option<Host>,
    /// See [`Settings::raft_port`].
    pub raft_port: Option<u16>,
    /// See [`Settings::http_port`].
    pub http_port: Option<u16>,
    /// See [`Settings::db_size_mb`].
    pub db_size_mb: Option<u64>,
    /// See [`Settings::window`].
    pub window: Option<u64>,
    /// See [`Settings::election_timeout_ms`].
    pub election_timeout_ms: Option<u64>,
    /// See [`Settings::heartbeat_interval_ms`].
    pub heartbeat_interval_ms: Option<u64>,
    /// See [`Settings::request_timeout_ms`].
    pub request_timeout_ms: Option<u64>,
    /// See [`Settings::redirect_status`].
    pub redirect_status: Option<RedirectStatus>,
    /// See [`Settings::batch_max`].
    pub batch_max: Option<NonZeroU64>,
    /// See [`Settings::forward`].
    pub forward: Option<Switch>,
    /// See [`Settings::lease`].
    pub lease: Option<Switch>,
    /// See [`Settings::clock_error_ppm`].
    pub clock_error_ppm: Option<u32>,
    /// See [`Settings::http_connections`].
    pub http_connections: Option<OrOff<u32>>,
    /// See [`Settings::http_idle_timeout_ms`].
    pub http_idle_timeout_ms: Option<u64>,
    /// See [`Settings::http_header_timeout_ms`].
    pub http_header_timeout_ms: Option<u64>,
    /// See [`Settings::http_body_timeout_ms`].
    pub http_body_timeout_ms: Option<u64>,
    /// See [`Settings::http_unix`].
    pub http_unix: Option<OrOff<String>>,
    /// See [`Settings::metrics_host`].
    pub metrics_host: Option<Host>,
    /// See [`Settings::metrics_port`].
    pub metrics_port: Option<OrOff<u16>>,
}

/// A setting that can also be switched off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OrOff<T> {
    /// Use this value.
    Given(T),
    /// Use none.
    Off,
}

impl<T> OrOff<T> {
    fn into_option(self) -> Option<T> {
        match self {
            OrOff::Given(value) => Some(value),
            OrOff::Off => None,
        }
    }
}

impl Settings {
    /// Applies changes to these settings. A new host also replaces the advertised one, which was meant for
    /// the old host.
    ///
    /// # Errors
    /// [`SettingsError`] if the result makes no sense as a whole.
    pub fn with(self, changes: &Changes) -> Result<Settings, SettingsError> {
        let advertise = match (&changes.advertise, &changes.hosts) {
            (Some(advertise), _) => Some(advertise.clone()),
            (None, Some(_)) => None,
            (None, None) => self.advertise,
        };
        let settings = Settings {
            hosts: changes.hosts.clone().unwrap_or(self.hosts),
            advertise,
            raft_port: changes.raft_port.unwrap_or(self.raft_port),
            http_port: changes.http_port.unwrap_or(self.http_port),
            db_size_mb: changes.db_size_mb.unwrap_or(self.db_size_mb),
            window: changes.window.unwrap_or(self.window),
            election_timeout_ms: changes.election_timeout_ms.unwrap_or(self.election_timeout_ms),
            heartbeat_interval_ms: changes.heartbeat_interval_ms.unwrap_or(self.heartbeat_interval_ms),
            request_timeout_ms: changes.request_timeout_ms.unwrap_or(self.request_timeout_ms),
            redirect_status: changes.redirect_status.unwrap_or(self.redirect_status),
            batch_max: changes.batch_max.unwrap_or(self.batch_max),
            forward: changes.forward.unwrap_or(self.forward),
            lease: changes.lease.unwrap_or(self.lease),
            clock_error_ppm: changes.clock_error_ppm.unwrap_or(self.clock_error_ppm),
            http_connections: changes
                .http_connections
                .clone()
                .map_or(self.http_connections, OrOff::into_option),
            http_idle_timeout_ms: changes.http_idle_timeout_ms.unwrap_or(self.http_idle_timeout_ms),
            http_header_timeout_ms: changes.http_header_timeout_ms.unwrap_or(self.http_header_timeout_ms),
            http_body_timeout_ms: changes.http_body_timeout_ms.unwrap_or(self.http_body_timeout_ms),
            http_unix: changes.http_unix.clone().map_or(self.http_unix, OrOff::into_option),
            metrics_host: match (&changes.metrics_host, &changes.metrics_port) {
                (Some(host), _) => Some(host.clone()),
                (None, Some(OrOff::Off)) => None,
                (None, Some(OrOff::Given(_)) | None) => self.metrics_host,
            },
            metrics_port: changes.metrics_port.clone().map_or(self.metrics_port, OrOff::into_option),
        };
        settings.check()?;
        Ok(settings)
    }
}
