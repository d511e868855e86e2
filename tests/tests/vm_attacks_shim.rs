//! The attacks on whoever enters a container, through containerd's shim: a container's processes are clones of the spawner there,
//! and not of a command. What a process on its way in has, what its neighbours may see of it, and what the spawner knows. The
//! test is the client of the shim's socket. `vm_attacks_descriptors`, `vm_attacks_entering` and `vm_attacks_executable` attack
//! the command line.
//!
//! Guest: --no-docker --with shim --limit 600 --takes 30

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sharedroot_tests::attack::{CAPTURE, LOOK, WATCH, allow, bind};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{Cmd, out, unique_name};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::shim::{INSTALLED, RUNTIMES, install_program};
use sharedroot_tests::shim_socket::Shim;

const OURS: &str = RUNTIMES[1];
const FOREVER: [&str; 2] = ["sleep", "1000"];
const NO_STREAMS: [&str; 3] = [""; 3];
/// The state root of the containers that [`Shim`] makes.
const STATE_ROOT: &str = "/run/containerd/runc/socket";

/// A caller of the shim that leaves the host's root open as descriptors 3 to 8.
const CARELESS: [&str; 4] = ["sh", "-c", "exec 3< / 4< / 5< / 6< / 7< / 8< /; exec \"$@\"", "sh"];

#[track_caller]
fn bundle(command: &[&str], change: impl FnOnce(&mut Value)) -> Bundle {
    install_program();
    let bundle = Bundle::new(&Runtime::sharedroot(), command);
    bundle.edit(change);
    bundle
}

