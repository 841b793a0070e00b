//! How many files this process may open, and for what: clients never get the descriptors that peers need.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::codec::MEMBERS_MAX;
use crate::server::config::ServerError;
use crate::server::limits::{
    DESCRIPTORS_MIN, DESCRIPTORS_OTHER, DESCRIPTORS_SPARE_MAX, DESCRIPTORS_SPARE_MIN, PAGE_CONNECTIONS_MAX,
    PEER_CONNECTIONS_MAX, PEER_CONNECTIONS_MIN, REFUSED_CLIENTS_MAX,
};
use crate::settings::HTTP_CONNECTIONS_DEFAULT;

/// If the operator does not say how many clients there may be, and the limit of open files leaves room for
/// fewer than this, the log says so.
const CLIENT_CONNECTIONS_TO_EXPECT: usize = 1_000;

/// How many descriptors each use may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Allotment {
    /// The limit of open files; `None` if there is none.
    limit: Option<u64>,
    /// Connections of clients.
    pub(crate) clients: usize,
    /// Connections at listeners for pages alone.
    pub(crate) pages: usize,
    /// Clients that are one too many and are told so.
    pub(crate) refused: usize,
    /// Connections accepted on the peer port.
    pub(crate) peers: usize,
    /// Links to other members. Members are not refused for want of descriptors: more links than this take
    /// what is spare.
    links: usize,
    /// The store, the ports, the loop, whatever the process inherited, and some for what is open for a
    /// moment: a connection that is closed at once, a name that is looked up, a file of `/proc`.
    spare: usize,
}

/// Raises the soft limit of open files to the hard one, as any process may, and checks that a node can run
/// with it. Meant to be called before a store is made.
///
/// # Errors
/// [`ServerError::FewDescriptors`].
pub fn require_descriptors() -> Result<(), ServerError> {
    match raised_limit() {
        Some(limit) if limit < DESCRIPTORS_MIN => {
            Err(ServerError::FewDescriptors { limit, needed: DESCRIPTORS_MIN })
        }
        Some(_) | None => Ok(()),
    }
}

/// What each use gets, once the process has opened all that it opens for good. `wanted` is how many clients
/// the operator permits; the log says if there is no room for as many.
pub(crate) fn allot_descriptors(wanted: Option<u32>) -> Result<Allotment, ServerError> {
    let limit = raised_limit();
    let as_usize = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let wanted = wanted.map(as_usize);
    let other = count_open_descriptors().unwrap_or(DESCRIPTORS_OTHER);
    let wanted_or_default = wanted.unwrap_or(as_usize(HTTP_CONNECTIONS_DEFAULT));
    let allotment = Allotment::of(limit, other, wanted_or_default)?;
    let granted = allotment.clients;
    if let Some(limit) = limit
        && granted < wanted.unwrap_or(CLIENT_CONNECTIONS_TO_EXPECT)
    {
        let shortfall = match wanted {
            Some(wanted) => format!("{granted} client connections instead of {wanted}"),
            None => format!("only {granted} client connections"),
        };
        log::warn!(
            "{shortfall}: the limit of open files is {limit}, and {} are kept for other use; raise it \
             (ulimit -n, systemd's LimitNOFILE)",
            allotment.reserved(),
        );
    }
    Ok(allotment)
}

impl Allotment {
    /// Shares out `limit` descriptors, of which `other` are open already. Each use but the clients gets a
    /// part of the limit, up to what it can use at most; the clients get the rest, up to what is wanted.
    fn of(limit: Option<u64>, other: usize, wanted: usize) -> Result<Allotment, ServerError> {
        let descriptors = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let shared = Allotment::shared(limit, descriptors, other);
        let left = descriptors.saturating_sub(shared.reserved());
        if left == 0 {
            let enough = |limit: &u64| {
                let descriptors = usize::try_from(*limit).unwrap_or(usize::MAX);
                Allotment::shared(None, descriptors, other).reserved() < descriptors
            };
            // There is always one: what is kept stops growing with the limit.
            let needed = (DESCRIPTORS_MIN..).find(enough).unwrap_or(u64::MAX);
            return Err(ServerError::FewDescriptors { limit: limit.unwrap_or(u64::MAX), needed });
        }
        Ok(Allotment { clients: left.min(wanted), ..shared })
    }

