//! What a seccomp filter does with system calls that its author could not know, and with clone(2)'s flags, as with runc.
//! Generic: `RUNTIME=runc` must pass too.
//!
//! Guest: --no-docker

use std::fs;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::runtime::Runtime;

/// What perl, busybox and the runtimes need; the largest is faccessat2, 439.
const ALLOWED: &str = "accept accept4 access arch_prctl bind brk capget capset chdir clock_gettime \
    clock_nanosleep close close_range connect dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait eventfd2 execve exit \
    exit_group faccessat faccessat2 fchdir fcntl fork fstat fstatfs futex getcwd getdents64 getegid geteuid getgid \
    getgroups getpeername getpgid getpgrp getpid getppid getrandom getresgid getresuid getrlimit getsockname getsockopt \
    gettid gettimeofday getuid ioctl kill lseek lstat madvise mmap mprotect mremap munmap nanosleep newfstatat open openat \
    openat2 pipe pipe2 poll ppoll prctl pread64 prlimit64 pwrite64 read readlink readlinkat readv recvfrom recvmsg rseq \
    rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield seccomp select sendmsg sendto set_robust_list \
    set_tid_address setgid setgroups setpgid setresgid setresuid setrlimit setsid setuid shutdown sigaltstack socket \
    socketpair stat statfs statx sysinfo tgkill time umask uname vfork wait4 write writev";
/// keyctl(2) is kept out on purpose; 463 and more are newer than the filter; then clone(2) with CLONE_NEWUSER.
const PROBE: &str = r#"
    $| = 1; for (250, 463, 500, 1000) { $! = 0; syscall($_, -1, 0, 0, 0, 0, 0); print $! + 0, " "; }
    $! = 0; my $r = syscall(56, 0x10000011, 0, 0, 0, 0); exit if $r == 0; print $! + 0;
"#;

fn filter(default: &str) -> Value {
    let names: Vec<&str> = ALLOWED.split_whitespace().collect();
    json!({
        "defaultAction": default, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            { "names": names, "action": "SCMP_ACT_ALLOW" },
            // As in Docker's profile: no flag of a new namespace.
            { "names": ["clone"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 0x7E02_0000, "op": "SCMP_CMP_MASKED_EQ" }] },
            { "names": ["keyctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
        ],
    })
}

/// A bundle in which the host's perl runs under `seccomp`.
#[track_caller]
fn with_perl(runtime: &Runtime, seccomp: &Value, no_new_privileges: bool) -> Bundle {
    let bundle = Bundle::new(runtime, &["/usr/bin/perl", "-e", PROBE]);
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["linux"]["seccomp"] = seccomp.clone();
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let dirs = ["/usr/bin", "/usr/lib", "/usr/share/perl", "/lib", "/lib64"];
        let mounts = dirs.iter().filter(|dir| fs::exists(dir).unwrap()).map(|dir| {
            json!({ "destination": dir, "type": "bind", "source": dir, "options": ["bind", "ro"] })
        });
        config["mounts"].as_array_mut().unwrap().extend(mounts);
    });
    bundle
}

#[track_caller]
fn probed(runtime: &Runtime, seccomp: &Value, no_new_privileges: bool) -> [String; 2] {
    let bundle = with_perl(runtime, seccomp, no_new_privileges);
    let run = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("run")]).run();
    bundle.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    let container = runtime.start(&bundle);
    [run.ok(), container.exec(&[], &["/usr/bin/perl", "-e", PROBE]).ok()]
}

#[test]
fn vm_a_call_that_the_filter_does_not_know_is_enosys() {
    let runtime = Runtime::of_env();
    for no_new_privileges in [false, true] {
        let found = probed(&runtime, &filter("SCMP_ACT_ERRNO"), no_new_privileges);
        assert_eq!(found, ["1 38 38 38 1"; 2], "noNewPrivileges: {no_new_privileges}");
    }
    // Another number for what is not allowed changes nothing about what is not known.
    let mut other = filter("SCMP_ACT_ERRNO");
    other["defaultErrnoRet"] = json!(13);
    assert_eq!(probed(&runtime, &other, false), ["1 38 38 38 13"; 2]);
    other["defaultErrnoRet"] = json!(38);
    assert_eq!(probed(&runtime, &other, false), ["1 38 38 38 38"; 2]);
}

/// Where all is allowed the kernel is asked: it has no call 1000 either, but it has 463 (setxattrat) since 6.13.
#[test]
fn vm_a_permissive_filter_gets_no_stub() {
    let runtime = Runtime::of_env();
    let mut permissive = filter("SCMP_ACT_ALLOW");
    let syscalls = permissive["syscalls"].as_array_mut().unwrap();
    syscalls.retain(|rule| rule["action"] == "SCMP_ACT_ERRNO");
    // The largest of the profile is keyctl, 250: getrandom is above it.
    for found in probed(&runtime, &permissive, false) {
        assert!(found.starts_with("1 "), "keyctl in {found}");
        assert!(found.ends_with(" 0"), "clone in {found}");
    }
}
