//! Snapshots that outlive their container, and an end of the host that leaves such a snapshot.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::out;
use crate::documented;
use crate::lab::{STATE_DIR, wait_for};
use crate::pool::reboot;
use crate::runtime::{Container, Runtime};
use crate::stack::Stacked;

/// The snapshots in the pool.
#[track_caller]
pub fn snapshots() -> Vec<String> {
    let found = documented::json("pool inspect", &[]);
    let names = found["volumes"].as_array().expect("a list").iter();
    let names = names.map(|volume| volume["name"].as_str().expect("a name").to_owned());
    names.filter(|name| name.starts_with("private-")).collect()
}

/// The files of snapshots beside the store: notes, change times, and unfinished files of both kinds that a killed process left.
#[track_caller]
pub fn files() -> Vec<String> {
    let names = fs::read_dir(STATE_DIR).expect("list the state directory");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> =
        names.map(|name| name.into_string().expect("a name of UTF-8")).collect();
    names.retain(|name| name.starts_with("private-") || name.starts_with("times-"));
    names.sort();
    names
}

/// How many notes of snapshots there are.
#[track_caller]
pub fn notes() -> usize {
    files().iter().filter(|name| name.starts_with("private-")).count()
}

/// Checks that there is no snapshot, no note and no file beside a note.
#[track_caller]
pub fn nothing_is_kept() {
    assert_eq!((snapshots(), files()), (vec![], vec![]));
}

/// The names of the notices at the top of an engine's overlay, or of its upper directory.
#[track_caller]
pub fn noticed(tree: &Path) -> Vec<String> {
    let names = fs::read_dir(tree)
        .expect("list the tree")
        .map(|entry| entry.expect("an entry").file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    names.filter(|name| name.starts_with("sharedroot: this tree lacks files")).collect()
}

/// The path of the container's root for the host.
#[track_caller]
pub fn root(container: &Container<'_>) -> PathBuf {
    format!("/proc/{}/root", container.pid()).into()
}

/// A running container, and its root.
#[track_caller]
pub fn starts<'r>(runtime: &'r Runtime, bundle: &Stacked, id: &str) -> (Container<'r>, PathBuf) {
    runtime.cmd(&["create", "--bundle", bundle.str(), id]).run().ok();
    runtime.cmd(&["start", id]).run().ok();
    let container = runtime.container(id.to_owned());
    let top = root(&container);
    (container, top)
}

/// Kills the container's processes without the runtime, as the end of the host does.
#[track_caller]
pub fn end(container: &Container<'_>) {
    let pid = container.pid().to_string();
    out(&["kill", "-KILL", &pid]);
    wait_for("the process is gone", || (!Path::new("/proc").join(&pid).exists()).then_some(()));
}

/// Does what the end of the host does to a container, and leaves the engine's overlay mounted.
#[track_caller]
pub fn host_ends(runtime: &Runtime, bundle: &Stacked, container: Container<'_>) {
    out(&["sync"]);
    end(&container);
    let state = Path::new(runtime.root()).join(&container.id);
    std::mem::forget(container);
    out(&["umount", "--lazy", &bundle.rootfs]); // the mount of sharedroot
    // `/run` is empty after a reboot. A container that never ran has no file there.
    let _ = fs::remove_dir_all(state);
    reboot();
}

/// Does what the end of the host does to a writable container that has written `text` to `/etc/unique`. After that one more
/// snapshot is kept, and the overlay is not mounted.
#[track_caller]
pub fn go_down(runtime: &Runtime, bundle: &Stacked, id: &str, text: &str) {
    let before = notes();
    runtime.cmd(&["create", "--bundle", bundle.str(), id]).run().ok();
    runtime.cmd(&["start", id]).run().ok();
    let container = runtime.container(id.to_owned());
    fs::write(root(&container).join("etc/unique"), text).expect("write into the container");
    host_ends(runtime, bundle, container);
    bundle.unmount();
    assert_eq!((snapshots().len(), notes()), (before + 1, before + 1));
}
