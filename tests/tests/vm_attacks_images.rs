//! Images whose `/dev` or `/etc` is a link out of the root (CVE-2026-41579, CVE-2026-47766): what the runtime makes
//! in a container's root, and what it makes in a base, must stay there. But for Docker's part it is generic.
//!
//! Guest: --limit 800 --shim long

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sharedroot_tests::attack::{listing, targets};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::docker::{Container, docker, docker_run};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// A directory of the host at which the images aim. It must stay as it is.
struct Aim {
    dir: TempDir,
    before: Vec<String>,
}

impl Aim {
    fn new() -> Self {
        let dir = TempDir::new("aim");
        // A runtime deletes /dev/ptmx before it makes its own.
        for name in ["ptmx", "hosts", "resolv.conf", "null"] {
            fs::write(dir.0.join(name), "the host's").unwrap();
        }
        let before = listing(&dir.0);
        Self { dir, before }
    }

    fn path(&self) -> &Path {
        &self.dir.0
    }

    /// The same directory, as seen from `root` by a link with too many `..`.
    fn relative(&self) -> PathBuf {
        Path::new(&"../".repeat(20)).join(self.path().strip_prefix("/").unwrap())
    }

    #[track_caller]
    fn untouched(&self, what: &str) {
        assert_eq!(listing(self.path()), self.before, "{what}");
        for name in ["ptmx", "hosts", "resolv.conf", "null"] {
            assert_eq!(fs::read_to_string(self.path().join(name)).unwrap(), "the host's", "{what}");
        }
    }
}

/// An image with a link in the place of a directory. The aim is reachable: who writes by path gets there.
#[track_caller]
fn link(root: &Path, name: &str, target: &Path, aim: &Aim) {
    fs::remove_dir_all(root.join(name)).unwrap();
    symlink(target, root.join(name)).unwrap();
    symlink("naive", root.join(name).join("naive")).unwrap();
    fs::remove_file(aim.path().join("naive")).unwrap();
}

fn without_dev(config: &mut Value) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
}

#[test]
fn vm_links_of_an_image_do_not_lead_out() {
    let (runtime, aim) = (Runtime::of_env(), Aim::new());
    for (name, target) in [
        ("dev", aim.path().to_owned()),
        ("dev", aim.relative()),
        ("etc", aim.path().to_owned()),
        ("sys", aim.relative()),
    ] {
        let image = |root: &Path| {
            link(root, name, &target, &aim);
            // Inside of the root the link leads to an empty directory.
            fs::create_dir_all(root.join(aim.path().strip_prefix("/").unwrap())).unwrap();
        };
        for bundle in targets(&runtime, &["sleep", "1000"], image) {
            for dev in [true, false] {
                let what = format!("/{name} -> {} on a root {}", target.display(), bundle.kind);
                if !dev {
                    bundle.edit(without_dev);
                }
                let container = runtime.container(unique_name("link"));
                let flags = ["create", "--bundle", bundle.str(), &container.id];
                let output = runtime.cmd(&flags).run();
                aim.untouched(&format!("{what}, create: {output}"));
                if runtime.is_sharedroot() && name == "dev" {
                    assert!(
                        output.status != 0 && output.stderr.contains("/dev"),
                        "{what}: {output}"
                    );
                }
                container.cmd("delete", &["--force"]).run();
                aim.untouched(&format!("{what}, delete"));
            }
        }
    }
}

/// The nodes of devices go where the configuration says, by no link of the image.
#[test]
fn vm_devices_do_not_lead_out() {
    let (runtime, aim) = (Runtime::of_env(), Aim::new());
    let image = |root: &Path| symlink(aim.path(), root.join("dev/deep")).unwrap();
    for bundle in targets(&runtime, &["sleep", "1000"], image) {
        bundle.edit(|config| {
            without_dev(config);
            config["linux"]["devices"] = json!([
                { "path": "/dev/deep/zero", "type": "c", "major": 1, "minor": 5 },
            ]);
        });
        let container = runtime.container(unique_name("device"));
        let output = runtime.cmd(&["create", "--bundle", bundle.str(), &container.id]).run();
        aim.untouched(&format!("{}: {output}", bundle.kind));
        // Somebody else may have put links into a volume.
        let volume = TempDir::new("volume");
        fs::create_dir(volume.0.join("sub")).unwrap();
        symlink(aim.path(), volume.0.join("link")).unwrap();
        symlink(aim.relative(), volume.0.join("relative")).unwrap();
        bundle.edit(|config| {
            sharedroot_tests::attack::bind(config, volume.str(), "/dev/volume");
        });
        for path in ["link/zero", "relative/zero", "link", "sub/zero", "zero"] {
            let at = json!(format!("/dev/volume/{path}"));
            bundle.edit(|config| config["linux"]["devices"][0]["path"] = at);
            let container = runtime.container(unique_name("device"));
            let output = runtime.cmd(&["create", "--bundle", bundle.str(), &container.id]).run();
            aim.untouched(&format!("{} {path}: {output}", bundle.kind));
        }
        for path in ["sub/zero", "zero"] {
            let made = rustix::fs::lstat(volume.0.join(path)).expect("a device in the volume");
            assert_eq!(made.st_rdev, rustix::fs::makedev(1, 5), "{} {path}", bundle.kind);
        }
    }
}

