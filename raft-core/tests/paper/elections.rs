//! Terms and elections (Raft §5.1, §5.2, §5.4.1; dissertation §3.10, §4.2.3, §9.6).

use raft_core::{Message, Role, Term};

use crate::harness::ELECTION_TIMEOUT_US;
use crate::harness::cluster::Cluster;

/// A vote that takes longer to write than an election timeout is still one vote in one term.
#[test]
fn a_candidate_whose_own_vote_is_not_durable_waits_for_it_and_enters_no_further_term() {
    let mut cluster = Cluster::new(&[1]);
    cluster.stalled.insert(1);
    for _ in 0..20 {
        cluster.wake(1);
    }
    assert_eq!(cluster.nodes[&1].raft.current_term(), Term(2));
    assert_eq!(
        cluster.nodes[&1].disk.pending(),
        1,
        "writes that wait for a stalled disk do not grow in number"
    );
    cluster.sync_one(1);
    assert_eq!(cluster.role(1), Role::Leader);
}

/// Quick failover is for the moment in which the others find out as well; without a majority it would otherwise
/// ask many times a heartbeat for as long as the others are down.
#[test]
fn a_voter_left_alone_asks_quickly_for_an_election_timeout_and_then_patiently() {
    let mut cluster = Cluster::led_by_1(&[1, 2, 3]);
    let asked_within = |cluster: &mut Cluster, us: u64| {
        let end = cluster.nodes[&2].now.plus(us);
        let mut asked = 0;
        while cluster.nodes[&2].raft.deadline().is_some_and(|at| at < end) {
            cluster.wake(2);
            asked += cluster.take(2, 3).iter().filter(|e| matches!(e.message, Message::PreVote(_))).count();
        }
        asked
    };
    cluster.unreachable(2, 1);
    let at_first = asked_within(&mut cluster, ELECTION_TIMEOUT_US);
    assert!(at_first >= 5, "{at_first} times in the first election timeout");
    let later = asked_within(&mut cluster, 20 * ELECTION_TIMEOUT_US);
    assert!((10..=21).contains(&later), "{later} times in the next twenty");
}
