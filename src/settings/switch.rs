//! A setting that is on or off, as operators and the store write it.

use std::fmt;
use std::str::FromStr;

/// On or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// The error for a text that is not a [`Switch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeitherOnNorOff;

impl FromStr for Switch {
    type Err = NeitherOnNorOff;

    fn from_str(text: &str) -> Result<Switch, NeitherOnNorOff> {
        match text {
            "on" => Ok(Switch::On),
            "off" => Ok(Switch::Off),
            _ => Err(NeitherOnNorOff),
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Switch::On => "on",
            Switch::Off => "off",
        })
    }
}
