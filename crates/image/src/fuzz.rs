//! The fuzz targets of this crate. Each function gives an input to the code that reads what others wrote, and panics if the
//! result breaks a rule. The crate in `fuzz/` calls them with any bytes, the tests below with seeds and damaged seeds.
//!
//! | function | who wrote it |
//! |---|---|
//! | [`mountinfo`] | the kernel; the paths in the mount table are from anybody |
//! | [`store`] | Docker, in its layer database |
//! | [`tar`] | anybody: a layer of an image |
//! | [`archive`] | anybody: the file that `image import` reads |
//!
//! [`list`] prints what the reader of tars reads, for the comparison with Go's, and `documents` what the reader of manifests does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use sharedroot_format::{BaseKey, ChainId};
use sharedroot_seeds::says_something;
use sharedroot_sys::mountinfo::{Mount, mounts, topmost};

#[cfg(feature = "fuzz")]
pub use super::import::fuzz::documents;
pub use super::import::fuzz::{archive, list, tar};
use super::overlay_options::OverlayOptions;
use super::{docker, overlay};
use crate::image::Image;

/// The text of `/proc/self/mountinfo`.
///
/// # Panics
/// If a rule is broken.
pub fn mountinfo(table: &[u8]) {
    let mounts: Vec<Mount> = mounts(table).collect();
    let mut at: HashMap<&Path, usize> = HashMap::new();
    for mount in &mounts {
        assert_eq!(Mount::parse(&line(mount)).as_ref(), Some(mount), "printed and read again");
        stack(&mount.options);
        *at.entry(&mount.point).or_default() += 1;
    }
    for (point, count) in at.into_iter().take(8) {
        let top = topmost(table, point);
        assert!(top.is_some() || count > 1, "the only mount at {point:?} is the topmost");
        assert!(top.is_none_or(|top| top.point == point));
        match overlay::stack_at(table, point) {
            Ok(stack) => assert!(stack.unusual.is_empty(), "{stack:?}"),
            Err(unidentified) => says_something(&unidentified),
        }
    }
}

/// The layers of an overlay, printed one by one and parsed again, are the same layers.
fn stack(options: &[u8]) {
    let Some(stack) = OverlayOptions::parse(options) else { return };
    let mut again = b"rw".to_vec();
    for layer in &stack.layers {
        again.extend_from_slice(b",lowerdir+=");
        again.extend(escape(layer.as_os_str().as_bytes(), b", \t\n\\"));
    }
    assert_eq!(OverlayOptions::parse(&again).map(|again| again.layers), Some(stack.layers));
}

/// The line of a mount, as the kernel prints it.
fn line(mount: &Mount) -> Vec<u8> {
    let (major, minor) = mount.device;
    let mut line = format!("{} {} {major}:{minor} ", mount.id, mount.parent).into_bytes();
    for path in [&mount.root, &mount.point] {
        line.extend(escape(path.as_os_str().as_bytes(), b" \t\n\\"));
        line.push(b' ');
    }
    line.extend_from_slice(b"rw shared:1 - ");
    line.extend(escape(&mount.fstype, b" \t\n\\"));
    line.push(b' ');
    line.extend(escape(&mount.source, b" \t\n\\#"));
    line.push(b' ');
    line.extend_from_slice(&mount.options);
    line
}

/// What the kernel does to a field (`seq_escape`).
pub(crate) fn escape(bytes: &[u8], special: &[u8]) -> Vec<u8> {
    bytes.iter().fold(Vec::new(), |mut out, byte| {
        match special.contains(byte) {
            true => out.extend(format!("\\{byte:03o}").bytes()),
            false => out.push(*byte),
        }
        out
    })
}

