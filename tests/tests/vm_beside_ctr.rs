//! `ctr run` and `ctr task exec` with the options of their manuals, with runc and with ours: exit code, the reason of a refusal,
//! and what a process sees of itself.
//!
//! Only `hack/test --long` runs this hunt through a manual's options: no document's claim rests on it.
//!
//! Guest: --long --limit 900 --takes 120 --shim long

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sharedroot_tests::beside::{LOOK, Rows, make_rootfs_for_look, rows_beside_runc, told};
use sharedroot_tests::command::{Cmd, Output, out, unique_name};
use sharedroot_tests::docker::{FreshImage, ctr_runtime};
use sharedroot_tests::lab::{Replaced, TempDir, wait_for};

/// ctr gives a process none where it has no image to take one from; what is found without is docs/gaps.md's matter.
const PATH: &str = "--env=PATH=/bin";

/// Where the image's root file system lies as a directory, too.
struct Image {
    name: String,
    dir: TempDir,
}

impl Image {
    fn new() -> Self {
        let (image, dir) = (FreshImage::empty(make_rootfs_for_look), TempDir::new("ctr"));
        let tar = format!("{}/tar", dir.str());
        out(&["docker", "save", "--output", &tar, image.name()]);
        let name = format!("docker.io/library/{}:latest", image.name());
        ctr(&["image", "import", &tar]).ok();
        make_rootfs_for_look(&dir.0.join("rootfs"));
        Self { name, dir }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        ctr(&["image", "rm", "--sync", &self.name]);
    }
}

fn ctr(words: &[&str]) -> Output {
    Cmd::new("ctr").args(words).stdin("of stdin\n").run()
}

/// One line of `ctr run` with the runtime; `@` stands for a directory of the host that is also `/out` in the container.
#[track_caller]
fn run(runtime: &str, image: &Image, flags: &[&str], command: &[&str]) -> (String, String) {
    let (dir, id) = (TempDir::new("out"), unique_name("ctr"));
    fs::create_dir(dir.0.join("sub")).unwrap();
    fs::write(dir.0.join("file"), "A=1\n").unwrap();
    fs::set_permissions(&dir.0, PermissionsExt::from_mode(0o777)).unwrap();
    let rootfs = flags.contains(&"--rootfs");
    let place = format!("{}/rootfs", image.dir.str());
    let flags = flags.iter().map(|flag| flag.replace('@', dir.str()).replace("ID", &id));
    let flags: Vec<_> = flags.collect();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let volume = format!("type=bind,src={},dst=/out,options=rbind:rw", dir.str());
    let runtime = ctr_runtime(runtime);
    let begin = ["run", "--rm", &runtime[0], &runtime[1], "--mount", &volume];
    let from = if rootfs { &place } else { &image.name };
    // Two at once prepare the same snapshot for the mapped IDs, and one of them fails.
    static MAPPED: Mutex<()> = Mutex::new(());
    let mapped = flags.iter().any(|flag| flag.starts_with("--uidmap"));
    let _turn = mapped.then(|| MAPPED.lock().unwrap_or_else(PoisonError::into_inner));
    let ended = ctr(&[&begin[..], &flags, &[from, &id], command].concat());
    // ctr closes the streams when it hears of the end, whether it has read all or not: what counts is in the volume.
    let output =
        Output { stdout: fs::read_to_string(dir.0.join("out")).unwrap_or_default(), ..ended };
    let what = format!("{flags:?} {:.40}", command.join(" "));
    let name = dir.0.file_name().and_then(|name| name.to_str()).unwrap();
    let plain = |text: String| {
        let text = text.replace(&place, "ROOT").replace(dir.str(), "@");
        text.replace(name, "@").replace(&id, "ID")
    };
    (plain(what), plain(told(&output)))
}

#[track_caller]
fn same(lines: &[(&[&str], &[&str])]) {
    let image = Image::new();
    rows_beside_runc(|runtime| {
        let runtime = out(&["which", runtime]);
        lines.iter().map(|(flags, command)| run(&runtime, &image, flags, command)).collect()
    });
}

