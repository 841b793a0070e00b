//! What a node knows about itself and its cluster, as JSON: for `ticketd status`, and over HTTP.

use std::fmt::Write;

use raft_core::{Membership, NodeId, Role, Suffrage};

use super::context::{Context, Me};
use super::peers::links::{LinkStatus, Links};
use crate::node::{MemberStatus, NodeStatus};

/// One JSON object, on one line.
pub(super) fn json(ctx: &Context, links: &Links) -> String {
    let status = ctx.node.status();
    let times = Times { uptime_seconds: ctx.clock.uptime_seconds(), disk_wait_us: ctx.disk_wait_us() };
    let link = |member: &MemberStatus| links.status(ctx, member.peer);
    render(&ctx.me, &status, times, |member| {
        link(member).map(|LinkStatus { is_up, last_heard, .. }| LinkView {
            is_up,
            last_heard_ms: last_heard
                .filter(|_| has_reason_to_send(ctx, member.peer.id))
                .map(|heard| ctx.now().since(heard) / 1_000),
        })
    })
}

/// Whether a member has reason to send anything to this node.
pub(super) fn has_reason_to_send(ctx: &Context, member: NodeId) -> bool {
    sends_to(&ctx.membership, ctx.leader, ctx.me.peer.id, member)
}

/// Whether a member has reason to send anything to node `me`. Followers send only to their leader; if there
/// is none, voters ask each other, and nobody sends to a learner.
fn sends_to(membership: &Membership, leader: Option<NodeId>, me: NodeId, member: NodeId) -> bool {
    match leader {
        Some(leader) => leader == me || leader == member,
        None => membership.is_voter(me) && membership.is_voter(member),
    }
}

/// A link, as shown in the JSON object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LinkView {
    is_up: bool,
    last_heard_ms: Option<u64>,
}

/// What depends on a clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Times {
    uptime_seconds: u64,
    disk_wait_us: Option<u64>,
}

/// `link` returns `None` for a member to which this node has no link, such as itself.
fn render(
    me: &Me,
    status: &NodeStatus,
    times: Times,
    link: impl Fn(&MemberStatus) -> Option<LinkView>,
) -> String {
    let mut object = Object::begin(String::with_capacity(512 + 256 * status.members.len()));
    object.number("id", me.peer.id.get());
    object.text("incarnation", &me.peer.incarnation.to_string());
    object.text("cluster", &me.cluster.to_string());
    object.text("version", env!("CARGO_PKG_VERSION"));
    object.text("role", role_name(status.role));
    object.number("term", status.term.0);
    object.number_or_null("leader", status.leader.map(|leader| leader.get()));
    object.number("commit_index", status.commit_index.0);
    object.number("applied_index", status.applied_index.0);
    object.number("last_log_index", status.last_log_index.0);
    object.number("next_unreserved", status.next_unreserved);
    object.number("next_unreserved_in_log", status.next_unreserved_in_log);
    object.value("window", &window_json(status));
    object.value("holds_lease", if status.holds_lease { "true" } else { "false" });
    object.value("write_failed", if status.is_muted { "true" } else { "false" });
    object.number_or_null("disk_waits_ms", times.disk_wait_us.map(|us| us / 1_000));
    object.text("peer_address", &me.peer_address);
    object.text("client_address", &me.client_address);
    object.number("uptime_seconds", times.uptime_seconds);
    object.value("settings", &settings_json(&me.settings));
    let members: Vec<String> =
        status.members.iter().map(|member| member_json(me, member, link(member))).collect();
    object.value("members", &format!("[{}]", members.join(",")));
    object.end()
}

fn settings_json(settings: &[(String, String)]) -> String {
    let mut object = Object::begin(String::new());
    for (name, value) in settings {
        object.text(name, value);
    }
    object.end()
}

fn window_json(status: &NodeStatus) -> String {
    let Some(window) = status.window else { return "null".to_owned() };
    let mut object = Object::begin(String::new());
    object.number("next_id", window.next_id);
    object.number("left", window.left);
    object.end()
}

fn member_json(me: &Me, member: &MemberStatus, link: Option<LinkView>) -> String {
    let mut object = Object::begin(String::with_capacity(256));
    object.number("id", member.peer.id.get());
    object.text("incarnation", &member.peer.incarnation.to_string());
    object.text("suffrage", suffrage_name(member.suffrage));
    object.text("peer_address", &member.peer_address);
    object.text("client_address", &member.client_address);
    object.number_or_null("match_index", member.match_index.map(|index| index.0));
    let link_name = match link {
        _ if member.peer == me.peer => "self",
        Some(LinkView { is_up: true, .. }) => "up",
        Some(LinkView { is_up: false, .. }) | None => "down",
    };
    object.text("link", link_name);
    object.number_or_null("last_heard_ms", link.and_then(|link| link.last_heard_ms));
    object.end()
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}

fn suffrage_name(suffrage: Suffrage) -> &'static str {
    match suffrage {
        Suffrage::Voter => "voter",
        Suffrage::Learner => "learner",
    }
}

/// A JSON object being built. Names are our own and need no escaping. Writing to a `String` cannot fail, so
/// the results of `write!` are ignored.
struct Object {
    json: String,
}

impl Object {
    fn begin(mut json: String) -> Object {
        json.push('{');
        Object { json }
    }

