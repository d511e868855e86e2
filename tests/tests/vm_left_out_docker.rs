//! What only a container's snapshot holds is missing in what Docker makes of its own overlay. An image is then not made, and
//! the error says why; `diff`, `cp` and `export` of the stopped container show it.
//!
//! Guest: --takes 60 --shim long

use sharedroot_tests::command::{Output, out, run, unique_name};
use sharedroot_tests::docker::{Container, docker};
use sharedroot_tests::kept::{nothing_is_kept, snapshots};
use sharedroot_tests::pool::{has, pool};

const NOTICE: &str = "sharedroot: this tree lacks files that are only in the snapshot";

#[track_caller]
fn commit(container: &Container) -> (String, Output) {
    let image = unique_name("committed");
    let said = docker(&["commit", &container.id, &image]);
    (image, said)
}

/// Neither has the image nor does somebody look for it.
#[track_caller]
fn no_image_is_made(container: &Container) {
    let (image, said) = commit(container);
    has(&said.fails(1), &[NOTICE, &snapshots()[0]]);
    assert_ne!(docker(&["image", "inspect", &image]).status, 0);
}

#[track_caller]
fn an_image_is_made(container: &Container, file: &str) {
    let (image, said) = commit(container);
    said.ok();
    let words = ["run", "--rm", "--network=none", &image, "sh", "-c", "ls -A /; cat /kept"];
    let seen = docker(&words).ok();
    docker(&["rmi", "--force", &image]).ok();
    assert!(seen.ends_with(file) && !seen.contains(NOTICE), "{seen}");
}

#[test]
fn vm_an_image_that_would_lack_files_is_not_made() {
    let script = "mknod /gone c 0 0 && echo kept > /kept && touch /done; exec sleep 1000";
    let container = Container::run_with("sharedroot", &["busybox", "sh", "-c", script]);
    sharedroot_tests::lab::wait_for("it wrote", || {
        (container.call("exec", &["ls", "/done"]).status == 0).then_some(())
    });
    // `docker commit` goes on where its pause failed.
    no_image_is_made(&container);
    container.becomes("running");
    for seen in [container.exec(&["ls", "-A", "/"]), container.call("diff", &[]).ok()] {
        assert!(!seen.contains(NOTICE), "{seen}");
    }

    container.stop();
    no_image_is_made(&container);
    has(&container.call("diff", &[]).ok(), &[&format!("A /{NOTICE}"), "A /kept"]);
    let archive =
        |words: &str| out(&["sh", "-c", &format!("docker {words} | tar --list --file - | cat")]);
    has(&archive(&format!("export {}", container.id)), &[NOTICE]);
    has(&archive(&format!("cp {}:/ -", container.id)), &[NOTICE]);

    container.call("start", &[]).ok();
    let seen = container.exec(&["ls", "-A", "/"]);
    assert!(seen.contains("gone") && !seen.contains(NOTICE), "{seen}");
    // Without the pause, too.
    let said = docker(&["commit", "--pause=false", &container.id, &unique_name("committed")]);
    has(&said.fails(1), &[NOTICE]);
    container.exec(&["rm", "/gone"]);
    an_image_is_made(&container, "kept");
    container.stop();
    nothing_is_kept();
    an_image_is_made(&container, "kept");
    let differs = container.call("diff", &[]).ok();
    assert!(!differs.contains(NOTICE), "{differs}");
}

#[test]
fn vm_a_name_like_the_notice_is_the_containers_own() {
    let container = Container::run_with("sharedroot", &["busybox", "sleep", "1000"]);
    let volume = snapshots().pop().expect("a snapshot");
    let own = format!("/{NOTICE} {volume} of its container");
    let script = format!("mkdir '{own}' && echo own > '{own}/.wh.' && mknod /gone c 0 0");
    container.exec(&["sh", "-c", &script]);
    no_image_is_made(&container);
    assert_eq!(container.exec(&["cat", &format!("{own}/.wh.")]), "own");
    container.call("restart", &["--time=0"]).ok();
    assert_eq!(container.exec(&["cat", &format!("{own}/.wh.")]), "own");
    container.stop();
    // Given up by an administrator: what the engine has stays.
    pool(&["drop", &volume]).ok();
    container.call("start", &[]).ok();
    assert_eq!(container.exec(&["cat", &format!("{own}/.wh.")]), "own");
    let seen = container.exec(&["ls", "-A", "/"]);
    assert_eq!(seen.matches(NOTICE).count(), 1, "{seen}");
    run(&["docker", "rm", "--force", &container.id]);
    nothing_is_kept();
}

/// A container of containerd's own; dropping it removes it.
struct Task(String);

impl Task {
    #[track_caller]
    fn run(script: &str) -> Self {
        let (task, image) = (Self(unique_name("ctr")), "docker.io/library/busybox:latest");
        out(&["sh", "-c", "docker save busybox | ctr image import -"]);
        let words =
            ["ctr", "run", "--detach", "--null-io", "--runc-binary", "/usr/local/bin/sharedroot"];
        out(&[&words[..], &[image, &task.0, "sh", "-c", script]].concat());
        task
    }

    /// The names in the layer that `ctr snapshots diff` makes of the container's snapshot.
    #[track_caller]
    fn diff(&self) -> String {
        out(&["sh", "-c", &format!("ctr snapshots diff {} | tar --list --gzip --file -", self.0)])
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        run(&["ctr", "task", "rm", "--force", &self.0]);
        run(&["ctr", "container", "rm", &self.0]);
    }
}

/// containerd asks nobody before it makes a layer of a snapshot, and knows no pause for it.
#[test]
fn vm_a_layer_of_containerds_tells_it() {
    let task = Task::run("echo kept > /kept; mknod /gone c 0 0; exec sleep 1000");
    sharedroot_tests::lab::wait_for("it wrote", || {
        let paused = run(&["ctr", "task", "pause", &task.0]);
        // It had written nothing yet.
        run(&["ctr", "task", "resume", &task.0]);
        paused.stderr.contains("an image made now would lack them").then_some(())
    });
    has(&task.diff(), &[NOTICE, "kept"]);
    run(&["ctr", "task", "kill", "--signal", "KILL", &task.0]).ok();
    sharedroot_tests::lab::wait_for("it ended", || {
        (run(&["ctr", "task", "rm", &task.0]).stderr.contains("exit code 137")).then_some(())
    });
    has(&task.diff(), &[NOTICE, "kept"]);
    drop(task);
    pool(&["drop", &snapshots()[0]]).ok();
    nothing_is_kept();
}
