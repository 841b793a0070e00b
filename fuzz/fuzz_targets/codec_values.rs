//! See `ticketd_fuzz::codec_values`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ticketd_fuzz::codec_values::check(data));
