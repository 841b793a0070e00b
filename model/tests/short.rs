//! Explores every configuration up to as many states as an ordinary test has time for; `make model` runs the
//! whole.

use ticketd_model::{Configuration, Ending, Limits, configurations, explore};

/// States of each configuration: all configurations together take some seconds.
const STATES_MAX: usize = 50_000;

#[test]
fn no_configuration_has_a_violation_among_its_first_states() {
    for configuration in configurations() {
        let limits = Limits { states: STATES_MAX, depth: usize::MAX };
        let report = explore(&configuration, limits)
            .unwrap_or_else(|counterexample| panic!("{}:\n{counterexample}", configuration.name));
        assert!(report.states > 1_000, "{} ends after {} states", configuration.name, report.states);
    }
}

#[test]
fn a_deeper_form_has_the_states_of_the_ordinary_one_and_more() {
    let overwriting = configurations().into_iter().find(|c| c.name == "overwriting").expect("it is there");
    let limits = Limits { states: 100_000, depth: usize::MAX };
    let [ordinary, deep] = [overwriting.clone(), overwriting.deep()]
        .map(|configuration| explore(&configuration, limits).expect("nothing is violated"));
    assert_eq!(ordinary.ending, Ending::Complete);
    assert!(ordinary.states < deep.states, "{} states, {} in the deeper form", ordinary.states, deep.states);
}

#[test]
fn a_configuration_in_which_nothing_may_happen_has_one_state() {
    let configuration = configurations().into_iter().next().expect("there are configurations");
    let still = Configuration { bounds: ticketd_model::Bounds::NOTHING, ..configuration };
    let report = explore(&still, Limits { states: 10, depth: 10 }).expect("nothing happens");
    assert_eq!((report.states, report.steps, report.depth), (1, 0, 0));
}

#[test]
fn an_exploration_is_the_same_each_time() {
    let configuration = configurations().into_iter().next().expect("there are configurations");
    let limits = Limits { states: 5_000, depth: 7 };
    let [one, other] = [(); 2].map(|()| explore(&configuration, limits).expect("nothing is violated"));
    assert_eq!((one.states, one.steps, one.depth), (other.states, other.steps, other.depth));
}
