//! See `ticketd_fuzz::cli_addresses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ticketd_fuzz::cli_addresses::check(data));
