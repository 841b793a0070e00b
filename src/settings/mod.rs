//! The settings that a node was last started with, so that `ticketd --path DIR` alone can start it again.
//!
//! Floor 2, pure: applies the changes that flags make, converts settings to text pairs for the store and
//! back, and derives a node's configuration. It must never resolve a host, open a socket, or know how flags
//! are written or how the store keeps the pairs.

mod changes;
mod error;
mod pairs;
mod switch;

use std::num::NonZeroU64;

use raft_core::{Config, Lease, Peer};

use crate::address::{Host, HostPort};
use crate::node::NodeConfig;
use crate::redirect_status::RedirectStatus;
pub use changes::{Changes, OrOff};
pub use error::SettingsError;
pub use switch::{NeitherOnNorOff, Switch};

/// How many clients may be connected at once if the operator sets no maximum. An idle client costs some
/// hundred bytes, so this many cost some megabytes; a client that does not read may hold as much as the
/// limits of HTTP permit.
pub const HTTP_CONNECTIONS_DEFAULT: u32 = 16_384;

/// One MB of `--db_size`, in bytes.
pub const MB_BYTES: u64 = 1024 * 1024;

/// The settings that a node was last started with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The hosts to listen on, at least one. Others are told the first one that they can use.
    pub hosts: Vec<Host>,
    /// The host that others use to reach the node; `None` if that is one of `hosts`.
    pub advertise: Option<Host>,
    /// The port for the other members. 0 only before the node has ever listened: the port that was actually
    /// bound is stored, so that a restart keeps it.
    pub raft_port: u16,
    /// The port for clients; 0 as above.
    pub http_port: u16,
    /// The most that the store may occupy, in MB.
    pub db_size_mb: u64,
    /// The most IDs that a leader reserves ahead; 0 for none.
    pub window: u64,
    /// How long a node hears nothing from a leader before it campaigns, in milliseconds.
    pub election_timeout_ms: u64,
    /// How often a leader sends heartbeats, in milliseconds; see `raft_core::Config::heartbeat_interval_us`.
    pub heartbeat_interval_ms: u64,
    /// How long a client may have to wait for its answer, in milliseconds.
    pub request_timeout_ms: u64,
    /// How a node that does not lead sends clients to the leader.
    pub redirect_status: RedirectStatus,
    /// The most IDs that one request may take.
    pub batch_max: NonZeroU64,
    /// Whether the node asks the leader on its clients' behalf instead of sending them there.
    pub forward: Switch,
    /// Whether leases are promised to leaders, and relied upon by this node when it leads.
    pub lease: Switch,
    /// By how much the rate of any node's clock may differ from true time, in millionths.
    pub clock_error_ppm: u32,
    /// The most client connections; `None` for [`HTTP_CONNECTIONS_DEFAULT`], or fewer without a warning
    /// if the limit of open files is a little too low for that.
    pub http_connections: Option<u32>,
    /// How long a connection may be quiet between two requests, in milliseconds.
    pub http_idle_timeout_ms: u64,
    /// How long a request head may take, in milliseconds.
    pub http_header_timeout_ms: u64,
    /// How long a request body may take, in milliseconds.
    pub http_body_timeout_ms: u64,
    /// A Unix-domain socket for clients, by its path.
    pub http_unix: Option<String>,
    /// The host of the separate listener for health, status and metrics; `None` for `hosts`.
    pub metrics_host: Option<Host>,
    /// The port of that listener; `None` if there is none. 0 as above.
    pub metrics_port: Option<u16>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hosts: vec![Host::LOOPBACK],
            advertise: None,
            raft_port: 9000,
            http_port: 8000,
            db_size_mb: 1000,
            window: 100_000_000,
            election_timeout_ms: 300,
            heartbeat_interval_ms: 60,
            request_timeout_ms: 5000,
            redirect_status: RedirectStatus::MovedPermanently,
            batch_max: NonZeroU64::new(1_000_000).expect("a million is not 0"),
            forward: Switch::Off,
            lease: Switch::Off,
            clock_error_ppm: 110_000,
            http_connections: None,
            http_idle_timeout_ms: 75_000,
            http_header_timeout_ms: 10_000,
            http_body_timeout_ms: 20_000,
            http_unix: None,
            metrics_host: None,
            metrics_port: None,
        }
    }
}

