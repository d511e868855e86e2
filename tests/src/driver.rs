//! Containers of Docker's overlay2 driver without Docker: what the daemon leaves on disk for a runtime.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::command::out;

/// The chain ID of the image, which names its base.
const CHAIN: &str = "5ba5eba11005eedfacade5ba5eba11005eedfacade5ba5eba11005eedfacade0";

/// One image with one layer, below a Docker root for one test.
#[derive(Debug)]
pub struct Layered {
    docker: PathBuf,
    chain_id: String,
}

/// The overlay that the driver makes for a container, not yet mounted.
#[derive(Debug)]
pub struct Overlay {
    /// The overlay's mount point, which is the rootfs for the runtime.
    pub merged: PathBuf,
    /// The overlay's options for mount(2).
    pub options: String,
    /// The directories that the driver and the daemon make for a container. `merged` is in the first one.
    pub dirs: [PathBuf; 3],
    link: PathBuf,
}

impl Overlay {
    /// Removes the container's directories. The overlay must not be mounted.
    #[track_caller]
    pub fn remove(&self) {
        self.dirs.iter().for_each(|dir| fs::remove_dir_all(dir).expect("remove a directory"));
        fs::remove_file(&self.link).expect("remove a short link");
    }
}

impl Layered {
    /// An image below `docker`. `fill` makes the content of its layer.
    #[track_caller]
    pub fn new(docker: PathBuf, fill: impl FnOnce(&Path)) -> Self {
        Self::with_chain(docker, CHAIN.to_owned(), fill)
    }

    /// An image with the given chain ID, for tests with several images.
    #[track_caller]
    pub fn numbered(docker: PathBuf, number: usize, fill: impl FnOnce(&Path)) -> Self {
        let chain = format!("{number:016x}{}", &CHAIN[16..]);
        Self::with_chain(docker, chain, fill)
    }

    #[track_caller]
    fn with_chain(docker: PathBuf, chain_id: String, fill: impl FnOnce(&Path)) -> Self {
        let image = Self { docker, chain_id };
        let layer = image.layer();
        fs::create_dir_all(&layer).expect("the layer");
        fill(&layer);
        let chain = image.layerdb(&format!("sha256/{}", image.chain_id));
        fs::create_dir_all(&chain).expect("the layer database");
        fs::write(chain.join("cache-id"), "layer").expect("write cache-id");
        fs::create_dir_all(image.driver("l")).expect("the short links");
        symlink("../layer/diff", image.driver("l/LAYER")).expect("a short link");
        image
    }

    /// The directory of the image's only layer.
    pub fn layer(&self) -> PathBuf {
        self.driver("layer/diff")
    }

    fn driver(&self, path: &str) -> PathBuf {
        self.docker.join("overlay2").join(path)
    }

    fn layerdb(&self, path: &str) -> PathBuf {
        self.docker.join("image/overlay2/layerdb").join(path)
    }

    /// Makes the root of the container `id`: its layers in the driver, its line in the database, its mounted overlay.
    #[track_caller]
    pub fn container(&self, id: &str) -> PathBuf {
        let Overlay { merged, options, .. } = self.unmounted(id);
        out(&["mount", "-t", "overlay", "overlay", "-o", &options, text(&merged)]);
        merged
    }

    /// Makes the root of the container `id` as [`container`](Self::container) does, but does not mount the overlay.
    #[track_caller]
    pub fn unmounted(&self, id: &str) -> Overlay {
        let (mount, init) = (format!("m-{id}"), format!("m-{id}-init"));
        for dir in [
            format!("{init}/diff"),
            format!("{mount}/diff"),
            format!("{mount}/work"),
            format!("{mount}/merged"),
        ] {
            fs::create_dir_all(self.driver(&dir)).expect("the driver's directories");
        }
        let link = self.driver(&format!("l/{id}"));
        symlink(format!("../{init}/diff"), &link).expect("a short link");
        fs::write(self.driver(&format!("{mount}/lower")), format!("l/{id}:l/LAYER"))
            .expect("write lower");
        let entry = self.layerdb(&format!("mounts/{id}"));
        fs::create_dir_all(&entry).expect("the layer database");
        let chain = format!("sha256:{}", self.chain_id);
        for (file, word) in [("mount-id", &mount), ("init-id", &init), ("parent", &chain)] {
            fs::write(entry.join(file), word).expect("write the layer database");
        }
        let dir = |path: &str| self.driver(path).to_str().expect("a path of ASCII").to_owned();
        let (lower, upper) = (
            format!("{}:{}", dir(&format!("{init}/diff")), text(&self.layer())),
            dir(&format!("{mount}/diff")),
        );
        let options =
            format!("lowerdir={lower},upperdir={upper},workdir={}", dir(&format!("{mount}/work")));
        let merged = self.driver(&format!("{mount}/merged"));
        Overlay { merged, options, dirs: [self.driver(&mount), self.driver(&init), entry], link }
    }

    /// Mounts the image's only layer at the path where the runtime looks for the image's base.
    #[track_caller]
    pub fn mount_base(&self, run_dir: &Path) {
        let at = run_dir.join("base").join(&self.chain_id);
        fs::create_dir_all(&at).expect("a mount point");
        out(&["mount", "--bind", text(&self.layer()), text(&at)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}
