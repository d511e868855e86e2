//! What is written for others follows no link that the owner of the directory planted.
//!
//! Guest: --no-docker --limit 400

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use sharedroot_tests::command::Cmd;
use sharedroot_tests::lab::{Replaced, TempDir, only_in_lab};
use sharedroot_tests::layout::{Layout, layer};
use sharedroot_tests::pool::CONFIG;
use tar::EntryType;

/// A directory of an unprivileged user's, in which each of `names` is a link to a file of root's.
struct Planted {
    dir: TempDir,
    names: Vec<String>,
}

impl Planted {
    fn with(names: &[&str]) -> Self {
        only_in_lab();
        let dir = TempDir::new("planted");
        chown(&dir.0, Some(1000), Some(1000)).expect("give the directory away");
        fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o755)).expect("set its mode");
        let planted = Self { dir, names: names.iter().map(|name| (*name).to_owned()).collect() };
        for (n, name) in planted.names.iter().enumerate() {
            fs::write(planted.victim(n), "root's own").expect("write");
            symlink(planted.victim(n), planted.dir.0.join(name)).expect("link");
        }
        planted
    }

    fn victim(&self, n: usize) -> String {
        format!("{}-victim-{n}", self.dir.str())
    }

    /// Runs a command that writes the file `name`; every link's target is as it was, and the file is one.
    fn survives(&self, name: &str, words: &[&str]) {
        let path = format!("{}/{name}", self.dir.str());
        let words: Vec<_> = words.iter().map(|word| word.replace("FILE", &path)).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        Cmd::new("sharedroot").args(&words).run().ok();
        for n in 0..self.names.len() {
            let text = fs::read_to_string(self.victim(n)).expect("read");
            assert_eq!(text, "root's own", "{words:?}: {} was followed", self.names[n]);
        }
        let found = fs::symlink_metadata(&path).expect("the output");
        assert!(found.is_file() && found.len() > 0, "{words:?}: {found:?}");
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        for n in 0..self.names.len() {
            let _ = fs::remove_file(self.victim(n));
        }
    }
}

#[test]
fn vm_metrics_replaces_a_planted_link() {
    let planted = Planted::with(&["figures.prom", "figures.new", "figures.prom.new"]);
    planted.survives("figures.prom", &["metrics", "--output", "FILE"]);
    let mode = fs::metadata(planted.dir.0.join("figures.prom")).expect("stat").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the collector runs as another user");
}

#[test]
fn vm_an_exported_image_replaces_a_planted_link() {
    let _config = Replaced::with(CONFIG, "[base]\nsize = \"256M\"\n");
    let layout = Layout::plain(&[layer(&[(EntryType::Regular, "file", "", b"content")])]);
    Cmd::new("sharedroot").args(&["image", "import", layout.str(), "lab/planted:1"]).run().ok();
    let planted = Planted::with(&["image.tar", "image.new", "image.tar.new"]);
    planted.survives("image.tar", &["image", "export", "lab/planted:1", "--output", "FILE"]);
    Cmd::new("sharedroot").args(&["image", "rm", "lab/planted:1"]).run().ok();
}
