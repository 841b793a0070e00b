//! Visits every state, breadth first, so that the first violation found is one of the shortest.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use raft_core::Term;

use crate::action::Action;
use crate::configurations::Configuration;
use crate::state::State;
use crate::violation::Violation;
use crate::world::{Reach, World};

/// When an exploration stops before it is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// States visited, fewer than 2^32. Each takes some 25 bytes permanently, and 50 more until its
    /// successors have been found.
    pub states: usize,
    /// Steps from the first state.
    pub depth: usize,
}

/// What an exploration has visited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Steps taken, including those to states already known.
    pub steps: usize,
    /// Steps to states beyond the bounds, which were not visited.
    pub beyond: usize,
    /// Steps from the first state to the last.
    pub depth: usize,
    /// Why it stopped.
    pub ending: Ending,
    /// How long it took.
    pub took: Duration,
}

/// Why an exploration stopped without a violation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// There are no other states within the bounds.
    Complete,
    /// A limit was reached: every state closer to the first was visited.
    Limited,
}

/// How a violation is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counterexample {
    /// What happened, oldest first.
    pub steps: Vec<String>,
    /// What does not hold after it.
    pub violation: Violation,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:4}. {step}", at + 1)?;
        }
        write!(f, "then {}", self.violation)
    }
}

/// Visits every state of a configuration.
///
/// # Errors
/// The shortest path to a state, or into a step, that violates a property.
pub fn explore(configuration: &Configuration, limits: Limits) -> Result<Report, Box<Counterexample>> {
    explore_world(configuration, limits).map(|(report, _)| report)
}

/// Also returns the tables: every node, message and step that occurred.
fn explore_world(
    configuration: &Configuration,
    limits: Limits,
) -> Result<(Report, World), Box<Counterexample>> {
    let started = Instant::now();
    let (world, first) = configuration.first();
    let bounds = &configuration.bounds;
    let fingerprint = world.fingerprint(&first);
    let terms_until = Term(world.term(&first).0 + bounds.terms);
    let mut search = Search {
        configuration,
        reach: Reach { terms_until, in_flight: bounds.in_flight },
        world,
        seen: HashSet::from_iter([fingerprint]),
        origins: vec![Origin { before: 0, action: 0 }],
        next: Vec::new(),
        actions: Vec::new(),
        steps: 0,
        beyond: 0,
    };
    let mut layer = vec![first];
    let mut begins = 0;
    let mut depth = 0;
    let mut ending = Ending::Complete;
    while !layer.is_empty() {
        if depth == limits.depth || search.origins.len() >= limits.states {
            ending = Ending::Limited;
            break;
        }
        let ends = search.origins.len();
        for (number, state) in (begins..).zip(&layer) {
            if let Err((action, violation)) = search.expand(number, state, limits.states) {
                let steps = search.retrace(first, number, &action);
                return Err(Box::new(Counterexample { steps, violation }));
            }
        }
        begins = ends;
        layer.clear();
        std::mem::swap(&mut layer, &mut search.next);
        depth += usize::from(!layer.is_empty());
    }
    let Search { origins, steps, beyond, world, .. } = search;
    let report = Report { states: origins.len(), steps, beyond, depth, ending, took: started.elapsed() };
    Ok((report, world))
}

struct Search<'a> {
    configuration: &'a Configuration,
    reach: Reach,
    world: World,
    /// The fingerprint of every state reached.
    seen: HashSet<u64, BuildHasherDefault<Identity>>,
    /// How each state was first reached, in order.
    origins: Vec<Origin>,
    /// The states to be expanded next: the most recently reached, in the same order.
    next: Vec<State>,
    /// The actions of the current state; kept to reuse the buffer.
    actions: Vec<Action>,
    steps: usize,
    beyond: usize,
}

/// How a state was first reached.
#[derive(Clone, Copy)]
struct Origin {
    /// The preceding state, by its number.
    before: u32,
    /// Which of the actions possible there.
    action: u16,
}

impl Search<'_> {
    fn expand(&mut self, number: usize, state: &State, states: usize) -> Result<(), (Action, Violation)> {
        let before = u32::try_from(number).expect("states are limited to fewer than 2^32");
        let mut actions = std::mem::take(&mut self.actions);
        self.configuration.actions(&self.world, state, &mut actions);
        for (action, choice) in actions.iter().zip(0..) {
            let next = match self.world.after(state, action, self.reach) {
                Ok(next) => next,
                Err(violation) => return Err((action.clone(), violation)),
            };
            self.steps += 1;
            let Some(next) = next else {
                self.beyond += 1;
                continue;
            };
            if self.origins.len() < states && self.seen.insert(self.world.fingerprint(&next)) {
                self.origins.push(Origin { before, action: choice });
                self.next.push(next);
            }
        }
        self.actions = actions;
        Ok(())
    }

    /// Describes how the state of this number was reached, and the last step from there.
    fn retrace(&mut self, first: State, number: usize, last: &Action) -> Vec<String> {
        let mut choices = Vec::new();
        let mut at = number;
        while at != 0 {
            let Origin { before, action } = self.origins[at];
            choices.push(usize::from(action));
            at = before as usize;
        }
        let mut state = first;
        let mut told = Vec::new();
        let mut actions = Vec::new();
        for choice in choices.into_iter().rev() {
            self.configuration.actions(&self.world, &state, &mut actions);
            let action = actions.get(choice).expect("the same state offers the same actions");
            told.push(self.world.told(&state, action));
            let next = self.world.after(&state, action, self.reach).expect("the step was taken before");
            state = next.expect("the step was within the bounds before");
        }
        told.push(self.world.told(&state, last));
        told
    }
}

/// A fingerprint is already a hash.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are numbers");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use raft_core::Role;

    use super::*;
    use crate::configurations::configurations;

    /// Otherwise no candidate would ever begin another term: the random numbers that decide when are not part
    /// of a state.
    #[test]
    fn a_candidate_that_was_refused_a_vote_gives_its_term_up() {
        let divergence = configurations().into_iter().find(|c| c.name == "divergence").unwrap();
        let (_, world) = explore_world(&divergence, Limits { states: 50_000, depth: usize::MAX }).unwrap();
        assert!(world.has_step(|before, after| {
            (before.raft.role(), after.raft.role()) == (Role::Candidate, Role::PreCandidate)
        }));
    }

    /// Otherwise what only one of them leads to would be left out.
    #[test]
    fn nodes_that_are_taken_for_one_do_the_same() {
        for configuration in configurations() {
            let limits = Limits { states: 50_000, depth: usize::MAX };
            let (_, world) = explore_world(&configuration, limits)
                .unwrap_or_else(|counterexample| panic!("{}:\n{counterexample}", configuration.name));
            let steps = world.check_doubles();
            assert!(steps > 1_000, "{}: only {steps} steps of such nodes", configuration.name);
        }
    }

    /// Otherwise a state that can be reached with such a message on its way would be left out without it.
    #[test]
    fn what_is_taken_for_dead_has_no_effect_on_any_node_that_was_met() {
        for configuration in configurations() {
            let limits = Limits { states: 50_000, depth: usize::MAX };
            let (_, world) = explore_world(&configuration, limits)
                .unwrap_or_else(|counterexample| panic!("{}:\n{counterexample}", configuration.name));
            let deliveries = world.check_dead();
            assert!(deliveries > 50, "{}: only {deliveries} dead messages", configuration.name);
        }
    }
}
