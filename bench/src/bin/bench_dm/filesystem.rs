//! The content of the bases, and their file systems.

use std::path::{Path, PathBuf};

use sharedroot_tests::command::{Cmd, out};

use crate::place::{BASE, Place, text};

/// A root file system of the size of a small image: static busybox and the guest's own programs.
pub fn tree(place: &Place) -> PathBuf {
    let tree = place.dir("tree");
    sharedroot_tests::bundle::make_rootfs(&tree);
    let copy = Cmd::new("cp").args(&["-a", "/etc", "/usr/sbin", text(&tree)]);
    copy.run().ok();
    tree
}

/// Makes the file system of a base as `crates/image/src/ext4.rs` does, with the same features, sizes and extended options, and
/// without mke2fs.conf. The times of files and of lost+found, which the runtime sets afterwards, do not change the figures.
pub fn make_as_we_do(device: &Path, tree: &Path) {
    let inodes = (BASE.0 / 16384).to_string();
    let blocks = (BASE.0 / 4096).to_string();
    Cmd::new("mke2fs")
        .env("MKE2FS_CONFIG", "/dev/null")
        .args(&["-q", "-t", "ext2", "-T", "default", "-O", FEATURES, "-E", EXTENDED])
        .args(&["-b", "4096", "-I", "256", "-N", &inodes, "-m", "0", "-J", "size=4"])
        .args(&["-U", UUID, "-o", "Linux", "-d", text(tree), text(device), &blocks])
        .run()
        .ok();
    sync(device);
}

const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,\
    sparse_super2,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
const EXTENDED: &str = "lazy_itable_init=1,lazy_journal_init=0,nodiscard,num_backup_sb=0,\
    stride=16,stripe_width=16,hash_seed=6a2f1c1e-6a50-4f0c-9a55-0f6f3a8f1f10";
const UUID: &str = "0e4f7a52-7a44-4f6a-8f1c-2b8a6b7f5d11";

/// The file system of a base as Docker's devmapper driver made it (moby, `daemon/graphdriver/devmapper/deviceset.go`,
/// `createFilesystem`); everything else is mke2fs.conf's. The caller fills it.
pub fn make_as_docker_did(device: &Path) {
    let options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
    Cmd::new("mkfs.ext4").args(&["-q", "-E", options, text(device)]).run().ok();
}

/// Copies the tree into a mounted file system.
pub fn fill(tree: &Path, mounted: &Path) {
    out(&["cp", "-a", &format!("{}/.", text(tree)), text(mounted)]);
}

/// Flushes a device, so that its blocks reach the pool.
fn sync(device: &Path) {
    std::fs::File::open(device).and_then(|d| d.sync_all()).expect("flush a base");
}