impl Settings {
    /// The configuration of the node `me`; all its randomness comes from `seed`.
    #[must_use]
    pub fn node_config(&self, me: Peer, seed: u64) -> NodeConfig {
        let lease = Lease { clock_error_ppm: self.clock_error_ppm };
        NodeConfig {
            raft: Config {
                me,
                election_timeout_us: self.election_timeout_ms.saturating_mul(1000),
                heartbeat_interval_us: self.heartbeat_interval_ms.saturating_mul(1000),
                lease: (self.lease == Switch::On).then_some(lease),
                seed,
            },
            window: self.window,
            request_timeout_us: self.request_timeout_ms.saturating_mul(1000),
            forward: self.forward == Switch::On,
        }
    }

    /// How long, in milliseconds, a node with these settings may still be bound by its promise to a leader
    /// after it is started again with other settings, under which it would not know of the promise; 0 if it
    /// is not bound.
    #[must_use]
    pub fn promises_outlive_ms(&self, restarted_with: &Settings) -> u64 {
        let same = (restarted_with.lease, restarted_with.election_timeout_ms)
            == (self.lease, self.election_timeout_ms);
        if self.lease == Switch::Off || same { 0 } else { self.election_timeout_ms }
    }

    fn check(&self) -> Result<(), SettingsError> {
        if let (Some(host), None) = (self.hosts.first(), self.reachable()) {
            return Err(SettingsError::NothingToAdvertise { host: host.clone() });
        }
        if self.metrics_host.is_some() && self.metrics_port.is_none() {
            return Err(SettingsError::NoMetricsPort);
        }
        if self.heartbeat_interval_ms.saturating_mul(2) >= self.election_timeout_ms {
            return Err(SettingsError::HeartbeatTooSlow {
                heartbeat_interval_ms: self.heartbeat_interval_ms,
                election_timeout_ms: self.election_timeout_ms,
            });
        }
        self.check_ports()
    }

    /// One port cannot serve two purposes on the same host.
    fn check_ports(&self) -> Result<(), SettingsError> {
        let raft = ("--raft_port", self.raft_port);
        let http = ("--http_port", self.http_port);
        let metrics = self.metrics_port.filter(|_| self.metrics_share_a_host());
        let metrics = metrics.map(|port| ("--metrics_port", port));
        let pairs = [Some((raft, http)), metrics.map(|port| (raft, port)), metrics.map(|port| (http, port))];
        for ((first, port), (second, other)) in pairs.into_iter().flatten() {
            if port == other && port != 0 {
                return Err(SettingsError::SamePort { flags: [first, second], port });
            }
        }
        Ok(())
    }

    /// Whether metrics are served on a host that members and clients also use, as far as that can be told
    /// without resolving names.
    fn metrics_share_a_host(&self) -> bool {
        let apart = |metrics: &Host, host: &Host| {
            metrics != host && !metrics.is_unspecified() && !host.is_unspecified()
        };
        self.metrics_hosts().iter().any(|metrics| !self.hosts.iter().all(|host| apart(metrics, host)))
    }

    /// The address that the other members are told to connect to.
    #[must_use]
    pub fn peer_address(&self) -> HostPort {
        HostPort { host: self.reachable_host(), port: self.raft_port }
    }

    /// The address that clients are redirected to.
    #[must_use]
    pub fn client_address(&self) -> HostPort {
        HostPort { host: self.reachable_host(), port: self.http_port }
    }

    /// The hosts on which health, status and metrics are served if they have a listener of their own.
    #[must_use]
    pub fn metrics_hosts(&self) -> &[Host] {
        self.metrics_host.as_ref().map_or(&self.hosts, std::slice::from_ref)
    }

    fn reachable_host(&self) -> Host {
        // Settings in force have one; those in a store may be of another version.
        self.reachable().or(self.hosts.first()).cloned().unwrap_or(Host::LOOPBACK)
    }

    fn reachable(&self) -> Option<&Host> {
        self.advertise.as_ref().or_else(|| self.hosts.iter().find(|host| !host.is_unspecified()))
    }

