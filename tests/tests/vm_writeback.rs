//! What a writable container changes, through Docker's own commands: the same as with runc on overlay2, while it runs, when it
//! has stopped, in an image that is made of it, and when it is started again.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --shim long

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use sharedroot_tests::bundle::make_rootfs;
use sharedroot_tests::command::{Cmd, out, unique_name};
use sharedroot_tests::docker::{Container, docker};
use sharedroot_tests::lab::{TempDir, only_in_lab};
use sharedroot_tests::tree::{Lines, differences, exact_until, list};

/// An image with something of every kind in `/data`. Dropping it removes it.
struct Image(String);

impl Image {
    fn new() -> Self {
        only_in_lab();
        let (name, dir) = (unique_name("image"), TempDir::new("import"));
        let rootfs = dir.0.join("rootfs");
        make_rootfs(&rootfs);
        let data = rootfs.join("data");
        for below in
            ["keep/deep/er", "gone/with/all", "opaque/old", "to-file/below", "away/sub", "old/sub"]
        {
            fs::create_dir_all(data.join(below)).unwrap();
        }
        for file in [
            "keep/file",
            "keep/deep/er/file",
            "gone/with/all/file",
            "away/file",
            "away/sub/file",
            "old/version",
            "old/sub/file",
            "opaque/old/file",
            "opaque/file",
            "to-file/below/file",
            "mode",
            "owner",
            "time",
            "xattr",
            "content",
            "grow",
            "shrink",
            "over",
            "delete",
            "to-dir",
            "to-link",
            "pair-1",
            "write-one-1",
            "cut-1",
        ] {
            fs::write(data.join(file), format!("{file} of the image")).unwrap();
        }
        for (file, link) in
            [("pair-1", "pair-2"), ("write-one-1", "write-one-2"), ("cut-1", "cut-2")]
        {
            fs::hard_link(data.join(file), data.join(link)).unwrap();
        }
        symlink("keep", data.join("link")).unwrap();
        out(&[
            "find",
            rootfs.to_str().unwrap(),
            "-exec",
            "touch",
            "--no-dereference",
            "--date=@1000000",
            "{}",
            "+",
        ]);
        let (tar, top) = (dir.0.join("rootfs.tar"), rootfs.to_str().unwrap());
        let tar = tar.to_str().unwrap();
        out(&["tar", "--create", "--file", tar, "--directory", top, "."]);
        docker(&["import", tar, &name]).ok();
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "--force", &self.0]);
    }
}

