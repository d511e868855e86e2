use std::os::unix::fs::{PermissionsExt, symlink};

use sharedroot_sys::mount;

use super::super::testing::{TestDir, need_root, shell};
use sharedroot_format::Owner;

use super::*;

const TOP: Top = Top { owner: Owner::ROOT, mode: ROOT_MODE };

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
        let unidentified =
            stack_at(table, Path::new(path)).err().map(|unidentified| unidentified.to_string());
        assert_eq!(unidentified.as_deref(), expected);
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

    fn identify(&self) -> Result<Image, Unidentified> {
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
    assert_eq!(image.upper, Some(Upper { path: at("upper"), empty: true }));
    assert_eq!(image.init, InitFiles::MountPoints);
    assert!(matches!(&image.source, Source::Overlay { layers } if layers.len() == 2));
    assert_eq!(image.chain_id, None);
    assert_eq!(stacked.identify().unwrap(), image);

    stacked.0.write("rootfs/written", "");
    assert!(matches!(
        stacked.identify(),
        Ok(Image { upper: Some(Upper { empty: false, .. }), .. })
    ));
}

#[test]
fn root_the_top_is_as_the_engine_makes_it() {
    need_root();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (layer, of_layer, of_upper, expected) in [
        ("snapshots/1/fs", 0o700, 0o755, Some(0o755)),
        ("snapshots/1/fs", 0o700, 0o700, None),
        ("overlay/1/diff", 0o555, 0o555, Some(0o555)),
        ("overlay/1/diff", 0o1777, 0o755, None),
    ] {
        let stacked = Stacked::new(TestDir::new(), &[layer]);
        mode(&stacked.0.path().join(layer), of_layer);
        mode(&stacked.0.path().join("upper"), of_upper);
        let found = stacked.identify().map(|image| image.top.mode);
        assert_eq!(found.as_ref().ok(), expected.as_ref(), "{layer}: {found:?}");
    }
    // What a container did to its own `/` does not change the image's key.
    let stacked = Stacked::new(TestDir::new(), &["snapshots/1/fs"]);
    let image = stacked.identify().unwrap();
    stacked.0.write("rootfs/written", "");
    mode(&stacked.0.path().join("rootfs"), 0o711);
    assert_eq!(stacked.identify().unwrap().key, image.key);
}

#[test]
fn shortened_paths_are_of_the_directory_that_holds_all_layers() {
    let upper = Some(Path::new("/store/snapshots/7/fs"));
    let at = |layer: &str, upper| absolute(Path::new(layer), upper);
    assert_eq!(at("3/fs", upper), Some("/store/snapshots/3/fs".into()));
    assert_eq!(at("/other/3/fs", upper), Some("/other/3/fs".into()));
    assert_eq!(at("/other/3/fs", None), Some("/other/3/fs".into()));
    for (layer, upper) in [("3/fs", None), ("../3/fs", upper), ("3/fs", Some(Path::new("fs")))] {
        assert_eq!(at(layer, upper), None, "{layer} {upper:?}");
    }
}

#[test]
fn root_as_many_layers_as_docker_allows() {
    need_root();
    let dir = TestDir::new();
    let names: Vec<String> = (0..127).map(|at| format!("snapshots/{at}/fs")).collect();
    for name in &names {
        dir.write(&format!("{name}/of-{}", name.replace('/', "-")), name);
        dir.write(&format!("{name}/top"), name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stacked = Stacked::new(dir, &names);
    let image = stacked.identify().unwrap();
    assert_eq!(image.layers.len(), 127);
    let tree = crate::assemble(&image, &stacked.0.path().join("making")).unwrap();
    assert!((0..127).all(|at| tree.has(&format!("of-snapshots-{at}-fs"))));
}

/// Mounts as containerd and podman do when the options would not fit into a page: from the directory that holds the layers.
#[test]
fn root_layers_that_a_real_mount_names_by_shortened_paths() {
    need_root();
    let dir = TestDir::new();
    for name in ["store/snapshots/1/fs", "store/snapshots/2/fs", "store/snapshots/3/work"] {
        dir.dir(name);
    }
    let [upper, root] = [dir.dir("store/snapshots/3/fs"), dir.dir("rootfs")];
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).unwrap();
    let stacked = Stacked(dir);
    let store = stacked.0.path().join("store/snapshots");
    shell(
        r#"cd "$1"; mount -t overlay -o lowerdir=2/fs:1/fs,upperdir="$1/3/fs",workdir="$1/3/work" x "$2""#,
        &[&store, &root],
    );
    let image = stacked.identify().unwrap();
    assert_eq!(image.layers, [store.join("2/fs"), store.join("1/fs")]);
    assert!(image.upper.unwrap().empty);
}

#[test]
fn root_a_directory_that_of_no_engine_is_no_layer() {
    need_root();
    let stacked = Stacked::new(TestDir::new(), &["tree"]);
    assert!(matches!(stacked.identify(), Err(Unidentified::NotALayer { .. })));
}

#[test]
fn root_a_later_directory_of_the_same_name_is_another_image() {
    need_root();
    let dir = TestDir::new();
    let (one, two) = (dir.dir("one"), dir.dir("two"));
    let key = |paths: [&PathBuf; 2], init| {
        let layers = paths.map(|path| LayerIdentity::at(path).unwrap());
        (super::key(&layers, init, TOP), Source::Overlay { layers: layers.into() })
    };
    let (before, source) = key([&two, &one], InitFiles::MountPoints);
    assert_ne!(before, key([&one, &two], InitFiles::MountPoints).0);
    assert_ne!(before, key([&two, &one], InitFiles::AsDocker).0);
    assert!(source.is_there().unwrap());
    fs::remove_dir(&two).unwrap();
    assert!(!source.is_there().unwrap());
    // The kernel's clock for birth times ticks every few milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(50));
    fs::create_dir(&two).unwrap();
    assert!(!source.is_there().unwrap());
    assert_ne!(before, key([&two, &one], InitFiles::MountPoints).0);
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
