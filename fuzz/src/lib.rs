//! Properties that must hold for any bytes, one module for each fuzz target.
//!
//! Each module has a function `check`, which panics if its property does not hold. The targets in
//! `fuzz_targets/` call it with what the fuzzer generates (`cargo +nightly fuzz run peer_codec`);
//! `tests/fuzz_corpus.rs` includes this file and calls it with every file under `corpus/`, so that everything
//! a fuzzer has found is tested from then on by an ordinary compiler. These modules may use the public
//! interface of ticketd and raft-core, and nothing of libFuzzer.

pub mod cli_addresses;
pub mod codec_values;
pub mod core_step;
pub mod http_connection;
pub mod journal;
pub mod node_step;
pub mod peer_codec;
pub mod store;
pub mod store_records;

mod bytes;
mod directory;
mod memory;