    fn end(mut self) -> String {
        self.json.push('}');
        self.json
    }

    fn name(&mut self, name: &str) {
        if !self.json.ends_with('{') {
            self.json.push(',');
        }
        let _ = write!(self.json, "\"{name}\":");
    }

    /// `value` is JSON already.
    fn value(&mut self, name: &str, value: &str) {
        self.name(name);
        self.json.push_str(value);
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        let _ = write!(self.json, "{value}");
    }

    fn number_or_null(&mut self, name: &str, value: Option<u64>) {
        match value {
            Some(value) => self.number(name, value),
            None => self.value(name, "null"),
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        escape(value, &mut self.json);
    }
}

/// A JSON string (RFC 8259 §7).
fn escape(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{0}'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            ' '.. => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClusterId;
    use crate::node::WindowStatus;
    use raft_core::{Incarnation, LogIndex, NodeId, Peer, Term};

    fn peer(id: u64) -> Peer {
        Peer { id: NodeId::new(id).unwrap(), incarnation: Incarnation(u128::from(id)) }
    }

    fn member(id: u64, suffrage: Suffrage, match_index: Option<LogIndex>) -> MemberStatus {
        let peer_address = format!("h{id}:9000");
        let client_address = format!("h{id}:8000");
        MemberStatus { peer: peer(id), suffrage, peer_address, client_address, match_index }
    }

    #[test]
    fn a_leader_with_a_lost_learner_is_told_in_full() {
        let me = Me {
            peer: peer(1),
            cluster: ClusterId(255),
            joined_at: LogIndex(1),
            peer_address: "h1:9000".to_owned(),
            client_address: "h1:8000".to_owned(),
            settings: [("window", "7"), ("http_unix", "/a\"b")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let status = NodeStatus {
            role: Role::Leader,
            term: Term(4),
            leader: Some(peer(1).id),
            commit_index: LogIndex(12),
            applied_index: LogIndex(11),
            last_log_index: LogIndex(13),
            next_unreserved: 1001,
            next_unreserved_in_log: 2001,
            window: Some(WindowStatus { next_id: 17, left: 984 }),
            holds_lease: false,
            is_muted: false,
            members: vec![member(1, Suffrage::Voter, Some(LogIndex(13))), member(2, Suffrage::Learner, None)],
        };
        let lost = LinkView { is_up: false, last_heard_ms: Some(5) };
        let times = Times { uptime_seconds: 60, disk_wait_us: Some(2_345_678) };
        let json = render(&me, &status, times, |member| (member.peer != me.peer).then_some(lost));
        let expected = concat!(
            r#"{"id":1,"incarnation":"00000000000000000000000000000001","#,
            r#""cluster":"000000000000000000000000000000ff","version":""#,
            env!("CARGO_PKG_VERSION"),
            r#"","role":"leader","term":4,"leader":1,"#,
            r#""commit_index":12,"applied_index":11,"last_log_index":13,"#,
            r#""next_unreserved":1001,"next_unreserved_in_log":2001,"#,
            r#""window":{"next_id":17,"left":984},"holds_lease":false,"write_failed":false,"#,
            r#""disk_waits_ms":2345,"peer_address":"h1:9000","client_address":"h1:8000","#,
            r#""uptime_seconds":60,"#,
            r#""settings":{"window":"7","http_unix":"/a\"b"},"#,
            r#""members":[{"id":1,"incarnation":"00000000000000000000000000000001","suffrage":"voter","#,
            r#""peer_address":"h1:9000","client_address":"h1:8000","match_index":13,"#,
            r#""link":"self","last_heard_ms":null},"#,
            r#"{"id":2,"incarnation":"00000000000000000000000000000002","suffrage":"learner","#,
            r#""peer_address":"h2:9000","client_address":"h2:8000","match_index":null,"#,
            r#""link":"down","last_heard_ms":5}]}"#,
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn members_speak_with_their_leader_and_without_one_voters_speak_with_each_other() {
        let mut membership = Membership::default();
        for (id, suffrage) in [(1, Suffrage::Voter), (2, Suffrage::Voter), (3, Suffrage::Learner)] {
            let peer_address = format!("h{id}:9000");
            let client_address = format!("h{id}:8000");
            let incarnation = peer(id).incarnation;
            let member = raft_core::Member { incarnation, suffrage, peer_address, client_address };
            membership.members.insert(peer(id).id, member);
        }
        let sends = |leader: Option<u64>, me, member| {
            sends_to(&membership, leader.map(|id| peer(id).id), peer(me).id, peer(member).id)
        };
        assert!(sends(Some(1), 1, 2) && sends(Some(1), 1, 3), "all speak with a leader");
        assert!(sends(Some(1), 3, 1) && !sends(Some(1), 3, 2) && !sends(Some(1), 2, 3));
        assert!(sends(None, 1, 2) && !sends(None, 1, 3) && !sends(None, 3, 1));
    }

    #[test]
    fn what_json_reserves_is_escaped() {
        let mut out = String::new();
        escape("a\"b\\c\nd\u{1f}\u{7f}é", &mut out);
        assert_eq!(out, "\"a\\\"b\\\\c\\u000ad\\u001f\u{7f}é\"");
    }
}
