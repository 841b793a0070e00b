//! What a Hello from the other node does to this node's link to it.

use std::net::TcpStream;

use crate::node::testing::peer;
use crate::peer::{Frame, Welcome};
use crate::server::limits::{CONNECT_US_MAX, LINK_SETTLED_US, LINKS_MAX, REDIAL_DELAY_US_MAX};
use crate::server::peers::links::Link;
use crate::server::testing::{Bench, Port, is_greeting, is_waiting, receive, send};

fn at(port: &Port) -> String {
    port.address().to_string()
}

/// A link that is connecting to this port, where nobody answers, after many failed attempts.
fn connecting_in_vain_to(port: &Port) -> Bench {
    let mut bench = Bench::with_link_to(&at(port));
    for _ in 0..20 {
        bench.pass(REDIAL_DELAY_US_MAX);
        bench.pass(CONNECT_US_MAX);
    }
    bench.pass(REDIAL_DELAY_US_MAX);
    assert_eq!(bench.connects_to(), Some(port.address()));
    bench
}

/// A link that was welcomed at this port a while ago.
fn up_at(port: &Port) -> (Bench, TcpStream) {
    let mut bench = Bench::with_link_to(&at(port));
    bench.pass(0);
    let other_end = bench.be_welcomed_at(port);
    bench.pass(LINK_SETTLED_US);
    (bench, other_end)
}

#[test]
fn a_node_that_says_hello_is_dialled_at_once_where_it_says_that_it_is() {
    let (former, port) = (Port::open(), Port::open());
    let mut connecting = connecting_in_vain_to(&former);
    connecting.hello_from(&at(&port));
    assert_eq!(connecting.connects_to(), Some(port.address()));
    connecting.be_welcomed_at(&port);

    let mut greeting = connecting_in_vain_to(&former);
    greeting.run_until("it says Hello", is_greeting);
    greeting.hello_from(&at(&port));
    assert_eq!(greeting.connects_to(), Some(port.address()));

    let mut resolving = Bench::with_link_to("node2.test:9000");
    resolving.pass(0);
    resolving.hello_from(&at(&port));
    assert_eq!(resolving.connects_to(), Some(port.address()));
}

#[test]
fn after_a_hello_the_second_attempt_comes_as_soon_as_if_the_link_had_just_broken() {
    let port = Port::open();
    let mut bench = connecting_in_vain_to(&port);
    bench.hello_from(&at(&port));
    bench.pass(CONNECT_US_MAX);
    assert!(is_waiting(bench.link()), "{:?}", bench.link());
    bench.pass(0);
    assert_eq!(bench.connects_to(), Some(port.address()));
}

#[test]
fn an_attempt_that_follows_one_that_was_cut_short_is_left_alone_and_the_next_goes_to_the_latest_address() {
    let (former, second, third) = (Port::open(), Port::open(), Port::open());
    let mut bench = connecting_in_vain_to(&former);
    bench.hello_from(&at(&second));
    bench.hello_from(&at(&third));
    assert_eq!(bench.connects_to(), Some(second.address()));
    bench.pass(CONNECT_US_MAX);
    bench.pass(0);
    assert_eq!(bench.connects_to(), Some(third.address()));
    bench.hello_from(&at(&second));
    assert_eq!(bench.connects_to(), Some(second.address()), "the last has come to its end");
}

/// Both nodes connect, both say Hello, and each hears the other's Hello before it is welcomed, however long a
/// round trip takes.
#[test]
fn two_nodes_that_say_hello_to_each_other_in_step_come_to_be_connected() {
    let ports = [Port::open(), Port::open()];
    let addresses = [at(&ports[0]), at(&ports[1])];
    // The first node dials the second port and is reached at the first.
    let mut nodes = [Bench::with_link_to(&addresses[1]), Bench::with_link_to(&addresses[0])];
    for node in &mut nodes {
        node.pass(0);
    }
    let mut rounds = 0;
    while nodes.iter().any(|node| !node.link().is_up()) {
        rounds += 1;
        assert!(rounds <= 2, "they cut each other short for ever");
        let mut accepted = Vec::new();
        for (node, port) in nodes.iter_mut().zip(ports.iter().rev()) {
            node.run_until("it says Hello", is_greeting);
            let mut stream = port.accept();
            assert!(matches!(receive(&mut stream), Frame::Hello(_)));
            // Long enough for every time limit to have passed.
            node.pass(2 * LINK_SETTLED_US);
            accepted.push(stream);
        }
        for (node, address) in nodes.iter_mut().zip(addresses.iter().rev()) {
            node.hello_from(address);
        }
        for (node, mut stream) in nodes.iter_mut().zip(accepted) {
            if is_greeting(node.link()) {
                send(&mut stream, &Frame::Welcome(Welcome { commit_index: raft_core::LogIndex(1) }));
                node.run_until("it is up", Link::is_up);
            }
        }
    }
}

