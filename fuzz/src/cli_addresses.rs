//! Addresses as operators type them: an address that is accepted parses again from its printed form, and is
//! valid in a header.

use std::net::IpAddr;
use std::str::FromStr;

use ticketd::address::{Host, HostPort};

/// Treats `data` as a typed text.
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

/// Checks that the text cannot break an HTTP field, JSON or a log line, and returns it.
fn harmless(text: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    assert!(!text.is_empty() && text.bytes().all(allowed), "{text:?} was accepted");
    text.to_owned()
}
