//! The ways in which a pod can have its root.

/// One arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Shared,
    SharedOnMount,
    Private,
    Overlay2,
    Plain,
    Runc,
    Crun,
}

impl Mode {
    pub const ALL: [Self; 7] = [
        Self::Shared,
        Self::SharedOnMount,
        Self::Private,
        Self::Overlay2,
        Self::Plain,
        Self::Runc,
        Self::Crun,
    ];

    /// The mode's name on the command line, in the tables and in the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::SharedOnMount => "shared+mount",
            Self::Private => "private",
            Self::Overlay2 => "overlay2",
            Self::Plain => "plain",
            Self::Runc => "runc",
            Self::Crun => "crun",
        }
    }

    pub const fn what(self) -> &'static str {
        match self {
            Self::Shared => "ours, read-only: the image's base",
            Self::SharedOnMount => "the same above an overlay mount of the engine's",
            Self::Private => "ours, writable: a snapshot of the base",
            Self::Overlay2 => "ours, read-only, the root not shared: an overlay mount",
            Self::Plain => {
                "ours, read-only, the root not shared: the layer's directory, mounted by nobody"
            }
            Self::Runc => "runc, read-only, an overlay mount",
            Self::Crun => "crun, read-only, an overlay mount",
        }
    }

    pub const fn readonly(self) -> bool {
        !matches!(self, Self::Private)
    }

    /// Whether the engine mounts an overlay for each pod. A root of sharedroot needs no overlay, because sharedroot finds the
    /// image in the engine's layer database.
    pub const fn has_mount(self) -> bool {
        !matches!(self, Self::Shared | Self::Private | Self::Plain)
    }

    /// Whether an annotation turns sharing off.
    pub const fn is_off(self) -> bool {
        matches!(self, Self::Overlay2 | Self::Plain)
    }

    pub const fn is_ours(self) -> bool {
        !matches!(self, Self::Runc | Self::Crun)
    }

    /// The name under which the lab's Docker knows the runtime, which is also its program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            _ => "sharedroot",
        }
    }
}
