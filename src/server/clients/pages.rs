//! The pages for load balancers, monitoring systems and people: health, readiness, status, metrics.

use crate::http::Page;
use crate::server::context::Context;
use crate::server::metrics::{self, Gauges};
use crate::server::peers::connections::PeerConnections;
use crate::server::peers::links::Links;
use crate::server::status;
use crate::storage::StorageThread;

/// What a page can show besides the context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) links: &'a Links,
    pub(crate) peer_connections: &'a PeerConnections,
    pub(crate) storage: &'a StorageThread,
}

/// The content of a page at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Content {
    /// Whether the page reports success; it decides the status code.
    pub(crate) ok: bool,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

/// Makes a page.
pub(crate) fn content(ctx: &Context, view: View<'_>, gauges: Gauges, page: Page) -> Content {
    match page {
        // An answer alone shows that the loop turns; after a failed write only a restart helps.
        Page::Health if ctx.node.raft().is_muted() => CheckResult::bad("failed").content(),
        Page::Health => CheckResult::good("ok").content(),
        Page::Ready { leader: false } => ServiceState::of(ctx).to_serve().content(),
        Page::Ready { leader: true } => ServiceState::of(ctx).to_lead().content(),
        Page::Status => {
            Content { ok: true, content_type: "application/json", body: status::json(ctx, view.links) }
        }
        Page::Metrics => {
            let body = metrics::page(ctx, view.links, &view.storage.counts(), gauges);
            Content { ok: true, content_type: metrics::CONTENT_TYPE, body }
        }
    }
}

/// The state that readiness depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ServiceState {
    leads: bool,
    /// Another node leads, and this one knows where.
    knows_leader: bool,
    is_muted: bool,
    stopping: bool,
}

impl ServiceState {
    fn of(ctx: &Context) -> ServiceState {
        ServiceState {
            leads: ctx.leads(),
            knows_leader: ctx.leader_member().is_some(),
            is_muted: ctx.node.raft().is_muted(),
            stopping: ctx.stopping,
        }
    }

    /// Whether this node can serve now.
    fn to_serve(self) -> CheckResult {
        if self.is_muted {
            CheckResult::bad("failed")
        } else if self.stopping {
            // It still serves for a moment, but should get no new clients.
            CheckResult::bad("stopping")
        } else if !self.leads && !self.knows_leader {
            CheckResult::bad("leaderless")
        } else {
            CheckResult::good("ready")
        }
    }

    /// Whether this node can serve now as the leader.
    fn to_lead(self) -> CheckResult {
        match self.to_serve() {
            CheckResult { ok: true, .. } if self.leads => CheckResult::good("leader"),
            CheckResult { ok: true, .. } => CheckResult::bad("follower"),
            result => result,
        }
    }
}

/// A result and a word that gives the reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct CheckResult {
    ok: bool,
    word: &'static str,
}

impl CheckResult {
    const fn good(word: &'static str) -> CheckResult {
        CheckResult { ok: true, word }
    }

    const fn bad(word: &'static str) -> CheckResult {
        CheckResult { ok: false, word }
    }

    fn content(self) -> Content {
        Content { ok: self.ok, content_type: "text/plain", body: format!("{}\n", self.word) }
    }
}

#[cfg(test)]
mod tests {
    use raft_core::NodeId;

    use super::*;
    use crate::server::testing::context;

    #[test]
    fn a_node_is_ready_where_it_can_serve_and_leads_where_it_leads() {
        let follower = ServiceState { leads: false, knows_leader: true, is_muted: false, stopping: false };
        let leader = ServiceState { leads: true, ..follower };
        let lost = ServiceState { knows_leader: false, ..follower };
        for (state, ready, leads) in [
            (follower, CheckResult::good("ready"), CheckResult::bad("follower")),
            (leader, CheckResult::good("ready"), CheckResult::good("leader")),
            (lost, CheckResult::bad("leaderless"), CheckResult::bad("leaderless")),
            (
                ServiceState { stopping: true, ..leader },
                CheckResult::bad("stopping"),
                CheckResult::bad("stopping"),
            ),
            (
                ServiceState { is_muted: true, ..leader },
                CheckResult::bad("failed"),
                CheckResult::bad("failed"),
            ),
        ] {
            assert_eq!(state.to_serve(), ready, "{state:?}");
            assert_eq!(state.to_lead(), leads, "{state:?}");
        }
    }

    /// Its clients are answered that no leader is known: they cannot be sent anywhere.
    #[test]
    fn a_node_that_does_not_know_where_the_leader_is_does_not_know_it() {
        let mut ctx = context(&mio::Poll::new().unwrap());
        for (leader, knows_leader) in [(None, false), (NodeId::new(2), true), (NodeId::new(9), false)] {
            ctx.leader = leader;
            assert_eq!(ServiceState::of(&ctx).knows_leader, knows_leader, "{leader:?}");
        }
    }

    #[test]
    fn a_result_is_shown_as_a_line() {
        assert_eq!(
            CheckResult::good("a").content(),
            Content { ok: true, content_type: "text/plain", body: "a\n".to_owned() }
        );
        assert!(!CheckResult::bad("b").content().ok);
    }
}
