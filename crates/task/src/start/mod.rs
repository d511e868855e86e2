//! The shim's program as containerd executes it: with `start` once for each container, with `delete` once for each container
//! that is gone, and (2.x) with `-info` for each runtime. This module parses and prints only.
//!
//! | module | story |
//! |---|---|
//! | `flags` | the command line by the rules of Go's `flag` package |
//! | `command` | what is asked: `start`, `delete`, `-info`, `-v` |
//! | `input` | the standard input of `start` |
//! | `output` | what is printed |

mod command;
mod flags;
mod input;
mod output;

pub use command::{BadCommand, Command, Delete, Environment, Start};
pub use flags::BadFlag;
pub use input::{BadInput, Input, MAX_INPUT, Protocol, RuntimeOptions, UnknownOptions};
pub use output::{Ended, address};
