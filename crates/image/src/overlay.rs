//! The image of any overlay mount (containerd, CRI, podman), from the mount table.
//!
//! The mount table has no chain ID. So the key of the base is made from the path, the inode number and the birth time of each
//! layer directory: together they tell it from all others, past and future.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use sharedroot_format::BaseKey;
use sharedroot_sys::mountinfo;

use super::docker_init_layer::{is_docker_init_layer, is_rootfs_of_docker};
use crate::image::{Image, Upper};
use crate::init_layer::InitFiles;
use crate::overlay_options::OverlayOptions;
use crate::source::{LayerIdentity, Source};
use crate::top::{ROOT_MODE, Top};
use crate::unidentified::Unidentified;

pub(super) fn identify(root_path: &Path) -> Result<Image, Unidentified> {
    let table_path = Path::new(mountinfo::OWN);
    let table = fs::read(table_path).map_err(|e| unreadable(table_path, e))?;
    let stack = stack_at(&table, root_path)?;
    let mut layers = Vec::with_capacity(stack.layers.len());
    for layer in &stack.layers {
        let path = absolute(layer, stack.upper.as_deref()).ok_or_else(|| {
            Unidentified::RelativeLayer { root_path: root_path.to_owned(), layer: layer.clone() }
        })?;
        // podman mounts short symbolic links, which lead to the layers.
        layers.push(fs::canonicalize(&path).map_err(|e| unreadable(&path, e))?);
    }
    let Some(store) = layers.first().and_then(|top| StoreLayout::of(top)) else {
        let layer = layers.first().map_or_else(|| root_path.to_owned(), Clone::clone);
        return Err(Unidentified::NotALayer { layer });
    };
    if let Some(layer) = layers.iter().find(|layer| StoreLayout::of(layer) != Some(store)) {
        return Err(Unidentified::NotALayer { layer: layer.clone() });
    }

    // Docker makes a new init layer for each container. A base gets the same files in any case, so the init layer must not be
    // part of the key.
    let mut init = InitFiles::MountPoints;
    if let [top, below @ ..] = layers.as_slice()
        && !below.is_empty()
        && is_rootfs_of_docker(root_path)
        && is_docker_init_layer(top, below).map_err(|e| unreadable(top, e))?
    {
        layers.remove(0);
        init = InitFiles::AsDocker;
    }

    let top = store.top(&layers[0])?;
    let upper = stack.upper.map(Upper::at).transpose()?;
    // No container has written to an empty upper directory, so its attributes are the engine's.
    if let Some(Upper { path, empty: true }) = &upper {
        top.agrees_with(path)?;
    }
    let identities =
        layers.iter().map(|layer| LayerIdentity::at(layer)).collect::<Result<Vec<_>, _>>()?;
    Ok(Image {
        key: key(&identities, init, top),
        chain_id: None,
        layers,
        upper,
        init,
        top,
        source: Source::Overlay { layers: identities },
    })
}

/// The absolute path of a layer; none if it cannot be known.
///
/// If the list of layers would not fit into a page, an engine mounts from the directory that holds all layers, and names them
/// relative to this directory (containerd: core/mount, `compactLowerdirOption`; podman: storage/drivers/overlay). The path of
/// the upper directory, in the same directory, is always absolute.
fn absolute(layer: &Path, upper: Option<&Path>) -> Option<PathBuf> {
    if layer.is_absolute() {
        return Some(layer.to_owned());
    }
    let store = upper?.parent()?.parent()?;
    let plain = layer.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| store.join(layer))
}

/// The store that has a layer, by the form of the layer's path. An engine never changes a complete layer in its store. So the
/// key of a base can be made from the identity of layer directories instead of their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoreLayout {
    /// `snapshots/ID/fs`: containerd.
    Snapshots,
    /// `overlay/ID/diff`: podman. `overlay2/ID/diff`: Docker.
    Overlay,
}

impl StoreLayout {
    fn of(layer: &Path) -> Option<Self> {
        let mut names = layer.iter().rev().map(|name| name.to_str().unwrap_or_default());
        match (names.next()?, names.nth(1)?) {
            ("fs", "snapshots") => Some(Self::Snapshots),
            ("diff", "overlay" | "overlay2") => Some(Self::Overlay),
            _ => None,
        }
    }

    /// The attributes of a container's `/` above this topmost layer. The owner is that of the layer. The mode is one for all
    /// containers (containerd: snapshots/overlay, `prepareDirectory`) or that of the layer (podman: `create`).
    fn top(self, layer: &Path) -> Result<Top, Unidentified> {
        let found = Top::of(layer)?;
        Ok(match self {
            Self::Snapshots => Top { mode: ROOT_MODE, ..found },
            Self::Overlay => found,
        })
    }
}

/// The options of the overlay that is mounted at `root_path`.
pub(super) fn stack_at(table: &[u8], root_path: &Path) -> Result<OverlayOptions, Unidentified> {
    let none =
        |found: String| Unidentified::NoOverlayAtRoot { root_path: root_path.to_owned(), found };
    let mount = mountinfo::topmost(table, root_path)
        .ok_or_else(|| none("no mount has this mount point".to_owned()))?;
    if mount.fstype != b"overlay" {
        return Err(none(format!("the mount is {}", String::from_utf8_lossy(&mount.fstype))));
    }
    if mount.root != Path::new("/") {
        return Err(none(format!("the mount is of {} in an overlay", mount.root.display())));
    }
    let stack = OverlayOptions::parse(&mount.options)
        .ok_or_else(|| none("its options cannot be read".to_owned()))?;
    match stack.unusual.first() {
        Some(option) => Err(Unidentified::OverlayOption {
            root_path: root_path.to_owned(),
            option: option.clone(),
        }),
        None => Ok(stack),
    }
}

fn key(layers: &[LayerIdentity], init: InitFiles, top: Top) -> BaseKey {
    let mut hash = Sha256::new();
    hash.update(format!("overlay\0{init:?}\0{}\0{:o}\0", top.owner, top.mode));
    layers.iter().for_each(|layer| layer.add_to(&mut hash));
    BaseKey::of_digest(hash.finalize().into())
}

fn unreadable(path: &Path, source: io::Error) -> Unidentified {
    Unidentified::LayerStore { path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
