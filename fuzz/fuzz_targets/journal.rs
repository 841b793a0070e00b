//! See `ticketd_fuzz::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ticketd_fuzz::journal::check(data));
