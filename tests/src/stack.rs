//! An image without an engine: a layer directory at a path of containerd's snapshotter, and bundles on overlays of that layer.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bundle::{Bundle, make_rootfs};
use crate::command::{out, run, unique_name};
use crate::lab::TempDir;
use crate::runtime::Runtime;

/// An image with one layer, and a unique text in `/etc/unique`.
#[derive(Debug)]
pub struct Image {
    dir: TempDir,
    /// The text in `/etc/unique`.
    pub name: String,
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// Makes the image.
    #[track_caller]
    pub fn new() -> Self {
        let image = Self { dir: TempDir::new("image"), name: unique_name("image") };
        let layer = image.layer("1");
        make_rootfs(Path::new(&layer));
        fs::write(format!("{layer}/etc/unique"), &image.name).expect("write /etc/unique");
        image
    }

    /// The directory of the image's only layer, for changes before the first bundle.
    #[track_caller]
    pub fn top(&self) -> PathBuf {
        self.layer("1").into()
    }

    /// The directory of a layer in an engine's store. A runtime trusts no other directory.
    fn layer(&self, id: &str) -> String {
        let path = self.dir.0.join("snapshots").join(id).join("fs");
        fs::create_dir_all(&path).expect("make a layer");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod a layer");
        path.to_str().expect("a path of ASCII").to_owned()
    }

    /// A bundle whose rootfs is an overlay of the image, as containerd prepares it.
    #[track_caller]
    pub fn bundle(&self, runtime: &Runtime, readonly: bool, command: &[&str]) -> Stacked {
        let bundle = Bundle::new(runtime, command);
        bundle.edit(|config| config["root"]["readonly"] = json!(readonly));
        let (lower, upper) = (self.layer("1"), self.layer(&unique_name("upper")));
        let work = upper.replace("/fs", "/work");
        fs::create_dir(&work).expect("make a work directory");
        let rootfs = format!("{}/rootfs", bundle.str());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let stacked = Stacked { bundle, rootfs, upper, options };
        stacked.mount();
        stacked
    }
}

/// A bundle on an overlay. Dropping this value unmounts and removes the bundle. Its container must be deleted before.
#[derive(Debug)]
pub struct Stacked {
    bundle: Bundle,
    /// The overlay's mount point.
    pub rootfs: String,
    /// The overlay's upper directory.
    pub upper: String,
    options: String,
}

impl Stacked {
    /// Mounts the overlay, as an engine does before each start.
    #[track_caller]
    pub fn mount(&self) {
        out(&["mount", "-t", "overlay", "overlay", "-o", &self.options, &self.rootfs]);
    }

    /// Unmounts the overlay, as an engine does after each stop.
    #[track_caller]
    pub fn unmount(&self) {
        out(&["umount", &self.rootfs]);
    }
}

impl Deref for Stacked {
    type Target = Bundle;

    fn deref(&self) -> &Bundle {
        &self.bundle
    }
}

impl Drop for Stacked {
    fn drop(&mut self) {
        let unmounted = run(&["umount", &self.rootfs]);
        if unmounted.status != 0 {
            eprintln!("{unmounted}");
        }
    }
}

/// The engine's store on an ext4 file system with small blocks, whose inodes have less room than those of a snapshot. Dropping
/// this value unmounts the file system.
#[derive(Debug)]
pub struct Ext4(pub String);

impl Ext4 {
    /// Mounts the file system over the store of `bundle`. `make` has options of mke2fs(8), and `options` those of mount(8).
    #[track_caller]
    pub fn below(bundle: &Stacked, make: &[&str], options: &str) -> Self {
        bundle.unmount();
        let store = Path::new(&bundle.upper).parent().expect("the store");
        let store = store.to_str().expect("a path of ASCII").to_owned();
        let file = format!("{}/store.ext4", bundle.str());
        out(&["truncate", "-s", "64M", &file]);
        let words = ["mke2fs", "-q", "-t", "ext4", "-b", "1024"];
        out(&[&words[..], make, &[&file]].concat());
        out(&["mount", "-o", options, &file, &store]);
        for name in ["fs", "work"] {
            fs::create_dir(format!("{store}/{name}")).expect("make a directory");
        }
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&bundle.upper, mode).expect("chmod a layer");
        bundle.mount();
        Self(store)
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        out(&["umount", "--lazy", &self.0]);
    }
}
