//! What the server counts, and how a monitoring system reads it (Prometheus' text format, version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;

use raft_core::Role;

use crate::node::NodeStatus;

/// Counts since the server began. Each only grows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Counters {
    pub(super) turns: u64,
    pub(super) clients_accepted: u64,
    pub(super) clients_refused: u64,
    pub(super) client_bytes_received: u64,
    pub(super) client_bytes_sent: u64,
    pub(super) requests: u64,
    pub(super) ids_answered: u64,
    pub(super) answers: AnswerCounters,
    pub(super) guests_accepted: u64,
    pub(super) guests_refused: u64,
    pub(super) handshakes_accepted: u64,
    pub(super) handshakes_refused: u64,
    pub(super) handshakes_timed_out: u64,
    pub(super) peer_bytes_received: u64,
    pub(super) peer_bytes_sent: u64,
    pub(super) messages_received: u64,
    pub(super) messages_sent: u64,
    /// Messages that found no link, or a full one.
    pub(super) messages_dropped: u64,
    /// Messages that no sound peer sends.
    pub(super) messages_impossible: u64,
    pub(super) operations: u64,
    pub(super) dials: u64,
    pub(super) dials_failed: u64,
    pub(super) links_broken: u64,
    /// By what was wrong with them.
    pub(super) bad_frames: BTreeMap<&'static str, u64>,
}

/// Answers to requests for IDs, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct AnswerCounters {
    pub(super) ids: u64,
    pub(super) redirect: u64,
    pub(super) leader_unavailable: u64,
    pub(super) timed_out: u64,
    pub(super) overloaded: u64,
    pub(super) exhausted: u64,
}

/// What goes up and down, as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gauges {
    pub(super) clients: usize,
    pub(super) guests: usize,
    pub(super) links_up: usize,
    pub(super) uptime_seconds: u64,
}

impl Counters {
    /// One more bad frame.
    pub(super) fn count_bad_frame(&mut self, label: &'static str) {
        *self.bad_frames.entry(label).or_insert(0) += 1;
    }

    /// Everything as text.
    pub(super) fn render(&self, node: &NodeStatus, gauges: Gauges) -> String {
        let mut page = Page(String::with_capacity(8 * 1024));
        self.render_clients(&mut page);
        self.render_peers(&mut page);
        render_node(&mut page, node);
        page.gauge("ticketd_clients", "Clients connected.", len(gauges.clients));
        page.gauge("ticketd_peer_connections", "Connections accepted on the peer port.", len(gauges.guests));
        page.gauge("ticketd_links_up", "Links to other members that are up.", len(gauges.links_up));
        page.gauge("ticketd_uptime_seconds", "Seconds since the server began.", gauges.uptime_seconds);
        page.counter("ticketd_turns_total", "Turns of the event loop.", self.turns);
        page.0
    }

    fn render_clients(&self, page: &mut Page) {
        page.counter("ticketd_clients_accepted_total", "Client connections accepted.", self.clients_accepted);
        page.counter("ticketd_clients_refused_total", "Clients beyond the bound.", self.clients_refused);
        page.counter(
            "ticketd_client_received_bytes_total",
            "Bytes from clients.",
            self.client_bytes_received,
        );
        page.counter("ticketd_client_sent_bytes_total", "Bytes to clients.", self.client_bytes_sent);
        page.counter("ticketd_requests_total", "Requests for IDs.", self.requests);
        page.counter("ticketd_ids_total", "IDs handed out.", self.ids_answered);
        page.head("ticketd_answers_total", "Answers to requests for IDs.", "counter");
        let AnswerCounters { ids, redirect, leader_unavailable, timed_out, overloaded, exhausted } =
            self.answers;
        for (kind, value) in [
            ("ids", ids),
            ("redirect", redirect),
            ("leader_unavailable", leader_unavailable),
            ("timed_out", timed_out),
            ("overloaded", overloaded),
            ("exhausted", exhausted),
        ] {
            page.labelled("ticketd_answers_total", "kind", kind, value);
        }
    }

