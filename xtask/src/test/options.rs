//! The command line.

use std::path::PathBuf;

use clap::Args;

/// The guests get `RUNTIME` of the environment: `RUNTIME=runc hack/test vm_lifecycle` shows that this test is right. With
/// `ENGINES=unstable` they have containerd and Docker of Debian unstable.
#[derive(Debug, Args)]
pub struct Options {
    /// Run everything, also what takes long: hunts through the manuals' options, a power cut at every step, every fuzz target for 30 s, the release build and its packages
    #[arg(long, conflicts_with = "names")]
    pub long: bool,
    /// Run N guests at once; the default depends on processors and memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub guests: Option<u8>,
    /// Run only these integration tests: files of dm/tests and tests/tests, without .rs
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// One integration test, already compiled.
#[derive(Debug, Args)]
pub struct One {
    /// The directory of the executables
    pub share: PathBuf,
    /// The test's name
    pub name: String,
    /// The directory of its log, NAME.log
    pub out: PathBuf,
}

/// The integration tests' executables.
#[derive(Debug, Args)]
pub struct Compile {
    /// The directory of the executables
    pub dir: PathBuf,
    /// The tests that are needed; the default is all
    pub names: Vec<String>,
}
