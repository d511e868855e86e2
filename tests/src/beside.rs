//! The same work with runc and with sharedroot, in one guest. A difference is a fault of sharedroot, or the test gives its
//! reason.

use std::fmt::{Debug, Write};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;

use crate::bundle::make_rootfs;
use crate::command::Output;

/// The runtime to compare with, and the runtime under test.
pub const RUNTIMES: [&str; 2] = ["runc", "sharedroot"];

/// Does `work` with each runtime. The runtime's name is the one for Docker and in PATH. The results must be equal. Returns the
/// result.
///
/// # Panics
/// If the results differ; the message has both.
#[track_caller]
pub fn beside_runc<T: PartialEq + Debug>(what: &str, work: impl Fn(&str) -> T) -> T {
    let [runc, ours] = RUNTIMES.map(work);
    assert_eq!(ours, runc, "{what}: ours, runc's");
    ours
}

/// Shell code that prints what a process sees of itself. For each mount: its path, options, propagation, and the type and
/// options of its file system. For `/` only whether it is writable, because sharedroot's root is another file system. Sorted,
/// because Docker gives some mounts in any order. The superblock of sysfs is writable with sharedroot and not with runc, but
/// its mount is read-only with both. The devices of the pool come and go. With containerd's shim a stream is containerd's FIFO.
pub const LOOK: &str = r#"{
    id; pwd; umask; env | grep -v '^HOSTNAME=' | sort; hostname
    grep -E '^(Uid|Gid|Groups|Cap|NoNew|Seccomp:|Sig(Blk|Ign|Cgt)|Cpus_allowed:)' /proc/self/status
    cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj
    cat /proc/sys/kernel/shmmax /proc/sys/fs/mqueue/msg_max /proc/sys/net/ipv4/ip_forward
    cd /sys/fs/cgroup && grep . cpu.max pids.max memory.max memory.low memory.swap.max cpuset.cpus 2>&1
    ls -lAn /dev /dev/[!f]*/ | sed -E 's/ [A-Z][a-z]{2} +[0-9]+ +[0-9:]+ / /; /^total/d; / k?core -> /d'
    ls -ldn / /proc /x /x/y 2>&1 | sed -E 's/ +[0-9]+ [A-Z][a-z]{2} +[0-9]+ +[0-9:]+ / /; s/ +[0-9]+//'
    sed -E 's/^[0-9]+ [0-9]+ [0-9:]+ //; s/(master|shared):[0-9]+ //g; s/^\/ \/ (r.),.*/\/ \1/;
            s/(- sysfs sysfs) r./\1/; s/[0-9a-f]{64}/ID/g; s/ - (ext4|overlay) .*//' /proc/self/mountinfo | sort
    for dir in / /x/; do (: > ${dir}written) 2>&1 && echo written in $dir && rm ${dir}written; done
    for n in 0 2; do readlink /proc/self/fd/$n; done | sed 's/[0-9][0-9]*/N/; s,^/run/.*-std[a-z]*$,pipe:[N],'
    } | sed -E 's/[0-9a-f]{64}/ID/g; / (dm-|loop)[0-9]+$/d'"#;

/// Makes a root file system in which [`LOOK`] can run, with users and groups.
///
/// # Panics
/// If a file cannot be made.
#[track_caller]
pub fn make_rootfs_for_look(root: &Path) {
    make_rootfs(root);
    for program in PROGRAMS {
        symlink("busybox", root.join("bin").join(program)).expect("make a link");
    }
    let group = "root:x:0:\ntty:x:5:user\nuser:x:1000:\nextra:x:77:user,root\n";
    fs::write(root.join("etc/group"), group).expect("write group");
    fs::write(root.join("file"), "").expect("write a file");
    symlink("bin/../file", root.join("link")).expect("make a link");
    fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777)).expect("chmod");
}

