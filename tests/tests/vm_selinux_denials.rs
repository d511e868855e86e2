//! What keeps containers apart that share a file system, proved by denials: the same act is allowed where it belongs, denied
//! elsewhere with its record in the kernel log, and succeeds there when SELinux only records. So every other guard is taken
//! away first: the host hands the attacker the other's files as a volume, a writable view of the base, devices with their rules.
//!
//! Guest: --selinux enforcing --limit 900 --takes 130 --shim long

use std::fs;

use sharedroot_tests::command::{Cmd, Output, out};
use sharedroot_tests::docker::Container;
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{RUN_DIR, STATE_DIR, TempDir};
use sharedroot_tests::selinux::{
    Context, Denial, denials, enforcing, only_selinux_denies, permissive,
};
use sharedroot_tests::view::View;

#[track_caller]
fn started(image: &str, flags: &[&str]) -> Container {
    Container::run(&[flags, &[image, "sleep", "1000"]].concat())
}

/// A directory with a file that the daemon may relabel; it may not what is only in /tmp.
#[track_caller]
fn volume() -> TempDir {
    let volume = TempDir::new("volume");
    fs::write(volume.0.join("file"), "of somebody").expect("write a file");
    out(&["chcon", "--recursive", FREE, volume.str()]);
    volume
}

/// What containers use whatever their categories.
const FREE: &str = "system_u:object_r:container_file_t:s0";

/// An act on a path inside a container: shell, then what the policy calls it.
type Act = (&'static str, &'static str, &'static str);

// A shell's redirection only opens; `ls` and `cat` would also ask for attributes, which are another permission.
const READ: Act = ("exec 3< $at", "file", "read");
const LIST: Act = ("exec 3< $at", "dir", "read");
const APPEND: Act = ("exec 3>> $at", "file", "append");
/// As long as the runtime that starts this command is at work, nobody may write its executable (ETXTBSY).
const APPEND_LATER: Act = (
    "while :; do said=$( (exec 3>> $at) 2>&1 ); code=$?
        case $said in *busy*) sleep 0.2 ;; *) echo $said >&2; exit $code ;; esac
    done",
    "file",
    "append",
);
const EXECUTE: Act = ("$at true", "file", "execute");
// That a directory of another container is not read or searched is not recorded: Debian's policy has it as noise.
const CHMOD: Act = ("chmod 777 $at", "dir", "setattr");

#[track_caller]
fn act(container: &Container, (script, ..): Act, at: &str) -> Output {
    container.call("exec", &["sh", "-c", &format!("at={at}; {script}")])
}

/// The container may not: SELinux alone forbids it.
#[track_caller]
fn may_not(container: &Container, what: Act, at: &str, target: &Context) {
    let source = &Context::of_processes(container);
    let wanted = Denial { source, target, class: what.1, permission: what.2 };
    only_selinux_denies(wanted, || act(container, what, at));
}

#[test]
fn vm_no_container_writes_the_base() {
    enforcing();
    let base = started("debian", &["--read-only"]);
    let shared = Context::in_container(&base, "/etc/passwd");
    let view = View::of(&base, &shared);
    let volume = format!("--volume={}:/base", view.path());
    let container = started("debian", &[&volume]);
    // It may read and run what is there, and write what is its own.
    act(&container, READ, "/base/etc/passwd").ok();
    container.exec(&["/base/usr/bin/env", "true"]);
    act(&container, APPEND, "/etc/passwd").ok();
    for (what, at) in [
        (APPEND, "/base/etc/passwd"),
        (("chmod 777 $at", "file", "setattr"), "/base/etc/passwd"),
        (("touch $at", "dir", "write"), "/base/new"),
        (("rm $at", "dir", "write"), "/base/etc/debian_version"),
    ] {
        may_not(&container, what, at, &shared);
    }
}

#[test]
fn vm_a_base_is_readable_by_its_label() {
    enforcing();
    let base = started("debian", &["--read-only"]);
    let label = Context::new("system_u:object_r:container_engine_cache_t:s0");
    let view = View::of(&base, &label);
    let volume = format!("--volume={}:/base", view.path());
    let container = started("debian", &[&volume]);
    for (what, at) in [(LIST, ""), (READ, "/etc/passwd"), (EXECUTE, "/usr/bin/env")] {
        act(&base, what, &format!("/{at}")).ok();
        may_not(&container, what, &format!("/base{at}"), &label);
    }
}

