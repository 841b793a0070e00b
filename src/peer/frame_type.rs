//! The types of all frames, as `docs/peer-protocol.rst` lists them. A number is never used again for anything
//! else.

pub(super) const HELLO: u8 = 0x01;
pub(super) const WELCOME: u8 = 0x02;
pub(super) const REFUSE: u8 = 0x03;
pub(super) const PING: u8 = 0x04;

pub(super) const ADMIN_REQUEST: u8 = 0x10;
pub(super) const ADMIN_RESPONSE: u8 = 0x11;

pub(super) const PRE_VOTE: u8 = 0x20;
pub(super) const PRE_VOTE_RESPONSE: u8 = 0x21;
pub(super) const REQUEST_VOTE: u8 = 0x22;
pub(super) const REQUEST_VOTE_RESPONSE: u8 = 0x23;
pub(super) const APPEND_ENTRIES: u8 = 0x24;
pub(super) const APPEND_ENTRIES_RESPONSE: u8 = 0x25;
pub(super) const HEARTBEAT: u8 = 0x26;
pub(super) const HEARTBEAT_RESPONSE: u8 = 0x27;
pub(super) const INSTALL_SNAPSHOT: u8 = 0x28;
pub(super) const INSTALL_SNAPSHOT_RESPONSE: u8 = 0x29;
pub(super) const TIMEOUT_NOW: u8 = 0x2a;

pub(super) const TAKE_IDS: u8 = 0x30;
pub(super) const TAKE_IDS_RESPONSE: u8 = 0x31;

pub(super) const BEQUEST: u8 = 0x32;