#[test]
fn a_link_is_up_in_the_end_however_many_hellos_come() {
    let port = Port::open();
    let address = at(&port);
    let mut bench = Bench::with_link_to(&address);
    bench.pass(0);
    bench.hello_from(&address);
    while !is_greeting(bench.link()) {
        bench.hello_from(&address);
        bench.turn();
    }
    // The attempt that was cut short.
    drop(port.accept());
    let mut stream = port.accept();
    assert!(matches!(receive(&mut stream), Frame::Hello(_)));
    send(&mut stream, &Frame::Welcome(Welcome { commit_index: raft_core::LogIndex(1) }));
    while !bench.link().is_up() {
        bench.hello_from(&address);
        bench.turn();
    }
}

#[test]
fn a_link_that_is_up_to_a_place_that_the_node_has_left_is_given_up() {
    let (former, port) = (Port::open(), Port::open());
    let (mut bench, _other_end) = up_at(&former);
    bench.hello_from(&at(&former));
    assert!(bench.link().is_up(), "it is still there");
    bench.hello_from(&at(&port));
    assert_eq!(bench.connects_to(), Some(port.address()));
    bench.be_welcomed_at(&port);
}

#[test]
fn a_link_that_has_only_just_come_up_is_kept_and_what_is_dialled_next_is_the_new_address() {
    let (former, port) = (Port::open(), Port::open());
    let mut bench = Bench::with_link_to(&at(&former));
    bench.pass(0);
    let other_end = bench.be_welcomed_at(&former);
    bench.hello_from(&at(&port));
    assert!(bench.link().is_up());
    bench.break_off(other_end);
    assert_eq!(bench.connects_to(), Some(port.address()));
}

/// It may have come up at the former address only because the process there was being restarted.
#[test]
fn a_link_that_was_kept_to_a_place_that_the_node_has_left_is_given_up_once_it_has_been_up_for_a_while() {
    let (former, port) = (Port::open(), Port::open());
    let mut bench = Bench::with_link_to(&at(&former));
    bench.pass(0);
    let _other_end = bench.be_welcomed_at(&former);
    bench.hello_from(&at(&port));
    bench.links.follow_moves(&mut bench.ctx);
    assert!(bench.link().is_up());
    bench.pass(LINK_SETTLED_US);
    bench.links.follow_moves(&mut bench.ctx);
    bench.pass(0);
    assert_eq!(bench.connects_to(), Some(port.address()));
    let _other_end = bench.be_welcomed_at(&port);
    assert!(bench.link().is_reached());
    bench.pass(LINK_SETTLED_US);
    bench.links.follow_moves(&mut bench.ctx);
    assert!(bench.link().is_up(), "it is where it should be");
}

/// Its connection to this node shows that it lives.
#[test]
fn a_node_that_is_not_where_it_says_that_it_is_is_not_reported_gone() {
    let (former, port) = (Port::open(), Port::open());
    let (mut bench, _other_end) = up_at(&former);
    let nowhere = port.close().to_string();
    bench.hello_from(&nowhere);
    bench.ctx.wake();
    bench.run_until("it refuses", is_waiting);
    assert!(!bench.take_report());
    bench.pass(REDIAL_DELAY_US_MAX);
    let _other_end = bench.be_welcomed_at(&former);
    assert!(!bench.link().is_reached(), "it is only where it was");
}

/// The node announces an address where it cannot be reached from here; at its recorded address it can.
#[test]
fn a_link_that_is_up_elsewhere_is_not_given_up_again_for_an_address_that_was_tried() {
    let (recorded, announced) = (Port::open(), Port::open());
    let (mut bench, _other_end) = up_at(&recorded);
    bench.hello_from(&at(&announced));
    assert_eq!(bench.connects_to(), Some(announced.address()));
    bench.pass(CONNECT_US_MAX);
    bench.pass(REDIAL_DELAY_US_MAX);
    assert_eq!(bench.connects_to(), Some(recorded.address()));
    let _other_end = bench.be_welcomed_at(&recorded);
    bench.pass(LINK_SETTLED_US);
    bench.hello_from(&at(&announced));
    assert!(bench.link().is_up());
}

#[test]
fn a_node_keeps_a_bounded_number_of_links_whoever_says_hello() {
    let mut bench = Bench::with_link_to(&at(&Port::open()));
    for id in 100..1_000 {
        bench.links.on_hello(&mut bench.ctx, peer(id), "127.0.0.1:1");
    }
    assert_eq!(bench.links.links.len(), LINKS_MAX);
    bench.hello_from("127.0.0.1:2");
    assert_eq!(bench.link().whereabouts.claimed(), "127.0.0.1:2", "one that has a link keeps it");
}
