//! podman's own commands on a writable root, running and stopped: what they show is what they show with runc, for podman has no
//! daemon that a restart could take away. What only the snapshot holds is told here, too.
//!
//! Guest: --no-docker --takes 60

use std::fs;

use sharedroot_tests::bundle::make_rootfs;
use sharedroot_tests::command::{Cmd, Output, out, run, unique_name};
use sharedroot_tests::kept::nothing_is_kept;
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};
use sharedroot_tests::pool::has;

const IMAGE: &str = "localhost/busybox-root";
const NOTICE: &str = "sharedroot: this tree lacks files that are only in the snapshot";

/// A container of one runtime; dropping it removes it.
struct Podman {
    runtime: String,
    id: String,
}

impl Podman {
    #[track_caller]
    fn run(runtime: &str, script: &str) -> Self {
        only_in_lab();
        let id = unique_name("podman");
        let container = Self { runtime: out(&["which", runtime]), id };
        if container.call(&["image", "exists", IMAGE]).status != 0 {
            let dir = TempDir::new("image");
            let (rootfs, tar) = (dir.0.join("rootfs"), dir.0.join("rootfs.tar"));
            make_rootfs(&rootfs);
            let (rootfs, tar) = (rootfs.to_str().unwrap(), tar.to_str().unwrap());
            out(&["tar", "--create", "--file", tar, "--directory", rootfs, "."]);
            container.call(&["import", "--quiet", tar, IMAGE]).ok();
        }
        let words = ["run", "--detach", "--network=none", "--name", &container.id, IMAGE];
        container.call(&[&words[..], &["sh", "-c", script]].concat()).ok();
        let wrote = || (container.exec(&["ls", "/done"]).status == 0).then_some(());
        wait_for("it wrote", wrote);
        container
    }

    #[track_caller]
    fn call(&self, words: &[&str]) -> Output {
        let flags =
            ["--runtime", &self.runtime, "--cgroup-manager=cgroupfs", "--events-backend=file"];
        Cmd::new("podman").args(&flags).args(words).run()
    }

    #[track_caller]
    fn exec(&self, words: &[&str]) -> Output {
        self.call(&[&["exec", &self.id], words].concat())
    }

    /// A name in its root, as the host reaches it.
    #[track_caller]
    fn gone(&self) -> String {
        let pid = self.call(&["inspect", "--format", "{{.State.Pid}}", &self.id]).ok();
        format!("/proc/{}/root/gone", pid.trim())
    }

    /// `podman diff`, in an order of its own.
    #[track_caller]
    fn diff(&self) -> String {
        let said = self.call(&["diff", &self.id]).ok();
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// `podman commit`, and what is in the image.
    #[track_caller]
    fn commit(&self, flags: &[&str]) -> Output {
        let image = unique_name("committed");
        let said = self.call(&[&["commit", "--quiet"], flags, &[&self.id, &image]].concat());
        if said.status != 0 {
            return said;
        }
        let words = ["run", "--rm", "--network=none", &image, "sh", "-c", "cat /data; ls -A /"];
        let seen = self.call(&words);
        self.call(&["rmi", "--force", &image]).ok();
        seen
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.call(&["rm", "--force", "--time=0", &self.id]);
    }
}

/// What a user sees of the container, by one line for each command.
fn seen(container: &Podman) -> Vec<String> {
    let (id, mut lines) = (container.id.as_str(), Vec::new());
    let mut see = |what: &str, output: Output| {
        let text = output.stdout.replace(id, "ID");
        lines.push(format!("{what}: {} {}", output.status, text.trim()));
    };
    let file = "/tmp/podman-root";
    let _ = fs::remove_file(file);
    see("user", container.exec(&["cat", "/data"]));
    see("cp out", container.call(&["cp", &format!("{id}:/data"), file]));
    see("is", run(&["cat", file]));
    container.call(&["cp", file, &format!("{id}:/copied")]).ok();
    see("has", container.exec(&["cat", "/copied"]));
    // The root as the host sees it; unmounting it leaves the container's.
    let mounted = container.call(&["mount", id]).ok();
    fs::write(format!("{}/by-mount", mounted.trim()), "by mount").unwrap();
    see("written", container.exec(&["cat", "/by-mount"]));
    container.call(&["umount", id]);
    see("goes on", container.exec(&["cat", "/by-mount", "/data"]));
    see("image", container.commit(&["--pause"]));
    container.call(&["pause", id]).ok();
    container.call(&["unpause", id]).ok();
    container.call(&["restart", "--time=0", id]).ok();
    see("again", container.exec(&["ls", "-A", "/"]));
    container.call(&["stop", "--time=0", id]).ok();
    lines.push(container.diff());
    let mut see = |what: &str, output: Output| {
        lines.push(format!("{what}: {} {}", output.status, output.stdout.trim()));
    };
    let mounted = container.call(&["mount", id]).ok();
    see("mounted", run(&["cat", &format!("{}/by-mount", mounted.trim())]));
    container.call(&["umount", id]).ok();
    see("image of the stopped", container.commit(&[]));
    container.call(&["start", id]).ok();
    see("third", container.exec(&["cat", "/data", "/by-mount", "/copied"]));
    lines
}

#[test]
fn vm_what_podman_shows_is_what_it_shows_with_runc() {
    let script = "echo data >> /data; mkdir /made; touch /done; exec sleep 1000";
    let (theirs, ours) = (Podman::run("runc", script), Podman::run("sharedroot", script));
    assert_eq!(seen(&ours), seen(&theirs));
    drop(ours);
    nothing_is_kept();
}

#[test]
fn vm_an_image_of_podmans_that_would_lack_files_is_not_made() {
    let script = "echo data > /data; touch /done; exec sleep 1000";
    let container = Podman::run("sharedroot", script);
    // podman gives no CAP_MKNOD.
    out(&["mknod", &container.gone(), "c", "0", "0"]);
    // podman heeds a pause that fails, and shows what the runtime said.
    has(&container.commit(&["--pause"]).fails(125), &["/gone", "would lack"]);
    container.call(&["stop", "--time=0", &container.id]).ok();
    has(&container.diff(), &[NOTICE]);
    // It does not say at which name it failed; `podman diff` has it.
    has(&container.commit(&[]).fails(125), &["unpacking failed", "file exists"]);
    container.call(&["start", &container.id]).ok();
    fs::remove_file(container.gone()).unwrap();
    container.call(&["stop", "--time=0", &container.id]).ok();
    nothing_is_kept();
    assert!(!container.diff().contains(NOTICE));
    container.commit(&[]).ok();
}
