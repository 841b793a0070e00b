//! The flags: what each is called, what it means, and which values it takes.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use raft_core::NodeId;

use super::values;
use crate::address::Host;
use crate::redirect_status::RedirectStatus;
use crate::settings::{Changes, OrOff, Switch};

/// The directory of the store unless `--path` says otherwise.
pub const PATH_DEFAULT: &str = "store";

/// The first ID of a new cluster unless `--first_id` says otherwise.
pub const FIRST_ID_DEFAULT: NonZeroU64 = NonZeroU64::MIN;

/// The flags. Absent ones are `None`: what that means depends on the command and on what the store holds.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// This node's number, 1 to 2^64-1, unique in the cluster [required with start and join]; with leave and
    /// transfer: the member meant [default: this node, or the member most up to date]
    #[arg(short = 'I', long, value_name = "N", value_parser = values::id, global = true)]
    pub id: Option<NodeId>,
    /// Directory of the store [default: store]
    #[arg(short = 'P', long, value_name = "DIR", global = true)]
    pub path: Option<PathBuf>,
    /// Those of a node that serves.
    #[command(flatten)]
    pub serving: ServingFlags,
    /// Log in detail
    #[arg(short = 'g', long, global = true)]
    pub debug: bool,
    /// First ID that a new cluster hands out, 1 to 2^64-2 [default: 1]
    #[arg(long = "first_id", alias = "first-id", global = true)]
    #[arg(value_name = "ID", value_parser = values::first_id)]
    pub first_id: Option<NonZeroU64>,
    /// start, join: destroy a store that is in the way; drop: destroy even a damaged store
    #[arg(long, global = true)]
    pub force: bool,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub json: bool,
    /// Set by this program alone, for the process that it leaves in the background
    #[arg(long = "in_background", hide = true, global = true)]
    pub in_background: bool,
    /// Set by this program alone, to its own number, for the process that it starts to read a store
    #[arg(long = "in_child", hide = true, global = true, value_name = "PID")]
    pub in_child: Option<i32>,
    /// Print the version and exit
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version, global = true)]
    version: Option<bool>,
}

