//! How often the image's pages are in memory: cachestat(2) of every file of every root, by `fincore`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sharedroot_tests::command::out;

use crate::pods::Pods;

/// Pages of the image's files.
#[derive(Debug, Serialize)]
pub struct Pages {
    /// Inodes of which there are pages in memory.
    pub inodes: usize,
    /// Pages of all of them.
    pub resident: u64,
    /// The pages of the inode with most pages of every file: the size of one copy.
    pub one_copy: u64,
}

impl Pages {
    /// Counts the pages of the roots of all pods, as the pods see them, and of the layers, because the pages of an overlay's
    /// file belong to the layer.
    pub fn of(pods: &dyn Pods, running: usize) -> Self {
        let mut found = Self { inodes: 0, resident: 0, one_copy: 0 };
        let images = pods.layers().len();
        for (number, layer) in pods.layers().iter().enumerate() {
            let inside = (number..running).step_by(images).map(|pod| pods.pid(pod));
            let mut roots: Vec<_> = inside.map(|pid| format!("/proc/{pid}/root").into()).collect();
            roots.push(layer.clone());
            files(layer).iter().for_each(|file| found.add(file, &roots));
        }
        found
    }

    fn add(&mut self, file: &Path, roots: &[PathBuf]) {
        // One path for each inode.
        let mut inodes = BTreeMap::new();
        for path in roots.iter().map(|root| root.join(file)) {
            let of = fs::metadata(&path).unwrap_or_else(|e| panic!("stat {}: {e}", path.display()));
            inodes.insert((of.dev(), of.ino()), path);
        }
        let pages = resident(inodes.values());
        self.inodes += pages.iter().filter(|pages| **pages > 0).count();
        self.resident += pages.iter().sum::<u64>();
        self.one_copy += pages.iter().max().copied().unwrap_or(0);
    }

    /// The number of copies in memory, at least 1.
    pub fn copies(&self) -> f64 {
        self.resident as f64 / self.one_copy as f64
    }
}

/// The regular files below a directory, relative to it.
fn files(root: &Path) -> Vec<PathBuf> {
    let text = root.to_str().expect("a path of ASCII");
    let list = out(&["find", text, "-xdev", "-type", "f", "-size", "+0", "-printf", "%P\n"]);
    list.lines().map(PathBuf::from).collect()
}

/// The pages in memory of each file. The column EVICTED_PAGES makes fincore use cachestat(2) or fail, because mincore(2) sees
/// less.
fn resident<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> Vec<u64> {
    let mut words = vec!["fincore", "--noheadings", "--output", "PAGES,EVICTED_PAGES"];
    words.extend(paths.map(|path| path.to_str().expect("a path of ASCII")));
    let lines = out(&words);
    let pages = |line: &str| line.split_whitespace().next().and_then(|n| n.parse().ok());
    lines.lines().map(|line| pages(line).unwrap_or_else(|| panic!("fincore: {line}"))).collect()
}
