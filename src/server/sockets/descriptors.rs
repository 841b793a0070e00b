//! How many files this process may open, and how many clients that leaves room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::limits::{CLIENT_CONNECTIONS_DEFAULT_MAX, DESCRIPTORS_RESERVED};

/// If the operator sets no maximum and the limit of open files leaves room for fewer clients than this, the
/// log says so.
const CLIENT_CONNECTIONS_TO_EXPECT: usize = 1_000;

/// Raises the soft limit of open files to the hard limit. Returns how many clients there may be: as many as
/// the operator wants, but no more than the limit leaves room for.
pub(crate) fn client_connections_max(wanted: Option<u32>) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // A failure leaves the soft limit as it was, which only means fewer clients.
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let wanted = wanted.map(|wanted| usize::try_from(wanted).unwrap_or(usize::MAX));
    let granted = clients_within(current, wanted.unwrap_or(CLIENT_CONNECTIONS_DEFAULT_MAX));
    let wanted = wanted.unwrap_or(CLIENT_CONNECTIONS_TO_EXPECT);
    if let Some(descriptors) = current
        && granted < wanted
    {
        log::warn!(
            "{granted} connections of clients instead of {wanted}: the limit of open files is {descriptors}, and \
             {DESCRIPTORS_RESERVED} are kept for other use; raise it (ulimit -n)"
        );
    }
    granted
}

/// How many clients fit into this many descriptors, `wanted` at most; `None` stands for no limit.
fn clients_within(descriptors: Option<u64>, wanted: usize) -> usize {
    let Some(descriptors) = descriptors else { return wanted };
    let left = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(DESCRIPTORS_RESERVED);
    left.clamp(1, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_never_get_the_descriptors_that_peers_need() {
        assert_eq!(clients_within(None, 5_000), 5_000);
        assert_eq!(clients_within(Some(u64::MAX), 5_000), 5_000);
        assert_eq!(clients_within(Some(1024), 5_000), 1024 - DESCRIPTORS_RESERVED);
        assert_eq!(clients_within(Some(1024), 2), 2);
        assert_eq!(clients_within(Some(10), 5_000), 1, "a node must serve somebody");
    }
}
