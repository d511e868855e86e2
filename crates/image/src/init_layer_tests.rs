use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::super::testing::{TestDir, need_root};
use super::*;

/// An image's tree and, next to it, a directory of the host that nothing may touch.
struct Fixture {
    dir: TestDir,
    tree: PathBuf,
    host: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        need_root();
        let dir = TestDir::new();
        dir.write("host/passwd", "root");
        let (tree, host) = (dir.dir("tree"), dir.dir("host"));
        Self { dir, tree, host }
    }

    fn make(&self, which: InitFiles) {
        let root = fs::File::open(&self.tree).unwrap();
        make(root.as_fd(), which, Owner { uid: 7, gid: 8 }).unwrap();
    }

    /// Everything that Docker's init layer promises, and an untouched host.
    fn assert_as_docker(&self) {
        for dir in ["dev", "dev/pts", "dev/shm", "proc", "sys", "etc"] {
            assert!(self.stat(dir).is_dir(), "{dir}");
        }
        for file in [".dockerenv", "etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/console"] {
            let stat = self.stat(file);
            assert!(stat.is_file() && stat.len() == 0, "{file}");
            assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o755, 7, 8), "{file}");
            assert_eq!((stat.mtime(), stat.mtime_nsec()), (FIXED_TIME, 0), "{file}");
        }
        let mtab = self.stat("etc/mtab");
        assert!(mtab.is_symlink());
        assert_eq!((mtab.uid(), mtab.gid(), mtab.mtime()), (7, 8, FIXED_TIME));
        assert_eq!(fs::read_link(self.tree.join("etc/mtab")).unwrap(), Path::new("/proc/mounts"));
        self.assert_host_untouched();
    }

    fn assert_host_untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(&self.host).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["passwd"]);
        assert_eq!(fs::read_to_string(self.host.join("passwd")).unwrap(), "root");
        let names = fs::read_dir(self.dir.path()).unwrap().count();
        assert_eq!(names, 2, "something was made beside the tree");
    }

    fn stat(&self, path: &str) -> fs::Metadata {
        fs::symlink_metadata(self.tree.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}

#[test]
fn root_an_empty_tree_gets_all_of_them() {
    let fixture = Fixture::new();
    fixture.make(InitFiles::AsDocker);
    fixture.assert_as_docker();
    for new in ["dev", "dev/pts", "etc", "proc"] {
        let stat = fixture.stat(new);
        assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.mtime()), (0o755, 7, FIXED_TIME));
    }
    fixture.make(InitFiles::AsDocker);
    fixture.assert_as_docker();
}

#[test]
fn root_no_link_of_an_image_leads_out() {
    type Spoil = fn(&Fixture);
    let table: [Spoil; 9] = [
        |f| symlink(&f.host, f.tree.join("etc")).unwrap(),
        |f| symlink("../host", f.tree.join("dev")).unwrap(),
        |f| symlink("../../../../..", f.tree.join("dev")).unwrap(),
        |f| fs::write(f.tree.join("proc"), "a file").unwrap(),
        |f| symlink("../host/made", f.tree.join(".dockerenv")).unwrap(),
        |f| {
            fs::create_dir(f.tree.join("etc")).unwrap();
            symlink(f.host.join("passwd"), f.tree.join("etc/hosts")).unwrap();
            symlink(f.host.join("made"), f.tree.join("etc/hostname")).unwrap();
            fs::hard_link(f.host.join("passwd"), f.tree.join("etc/resolv.conf")).unwrap();
        },
        |f| {
            fs::create_dir(f.tree.join("dev")).unwrap();
            symlink(&f.host, f.tree.join("dev/pts")).unwrap();
            symlink(f.host.join("made"), f.tree.join("dev/shm")).unwrap();
        },
        |f| {
            symlink("dev", f.tree.join("proc")).unwrap();
            symlink("sys", f.tree.join("sys")).unwrap();
        },
        |f| {
            fs::create_dir(f.tree.join("etc")).unwrap();
            symlink("../../host/passwd", f.tree.join("etc/mtab")).unwrap();
        },
    ];
    for (number, spoil) in table.into_iter().enumerate() {
        println!("case {number}");
        let fixture = Fixture::new();
        spoil(&fixture);
        fixture.make(InitFiles::AsDocker);
        fixture.assert_as_docker();
        let fixture = Fixture::new();
        spoil(&fixture);
        fixture.make(InitFiles::MountPoints);
        fixture.assert_host_untouched();
    }
}

#[test]
fn root_what_docker_replaces_and_what_it_leaves() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.tree.join("etc/mtab/inside")).unwrap();
    fs::create_dir_all(fixture.tree.join("proc/kept")).unwrap();
    fs::write(fixture.tree.join("etc/hosts"), "127.0.0.1").unwrap();
    let etc = fs::File::open(fixture.tree.join("etc")).unwrap();
    let old = Timestamps {
        last_access: Timespec { tv_sec: 5, tv_nsec: 0 },
        last_modification: Timespec { tv_sec: 1234, tv_nsec: 5678 },
    };
    rustix::fs::futimens(&etc, &old).unwrap();

    fixture.make(InitFiles::AsDocker);
    assert_eq!(fixture.stat("etc/hosts").len(), 0);
    assert!(fixture.stat("etc/mtab/inside").is_dir());
    assert!(fixture.stat("proc/kept").is_dir());
    let etc = fixture.stat("etc");
    assert_eq!((etc.uid(), etc.mtime(), etc.mtime_nsec()), (0, 1234, 5678));
}

#[test]
fn root_without_dockers_layer_an_image_stays_as_it_is() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.tree.join("etc")).unwrap();
    fs::write(fixture.tree.join("etc/hosts"), "127.0.0.1").unwrap();
    symlink("../run/resolv.conf", fixture.tree.join("etc/resolv.conf")).unwrap();
    symlink("usr/sys", fixture.tree.join("sys")).unwrap();
    fixture.make(InitFiles::MountPoints);
    assert_eq!(fs::read_to_string(fixture.tree.join("etc/hosts")).unwrap(), "127.0.0.1");
    assert!(fixture.stat("etc/resolv.conf").is_symlink());
    assert!(fixture.stat("sys").is_symlink());
    assert!(fixture.stat("dev/console").is_file());
    assert!(fixture.stat("etc/hostname").is_file());
    assert!(!fixture.tree.join(".dockerenv").exists());
    assert!(fs::symlink_metadata(fixture.tree.join("etc/mtab")).is_err());
}