#[track_caller]
fn looks(lines: &[&[&str]]) {
    let script = format!("exec > /out/out 2>&1; {LOOK}");
    let command = ["sh", "-c", &script];
    let lines: Vec<(&[&str], &[&str])> = lines.iter().map(|flags| (*flags, &command[..])).collect();
    same(&lines);
}

#[test]
fn vm_what_a_process_is() {
    looks(&[
        &["--read-only", "--user=user", "--cwd=/tmp", "--env=A=1", "--env=B=", "--label=a=b"],
        &["--user=1000:77", "--env-file=@/file", "--annotation=a=b", "--seccomp", "--null-io"],
        &[
            "--user=5000",
            "--allow-new-privs",
            "--cap-add=CAP_SYS_TIME",
            "--cap-drop=CAP_CHOWN",
            "--memory-limit=67108864",
            "--cpus=0.5",
        ],
        &["--privileged", "--cpu-quota=20000", "--cpu-period=40000", "--cgroup=/of-ctr/ID"],
        &[
            "--privileged",
            "--privileged-without-host-devices",
            "--net-host",
            "--with-ns=uts:/proc/1/ns/uts",
            "--with-ns=ipc:/proc/1/ns/ipc",
            "--cgroup=",
        ],
        &["--with-ns=pid:/proc/1/ns/pid", "--with-ns=cgroup:/proc/1/ns/cgroup", "--hostname=same"],
        &["--rootfs", PATH, "--read-only", "--no-pivot", "--rootfs-propagation=rslave"],
        &["--uidmap=0:100000:2000", "--gidmap=0:100000:2000"],
    ]);
}

#[test]
fn vm_where_a_process_finds_things() {
    looks(&[
        &[
            "--mount=type=bind,src=@/sub,dst=/x,options=rbind:ro",
            "--mount=type=bind,src=@/sub,dst=/x2/y,options=bind:rw:noexec:nosuid:nodev:rslave",
            "--mount=type=bind,src=@/sub,dst=/x3,options=rbind:rro",
            "--mount=type=bind,src=@/sub,dst=x4,options=rbind",
            "--mount=type=bind,src=@/file,dst=/etc/file,options=rbind:ro",
            "--mount=type=tmpfs,src=tmpfs,dst=/x5,options=rw:size=1m:mode=1700",
            "--mount=type=proc,src=proc,dst=/x6",
            "--device=/dev/zero",
            "--device=/dev/full",
        ],
        &[
            "--read-only",
            "--mount=type=tmpfs,src=tmpfs,dst=/etc,options=tmpcopyup",
            "--mount=type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro:nosuid",
        ],
        &["--mount=type=bind,src=@/nosuch,dst=/x,options=rbind"],
        &["--mount=type=nosuch,src=x,dst=/x"],
        &["--device=/dev/nosuch"],
    ]);
}

#[test]
fn vm_how_a_task_ends() {
    same(&[
        (&[], &["sh", "-c", "exit 5"]),
        (&[], &["/no/such"]),
        (&[], &["/file"]),
        (&["--cwd=/no/such"], &["sh", "-c", "pwd > /out/out"]),
        (&["--cwd=/no/such", "--read-only"], &["sh", "-c", "pwd > /out/out"]),
        (&["--cwd=/file"], &["pwd"]),
        (&["--cwd=x"], &["pwd"]),
        (&["--with-ns=net:/no/such"], &["true"]),
        (&["--memory-limit=1"], &["true"]),
        (&["--pid-file=@/sub/pid"], &["sh", "-c", "grep -c . /out/sub/pid > /out/out; exit 7"]),
        (&["--rootfs"], &["/bin/sh", "-c", "exit 8"]),
    ]);
}

/// A container that runs; dropping it removes it.
struct Task(String);

impl Drop for Task {
    fn drop(&mut self) {
        ctr(&["task", "rm", "--force", &self.0]);
        ctr(&["container", "rm", &self.0]);
    }
}