    fn render_peers(&self, page: &mut Page) {
        page.counter("ticketd_peer_accepted_total", "Connections to the peer port.", self.guests_accepted);
        page.counter("ticketd_peer_refused_total", "Of these, without a place.", self.guests_refused);
        page.counter("ticketd_handshakes_accepted_total", "Hellos welcomed.", self.handshakes_accepted);
        page.counter("ticketd_handshakes_refused_total", "Hellos refused.", self.handshakes_refused);
        page.counter(
            "ticketd_handshakes_timed_out_total",
            "Hellos awaited in vain.",
            self.handshakes_timed_out,
        );
        page.counter("ticketd_peer_received_bytes_total", "Bytes from peers.", self.peer_bytes_received);
        page.counter("ticketd_peer_sent_bytes_total", "Bytes to peers.", self.peer_bytes_sent);
        page.counter("ticketd_messages_received_total", "Raft messages received.", self.messages_received);
        page.counter("ticketd_messages_sent_total", "Raft messages queued to be sent.", self.messages_sent);
        page.counter(
            "ticketd_messages_dropped_total",
            "Messages without a free link.",
            self.messages_dropped,
        );
        page.counter(
            "ticketd_messages_impossible_total",
            "Messages that no sound peer sends.",
            self.messages_impossible,
        );
        page.counter("ticketd_operations_total", "Operators' requests.", self.operations);
        page.counter("ticketd_dials_total", "Attempts to connect to a peer.", self.dials);
        page.counter("ticketd_dials_failed_total", "Of these, failed.", self.dials_failed);
        page.counter("ticketd_links_broken_total", "Links that were up and broke.", self.links_broken);
        page.head("ticketd_bad_frames_total", "Frames that closed their connection.", "counter");
        for (label, value) in &self.bad_frames {
            page.labelled("ticketd_bad_frames_total", "kind", label, *value);
        }
    }
}

fn render_node(page: &mut Page, node: &NodeStatus) {
    let leads = u64::from(node.role == Role::Leader);
    page.gauge("ticketd_leader", "1 where this node leads.", leads);
    page.gauge("ticketd_leader_known", "1 where a leader is known.", u64::from(node.leader.is_some()));
    page.gauge("ticketd_term", "The current term.", node.term.0);
    page.gauge("ticketd_commit_index", "The highest index known to be committed.", node.commit_index.0);
    page.gauge("ticketd_applied_index", "The highest index applied.", node.applied_index.0);
    page.gauge("ticketd_last_log_index", "The index of the last log entry.", node.last_log_index.0);
    page.gauge("ticketd_next_unreserved", "The smallest ID in no window.", node.next_unreserved);
    let left = node.window.map_or(0, |window| window.left);
    page.gauge("ticketd_window_left", "IDs left in the leader's window.", left);
    page.gauge("ticketd_members", "Members of the cluster.", len(node.members.len()));
    page.gauge("ticketd_write_failed", "1 where a write failed: restart.", u64::from(node.write_failed));
}

fn len(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Text in the making. Writing to a `String` can not fail, so the results of `write!` are not looked at.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled(&mut self, name: &str, label: &str, label_value: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{label_value}\"}} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{LogIndex, Term};
    use std::collections::BTreeSet;

    fn node() -> NodeStatus {
        NodeStatus {
            role: Role::Leader,
            term: Term(3),
            leader: None,
            commit_index: LogIndex(7),
            applied_index: LogIndex(6),
            last_log_index: LogIndex(8),
            next_unreserved: 100,
            window: None,
            write_failed: false,
            members: Vec::new(),
        }
    }

    #[test]
    fn every_metric_has_one_head_and_stands_right_below_it() {
        let mut counters = Counters::default();
        counters.count_bad_frame("too_long");
        counters.count_bad_frame("too_long");
        counters.count_bad_frame("malformed");
        let gauges = Gauges { clients: 5, guests: 4, links_up: 2, uptime_seconds: 1 };
        let text = counters.render(&node(), gauges);
        let mut seen = BTreeSet::new();
        let mut current = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap();
                assert!(seen.insert(current), "{current} has two heads");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(name, current, "in the line {line:?}");
                assert!(line.rsplit(' ').next().unwrap().parse::<u64>().is_ok(), "{line:?}");
            }
        }
        assert!(text.contains("\nticketd_bad_frames_total{kind=\"too_long\"} 2\n"), "{text}");
        assert!(text.contains("\nticketd_leader 1\n"), "{text}");
        assert!(text.contains("\nticketd_term 3\n"), "{text}");
        assert!(text.ends_with('\n'));
    }
}
