//! Containers of one image, as Docker's overlay2 driver prepares them for the runtime.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::documented::images;
use sharedroot_tests::driver::Layered;
use sharedroot_tests::runtime::Runtime;

/// The root of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    Shared,
    Private,
    /// Docker's overlay, read-only or writable.
    NotShared {
        readonly: bool,
    },
}

/// One image, and the runtime.
pub struct Bundles {
    docker: PathBuf,
    layered: Layered,
    runtime: Runtime,
}

impl Bundles {
    /// An image whose only layer has the files that `fill` makes.
    pub fn new(docker: PathBuf, fill: impl FnOnce(&Path)) -> Self {
        let layered = Layered::new(docker.clone(), fill);
        Self { docker, layered, runtime: Runtime::sharedroot() }
    }

    pub fn bundle(&self, of: Root) -> OneBundle<'_> {
        let id = unique_name("bench");
        let root = self.layered.container(&id);
        let bundle = Bundle::new(&self.runtime, &["true"]);
        bundle.edit(|config| {
            let readonly = matches!(of, Root::Shared | Root::NotShared { readonly: true });
            config["root"] = json!({"path": root.to_str().expect("ASCII"), "readonly": readonly});
            if let Root::NotShared { .. } = of {
                config["annotations"] = json!({"dev.sharedroot.mode": "off"});
            }
        });
        OneBundle { of: self, id, root, bundle }
    }

    /// Deletes every base, so that the next container makes one.
    pub fn remove_bases(&self) {
        for base in images() {
            out(&["sharedroot", "image", "rm", base["key"].as_str().expect("a key")]);
        }
    }
}

/// The bundle of one container. Dropping this value removes the container, and the files of Docker's driver for it.
pub struct OneBundle<'b> {
    of: &'b Bundles,
    id: String,
    /// Docker's mount point. A private root is mounted there, too.
    pub root: PathBuf,
    bundle: Bundle,
}

impl OneBundle<'_> {
    pub fn create(&self) {
        let create = self.of.runtime.cmd(&["create", "--bundle", self.bundle.str(), &self.id]);
        // The first container of an image with 30,000 files and a gigabyte takes minutes on a slow host.
        create.limit(Duration::from_secs(600)).run().ok();
    }

    /// The same for a process of ours to start.
    pub fn create_words(&self) -> [&str; 7] {
        let (root, bundle) = (self.of.runtime.root(), self.bundle.str());
        ["sharedroot", "--root", root, "create", "--bundle", bundle, &self.id]
    }

    pub fn delete(&self) {
        self.of.runtime.cmd(&["delete", "--force", &self.id]).run().ok();
    }
}

impl Drop for OneBundle<'_> {
    fn drop(&mut self) {
        self.delete();
        out(&["umount", self.root.to_str().expect("ASCII")]);
        let dir = self.root.parent().expect("the driver's directory of the container");
        assert!(dir.starts_with(&self.of.docker), "{}", dir.display());
        fs::remove_dir_all(dir).expect("remove what the driver made");
    }
}