    /// What all get but the clients.
    fn shared(limit: Option<u64>, descriptors: usize, other: usize) -> Allotment {
        Allotment {
            limit,
            clients: 0,
            pages: (descriptors / 16).min(PAGE_CONNECTIONS_MAX),
            refused: (descriptors / 16).min(REFUSED_CLIENTS_MAX),
            peers: (descriptors / 4).clamp(PEER_CONNECTIONS_MIN, PEER_CONNECTIONS_MAX),
            links: (descriptors / 8).min(MEMBERS_MAX),
            spare: (descriptors / 8).min(DESCRIPTORS_SPARE_MAX).max(other + DESCRIPTORS_SPARE_MIN),
        }
    }

    /// How many descriptors clients never get.
    fn reserved(&self) -> usize {
        self.pages + self.refused + self.peers + self.links + self.spare
    }

    /// What to warn of if a cluster has this many members; `None` if there are descriptors enough for as many
    /// links.
    pub(crate) fn too_many_members_line(&self, members: usize) -> Option<String> {
        let limit = self.limit.filter(|_| members > self.links + 1)?;
        Some(format!(
            "the limit of open files is {limit}, which is too low for a cluster of {members} members: raise \
             it (ulimit -n, systemd's LimitNOFILE), and restart this node"
        ))
    }
}

fn raised_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // A failure leaves the soft limit as it was: fewer clients, nothing worse.
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current }
}

/// How many descriptors are open, if proc(5) says so.
pub(crate) fn count_open_descriptors() -> Option<usize> {
    // One of them is the directory that is being read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as a node of a small cluster has.
    const OTHER: usize = 19;

    fn of(limit: u64, wanted: usize) -> Allotment {
        Allotment::of(Some(limit), OTHER, wanted).unwrap()
    }

    #[test]
    fn with_descriptors_enough_each_use_gets_all_that_it_can_use() {
        for limit in [None, Some(u64::MAX), Some(20_000)] {
            let got = Allotment::of(limit, OTHER, 5_000).unwrap();
            assert_eq!(got.clients, 5_000);
            assert_eq!((got.pages, got.refused), (PAGE_CONNECTIONS_MAX, REFUSED_CLIENTS_MAX));
            assert_eq!(
                (got.peers, got.links, got.spare),
                (PEER_CONNECTIONS_MAX, MEMBERS_MAX, DESCRIPTORS_SPARE_MAX)
            );
        }
        assert_eq!(of(1024, 2).clients, 2);
    }

    #[test]
    fn all_together_never_get_more_than_the_limit_and_each_gets_some() {
        for limit in DESCRIPTORS_MIN..3_000 {
            let got = of(limit, 5_000);
            assert!(got.clients + got.reserved() <= usize::try_from(limit).unwrap(), "{limit}: {got:?}");
            assert!(got.clients > 0 && got.pages > 0 && got.refused > 0, "{limit}: {got:?}");
            assert!(got.peers >= PEER_CONNECTIONS_MIN && got.links >= 8, "{limit}: {got:?}");
            assert!(got.spare >= OTHER + DESCRIPTORS_SPARE_MIN, "{limit}: {got:?}");
        }
    }

    #[test]
    fn a_low_limit_leaves_clients_a_fair_part() {
        let clients = |limit| of(limit, 5_000).clients;
        assert_eq!([64, 100, 128, 256, 512, 1024].map(clients), [5, 24, 37, 96, 192, 512]);
    }

    #[test]
    fn a_limit_that_leaves_clients_nothing_is_an_error_that_names_one_that_does() {
        for other in [OTHER, 40, 100, 1_000] {
            let error = Allotment::of(Some(DESCRIPTORS_MIN - 20), other, 1).unwrap_err();
            let ServerError::FewDescriptors { needed, .. } = error else { panic!("{error}") };
            assert!(Allotment::of(Some(needed), other, 1).is_ok(), "{other}: {needed}");
            assert!(needed == DESCRIPTORS_MIN || Allotment::of(Some(needed - 1), other, 1).is_err());
        }
    }

    #[test]
    fn a_cluster_with_more_members_than_links_have_descriptors_is_worth_a_warning() {
        assert_eq!(of(64, 1).too_many_members_line(9), None);
        assert!(of(64, 1).too_many_members_line(10).unwrap().contains("a cluster of 10 members"));
        assert_eq!(of(512, 1).too_many_members_line(MEMBERS_MAX), None);
        assert_eq!(Allotment::of(None, OTHER, 1).unwrap().too_many_members_line(MEMBERS_MAX), None);
    }
}
