//! The executable. Everything is in the library, so that its parsers can be fuzzed.

fn main() -> std::process::ExitCode {
    sharedroot::run()
}
