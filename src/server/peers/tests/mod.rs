//! A link to another node: when and where it is dialled, what a Hello does to it, and what is heard on it.

mod dial;
mod hello;
mod response;
