//! The image of any overlay mount (containerd, CRI, podman), from the mount table.
//!
//! There is no chain ID here, so the base's key is made from what tells these layer directories
//! from all others, past and future: path, inode number and birth time of each. (Not the device
//! number: it changes over a reboot, and the same image would get a second base.)

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use sha2::{Digest, Sha256};

use super::mountinfo::{self, Stack};
use super::{BaseKey, Doubt, Image, InitFiles, Owner, Source, init};

/// The mode of a base's root directory: what Docker and containerd give to every container's
/// upper directory, and so to its `/`, whatever the image says.
pub(super) const ROOT_MODE: u32 = 0o755;

pub(super) fn identify(root_path: &Path) -> Result<Image, Doubt> {
    let table_path = Path::new("/proc/self/mountinfo");
    let table = fs::read(table_path).map_err(|e| unreadable(table_path, e))?;
    let stack = stack_at(&table, root_path)?;
    if let Some(layer) = stack.layers.iter().find(|layer| !layer.is_absolute()) {
        let (root_path, layer) = (root_path.to_owned(), layer.clone());
        return Err(Doubt::RelativeLayer { root_path, layer });
    }
    // podman stacks short links; what they lead to is the layer.
    let layers =
        stack.layers.iter().map(|layer| fs::canonicalize(layer).map_err(|e| unreadable(layer, e)));
    let mut layers = layers.collect::<Result<Vec<PathBuf>, _>>()?;

    if let Some(layer) = layers.iter().find(|layer| !is_a_stores(layer)) {
        return Err(Doubt::NotALayer { layer: layer.clone() });
    }

    // An engine with an init layer makes a new one for each container. It adds exactly what a base
    // gets anyway, so it must not be part of the key.
    let mut init = InitFiles::MountPoints;
    if let [top, _, ..] = layers.as_slice()
        && init::is_docker_init_layer(top).map_err(|e| unreadable(top, e))?
    {
        layers.remove(0);
        init = InitFiles::AsDocker;
    }

    let root = stack.upper.as_ref().or(layers.first());
    let owner = match root {
        Some(root) => owner_of_root(root, None)?,
        None => {
            let found = "an overlay without layers".to_owned();
            return Err(Doubt::NoOverlayAtRoot { root_path: root_path.to_owned(), found });
        }
    };
    if let Some(upper) = &stack.upper
        && !is_empty(upper)?
    {
        return Err(Doubt::UpperNotEmpty { upper: upper.clone() });
    }
    Ok(Image {
        key: key(&layers, init, owner)?,
        chain_id: None,
        layers,
        upper: stack.upper,
        init,
        owner,
        source: Source::Overlay,
    })
}

/// Whether the directory is where an engine keeps a layer, which it never changes once the layer is
/// complete: `snapshots/ID/fs` (containerd), `overlay/ID/diff` (podman), `overlay2/ID/diff` (Docker).
/// The key of a base is made of such directories' identities, not of what they hold.
fn is_a_stores(layer: &Path) -> bool {
    let mut names = layer.iter().rev().map(|name| name.to_str().unwrap_or_default());
    let (name, _id, store) = (names.next(), names.next(), names.next());
    matches!(
        (store, name),
        (Some("snapshots"), Some("fs")) | (Some("overlay" | "overlay2"), Some("diff"))
    )
}

/// The layers of the overlay that is mounted at `root_path`.
pub(super) fn stack_at(table: &[u8], root_path: &Path) -> Result<Stack, Doubt> {
    let none = |found: String| Doubt::NoOverlayAtRoot { root_path: root_path.to_owned(), found };
    let mount = mountinfo::topmost(table, root_path)
        .ok_or_else(|| none("no mount has this mount point".to_owned()))?;
    if mount.fstype != b"overlay" {
        return Err(none(format!("the mount is {}", String::from_utf8_lossy(&mount.fstype))));
    }
    if mount.root != Path::new("/") {
        return Err(none(format!("the mount is of {} in an overlay", mount.root.display())));
    }
    let stack = Stack::parse(&mount.options)
        .ok_or_else(|| none("its options cannot be read".to_owned()))?;
    match stack.unusual.first() {
        Some(option) => {
            Err(Doubt::OverlayOption { root_path: root_path.to_owned(), option: option.clone() })
        }
        None => Ok(stack),
    }
}

fn key(layers: &[PathBuf], init: InitFiles, owner: Owner) -> Result<BaseKey, Doubt> {
    let mut hash = Sha256::new();
    hash.update(format!("overlay\0{init:?}\0{owner}\0"));
    for layer in layers {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let stat = rustix::fs::statx(CWD, layer, AtFlags::SYMLINK_NOFOLLOW, wanted)
            .map_err(|e| unreadable(layer, e.into()))?;
        if stat.stx_mask & wanted.bits() != wanted.bits() {
            return Err(Doubt::NoIdentity { layer: layer.clone() });
        }
        hash.update(layer.as_os_str().as_bytes()); // no NUL in a path
        let birth = stat.stx_btime;
        hash.update(format!("\0{}\0{}.{:09}\0", stat.stx_ino, birth.tv_sec, birth.tv_nsec));
    }
    Ok(BaseKey::of_digest(hash.finalize().into()))
}

/// Who owns a directory that is a container's `/`; one that is not as a base's `/` will be is a
/// doubt.
pub(super) fn owner_of_root(path: &Path, expected: Option<Owner>) -> Result<Owner, Doubt> {
    let stat = fs::symlink_metadata(path).map_err(|e| unreadable(path, e))?;
    let owner = Owner { uid: stat.uid(), gid: stat.gid() };
    let expected = expected.unwrap_or(owner);
    if !stat.is_dir() || stat.mode() & 0o7777 != ROOT_MODE || owner != expected {
        return Err(Doubt::Disagree {
            path: path.to_owned(),
            found: format!("mode {:o} of {owner}", stat.mode()),
            expected: format!("a directory of mode {ROOT_MODE:o} of {expected}"),
        });
    }
    Ok(owner)
}

pub(super) fn is_empty(directory: &Path) -> Result<bool, Doubt> {
    let mut entries = fs::read_dir(directory).map_err(|e| unreadable(directory, e))?;
    Ok(entries.next().is_none())
}

fn unreadable(path: &Path, source: io::Error) -> Doubt {
    Doubt::LayerStore { path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