/// A mount point behind a link of the image is made in the container, wherever the link says that it is.
#[test]
fn vm_mount_points_do_not_lead_out() {
    let (runtime, aim, volume) = (Runtime::of_env(), Aim::new(), TempDir::new("volume"));
    fs::write(volume.0.join("inside"), "the volume's").unwrap();
    let aimed = aim.path().to_str().unwrap();
    for (target, in_container) in [
        (aim.path().to_owned(), true),
        (aim.relative(), true),
        (format!("/proc/self/root{aimed}").into(), false),
        (format!("/proc/1/root{aimed}").into(), false),
        (format!("/proc/self/cwd/{}", aim.relative().display()).into(), false),
    ] {
        let image = |root: &Path| {
            symlink(&target, root.join("data")).unwrap();
            symlink("../data", root.join("tmp/chain")).unwrap();
        };
        for bundle in targets(&runtime, &["sleep", "1000"], image) {
            for at in ["/data/new", "/tmp/chain/new/deep", "/data"] {
                let what = format!("{at} -> {} on a root {}", target.display(), bundle.kind);
                bundle.edit(|config| {
                    let mounts = config["mounts"].as_array_mut().unwrap();
                    mounts.retain(|mount| mount["source"] != volume.str());
                    sharedroot_tests::attack::bind(config, volume.str(), at);
                });
                let container = runtime.container(unique_name("mount"));
                let create = ["create", "--bundle", bundle.str(), &container.id];
                let output = runtime.cmd(&create).run();
                aim.untouched(&format!("{what}, create: {output}"));
                if runtime.is_sharedroot() && bundle.kind == "shared" {
                    assert_eq!(output.status == 0, in_container, "{what}: {output}");
                }
                if output.status == 0 && in_container {
                    let inside = format!("/proc/{}/root{aimed}", container.pid());
                    let below = at.trim_start_matches("/data").trim_start_matches("/tmp/chain");
                    let text = fs::read_to_string(format!("{inside}{below}/inside"));
                    assert_eq!(text.unwrap(), "the volume's", "{what}");
                }
                container.cmd("delete", &["--force"]).run();
                aim.untouched(&format!("{what}, delete"));
            }
        }
    }
}

/// An image of Docker's whose `/dev` and `/etc` are links out of it: the daemon's files go into the base.
#[test]
fn vm_docker_images_with_links_run() {
    let (aim, dir) = (Aim::new(), TempDir::new("import"));
    let root = dir.0.join("rootfs");
    sharedroot_tests::bundle::make_rootfs(&root);
    link(&root, "dev", aim.path(), &aim);
    link(&root, "etc", aim.path(), &aim);
    let (tar, name) = (format!("{}/image.tar", dir.str()), unique_name("image"));
    out(&["tar", "--create", "--file", &tar, "--directory", root.to_str().unwrap(), "."]);
    docker(&["import", &tar, &name]).ok();
    for flags in [&["--read-only"][..], &[]] {
        let container = Container::run(&[flags, &[&name, "sleep", "1000"]].concat());
        assert!(root_of(container.pid()).is_on_dm(), "{flags:?}");
        assert!(container.exec(&["cat", "/etc/hosts"]).contains("localhost"), "{flags:?}");
        for path in ["/dev", "/etc"] {
            let kind = container.exec(&["sh", "-c", &format!("[ -L {path} ] || echo directory")]);
            assert_eq!(kind, "directory", "{flags:?} {path}");
        }
        drop(container);
        aim.untouched(&format!("{flags:?}"));
        assert_eq!(
            docker_run("sharedroot", &[flags, &[&name, "echo", "again"]].concat()).ok(),
            "again"
        );
        aim.untouched(&format!("{flags:?}, once more"));
    }
    docker(&["rmi", "--force", &name]).ok();
}
