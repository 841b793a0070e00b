//! What the black-box tests share: it runs the real program in directories of its own, talks to it as a
//! client, an operator or a stranger would, and records what it answered.
//!
//! It knows the program by its command line, its log line `listening ...`, its HTTP and its exit statuses,
//! and by nothing else; it must never use the library, whose mistakes it could not see then.
//!
//! Nothing here decides by time: a test waits for a condition, and fails when [`wait::DEADLINE`] has passed,
//! which is far longer than anything takes on a machine that is busy with other work.

// Each test file is a program of its own that compiles all of this and uses a part of it; nobody sees any of
// it from outside.
#![allow(dead_code, unreachable_pub)]

pub mod checker;
pub mod cluster;
pub mod command;
pub mod directory;
pub mod http;
pub mod load;
pub mod network;
pub mod node;
pub mod pipe;
pub mod ports;
pub mod random;
pub mod status;
pub mod wait;
