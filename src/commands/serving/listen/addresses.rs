//! The addresses that the hosts of a flag lead to, and which of them need a socket of their own.
//!
//! This module asks the system's resolver. It must never open a socket.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};

use super::error::ListenError;
use crate::address::Host;

/// An address of a host to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    /// The address comes from a name that has others, so the node can do without it: on a machine without
    /// IPv6, `localhost` may still have an IPv6 address, and the machine's own name may have link-local ones.
    pub(super) dispensable: bool,
}

/// What the hosts that a flag names lead to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ListenAddresses {
    /// The addresses to listen on, each once.
    pub(super) distinct: Vec<Address>,
    /// All addresses of each host.
    pub(super) hosts: Vec<Vec<IpAddr>>,
}

impl ListenAddresses {
    pub(super) fn resolve(hosts: &[Host], flag: &'static str) -> Result<ListenAddresses, ListenError> {
        let hosts: Vec<Vec<IpAddr>> =
            hosts.iter().map(|host| resolve(host, flag)).collect::<Result<_, _>>()?;
        Ok(ListenAddresses::of(hosts))
    }

    pub(super) fn of(hosts: Vec<Vec<IpAddr>>) -> ListenAddresses {
        let mut distinct = Vec::new();
        for host in &hosts {
            let dispensable = host.len() > 1;
            host.iter().for_each(|ip| add(&mut distinct, Address { ip: *ip, dispensable }));
        }
        drop_covered(&mut distinct);
        ListenAddresses { distinct, hosts }
    }
}

/// Drops every address that another one covers: the system refuses to listen on both.
fn drop_covered(addresses: &mut Vec<Address>) {
    let all: Vec<IpAddr> = addresses.iter().map(|address| address.ip).collect();
    addresses.retain(|Address { ip, .. }| !all.iter().any(|other| other != ip && covers(*other, *ip)));
}

/// Whether a socket on one address accepts connections to the other, which is of the same family.
pub(super) fn covers(ours: IpAddr, theirs: IpAddr) -> bool {
    ours == theirs || (ours.is_unspecified() && ours.is_ipv4() == theirs.is_ipv4())
}

/// Adds an address, unless it is there already. What one host cannot do without is not dispensable.
fn add(addresses: &mut Vec<Address>, new: Address) {
    match addresses.iter_mut().find(|known| known.ip == new.ip) {
        Some(known) => known.dispensable &= new.dispensable,
        None => addresses.push(new),
    }
}

fn resolve(host: &Host, flag: &'static str) -> Result<Vec<IpAddr>, ListenError> {
    let unresolved = |name: &str, source| ListenError::Unresolved { host: name.to_owned(), flag, source };
    match host {
        Host::Address(address) => Ok(vec![*address]),
        Host::Name(name) => {
            let found = (name.as_str(), 0).to_socket_addrs().map_err(|source| unresolved(name, source))?;
            let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            if addresses.is_empty() {
                return Err(unresolved(name, io::ErrorKind::NotFound.into()));
            }
            Ok(addresses)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn an_address_that_was_asked_for_by_itself_is_needed_even_if_a_name_has_it_too() {
        let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
        for order in [[true, false], [false, true]] {
            let mut addresses = Vec::new();
            for dispensable in order {
                add(&mut addresses, Address { ip, dispensable });
            }
            assert_eq!(addresses, [Address { ip, dispensable: false }], "{order:?}");
        }
    }
}