#[test]
fn vm_what_an_exec_is() {
    let image = Image::new();
    let script = format!("exec > /tmp/out 2>&1; {LOOK}");
    rows_beside_runc(|runtime| {
        let (runtime, task) = (ctr_runtime(runtime), Task(unique_name("ctr")));
        let begin = ["run", "--detach", "--null-io", &runtime[0], &runtime[1], "--user=user"];
        ctr(&[&begin[..], &[&image.name, &task.0, "sleep", "1000"]].concat()).ok();
        let exec = |flags: &[&str], command: &[&str]| {
            let id = unique_name("exec");
            ctr(&[&["task", "exec", "--exec-id", &id], flags, &[&task.0], command].concat())
        };
        let read = || {
            let mut text = String::new();
            wait_for("what it saw", || {
                let found = exec(&[], &["sh", "-c", "cat /tmp/out; sleep 0.5"]);
                let whole = found.stdout.contains("written in") || found.stdout.contains("denied");
                text = told(&found).replace(&task.0, "ID");
                (found.status == 0 && whole).then_some(())
            });
            text
        };
        let mut rows = Rows::new();
        for flags in [&[][..], &["--cwd=/etc", "--user=1000:77"], &["--user=0", "--detach"]] {
            exec(&["--user=0"], &["rm", "/tmp/out"]);
            let ended = exec(flags, &["sh", "-c", &script]);
            rows.push((format!("{flags:?}"), format!("{}\n{}", ended.status, read())));
        }
        for (flags, command) in [
            (&[][..], &["/no/such"][..]),
            (&[], &["nosuch"]),
            (&[], &["/file"]),
            (&["--user=nosuch"], &["id"]),
            (&["--cwd=/no/such"], &["pwd"]),
            (&["--cwd=x"], &["pwd"]),
            (&[], &["sh", "-c", "kill -9 $$"]),
            (&["--detach"], &["/no/such"]),
        ] {
            rows.push((format!("{flags:?} {command:?}"), told(&exec(flags, command))));
        }
        rows
    });
}

/// What a shell finds of its terminal, and a word that is typed there. ctr gives the size when the program runs already.
const TERMINAL: &str = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && all=all; exec 3> /out/out
    for n in $(seq 100); do [ \"$(stty size 2>&1)\" = '30 50' ] && break; sleep 0.1; done
    { echo $all; tty; stty size; ls -ln $(tty) /dev/console | cut -d ' ' -f 1-4; : < /dev/tty && echo of the session; } >&3 2>&1
    set -- $(cat /proc/$$/stat); [ $5 = $$ ] && [ $6 = $$ ] && [ $8 = $$ ] && echo leads >&3
    : > /out/ready; read word; echo typed $word >&3; exit 5";

/// `ctr WORDS…` in a terminal of 30 lines and 50 columns, in which a word is typed once `@/ready` is there.
fn typed(dir: &TempDir, words: &[&str]) -> Output {
    for name in ["ready", "ended", "out"] {
        let _ = fs::remove_file(dir.0.join(name));
    }
    let quoted = |word: &&str| format!("'{}'", word.replace('\'', r"'\''"));
    let line = words.iter().map(quoted).collect::<Vec<_>>().join(" ");
    fs::write(
        dir.0.join("line"),
        format!("stty rows 30 cols 50; ctr {line}; code=$?; : > ended; exit $code\n"),
    )
    .unwrap();
    let script = format!(
        "cd {}; (for n in $(seq 300); do [ -e ready ] || [ -e ended ] && break; sleep 0.1; done; echo word; sleep 2) |
            timeout 100 script --quiet --flush --return --command 'sh line' typed > /dev/null; echo $? > status",
        dir.str(),
    );
    out(&["bash", "-c", &script]);
    let read = |name: &str| fs::read_to_string(dir.0.join(name)).unwrap_or_default();
    let status = read("status").trim().parse().expect("an exit code");
    Output { line, status, stdout: read("out"), stderr: String::new() }
}

#[test]
fn vm_a_terminal_of_ctr() {
    let image = Image::new();
    rows_beside_runc(|runtime| {
        let runtime = ctr_runtime(runtime);
        let mut rows = Rows::new();
        for (flags, command) in [
            (&["--user=0"][..], &["sh", "-c", TERMINAL][..]),
            (&["--user=1000:77", "--read-only"], &["sh", "-c", TERMINAL]),
            (&[], &["/no/such"]),
        ] {
            let (dir, task) = (TempDir::new("typed"), Task(unique_name("ctr")));
            fs::set_permissions(&dir.0, PermissionsExt::from_mode(0o777)).unwrap();
            let volume = format!("--mount=type=bind,src={},dst=/out,options=rbind:rw", dir.str());
            let begin = ["run", "--rm", "--tty", &runtime[0], &runtime[1], &volume];
            let words = [&begin[..], flags, &[&image.name, &task.0], command].concat();
            rows.push((
                format!("run {flags:?} {:.20}", command.join(" ")),
                told(&typed(&dir, &words)),
            ));

            let begin = ["run", "--detach", "--null-io", &runtime[0], &runtime[1], &volume];
            ctr(&[&begin[..], flags, &[&image.name, &task.0, "sleep", "1000"]].concat()).ok();
            let begin = ["task", "exec", "--exec-id=in", "--tty", &task.0];
            let ended = typed(&dir, &[&begin[..], command].concat());
            rows.push((format!("exec {flags:?} {:.20}", command.join(" ")), told(&ended)));
        }
        rows
    });
}

/// A network, and where ctr looks for its programs. Dropping it takes both away.
struct Network {
    _file: Replaced,
}

const PLUGINS: &str = "/opt/cni";

impl Network {
    fn new() -> Self {
        let text = r#"{"cniVersion": "0.4.0", "name": "ctr", "plugins": [{"type": "bridge", "bridge": "ctr0",
            "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.98.0.0/24"}]]}}]}"#;
        let network = Self { _file: Replaced::with("/etc/cni/net.d/10-ctr.conflist", text) };
        fs::create_dir_all(PLUGINS).expect("make a directory");
        symlink("/usr/lib/cni", Path::new(PLUGINS).join("bin")).expect("make a link");
        network
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        fs::remove_dir_all(PLUGINS).expect("remove a directory");
        out(&["ip", "link", "delete", "ctr0"]);
    }
}

