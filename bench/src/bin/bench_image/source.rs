//! A Docker image, saved as an archive, and its layers as tars.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::lab::TempDir;

/// The files that all arms read. They are in the page cache when the first round begins.
pub struct Source {
    dir: TempDir,
    /// The layers; the lowest one is the first.
    pub layers: Vec<String>,
}

impl Source {
    pub fn saved(image: &str) -> Self {
        let dir = TempDir::new("bench");
        let tar = format!("{}/image.tar", dir.str());
        let long = Duration::from_secs(600);
        Cmd::new("docker").args(&["save", "--output", &tar, image]).limit(long).run().ok();
        let parts = format!("{}/parts", dir.str());
        fs::create_dir(&parts).expect("make a directory");
        out(&["tar", "-xf", &tar, "-C", &parts]);
        let manifest = fs::read(format!("{parts}/manifest.json")).expect("read manifest.json");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        let layers = manifest[0]["Layers"].as_array().expect("layers").iter();
        let layer = |layer: &Value| format!("{parts}/{}", layer.as_str().expect("a name"));
        Self { layers: layers.map(layer).collect(), dir }
    }

    /// The archive.
    pub fn archive(&self) -> String {
        format!("{}/image.tar", self.dir.str())
    }

    /// A directory for the files of a round.
    pub fn dir(&self, name: &str) -> String {
        let path = format!("{}/{name}", self.dir.str());
        fs::create_dir_all(&path).expect("make a directory");
        path
    }
}
