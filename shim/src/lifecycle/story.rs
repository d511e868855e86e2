//! The events of a container, one line for each. The journal has them by the container's ID.
//!
//! The process of the command itself reports an event after it has happened; `log/journal.rs` says why no other process
//! does.

use std::fmt::{self, Arguments, Display};

use sharedroot_bases::WrittenBack;
use sharedroot_engine::Choice;

use crate::log::{self, STORY};
use crate::record::Rootfs;

/// Reports an event. The text may contain words of this program and of the runtime's caller, but nothing of the
/// container's environment, arguments, annotations or hooks.
pub fn tell(happened: Arguments<'_>) {
    tracing::info!(target: STORY, "{happened}");
    log::deliver();
}

/// A new container: its rootfs, the reason for it, and the engine.
#[derive(Debug)]
pub struct Created<'a> {
    /// The container's rootfs.
    pub rootfs: &'a Rootfs,
    /// Whether the configuration asks for a read-only rootfs.
    pub readonly: bool,
    /// The engine.
    pub engine: &'a Choice,
}

impl Display for Created<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rootfs {
            Rootfs::Shared { base, scaffold } => {
                write!(f, "the rootfs is read-only and shares the base {base}")?;
                if let Some(name) = scaffold {
                    write!(f, " under the scaffold {name}")?;
                }
            }
            Rootfs::Private { base, volume, .. } => {
                let why = match self.readonly {
                    true => "dev.sharedroot.mode is private",
                    false => "the rootfs is writable",
                };
                write!(f, "{why}: the container has the snapshot {volume} of the base {base}")?;
            }
            Rootfs::Snapshot { volume } => {
                write!(f, "the container has the snapshotter's snapshot {volume}")?;
            }
            Rootfs::NotShared { why } => {
                write!(f, "the container runs on the engine's rootfs, not shared: {why}")?
            }
        }
        write!(f, "; engine {}", self.engine)
    }
}

/// What happened to the changes of a container that was deleted or paused.
#[derive(Debug)]
pub struct GivenBack(
    /// `None` if the container had no snapshot.
    pub Option<WrittenBack>,
);

impl Display for GivenBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None | Some(WrittenBack::Changes(0)) => f.write_str("nothing to write back"),
            Some(WrittenBack::Changes(1)) => f.write_str("1 change was written back"),
            Some(WrittenBack::Changes(n)) => write!(f, "{n} changes were written back"),
            Some(WrittenBack::Partly(changes, left)) => write!(
                f,
                "{changes} changes were written back, and {left} files stay in the container's snapshot, because the engine's overlay cannot hold them"
            ),
            Some(WrittenBack::Kept) => f.write_str("the container's changes stay in its snapshot"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sharedroot_format::ScaffoldName;

    use super::*;

    #[test]
    fn a_root_is_told_with_its_reason() {
        let told = |rootfs: Rootfs, readonly| {
            let created =
                Created { rootfs: &rootfs, readonly, engine: &Choice::Libcontainer }.to_string();
            created.strip_suffix("; engine libcontainer").unwrap().to_owned()
        };
        let base = crate::testing::key();
        let name = ScaffoldName::of_digest([0xab; 32]);
        assert_eq!(
            told(Rootfs::Shared { base: base.clone(), scaffold: Some(name.clone()) }, true),
            format!("the rootfs is read-only and shares the base {base} under the scaffold {name}")
        );
        let private = |readonly| {
            let (volume, mount_point) = ("v".parse().unwrap(), "/m".into());
            told(Rootfs::Private { base: base.clone(), volume, mount_point }, readonly)
        };
        let snapshot = format!("the container has the snapshot v of the base {base}");
        assert_eq!(private(false), format!("the rootfs is writable: {snapshot}"));
        assert_eq!(private(true), format!("dev.sharedroot.mode is private: {snapshot}"));
        assert_eq!(
            told(Rootfs::Snapshot { volume: "layer-00000001-7".parse().unwrap() }, false),
            "the container has the snapshotter's snapshot layer-00000001-7"
        );
        let why = "no store is known".to_owned();
        assert_eq!(
            told(Rootfs::NotShared { why }, true),
            "the container runs on the engine's rootfs, not shared: no store is known"
        );
    }
}
