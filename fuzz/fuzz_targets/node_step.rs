//! See `ticketd_fuzz::node_step`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ticketd_fuzz::node_step::check(data));
