//! What a majority has reached.

/// The largest value that at least `quorum` of `values` reach; `None` where there are fewer than `quorum`.
///
/// Quadratic in the number of voters, of which there are a handful, and without a list of its own: it runs
/// for every acknowledgement.
pub(crate) fn quorum_max<T: Ord>(values: impl Iterator<Item = T> + Clone, quorum: usize) -> Option<T> {
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
