//! The arms: the ways in which containerd serves a container.

use sharedroot_tests::shim::RUNTIMES;

/// One arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// Containerd's own shim, which calls runc: containerd as it comes.
    Runc,
    /// Containerd's own shim, which calls `sharedroot`.
    Command,
    /// The shim of sharedroot.
    Shim,
    /// As [`Arm::Runc`], with all containers in one group, and so in one shim.
    RuncGroup,
    /// As [`Arm::Shim`], with all containers in one group.
    ShimGroup,
}

impl Arm {
    /// The ratios: ours, and containerd as it comes.
    pub const PAIRS: [(Self, Self); 2] =
        [(Self::Shim, Self::Runc), (Self::ShimGroup, Self::RuncGroup)];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Command => "sharedroot",
            Self::Shim => "shim",
            Self::RuncGroup => "runc, one group",
            Self::ShimGroup => "shim, one group",
        }
    }

    pub const fn in_group(self) -> bool {
        matches!(self, Self::RuncGroup | Self::ShimGroup)
    }

    /// The runtime type of containerd.
    pub const fn runtime(self) -> &'static str {
        let [theirs, ours] = RUNTIMES;
        match self {
            Self::Runc | Self::RuncGroup | Self::Command => theirs,
            Self::Shim | Self::ShimGroup => ours,
        }
    }
}
