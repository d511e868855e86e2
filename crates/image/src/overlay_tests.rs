use std::os::unix::fs::{PermissionsExt, symlink};

use sharedroot_sys::mount;

use super::super::testing::{TestDir, docker_init_layer, need_root, shell};
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
struct Stacked(TestDir, &'static str);

impl Stacked {
    fn new(dir: TestDir, names: &[&str]) -> Self {
        Self::at(dir, names, "rootfs")
    }

    fn at(dir: TestDir, names: &[&str], root: &'static str) -> Self {
        let layers: Vec<_> = names.iter().map(|name| dir.dir(name)).collect();
        let upper = dir.dir("upper");
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).unwrap();
        let at = dir.dir(root);
        mount::overlay(&layers, &upper, &dir.dir("work")).unwrap().attach(&at).unwrap().keep();
        Self(dir, root)
    }

    fn identify(&self) -> Result<Image, Unidentified> {
        super::super::identify(&self.0.path().join(self.1), "any")
    }
}

// The mount goes before its directory does.
impl Drop for Stacked {
    fn drop(&mut self) {
        let _ = mount::detach(&self.0.path().join(self.1));
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
    let stacked = Stacked(dir, "rootfs");
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

/// Where Docker mounts the root of a container from containerd's image store.
const DOCKERS_ROOT: &str = "rootfs/overlayfs/container";

/// A container of an image of one layer, with an init layer of its own that `change` has changed. The paths of the layers.
fn with_init_layer(shared: &TestDir, root: &'static str, change: &str) -> (Image, [PathBuf; 2]) {
    let image_layer = shared.dir("snapshots/image/fs");
    let dir = TestDir::new();
    let init = docker_init_layer(&dir, "snapshots/init/fs", std::slice::from_ref(&image_layer));
    shell(&format!("cd \"$1\"; {change}"), &[&init]);
    symlink(&image_layer, dir.path().join("image")).unwrap();
    let image = Stacked::at(dir, &["snapshots/init/fs", "image"], root).identify().unwrap();
    (image, [init, image_layer])
}

#[test]
fn root_dockers_init_layer_is_not_part_of_an_image() {
    need_root();
    // Two containers of one image: the same lower layer, an init layer each.
    let shared = TestDir::new();
    shared.write("snapshots/image/fs/etc/passwd", "");
    shell("chmod 750 \"$1\"", &[&shared.dir("snapshots/image/fs/etc")]);
    let [(first, layers), (second, _)] =
        [(), ()].map(|()| with_init_layer(&shared, DOCKERS_ROOT, "true"));
    assert_eq!(first.key, second.key);
    assert_eq!(first.layers, layers[1..]);
    assert_eq!(first.init, InitFiles::AsDocker);
}

/// Engines and scanners see what the topmost layer of an image shows and hides, so a base must not lack it.
#[test]
fn root_a_layer_that_hides_something_is_part_of_an_image() {
    need_root();
    let shared = TestDir::new();
    shared.write("snapshots/image/fs/etc/passwd", "");
    for change in [
        "setfattr -n trusted.overlay.opaque -v y etc",
        "chmod 700 etc",
        "setfattr -n user.x -v 1 etc",
    ] {
        let (image, layers) = with_init_layer(&shared, DOCKERS_ROOT, change);
        assert_eq!(image.layers, layers, "{change}");
        assert_eq!(image.init, InitFiles::MountPoints, "{change}");
    }
    // No other engine has an init layer: this one is of the image.
    let (image, layers) = with_init_layer(&shared, "rootfs", "true");
    assert_eq!(image.layers, layers);
}
