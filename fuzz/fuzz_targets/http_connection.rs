//! See `ticketd_fuzz::http_connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ticketd_fuzz::http_connection::check(data));