/// A process of the runtime-spec.
fn process(args: &[&str]) -> Value {
    json!({ "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } })
}

/// Puts a container into the PID namespace of another process.
fn join(config: &mut Value, pid: i32) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
    for namespace in namespaces.iter_mut().filter(|namespace| namespace["type"] == "pid") {
        namespace["path"] = json!(format!("/proc/{pid}/ns/pid"));
    }
}

/// `sharedroot exec` in a container of the shim.
#[track_caller]
fn exec(shim: &Shim, words: &[&str]) -> String {
    Cmd::new("sharedroot").args(&["--root", STATE_ROOT, "exec", &shim.id]).args(words).run().ok()
}

/// Waits until a process has executed this program.
#[track_caller]
fn runs(pid: i32, program: &str) {
    let comm = format!("/proc/{pid}/comm");
    wait_for(&format!("process {pid} is {program}"), || {
        (fs::read_to_string(&comm).ok()?.trim() == program).then_some(())
    });
}

/// Where the descriptors of a process lead.
#[track_caller]
fn open_of(pid: i32) -> Vec<PathBuf> {
    let list = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").flatten();
    list.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// Those that lead to a directory or another file. Pipes, sockets and their like lead nowhere.
#[track_caller]
fn ways_of(pid: i32) -> Vec<PathBuf> {
    let ways = open_of(pid).into_iter();
    ways.filter(|to| to.is_absolute() && to.as_os_str() != "/dev/null").collect()
}

#[test]
fn vm_no_descriptor_of_the_shims_caller_is_open_in_its_processes() {
    let bundle = bundle(&FOREVER, |_| {});
    let mut shim = Shim::begin(OURS, bundle, &CARELESS);
    let init = shim.create(NO_STREAMS);
    let dirs: Vec<_> = ways_of(init).into_iter().filter(|way| way.is_dir()).collect();
    // procfs with the container's own processes only is attached nowhere.
    assert!(dirs.iter().all(|dir| dir == Path::new("/")) && dirs.len() <= 1, "init: {dirs:?}");
    let [server, spawner] = shim.processes(init);
    for (name, pid) in [("server", server), ("spawner", spawner)] {
        let dirs: Vec<_> = ways_of(pid).into_iter().filter(|way| way.is_dir()).collect();
        assert_eq!(dirs, [] as [PathBuf; 0], "{name}");
    }
    shim.begin_process("").expect("Start");
    runs(init, "sleep");
    shim.add("e", &process(&FOREVER), NO_STREAMS);
    let exec = shim.begin_process("e").expect("Start");
    runs(exec, "sleep");
    for pid in [init, exec] {
        assert_eq!(ways_of(pid), [] as [PathBuf; 0]);
    }
}

/// Descriptors that a helper may have when the kernel looks for the program: those of its order, its report, its streams.
const NUMBERS: std::ops::Range<u32> = 0..16;

#[test]
fn vm_no_program_is_found_through_a_descriptor_of_a_helper() {
    let dir = TempDir::new("streams");
    // The server keeps another end of each FIFO, so a helper has more open than with no streams.
    let fifos = ["in", "out", "err"].map(|name| {
        let path = dir.0.join(name).to_str().expect("text").to_owned();
        out(&["mkfifo", &path]);
        path
    });
    let streams = fifos.each_ref().map(String::as_str);
    let host = Path::new("/run").join(unique_name("host"));
    fs::create_dir(&host).expect("make a directory");
    fs::copy("/bin/busybox", host.join("sh")).expect("copy a program");
    let volume = TempDir::new("volume");
    let bundle = bundle(&FOREVER, |config| bind(config, volume.str(), "/volume"));
    fs::create_dir(bundle.path().join("rootfs/volume")).expect("make a mount point");
    let mut shim = Shim::begin(OURS, bundle, &CARELESS);
    shim.create(NO_STREAMS);
    shim.begin_process("").expect("Start");
    let ways = |n: u32| {
        let (path, up) = (host.display(), "../".repeat(12));
        [format!("/proc/self/fd/{n}{path}/sh"), format!("/proc/self/fd/{n}/{up}{path}/sh")]
    };
    let escaped = ["-c", "echo escaped > /volume/escaped"];
    for (number, way) in NUMBERS.flat_map(ways).enumerate() {
        let name = format!("e{number}");
        shim.add(&name, &process(&[&[way.as_str()], &escaped[..]].concat()), streams);
        let begun = shim.begin_process(&name);
        let ended = begun.map(|_| shim.end(&name));
        assert!(!volume.0.join("escaped").exists(), "{way}: {ended:?}");
    }
    // As a working directory, too.
    for number in NUMBERS {
        let name = format!("c{number}");
        let mut look = process(&["sh", "-c", "ls . .. ../.. ../../.. ../../../run > /volume/seen"]);
        look["cwd"] = json!(format!("/proc/self/fd/{number}"));
        shim.add(&name, &look, streams);
        let ended = shim.begin_process(&name).map(|_| shim.end(&name));
        let seen = fs::read_to_string(volume.0.join("seen")).unwrap_or_default();
        assert!(!seen.contains(&*host.file_name().expect("a name").to_string_lossy()), "{ended:?}");
    }
    // The means are real: the same program by a path that leads there writes its file.
    fs::copy("/bin/busybox", volume.0.join("sh")).expect("copy a program");
    shim.add("real", &process(&[&["/volume/sh"], &escaped[..]].concat()), streams);
    shim.begin_process("real").expect("Start");
    assert_eq!(shim.end("real"), 0);
    assert!(volume.0.join("escaped").exists());
    fs::remove_dir_all(host).expect("remove a directory");
}

#[test]
fn vm_a_clone_of_the_spawner_cannot_be_looked_into() {
    let mut attacker = Shim::begin(OURS, bundle(&FOREVER, |_| {}), &[]);
    let init = attacker.create(NO_STREAMS);
    attacker.begin_process("").expect("Start");
    runs(init, "sleep");
    let mut victim = Shim::begin(OURS, bundle(&FOREVER, |config| join(config, init)), &[]);
    let waits = victim.create(NO_STREAMS);
    let status = fs::read_to_string(format!("/proc/{waits}/status")).expect("a process");
    let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:")).expect("its numbers");
    let inner = inner.split_whitespace().next_back().expect("a number");
    let look = || exec(&attacker, &["sh", "-c", LOOK, inner]);
    assert_eq!(look(), "");
    // The means are real: when it runs the container's program, it is like any other.
    victim.begin_process("").expect("Start");
    wait_for("all six ways are open", || (look().lines().count() == 6).then_some(()));
}

/// strace(1) on a process and its clones: each step into a namespace takes its time.
struct Slow(Child);

impl Slow {
    #[track_caller]
    fn down(pid: i32) -> Self {
        let words = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=setns:delay_exit=300000", "-p"];
        let mut strace = Command::new("strace");
        let strace = strace.args(words).arg(pid.to_string()).stdin(Stdio::null());
        let slow = strace.spawn().expect("start strace");
        wait_for("the process is traced", || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            (!status.contains("TracerPid:\t0\n")).then_some(())
        });
        Self(slow)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        out(&["kill", "-TERM", &self.0.id().to_string()]);
        let _ = self.0.wait();
    }
}

#[test]
fn vm_a_helper_enters_all_namespaces_at_once() {
    let (dir, host) = (TempDir::new("out"), TempDir::new("host"));
    let name = host.str().trim_start_matches('/');
    let bundle = bundle(&["sh", "-c", WATCH, name], |config| {
        allow(config, &["CAP_SYS_PTRACE"]);
        bind(config, dir.str(), "/out");
    });
    fs::create_dir(bundle.path().join("rootfs/out")).expect("make a mount point");
    let mut shim = Shim::begin(OURS, bundle, &CARELESS);
    let init = shim.create(NO_STREAMS);
    shim.begin_process("").expect("Start");
    let [_, spawner] = shim.processes(init);
    let slow = Slow::down(spawner);
    shim.add("e", &process(&["sleep", "2"]), NO_STREAMS);
    shim.begin_process("e").expect("Start");
    assert_eq!(shim.end("e"), 0);
    drop(slow);
    let noted = |file: &str| fs::read_to_string(dir.0.join(file));
    // The means are real: the watcher saw the process, and looks through its root.
    wait_for("the watcher sees a process", || noted("seen").ok());
    assert_eq!(noted("escapes").unwrap_or_default().lines().next(), None);
}

/// Whether the memory of a process has the text.
#[track_caller]
fn knows(pid: i32, text: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the maps of a process");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory");
    let writable =
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|p| p.starts_with("rw")));
    writable.filter_map(|line| line.split(' ').next()?.split_once('-')).any(|(from, to)| {
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).expect("an address"));
        let mut bytes = vec![0; usize::try_from(to - from).expect("a size")];
        let read = memory.read_at(&mut bytes, from).unwrap_or(0);
        bytes[..read].windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// Two containers of one server: what one of them is told in confidence comes into no process of the other.
