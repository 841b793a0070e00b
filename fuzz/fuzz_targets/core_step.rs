//! See `ticketd_fuzz::core_step`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ticketd_fuzz::core_step::check(data));