#[test]
fn vm_no_container_reads_or_writes_anothers_files() {
    enforcing();
    let volume = volume();
    let own = format!("--volume={}:/own:Z", volume.str());
    let other = started("debian", &[&own]);
    other.exec(&["cp", "/own/file", "/file"]);
    let root = other.inspect(".GraphDriver.Data.MergedDir");
    // The host binds the other's files into the attacker.
    let binds = [(root.as_str(), "/root-of"), (volume.str(), "/volume-of")].map(|(from, to)| {
        [format!("--volume={from}:{to}"), format!("--volume={from}/file:{to}-file")]
    });
    let mut flags: Vec<_> = binds.iter().flatten().map(String::as_str).collect();
    let program = format!("--volume={root}/usr/bin/env:/program");
    flags.push(&program);
    let container = started("debian", &flags);
    for (at, theirs) in [("/root-of", "/"), ("/volume-of", "/own")] {
        let label = Context::in_container(&other, theirs);
        assert_eq!(label, Context::of_mounts(&other), "{theirs}");
        for (what, suffix) in [(CHMOD, ""), (READ, "/file"), (APPEND, "/file")] {
            act(&other, what, &format!("{theirs}{suffix}")).ok();
            let at = format!("{at}{}", suffix.replace('/', "-"));
            may_not(&container, what, &at, &label);
        }
    }
    act(&other, EXECUTE, "/usr/bin/env").ok();
    may_not(&container, EXECUTE, "/program", &Context::of_mounts(&other));
    // Both may what each has of its own.
    act(&container, APPEND, "/own-file").ok();
    act(&container, READ, "/own-file").ok();
}

/// The host's root with the label of a container's processes reads in a root; SELinux is all that confines it.
#[track_caller]
fn read_as(label: &Context, root_of: &Container) -> Output {
    let tools = TempDir::new("tools");
    let grep = format!("{}/grep", tools.str());
    // A program of the host is none that a container's domain begins with.
    out(&["cp", "/bin/busybox", &grep]);
    out(&["chcon", FREE, &grep]);
    // What it inherits it has to be allowed, or it gets nothing in its place.
    let script = "exec runcon \"$1\" \"$2\" -q root < \"$3\" >&- 2>&-";
    let file = format!("/proc/{}/root/etc/passwd", root_of.pid());
    Cmd::new("sh").args(&["-c", script, "sh", &label.to_string(), &grep, &file]).run()
}

#[test]
fn vm_a_root_with_private_files_is_its_containers_own() {
    enforcing();
    let kinds: [&[&str]; 4] = [
        &[],
        &["--annotation=dev.sharedroot.mode=off"],
        // Files of its own in a scaffold.
        &["--read-only", "--workdir=/missing/too"],
        &["--read-only"],
    ];
    for (flags, shared) in kinds.into_iter().zip([false, false, false, true]) {
        let (one, other) = (started("debian", flags), started("debian", flags));
        let (source, target) = (Context::of_processes(&one), Context::in_container(&other, "/"));
        assert_eq!(target == Context::of_mounts(&other), !shared, "{flags:?}: {target}");
        read_as(&Context::of_processes(&other), &other).ok();
        if shared {
            let (output, denied) = denials(|| read_as(&source, &other));
            assert!(output.status == 0 && denied.is_empty(), "{output}\n{denied:#?}");
        } else {
            let wanted =
                Denial { source: &source, target: &target, class: "file", permission: "read" };
            only_selinux_denies(wanted, || read_as(&source, &other));
        }
    }
}

#[test]
fn vm_no_container_reads_the_runtimes_files() {
    enforcing();
    let running = started("debian", &["--read-only"]);
    let records =
        ["find", &format!("{RUN_DIR}/containers"), "-path", &format!("*/{}/*", running.id)];
    let record =
        out(&records).lines().find(|path| path.ends_with("/record.json")).map(str::to_owned);
    let record = record.expect("a record");
    let state = |name: &str| format!("{STATE_DIR}/{name}");
    // The host hands all of it to a container.
    let acts = [
        (STATE_DIR.to_owned(), LIST),
        (state("default.data"), READ),
        (state("default.metadata"), APPEND),
        (state("store.db"), READ),
        (RUN_DIR.to_owned(), LIST),
        (record.clone(), READ),
        (record, APPEND),
        ("/usr/local/bin/sharedroot".to_owned(), APPEND_LATER),
    ];
    let volume = |(n, (path, _)): (usize, &(String, Act))| format!("--volume={path}:/tmp/{n}");
    let volumes: Vec<_> = acts.iter().enumerate().map(volume).collect();
    let flags: Vec<_> = volumes.iter().map(String::as_str).collect();
    let container = started("debian", &flags);
    for (n, (path, what)) in acts.iter().enumerate() {
        may_not(&container, *what, &format!("/tmp/{n}"), &Context::of_file(path));
    }
    // And what is true of these is true of all that the two directories hold; what is mounted there is not theirs.
    for dir in [STATE_DIR, RUN_DIR] {
        let wanted = Context::of_file(dir);
        let all = out(&["find", dir, "-xdev", "-printf", "%D %Z %p\\n"]);
        let device = all.split(' ').next().expect("a device").to_owned();
        for line in all.lines().filter(|line| line.starts_with(&device)) {
            let label: Context = line.split(' ').nth(1).expect("a label").parse().expect("a label");
            assert_eq!((label.kind(), label.level()), (wanted.kind(), "s0"), "{line}");
        }
    }
}

