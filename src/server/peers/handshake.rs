//! Who may speak to whom: the acceptor's answer to a Hello, and the dialler's reading of a refusal. Pure.

use raft_core::{LogIndex, Peer};

use crate::identity::ClusterId;
use crate::peer::{Hello, Refuse, Welcome};

/// What a node knows about itself when it judges a Hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Acceptor {
    pub(crate) cluster: ClusterId,
    pub(crate) me: Peer,
    pub(crate) commit_index: LogIndex,
    pub(crate) store: StoreUse,
}

/// Whether a node still has the store that makes it the member that it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreUse {
    /// As far as it knows.
    Member,
    /// The store lacks what the member acknowledged. The true one may be in use by another process, and
    /// whoever is connected with this one takes it for that one.
    Nobody,
}

/// Whether the sender of a Hello belongs to the cluster, as far as the acceptor can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Caller {
    /// It belongs to the cluster, or the acceptor may not have heard of it yet: raft-core decides whose vote
    /// counts.
    Possible,
    /// A committed membership at least as new as everything the caller knows does not contain it.
    Removed,
}

impl Acceptor {
    /// Whether `hello` opens a link.
    pub(crate) fn judge(&self, hello: &Hello, caller: Caller) -> Result<Welcome, Refuse> {
        let commit_index = self.commit_index;
        if hello.cluster != self.cluster {
            Err(Refuse::WrongCluster)
        } else if hello.to != self.me || hello.from == self.me || self.store == StoreUse::Nobody {
            // No node dials itself. One that welcomed itself would dial back, and report itself as silent.
            Err(Refuse::NotMe { me: self.me })
        } else if caller == Caller::Removed {
            Err(Refuse::Removed { commit_index })
        } else {
            Ok(Welcome { commit_index })
        }
    }
}

/// Whether a node really was removed, if another node at `their_commit_index` refuses it as removed. A node
/// that has not yet heard that this one joined would refuse it in the same way.
pub(crate) fn is_removed(
    their_commit_index: LogIndex,
    my_commit_index: LogIndex,
    joined_at: LogIndex,
) -> bool {
    their_commit_index >= my_commit_index.max(joined_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Incarnation, NodeId};

    fn peer(id: u64) -> Peer {
        Peer { id: NodeId::new(id).unwrap(), incarnation: Incarnation(u128::from(id)) }
    }

    fn acceptor() -> Acceptor {
        Acceptor { cluster: ClusterId(77), me: peer(1), commit_index: LogIndex(10), store: StoreUse::Member }
    }

    fn hello() -> Hello {
        Hello {
            cluster: ClusterId(77),
            from: peer(2),
            to: peer(1),
            commit_index: LogIndex(9),
            peer_address: "a:1".to_owned(),
            client_address: "a:2".to_owned(),
        }
    }

    #[test]
    fn whoever_may_be_a_member_is_welcome() {
        let welcome = Welcome { commit_index: LogIndex(10) };
        assert_eq!(acceptor().judge(&hello(), Caller::Possible), Ok(welcome));
    }

    #[test]
    fn whoever_was_removed_is_told_so_and_by_whom() {
        let refusal = Refuse::Removed { commit_index: LogIndex(10) };
        assert_eq!(acceptor().judge(&hello(), Caller::Removed), Err(refusal));
    }

    #[test]
    fn a_caller_from_another_cluster_is_told_that_and_nothing_of_ours() {
        let stranger = Hello { cluster: ClusterId(78), to: peer(8), ..hello() };
        for caller in [Caller::Possible, Caller::Removed] {
            assert_eq!(acceptor().judge(&stranger, caller), Err(Refuse::WrongCluster));
        }
    }

    #[test]
    fn a_call_for_another_node_or_another_life_of_this_one_is_refused() {
        let other_life = Peer { incarnation: Incarnation(99), ..peer(1) };
        for to in [peer(3), other_life] {
            let verdict = acceptor().judge(&Hello { to, ..hello() }, Caller::Possible);
            assert_eq!(verdict, Err(Refuse::NotMe { me: peer(1) }));
        }
    }

    #[test]
    fn a_caller_that_says_that_it_is_this_node_is_refused() {
        let verdict = acceptor().judge(&Hello { from: peer(1), ..hello() }, Caller::Possible);
        assert_eq!(verdict, Err(Refuse::NotMe { me: peer(1) }));
        let former_life = Peer { incarnation: Incarnation(99), ..peer(1) };
        let hello = Hello { from: former_life, ..hello() };
        assert!(acceptor().judge(&hello, Caller::Possible).is_ok(), "it has the id alone in common");
    }

    #[test]
    fn a_node_whose_store_is_of_no_use_refuses_to_be_the_member_that_is_called() {
        let acceptor = Acceptor { store: StoreUse::Nobody, ..acceptor() };
        assert_eq!(acceptor.judge(&hello(), Caller::Possible), Err(Refuse::NotMe { me: peer(1) }));
    }

    #[test]
    fn a_refusal_by_somebody_who_knows_less_is_not_believed() {
        let joined_at = LogIndex(20);
        assert!(!is_removed(LogIndex(19), LogIndex(0), joined_at), "it has not heard of our joining");
        assert!(is_removed(LogIndex(20), LogIndex(20), joined_at));
        assert!(!is_removed(LogIndex(20), LogIndex(21), joined_at), "we know of a later membership");
        assert!(is_removed(LogIndex(22), LogIndex(21), joined_at));
    }
}
