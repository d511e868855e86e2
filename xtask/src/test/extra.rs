//! What must lie beside some tests in the shared directory, and is made while other tests run.

use clap::ValueEnum;

use super::step::Step;

/// What a test names by `--with`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Extra {
    /// The packages of this tree, and rpm.
    Packages,
    /// A client of the CRI.
    Cri,
}

impl Extra {
    /// How it is made.
    pub fn step(self) -> Step {
        match self {
            Self::Packages => Step::new("packages", "hack/test.d/packages target/test/share"),
            Self::Cri => Step::new("cri-client", "hack/cri.d/build target/test/share/client"),
        }
    }
}
