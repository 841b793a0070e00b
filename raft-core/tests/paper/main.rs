//! One test for each rule of the Raft paper ("In Search of an Understandable Consensus Algorithm", extended
//! version) and of Ongaro's dissertation that is implemented, and for each rule that asynchronous persistence
//! adds. The section is cited at each; a test's name states the condition and the outcome.

#[path = "../harness/mod.rs"]
mod harness;

mod durability;
mod elections;
mod hostile;
mod lease;
mod membership_changes;
mod pauses;
mod quick_failover;
mod read_barriers;
mod replication;
mod slow_elections;
mod snapshots;
mod stuck_leaders;
mod thrifty_rounds;
mod timing;
mod transfers;
mod unequal_timeouts;
