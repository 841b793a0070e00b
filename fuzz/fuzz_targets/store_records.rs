//! See `ticketd_fuzz::store_records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ticketd_fuzz::store_records::check(data));
