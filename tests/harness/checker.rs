//! Judges what clients have recorded: no ID is given twice, and the order of the IDs is that of time.
//!
//! Sound and complete for a counter whose every answer is a range: it accepts exactly the histories that are
//! explained by some order of the requests in which each takes effect between its sending and its answer and
//! takes IDs above all that were taken before. A request without an answer may have taken any IDs at any time
//! since it was sent, or none, and so excludes nothing. Times are from one clock of one machine. Takes O(n
//! log n) for n requests.

use std::fmt;
use std::time::Duration;

/// One request and its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Before its first byte was sent.
    pub sent: Duration,
    /// After the last byte of the answer was received, or after the client gave up.
    pub answered: Duration,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All IDs from `first` to `last`.
    Ids {
        /// The smallest.
        first: u64,
        /// The largest.
        last: u64,
    },
    /// An answer without IDs.
    Refused,
    /// No answer.
    Unknown,
}

/// Why a history is impossible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// 0 is never handed out, and a range does not end before it begins.
    NoRange(Operation),
    /// The recorded times run backwards.
    NoTime(Operation),
    /// The two have an ID in common.
    Twice(Operation, Operation),
    /// The first was answered before the second was sent, and has a larger ID.
    OutOfOrder(Operation, Operation),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::NoRange(operation) => write!(f, "not a range of IDs: {operation:?}"),
            Violation::NoTime(operation) => write!(f, "answered before it was sent: {operation:?}"),
            Violation::Twice(one, other) => write!(f, "an ID was given out twice: {one:?} and {other:?}"),
            Violation::OutOfOrder(earlier, later) => {
                write!(
                    f,
                    "answered before the other was sent, and yet not smaller: {earlier:?} and {later:?}"
                )
            }
        }
    }
}

/// An operation that was granted IDs.
#[derive(Clone, Copy)]
struct Granted {
    operation: Operation,
    first: u64,
    last: u64,
}

/// Judges a history, given in any order.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    let mut granted = Vec::new();
    for &operation in history {
        if operation.answered < operation.sent {
            return Err(Violation::NoTime(operation));
        }
        match operation.outcome {
            Outcome::Ids { first, last } if first == 0 || last < first => {
                return Err(Violation::NoRange(operation));
            }
            Outcome::Ids { first, last } => granted.push(Granted { operation, first, last }),
            Outcome::Refused | Outcome::Unknown => (),
        }
    }
    check_unique(&mut granted)?;
    check_order(&granted)
}

/// In order of their first IDs, some ranges overlap if and only if two neighbours do.
fn check_unique(granted: &mut [Granted]) -> Result<(), Violation> {
    granted.sort_unstable_by_key(|granted| granted.first);
    for pair in granted.windows(2) {
        if pair[1].first <= pair[0].last {
            return Err(Violation::Twice(pair[0].operation, pair[1].operation));
        }
    }
    Ok(())
}

/// Goes through the requests in the order in which they were sent, with the largest ID answered by then.
fn check_order(granted: &[Granted]) -> Result<(), Violation> {
    let mut by_sent = granted.to_vec();
    by_sent.sort_unstable_by_key(|granted| granted.operation.sent);
    let mut by_answered = granted.to_vec();
    by_answered.sort_unstable_by_key(|granted| granted.operation.answered);
    let mut answered = by_answered.into_iter().peekable();
    let mut largest: Option<Granted> = None;
    for later in by_sent {
        while let Some(earlier) =
            answered.next_if(|earlier| earlier.operation.answered < later.operation.sent)
        {
            if largest.is_none_or(|largest| largest.last < earlier.last) {
                largest = Some(earlier);
            }
        }
        if let Some(earlier) = largest.filter(|earlier| earlier.last >= later.first) {
            return Err(Violation::OutOfOrder(earlier.operation, later.operation));
        }
    }
    Ok(())
}
