//! Random numbers from the system.

use super::Failure;

/// A random number that nobody can guess and that no two nodes share.
pub(super) fn random_u128() -> Result<u128, Failure> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(u128::from_ne_bytes(bytes)),
        Err(error) => Err(no_random_numbers(&error)),
    }
}

/// A seed for what only has to differ between nodes.
pub(super) fn random_u64() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| no_random_numbers(&error))
}

fn no_random_numbers(error: &getrandom::Error) -> Failure {
    Failure::runtime(format!("the system gives no random numbers ({error})"))
}
