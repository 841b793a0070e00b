//! See `ticketd_fuzz::peer_codec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ticketd_fuzz::peer_codec::check(data));
