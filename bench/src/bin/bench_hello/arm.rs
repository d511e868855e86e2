//! The arms: the ways in which a container gets its root, with the names of `hack/bench density`.

use std::fs;

use sharedroot_tests::lab::RUN_DIR;

/// One arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// Ours, read-only: the image's base.
    Shared,
    /// Ours, writable: a snapshot of the base.
    Private,
    /// Ours, the root not shared: Docker's overlay mount.
    Overlay2,
    /// Docker's overlay mount and runc: Docker as it comes.
    Runc,
}

impl Arm {
    pub const ALL: [Self; 4] = [Self::Shared, Self::Private, Self::Overlay2, Self::Runc];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Private => "private",
            Self::Overlay2 => "overlay2",
            Self::Runc => "runc",
        }
    }

    pub const fn readonly(self) -> bool {
        matches!(self, Self::Shared)
    }

    /// The arm's flags of `docker run`.
    pub const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Shared => &["--runtime=sharedroot", "--read-only"],
            Self::Private => &["--runtime=sharedroot"],
            Self::Overlay2 => &["--runtime=sharedroot", "--annotation=dev.sharedroot.mode=off"],
            Self::Runc => &["--runtime=runc"],
        }
    }

    /// Checks the roots of the containers that sharedroot created after the first `before` ones. Panics if a root is not this
    /// arm's: in doubt sharedroot does not share, which would be another arm.
    pub fn check(self, before: usize) {
        let bases: Vec<bool> =
            creates()[before..].iter().map(|line| !line.ends_with(" -")).collect();
        let expected: &[bool] = match self {
            Self::Shared | Self::Private => &[true],
            Self::Overlay2 => &[false],
            Self::Runc => &[],
        };
        assert_eq!(bases, expected, "{}: whether each container has a base", self.name());
    }
}

/// A line for each container that sharedroot created. Its last word is the base.
pub fn creates() -> Vec<String> {
    let notes = fs::read_to_string(format!("{RUN_DIR}/starts")).unwrap_or_default();
    notes.lines().filter(|line| line.starts_with("create ")).map(str::to_owned).collect()
}