/// Everything that a container can do to its files.
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn change(top: &Path) {
    let data = |name: &str| top.join("data").join(name);
    fs::write(data("new"), "new").unwrap();
    fs::create_dir_all(data("new-dir/a/b")).unwrap();
    fs::write(data("new-dir/a/b/c"), "c").unwrap();
    fs::remove_file(data("delete")).unwrap();
    fs::remove_dir_all(data("gone")).unwrap();
    move_to(&data("away"), &data("elsewhere"));
    move_to(&data("old"), &data("old.bak"));
    fs::create_dir(data("old")).unwrap();
    fs::write(data("old/version"), "new").unwrap();
    fs::write(data("over.new"), "renamed over").unwrap();
    fs::rename(data("over.new"), data("over")).unwrap();
    fs::set_permissions(data("mode"), PermissionsExt::from_mode(0o4711)).unwrap();
    fs::set_permissions(data("keep"), PermissionsExt::from_mode(0o1777)).unwrap();
    chown(data("owner"), Some(12345), Some(54321)).unwrap();
    let time = Timespec { tv_sec: 1_234_567, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, data("time"), &times, rustix::fs::AtFlags::empty()).unwrap();
    rustix::fs::utimensat(CWD, data("keep/deep"), &times, rustix::fs::AtFlags::empty()).unwrap();
    for (name, value) in [("user.a", &b"value"[..]), ("user.empty", b""), ("trusted.t", b"\0\xff")]
    {
        rustix::fs::setxattr(data("xattr"), name, value, XattrFlags::empty()).unwrap();
    }
    let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe7\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    rustix::fs::setxattr(data("new-dir"), "system.posix_acl_default", acl, XattrFlags::empty())
        .unwrap();
    rustix::fs::setxattr(data("new"), "system.posix_acl_access", acl, XattrFlags::empty()).unwrap();
    // cap_net_raw=ep
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    rustix::fs::setxattr(data("mode"), "security.capability", capability, XattrFlags::empty())
        .unwrap();
    // Same length and time, other content.
    fs::write(data("content"), "CONTENT of the image").unwrap();
    let image = Timespec { tv_sec: 1_000_000, tv_nsec: 0 };
    let image = Timestamps { last_access: image, last_modification: image };
    rustix::fs::utimensat(CWD, data("content"), &image, rustix::fs::AtFlags::empty()).unwrap();
    File::options().append(true).open(data("grow")).unwrap().set_len(100_000).unwrap();
    File::options().write(true).open(data("shrink")).unwrap().set_len(3).unwrap();
    fs::hard_link(data("new"), data("new-dir/new")).unwrap();
    fs::remove_file(data("cut-2")).unwrap();
    fs::remove_dir_all(data("opaque")).unwrap();
    fs::create_dir(data("opaque")).unwrap();
    fs::write(data("opaque/only"), "this").unwrap();
    fs::remove_dir_all(data("to-file")).unwrap();
    fs::write(data("to-file"), "a file").unwrap();
    fs::remove_file(data("to-dir")).unwrap();
    fs::create_dir_all(data("to-dir/below")).unwrap();
    fs::remove_file(data("to-link")).unwrap();
    symlink("/etc/passwd", data("to-link")).unwrap();
    fs::remove_file(data("link")).unwrap();
    symlink("../../../../../etc", data("link")).unwrap();
    let make = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, data(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    make("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    make("disk", FileType::BlockDevice, rustix::fs::makedev(7, 200));
    make("fifo", FileType::Fifo, 0);
    make("socket", FileType::Socket, 0);
    let sparse = File::create(data("sparse")).unwrap();
    sparse.set_len(1 << 26).unwrap();
    sparse.write_all_at(b"x", 1 << 25).unwrap();
    fs::write(data("..data"), "a name like one above").unwrap();
    fs::write(data(&"n".repeat(255)), "long").unwrap();
    fs::write(data("new-dir").join(std::ffi::OsStr::new("\u{fffd}")), "").unwrap();
    // Not UTF-8.
    use std::os::unix::ffi::OsStrExt;
    fs::write(data("new-dir").join(std::ffi::OsStr::from_bytes(b"\xff\xfe \n")), "").unwrap();
}

/// As mv(1) does it: overlay2 renames no directory of the image, and what was copied keeps its times.
fn move_to(from: &Path, to: &Path) {
    out(&["mv", "-T", from.to_str().unwrap(), to.to_str().unwrap()]);
}

/// Of what [`change`] changed, after the engine's layer has got it.
fn change_again(top: &Path) {
    let data = |name: &str| top.join("data").join(name);
    // Back at their places, as in the image, and not in what the engine has got.
    move_to(&data("elsewhere"), &data("away"));
    fs::remove_dir_all(data("old")).unwrap();
    move_to(&data("old.bak"), &data("old"));
    fs::remove_file(data("sparse")).unwrap();
    fs::remove_file(data("..data")).unwrap();
    fs::create_dir(data("..data")).unwrap();
    fs::write(data("delete"), "here again").unwrap();
    fs::write(data("content"), "content of the image").unwrap();
    fs::rename(data("new-dir"), data("moved")).unwrap();
    fs::create_dir(data("new-dir")).unwrap();
    fs::write(data("new-dir/only"), "this").unwrap();
}

fn sorted_diff(container: &Container) -> Lines {
    let lines = container.call("diff", &[]).ok();
    lines.lines().filter_map(|l| l.split_once(' ')).map(|(k, n)| (n.into(), k.into())).collect()
}

/// What a command of Docker's packs.
fn packed(command: &str, since: i64) -> Lines {
    let dir = TempDir::new("packed");
    let unpack = "tar -x --numeric-owner --xattrs --xattrs-include='*' -C";
    let command = format!("set -o pipefail; {command} | {unpack} {}", dir.str());
    out(&["bash", "-c", &command]);
    list(&dir.0, exact_until(since), &[])
}

/// What `docker export` packs.
fn export(id: &str, since: i64) -> Lines {
    packed(&format!("docker export {id}"), since)
}

/// What the stopped container's own layers show, by an overlay that this test mounts.
fn layers(container: &Container, since: i64) -> Lines {
    let part = |name: &str| container.inspect(&format!(".GraphDriver.Data.{name}"));
    let (dir, lower) =
        (TempDir::new("layers"), format!("lowerdir={}:{}", part("UpperDir"), part("LowerDir")));
    // fsconfig(2) takes no option of more than 255 bytes.
    let mount = Cmd::new("mount").env("LIBMOUNT_FORCE_MOUNT2", "always");
    let lower = format!("ro,{lower}");
    mount.args(&["-t", "overlay", "overlay", "-o", &lower, dir.str()]).run().ok();
    let lines = list(&dir.0, exact_until(since), &[]);
    out(&["umount", dir.str()]);
    lines
}

/// Everything that can be seen of a container that changed its files, step by step.
fn life(runtime: &str, image: &str, since: i64) -> BTreeMap<&'static str, Lines> {
    let mut seen = BTreeMap::new();
    let container = Container::run_with(runtime, &["--hostname=same", image, "sleep", "1000"]);
    let root = || PathBuf::from(format!("/proc/{}/root", container.pid()));
    change(&root());
    seen.insert("1 running, export", export(&container.id, since));
    let committed = unique_name("committed");
    container.call("commit", &[&committed]).ok();
    let other = Container::run_with(runtime, &["--hostname=same", &committed, "sleep", "1000"]);
    seen.insert("1 committed while it ran, running", export(&other.id, since));
    drop(other);
    docker(&["rmi", &committed]).ok();
    change_again(&root());
    container.stop();
    seen.insert("2 stopped, diff", sorted_diff(&container));
    seen.insert("2 stopped, layers", layers(&container, since));
    seen.insert("2 stopped, export", export(&container.id, since));
    container.call("commit", &[&committed]).ok();
    let other = Container::run_with(runtime, &["--hostname=same", &committed, "sleep", "1000"]);
    seen.insert("3 committed, running", export(&other.id, since));
    other.stop();
    seen.insert("3 committed, layers", layers(&other, since));
    drop(other);
    docker(&["rmi", &committed]).ok();
    seen.insert("4 cp out", packed(&format!("docker cp {}:/data -", container.id), since));
    let dir = TempDir::new("cp");
    fs::write(dir.0.join("into"), "came by cp").unwrap();
    let into = dir.0.join("into");
    docker(&["cp", into.to_str().unwrap(), &format!("{}:/data/keep/deep/into", container.id)]).ok();
    container.call("start", &[]).ok();
    assert_eq!(fs::read(root().join("data/keep/deep/into")).unwrap(), b"came by cp");
    for n in 0..3 {
        fs::write(root().join(format!("data/restart-{n}")), format!("{n}")).unwrap();
        let _ = fs::remove_file(root().join("data/keep/deep/into"));
        fs::write(root().join("data/new-dir/new"), format!("restart {n}")).unwrap();
        container.with_flags("restart", &["--time=0"]).ok();
    }
    seen.insert("5 restarted, running", export(&container.id, since));
    container.stop();
    seen.insert("5 restarted, diff", sorted_diff(&container));
    seen.insert("5 restarted, layers", layers(&container, since));
    seen
}

/// What the daemon makes in its own layer has the time of the container's creation there, and a fixed one in a base, so that
/// two hosts make the same base. It is seen while the container runs.
const DAEMONS: [&str; 10] = [
    ".dockerenv",
    "dev",
    "dev/console",
    "dev/pts",
    "dev/shm",
    "etc",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
];

fn without_daemons_times(lines: &Lines) -> Lines {
    let mut lines = lines.clone();
    for name in DAEMONS {
        if let Some(line) = lines.get_mut(name) {
            let words: Vec<_> = line.split(' ').collect();
            // Mode, two words of the owner, the time.
            *line = [&words[..3], &words[4..]].concat().join(" ");
        }
    }
    lines
}

#[test]
fn vm_dockers_commands_see_what_they_see_with_runc() {
    let image = Image::new();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let since = i64::try_from(now.as_secs()).unwrap();
    let runc = life("runc", &image.0, since);
    let ours = life("sharedroot", &image.0, since);
    let mut wrong = String::new();
    for (step, lines) in &ours {
        let differs = match step.contains("running") {
            true => differences(&without_daemons_times(lines), &without_daemons_times(&runc[step])),
            false => differences(lines, &runc[step]),
        };
        if !differs.is_empty() {
            wrong.push_str(&format!("== {step}\n{differs}"));
        }
        assert!(lines.len() > 30, "{step}: {lines:?}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}