#[test]
fn vm_a_clone_of_the_spawner_knows_nothing_of_other_containers() {
    let group = unique_name("group");
    let grouped = |secret: &str| {
        bundle(&FOREVER, |config| {
            config["annotations"] = json!({ "io.containerd.runc.v2.group": group });
            config["process"]["env"] = json!(["PATH=/bin", format!("SECRET={secret}")]);
        })
    };
    let [own, of_exec, next] =
        ["own", "exec", "next"].map(|what| unique_name(&format!("secret-{what}")));
    let mut first = Shim::begin(OURS, grouped(&own), &[]);
    let init = first.create(NO_STREAMS);
    first.begin_process("").expect("Start");
    runs(init, "sleep");
    let mut secret = process(&FOREVER);
    secret["env"] = json!(["PATH=/bin", format!("SECRET={of_exec}")]);
    first.add("runs", &secret, NO_STREAMS);
    let exec = first.begin_process("runs").expect("Start");
    runs(exec, "sleep");
    // One that was not started: its description is the server's.
    first.add("waits", &secret, NO_STREAMS);
    let [server, spawner] = first.processes(init);

    let mut second = first.another(grouped(&next), &[]);
    let waits = second.create(NO_STREAMS);
    assert_eq!(second.processes(waits), [server, spawner], "one server for both");
    for (who, pid) in [("the spawner", spawner), ("the other container", waits)] {
        for text in [&own, &of_exec] {
            assert!(!knows(pid, text), "{who} knows {text}");
        }
    }
    // The means are real.
    assert!(
        knows(init, &own)
            && knows(exec, &of_exec)
            && knows(server, &of_exec)
            && knows(waits, &next)
    );
}

/// Becomes what it is run by: the shim, which waits for its standard input, as `start` does.
const TRAP: [&str; 8] =
    ["/proc/self/exe", "-namespace", "n", "-address", "/x", "-id", "c", "start"];

#[test]
fn vm_the_shims_executable_cannot_be_overwritten() {
    let (volume, dir) = (TempDir::new("volume"), TempDir::new("streams"));
    let attacker = |config: &mut Value| {
        bind(config, volume.str(), "/volume");
        allow(config, &["CAP_SYS_PTRACE"]);
    };
    let bundle = bundle(&FOREVER, attacker);
    fs::create_dir(bundle.path().join("rootfs/volume")).expect("make a mount point");
    let mut shim = Shim::begin(OURS, bundle, &[]);
    shim.create(NO_STREAMS);
    shim.begin_process("").expect("Start");
    let before = fs::read(INSTALLED).expect("read the shim");
    let input = dir.0.join("in");
    let input = input.to_str().expect("text");
    out(&["mkfifo", input]);
    // The input does not end, so the shim stays in the container.
    let _writer = File::options().read(true).write(true).open(input).expect("open a FIFO");
    shim.add("trap", &process(&TRAP), [input, "", ""]);
    shim.begin_process("trap").expect("Start");
    exec(&shim, &["sh", "-c", CAPTURE]);
    let said = fs::read_to_string(volume.0.join("said")).expect("what the attacker says");
    if fs::read(INSTALLED).expect("read the shim") != before {
        let new = format!("{INSTALLED}.new");
        File::create(&new).and_then(|mut file| file.write_all(&before)).expect("write the shim");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("chmod the shim");
        fs::rename(&new, INSTALLED).expect("rename the shim");
        panic!("the shim was overwritten: {said}");
    }
    assert!(said.contains("captured /"), "the attack did not get that far: {said}");
    assert!(said.contains("kept /") && said.contains("Read-only file system"), "{said}");
}
