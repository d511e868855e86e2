//! Docker with the snapshotter as its storage driver: run, exec, cp, diff, commit, build, save, rm and rmi, with runc, with
//! sharedroot and with containerd's shim of it, compared with a Docker daemon on overlayfs. After all of it nothing is left in the pool.
//!
//! Guest: --with snapshotter --with shim --alone --limit 1500 --takes 150 --unstable plain

use std::fs;

use sharedroot_tests::census::{pools, thin_ids};
use sharedroot_tests::command::{Cmd, Output, out};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::shim::{RUNTIMES, install_program};
use sharedroot_tests::snapshotter::{Containerd, Dockerd, Snapshotter};

/// What each command of a session prints.
#[track_caller]
fn session(dockerd: &Dockerd, runtime: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut note = |what: &str, said: Output| {
        rows.push((what.to_owned(), format!("{} {}", said.status, said.stdout.trim_end())));
    };
    let call = |words: &[&str]| dockerd.docker(words);
    let run = ["run", "--network=none", "--runtime", runtime];
    let run = |words: &[&str]| call(&[&run[..], words].concat());

    note("run", run(&["--rm", "busybox", "echo", "ran"]));
    note(
        "read-only",
        run(&["--rm", "--read-only", "busybox", "sh", "-c", "echo x > /x || echo refused"]),
    );
    run(&["-d", "--name", "one", "busybox", "sleep", "1000"]).ok();
    note(
        "exec",
        call(&["exec", "one", "sh", "-c", "echo new > /new; rm /bin/vi; cat /new; mkdir /dir"]),
    );
    let copied = dockerd.dir.0.join("copied");
    let copied = copied.to_str().expect("ASCII");
    call(&["cp", "one:/new", copied]).ok();
    note("cp out", Cmd::new("cat").arg(copied).run());
    note("cp in", call(&["cp", copied, "one:/dir/back"]));
    note("exec sees it", call(&["exec", "one", "cat", "/dir/back"]));
    let diff = call(&["diff", "one"]).ok();
    let mut diff: Vec<_> = diff.lines().collect();
    diff.sort_unstable();
    rows.push(("diff".to_owned(), diff.join("\n")));
    let mut note = |what: &str, said: Output| {
        rows.push((what.to_owned(), format!("{} {}", said.status, said.stdout.trim_end())));
    };
    call(&["restart", "--time=0", "one"]).ok();
    note("after a restart", call(&["exec", "one", "cat", "/new", "/dir/back"]));
    call(&["commit", "one", "committed"]).ok();
    note(
        "of the commit",
        run(&["--rm", "committed", "sh", "-c", "cat /new /dir/back; ls /bin/vi"]),
    );

    let context = TempDir::new("context");
    fs::write(context.0.join("file"), "from the context\n").expect("write a file");
    let text = "FROM busybox\nCOPY file /file\nRUN cat /file /file > /twice && rm /file\n";
    fs::write(context.0.join("Dockerfile"), text).expect("write a Dockerfile");
    let built = call(&["build", "--network=none", "-t", "built", context.str()]);
    assert_eq!(built.status, 0, "{built}");
    note("of the build", run(&["--rm", "built", "sh", "-c", "cat /twice; ls /file"]));
    let saved = dockerd.dir.0.join("saved.tar");
    let saved = saved.to_str().expect("ASCII");
    call(&["save", "-o", saved, "built"]).ok();
    call(&["rmi", "built"]).ok();
    call(&["load", "-i", saved]).ok();
    note("after save and load", run(&["--rm", "built", "cat", "/twice"]));
    call(&["rm", "--force", "one"]).ok();
    call(&["rmi", "built", "committed"]).ok();
    note("containers", call(&["ps", "--all", "--quiet"]));
    rows
}

#[test]
fn vm_docker_works_on_the_snapshotter_as_on_overlayfs() {
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    let theirs = {
        let dockerd = Dockerd::on("overlayfs");
        dockerd.load("busybox");
        session(&dockerd, "runc")
    };
    println!("{theirs:#?}");
    let dockerd = Dockerd::on("sharedroot");
    dockerd.load("busybox");
    install_program();
    for runtime in ["runc", "sharedroot", RUNTIMES[1]] {
        let ours = session(&dockerd, runtime);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "with {runtime}, then runc on overlayfs");
        }
        assert_eq!(ours.len(), theirs.len());
    }
    dockerd.docker(&["rmi", "busybox"]).ok();
    wait_for("the volumes are deleted", || {
        let devices = out(&["dmsetup", "ls"]);
        (!devices.contains("-layer-") && thin_ids(&pools()[0]).len() == 1).then_some(())
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
    assert!(!mounts.contains("/dev/dm-"), "{mounts}");
}
