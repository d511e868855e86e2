//! Files that some tests need in the shared directory. They are made while other tests run.

use clap::ValueEnum;

use super::step::Step;

/// The files that a test names by `--with`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Extra {
    /// The packages of this tree, and rpm.
    Packages,
    /// A client of the CRI.
    Cri,
    /// containerd's shim.
    Shim,
    /// containerd's own tests of its client.
    ContainerdClient,
    /// containerd's proxy snapshotter.
    Snapshotter,
    /// containerd's own tests of a snapshotter.
    SnapshotterSuite,
    /// containerd's own tests of its client, of Debian unstable.
    ContainerdClientOfUnstable,
    /// containerd's own tests of a snapshotter, of Debian unstable.
    SnapshotterSuiteOfUnstable,
    /// containerd, Docker and runc of Debian unstable, for guests with `--engines unstable`.
    EnginesOfUnstable,
}

impl Extra {
    /// The command that makes the files.
    pub fn step(self) -> Step {
        match self {
            Self::Packages => Step::new("packages", "hack/test.d/packages target/test/share"),
            Self::Shim => Step::new(
                "shim",
                "hack/build --shim && install -D target/debug/static/containerd-shim-sharedroot-v2 -t target/test/share",
            ),
            // The shared directory is new in each run, and these take minutes.
            Self::ContainerdClient => Step::new(
                "containerd-client",
                "hack/containerd.d/build target/containerd && install -D -t target/test/share/containerd target/containerd/client.test target/containerd/names",
            ),
            Self::Snapshotter => Step::new(
                "snapshotter",
                "hack/build --snapshotter && install -D target/debug/static/sharedrootd -t target/test/share",
            ),
            Self::SnapshotterSuite => Step::new(
                "snapshotter-suite",
                "hack/containerd.d/build-suite target/snapshotter-suite && install -D target/snapshotter-suite/suite.test -t target/test/share",
            ),
            Self::ContainerdClientOfUnstable => Step::new(
                "containerd-client-of-unstable",
                "hack/containerd.d/build target/containerd-of-unstable unstable && install -D -t target/test/share/containerd-of-unstable target/containerd-of-unstable/client.test target/containerd-of-unstable/names",
            ),
            Self::SnapshotterSuiteOfUnstable => Step::new(
                "snapshotter-suite-of-unstable",
                "hack/containerd.d/build-suite target/snapshotter-suite-of-unstable unstable && install -D target/snapshotter-suite-of-unstable/suite.test target/test/share/suite-of-unstable.test",
            ),
            Self::EnginesOfUnstable => {
                Step::new("engines-of-unstable", "hack/lab.d/make-engines target/lab unstable")
            }
            Self::Cri => Step::new(
                "cri-client",
                "hack/cri.d/build target/cri && install -D target/cri/cri -t target/test/share/client",
            ),
        }
    }
}
