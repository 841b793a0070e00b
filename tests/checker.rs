//! Tests of the checker itself: it must refuse impossible histories, and accept possible ones.

mod harness;

use std::time::{Duration, Instant};

use harness::checker::{Operation, Outcome, Violation, check};

fn took(sent: u64, answered: u64, first: u64, last: u64) -> Operation {
    ended(sent, answered, Outcome::Ids { first, last })
}

fn ended(sent: u64, answered: u64, outcome: Outcome) -> Operation {
    Operation { sent: Duration::from_micros(sent), answered: Duration::from_micros(answered), outcome }
}

#[test]
fn a_history_without_requests_is_accepted() {
    assert_eq!(check(&[]), Ok(()));
}

#[test]
fn one_after_the_other_in_order_is_accepted() {
    assert_eq!(check(&[took(0, 1, 1, 1), took(2, 3, 2, 2), took(4, 5, 3, 3)]), Ok(()));
}

#[test]
fn gaps_are_accepted() {
    assert_eq!(check(&[took(0, 1, 1, 1), took(2, 3, 1_000_001, 1_000_001)]), Ok(()));
}

#[test]
fn requests_at_the_same_time_may_come_in_any_order() {
    assert_eq!(check(&[took(0, 10, 2, 2), took(5, 15, 1, 1)]), Ok(()));
    assert_eq!(check(&[took(0, 10, 1, 1), took(5, 15, 2, 2)]), Ok(()));
}

#[test]
fn an_answer_at_the_very_time_of_a_sending_is_not_before_it() {
    assert_eq!(check(&[took(0, 5, 2, 2), took(5, 10, 1, 1)]), Ok(()));
}

#[test]
fn a_long_request_may_fall_anywhere_between_the_short_ones_within() {
    let short = [took(10, 20, 2, 2), took(30, 40, 4, 4), took(50, 60, 6, 6)];
    for id in [1, 3, 5, 7] {
        let history = [&short[..], &[took(0, 100, id, id)]].concat();
        assert_eq!(check(&history), Ok(()), "{id}");
    }
}

#[test]
fn an_id_given_out_twice_is_refused_even_at_the_same_time() {
    let (one, other) = (took(0, 10, 5, 5), took(0, 10, 5, 5));
    assert_eq!(check(&[one, other]), Err(Violation::Twice(one, other)));
}

#[test]
fn an_id_given_out_twice_is_refused_however_far_apart() {
    let history: Vec<Operation> = (1..=1000).map(|id| took(10 * id, 10 * id + 1, id, id)).collect();
    assert_eq!(check(&history), Ok(()));
    let again = took(20_000, 20_001, 500, 500);
    let refused = check(&[&history[..], &[again]].concat());
    assert!(matches!(refused, Err(Violation::Twice(..))), "{refused:?}");
}

#[test]
fn ranges_that_touch_are_accepted_and_ranges_that_overlap_refused() {
    let all = |one, other| check(&[one, other]);
    assert_eq!(all(took(0, 10, 1, 10), took(0, 10, 11, 20)), Ok(()));
    for (first, last) in [(10, 20), (10, 10), (5, 6), (1, 1), (1, 10), (1, 100)] {
        let refused = all(took(0, 10, 1, 10), took(0, 10, first, last));
        assert!(matches!(refused, Err(Violation::Twice(..))), "{first}..{last}: {refused:?}");
    }
}

#[test]
fn an_id_within_a_range_is_found_across_other_requests() {
    // Neighbours by their first IDs: the short range between the two must not hide the long one.
    let refused = check(&[took(0, 10, 1, 100), took(0, 10, 101, 102), took(0, 10, 50, 50)]);
    assert!(matches!(refused, Err(Violation::Twice(..))), "{refused:?}");
}

#[test]
fn a_smaller_id_for_a_request_that_was_sent_after_the_answer_is_refused() {
    let (earlier, later) = (took(0, 4, 2, 2), took(5, 10, 1, 1));
    assert_eq!(check(&[earlier, later]), Err(Violation::OutOfOrder(earlier, later)));
    assert_eq!(check(&[later, earlier]), Err(Violation::OutOfOrder(earlier, later)));
}

