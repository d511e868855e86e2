//! The image of a Docker container, from the daemon's own layer database.
//!
//! The rootfs is `<docker-root>/overlay2/<mount-id>/merged`. The directory
//! `<docker-root>/image/overlay2/layerdb/mounts/<container>/` has the mount ID and the chain ID of the image, and
//! `…/layerdb/sha256/<chain>/` has one layer of that chain (moby: layer/filestore.go, daemon/graphdriver/overlay2). The container
//! sees the driver's list of lower directories, so this list must agree with the chain, layer by layer. No mount table is read.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use sharedroot_format::{BaseKey, ChainId, Owner};

use super::top::ROOT_MODE;
use crate::image::{Image, Upper};
use crate::init_layer::InitFiles;
use crate::source::Source;
use crate::top::Top;
use crate::unidentified::Unidentified;

/// The most layers of a chain: overlay's OVL_MAX_STACK. Docker itself makes at most 127.
const MAX_LAYERS: usize = 500;

pub(super) fn identify(root_path: &Path, container_id: &str) -> Result<Image, Unidentified> {
    let not_docker = || Unidentified::NotADockerRootfs { root_path: root_path.to_owned() };
    let RootfsPath { docker_root, mount_id } = RootfsPath::of(root_path).ok_or_else(not_docker)?;
    let driver = docker_root.join("overlay2");
    let layerdb = docker_root.join("image/overlay2/layerdb");
    let container = layerdb.join("mounts").join(container_id);

    let mount_file = container.join("mount-id");
    match read_word(&mount_file) {
        Ok(found) => agree(&mount_file, found, mount_id)?,
        Err(Unidentified::LayerStore { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            return Err(not_docker());
        }
        Err(unidentified) => return Err(unidentified),
    }
    let init_id = read_word(&container.join("init-id"))?;
    agree(&container.join("init-id"), init_id.clone(), &format!("{mount_id}-init"))?;
    let chain_id = match read_chain_id(&container.join("parent"))? {
        Some(chain_id) => chain_id,
        None => return Err(Unidentified::NoLayers { container_id: container_id.to_owned() }),
    };

    let chained = read_chain(&layerdb, chain_id)?;
    let lower_file = driver.join(mount_id).join("lower");
    let stacked = read_stack(&driver, &lower_file, &init_id)?;
    if stacked != chained {
        let at = stacked.iter().zip(&chained).take_while(|(s, c)| s == c).count() + 1;
        let (stacked, chained) = (stacked.len(), chained.len());
        return Err(Unidentified::LayersDisagree { path: lower_file, stacked, chained, at });
    }

    // Only the daemon writes the init layer, so its owner is the root user of the store. A container may have changed the owner
    // of its own root directory.
    let init = driver.join(&init_id).join("diff");
    let top = Top { mode: ROOT_MODE, ..Top::of(&init)? };
    top.agrees_with(&init)?;
    let upper = Upper::at(driver.join(mount_id).join("diff"))?;
    if upper.empty {
        top.agrees_with(&upper.path)?;
    }

    Ok(Image {
        key: BaseKey::of_chain(&chain_id, (top.owner != Owner::ROOT).then_some(top.owner)),
        chain_id: Some(chain_id),
        layers: chained.iter().map(|id| driver.join(id).join("diff")).collect(),
        upper: Some(upper),
        init: InitFiles::AsDocker,
        top,
        source: Source::Docker { layer: layer_of(&layerdb, &chain_id) },
    })
}

/// The parts of a path `<docker-root>/overlay2/<mount-id>/merged`.
#[derive(Debug, PartialEq, Eq)]
struct RootfsPath<'a> {
    docker_root: &'a Path,
    mount_id: &'a str,
}

impl<'a> RootfsPath<'a> {
    fn of(root_path: &'a Path) -> Option<Self> {
        let merged = root_path.file_name()?;
        let mount = root_path.parent()?;
        let driver = mount.parent()?;
        let plain = root_path.components().all(|c| !matches!(c, Component::ParentDir));
        let is_docker = merged == "merged" && driver.file_name()? == "overlay2";
        (root_path.is_absolute() && plain && is_docker).then_some(())?;
        let mount_id = mount.file_name()?.to_str().filter(|id| is_id(id))?;
        Some(Self { docker_root: driver.parent()?, mount_id })
    }
}

