//! ttrpc, as containerd speaks it (`containerd/ttrpc`, PROTOCOL.md and channel.go): frames with a header of 10 bytes.
//!
//! | module | story |
//! |---|---|
//! | `frame` | one frame: header, kind, flags, bounds |
//! | `reader` | takes frames from a growing buffer |
//! | `server` | the side that gets calls: bytes in, requests out; answers in, bytes out |
//! | `client` | the side that makes calls, one call at a time: `Forward` |

mod client;
mod frame;
mod reader;
mod server;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod server_tests;

pub use client::{Busy, Client, Lost};
pub use frame::{Frame, HEADER, Header, Kind, MAX_PAYLOAD, TooLong, flag};
pub use reader::{Reader, Received};
pub use server::{MAX_OPEN, MAX_WAITING, Request, Server};