/// Between the task's begin and its start ctr makes a network in its namespace. Addresses differ with each start.
#[test]
fn vm_a_network_of_ctr() {
    let image = Image::new();
    let look = "{ cut -d: -f1 /proc/net/dev; cut -f1,2,4,8 /proc/net/route; cut -c33- /proc/net/if_inet6 | sort; } > /out/out 2>&1; exit 6";
    let rows = |runtime: &str| {
        let runtime = out(&["which", runtime]);
        let each = [&["--cni"][..], &["--cni", "--read-only"]];
        each.into_iter().map(|flags| run(&runtime, &image, flags, &["sh", "-c", look])).collect()
    };
    // No plugin is found: the task stays, and so does its container.
    rows_beside_runc(rows);
    let tasks = out(&["ctr", "task", "ls", "--quiet"]);
    tasks.lines().for_each(|task| drop(Task(task.to_owned())));
    let _network = Network::new();
    rows_beside_runc(rows);
}

/// ctr's hook of each GPU, with a stand-in of NVIDIA's program: it is told of the process and of the root, and makes a file there.
#[test]
fn vm_a_gpu_of_ctr() {
    const PROGRAM: &str = "/usr/local/bin/nvidia-container-cli";
    let image = Image::new();
    let look = "cat /etc/gpu > /out/out; echo $? >> /out/out; exit 4";
    let rows = |runtime: &str| {
        let runtime = out(&["which", runtime]);
        let each = [&["--gpus=0"][..], &["--gpus=0", "--read-only"], &["--gpus=0", "--gpus=1"]];
        each.into_iter().map(|flags| run(&runtime, &image, flags, &["sh", "-c", look])).collect()
    };
    // There is no such program: ctr says so.
    rows_beside_runc(rows);
    for script in [
        "#!/bin/sh\nfor root in \"$@\"; do :; done; [ -e /proc/$(echo \"$*\" | sed 's/.*--pid=//; s/ .*//')/root ] || exit 9
         echo \"$*\" | sed 's/--pid=[0-9]*.*//' > $root/etc/gpu\n",
        "#!/bin/sh\necho no driver >&2; exit 3\n",
    ] {
        let _program = Replaced::with(PROGRAM, script);
        fs::set_permissions(PROGRAM, PermissionsExt::from_mode(0o755)).unwrap();
        rows_beside_runc(rows);
    }
}
