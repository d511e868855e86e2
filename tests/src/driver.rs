//! Containers of Docker's overlay2 driver without Docker: what the daemon leaves on disk for a runtime.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::command::out;

/// The chain ID of the image, which names its base.
const CHAIN: &str = "5ba5eba11005eedfacade5ba5eba11005eedfacade5ba5eba11005eedfacade0";

/// One image of one layer below a Docker root of its own.
#[derive(Debug)]
pub struct Layered {
    docker: PathBuf,
}

impl Layered {
    /// The image below `docker`; `fill` makes what its layer holds.
    #[track_caller]
    pub fn new(docker: PathBuf, fill: impl FnOnce(&Path)) -> Self {
        let image = Self { docker };
        let layer = image.driver("layer/diff");
        fs::create_dir_all(&layer).expect("the layer");
        fill(&layer);
        let chain = image.layerdb(&format!("sha256/{CHAIN}"));
        fs::create_dir_all(&chain).expect("the layer database");
        fs::write(chain.join("cache-id"), "layer").expect("write cache-id");
        fs::create_dir_all(image.driver("l")).expect("the short links");
        symlink("../layer/diff", image.driver("l/LAYER")).expect("a short link");
        image
    }

    fn driver(&self, path: &str) -> PathBuf {
        self.docker.join("overlay2").join(path)
    }

    fn layerdb(&self, path: &str) -> PathBuf {
        self.docker.join("image/overlay2/layerdb").join(path)
    }

    /// The root of container `id`: its layers in the driver, its line in the database, its mounted overlay.
    #[track_caller]
    pub fn container(&self, id: &str) -> PathBuf {
        let (mount, init) = (format!("m-{id}"), format!("m-{id}-init"));
        for dir in [
            format!("{init}/diff"),
            format!("{mount}/diff"),
            format!("{mount}/work"),
            format!("{mount}/merged"),
        ] {
            fs::create_dir_all(self.driver(&dir)).expect("the driver's directories");
        }
        symlink(format!("../{init}/diff"), self.driver(&format!("l/{id}"))).expect("a short link");
        fs::write(self.driver(&format!("{mount}/lower")), format!("l/{id}:l/LAYER"))
            .expect("write lower");
        let entry = self.layerdb(&format!("mounts/{id}"));
        fs::create_dir_all(&entry).expect("the layer database");
        let chain = format!("sha256:{CHAIN}");
        for (file, word) in [("mount-id", &mount), ("init-id", &init), ("parent", &chain)] {
            fs::write(entry.join(file), word).expect("write the layer database");
        }
        let dir = |path: &str| self.driver(path).to_str().expect("a path of ASCII").to_owned();
        let (lower, upper) = (
            format!("{}:{}", dir(&format!("{init}/diff")), dir("layer/diff")),
            dir(&format!("{mount}/diff")),
        );
        let options =
            format!("lowerdir={lower},upperdir={upper},workdir={}", dir(&format!("{mount}/work")));
        let merged = self.driver(&format!("{mount}/merged"));
        out(&["mount", "-t", "overlay", "overlay", "-o", &options, text(&merged)]);
        merged
    }

    /// Mounts the image's only layer, a plain directory, where the runtime looks for the image's base.
    #[track_caller]
    pub fn mount_base(&self, run_dir: &Path) {
        let at = run_dir.join("base").join(CHAIN);
        fs::create_dir_all(&at).expect("a mount point");
        out(&["mount", "--bind", text(&self.driver("layer/diff")), text(&at)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}
