//! How a command asks a cluster: the request and its answer, whom to ask, and what the answers say.

pub(super) mod backoff;
pub(super) mod client;
pub(super) mod cluster_view;
pub(super) mod contacts;
pub(super) mod exchange;
pub(super) mod reach;
