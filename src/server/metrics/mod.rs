//! Everything that a monitoring system can read from this node. `docs/metrics.rst` lists it all.
//!
//! Names follow Prometheus' conventions: base units, `_total` for what only grows. Label values are our own,
//! never a client's or a peer's, so the number of series is bounded by members, status codes and kinds.

mod exposition;
mod process;

use std::sync::atomic::Ordering;

use raft_core::{Role, Suffrage};

use self::exposition::{Exposition, Seconds};
use self::process::Process;
use super::context::Context;
use super::counters::{AnswerCounters, Counters};
use super::peers::links::{LinkStatus, Links};
use super::status::{has_reason_to_send, role_name};
use crate::http::{Handler, Tally};
use crate::node::{NodeCounts, NodeStatus};
use crate::peer::FrameError;
use crate::storage::StorageCounts;

pub(super) const CONTENT_TYPE: &str = exposition::CONTENT_TYPE;

/// Values that go up and down, known only to the tables that hold them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gauges {
    pub(super) clients: usize,
    pub(super) clients_max: usize,
    pub(super) peer_connections: usize,
}

pub(super) fn page(ctx: &Context, links: &Links, storage: &StorageCounts, gauges: Gauges) -> String {
    let mut page = Exposition::new();
    let status = ctx.node.status();
    page.gauges("ticketd_build_info", "Always 1; the label says which version runs.")
        .sample(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
    render_process(&mut page, &Process::read(ctx.now(), &ctx.descriptors), ctx.clock.unix_us_at_start());
    render_clients(&mut page, &ctx.counters, &ctx.tally, gauges);
    render_ids(&mut page, &ctx.counters, &status, ctx.node.counts());
    render_raft(&mut page, &status, ctx.node.counts());
    render_members(&mut page, ctx, links, &status);
    render_peers(&mut page, &ctx.counters, gauges.peer_connections);
    render_dialling(&mut page, &ctx.counters);
    render_storage(&mut page, ctx, storage);
    page.counter("ticketd_loop_turns_total", "Turns of the event loop.", ctx.counters.turns);
    page.counter(
        "ticketd_log_lines_left_out_total",
        "Lines missing from the log, because standard error did not take them.",
        ctx.log_lines_left_out.load(Ordering::Relaxed),
    );
    page.finish()
}

/// These have the standard names by which dashboards find them for any process.
fn render_process(page: &mut Exposition, process: &Process, unix_us_at_start: u64) {
    page.gauges("process_start_time_seconds", "When the server began, in seconds since 1970 (UTC).")
        .sample("", Seconds(unix_us_at_start));
    if let Some(bytes) = process.resident_bytes {
        page.gauge("process_resident_memory_bytes", "Memory of this process that is in RAM.", bytes);
    }
    page.counters(
        "process_cpu_seconds_total",
        "Time that processors spent on this process, user and system.",
    )
    .sample("", Seconds(process.cpu_us));
    if let Some(count) = process.open_descriptors {
        page.gauge("process_open_fds", "Open file descriptors.", count);
    }
    if let Some(count) = process.descriptors_max {
        page.gauge("process_max_fds", "The most file descriptors that may be open.", count);
    }
}

fn render_clients(page: &mut Exposition, counters: &Counters, tally: &Tally, gauges: Gauges) {
    page.gauge("ticketd_http_connections", "Open client connections.", number(gauges.clients));
    page.gauge(
        "ticketd_http_connections_max",
        "The most that may be open; beyond it new ones are refused.",
        number(gauges.clients_max),
    );
    page.counter(
        "ticketd_http_connections_accepted_total",
        "Connections of clients that were accepted.",
        counters.clients_accepted,
    );
    page.counter(
        "ticketd_http_connections_refused_total",
        "Connections of clients that were answered 503 or closed, because too many were open.",
        counters.clients_refused,
    );
    page.counter("ticketd_http_received_bytes_total", "Bytes from clients.", counters.client_bytes_received);
    page.counter("ticketd_http_sent_bytes_total", "Bytes to clients.", counters.client_bytes_sent);
    let mut responses = page.counters(
        "ticketd_http_responses_total",
        "Answers by status code, and by what they were about: IDs, pages such as this one, or neither.",
    );
    for (name, handler) in [("ids", Handler::Ids), ("pages", Handler::Pages), ("protocol", Handler::Protocol)]
    {
        for (code, count) in tally.by_code(handler) {
            responses.sample(&format!("handler=\"{name}\",code=\"{code}\""), count);
        }
    }
}

fn render_ids(page: &mut Exposition, counters: &Counters, node: &NodeStatus, counts: &NodeCounts) {
    page.counter("ticketd_requests_total", "Requests for IDs, whatever their outcome.", counters.requests);
    page.counter("ticketd_ids_total", "IDs handed out to clients of this node.", counters.ids_answered);
    let mut answers = page.counters("ticketd_answers_total", "Answers to requests for IDs.");
    let AnswerCounters { ids, redirect, leader_unavailable, timed_out, overloaded, exhausted } =
        counters.answers;
    for (kind, value) in [
        ("ids", ids),
        ("redirect", redirect),
        ("leader_unavailable", leader_unavailable),
        ("timed_out", timed_out),
        ("overloaded", overloaded),
        ("exhausted", exhausted),
    ] {
        answers.sample(&format!("kind=\"{kind}\""), value);
    }
    page.times(
        "ticketd_request_duration_seconds",
        "How long a request for IDs waited, from when it was read to when its answer was known. Without \
         those that were sent elsewhere or refused at once.",
        &counts.waits,
    );
    page.sizes(
        "ticketd_round_requests",
        "Requests per read barrier, a round of heartbeats that confirms the leadership, or no round while a \
         lease is held. The count is the number of barriers.",
        &counts.barriers,
    );
    let left = node.window.map_or(0, |window| window.left);
    page.gauge("ticketd_window_left", "IDs that this leader has reserved and not handed out.", left);
    page.counter(
        "ticketd_reservations_total",
        "Reservations that this node proposed as the leader.",
        counts.reservations,
    );
    page.gauge(
        "ticketd_next_unreserved",
        "The smallest ID that is not reserved, by all of this node's log.",
        node.next_unreserved_in_log,
    );
    page.counter(
        "ticketd_forwards_sent_total",
        "Messages that asked the leader on behalf of this node's clients.",
        counts.forwards_sent,
    );
    page.counter(
        "ticketd_forwards_taken_total",
        "Messages of other nodes that this leader took on behalf of their clients.",
        counts.forwards_taken,
    );
}

fn render_raft(page: &mut Exposition, node: &NodeStatus, counts: &NodeCounts) {
    let mut roles = page.gauges("ticketd_role", "1 for the role that this node has, 0 for the others.");
    for role in [Role::Follower, Role::PreCandidate, Role::Candidate, Role::Leader] {
        roles.sample(&format!("role=\"{}\"", role_name(role)), u64::from(node.role == role));
    }
    page.gauge("ticketd_leader_known", "1 if a leader is known.", u64::from(node.leader.is_some()));
    page.gauge("ticketd_lease_held", "1 if this leader answers by its lease.", u64::from(node.holds_lease));
    page.gauge("ticketd_term", "The current term.", node.term.0);
    page.counter(
        "ticketd_leader_changes_total",
        "How often a new leader was found: another node, or the same one elected again.",
        counts.leader_changes,
    );
    page.gauge("ticketd_commit_index", "The highest log index known to be committed.", node.commit_index.0);
    page.gauge("ticketd_applied_index", "The highest log index that was applied.", node.applied_index.0);
    page.gauge("ticketd_last_log_index", "The index of the last log entry.", node.last_log_index.0);
    page.gauge("ticketd_members", "Members of the cluster.", number(node.members.len()));
    let voters = node.members.iter().filter(|member| member.suffrage == Suffrage::Voter).count();
    page.gauge("ticketd_voters", "Members that vote; the others have not caught up yet.", number(voters));
}

/// One series for each other member.
fn render_members(page: &mut Exposition, ctx: &Context, links: &Links, node: &NodeStatus) {
    let others = || node.members.iter().filter(|member| member.peer != ctx.me.peer);
    let mut lags = page.gauges(
        "ticketd_member_lag_entries",
        "Log entries that a member is not known to have yet. Only the leader knows.",
    );
    for member in others() {
        if let Some(index) = member.match_index {
            let lag = node.last_log_index.0.saturating_sub(index.0);
            lags.sample(&format!("member=\"{}\"", member.peer.id), lag);
        }
    }
    let link = |member: &crate::node::MemberStatus| links.status(ctx, member.peer);
    let mut states = page.gauges("ticketd_link_up", "1 if the link to a member is up.");
    for member in others() {
        let up = link(member).is_some_and(|LinkStatus { is_up, .. }| is_up);
        states.sample(&format!("member=\"{}\"", member.peer.id), u64::from(up));
    }
    let mut heard = page.gauges(
        "ticketd_member_silence_seconds",
        "How long a member has said nothing. Followers speak with their leader alone. Without \
         one, voters speak with each other.",
    );
    for member in others().filter(|member| has_reason_to_send(ctx, member.peer.id)) {
        if let Some(LinkStatus { silence_us, .. }) = link(member) {
            heard.sample(&format!("member=\"{}\"", member.peer.id), Seconds(silence_us));
        }
    }
}

fn render_peers(page: &mut Exposition, counters: &Counters, peer_connections: usize) {
    page.counter("ticketd_peer_received_bytes_total", "Bytes from peers.", counters.peer_bytes_received);
    page.counter("ticketd_peer_sent_bytes_total", "Bytes to peers.", counters.peer_bytes_sent);
    page.counter("ticketd_peer_received_frames_total", "Messages from peers.", counters.messages_received);
    page.counter("ticketd_peer_sent_frames_total", "Messages to peers.", counters.messages_sent);
    page.counter(
        "ticketd_peer_dropped_frames_total",
        "Messages to peers that found no link, or a full one.",
        counters.messages_dropped,
    );
    page.counter(
        "ticketd_impossible_messages_total",
        "Messages from peers that no sound peer sends.",
        counters.messages_impossible,
    );
    let mut bad = page.counters("ticketd_bad_frames_total", "Frames that closed their connection.");
    for label in FrameError::LABELS.iter().copied().chain([Counters::UNEXPECTED, Counters::INCOMPLETE]) {
        let count = counters.bad_frames.get(label).copied().unwrap_or(0);
        bad.sample(&format!("kind=\"{label}\""), count);
    }
    page.gauge("ticketd_peer_connections", "Open connections on the peer port.", number(peer_connections));
    page.counter(
        "ticketd_peer_connections_accepted_total",
        "Connections on the peer port that were accepted.",
        counters.peer_connections_accepted,
    );
    page.counter(
        "ticketd_peer_connections_refused_total",
        "Connections on the peer port that were closed, because too many were open.",
        counters.peer_connections_refused,
    );
}

fn render_dialling(page: &mut Exposition, counters: &Counters) {
    let mut handshakes =
        page.counters("ticketd_handshakes_total", "Handshakes of peers that connected, by how they ended.");
    for (outcome, count) in [
        ("accepted", counters.handshakes_accepted),
        ("refused", counters.handshakes_refused),
        ("timed_out", counters.handshakes_timed_out),
    ] {
        handshakes.sample(&format!("outcome=\"{outcome}\""), count);
    }
    page.counter("ticketd_operations_total", "Requests of operators.", counters.operations);
    page.counter("ticketd_dials_total", "Attempts to connect to a peer.", counters.dials);
    page.counter("ticketd_dials_failed_total", "Attempts that failed.", counters.dials_failed);
    page.counter("ticketd_links_broken_total", "Links that were up and broke.", counters.links_broken);
}

fn render_storage(page: &mut Exposition, ctx: &Context, storage: &StorageCounts) {
    page.counter("ticketd_storage_writes_total", "Writes that became durable.", storage.writes);
    page.times(
        "ticketd_storage_sync_duration_seconds",
        "How long a transaction took until it was durable. The count is the number of transactions.",
        &storage.transactions,
    );
    page.counter(
        "ticketd_storage_checkpoints_total",
        "Transactions that brought all that waited in the journal to the data file.",
        storage.checkpoints,
    );
    page.gauge("ticketd_storage_data_file_bytes", "Size of the data file's pages.", storage.data_file_bytes);
    page.gauge(
        "ticketd_storage_data_file_max_bytes",
        "What they may grow to (--db_size).",
        storage.map_bytes,
    );
    page.gauge("ticketd_storage_waiting_writes", "Writes that wait for the disk.", storage.waiting);
    page.gauges(
        "ticketd_storage_oldest_write_seconds",
        "How long the oldest of them has waited. It grows as long as the disk does not answer.",
    )
    .sample("", Seconds(ctx.disk_wait_us().unwrap_or(0)));
    page.counter(
        "ticketd_storage_failures_total",
        "1 once a write has failed, or the store is gone or has lost entries: this node takes no part.",
        u64::from(ctx.node.raft().is_muted()),
    );
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
