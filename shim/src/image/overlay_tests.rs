use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::testing::{TestDir, need_root};
use super::*;
use crate::mount;

#[test]
fn what_is_at_a_root_path() {
    let table = b"30 20 0:1 / /c rw - overlay overlay rw,lowerdir=/a:/b,upperdir=/u,workdir=/w\n\
        31 20 0:2 / /t rw - tmpfs tmpfs rw\n\
        32 20 0:3 /sub /s rw - overlay overlay rw,lowerdir=/a\n\
        33 20 0:4 / /x rw - overlay overlay rw,lowerdir=/a,userxattr\n";
    let stack = stack_at(table, Path::new("/c")).unwrap();
    assert_eq!(stack.layers, [Path::new("/a"), Path::new("/b")]);
    for (path, expected) in [
        ("/c/", None),
        ("/none", Some("no overlay is mounted at /none (no mount has this mount point)")),
        ("/t", Some("no overlay is mounted at /t (the mount is tmpfs)")),
        ("/s", Some("no overlay is mounted at /s (the mount is of /sub in an overlay)")),
        (
            "/x",
            Some("the overlay at /x has the option \"userxattr\", which changes what layers mean"),
        ),
    ] {
        let doubt = stack_at(table, Path::new(path)).err().map(|doubt| doubt.to_string());
        assert_eq!(doubt.as_deref(), expected);
    }
}

/// A containerd-like stack, mounted, with the layers in `names`, topmost first.
struct Stacked(TestDir);

impl Stacked {
    fn new(dir: TestDir, names: &[&str]) -> Self {
        let layers: Vec<_> = names.iter().map(|name| dir.dir(name)).collect();
        let upper = dir.dir("upper");
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).unwrap();
        let root = dir.dir("rootfs");
        mount::overlay(&layers, &upper, &dir.dir("work")).unwrap().attach(&root).unwrap().keep();
        Self(dir)
    }

    fn identify(&self) -> Result<Image, Doubt> {
        super::super::identify(&self.0.path().join("rootfs"), "any")
    }
}

// The mount goes before its directory does.
impl Drop for Stacked {
    fn drop(&mut self) {
        let _ = mount::detach(&self.0.path().join("rootfs"));
    }
}

#[test]
fn root_the_layers_of_a_mounted_overlay() {
    need_root();
    let dir = TestDir::new();
    dir.write("snapshots/two/fs/file", "2");
    dir.write("snapshots/one:,\\ x/fs/file", "1");
    let [two, one] = ["snapshots/two/fs", "snapshots/one:,\\ x/fs"];
    let stacked = Stacked::new(dir, &[two, one]);
    let image = stacked.identify().unwrap();
    let at = |name| stacked.0.path().join(name);
    assert_eq!(image.layers, [at(two), at(one)]);
    assert_eq!(image.upper, Some(at("upper")));
    assert_eq!((image.source, image.init), (Source::Overlay, InitFiles::MountPoints));
    assert_eq!(image.chain_id, None);
    assert_eq!(stacked.identify().unwrap(), image);

    stacked.0.write("rootfs/written", "");
    assert!(matches!(stacked.identify(), Err(Doubt::UpperNotEmpty { .. })));
}

#[test]
fn root_a_directory_that_is_no_engines_is_a_doubt() {
    need_root();
    let stacked = Stacked::new(TestDir::new(), &["tree"]);
    assert!(matches!(stacked.identify(), Err(Doubt::NotALayer { .. })));
}

#[test]
fn root_a_later_directory_of_the_same_name_is_another_image() {
    need_root();
    let dir = TestDir::new();
    let (one, two) = (dir.dir("one"), dir.dir("two"));
    let before = key(&[two.clone(), one.clone()], InitFiles::MountPoints, Owner::ROOT).unwrap();
    let other_order = key(&[one.clone(), two.clone()], InitFiles::MountPoints, Owner::ROOT);
    assert_ne!(before, other_order.unwrap());
    let other_init = key(&[two.clone(), one.clone()], InitFiles::AsDocker, Owner::ROOT);
    assert_ne!(before, other_init.unwrap());
    fs::remove_dir(&two).unwrap();
    // The kernel's clock for birth times ticks every few milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(50));
    fs::create_dir(&two).unwrap();
    assert_ne!(before, key(&[two, one], InitFiles::MountPoints, Owner::ROOT).unwrap());
}

#[test]
fn root_dockers_init_layer_is_not_part_of_an_image() {
    need_root();
    // Two containers of one image: the same lower layer, an init layer each.
    let shared = TestDir::new();
    let image_layer = shared.dir("snapshots/image/fs");
    let identify = || {
        let dir = TestDir::new();
        for (path, is_dir) in
            [("dev/pts", true), ("proc", true), (".dockerenv", false), ("etc/hosts", false)]
        {
            let path = format!("snapshots/init/fs/{path}");
            if is_dir {
                dir.dir(&path);
            } else {
                let file = dir.write(&path, "");
                fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        symlink("/proc/mounts", dir.path().join("snapshots/init/fs/etc/mtab")).unwrap();
        symlink(&image_layer, dir.path().join("image")).unwrap();
        Stacked::new(dir, &["snapshots/init/fs", "image"]).identify().unwrap()
    };
    let (first, second) = (identify(), identify());
    assert_eq!(first.key, second.key);
    assert_eq!(first.layers, [image_layer]);
    assert_eq!(first.init, InitFiles::AsDocker);
}
