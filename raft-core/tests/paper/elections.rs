//! Terms and elections (Raft §5.1, §5.2, §5.4.1; dissertation §3.10, §4.2.3, §9.6).

use raft_core::{Role, Term};

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