#[test]
fn vm_no_container_remounts_or_reaches_the_bases_device() {
    enforcing();
    let base = started("busybox", &["--read-only"]);
    let number = root_of(base.pid()).device;
    let (major, minor) = number.split_once(':').expect("a device number");
    let node = out(&["realpath", &format!("/sys/dev/block/{number}")]);
    let node = format!("/dev/{}", node.rsplit('/').next().expect("a name"));
    let control = "/dev/mapper/control";
    let rules = [
        &format!("--device-cgroup-rule=b {number} rwm"),
        "--device-cgroup-rule=c 10:* rwm",
        "--cap-add=SYS_ADMIN",
        "--cap-add=MKNOD",
        "--read-only",
    ];
    let nodes = [format!("--volume={node}:/tmp/base"), format!("--volume={control}:/tmp/control")];
    let plain = started("busybox", &rules);
    let scaffold = started("busybox", &[&rules[..], &[&nodes[0], &nodes[1]]].concat());
    for container in [&plain, &scaffold] {
        let remount = ("mount -o remount,bind,rw $at", "filesystem", "remount");
        may_not(container, remount, "/", &Context::in_container(container, "/"));
        // Remounted, it is the base itself that cannot be written.
        let touched = permissive(|| act(container, ("touch $at", "", ""), "/new"));
        assert!(touched.status != 0 && touched.stderr.contains("Read-only"), "{touched}");
    }
    let mount = ("mount -t tmpfs none $at && umount $at", "dir", "mounton");
    may_not(&plain, mount, "/etc", &Context::in_container(&plain, "/etc"));
    // What --cap-add gives is not yet the policy's leave to use it.
    let of_processes = Context::of_processes(&plain);
    may_not(&plain, ("umount $at", "capability", "sys_admin"), "/proc/sys", &of_processes);
    let made = format!("/dev/made b {major} {minor}");
    may_not(&plain, ("mknod $at", "capability", "mknod"), &format!("'{made}'"), &of_processes);
    let read = ("head -c 512 $at > /dev/null", "blk_file", "read");
    may_not(&scaffold, read, "/tmp/base", &Context::of_file(&node));
    let open = ("exec 3<> $at", "chr_file", "write");
    may_not(&scaffold, open, "/tmp/control", &Context::of_file(control));
    // And there it is the device that cannot.
    let write = "dd if=$at of=$at bs=512 count=1 conv=notrunc";
    let written = permissive(|| act(&scaffold, (write, "", ""), "/tmp/base"));
    assert!(written.status != 0 && written.stderr.contains("not permitted"), "{written}");
}

/// `relabel PATH LABEL`
const RELABEL: &str =
    "import os, sys; os.setxattr(sys.argv[1], 'security.selinux', sys.argv[2].encode())";

#[test]
fn vm_no_container_relabels() {
    enforcing();
    let relabel = |container: &Container, path: &str, label: &Context| {
        container.call("exec", &["python3", "-c", RELABEL, path, &label.to_string()])
    };
    let volume = volume();
    let other = started("python", &["--read-only"]);
    let container = started("python", &[&format!("--volume={}:/own:Z", volume.str())]);
    let (source, own) = (&Context::of_processes(&container), &Context::of_mounts(&container));
    relabel(&container, "/own/file", own).ok();
    // Not into another container's files, nor into what all of them believe to be an image's.
    for target in [&Context::of_mounts(&other), &Context::in_container(&other, "/etc/passwd")] {
        let wanted = Denial { source, target, class: "file", permission: "relabelto" };
        only_selinux_denies(wanted, || relabel(&container, "/own/file", target));
        out(&["chcon", &own.to_string(), &format!("{}/file", volume.str())]);
    }
    // The roots take no labels at all, in whatever mode: theirs are those of their mounts.
    let scaffold = started("python", &["--read-only", "--tmpfs=/missing/in/the/image"]);
    for container in [&other, &scaffold, &container] {
        let before = Context::in_container(container, "/etc/passwd");
        let output = permissive(|| relabel(container, "/etc/passwd", own));
        assert_ne!(output.status, 0, "{output}");
        assert_eq!(Context::in_container(container, "/etc/passwd"), before);
    }
}

/// `watch PATH`: waits until somebody opens the file.
const WATCH: &str = "
import ctypes, os, select, sys
libc, IN_OPEN = ctypes.CDLL(None, use_errno=True), 0x20
events = libc.inotify_init1(0)
if libc.inotify_add_watch(events, sys.argv[1].encode(), IN_OPEN) < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
if len(sys.argv) == 2 and not select.select([events], [], [], 100)[0]:
    sys.exit('nobody opened it')";

/// A base's inodes are one for all of its containers, and so are their events.
#[test]
fn vm_no_container_watches_what_others_open() {
    enforcing();
    let file = "/usr/share/lab/one/file";
    let opens = format!("while :; do read line < {file}; sleep 0.5; done");
    let other = Container::run(&["--read-only", "python", "sh", "-c", &opens]);
    let watch = |container: &Container, words: &[&str]| {
        container.call("exec", &[&["python3", "-c", WATCH, file], words].concat())
    };
    watch(&started("python", &[]), &["no longer"]).ok();
    let container = started("python", &["--read-only"]);
    let source = &Context::of_processes(&container);
    let target = &Context::in_container(&other, file);
    let wanted = Denial { source, target, class: "file", permission: "watch" };
    only_selinux_denies(wanted, || watch(&container, &[]));
}