    /// The largest size that the store may reach, in bytes.
    #[must_use]
    pub fn db_size_bytes(&self) -> u64 {
        self.db_size_mb.saturating_mul(MB_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other() -> Settings {
        Settings {
            hosts: vec!["0.0.0.0".parse().unwrap(), "::1".parse().unwrap()],
            advertise: Some("node-1.example".parse().unwrap()),
            raft_port: 1,
            http_port: 2,
            db_size_mb: 3,
            window: 4,
            election_timeout_ms: 50,
            heartbeat_interval_ms: 6,
            request_timeout_ms: 7,
            redirect_status: RedirectStatus::PermanentRedirect,
            batch_max: NonZeroU64::new(9).unwrap(),
            forward: Switch::On,
            lease: Switch::On,
            clock_error_ppm: 20,
            http_connections: Some(21),
            http_idle_timeout_ms: 22,
            http_header_timeout_ms: 23,
            http_body_timeout_ms: 24,
            http_unix: Some("/a b,c".to_owned()),
            metrics_host: Some("127.0.0.2".parse().unwrap()),
            metrics_port: Some(25),
        }
    }

    #[test]
    fn settings_come_back_from_the_store_as_they_were() {
        for settings in [Settings::default(), other()] {
            assert_eq!(Settings::from_pairs(&settings.to_pairs()), Ok(settings));
        }
    }

    #[test]
    fn unknown_names_are_left_out_and_missing_ones_have_their_default() {
        let pairs = [("colour".to_owned(), "red".to_owned()), ("window".to_owned(), "0".to_owned())];
        let expected = Settings { window: 0, ..Settings::default() };
        assert_eq!(Settings::from_pairs(&pairs), Ok(expected));
    }

    #[test]
    fn a_stored_value_that_means_nothing_is_an_error_and_not_a_default() {
        for (name, value) in [
            ("window", "many"),
            ("host", "a b"),
            ("host", "a,"),
            ("metrics_port", "off"),
            ("batch_max", "0"),
            ("forward", "yes"),
            ("lease", "1"),
            ("clock_error_ppm", "-1"),
            ("redirect_status", "302"),
            ("raft_port", "65536"),
        ] {
            let error = Settings::from_pairs(&[(name.to_owned(), value.to_owned())]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    /// Every setting changed to a value that neither the default nor `other` has.
    fn everything() -> Changes {
        Changes {
            hosts: Some(vec!["::1".parse().unwrap()]),
            advertise: Some("node-2.example".parse().unwrap()),
            raft_port: Some(11),
            http_port: Some(12),
            db_size_mb: Some(13),
            window: Some(14),
            election_timeout_ms: Some(150),
            heartbeat_interval_ms: Some(16),
            request_timeout_ms: Some(17),
            redirect_status: Some(RedirectStatus::TemporaryRedirect),
            batch_max: NonZeroU64::new(19),
            forward: Some(Switch::Off),
            lease: Some(Switch::Off),
            clock_error_ppm: Some(30),
            http_connections: Some(OrOff::Given(31)),
            http_idle_timeout_ms: Some(32),
            http_header_timeout_ms: Some(33),
            http_body_timeout_ms: Some(34),
            http_unix: Some(OrOff::Given("/d".to_owned())),
            metrics_host: Some("127.0.0.3".parse().unwrap()),
            metrics_port: Some(OrOff::Given(35)),
        }
    }

    #[test]
    fn what_was_given_can_be_taken_away() {
        let off = Changes {
            http_connections: Some(OrOff::Off),
            http_unix: Some(OrOff::Off),
            metrics_port: Some(OrOff::Off),
            ..Changes::default()
        };
        let settings = other().with(&off).unwrap();
        assert_eq!((settings.http_unix, settings.metrics_host, settings.metrics_port), (None, None, None));
        assert_eq!(settings.http_connections, None);
        let host_alone = Changes { metrics_host: Some(Host::LOOPBACK), ..Changes::default() };
        assert_eq!(Settings::default().with(&host_alone), Err(SettingsError::NoMetricsPort));
    }

    #[test]
    fn others_are_told_the_first_host_that_they_can_use() {
        let hosts = ["::", "10.0.0.1", "a.example"].map(|host| host.parse().unwrap()).to_vec();
        let settings = Settings::default().with(&Changes { hosts: Some(hosts), ..Changes::default() });
        assert_eq!(settings.unwrap().peer_address().to_string(), "10.0.0.1:9000");
    }

    #[test]
    fn changes_replace_what_the_store_holds_and_leave_the_rest() {
        assert_eq!(other().with(&Changes::default()), Ok(other()));
        let some = Changes { window: Some(77), http_port: Some(0), ..Changes::default() };
        assert_eq!(other().with(&some), Ok(Settings { window: 77, http_port: 0, ..other() }));
        let replaced = other().with(&everything()).unwrap();
        assert_eq!(other().to_pairs().len(), replaced.to_pairs().len());
        for ((name, before), (_, after)) in other().to_pairs().iter().zip(replaced.to_pairs()) {
            assert_ne!(*before, after, "{name}");
        }
    }

    #[test]
    fn promises_are_waited_for_where_the_next_start_would_not_know_of_them() {
        let lease =
            |lease, election_timeout_ms| Settings { lease, election_timeout_ms, ..Settings::default() };
        let (on, off) = (lease(Switch::On, 300), lease(Switch::Off, 300));
        assert_eq!(on.promises_outlive_ms(&on), 0, "raft-core waits as long as it promises");
        assert_eq!(on.promises_outlive_ms(&off), 300);
        assert_eq!(on.promises_outlive_ms(&lease(Switch::On, 200)), 300);
        assert_eq!(off.promises_outlive_ms(&on), 0);
    }

    #[test]
    fn a_new_host_replaces_what_was_advertised_for_the_old_one() {
        let hosts = Some(vec![Host::LOOPBACK]);
        let moved = other().with(&Changes { hosts: hosts.clone(), ..Changes::default() }).unwrap();
        assert_eq!(moved.peer_address().to_string(), "127.0.0.1:1");
        let advertise = Some("a.example".parse().unwrap());
        let moved = other().with(&Changes { hosts, advertise, ..Changes::default() }).unwrap();
        assert_eq!(moved.client_address().to_string(), "a.example:2");
    }

    #[test]
    fn metrics_cannot_share_a_port_with_others_on_the_same_host() {
        let with = |hosts: &[&str], metrics_host: Option<&str>, port| {
            let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
            Settings::default().with(&Changes {
                hosts: Some(hosts),
                advertise: Some("a.example".parse().unwrap()),
                metrics_host: metrics_host.map(|host| host.parse().unwrap()),
                metrics_port: Some(OrOff::Given(port)),
                ..Changes::default()
            })
        };
        for (port, flag) in [(8000, "--http_port"), (9000, "--raft_port")] {
            let flags = [flag, "--metrics_port"];
            for (hosts, metrics_host) in [
                (&["127.0.0.1"][..], None),
                (&["10.0.0.1", "127.0.0.1"], Some("127.0.0.1")),
                (&["0.0.0.0"], Some("127.0.0.1")),
                (&["10.0.0.1"], Some("::")),
            ] {
                let error = with(hosts, metrics_host, port).unwrap_err();
                assert_eq!(error, SettingsError::SamePort { flags, port }, "{hosts:?} {metrics_host:?}");
            }
            assert!(with(&["10.0.0.1"], Some("127.0.0.1"), port).is_ok());
        }
        assert!(with(&["127.0.0.1"], None, 0).is_ok());
    }

    #[test]
    fn what_makes_no_sense_as_a_whole_is_refused() {
        let refused = |changes: Changes| Settings::default().with(&changes).unwrap_err();
        for everywhere in ["0.0.0.0", "::"] {
            let hosts = Some(vec![everywhere.parse().unwrap()]);
            let error = refused(Changes { hosts, ..Changes::default() });
            assert!(matches!(error, SettingsError::NothingToAdvertise { .. }), "{error}");
        }
        let election = Changes { election_timeout_ms: Some(120), ..Changes::default() };
        assert!(matches!(refused(election), SettingsError::HeartbeatTooSlow { .. }));
        let heartbeat = Changes { heartbeat_interval_ms: Some(150), ..Changes::default() };
        assert!(matches!(refused(heartbeat), SettingsError::HeartbeatTooSlow { .. }));
        let port = Changes { raft_port: Some(8000), ..Changes::default() };
        let flags = ["--raft_port", "--http_port"];
        assert_eq!(refused(port), SettingsError::SamePort { flags, port: 8000 });
        let just = Changes { election_timeout_ms: Some(121), ..Changes::default() };
        assert!(Settings::default().with(&just).is_ok());
        let free = Changes { raft_port: Some(0), http_port: Some(0), ..Changes::default() };
        assert!(Settings::default().with(&free).is_ok());
    }
}
