//! Links to peers that are known by a name, while name servers and addresses fail.

use log::Level;
use raft_core::{LogIndex, NodeId, Peer};

use crate::node::testing::peer;
use crate::peer::Refuse;
use crate::server::limits::{
    ABSENCE_US_MIN, CONNECT_US_MAX, LAST_WORDS_US_MAX, LOG_LINES_AT_ONCE_MAX, REDIAL_DELAY_US_MAX,
    REMINDER_INTERVAL_US, RESOLVE_US_MAX,
};
use crate::server::testing::{Bench, OTHER, Port, is_resolving, is_waiting};

const NAME: &str = "node2.test:9000";

/// A link that is up. Its name had these addresses, of which only the last works.
fn up_at(dead: &[&Port], port: &Port) -> (Bench, std::net::TcpStream) {
    let mut bench = Bench::with_link_to(NAME);
    bench.pass(0);
    let addresses: Vec<_> = dead.iter().map(|dead| dead.address()).chain([port.address()]).collect();
    bench.resolve(NAME, &addresses);
    for _ in dead {
        // The connection's socket events are not processed: the attempt times out.
        bench.pass(CONNECT_US_MAX);
    }
    let other_end = bench.be_welcomed_at(port);
    assert!(!bench.take_report());
    (bench, other_end)
}

#[test]
fn a_link_comes_up_again_while_no_name_can_be_resolved() {
    let port = Port::open();
    let (mut bench, other_end) = up_at(&[], &port);
    bench.break_off(other_end);
    assert_eq!(bench.connects_to(), Some(port.address()));
    let other_end = bench.be_welcomed_at(&port);
    bench.break_off(other_end);
    bench.fail_to_resolve(NAME);
    bench.be_welcomed_at(&port);
}

#[test]
fn a_peer_that_comes_back_while_no_name_can_be_resolved_is_found() {
    let port = Port::open();
    let (mut bench, other_end) = up_at(&[], &port);
    let address = port.close();
    bench.break_off(other_end);
    for _ in 0..3 {
        bench.run_until("it waits for the name servers", is_resolving);
        bench.pass(RESOLVE_US_MAX);
        assert!(is_waiting(bench.link()), "{:?}", bench.link());
        bench.pass(REDIAL_DELAY_US_MAX);
        assert_eq!(bench.connects_to(), Some(address));
    }
}

#[test]
fn a_name_that_takes_long_ends_the_attempt_and_its_answer_is_used_when_it_comes() {
    let port = Port::open();
    let mut bench = Bench::with_link_to(NAME);
    bench.pass(0);
    assert!(is_resolving(bench.link()));
    let deadline = bench.links.deadline(bench.ctx.silence_from).unwrap();
    assert_eq!(deadline.since(bench.ctx.now()), RESOLVE_US_MAX);
    bench.pass(RESOLVE_US_MAX);
    assert!(is_waiting(bench.link()));
    assert_eq!(bench.ctx.counters.dials_failed, 1);
    bench.resolve(NAME, &[port.address()]);
    bench.be_welcomed_at(&port);
}

/// So that the end of a partition is noticed soon, however long it has lasted.
#[test]
fn an_attempt_that_nothing_answers_is_followed_by_the_next_at_once() {
    let mut bench = Bench::with_link_to(NAME);
    for attempt in 0..20 {
        bench.pass(0);
        assert!(is_resolving(bench.link()), "attempt {attempt}");
        bench.pass(RESOLVE_US_MAX);
        assert!(is_waiting(bench.link()), "attempt {attempt}");
        assert_eq!(bench.links.deadline(bench.ctx.silence_from), Some(bench.ctx.now()), "attempt {attempt}");
    }
}

#[test]
fn an_address_that_swallows_connections_costs_its_timeout_once_and_not_each_time() {
    let (dead, port) = (Port::open(), Port::open());
    let (mut bench, other_end) = up_at(&[&dead], &port);
    bench.break_off(other_end);
    assert_eq!(bench.connects_to(), Some(port.address()));
    bench.resolve(NAME, &[dead.address(), port.address()]);
    bench.be_welcomed_at(&port);
}

