//! A process number that was recorded is another process's by now. Ours alone: how a runtime records it is its own affair.
//!
//! Guest: --no-docker

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::lab::{RUN_DIR, wait_for};
use sharedroot_tests::runtime::{Container, Runtime};

/// A process of the host that has nothing to do with a container. Dropping it ends it.
struct Other(Child);

impl Other {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().expect("run sleep"))
    }

    #[track_caller]
    fn lives(&mut self) {
        assert!(self.0.try_wait().expect("look at it").is_none(), "it has ended");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The file of a container that says when its process started.
#[track_caller]
fn started(id: &str) -> PathBuf {
    let roots = fs::read_dir(Path::new(RUN_DIR).join("containers")).expect("list the records");
    let mut files = roots.map(|root| root.expect("a root").path().join(id).join("init-started"));
    files.find(|file| file.exists()).expect("it is recorded")
}

/// Gives the container the number of `other`, as if its own process had ended and the number had come round.
#[track_caller]
fn give_number(runtime: &Runtime, id: &str, other: &Other) {
    let path = Path::new(runtime.root()).join(id).join("state.json");
    let text = fs::read_to_string(&path).expect("read the state");
    let mut state: Value = serde_json::from_str(&text).expect("JSON");
    state["pid"] = json!(other.0.id());
    fs::write(&path, state.to_string()).expect("write the state");
}

/// No verb takes `other` for the container's process, and `delete` ends what is the container's.
fn nobody_is_harmed(runtime: &Runtime, container: &Container<'_>, own: i32, other: &mut Other) {
    assert_eq!(container.status(), "stopped");
    for signal in ["KILL", "TERM"] {
        let said = container.call("kill", &[signal]);
        assert_ne!(said.status, 0, "{said}");
    }
    let said = container.exec(&[], &["true"]);
    assert_ne!(said.status, 0, "{said}");
    let began = Instant::now();
    container.call("delete", &["--force"]).ok();
    assert!(began.elapsed() < Duration::from_secs(8), "it waited for somebody else");
    assert!(!Path::new(runtime.root()).join(&container.id).exists());
    let own = PathBuf::from(format!("/proc/{own}"));
    wait_for("its own process is gone", || (!own.exists()).then_some(()));
    other.lives();
}

#[test]
fn vm_a_number_that_came_round_is_nobody_of_the_container() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    for start in [false, true] {
        let mut other = Other::new();
        let container = runtime.create(&bundle);
        if start {
            container.call("start", &[]).ok();
        }
        let own = container.pid();
        give_number(&runtime, &container.id, &other);
        nobody_is_harmed(&runtime, &container, own, &mut other);
    }
}

/// `create` died after the container was there, and before it had said when its process started.
#[test]
fn vm_a_number_without_a_time_is_nobody_of_the_container() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let mut other = Other::new();
    let container = runtime.create(&bundle);
    let own = container.pid();
    fs::remove_file(started(&container.id)).expect("remove the time");
    give_number(&runtime, &container.id, &other);
    nobody_is_harmed(&runtime, &container, own, &mut other);

    // The number is still the container's own: nobody knows.
    let container = runtime.create(&bundle);
    let own = container.pid();
    fs::remove_file(started(&container.id)).expect("remove the time");
    nobody_is_harmed(&runtime, &container, own, &mut other);
}
