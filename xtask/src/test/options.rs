//! The command line.

use std::path::PathBuf;

use clap::Args;

/// `RUNTIME` in the environment reaches the guests: `RUNTIME=runc hack/test vm_lifecycle` proves that test.
#[derive(Debug, Args)]
pub struct Options {
    /// Everything, also what takes long: every fuzz target for 30 s, the release build and its packages
    #[arg(long, conflicts_with = "names")]
    pub long: bool,
    /// Guests at once; the default follows processors and memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub guests: Option<u8>,
    /// Only these integration tests: files of dm/tests and tests/tests, without .rs
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// One integration test, already compiled.
#[derive(Debug, Args)]
pub struct One {
    /// Where the executables are
    pub share: PathBuf,
    /// Its name
    pub name: String,
    /// Where its log goes, as NAME.log
    pub out: PathBuf,
}

/// The integration tests' executables.
#[derive(Debug, Args)]
pub struct Compile {
    /// Where they go
    pub dir: PathBuf,
    /// Which must be there; the default is all
    pub names: Vec<String>,
}
