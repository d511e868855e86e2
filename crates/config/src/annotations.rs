//! The annotations by which a user chooses the root of one container (`docs/operation.md`).

/// Turns sharing off, or asks for a root of the container's own.
pub const MODE: &str = "dev.sharedroot.mode";

/// The size of a writable root.
pub const SIZE: &str = "dev.sharedroot.size";