/// Docker's files about one container and its layers, separated by NUL: mount-id, init-id, parent, lower, the targets of the
/// driver's links, then cache-id and parent of each layer, the topmost first. The whole text is also parsed as a key.
///
/// # Panics
/// If a rule is broken.
pub fn store(text: &[u8]) {
    key(text);
    let parts: Vec<&[u8]> = text.split(|&byte| byte == 0).collect();
    thread_local!(static STORE: RefCell<Store> = RefCell::new(Store::new()));
    STORE.with_borrow_mut(|store| {
        store.fill(&parts);
        match store.identify() {
            Ok(image) => store.holds(&image),
            Err(unidentified) => says_something(&unidentified),
        }
    });
}

fn key(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Ok(key) = text.parse::<BaseKey>() {
        assert_eq!(key.to_string(), text);
        assert!(text.len() < 90 && !text.contains(['/', '\0']), "{text:?}");
    }
}

/// A Docker root with one container. Dropping it removes it.
struct Store(PathBuf);

impl Store {
    fn new() -> Self {
        let name =
            format!("sharedroot-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
        let top = std::env::temp_dir().join(name).join("docker");
        for dir in ["overlay2/m/diff", "overlay2/m-init/diff", "overlay2/l"] {
            fs::create_dir_all(top.join(dir)).expect("make a directory of the store");
        }
        Self(top)
    }

    fn fill(&self, parts: &[&[u8]]) {
        let layerdb = self.0.join("image/overlay2/layerdb");
        let _ = fs::remove_dir_all(&layerdb);
        let container = layerdb.join("mounts/c");
        fs::create_dir_all(&container).expect("make the container's directory");
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        for (at, name) in ["mount-id", "init-id", "parent"].into_iter().enumerate() {
            fs::write(container.join(name), part(at)).expect("write a file of the container");
        }
        fs::write(self.0.join("overlay2/m/lower"), part(3)).expect("write the list of layers");
        for (at, link) in ["I", "A", "B"].into_iter().enumerate() {
            let path = self.0.join("overlay2/l").join(link);
            let _ = fs::remove_file(&path);
            // A target that the kernel does not take, such as an empty target, makes no link.
            let _ = symlink(std::ffi::OsStr::from_bytes(part(4 + at)), path);
        }
        let mut chain = part(2);
        for layer in parts.get(7..).unwrap_or_default().chunks(2) {
            let id = String::from_utf8_lossy(chain).trim().parse::<ChainId>();
            let Ok(id) = id else { break };
            let dir = layerdb.join("sha256").join(id.hex());
            fs::create_dir_all(&dir).expect("make a layer's directory");
            fs::write(dir.join("cache-id"), layer[0]).expect("write a cache-id");
            chain = layer.get(1).copied().unwrap_or_default();
            fs::write(dir.join("parent"), chain).expect("write a parent");
        }
    }

    fn identify(&self) -> Result<Image, super::Unidentified> {
        docker::identify(&self.0.join("overlay2/m/merged"), "c")
    }

    /// Checks that no path of the image leads out of the driver's directory.
    fn holds(&self, image: &Image) {
        let driver = self.0.join("overlay2");
        assert!(!image.layers.is_empty());
        for layer in image.layers.iter().chain(image.upper.as_ref().map(|upper| &upper.path)) {
            let inside = layer.strip_prefix(&driver).expect("a path of the driver");
            let parts: Vec<Component<'_>> = inside.components().collect();
            assert!(
                matches!(parts[..], [Component::Normal(_), Component::Normal(diff)] if diff == "diff"),
                "{layer:?}"
            );
        }
        assert_eq!(image.key.to_string().parse(), Ok(image.key.clone()));
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap_or(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use sharedroot_seeds::{Target, damaged_seeds, every_seed};

    use super::*;

    const TARGETS: [Target; 4] =
        [("archive", archive), ("mountinfo", mountinfo), ("store", store), ("tar", tar)];

    #[test]
    fn every_seed_is_read_or_refused() {
        every_seed(&TARGETS);
    }

    #[test]
    fn damaged_seeds_are_read_or_refused() {
        damaged_seeds(&TARGETS);
    }
}
