//! Addresses as people type them: what is accepted reads back from what it writes, and could stand in a
//! header.

use std::net::IpAddr;
use std::str::FromStr;

use ticketd::address::{Host, HostPort};

/// Takes `data` for a text that was typed.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(host) = text.parse::<Host>() {
        let written = harmless(&host.to_string());
        assert_eq!(Host::from_str(&written).as_ref(), Ok(&host), "{text:?} was written as {written:?}");
        let unspecified = text.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        assert!(host.is_unspecified() || !unspecified, "others cannot be sent to {text:?}");
        for port in [1, u16::MAX] {
            let with_port = HostPort { host: host.clone(), port };
            let written = harmless(&with_port.to_string());
            assert_eq!(written.parse::<HostPort>(), Ok(with_port), "{text:?} with a port");
        }
    }
    if let Ok(address) = text.parse::<HostPort>() {
        let written = harmless(&address.to_string());
        assert_ne!(address.port, 0, "{text:?} has no port");
        assert_eq!(written.parse::<HostPort>(), Ok(address), "{text:?} was written as {written:?}");
    }
}

/// The text, which must be one that no field of HTTP, no JSON and no log line is broken by.
fn harmless(text: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    assert!(!text.is_empty() && text.bytes().all(allowed), "{text:?} was accepted");
    text.to_owned()
}
