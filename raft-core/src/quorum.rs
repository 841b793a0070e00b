//! What a majority has reached, as its leader knows it.

use crate::membership::Membership;
use crate::progress::Progress;
use crate::raft::Raft;

impl Raft {
    /// The largest value that a majority of the voters in `membership` has reached. This leader, if it votes
    /// there, has reached `own`; another voter has reached what `reached` makes of its progress, or the
    /// default if none is known. `None` if this node does not lead, or if nobody votes.
    pub(crate) fn reached_by_majority<T: Copy + Default + Ord>(
        &self,
        membership: &Membership,
        own: T,
        reached: impl Fn(&Progress) -> T,
    ) -> Option<T> {
        let leader = self.role.as_leader()?;
        let me = self.config.me.id;
        let values = membership
            .voters()
            .map(|id| if id == me { own } else { leader.progress.get(&id).map_or(T::default(), &reached) });
        quorum_max(values, membership.quorum())
    }

    /// Whether the voters in `membership` whose progress counts, with this leader if it votes there, are a
    /// majority.
    pub(crate) fn has_majority(&self, membership: &Membership, counts: impl Fn(&Progress) -> bool) -> bool {
        self.reached_by_majority(membership, true, counts) == Some(true)
    }
}

/// The largest value that at least `quorum` of `values` reach; `None` if there are fewer than `quorum`
/// values.
///
/// It takes quadratic time in the number of voters, which is small, and allocates nothing, because it runs
/// for every acknowledgement.
fn quorum_max<T: Ord>(values: impl Iterator<Item = T> + Clone, quorum: usize) -> Option<T> {
    let reached = |value: &T| values.clone().filter(|other| other >= value).count() >= quorum;
    values.clone().filter(reached).max()
}

#[cfg(test)]
mod tests {
    use super::quorum_max;

    #[test]
    fn a_majority_reaches_the_median_and_a_minority_reaches_nothing() {
        let cases: [(&[u64], usize, Option<u64>); 6] = [
            (&[], 1, None),
            (&[4], 1, Some(4)),
            (&[9, 4], 2, Some(4)),
            (&[9, 1, 4], 2, Some(4)),
            (&[7, 7, 0, 0, 5], 3, Some(5)),
            (&[7], 2, None),
        ];
        for (values, quorum, reached) in cases {
            assert_eq!(quorum_max(values.iter().copied(), quorum), reached, "{quorum} of {values:?}");
        }
    }
}
