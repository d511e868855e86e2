//! What happened to a container, one line for each event: the journal has it by the container's ID.
//!
//! Told by the process of the command itself, when it has happened; see `log/journal.rs` for why by no other.

use std::fmt::{self, Arguments, Display};

use sharedroot_bases::WrittenBack;
use sharedroot_engine::Choice;

use crate::log::{self, STORY};
use crate::record::Rootfs;

/// Tells it. The words are ours and the runtime's caller's; nothing of the container's environment, arguments, annotations
/// or hooks may be in them.
pub fn tell(happened: Arguments<'_>) {
    tracing::info!(target: STORY, "{happened}");
    log::deliver();
}

/// A new container: its root, why this one, and what runs it.
#[derive(Debug)]
pub struct Created<'a> {
    /// Its root.
    pub rootfs: &'a Rootfs,
    /// Whether it was asked for a read-only one.
    pub readonly: bool,
    /// What runs it.
    pub engine: &'a Choice,
}

impl Display for Created<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rootfs {
            Rootfs::Shared { base, scaffold } => {
                write!(f, "its root is read-only: it shares the base {base}")?;
                if let Some(name) = scaffold {
                    write!(f, " under the scaffold {name}")?;
                }
            }
            Rootfs::Private { base, volume, .. } => {
                let why = match self.readonly {
                    true => "dev.sharedroot.mode is private",
                    false => "its root is writable",
                };
                write!(f, "{why}: it has the snapshot {volume} of the base {base}")?;
            }
            Rootfs::NotShared { why } => {
                write!(f, "it runs on the engine's rootfs, not shared: {why}")?
            }
        }
        write!(f, "; engine {}", self.engine)
    }
}

/// What became of the changes of a container that was deleted or paused.
#[derive(Debug)]
pub struct GivenBack(
    /// None where it had no snapshot.
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
                "{changes} changes were written back, and {left} files stay in its snapshot, which its engine's overlay cannot hold"
            ),
            Some(WrittenBack::Kept) => f.write_str("what it changed stays in its snapshot"),
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
            format!("its root is read-only: it shares the base {base} under the scaffold {name}")
        );
        let private = |readonly| {
            let (volume, mount_point) = ("v".parse().unwrap(), "/m".into());
            told(Rootfs::Private { base: base.clone(), volume, mount_point }, readonly)
        };
        let snapshot = format!("it has the snapshot v of the base {base}");
        assert_eq!(private(false), format!("its root is writable: {snapshot}"));
        assert_eq!(private(true), format!("dev.sharedroot.mode is private: {snapshot}"));
        let why = "no store is known".to_owned();
        assert_eq!(
            told(Rootfs::NotShared { why }, true),
            "it runs on the engine's rootfs, not shared: no store is known"
        );
    }
}
