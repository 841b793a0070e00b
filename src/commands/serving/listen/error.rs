//! Why a node cannot listen, with the flag that the operator would have to change.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::address::is_link_local;
use crate::advice::about_limit;
use crate::commands::Failure;

/// The flags that choose an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FlagNames {
    pub(super) host: &'static str,
    pub(super) port: &'static str,
}

/// Why a node cannot listen where it was told to.
#[derive(Debug)]
pub(crate) enum ListenError {
    /// The host has no address.
    Unresolved {
        /// The host, as given.
        host: String,
        /// The flag that names it.
        flag: &'static str,
        /// The resolver's error.
        source: io::Error,
    },
    /// Something else uses the port.
    InUse {
        /// The address.
        address: SocketAddr,
        /// The flag that chooses the port.
        flag: &'static str,
    },
    /// Only the system may use this port.
    Denied {
        /// The address.
        address: SocketAddr,
        /// The flag that chooses the port.
        flag: &'static str,
    },
    /// The address belongs to another machine.
    NotOurs {
        /// The address.
        address: IpAddr,
        /// The flag that names the host.
        flag: &'static str,
    },
    /// The address needs an interface, and none can be given with it.
    LinkLocal {
        /// The address.
        address: IpAddr,
        /// The flag that names the host.
        flag: &'static str,
    },
    /// The Unix-domain socket cannot be created.
    Unix {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system refuses for another reason.
    Socket {
        /// The address.
        address: SocketAddr,
        /// The flag that names its host.
        flag: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Failure {
        Failure::runtime(error.to_string())
    }
}

impl ListenError {
    pub(super) fn at(address: SocketAddr, flags: FlagNames, source: io::Error) -> ListenError {
        let kind = source.kind();
        if kind == io::ErrorKind::AddrInUse {
            ListenError::InUse { address, flag: flags.port }
        } else if kind == io::ErrorKind::PermissionDenied {
            ListenError::Denied { address, flag: flags.port }
        } else if kind == io::ErrorKind::AddrNotAvailable || is_family_unsupported(&source) {
            ListenError::NotOurs { address: address.ip(), flag: flags.host }
        } else if kind == io::ErrorKind::InvalidInput && is_link_local(address.ip()) {
            ListenError::LinkLocal { address: address.ip(), flag: flags.host }
        } else {
            ListenError::Socket { address, flag: flags.host, source }
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Unresolved { host, flag, source } => {
                write!(f, "the host '{host}' does not resolve ({source}): ")?;
                match about_limit(source) {
                    Some(remedy) => f.write_str(remedy),
                    None => write!(f, "give an address or a name of this machine with {flag}"),
                }
            }
            ListenError::InUse { address, flag } => {
                write!(f, "{address} is in use: stop what listens there, or choose another port with {flag}")
            }
            ListenError::Denied { address, flag } => write!(
                f,
                "the system does not permit listening on {address}: choose a port above 1023 with {flag}"
            ),
            ListenError::NotOurs { address, flag } => {
                write!(f, "{address} is not an address of this machine: give one that is with {flag}")?;
                // Other nodes and clients are not directed to the other hosts.
                if *flag == "--host" {
                    f.write_str(", and what others use to reach it with --advertise")?;
                }
                Ok(())
            }
            ListenError::LinkLocal { address, flag } => write!(
                f,
                "{address} is link-local, and nothing can listen there without an interface, which cannot be \
                 given: give another address of this machine with {flag}"
            ),
            ListenError::Unix { path, source } => write!(
                f,
                "cannot listen on the Unix-domain socket {} ({source}): {}",
                path.display(),
                about_limit(source).unwrap_or("choose another path with --http_unix")
            ),
            ListenError::Socket { address, flag, source } => {
                write!(f, "cannot listen on {address} ({source}): ")?;
                match about_limit(source) {
                    Some(remedy) => f.write_str(remedy),
                    None => write!(f, "choose another address with {flag}"),
                }
            }
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ListenError::Unresolved { source, .. }
            | ListenError::Unix { source, .. }
            | ListenError::Socket { source, .. } => Some(source),
            ListenError::InUse { .. }
            | ListenError::Denied { .. }
            | ListenError::NotOurs { .. }
            | ListenError::LinkLocal { .. } => None,
        }
    }
}

/// Whether the machine has no IPv6, or no IPv4, at all.
fn is_family_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn where_no_descriptor_is_left_the_address_is_not_to_blame() {
        let none_left = || io::Error::from(rustix::io::Errno::MFILE);
        let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 9000);
        let flags = FlagNames { host: "--host", port: "--raft_port" };
        for error in [
            ListenError::at(address, flags, none_left()),
            ListenError::Unix { path: "socket".into(), source: none_left() },
            ListenError::Unresolved { host: "localhost".to_owned(), flag: "--host", source: none_left() },
        ] {
            let said = error.to_string();
            assert!(said.contains("raise the limit of open files") && !said.contains("--"), "{said}");
        }
        let error = ListenError::at(address, flags, rustix::io::Errno::NOBUFS.into());
        assert!(error.to_string().ends_with("choose another address with --host"), "{error}");
    }
}
