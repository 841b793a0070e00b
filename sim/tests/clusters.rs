//! The short form of the simulation: enough seeds for an ordinary test run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ticketd_sim::{FAULTS, Limits, Narration, Plan, Summary, keep_panics_quiet, run, shrink};

/// Takes some ten seconds in the dev profile.
const SEEDS: u64 = 120;

#[test]
fn clusters_keep_their_promises_whatever_goes_wrong() {
    keep_panics_quiet();
    let next = AtomicU64::new(1);
    let (sum, failures) = (Mutex::new(Summary::default()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let worker = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed > SEEDS {
                    return;
                }
                match run(seed, &Limits::default(), Narration::Silent) {
                    Ok(summary) => sum.lock().unwrap().add(&summary),
                    Err(reason) => {
                        failures.lock().unwrap().push(format!("{reason}\n  replay: make sim SEED={seed}"));
                    }
                }
            }
        };
        (0..2).for_each(|_| drop(scope.spawn(worker)));
    });
    let (sum, failures) = (sum.into_inner().unwrap(), failures.into_inner().unwrap());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // A simulation in which nothing happens proves nothing.
    let Summary { answered, faults, refused_stores, elections, committed, stars, .. } = sum;
    let Summary { leased, changes, transfers, bequests, .. } = sum;
    for (what, count, at_least) in [
        ("requests", answered, 1_000 * SEEDS),
        ("faults", faults, 20 * SEEDS),
        ("entries", committed, 300 * SEEDS),
        ("elections", elections, 3 * SEEDS),
        ("damaged stores", refused_stores, SEEDS / 4),
        ("stars", stars, SEEDS / 10),
        ("answers under a lease", leased, 50 * SEEDS),
        ("changes of membership", changes, 2 * SEEDS),
        ("transfers", transfers, SEEDS / 4),
        ("bequests", bequests, SEEDS / 4),
    ] {
        assert!(count >= at_least, "{what}: {count}, expected are {at_least}");
    }
}

#[test]
fn one_seed_gives_one_run() {
    for seed in 1..=5 {
        let first = run(seed, &Limits::default(), Narration::Silent);
        assert_eq!(first, run(seed, &Limits::default(), Narration::Silent), "seed {seed}");
        assert_ne!(first, run(seed + 1, &Limits::default(), Narration::Silent), "seed {seed}");
    }
}

#[test]
fn limits_leave_out_what_they_name() {
    let limits = Limits { members_max: Some(2), without: FAULTS.to_vec(), ..Limits::default() };
    let summaries: Vec<_> = (1..=10).map(|seed| run(seed, &limits, Narration::Silent).unwrap()).collect();
    assert!(summaries.iter().all(|summary| summary.faults == 0), "{summaries:?}");
    assert!((1..=10).all(|seed| Plan::new(seed, &limits).members <= 2));
    let none = Limits { faults_max: Some(0), ..Limits::default() };
    assert_eq!(run(1, &none, Narration::Silent).unwrap().faults, 0);
    let ten = Limits { faults_max: Some(10), skip: vec![3, 4], ..Limits::default() };
    assert_eq!(run(1, &ten, Narration::Silent).unwrap().faults, 8);
}

#[test]
fn a_run_that_does_not_fail_is_made_no_smaller() {
    let limits = Limits { members_max: Some(1), faults_max: Some(2), ..Limits::default() };
    assert_eq!(shrink(1, &limits), limits);
}
