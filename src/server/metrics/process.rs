//! What the operating system tells about this process (Linux: proc(5)). What it does not tell is left out.

use raft_core::Micros;
use rustix::process::{Resource, getrlimit};

use crate::procfs;
use crate::server::sockets::open_descriptors::OpenDescriptors;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    /// Processor time spent on it, in microseconds.
    pub(super) cpu_us: u64,
    pub(super) open_descriptors: Option<u64>,
    /// `None` if there is no limit, too.
    pub(super) descriptors_max: Option<u64>,
}

impl Process {
    pub(super) fn read(now: Micros, descriptors: &OpenDescriptors) -> Process {
        let status = procfs::text("/proc/self/status").unwrap_or_default();
        Process {
            resident_bytes: resident_bytes(&status),
            cpu_us: cpu_us(),
            open_descriptors: descriptors.number(now),
            descriptors_max: getrlimit(Resource::Nofile).current,
        }
    }
}

fn cpu_us() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(spent.tv_sec), u64::try_from(spent.tv_nsec));
    // The times are never negative.
    seconds.unwrap_or(0).saturating_mul(1_000_000).saturating_add(nanoseconds.unwrap_or(0) / 1_000)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_status_of_a_process() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    3140 kB\nVmData:\t 1 kB\n"), Some(3140 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        assert_eq!(resident_bytes("VmRSS:\t many kB\n"), None);
    }
}
