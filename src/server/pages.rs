//! What is shown to load balancers, monitoring systems and people: health, readiness, status, metrics.

use super::context::Context;
use super::links::Links;
use super::metrics::{self, Gauges};
use super::peer_connections::PeerConnections;
use super::status;
use crate::http::Page;
use crate::storage::StorageThread;

/// What a page can show besides the context.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) links: &'a Links,
    pub(super) peer_connections: &'a PeerConnections,
    pub(super) storage: &'a StorageThread,
}

/// A page as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Content {
    /// Whether all is well.
    pub(super) ok: bool,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// Makes a page; so many clients are connected, of so many at most.
pub(super) fn content(
    ctx: &Context,
    view: View<'_>,
    (clients, clients_max): (usize, usize),
    page: Page,
) -> Content {
    match page {
        // That it is answered at all says that the loop turns; after a write that failed only a restart
        // helps.
        Page::Health => word(if ctx.node.raft().is_muted() { Err("failed") } else { Ok("ok") }),
        Page::Ready { leader: false } => word(Readiness::of(ctx).to_serve()),
        Page::Ready { leader: true } => word(Readiness::of(ctx).to_lead()),
        Page::Status => {
            Content { ok: true, content_type: "application/json", body: status::json(ctx, view.links) }
        }
        Page::Metrics => {
            let gauges = Gauges { clients, clients_max, peer_connections: view.peer_connections.count() };
            let body = metrics::page(ctx, view.links, &view.storage.counts(), gauges);
            Content { ok: true, content_type: metrics::CONTENT_TYPE, body }
        }
    }
}

/// What readiness depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Readiness {
    leads: bool,
    knows_leader: bool,
    write_failed: bool,
    stopping: bool,
}

impl Readiness {
    fn of(ctx: &Context) -> Readiness {
        Readiness {
            leads: ctx.leads(),
            knows_leader: ctx.leader.is_some(),
            write_failed: ctx.node.raft().is_muted(),
            stopping: ctx.stopping,
        }
    }

    /// A word of why this node can serve now, or not.
    fn to_serve(self) -> Result<&'static str, &'static str> {
        if self.write_failed {
            Err("failed")
        } else if self.stopping {
            // It still serves for a moment; nobody new is to be sent here.
            Err("stopping")
        } else if !self.leads && !self.knows_leader {
            Err("leaderless")
        } else {
            Ok("ready")
        }
    }

    /// A word of why this node can serve now as the leader, or not.
    fn to_lead(self) -> Result<&'static str, &'static str> {
        self.to_serve().and(if self.leads { Ok("leader") } else { Err("follower") })
    }
}

fn word(word: Result<&'static str, &'static str>) -> Content {
    let (Ok(text) | Err(text)) = word;
    Content { ok: word.is_ok(), content_type: "text/plain", body: format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_where_it_can_serve_and_leads_where_it_leads() {
        let follower = Readiness { leads: false, knows_leader: true, write_failed: false, stopping: false };
        let leader = Readiness { leads: true, ..follower };
        let lost = Readiness { knows_leader: false, ..follower };
        for (readiness, ready, leads) in [
            (follower, Ok("ready"), Err("follower")),
            (leader, Ok("ready"), Ok("leader")),
            (lost, Err("leaderless"), Err("leaderless")),
            (Readiness { stopping: true, ..leader }, Err("stopping"), Err("stopping")),
            (Readiness { write_failed: true, ..leader }, Err("failed"), Err("failed")),
        ] {
            assert_eq!(readiness.to_serve(), ready, "{readiness:?}");
            assert_eq!(readiness.to_lead(), leads, "{readiness:?}");
        }
    }

    #[test]
    fn a_word_is_a_line_and_tells_good_from_bad() {
        assert_eq!(word(Ok("a")), Content { ok: true, content_type: "text/plain", body: "a\n".to_owned() });
        assert!(!word(Err("b")).ok);
    }
}
