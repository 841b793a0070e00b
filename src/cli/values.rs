//! The values of flags: their form, their ranges, and the error for a value that has neither.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use raft_core::NodeId;

use crate::address::{Host, HostPort};
use crate::redirect_status::{NoRedirectStatus, RedirectStatus};
use crate::settings::{MB_BYTES, NeitherOnNorOff, OrOff, Switch};
use crate::storage::{MAP_BYTES_MAX, MAP_BYTES_MIN};

/// A whole number within `range`, or an error that names the range.
fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    // Rust also accepts `+5`; the help promises digits only.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(value) if digits && range.contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err(format!("it must be a whole number from {} to {}", range.start(), range.end())),
    }
}

/// A whole number from 1 to `max`, or an error that says so.
fn positive(text: &str, max: u64) -> Result<NonZeroU64, String> {
    let value = number(text, 1..=max)?;
    NonZeroU64::new(value).ok_or_else(|| "it must not be 0".to_owned())
}

pub(super) fn id(text: &str) -> Result<NodeId, String> {
    let id = number(text, 1..=u64::MAX)?;
    NodeId::new(id).ok_or_else(|| "it must not be 0".to_owned())
}

pub(super) fn advertise(text: &str) -> Result<Host, String> {
    let host = text.parse::<Host>()?;
    if host.is_unspecified() {
        return Err(
            "nobody can reach a node at that address: give one that the other members can use".to_owned()
        );
    }
    refuse_link_local(&host)?;
    Ok(host)
}

pub(super) fn member(text: &str) -> Result<HostPort, String> {
    let member = text.parse::<HostPort>()?;
    refuse_link_local(&member.host)?;
    Ok(member)
}

fn refuse_link_local(host: &Host) -> Result<(), String> {
    if host.is_link_local() {
        return Err(format!(
            "{host} is link-local, and leads nowhere without an interface, which cannot be given: give \
             another address, or a name"
        ));
    }
    Ok(())
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    let port = number(text, 0..=u64::from(u16::MAX))?;
    u16::try_from(port).map_err(|error| error.to_string())
}

pub(super) fn db_size(text: &str) -> Result<u64, String> {
    number(text, MAP_BYTES_MIN / MB_BYTES..=MAP_BYTES_MAX / MB_BYTES)
}

/// 2^64-1 is the largest integer: a cluster that started there could hand out no ID.
pub(super) fn first_id(text: &str) -> Result<NonZeroU64, String> {
    positive(text, u64::MAX - 1)
}

/// At 10^12 IDs per change of leader, it takes 18 million changes of leader to exhaust the integers: more
/// than one every ten minutes for three hundred years.
pub(super) fn window(text: &str) -> Result<u64, String> {
    number(text, 0..=1_000_000_000_000)
}

pub(super) fn election_timeout(text: &str) -> Result<u64, String> {
    number(text, 10..=600_000)
}

pub(super) fn heartbeat_interval(text: &str) -> Result<u64, String> {
    number(text, 1..=300_000)
}

pub(super) fn request_timeout(text: &str) -> Result<u64, String> {
    number(text, 1..=3_600_000)
}

pub(super) fn batch_max(text: &str) -> Result<NonZeroU64, String> {
    positive(text, 1_000_000_000_000)
}

/// At 500,000 ppm a lease lasts (1 - 1/2)/(1 + 1/2), a third, of what was promised; no clock is that bad.
pub(super) fn clock_error(text: &str) -> Result<u32, String> {
    let ppm = number(text, 0..=500_000)?;
    u32::try_from(ppm).map_err(|error| error.to_string())
}

/// A connection takes some hundred bytes and a descriptor; a million of them take a large machine.
pub(super) fn http_connections(text: &str) -> Result<OrOff<u32>, String> {
    if text == "off" {
        return Ok(OrOff::Off);
    }
    let count = number(text, 1..=1_000_000).map_err(|error| format!("{error}, or off"))?;
    u32::try_from(count).map(OrOff::Given).map_err(|error| error.to_string())
}

pub(super) fn http_timeout(text: &str) -> Result<u64, String> {
    number(text, 1..=86_400_000)
}

pub(super) fn http_unix(text: &str) -> Result<OrOff<String>, String> {
    match text {
        "off" => Ok(OrOff::Off),
        "" => Err("it must be a path or off".to_owned()),
        path => Ok(OrOff::Given(path.to_owned())),
    }
}

pub(super) fn metrics_port(text: &str) -> Result<OrOff<u16>, String> {
    match text {
        "off" => Ok(OrOff::Off),
        digits => port(digits).map(OrOff::Given).map_err(|error| format!("{error}, or off")),
    }
}

pub(super) fn redirect_status(text: &str) -> Result<RedirectStatus, String> {
    text.parse().map_err(|NoRedirectStatus| "it must be 301, 307 or 308".to_owned())
}

pub(super) fn switch(text: &str) -> Result<Switch, String> {
    text.parse().map_err(|NeitherOnNorOff| "it must be on or off".to_owned())
}