/// Reads the cache IDs of the layers of an image, topmost first, from the layer database.
fn read_chain(layerdb: &Path, top: ChainId) -> Result<Vec<String>, Unidentified> {
    let mut cache_ids = Vec::new();
    let mut next = Some(top);
    while let Some(chain) = next {
        if cache_ids.len() == MAX_LAYERS {
            let path = layer_of(layerdb, &top);
            return Err(Unidentified::ChainTooLong { path, limit: MAX_LAYERS });
        }
        let layer = layer_of(layerdb, &chain);
        let file = layer.join("cache-id");
        let cache_id = read_word(&file)?;
        if !is_id(&cache_id) {
            let expected = "the name of a layer directory".to_owned();
            return Err(Unidentified::Disagree { path: file, found: cache_id, expected });
        }
        cache_ids.push(cache_id);
        next = read_chain_id(&layer.join("parent"))?;
    }
    Ok(cache_ids)
}

/// The directory in the database of the topmost layer of a chain.
fn layer_of(layerdb: &Path, chain: &ChainId) -> PathBuf {
    layerdb.join("sha256").join(chain.hex())
}

/// Reads the layers that the driver stacked for a container, topmost first, without the init layer.
fn read_stack(
    driver: &Path,
    lower_file: &Path,
    init_id: &str,
) -> Result<Vec<String>, Unidentified> {
    let lower = read_word(lower_file)?;
    let mut ids = Vec::new();
    for link in lower.split(':') {
        let path = driver.join(link);
        let malformed = |found: String, expected: &str| Unidentified::Disagree {
            path: path.clone(),
            found,
            expected: expected.to_owned(),
        };
        if !link.strip_prefix("l/").is_some_and(is_id) {
            return Err(malformed(link.to_owned(), "a name under l/"));
        }
        let target = fs::read_link(&path).map_err(|e| unreadable(&path, e))?;
        let target = target.to_string_lossy();
        match layer_of_link(&target) {
            Some(id) => ids.push(id.to_owned()),
            None => return Err(malformed(target.into_owned(), "../<layer>/diff")),
        }
    }
    let top = ids.remove(0); // split() yields at least one
    agree(lower_file, top, init_id)?;
    Ok(ids)
}

/// The layer in the target `../<layer>/diff` of a short link of the driver's.
fn layer_of_link(target: &str) -> Option<&str> {
    target.strip_prefix("../")?.strip_suffix("/diff").filter(|id| is_id(id))
}

/// Whether the text is one component of a path, with the characters that Docker uses for its own directories.
fn is_id(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(letter) && !text.starts_with('.')
}

/// Reads the chain ID in a file `parent`. None at the end of the chain: there is no file, or an empty one.
fn read_chain_id(path: &Path) -> Result<Option<ChainId>, Unidentified> {
    match read_word(path) {
        Ok(word) if word.is_empty() => Ok(None),
        Ok(word) => word
            .parse()
            .map(Some)
            .map_err(|source| Unidentified::ChainId { path: path.to_owned(), source }),
        Err(Unidentified::LayerStore { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(unidentified) => Err(unidentified),
    }
}

/// Reads a file that holds one word. Like moby, this ignores white space around the word.
fn read_word(path: &Path) -> Result<String, Unidentified> {
    let text = fs::read_to_string(path).map_err(|e| unreadable(path, e))?;
    Ok(text.trim().to_owned())
}

/// Checks what a file says against another record.
fn agree(path: &Path, found: String, expected: &str) -> Result<(), Unidentified> {
    if found == expected {
        return Ok(());
    }
    Err(Unidentified::Disagree { path: path.to_owned(), found, expected: expected.to_owned() })
}

fn unreadable(path: &Path, source: io::Error) -> Unidentified {
    Unidentified::LayerStore { path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "docker_tests.rs"]
mod tests;