/// The flags of a node that serves.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct ServingFlags {
    /// Host to listen on: IPv4, IPv6 or a name; several may be given; :: is all of IPv6, and of IPv4 if no
    /// IPv4 host is given [default: 127.0.0.1]
    #[arg(short = 'H', long = "host", value_name = "HOST", value_delimiter = ',', global = true)]
    pub hosts: Option<Vec<Host>>,
    /// Host that the other members and redirected clients use to reach this node; needed if --host is
    /// 0.0.0.0 or :: [default: that of --host]
    #[arg(long, value_name = "HOST", value_parser = values::advertise, global = true)]
    pub advertise: Option<Host>,
    /// TCP port for the other members, 0 for any free one [default: 9000]
    #[arg(short = 'p', long = "raft_port", alias = "raft-port", global = true)]
    #[arg(value_name = "PORT", value_parser = values::port)]
    pub raft_port: Option<u16>,
    /// TCP port for clients, 0 for any free one [default: 8000]
    #[arg(short = 't', long = "http_port", alias = "http-port", global = true)]
    #[arg(value_name = "PORT", value_parser = values::port)]
    pub http_port: Option<u16>,
    /// Maximum size of the store's data file, in MB (1,048,576 bytes), 16 to 1048576; the journal takes 1 MB
    /// more [default: 1000]
    #[arg(short = 's', long = "db_size", alias = "db-size", global = true)]
    #[arg(value_name = "MB", value_parser = values::db_size)]
    pub db_size_mb: Option<u64>,
    /// Run in the background; return when the node listens, or with the reason why it does not
    #[arg(short = 'd', long, global = true)]
    pub daemonize: bool,
    /// File that holds the process id while the node listens [default: none]
    #[arg(short = 'i', long = "pid_file", alias = "pid-file", value_name = "FILE", global = true)]
    pub pid_file: Option<PathBuf>,
    /// Most IDs that a leader reserves ahead for requests to come, and so about the most that a change of
    /// leader or a restart skips; normally it reserves as many as it handed out in the last second. 0 commits
    /// each batch of requests to a majority's disks before it is answered; at most 10^12 [default: 100000000]
    #[arg(long, value_name = "IDS", value_parser = values::window, global = true)]
    pub window: Option<u64>,
    /// How long a node hears nothing from a leader before it campaigns, in milliseconds, 10 to 600000
    /// [default: 300]
    #[arg(long = "election_timeout", alias = "election-timeout", global = true)]
    #[arg(value_name = "MS", value_parser = values::election_timeout)]
    pub election_timeout_ms: Option<u64>,
    /// How often a leader sends heartbeats (half as often at rest), in milliseconds; less than half the
    /// election timeout [default: 60]
    #[arg(long = "heartbeat_interval", alias = "heartbeat-interval", global = true)]
    #[arg(value_name = "MS", value_parser = values::heartbeat_interval)]
    pub heartbeat_interval_ms: Option<u64>,
    /// How long a client may have to wait, in milliseconds, 1 to 3600000; then it is answered 503
    /// [default: 5000]
    #[arg(long = "request_timeout", alias = "request-timeout", global = true)]
    #[arg(value_name = "MS", value_parser = values::request_timeout)]
    pub request_timeout_ms: Option<u64>,
    /// HTTP status that sends a client to the leader: 301, 307 or 308 [default: 301]
    #[arg(long = "redirect_status", alias = "redirect-status", global = true)]
    #[arg(value_name = "STATUS", value_parser = values::redirect_status)]
    pub redirect_status: Option<RedirectStatus>,
    /// Most IDs that one request may take, 1 to 10^12 [default: 1000000]
    #[arg(long = "batch_max", alias = "batch-max", global = true)]
    #[arg(value_name = "IDS", value_parser = values::batch_max)]
    pub batch_max: Option<NonZeroU64>,
    /// Ask the leader on its clients' behalf instead of sending them there: on or off; --forward alone is on
    /// [default: off]
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    #[arg(value_name = "on|off", value_parser = values::switch)]
    pub forward: Option<Switch>,
    /// Let a leader answer without a round trip as long as a majority has promised to support it: on or off;
    /// --lease alone is on. It needs a majority of nodes that have it on; docs/lease.rst says what then
    /// depends on clocks
    /// [default: off]
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    #[arg(value_name = "on|off", value_parser = values::switch)]
    pub lease: Option<Switch>,
    /// With --lease: by how much the rate of any node's clock may be wrong, in millionths, 0 to 500000
    /// [default: 110000]
    #[arg(long = "clock_error_ppm", alias = "clock-error-ppm", global = true)]
    #[arg(value_name = "PPM", value_parser = values::clock_error)]
    pub clock_error_ppm: Option<u32>,
    /// Most client connections, 1 to 1000000; more are answered 503; off for the default
    /// [default: what the limit of open files permits, 16384 at most]
    #[arg(long = "http_connections", alias = "http-connections", global = true)]
    #[arg(value_name = "N|off", value_parser = values::http_connections)]
    pub http_connections: Option<OrOff<u32>>,
    /// How long a client's connection may be quiet between two requests, in milliseconds [default: 75000]
    #[arg(long = "http_idle_timeout", alias = "http-idle-timeout", global = true)]
    #[arg(value_name = "MS", value_parser = values::http_timeout)]
    pub http_idle_timeout_ms: Option<u64>,
    /// How long the head of a request may take to arrive, in milliseconds [default: 10000]
    #[arg(long = "http_header_timeout", alias = "http-header-timeout", global = true)]
    #[arg(value_name = "MS", value_parser = values::http_timeout)]
    pub http_header_timeout_ms: Option<u64>,
    /// How long the body of a request may take to arrive, in milliseconds [default: 20000]
    #[arg(long = "http_body_timeout", alias = "http-body-timeout", global = true)]
    #[arg(value_name = "MS", value_parser = values::http_timeout)]
    pub http_body_timeout_ms: Option<u64>,
    /// Unix-domain socket on which clients are served as well; off for none [default: off]
    #[arg(long = "http_unix", alias = "http-unix", global = true)]
    #[arg(value_name = "PATH|off", value_parser = values::http_unix)]
    pub http_unix: Option<OrOff<String>>,
    /// Host for --metrics_port [default: that of --host]
    #[arg(long = "metrics_host", alias = "metrics-host", value_name = "HOST", global = true)]
    pub metrics_host: Option<Host>,
    /// TCP port for health, status and metrics alone, which the clients' port then no longer serves; 0 for
    /// any free one, off for none [default: off]
    #[arg(long = "metrics_port", alias = "metrics-port", global = true)]
    #[arg(value_name = "PORT|off", value_parser = values::metrics_port)]
    pub metrics_port: Option<OrOff<u16>>,
}

impl Flags {
    /// The directory of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(PATH_DEFAULT))
    }
}

impl ServingFlags {
    /// The changes that the flags make to a node's settings.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            hosts: self.hosts.clone(),
            advertise: self.advertise.clone(),
            raft_port: self.raft_port,
            http_port: self.http_port,
            db_size_mb: self.db_size_mb,
            window: self.window,
            election_timeout_ms: self.election_timeout_ms,
            heartbeat_interval_ms: self.heartbeat_interval_ms,
            request_timeout_ms: self.request_timeout_ms,
            redirect_status: self.redirect_status,
            batch_max: self.batch_max,
            forward: self.forward,
            lease: self.lease,
            clock_error_ppm: self.clock_error_ppm,
            http_connections: self.http_connections.clone(),
            http_idle_timeout_ms: self.http_idle_timeout_ms,
            http_header_timeout_ms: self.http_header_timeout_ms,
            http_body_timeout_ms: self.http_body_timeout_ms,
            http_unix: self.http_unix.clone(),
            metrics_host: self.metrics_host.clone(),
            metrics_port: self.metrics_port.clone(),
        }
    }
}