#[test]
fn a_peer_that_has_left_its_last_address_is_dialled_where_its_name_leads_as_soon_as_that_is_known() {
    let (former, port) = (Port::open(), Port::open());
    let (mut bench, other_end) = up_at(&[], &former);
    bench.break_off(other_end);
    assert_eq!(bench.connects_to(), Some(former.address()));
    bench.resolve(NAME, &[port.address()]);
    assert_eq!(bench.connects_to(), Some(port.address()), "and no time has passed");
    bench.be_welcomed_at(&port);
}

#[test]
fn somebody_else_at_the_last_address_does_not_keep_the_peer_from_being_found() {
    let (former, port) = (Port::open(), Port::open());
    let (mut bench, other_end) = up_at(&[], &former);
    bench.break_off(other_end);
    bench.be_refused_at(&former);
    assert!(is_resolving(bench.link()), "{:?}", bench.link());
    bench.resolve(NAME, &[port.address()]);
    bench.be_welcomed_at(&port);
    assert!(!bench.take_report());
}

#[test]
fn a_peer_whose_every_address_refuses_is_reported_gone_at_once() {
    let (first, port) = (Port::open(), Port::open());
    let (mut bench, other_end) = up_at(&[&first], &port);
    let addresses = [first.close(), port.close()];
    bench.break_off(other_end);
    bench.run_until("the last address refuses", is_resolving);
    assert!(!bench.take_report(), "its name may have others");
    bench.resolve(NAME, &addresses);
    bench.run_until("the other refuses", is_waiting);
    assert!(bench.take_report());
}

#[test]
fn a_peer_that_refuses_where_it_was_last_is_reported_gone_once_its_name_cannot_be_resolved() {
    let port = Port::open();
    let (mut bench, other_end) = up_at(&[], &port);
    port.close();
    bench.break_off(other_end);
    bench.run_until("the last address refuses", is_resolving);
    assert!(!bench.take_report());
    bench.fail_to_resolve(NAME);
    assert!(bench.take_report());
}

#[test]
fn a_peer_that_refuses_where_it_was_last_is_reported_gone_although_its_name_or_another_address_says_nothing()
{
    for is_resolved in [false, true] {
        let (dead, port) = (Port::open(), Port::open());
        let (mut bench, other_end) = up_at(&[&dead], &port);
        let address = port.close();
        bench.break_off(other_end);
        bench.run_until("the last address refuses", is_resolving);
        if is_resolved {
            bench.resolve(NAME, &[dead.address(), address]);
        }
        let deadline = bench.links.deadline(bench.ctx.silence_from).unwrap();
        assert_eq!(deadline.since(bench.ctx.now()), ABSENCE_US_MIN);
        assert!(!bench.take_report());
        bench.pass(ABSENCE_US_MIN);
        assert!(bench.take_report(), "resolved: {is_resolved}");
        bench.pass(ABSENCE_US_MIN);
        assert!(!bench.take_report(), "it was said");
        assert!(
            bench.links.deadline(bench.ctx.silence_from).unwrap() > bench.ctx.now(),
            "the loop would spin"
        );
    }
}

#[test]
fn a_peer_that_refuses_where_it_was_last_and_listens_elsewhere_is_not_reported_gone() {
    let (former, port) = (Port::open(), Port::open());
    let (mut bench, other_end) = up_at(&[], &former);
    let address = former.close();
    bench.break_off(other_end);
    bench.run_until("the last address refuses", is_resolving);
    bench.resolve(NAME, &[address, port.address()]);
    let other_end = bench.be_welcomed_at(&port);
    bench.pass(10 * ABSENCE_US_MIN);
    assert!(!bench.take_report());
    bench.break_off(other_end);
    assert_eq!(bench.connects_to(), Some(port.address()), "that is the last address now");
}

#[test]
fn a_node_that_has_not_heard_yet_of_its_own_joining_does_not_warn_of_members_that_are_none_any_more() {
    for (joined_at, warns) in [(LogIndex(2), false), (LogIndex(1), true)] {
        let port = Port::open();
        let mut bench = Bench::with_link_to(&port.address().to_string());
        assert_eq!(bench.ctx.node.commit_index(), LogIndex(1));
        bench.ctx.me.joined_at = joined_at;
        bench.pass(0);
        bench.be_refused_at(&port);
        assert_eq!(bench.link().log.refusal().is_some(), warns, "joined at {joined_at}");
        assert!(is_waiting(bench.link()), "{:?}", bench.link());
    }
}

