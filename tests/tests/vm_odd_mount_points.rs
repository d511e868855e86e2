//! Mount points that the image has not, or has as something else: the same `docker run` with runc on overlay2 and with
//! sharedroot, on both kinds of root. Status and all that the container sees of the paths must be equal.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --takes 80 --shim long

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use serde_json::json;
use sharedroot_tests::command::{Cmd, Output, out, unique_name};
use sharedroot_tests::docker::{FreshImage, KINDS, docker_run};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

/// What the image has at the odd paths. All of its links stay in the container, whatever they say.
fn make_odd_paths(root: &Path) {
    for dir in ["run", "var", "target/inside", "private", "deep/er"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("a-file"), "the image's").unwrap();
    for (target, link) in [
        ("/run", "var/run"),
        ("/target", "absolute"),
        ("target", "relative"),
        ("../../../../../../target", "deep/er/up"),
        ("/nowhere/there", "dangling"),
        ("/proc/self/root/target", "through-proc"),
        ("a-file", "to-a-file"),
        ("round", "round"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    // Made above a scaffold it would be another directory.
    fs::set_permissions(root.join("private"), Permissions::from_mode(0o2750)).unwrap();
    chown(root.join("private"), Some(1000), Some(1001)).unwrap();
}

/// A directory and a file of the host, for volumes.
fn volumes() -> TempDir {
    let dir = TempDir::new("volumes");
    fs::create_dir(dir.0.join("dir")).unwrap();
    fs::write(dir.0.join("dir/inside"), "in the directory").unwrap();
    fs::write(dir.0.join("file"), "in the file").unwrap();
    dir
}

/// Prints each path with all that lead there, and the mounts that are no file systems of the runtime's own.
fn look(paths: &[&str]) -> String {
    let mut all: Vec<_> = paths.iter().flat_map(|path| Path::new(path).ancestors()).collect();
    all.sort();
    all.dedup();
    let list = all.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    // The sizes of directories are the file system's own, and Docker mounts in any order.
    format!(
        "pwd; for p in {list}; do busybox stat -c '%n %F %a %u:%g' $p || echo no $p; \
         busybox stat -L -c '%F %a' $p; [ ! -f $p ] || busybox md5sum $p; done 2>&1; \
         busybox awk '$5 !~ \"^/(proc|sys|dev|etc)(/|$)\" && $5 != \"/\" {{ print $4, $5, $6 }}' \
         /proc/self/mountinfo | busybox sort"
    )
}

/// `docker run` with one runtime: the status, what was printed, and the volume's tree thereafter.
#[track_caller]
fn one(
    runtime: &str,
    kind: &[&str],
    image: &str,
    flags: &[&str],
    script: &str,
) -> (Output, String) {
    let dir = volumes();
    let flags: Vec<_> = flags.iter().map(|flag| flag.replace('@', dir.str())).collect();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut said = docker_run(runtime, &[kind, &flags, &[image, "sh", "-c", script]].concat());
    said.stdout = said.stdout.replace(dir.0.file_name().unwrap().to_str().unwrap(), "@");
    (said, out(&["sh", "-c", &format!("find {} -printf '%P %y\\n' | sort", dir.str())]))
}

#[track_caller]
fn same(image: &FreshImage, flags: &[&str], paths: &[&str]) -> Output {
    let script = look(paths);
    let mut last = None;
    for kind in KINDS {
        let (runc, its) = one("runc", kind, image.name(), flags, &script);
        let (ours, own) = one("sharedroot", kind, image.name(), flags, &script);
        assert_eq!(ours.status, runc.status, "{kind:?} {flags:?}\n{ours}\n{runc}");
        assert_eq!(ours.stdout, runc.stdout, "{kind:?} {flags:?}");
        assert_eq!(own, its, "the volume on the host: {kind:?} {flags:?}");
        last = Some(ours);
    }
    last.unwrap()
}

#[test]
fn vm_volumes_at_odd_paths_are_as_with_runc() {
    let image = FreshImage::made(make_odd_paths);
    let done = same(
        &image,
        &[
            "--volume=@/dir:/m/n/o:z",
            "--volume=@/file:/f/g/h.conf:ro,z",
            "--volume=@/file:/a-file:z",
            "--volume=@/dir:/var/run/new:z",
            "--volume=@/dir:/absolute/new:z",
            "--volume=@/file:/relative/inside/new:z",
            "--volume=@/dir:/deep/er/up/newer:z",
            "--volume=@/dir:/private/new:z",
            "--tmpfs=/memory/here:size=64k,mode=1770",
            "--volume=@/dir:/v:z",
            "--volume=@/file:/v/inside:z",
            "--volume=@/dir:/v/made/below:z",
            "--tmpfs=/memory/here/again",
            "--volume=@/file:/dev/a-file:z",
            "--workdir=/work/here",
        ],
        &[
            "/m/n/o",
            "/f/g/h.conf",
            "/a-file",
            "/var/run/new",
            "/run/new",
            "/absolute/new",
            "/target/new",
            "/relative/inside/new",
            "/target/newer",
            "/private/new",
            "/memory/here/again",
            "/v/inside",
            "/v/made/below",
            "/dev/a-file",
            "/work/here",
        ],
    );
    done.ok();
}

#[test]
fn vm_volumes_at_links_and_wrong_kinds_are_as_with_runc() {
    let image = FreshImage::made(make_odd_paths);
    for (flags, paths) in [
        (&["--volume=@/dir:/dangling:z"][..], &["/dangling", "/nowhere/there"][..]),
        (&["--volume=@/file:/dangling/below:z"], &["/dangling/below", "/nowhere/there/below"]),
        (&["--tmpfs=/absolute"], &["/absolute", "/target"]),
        (&["--volume=@/file:/to-a-file:z"], &["/to-a-file", "/a-file"]),
        (&["--volume=@/dir:/a-file:z"], &["/a-file"]),
        (&["--volume=@/dir:/a-file/below:z"], &["/a-file"]),
        (&["--volume=@/file:/target:z"], &["/target"]),
        (&["--volume=@/dir:/round:z"], &["/round"]),
        (&["--volume=@/dir:/:z"], &["/"]),
        (&["--volume=@/dir:/proc/here:z"], &["/proc"]),
        (&["--volume=@/dir:/v:z", "--workdir=/v/made/below"], &["/v/made/below"]),
        (&["--volume=@/dir:/v:ro,z", "--workdir=/v/made/below"], &["/v/made/below"]),
        (&["--workdir=/dangling"], &["/dangling", "/nowhere/there"]),
    ] {
        same(&image, flags, paths);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn vm_bundles_with_odd_mounts_are_as_with_runc() {
    let image = Image::new();
    make_odd_paths(&image.top());
    let (ours, root) = (Runtime::sharedroot(), TempDir::new("runc"));
    let dir = volumes();
    let source = |name: &str| dir.0.join(name).to_str().unwrap().to_owned();
    let bind = |from: &str, to: &str| json!({"destination": to, "source": source(from), "type": "bind", "options": ["rbind"]});
    let tmpfs = |to: &str| json!({"destination": to, "source": "tmpfs", "type": "tmpfs"});
    for (what, mounts, cwd) in [
        ("a file and a directory", vec![bind("file", "/new/file"), bind("dir", "/new/dir")], "/"),
        ("a later one covers", vec![bind("dir", "/over/below"), tmpfs("/over")], "/"),
        ("in the volume", vec![tmpfs("/run"), bind("file", "/var/run/x/file")], "/"),
        ("dots", vec![bind("dir", "/deep/../dots/./x/")], "/"),
        ("a start directory", vec![], "/deep/er/up/start"),
        ("in a volume", vec![bind("dir", "/start")], "/start/below/it"),
        (
            "the bundle's own",
            vec![json!({"destination": "/own", "source": "own", "options": ["bind"]})],
            "/",
        ),
        ("no source", vec![bind("none", "/new")], "/"),
    ] {
        let said = [None, Some(&ours)].map(|sharedroot| {
            let bundle = image.bundle(
                &ours,
                true,
                &[
                    "sh",
                    "-c",
                    &look(&[
                        "/new/file",
                        "/new/dir",
                        "/over/below",
                        "/run/x/file",
                        "/dots/x",
                        "/target/start",
                        "/start/below",
                        "/own",
                    ]),
                ],
            );
            fs::create_dir(bundle.path().join("own")).unwrap();
            bundle.edit(|config| {
                config["mounts"].as_array_mut().unwrap().extend(mounts.clone());
                config["process"]["cwd"] = json!(cwd);
                config["hostname"] = json!("same");
            });
            let id = unique_name("odd");
            let run = ["run", "--bundle", bundle.str(), &id];
            let mut said = match sharedroot {
                Some(runtime) => runtime.cmd(&run).run(),
                None => Cmd::new("runc").args(&["--root", root.str()]).args(&run).run(),
            };
            let bundle = bundle.path().file_name().unwrap().to_str().unwrap();
            said.stdout = said.stdout.replace(bundle, "BUNDLE");
            said
        });
        let [runc, ours] = &said;
        assert_eq!(
            (ours.status == 0, &ours.stdout),
            (runc.status == 0, &runc.stdout),
            "{what}: {ours}\n{runc}"
        );
    }
}
