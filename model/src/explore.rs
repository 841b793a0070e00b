//! Visits every state, breadth first, so that the first violation found is one of the shortest.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use crate::action::Action;
use crate::configurations::Configuration;
use crate::history::Violation;
use crate::state::{Pool, State};

/// When an exploration stops before it is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// States visited. Each takes some 40 bytes for ever, and some hundreds while its successors are to be found.
    pub states: usize,
    /// Steps from the first state.
    pub depth: usize,
}

/// What an exploration has visited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// States that differ.
    pub states: usize,
    /// Steps taken, also to states that were known.
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
    /// A limit was reached: every state nearer to the first was visited.
    Limited,
}

/// How a violation comes about.
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
/// The shortest way to a state, or into a step, in which something does not hold that should.
pub fn explore(configuration: &Configuration, limits: Limits) -> Result<Report, Box<Counterexample>> {
    let started = Instant::now();
    let first = configuration.first();
    let mut search = Search {
        configuration,
        terms_until: first.term().0 + configuration.bounds.terms,
        seen: HashMap::default(),
        next: Vec::new(),
        pool: Pool::default(),
        steps: 0,
        beyond: 0,
    };
    let fingerprint = first.fingerprint();
    search.seen.insert(fingerprint, Origin { before: fingerprint, action: 0 });
    let mut layer = vec![(fingerprint, first.clone())];
    let mut depth = 0;
    let mut ending = Ending::Complete;
    while !layer.is_empty() {
        if depth == limits.depth || search.seen.len() >= limits.states {
            ending = Ending::Limited;
            break;
        }
        // Taken one by one, so that a state is freed as soon as its successors are known.
        for (fingerprint, state) in layer.drain(..) {
            if let Err((action, violation)) = search.expand(fingerprint, &state, limits.states) {
                let steps = search.retrace(first, fingerprint, &state.told(&action));
                return Err(Box::new(Counterexample { steps, violation }));
            }
        }
        layer = std::mem::take(&mut search.next);
        depth += usize::from(!layer.is_empty());
    }
    let Search { seen, steps, beyond, .. } = search;
    Ok(Report { states: seen.len(), steps, beyond, depth, ending, took: started.elapsed() })
}

struct Search<'a> {
    configuration: &'a Configuration,
    terms_until: u64,
    /// By fingerprint, each state that was ever reached.
    seen: HashMap<u64, Origin, BuildHasherDefault<Identity>>,
    /// The states to be expanded next.
    next: Vec<(u64, State)>,
    pool: Pool,
    steps: usize,
    beyond: usize,
}

/// How a state was reached first.
#[derive(Clone, Copy)]
struct Origin {
    before: u64,
    /// Which of the actions that were possible there.
    action: u32,
}

impl Search<'_> {
    fn expand(&mut self, before: u64, state: &State, states: usize) -> Result<(), (Action, Violation)> {
        let bounds = &self.configuration.bounds;
        for (action, number) in self.configuration.actions(state).into_iter().zip(0..) {
            let mut next = match state.after(&action, bounds.disk) {
                Ok(next) => next,
                Err(violation) => return Err((action, violation)),
            };
            self.steps += 1;
            if next.term().0 > self.terms_until || next.in_flight() > bounds.in_flight {
                self.beyond += 1;
                continue;
            }
            let fingerprint = next.fingerprint();
            if self.seen.len() < states && !self.seen.contains_key(&fingerprint) {
                self.seen.insert(fingerprint, Origin { before, action: number });
                next.share(&mut self.pool);
                self.next.push((fingerprint, next));
            }
        }
        Ok(())
    }

    /// Tells how the state with this fingerprint was reached, and the last step from there.
    fn retrace(&self, first: State, fingerprint: u64, last: &str) -> Vec<String> {
        let mut numbers = Vec::new();
        let mut at = fingerprint;
        while let Some(origin) = self.seen.get(&at).filter(|origin| origin.before != at) {
            numbers.push(origin.action);
            at = origin.before;
        }
        let mut state = first;
        let mut told = Vec::new();
        for number in numbers.into_iter().rev() {
            let actions = self.configuration.actions(&state);
            let action = usize::try_from(number).ok().and_then(|number| actions.get(number));
            let action = action.expect("the same state offers the same actions");
            told.push(state.told(action));
            let disk = self.configuration.bounds.disk;
            state = state.after(action, disk).expect("the step was taken before");
        }
        told.push(last.to_owned());
        told
    }
}

/// A fingerprint is a hash already.
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
