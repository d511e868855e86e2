//! The shim's program as containerd executes it: with `start` once for each container, with `delete` once for each container
//! whose shim has died, and (2.x) with `-info` for each runtime. This module only parses and prints.
//!
//! | module | story |
//! |---|---|
//! | `flags` | the command line by the rules of Go's `flag` package |
//! | `command` | the command: `start`, `delete`, `-info`, `-v` |
//! | `input` | the standard input of `start` |
//! | `output` | what the program prints |

mod command;
mod flags;
mod input;
mod output;

pub use command::{BadCommand, Command, Delete, Environment, Start};
pub use flags::BadFlag;
pub use input::{BadInput, Input, MAX_INPUT, Protocol, RuntimeOptions, UnknownOptions};
pub use output::{Ended, address};