/// The news and the refusal may come in the same turn.
#[test]
fn a_node_that_has_just_heard_that_a_member_was_replaced_does_not_warn_that_it_is_refused_there() {
    for (is_former, warns) in [(true, false), (false, true)] {
        let port = Port::open();
        let mut bench = Bench::with_link_to(&port.address().to_string());
        if is_former {
            bench.links.links[0].peer.incarnation = peer(9).incarnation;
        }
        bench.pass(0);
        bench.be_refused_at(&port);
        assert_eq!(bench.link().log.refusal().is_some(), warns, "{:?}", bench.link().peer);
        assert!(is_waiting(bench.link()), "{:?}", bench.link());
    }
}

/// The member that it knows may have been replaced while it was away.
#[test]
fn a_node_that_knows_no_leader_does_not_warn_of_another_node_with_the_number_of_a_member() {
    let port = Port::open();
    let mut bench = Bench::with_link_to(&port.address().to_string());
    let me = Peer { incarnation: peer(9).incarnation, ..peer(OTHER) };
    for (leader, level) in [(None, Level::Info), (NodeId::new(1), Level::Warn)] {
        bench.ctx.leader = leader;
        bench.pass(REDIAL_DELAY_US_MAX);
        bench.be_refused_by(me, &port);
        assert_eq!(
            bench.link().log.refusal(),
            Some((Refuse::NotMe { me }, level)),
            "the leader is {leader:?}"
        );
    }
}

/// Otherwise the log ends with a link that is up although it is down, or down although it is up.
#[test]
fn a_link_that_breaks_too_often_for_each_break_to_be_logged_is_told_as_it_is_in_the_end() {
    let port = Port::open();
    let mut bench = Bench::with_link_to(&port.address().to_string());
    bench.pass(0);
    for _ in 0..LOG_LINES_AT_ONCE_MAX {
        let other_end = bench.be_welcomed_at(&port);
        bench.break_off(other_end);
    }
    let other_end = bench.be_welcomed_at(&port);
    let untold = |bench: &Bench| bench.link().log.untold().map(str::to_owned);
    assert!(untold(&bench).is_some_and(|line| line.ends_with(" is up")), "{:?}", untold(&bench));
    port.close();
    bench.break_off(other_end);
    bench.run_until("it refuses", is_waiting);
    assert!(untold(&bench).is_some_and(|line| line.contains(" broke: ")), "{:?}", untold(&bench));
    bench.links.log_suppressed_changes(bench.ctx.now());
    assert!(untold(&bench).is_some(), "so many lines are not permitted");
    bench.links.log_suppressed_changes(bench.ctx.now().plus(REMINDER_INTERVAL_US));
    assert_eq!(untold(&bench), None);
}

/// A firewall may refuse the connections of one direction alone.
#[test]
fn a_peer_that_is_heard_after_the_link_broke_is_not_reported_gone_however_often_it_refuses() {
    let port = Port::open();
    let address = port.address().to_string();
    let mut bench = Bench::with_link_to(&address);
    bench.pass(0);
    let other_end = bench.be_welcomed_at(&port);
    port.close();
    bench.break_off(other_end);
    bench.run_until("it refuses", is_waiting);
    assert!(bench.take_report());
    for (heard_after, is_reported) in [(LAST_WORDS_US_MAX, true), (1, false), (REDIAL_DELAY_US_MAX, false)] {
        bench.pass(heard_after);
        bench.links.on_heard(bench.ctx.now(), bench.link().peer);
        bench.pass(REDIAL_DELAY_US_MAX);
        bench.run_until("it refuses again", is_waiting);
        assert_eq!(bench.take_report(), is_reported, "heard {heard_after} us later");
    }
}

#[test]
fn a_peer_whose_last_address_does_not_answer_is_not_reported_gone() {
    let port = Port::open();
    let (mut bench, other_end) = up_at(&[], &port);
    bench.break_off(other_end);
    bench.fail_to_resolve(NAME);
    bench.pass(CONNECT_US_MAX);
    assert!(is_waiting(bench.link()), "{:?}", bench.link());
    assert!(!bench.take_report());
}
