//! The address of a node, a host and a port, as operators type it and as members and redirects carry it.
//!
//! Floor 2, pure: syntax alone. It must never resolve a name or open a socket. What is accepted here ends up
//! in the `Location` field of redirects and in membership entries, so nothing is accepted that is not valid
//! there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest name in the DNS, in bytes of text: 255 octets (RFC 1035 §2.3.4) without the length of the
/// first label and the root.
const NAME_BYTES_MAX: usize = 253;

/// An IPv4 address, an IPv6 address or a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name, which is resolved at each use.
    Name(String),
}

impl Host {
    /// 127.0.0.1, where a node listens unless told otherwise.
    pub const LOOPBACK: Host = Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));

    /// The host with this address, if it can be that of one host. An address of IPv4 that is written as one
    /// of IPv6 (RFC 4291 §2.5.5.2) is that address of IPv4.
    fn at(address: IpAddr) -> Result<Host, String> {
        let address = address.to_canonical();
        if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(format!("{address} is not the address of one host, but that of many"));
        }
        Ok(Host::Address(address))
    }

    /// Whether this stands for every address of the machine, so that no other node or client can be directed
    /// to it.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        match self {
            Host::Address(address) => address.is_unspecified(),
            Host::Name(_) => false,
        }
    }

    /// Whether this is an address of IPv6 that means something only together with an interface of the machine
    /// where it is used (RFC 4007 §6), so that no other node or client can be directed to it either.
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        match self {
            Host::Address(address) => is_link_local(*address),
            Host::Name(_) => false,
        }
    }
}

/// Whether this is a link-local address of IPv6 (RFC 4007 §6).
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V6(address) => address.is_unicast_link_local(),
        // Without an interface, the kernel chooses one.
        IpAddr::V4(_) => false,
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Host, String> {
        if text.contains('%') {
            return Err(format!(
                "'{text}' names an interface of this machine, which means nothing to others: give an address \
                 without one, or a name"
            ));
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address = inner.parse::<Ipv6Addr>();
            return address
                .map_err(|_| format!("'{inner}' is not an IPv6 address"))
                .and_then(|address| Host::at(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Host::at(address);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(allowed) {
            return Err("a host is an IPv4 address, an IPv6 address or a name".to_owned());
        }
        // Resolvers accept "127.1", "1" and "0x7f.1" as addresses in a notation of the seventies (inet(3));
        // here they are more likely a typing error.
        if text.split('.').all(is_number) {
            return Err(format!("'{text}' is not an IPv4 address (a.b.c.d)"));
        }
        Ok(Host::Name(text.to_owned()))
    }
}

/// Whether resolvers may take this part of a name for a number, in decimal, octal or hexadecimal notation.
fn is_number(part: &str) -> bool {
    let hexadecimal = part.strip_prefix("0x").or(part.strip_prefix("0X"));
    let is_digit =
        if hexadecimal.is_some() { |b: u8| b.is_ascii_hexdigit() } else { |b: u8| b.is_ascii_digit() };
    hexadecimal.unwrap_or(part).bytes().all(is_digit)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(address) => address.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// A host and a port, written `host:port`, with an IPv6 address in brackets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// The port; 0 only to request a free one.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<HostPort, String> {
        let (host, port) = text
            .rsplit_once(':')
            .filter(|(host, _)| host.starts_with('[') || !host.contains(':'))
            .ok_or("an address is written HOST:PORT, with an IPv6 address in brackets")?;
        let port = port
            .parse::<u16>()
            .ok()
            .filter(|number| *number != 0 && port.starts_with(|first: char| first.is_ascii_digit()))
            .ok_or_else(|| format!("'{port}' is not a port from 1 to 65535"))?;
        Ok(HostPort { host: host.parse()?, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(IpAddr::V4(_)) | Host::Name(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names_and_come_back_as_they_were() {
        for text in
            ["127.0.0.1", "::1", "fe80::1", "localhost", "node-1.example.org", "db_2", "node.1", "0x7g"]
        {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]".parse::<Host>().unwrap().to_string(), "::1");
    }

    #[test]
    fn an_address_of_ipv4_is_known_in_the_notation_of_ipv6() {
        for (text, address) in [
            ("::ffff:0.0.0.0", "0.0.0.0"),
            ("::ffff:7f00:1", "127.0.0.1"),
            ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ] {
            assert_eq!(text.parse::<Host>(), address.parse::<Host>(), "{text}");
        }
        assert_eq!("[::ffff:127.0.0.1]:9001".parse::<HostPort>().unwrap().to_string(), "127.0.0.1:9001");
    }

    #[test]
    fn whatever_could_break_a_header_or_is_a_slip_is_refused() {
        for text in [
            "",
            "a b",
            "a\r\nb",
            "a/b",
            "user@host",
            "127.1",
            "0x7f.1",
            "0x0",
            "0X7f000001",
            "0177.0.0.1",
            "256.0.0.1",
            "[127.0.0.1]",
            "[::1",
            "é",
            "fe80::1%eth0",
            "224.0.0.1",
            "255.255.255.255",
            "::ffff:224.0.0.1",
            "[ff02::1]",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
        assert!("x".repeat(254).parse::<Host>().is_err());
        for text in ["fe80::1%eth0", "[fe80::1%2]"] {
            assert!(text.parse::<Host>().unwrap_err().contains("interface"), "{text}");
        }
    }

    #[test]
    fn members_are_a_host_and_a_port_with_ipv6_in_brackets() {
        for text in ["127.0.0.1:9001", "[::1]:9001", "node-1:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for text in [
            "127.0.0.1",
            "::1:9001",
            "host:",
            "host:0",
            "host:65536",
            "host:9x",
            "host:+9",
            ":9001",
            "http://a:1",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_that_need_an_interface_are_told_from_others() {
        for (text, link_local) in [
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", false),
            ("fd00::1", false),
            ("169.254.0.1", false),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().is_link_local(), link_local, "{text}");
        }
    }

    #[test]
    fn only_the_two_unspecified_addresses_stand_for_every_address() {
        for (text, unspecified) in [("0.0.0.0", true), ("::", true), ("127.0.0.1", false), ("a", false)] {
            assert_eq!(text.parse::<Host>().unwrap().is_unspecified(), unspecified, "{text}");
        }
    }
}