/// The programs that [`LOOK`] calls, except those that [`make_rootfs`] makes.
const PROGRAMS: [&str; 10] =
    ["head", "hostname", "mv", "readlink", "rm", "sed", "sort", "stty", "tty", "umask"];

/// The rows of one runtime, in their order: what was done, and what was found, as text.
pub type Rows = Vec<(String, String)>;

/// Does `work` with both runtimes at the same time. The rows must be equal.
///
/// # Panics
/// If rows differ; the message has the lines that differ.
#[track_caller]
pub fn rows_beside_runc(work: impl Fn(&'static str) -> Rows + Sync) {
    let [runcs, ours] = thread::scope(|scope| {
        RUNTIMES
            .map(|runtime| scope.spawn(|| work(runtime)))
            .map(|thread| thread.join().expect("the work of one runtime"))
    });
    let mut differs = String::new();
    for ((what, of_runc), (_, of_ours)) in runcs.iter().zip(&ours) {
        println!("{what}: {}", of_ours.lines().next().unwrap_or_default());
        if of_runc != of_ours {
            writeln!(differs, "{what}\n{}", difference(of_runc, of_ours)).expect("write text");
        }
    }
    assert_eq!(runcs.len(), ours.len(), "the same rows");
    assert!(differs.is_empty(), "< runc's, > ours:\n{differs}");
}

/// The lines that only one of the texts has.
fn difference(of_runc: &str, of_ours: &str) -> String {
    let only = |mark: &str, one: &str, other: &str| -> String {
        let lines = one.lines().filter(|line| !other.lines().any(|its| its == *line));
        lines.map(|line| format!("  {mark} {line}\n")).collect()
    };
    let lines = only("<", of_runc, of_ours) + &only(">", of_ours, of_runc);
    if lines.is_empty() { format!("  another order:\n{of_runc}\n{of_ours}") } else { lines }
}

/// How a command ended, and its standard output. The words of an error differ between runtimes, so stderr is left out.
#[must_use]
pub fn seen(output: &Output) -> (i32, String) {
    (output.status, output.stdout.clone())
}

/// Words that no message of sharedroot may contain: structures in Rust's debug format, the internal channel of the engine, and
/// what libraries add to the words of the system.
const DUMPS: [&str; 11] = [
    "{ ",
    "Some(",
    "None",
    "Error(",
    "Failed(",
    "Flags(",
    "failed to mount Mount",
    "received unexpected message",
    "failed to receive",
    "(os error",
    "io error:",
];

/// Checks that the output of sharedroot contains none of these words.
///
/// # Panics
/// If the output contains one of the words.
#[track_caller]
pub fn in_words(said: &str) {
    let dump = DUMPS.iter().find(|dump| said.contains(**dump));
    assert!(dump.is_none(), "{dump:?} is in: {said}");
}

/// How a command ended, and its output, without what differs in each run. Only the last part of an engine's message is kept,
/// which is the reason. The words before the reason differ between runtimes.
#[must_use]
pub fn told(output: &Output) -> String {
    let Output { status, stdout, stderr, .. } = output;
    let mut text = format!("ended with {status}\n");
    for line in stdout.lines().chain(stderr.lines()) {
        text += &reason(line.trim_end_matches('\r')).unwrap_or_else(|| line.to_owned());
        text.push('\n');
    }
    text
}

/// The last part of an engine's message; `None` if `line` is not one.
fn reason(line: &str) -> Option<String> {
    // containerd calls each failure of a shim unknown.
    let marks = ["OCI runtime", "Error response", "Error: ", "ctr: ", ": unknown"];
    let message = marks.iter().any(|mark| line.contains(mark));
    // Docker adds words of its own.
    let line = line.split(": Are you trying").next()?.trim_end_matches(": unknown");
    let line = line.split(": a file cannot be mounted").next()?;
    let last = line.rsplit(": ").find(|part| !part.is_empty())?.split(" (os error").next()?;
    message.then(|| format!("the reason: {}", last.to_lowercase()))
}
