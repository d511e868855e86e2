//! The propagation of a mount between the host and a container (mount_namespaces(7)), as the options of a mount say it.

use std::path::{Component, PathBuf};
use std::str::FromStr;

use oci_spec::runtime::Mount;
use sharedroot_sys::mount::Submounts;

/// A propagation type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mounts do not propagate.
    Private,
    /// Mounts propagate from the host into the container.
    Slave,
    /// Mounts propagate both ways.
    Shared,
    /// Mounts do not propagate, and the mount may not be bound.
    Unbindable,
}

/// A change of propagation: of one mount, or also of all mounts below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// The new type.
    pub kind: Kind,
    /// Whether the mounts below change, too: the leading `r`.
    pub recursive: bool,
}

impl FromStr for Propagation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (plain, recursive) = match text {
            "private" | "slave" | "shared" | "unbindable" => (text, false),
            _ => (text.strip_prefix('r').ok_or(())?, true),
        };
        let kind = match plain {
            "private" => Kind::Private,
            "slave" => Kind::Slave,
            "shared" => Kind::Shared,
            "unbindable" => Kind::Unbindable,
            _ => return Err(()),
        };
        Ok(Self { kind, recursive })
    }
}

/// Whether the mount is a bind mount, and whether it includes the mounts below its source.
pub fn bind(mount: &Mount) -> Option<Submounts> {
    let options = mount.options().as_deref().unwrap_or_default();
    let has = |wanted| options.iter().any(|option| option == wanted);
    if has("rbind") {
        return Some(Submounts::Included);
    }
    has("bind").then_some(Submounts::LeftOut)
}

/// The mount's destination without a leading slash and dots, for comparison.
pub fn place(mount: &Mount) -> PathBuf {
    mount.destination().components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// The propagations among the options of a mount.
pub(super) fn asked(mount: &Mount) -> Vec<Propagation> {
    mount.options().iter().flatten().filter_map(|option| option.parse().ok()).collect()
}