#[test]
fn a_range_must_lie_wholly_above_what_was_answered_before() {
    let (earlier, later) = (took(0, 4, 10, 19), took(5, 10, 1, 9));
    assert_eq!(check(&[earlier, later]), Err(Violation::OutOfOrder(earlier, later)));
    assert_eq!(check(&[earlier, took(5, 10, 20, 29)]), Ok(()));
}

#[test]
fn a_smaller_id_is_found_although_other_answers_came_in_between() {
    // What counts is the largest ID answered by then, not the ID answered last.
    let (largest, last, later) = (took(0, 10, 100, 100), took(0, 20, 50, 50), took(30, 40, 75, 75));
    assert_eq!(check(&[last, later, largest]), Err(Violation::OutOfOrder(largest, later)));
}

#[test]
fn a_leader_that_goes_on_with_an_old_window_is_refused() {
    // The new leader has answered with larger IDs; then the old one answers from what it had left.
    let history = [took(0, 1, 1, 1), took(10, 11, 1001, 1001), took(12, 13, 2, 2)];
    assert_eq!(check(&history), Err(Violation::OutOfOrder(history[1], history[2])));
}

#[test]
fn a_request_without_an_answer_excludes_nothing() {
    let unknown = ended(0, 100, Outcome::Unknown);
    assert_eq!(check(&[unknown, took(200, 201, 1, 1), took(202, 203, 3, 3)]), Ok(()));
    assert_eq!(check(&[unknown, unknown, ended(5, 6, Outcome::Refused)]), Ok(()));
}

#[test]
fn a_request_without_an_answer_excuses_nothing() {
    let unknown = ended(0, 100, Outcome::Unknown);
    let (earlier, later) = (took(0, 4, 2, 2), took(5, 10, 1, 1));
    assert_eq!(check(&[unknown, earlier, later, unknown]), Err(Violation::OutOfOrder(earlier, later)));
}

#[test]
fn zero_and_ranges_that_end_before_they_begin_are_refused() {
    for operation in [took(0, 1, 0, 0), took(0, 1, 0, 5), took(0, 1, 5, 4)] {
        assert_eq!(check(&[operation]), Err(Violation::NoRange(operation)));
    }
}

#[test]
fn a_record_whose_clock_ran_backwards_is_refused() {
    let operation = took(5, 4, 1, 1);
    assert_eq!(check(&[operation]), Err(Violation::NoTime(operation)));
}

#[test]
fn the_ends_of_the_integers_are_accepted() {
    assert_eq!(check(&[took(0, 1, 1, 1), took(2, 3, u64::MAX, u64::MAX)]), Ok(()));
    let twice = check(&[took(0, 1, 1, u64::MAX), took(0, 1, u64::MAX, u64::MAX)]);
    assert!(matches!(twice, Err(Violation::Twice(..))), "{twice:?}");
}

#[test]
fn every_single_swap_in_a_long_sequence_is_found() {
    let sequence: Vec<Operation> = (1..=200).map(|id| took(10 * id, 10 * id + 1, id, id)).collect();
    for swapped in 0..sequence.len() - 1 {
        let mut history = sequence.clone();
        (history[swapped].outcome, history[swapped + 1].outcome) =
            (history[swapped + 1].outcome, history[swapped].outcome);
        assert_eq!(
            check(&history),
            Err(Violation::OutOfOrder(history[swapped], history[swapped + 1])),
            "{swapped}"
        );
    }
}

#[test]
fn a_million_requests_at_once_are_judged_while_one_waits() {
    // All overlap in time: comparing each with each would take hours.
    let count = 1_000_000;
    let history: Vec<Operation> = (1..=count).map(|id| took(id, count + id, id, id)).collect();
    let started = Instant::now();
    assert_eq!(check(&history), Ok(()));
    assert!(started.elapsed() < harness::wait::DEADLINE);
}
