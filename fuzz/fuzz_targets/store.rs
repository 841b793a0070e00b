//! See `ticketd_fuzz::store`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ticketd_fuzz::store::check(data));
