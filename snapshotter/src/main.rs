//! The executable. See `lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sharedrootd::run()
}
